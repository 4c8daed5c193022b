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
"""The front page of an application that has none yet."""
from zope.component.interfaces import ISite
from zope.publisher.browser import BrowserPage
from zope.publisher.interfaces import NotFound
from zope.traversing.browser import absoluteURL

from cipher.background.browser.traversing import NAME as PAGES
from cipher.background.browser.traversing import queryRegistry


class _ViewName(str):
    """The name of a default view.

    It is registered as if it were a factory.  So a look for a view without a
    name calls it; it makes none.
    """

    def __call__(self, context, request):
        return None


NAME = _ViewName('index.html')


class FrontPage(BrowserPage):
    """Redirects from a site with a registry; nothing else has this page."""

    def __call__(self):
        if not ISite.providedBy(self.context) or (
                queryRegistry(self.context) is None):
            raise NotFound(self.context, self.__name__, self.request)
        self.request.response.redirect('%s/%s/' % (
            absoluteURL(self.context, self.request), PAGES))
        return ''
