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
"""Texts made fit to be stored, logged and shown.

A *masker* hides the secrets of an input; see `masking.Masker`.  A text is
masked before it is cut, so no part of a secret is left at a cut.
"""
import itertools
import re
import traceback
import unicodedata

from cipher.background.interfaces import InvalidInput


#: Transaction notes and user names over 64 kB fail the commit.
NOTE_LIMIT = 1000
MESSAGE_LIMIT = 500
RESULT_LIMIT = 1000
TRACEBACK_LIMIT = 65536
CUT = '… [cut here]'
MASK = '•••'

#: Errors of a group that its text names.
LEAVES_LIMIT = 10
_MAX_DEPTH = 50

# Control characters but tab and newline, lone surrogates, the controls of
# bidirectional text that change the order of what follows, what Unicode will
# never give a meaning.  The three marks (LRM, RLM, ALM) stay: they change
# nothing far, and are part of Hebrew and Arabic texts.
_UNFIT = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff'
                    '\u202a-\u202e\u2066-\u2069\ufffe\uffff]')
_BREAKS = re.compile(r'[\t\n\x85\u2028\u2029]+')
_LINE_ENDS = re.compile('\r\n?|[\n\u2028\u2029]')


class ShowsAll:
    """The masker where there is no secret."""

    #: Names of the fields of the input that hold secrets.
    names = ()
    #: Whether nothing of any text is shown.
    hides_all = False

    def text(self, text):
        """Return *text* without secrets."""
        return text

    def head(self, text, size):
        """Return the first *size* characters of *text*, without secrets."""
        return text[:size]

    def tail(self, text, size):
        """Return the last *size* characters of *text*, without secrets."""
        return text[-size:]

    def data(self, value):
        """Return *value*, plain data, with the secrets in it masked."""
        return value


SHOWS_ALL = ShowsAll()


def fold(text):
    """Return *text* for a comparison: of any case, composed or not."""
    return unicodedata.normalize('NFD', unicodedata.normalize(
        'NFD', text).casefold())


def clean(text, limit, masker=SHOWS_ALL):
    """Return *text* with what is unfit replaced, at most *limit* characters.

    A line break of the network (CR LF) becomes one of ours.
    """
    if len(text) > limit:
        text = masker.head(text, limit - len(CUT)) + CUT
    else:
        text = masker.text(text)
    if _isPlain(text):
        return text   # as most
    return _UNFIT.sub(
        '\N{REPLACEMENT CHARACTER}', text.replace('\r\n', '\n'))


def cleanLine(text, limit=MESSAGE_LIMIT, masker=SHOWS_ALL):
    """Return *text* as one clean line of at most *limit* characters."""
    text = clean(text, limit, masker)
    return text if _isPlain(text) else _BREAKS.sub(' ', text)


def _isPlain(text):
    # Nothing that is replaced anywhere is printable.  A subclass may say
    # anything.
    return type(text) is str and text.isprintable()


def indent(text):
    """Return *text*, of a log record, with all lines but the first indented.

    No line within it can then be taken for the begin of a record.
    """
    return _LINE_ENDS.sub('\n    ', text)


def shortRepr(value, limit=50):
    """Return ``repr(value)``, or an ellipsis where that is long.

    Never a part of it: a part of a secret cannot be recognised.
    """
    text = _repr(value)
    return text if len(text) <= limit else '…'


def safeStr(value):
    """Return ``str(value)``, or what can be said where that raises."""
    try:
        return str(value)
    except Exception as error:
        return '<unprintable %s: %s>' % (
            type(value).__name__, type(error).__name__)


def safeRepr(value, limit=RESULT_LIMIT):
    """Return ``repr(value)``, cut; what can be said where that raises."""
    text = _repr(value)
    return text if len(text) <= limit else text[:limit] + '…'


def _repr(value):
    try:
        return repr(value)
    except Exception as error:
        return '<unprintable %s: %s>' % (
            type(value).__name__, type(error).__name__)


def leavesOf(error, depth=0):
    """Yield the errors in *error*, a group of them; itself if it is none.

    A group is what has ``exceptions``, as its backport for Python 3.10 has.
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

    Of a group of errors the line names each.  For everybody who sees the run:
    nothing of an input is quoted.
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

    The middle is cut where it is over `TRACEBACK_LIMIT` characters.
    """
    if masker.hides_all:
        lines = _frames(error, MASK)
        masker = SHOWS_ALL
    else:
        try:
            # Not format_exception, which others replace.
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
    """Return the lines of a traceback that says *text* of its error."""
    return traceback.format_tb(error.__traceback__) + [
        '%s: %s\n' % (cleanLine(type(error).__name__), text)]
