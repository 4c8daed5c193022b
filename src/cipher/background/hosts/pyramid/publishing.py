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
"""The pages, in a view of Pyramid.

The view hands its request to the publisher of our pages, in the transaction
of the request.  Only our own views and resources are published.
"""
from pyramid.httpexceptions import HTTPException
from pyramid.httpexceptions import HTTPForbidden
from pyramid.httpexceptions import HTTPNotFound
from pyramid.request import Request
from transaction.interfaces import TransientError
from zope.component import queryAdapter
from zope.component import queryMultiAdapter
from zope.event import notify
from zope.location import LocationProxy
from zope.publisher.browser import BrowserRequest
from zope.publisher.defaultview import queryDefaultViewName
from zope.publisher.interfaces import NotFound
from zope.publisher.interfaces.browser import IBrowserPublisher
from zope.publisher.publish import mapply
from zope.security.checker import ProxyFactory
from zope.traversing.interfaces import BeforeTraverseEvent

from cipher.background.browser import answerErrors
from cipher.background.browser.interfaces import IBackgroundView
from cipher.background.browser.resources import StaticFile
from cipher.background.browser.text import cleanLine
from cipher.background.browser.traversing import NAME
from cipher.background.browser.traversing import RegistryNamespace
from cipher.background.browser.traversing import markRequest
from cipher.background.browser.traversing import parseStep
from cipher.background.hosts.pyramid.host import principalOf
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.util.host import getHost
from cipher.background.util.logs import getLogger


log = getLogger(__name__)

#: Raised to Pyramid: its views, and a tween that tries again, answer them.
PASSED = (HTTPException, TransientError)


class PageRequest(BrowserRequest):
    """A request of zope.publisher, with that of Pyramid."""

    pyramid = None


class Root:
    """Where the traversal begins: the site of the pages."""

    def __init__(self, site):
        self.site = site


class Resources:
    """Has the files that pages load."""


class Publication:
    """What `PageRequest.traverse` asks for each step."""

    def callTraversalHooks(self, request, ob):
        """Let the guards look at the next step."""
        notify(BeforeTraverseEvent(ob, request))

    def traverseName(self, request, ob, name):
        """Return what is called *name* in *ob*; raise ``NotFound``."""
        found = None
        if isinstance(ob, Root):
            if name == NAME:
                return RegistryNamespace(ob.site, request).traverse('', ())
            found = Resources() if name == '@@' else None
        elif isinstance(ob, Resources):
            found = queryAdapter(request, name=name)
            found = found if isinstance(found, StaticFile) else None
        else:
            # The guards have refused other namespaces.
            publisher = queryMultiAdapter((ob, request), IBrowserPublisher)
            if publisher is not None:
                found = publisher.publishTraverse(request, parseStep(name)[1])
        if found is None:
            raise NotFound(ob, name, request)
        return _protect(found)

    def getDefaultTraversal(self, request, ob):
        """Return (object, names of further steps)."""
        publisher = ob if IBrowserPublisher.providedBy(ob) else (
            queryMultiAdapter((ob, request), IBrowserPublisher))
        if publisher is None:
            return ob, ()
        ob, names = publisher.browserDefault(request)
        return _protect(ob), names


def _protect(ob):
    """Let a view ask for its permission; other objects are not for sale."""
    return ProxyFactory(ob) if IBackgroundView.providedBy(ob) else ob


def serve(request):
    """View: answer *request*, one of Pyramid for a page or a resource."""
    resource = request.matchdict.get('background_resource')
    root = None
    if resource is None:
        root = Root(request.background_site)
        if getHost().nearestRegistry(root.site) is None:
            _refuse_without_registry(root.site)
    environ = _make_environ(request)
    raised = []

    def application(environ, start_response):
        page_request = PageRequest(environ['wsgi.input'], environ)
        page_request.pyramid = request
        try:
            publish(page_request, root or Root(None))
        except PASSED as error:
            raised.append(error)
        finally:
            page_request.close()
        response = page_request.response
        start_response(response.getStatusString(), response.getHeaders())
        return response.consumeBodyIter() if not raised else ()

    response = Request(environ).get_response(
        answerErrors(application, browsers_only=True))
    if raised:
        raise raised[0]
    return response


def _refuse_without_registry(site):
    if not getHost().checkPermission(VIEW_WORKERS, site):
        raise HTTPForbidden()
    raise HTTPNotFound(
        'registry: expected one in the site of the application, got none; '
        'add it with addRegistry(site), or leave the setting '
        'background.add_registry out')


def _make_environ(request):
    """Return the environ of *request*, with the site as its application."""
    request.make_body_seekable()
    request.body_file_raw.seek(0)
    environ = dict(request.environ)
    path = environ['PATH_INFO']
    start = path.index('/@@/' if 'background_resource' in request.matchdict
                       else '/' + NAME)
    environ['SCRIPT_NAME'] += path[:start]
    environ['PATH_INFO'] = path[start:]
    return environ


def publish(request, root):
    """Let *request*, a `PageRequest`, be answered.

    Raise one of `PASSED`.  After any other error the transaction is doomed
    and the answer is our page about it.
    """
    publication = Publication()
    request.setPublication(publication)
    markRequest(request)
    ob = None
    try:
        request.processInputs()
        request.setPrincipal(principalOf(request.pyramid))
        ob = request.traverse(root)
        request.response.setResult(mapply(ob, (), request))
    except PASSED:
        raise
    except Exception as error:
        getHost().currentTransaction().doom()
        request.response.reset()
        request.response.setResult(_describe_error(request, error))


def _describe_error(request, error):
    """Return the body of the page about *error*."""
    located = LocationProxy(error, None, '')
    view = queryMultiAdapter(
        (located, request), name=queryDefaultViewName(located, request))
    body = mapply(view, (), request)
    if request.response.getStatus() >= 500:
        log.error('%s %s: %s: %s', cleanLine(request.method, 20),
                  cleanLine(request.pyramid.path_info, 200),
                  type(error).__name__, cleanLine(error, 200), exc_info=error)
    return body
