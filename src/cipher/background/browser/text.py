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
"""Clean texts for pages: any text gives a page in valid UTF-8."""
import re
import unicodedata
from typing import Any


# Matches control characters except tab and newline, lone surrogates, controls
# that change the order of the following text, and noncharacters of Unicode.
# The marks LRM, RLM and ALM are part of texts and stay.
_UNFIT = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff'
                    '\u202a-\u202e\u2066-\u2069\ufffe\uffff]')
_BREAKS = re.compile('\r\n?|[\x85\u2028\u2029]')
_SURROGATES = re.compile('[\ud800-\udfff]')

REPLACEMENT = '\N{REPLACEMENT CHARACTER}'
TEXT_LIMIT = 100000
LINE_LIMIT = 1000


def cleanText(text: Any, limit: int = TEXT_LIMIT) -> str:
    """Return *text* cleaned, with its lines; '' for None.

    It is cut to *limit* characters.
    """
    if text is None:
        return ''
    if isinstance(text, bytes):
        text = text.decode('utf-8', 'replace')
    try:
        text = str(text)
    except Exception as error:
        # For example, Python refuses to print a very long int.
        text = '<unprintable %s: %s>' % (
            type(text).__name__, type(error).__name__)
    if len(text) > limit:
        text = text[:limit - 1] + '…'
    return _UNFIT.sub(REPLACEMENT, _BREAKS.sub('\n', text))


def cleanLine(text: Any, limit: int = LINE_LIMIT) -> str:
    """Return *text* cleaned, as one line; '' for None.

    It is cut to *limit* characters.
    """
    return cleanText(text, limit).replace('\n', ' ').replace('\t', ' ')


def isSame(one, other):
    """Return whether two texts are equal but for case and composition."""
    return _fold(one) == _fold(other)


def _fold(text):
    return unicodedata.normalize('NFD', unicodedata.normalize(
        'NFD', text).casefold())


def encode(page):
    """Return *page* as UTF-8, without characters that UTF-8 cannot encode.

    A widget or a host's frame may have put such characters there.
    """
    return _SURROGATES.sub(REPLACEMENT, page).encode('utf-8')
