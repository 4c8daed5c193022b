##############################################################################
#
# Copyright (c) Zope Foundation and Contributors.
# All Rights Reserved.
#
# This software is subject to the provisions of the Zope Public License,
# Version 2.1 (ZPL).  A copy of the ZPL should accompany this distribution.
# THIS SOFTWARE IS PROVIDED "AS IS" AND ANY AND ALL EXPRESS OR IMPLIED
# WARRANTIES ARE DISCLAIMED, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED
# WARRANTIES OF TITLE, MERCHANTABILITY, AGAINST INFRINGEMENT, AND FITNESS
# FOR A PARTICULAR PURPOSE.
#
##############################################################################
"""Make texts fit to be stored, logged and shown: cleaned, masked, cut."""
import itertools
import re
import traceback
import unicodedata

from cipher.background.interfaces import InvalidInput


#: Characters of a note in a transaction record.  ZODB refuses a commit whose
#: notes or user name have over 64 kB.
NOTE_LIMIT = 1000
#: Characters of one line of text: of an error, a reason, a progress message.
MESSAGE_LIMIT = 500
#: Characters of the result of a run, which is stored in the run itself.
RESULT_LIMIT = 1000
#: Characters of a traceback.  The middle of a longer one is cut.
TRACEBACK_LIMIT = 65536
#: The text at a cut.
CUT = '… [cut here]'
#: The text in the place of a secret.
MASK = '•••'

#: Errors of an exception group that its text names.
LEAVES_LIMIT = 10
# Levels of exception groups that are opened; groups may form a cycle.
_MAX_DEPTH = 50

# Control characters but tab and newline, lone surrogates, bidirectional
# controls that change the order of the text after them, noncharacters.  The
# marks LRM, RLM and ALM stay: they have only local effect, and Hebrew and
# Arabic texts use them.
_UNFIT = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff'
                    '\u202a-\u202e\u2066-\u2069\ufffe\uffff]')
_BREAKS = re.compile(r'[\t\n\x85\u2028\u2029]+')
_LINE_ENDS = re.compile('\r\n?|[\n\u2028\u2029]')


class ShowsAll:
    """The masker of an input without secrets; the contract of maskers."""

    #: Names of the fields of the input that hold secrets.
    names = ()
    #: Whether every text is hidden as a whole.
    hides_all = False

    def text(self, text):
        """Return *text* with the secrets in it masked."""
        return text

    def head(self, text, size):
        """Return the first *size* characters of *text*, masked."""
        return text[:size]

    def tail(self, text, size):
        """Return the last *size* characters of *text*, masked."""
        return text[-size:]

    def data(self, value):
        """Return *value*, plain data, with the secrets in it masked."""
        return value


SHOWS_ALL = ShowsAll()


def fold(text):
    """Return *text* for a comparison that ignores case and composition."""
    return unicodedata.normalize('NFD', unicodedata.normalize(
        'NFD', text).casefold())


def clean(text, limit, masker=SHOWS_ALL):
    """Return *text*, masked, cleaned and cut to at most *limit* characters.

    Replace characters that are unfit to be shown.  Turn CR LF into newline.
    """
    if len(text) > limit:
        text = masker.head(text, limit - len(CUT)) + CUT
    else:
        text = masker.text(text)
    if _is_plain(text):
        return text   # most texts are
    return _UNFIT.sub(
        '\N{REPLACEMENT CHARACTER}', text.replace('\r\n', '\n'))


def cleanLine(text, limit=MESSAGE_LIMIT, masker=SHOWS_ALL):
    """Return *text* as one clean line of at most *limit* characters."""
    if masker is SHOWS_ALL and len(text) <= limit and _is_plain(text):
        return text   # most texts are
    text = clean(text, limit, masker)
    return text if _is_plain(text) else _BREAKS.sub(' ', text)


def _is_plain(text):
    # All characters that are replaced are not printable.  A subclass of str
    # may override isprintable.
    return type(text) is str and text.isprintable()


def indent(text):
    """Return *text*, of a log record, with all lines but the first indented.

    So no line within it looks like the beginning of a record.
    """
    return _LINE_ENDS.sub('\n    ', text)


def shortRepr(value, limit=50):
    """Return ``repr(value)``, or an ellipsis if that is longer than *limit*.

    Never return a part of it: a masker could not recognise a part of a
    secret.
    """
    text = _repr(value)
    return text if len(text) <= limit else '…'


def safeStr(value):
    """Return ``str(value)``; if that raises, a text that names the types."""
    try:
        return str(value)
    except Exception as error:
        return '<unprintable %s: %s>' % (
            type(value).__name__, type(error).__name__)


def safeRepr(value, limit=RESULT_LIMIT):
    """Return ``repr(value)``, cut at *limit*; see `safeStr` for errors."""
    text = _repr(value)
    return text if len(text) <= limit else text[:limit] + '…'


def _repr(value):
    try:
        return repr(value)
    except Exception as error:
        return '<unprintable %s: %s>' % (
            type(value).__name__, type(error).__name__)


def leavesOf(error, depth=0):
    """Yield the errors in *error*, a group at any depth; else *error* itself.

    A group is an error with ``exceptions``: the backport for Python 3.10
    counts.
    """
    inner = getattr(error, 'exceptions', None)
    if (depth < _MAX_DEPTH and isinstance(inner, (tuple, list)) and inner
            and all(isinstance(one, BaseException) for one in inner)):
        for one in inner:
            yield from leavesOf(one, depth + 1)
    else:
        yield error


def describeError(error, masker=SHOWS_ALL):
    """Return (type name, one short line of text) of an exception.

    The line for a group names each of its errors.  Everybody who sees the
    run sees the line, so it quotes nothing of an input.
    """
    text = _public_text(error)
    leaves = list(itertools.islice(leavesOf(error), LEAVES_LIMIT + 1))
    if leaves != [error]:
        text = '%s: %s' % (text, '; '.join(
            [': '.join(filter(None, (type(leaf).__name__, _public_text(leaf))))
             for leaf in leaves[:LEAVES_LIMIT]]
            + ['…'] * (len(leaves) > LEAVES_LIMIT)))
    return (cleanLine(type(error).__name__, masker=(
                SHOWS_ALL if masker.hides_all else masker)),
            cleanLine(text, masker=masker))


def _public_text(error):
    return error.public if isinstance(error, InvalidInput) else safeStr(error)


def formatTraceback(error, masker=SHOWS_ALL):
    """Return the traceback of *error* as text, without local variables.

    Cut the middle of one with over `TRACEBACK_LIMIT` characters.
    """
    if masker.hides_all:
        lines = _frames(error, MASK)
        masker = SHOWS_ALL
    else:
        try:
            # traceback.format_exception may be patched by other packages.
            lines = list(traceback.TracebackException.from_exception(
                error, compact=True).format())
        except Exception:
            lines = _frames(error, describeError(error)[1])
    text = ''.join(lines)
    if len(text) > TRACEBACK_LIMIT:
        half = (TRACEBACK_LIMIT - len(CUT) - 2) // 2
        text = '%s\n%s\n%s' % (
            masker.head(text, half), CUT, masker.tail(text, half))
    else:
        text = masker.text(text)
    return clean(text, TRACEBACK_LIMIT)


def _frames(error, text):
    """Return the lines of a traceback with *text* as the error's text."""
    return traceback.format_tb(error.__traceback__) + [
        '%s: %s\n' % (cleanLine(type(error).__name__), text)]
