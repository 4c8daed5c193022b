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
"""The way to the registry and its runs, and their addresses.

``++background++`` leads from any site to its nearest registry, and a run's id
from there to the run.
"""
from zope.component import adapter
from zope.component import queryMultiAdapter
from zope.component import queryUtility
from zope.component.interfaces import ISite
from zope.interface import alsoProvides
from zope.interface import implementer
from zope.interface.interfaces import ComponentLookupError
from zope.location.interfaces import LocationError
from zope.publisher.browser import BrowserView
from zope.publisher.interfaces import NotFound
from zope.publisher.interfaces.browser import IBrowserPublisher
from zope.publisher.interfaces.browser import IBrowserRequest
from zope.security.proxy import removeSecurityProxy
from zope.traversing.browser import absoluteURL
from zope.traversing.browser.interfaces import IAbsoluteURL
from zope.traversing.interfaces import ITraversable

from cipher.background.browser.interfaces import IBackgroundLayer
from cipher.background.interfaces import IVerbs
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerRun


NAME = '++background++'


def markRequest(request):
    """Put our layer onto the request."""
    if not IBackgroundLayer.providedBy(request):
        alsoProvides(request, IBackgroundLayer)


def queryRegistry(site):
    """Return the nearest registry at or above *site*, or None."""
    try:
        return queryUtility(
            IWorkerRegistry, context=removeSecurityProxy(site))
    except ComponentLookupError:
        return None


@implementer(ITraversable)
@adapter(ISite, IBrowserRequest)
class RegistryNamespace:
    """``++background++`` on a site."""

    def __init__(self, site, request):
        self.site = site
        self.request = request

    def traverse(self, name, ignored):
        """Return the nearest registry; raise `LocationError`."""
        registry = None if name else queryRegistry(self.site)
        if registry is None:
            raise LocationError(self.site, NAME + name)
        markRequest(self.request)
        return registry


class Publisher:
    """What is published below an object: views, here."""

    def __init__(self, context, request):
        self.context = context
        self.request = request

    def publishTraverse(self, request, name):
        """Return what *name* leads to; raise `NotFound`."""
        view = queryMultiAdapter((self.context, request), name=name)
        if view is None:
            raise NotFound(self.context, name, request)
        return view

    def browserDefault(self, request):
        """Return what is published where the path ends."""
        return self.context, ('@@index.html',)


@implementer(IBrowserPublisher)
@adapter(IWorkerRegistry, IBrowserRequest)
class RegistryPublisher(Publisher):
    """Views of the registry, and its runs by id."""

    def publishTraverse(self, request, name):
        view = queryMultiAdapter((self.context, request), name=name)
        if view is not None:
            return view
        # Without the permission to see runs, all names answer alike.
        run = IVerbs(self.context).get(name)
        if run is None:
            raise NotFound(self.context, name, request)
        return run


@implementer(IBrowserPublisher)
@adapter(IWorkerRun, IBrowserRequest)
class RunPublisher(Publisher):
    """Views of a run."""


@implementer(IAbsoluteURL)
class LocatedURL(BrowserView):
    """Base of the addresses."""

    def __call__(self):
        return str(self)


@adapter(IWorkerRegistry, IBrowserRequest)
class RegistryURL(LocatedURL):
    """A registry is below its site."""

    def __str__(self):
        site = removeSecurityProxy(self.context).getSite()
        return '%s/%s' % (absoluteURL(site, self.request), NAME)

    def breadcrumbs(self):
        """Return the way from the root."""
        site = removeSecurityProxy(self.context).getSite()
        return _get_breadcrumbs(site, self.request) + (
            {'name': NAME, 'url': str(self)},)


@adapter(IWorkerRun, IBrowserRequest)
class RunURL(LocatedURL):
    """A run is below its registry."""

    def __str__(self):
        run = removeSecurityProxy(self.context)
        return '%s/%s' % (absoluteURL(run.__parent__, self.request), run.id)

    def breadcrumbs(self):
        """Return the way from the root."""
        run = removeSecurityProxy(self.context)
        return _get_breadcrumbs(run.__parent__, self.request) + (
            {'name': run.id, 'url': str(self)},)


def _get_breadcrumbs(ob, request):
    view = queryMultiAdapter((ob, request), IAbsoluteURL)
    return tuple(view.breadcrumbs())
