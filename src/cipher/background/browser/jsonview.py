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
"""JSON: the data of the pages, under the same permissions.

The answer to a GET has an ETag.  A script that sends it back in
``If-None-Match`` gets 304 and no body while nothing has changed that the
reader may see.  A long answer is compressed if the request allows it.
"""
import hashlib
import json
import time
from typing import Any

from zope.browserresource.file import parse_etags

from cipher.background.browser.compression import compress
from cipher.background.browser.page import READ
from cipher.background.browser.page import Published
from cipher.background.browser.page import Refused
from cipher.background.browser.polling import budget


JSON_TYPE = 'application/json'

#: Header with the number of seconds until the page may ask again.
POLL_AFTER = 'Poll-After'


def dumpJSON(data):
    """Return *data* as JSON in ASCII, which is safe in any encoding."""
    return json.dumps(data, ensure_ascii=True, sort_keys=True)


class JSONView(Published):
    """Base: answers with the data of `collect`."""

    methods = READ
    content_type = JSON_TYPE
    is_compressed = True   # False if the data has a secret

    def __call__(self) -> bytes | str:
        self._began = time.thread_time()
        return super().__call__()

    def send(self, body: bytes) -> bytes:
        """Return *body* compressed; nothing if the reader has it already."""
        request, response = self.request, self.request.response
        if request.method not in READ:
            return body
        # A weak one: it is the same for the compressed answer.
        etag = 'W/"%s"' % hashlib.sha256(body).hexdigest()[:32]
        response.setHeader('ETag', etag)
        known = parse_etags(request.getHeader('If-None-Match') or '')
        if etag in known or etag[2:] in known:
            response.setStatus(304)
            body = b''
        elif self.is_compressed:
            body = compress(request, body)
        response.setHeader(POLL_AFTER, '%.0f' % budget.spend(
            time.thread_time() - self._began))
        return body

    def collect(self) -> Any:
        """Return the plain data."""
        raise NotImplementedError

    def render(self) -> str:
        return dumpJSON(self.collect())

    def renderRefusal(self, refused: Refused) -> str:
        return dumpJSON({
            'status': refused.status,
            'error': self.say(refused.message),
        })
