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
"""The demo's own frame around all pages, those of the workers included."""
from zope.browserpage import ViewPageTemplateFile
from zope.component import queryAdapter
from zope.component.hooks import getSite
from zope.interface import alsoProvides
from zope.publisher.interfaces.browser import IDefaultBrowserLayer
from zope.traversing.browser import absoluteURL

from cipher.background.browser.frame import BackgroundMacros
from cipher.background.demo.interfaces import DOCUMENTS
from cipher.background.i18n import _


CSS = 'cipher-background-demo.css'
ICON = 'cipher-background-demo.svg'


class IDemoLayer(IDefaultBrowserLayer):
    """Marks a request for the demo's pages."""


def markRequest(site, event):
    """Subscriber: what is asked of the site is asked of the demo.

    At the first object of the path, so before the layer of the workers' pages
    comes to the request: the demo's views are found before theirs.
    """
    if not IDemoLayer.providedBy(event.request):
        alsoProvides(event.request, IDemoLayer)


class DemoMacros(BackgroundMacros):
    """The view ``background_macros`` of the demo."""

    index = ViewPageTemplateFile('templates/frame.pt')

    @property
    def is_background(self):
        """Whether the page is one of the background workers."""
        return '/++background++' in self.request.getURL()

    @property
    def main_tabs(self):
        """The tabs below the bar."""
        site = absoluteURL(getSite(), self.request)
        return [
            {'title': _('Documents'),
             'url': '%s/%s/index.html' % (site, DOCUMENTS),
             'current': not self.is_background},
            {'title': _('Background'),
             'url': '%s/++background++/index.html' % site,
             'current': self.is_background},
        ]

    @property
    def css_url(self):
        """URL of the demo's own stylesheet."""
        return self._get_resource_url(CSS)

    @property
    def icon_url(self):
        """URL of the demo's icon."""
        return self._get_resource_url(ICON)

    def _get_resource_url(self, name):
        resource = queryAdapter(self.request, name=name)
        return '' if resource is None else resource()
