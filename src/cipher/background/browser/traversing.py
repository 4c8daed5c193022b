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
"""Traversal to the registry and its runs, and their URLs.

``++background++`` leads from any site to its nearest registry, and the id of a
run leads from there to the run.  Only views are published there.  The guards
check each step of a URL before it is taken, for all namespaces of the
application.  Path expressions of templates do not pass the guards.
"""
from typing import Any

from zope.component import adapter
from zope.component import getSiteManager
from zope.component import queryMultiAdapter
from zope.component.interfaces import ISite
from zope.interface import Declaration
from zope.interface import Interface
from zope.interface import alsoProvides
from zope.interface import implementer
from zope.interface import providedBy
from zope.location.interfaces import LocationError
from zope.publisher.browser import BrowserView
from zope.publisher.interfaces import NotFound
from zope.publisher.interfaces.browser import IBrowserPublisher
from zope.publisher.interfaces.browser import IBrowserRequest
from zope.security.interfaces import Unauthorized
from zope.security.proxy import removeSecurityProxy
from zope.traversing.browser.interfaces import IAbsoluteURL
from zope.traversing.interfaces import IBeforeTraverseEvent
from zope.traversing.interfaces import ITraversable
from zope.traversing.namespace import nsParse

from cipher.background.browser.interfaces import IBackgroundLayer
from cipher.background.browser.interfaces import IBackgroundView
from cipher.background.browser.interfaces import IInputView
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.interfaces import InvalidDatabase
from cipher.background.interfaces import IVerbs
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerRun
from cipher.background.util.host import getHost


NAME = '++background++'


def isBrowserRequest(request: Any) -> bool:
    """Return whether *request* is a browser's.

    A skin can make an XML-RPC request provide the interface of a browser
    request, so the class of the request decides.
    """
    return IBrowserRequest.implementedBy(type(removeSecurityProxy(request)))


def markRequest(request: Any) -> None:
    """Add our layer to a browser's request; raise ``NotFound`` for others."""
    if not isBrowserRequest(request):
        raise NotFound(None, NAME, request)
    if not IBackgroundLayer.providedBy(request):
        alsoProvides(request, IBackgroundLayer)
        getHost().prepareRequest(request)


def queryRegistry(site):
    """Return the nearest registry at or above *site*, or None."""
    return getHost().nearestRegistry(removeSecurityProxy(site))


@implementer(ITraversable)
@adapter(ISite, IBrowserRequest)
class RegistryNamespace:
    """The namespace ``++background++`` of a site."""

    def __init__(self, site, request):
        self.site = site
        self.request = request

    def traverse(self, name, ignored):
        """Return the nearest registry; raise `LocationError`."""
        registry = None if name else queryRegistry(self.site)
        if registry is None or not isBrowserRequest(self.request):
            raise LocationError(self.site, NAME + name)
        markRequest(self.request)
        if not IWorkerRegistry.providedBy(registry):
            raise InvalidDatabase(
                'registry: expected a registry, got %r; install the release '
                'of cipher.background that stored it' % (registry,))
        return registry


def queryView(ob, request, name):
    """Return the view *name* of a registry or a run, or None.

    A view that is registered for all objects does not count: it could publish
    our objects in an unknown way.
    """
    lookup = getSiteManager().adapters.lookup
    layers = providedBy(request)
    factory = lookup((providedBy(ob), layers), Interface, name)
    others = Declaration(*(
        interface for interface in providedBy(ob)
        if not interface.isOrExtends(IWorkerRegistry)
        and not interface.isOrExtends(IWorkerRun)))
    if (not name or factory is None
            or factory is lookup((others, layers), Interface, name)):
        return None
    view = factory(ob, request)
    # Menu items and views of an input are not pages.
    if (not IBrowserPublisher.providedBy(view)
            or IInputView.providedBy(view)):
        return None
    return view


def parseStep(name: str) -> tuple[str, str]:
    """Return (namespace, name) of a step of a URL.

    It is parsed in the same way as by the publication.
    """
    return nsParse(name) if name[:1] in ('@', '+') else ('', name)


@adapter(IWorkerRegistry, IBeforeTraverseEvent)
def guardRegistry(registry, event):
    """Subscriber: raise unless a URL leads from a registry to a view or run.
    """
    _guard(registry, registry, event.request)


@adapter(IWorkerRun, IBeforeTraverseEvent)
def guardRun(run, event):
    """Subscriber: raise unless a URL leads from a run to a view."""
    registry = getHost().protect(removeSecurityProxy(run).__parent__)
    _guard(run, registry, event.request)


@adapter(IBackgroundView, IBeforeTraverseEvent)
def guardView(view, event):
    """Subscriber: raise if a URL leads further from a view."""
    request = event.request
    steps = [name for name in request.getTraversalStack()
             if name == '.' or parseStep(name)[0]]
    if steps or not isBrowserRequest(request):
        raise NotFound(view, ''.join(steps[-1:]), request)


def _guard(ob, registry, request):
    # The next step is the last entry of the stack.  All steps are checked: a
    # namespace may lead back to the same object, for which no second event is
    # sent.
    steps = request.getTraversalStack()
    refused = [name for name in steps if name == '.' or parseStep(name)[0]
               not in ('', 'view')]
    if steps and not refused:
        namespace, name = parseStep(steps[-1])
        if namespace and queryView(ob, request, name) is None:
            refused = steps[-1:]
    if not isBrowserRequest(request):
        refused.append(''.join(steps[-1:]))
    if refused:
        # Without the permission, all URLs get the same answer.
        if not getHost().checkPermission(VIEW_WORKERS, registry):
            raise Unauthorized(ob, refused[-1], VIEW_WORKERS)
        raise NotFound(ob, refused[-1], request)


class Publisher:
    """Base: publishes the views of an object."""

    def __init__(self, context, request):
        self.context = context
        self.request = request

    def publishTraverse(self, request, name):
        """Return the view *name*; raise `NotFound`."""
        view = queryView(self.context, request, name)
        if view is None:
            raise NotFound(self.context, name, request)
        return view

    def browserDefault(self, request):
        """Return the object and the path of its default view."""
        return self.context, ('@@index.html',)


@implementer(IBrowserPublisher)
@adapter(IWorkerRegistry, IBrowserRequest)
class RegistryPublisher(Publisher):
    """Publishes the views of a registry, and its runs by id."""

    def publishTraverse(self, request, name):
        view = queryView(self.context, request, name)
        if view is not None:
            return view
        # Without the permission to see runs, all names get the same answer.
        run = IVerbs(self.context).get(name)
        if run is None:
            raise NotFound(self.context, name, request)
        return run


@implementer(IBrowserPublisher)
@adapter(IWorkerRun, IBrowserRequest)
class RunPublisher(Publisher):
    """Publishes the views of a run."""


@implementer(IAbsoluteURL, IBackgroundView)
class LocatedURL(BrowserView):
    """Base of the views that give the URL of an object."""

    def __call__(self):
        return str(self)


@adapter(IWorkerRegistry, IBrowserRequest)
class RegistryURL(LocatedURL):
    """The URL of a registry: below its site."""

    def __str__(self):
        site = removeSecurityProxy(self.context).getSite()
        return '%s/%s' % (getHost().getURL(site, self.request), NAME)

    def breadcrumbs(self):
        """Return {'name', 'url'} of each object from the root on."""
        site = removeSecurityProxy(self.context).getSite()
        return _get_breadcrumbs(site, self.request) + (
            {'name': NAME, 'url': str(self)},)


@adapter(IWorkerRun, IBrowserRequest)
class RunURL(LocatedURL):
    """The URL of a run: below its registry."""

    def __str__(self):
        run = removeSecurityProxy(self.context)
        return '%s/%s' % (
            getHost().getURL(run.__parent__, self.request), run.id)

    def breadcrumbs(self):
        """Return {'name', 'url'} of each object from the root on."""
        run = removeSecurityProxy(self.context)
        return _get_breadcrumbs(run.__parent__, self.request) + (
            {'name': run.id, 'url': str(self)},)


def _get_breadcrumbs(ob, request):
    view = queryMultiAdapter((ob, request), IAbsoluteURL)
    return tuple(view.breadcrumbs())
