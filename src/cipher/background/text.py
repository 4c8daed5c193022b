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
import re
import traceback


#: Transaction notes and user names over 64 kB fail the commit.
NOTE_LIMIT = 1000
MESSAGE_LIMIT = 500
RESULT_LIMIT = 1000
TRACEBACK_LIMIT = 65536
CUT = '… [cut here]'

# Control characters but tab and newline, lone surrogates, the controls of
# bidirectional text.
_UNFIT = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff'
                    '\u200e\u200f\u202a-\u202e\u2066-\u2069]')
_BREAKS = re.compile(r'[\t\n\x85\u2028\u2029]+')


def clean(text, limit):
    """Return *text* with what is unfit replaced, at most *limit* characters.
    """
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


def describeError(error):
    """Return (type name, one short line of text) of an exception."""
    return cleanLine(type(error).__name__), cleanLine(safeStr(error))


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
