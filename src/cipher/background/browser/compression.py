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
"""Compress an answer if the client reads gzip.

Answers with a secret are never compressed: the size of an answer that also
contains a chosen text would show parts of the secret (BREACH).  So no HTML is
compressed, because forms have a token.
"""
import gzip
import re


#: Bytes.  It does not pay to compress a shorter answer.
LEAST = 1000

_GZIP = re.compile(r'(?:^|,)\s*(?:gzip|\*)\s*(?:;\s*q=([0-9.]*)\s*)?(?=,|$)',
                   re.IGNORECASE)


def compress(request, body):
    """Return the *body* of the answer to *request*, compressed if it may be.

    Set the headers that belong to it.
    """
    response = request.response
    response.setHeader('Vary', 'Accept-Encoding')
    if len(body) < LEAST or not acceptsGzip(request):
        return body
    response.setHeader('Content-Encoding', 'gzip')
    return gzip.compress(body, 5, mtime=0)


def acceptsGzip(request):
    """Return whether the client of *request* reads gzip."""
    found = _GZIP.search(request.getHeader('Accept-Encoding') or '')
    try:
        return found is not None and float(found.group(1) or 1) > 0
    except ValueError:
        return False
