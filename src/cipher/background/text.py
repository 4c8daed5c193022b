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
"""Texts made fit to be stored, logged and shown."""
import itertools
import re
import traceback


#: Transaction notes and user names over 64 kB fail the commit.
NOTE_LIMIT = 1000
MESSAGE_LIMIT = 500
RESULT_LIMIT = 1000
TRACEBACK_LIMIT = 65536
CUT = '… [cut here]'

#: Errors of a group that its text names.
LEAVES_LIMIT = 10
_MAX_DEPTH = 50

# Control characters but tab and newline, lone surrogates, the controls of
# bidirectional text that change the order of what follows.  The two marks
# (LRM, RLM) do not: they are part of Hebrew and Arabic texts.
_UNFIT = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff'
                    '\u202a-\u202e\u2066-\u2069]')
_BREAKS = re.compile(r'[\t\n\x85\u2028\u2029]+')


def clean(text, limit):
    """Return *text* with what is unfit replaced, at most *limit* characters.

    A line break of the network (CR LF) becomes one of ours.
    """
    text = text.replace('\r\n', '\n')
    if len(text) > limit:
        text = text[:limit - len(CUT)] + CUT
    return _UNFIT.sub('\N{REPLACEMENT CHARACTER}', text)


def cleanLine(text, limit=MESSAGE_LIMIT):
    """Return *text* as one clean line of at most *limit* characters."""
    return _BREAKS.sub(' ', clean(text, limit))


def safeStr(value):
    """Return ``str(value)``, or what can be said where that raises."""
    try:
        return str(value)
    except Exception as error:
        return '<unprintable %s: %s>' % (
            type(value).__name__, type(error).__name__)


def safeRepr(value, limit=RESULT_LIMIT):
    """Return ``repr(value)``, cut; what can be said where that raises."""
    try:
        text = repr(value)
    except Exception as error:
        text = '<unprintable %s: %s>' % (
            type(value).__name__, type(error).__name__)
    return text if len(text) <= limit else text[:limit] + '…'


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


def describeError(error):
    """Return (type name, one short line of text) of an exception.

    Of a group of errors the line names each.
    """
    text = safeStr(error)
    leaves = list(itertools.islice(leavesOf(error), LEAVES_LIMIT + 1))
    if leaves != [error]:
        text = '%s: %s' % (text, '; '.join(
            [': '.join(filter(None, (type(leaf).__name__, safeStr(leaf))))
             for leaf in leaves[:LEAVES_LIMIT]]
            + ['…'] * (len(leaves) > LEAVES_LIMIT)))
    return cleanLine(type(error).__name__), cleanLine(text)


def formatTraceback(error):
    """Return the traceback of *error* as text, without local variables.

    The middle is cut where it is over `TRACEBACK_LIMIT` characters.
    """
    try:
        # Not format_exception, which others replace.
        lines = list(traceback.TracebackException.from_exception(
            error, compact=True).format())
    except Exception:
        lines = traceback.format_tb(error.__traceback__)
        lines.append('%s: %s\n' % describeError(error))
    text = ''.join(lines)
    if len(text) > TRACEBACK_LIMIT:
        half = (TRACEBACK_LIMIT - len(CUT) - 2) // 2
        text = '%s\n%s\n%s' % (text[:half], CUT, text[-half:])
    return clean(text, TRACEBACK_LIMIT)
