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
"""The guard of the demo's requests, and the frame of all its pages."""
from zope.browserpage import ViewPageTemplateFile
from zope.browserresource.file import FileResource
from zope.browserresource.resources import Resources
from zope.component import queryAdapter
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.interface import alsoProvides
from zope.publisher.interfaces import NotFound
from zope.publisher.interfaces.browser import IDefaultBrowserLayer
from zope.security.proxy import removeSecurityProxy
from zope.site.interfaces import IRootFolder

from cipher.background.browser import BackgroundMacros
from cipher.background.browser import IBackgroundView
from cipher.background.browser import getPath
from cipher.background.browser import getSetting
from cipher.background.browser import getURL
from cipher.background.browser import isBrowserRequest
from cipher.background.browser import parseStep
from cipher.background.demo.i18n import _
from cipher.background.demo.interfaces import DOCUMENTS
from cipher.background.demo.interfaces import IDocument
from cipher.background.demo.interfaces import IDocuments
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerRun


CSS = 'cipher-background-demo.css'
ICON = 'cipher-background-demo.svg'


class IDemoLayer(IDefaultBrowserLayer):
    """Marks a request for the demo's pages."""


def guard(ob, event):
    """Subscriber: raise unless a URL leads to content or to a page.

    The Zope Toolkit publishes each method that a user may call, even to links
    of other sites.  The demo publishes only pages: no attributes, no site
    manager, and only views of the demo and of the background workers.
    """
    request = event.request
    if IRootFolder.providedBy(ob) and isBrowserRequest(request):
        _begin(removeSecurityProxy(ob), request)
    steps = request.getTraversalStack()
    refused = [name for name in steps if name == '.' or parseStep(name)[0]
               not in getNamespaces()]
    if (refused or not isBrowserRequest(request)
            or not _is_published(removeSecurityProxy(ob))):
        raise NotFound(ob, ''.join(refused[-1:]), request)


def _begin(site, request):
    """Set the site and add the demo's layer to the request.

    This comes before the layer of the workers' pages, so the demo's views take
    precedence.  It comes before any refusal as well, because a refusal is a
    page.
    """
    setSite(site)
    if not IDemoLayer.providedBy(request):
        alsoProvides(request, IDemoLayer)


def getNamespaces():
    """Return the namespaces that a URL may have."""
    return ('', 'view', 'background') + (
        ('vh',) if getSetting('trusts_virtual_hosts') else ())


def _is_published(ob):
    return isinstance(ob, (Resources, FileResource)) or any(
        interface.providedBy(ob) for interface in (
            IRootFolder, IDocuments, IDocument, IWorkerRegistry, IWorkerRun,
            IBackgroundView))


class DemoMacros(BackgroundMacros):
    """The view ``background_macros`` of the demo."""

    index = ViewPageTemplateFile('templates/frame.pt')

    @property
    def is_background(self):
        """Whether the page belongs to the background workers."""
        return '/++background++' in self.request.getURL()

    @property
    def main_tabs(self):
        """The tabs below the bar."""
        site = getURL(getSite(), self.request)
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
        return '' if resource is None else getPath(resource())
