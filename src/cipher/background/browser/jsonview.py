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
"""JSON: the data of the pages, under the same permissions."""
import json

from cipher.background.browser.page import READ
from cipher.background.browser.page import Published


#: JSON has no charset parameter.  With one, the publisher fails at HEAD.
JSON_TYPE = 'application/json'


def dumpJSON(data):
    """Return *data* as JSON in ASCII, which is safe in any encoding."""
    return json.dumps(data, ensure_ascii=True, sort_keys=True)


class JSONView(Published):
    """Base: answers with the data of `collect`."""

    methods = READ
    content_type = JSON_TYPE

    def collect(self):
        """Return the plain data."""
        raise NotImplementedError

    def render(self):
        return dumpJSON(self.collect())

    def renderRefusal(self, refused):
        return dumpJSON({
            'status': refused.status,
            'error': self.say(refused.message),
        })
