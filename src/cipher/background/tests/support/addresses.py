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
"""Request every URL: all namespaces, names, methods and visitors.

Nothing is listed by hand: namespaces are those that are registered, names are
those that a checker allows or a view has.
"""
import base64
import inspect
from io import BytesIO
from itertools import cycle
from urllib.parse import quote
from urllib.parse import urlencode
from xmlrpc.client import dumps

from zope.component import getGlobalSiteManager
from zope.interface import Interface
from zope.interface import implementer
from zope.publisher.interfaces import IRequest
from zope.security.checker import getChecker
from zope.security.proxy import ProxyFactory
from zope.security.proxy import removeSecurityProxy
from zope.traversing.interfaces import ITraversable
from zope.traversing.namespace import debug

from cipher.background.browser.errors import ErrorPage
from cipher.background.browser.page import Published


#: Kinds of requests.  SUFFIX names the step in a field of the form, with
#: ``:method``.  SKIN gives an XML-RPC request the skin of a browser.
GET, HEAD, POST, PUT, XMLRPC, SUFFIX, SKIN = METHODS = (
    'GET', 'HEAD', 'POST', 'PUT', 'XMLRPC', 'SUFFIX', 'SKIN')
BROWSER = (GET, HEAD, POST, SUFFIX)


class Answer:
    """The answer to a request: status, headers, body, error."""

    def __init__(self, application, environ):
        self.status, self.headers, self.error = None, {}, None
        try:
            self.body = b''.join(application(environ, self._start))
        except Exception as error:
            # A server would answer with its own page.
            self.body, self.error, self.status = b'', error, 500

    def _start(self, status, headers, exc_info=None):
        self.status = int(status.split()[0])
        self.headers = dict(headers)

    @property
    def is_shown(self):
        """Whether the request was granted."""
        return self.status < 400 and b'<fault>' not in self.body


def ask(application, method, path, user=None, query='', body=b'', **environ):
    """Return the `Answer` to a bare WSGI request; *path* is not quoted."""
    environ = {
        'REQUEST_METHOD': method, 'SCRIPT_NAME': '',
        'PATH_INFO': path.encode('utf-8').decode('latin-1'),
        'QUERY_STRING': query, 'SERVER_NAME': 'localhost',
        'SERVER_PORT': '80', 'SERVER_PROTOCOL': 'HTTP/1.1',
        'HTTP_HOST': 'localhost', 'wsgi.url_scheme': 'http',
        'wsgi.input': BytesIO(body), 'CONTENT_LENGTH': str(len(body)),
        **environ}
    if user is not None:
        login = base64.b64encode(('%s:%s' % (user, user)).encode())
        environ['HTTP_AUTHORIZATION'] = 'Basic ' + login.decode()
    return Answer(application, environ)


@implementer(ITraversable)
class Reckless:
    """A host's namespace that returns everything without a security proxy."""

    def __init__(self, context, request=None):
        self.context = removeSecurityProxy(context)

    def traverse(self, name, ignored):
        return getattr(self.context, name)


def addNamespaces(test):
    """Add namespaces of a debugger and of a host during *test*."""
    manager = getGlobalSiteManager()
    for name, factory in ('debug', debug), ('reckless', Reckless):
        values = factory, (Interface, IRequest), ITraversable, name
        manager.registerAdapter(*values)
        test.addCleanup(manager.unregisterAdapter, *values)


def findNamespaces():
    """Return the names of all namespaces of this process."""
    return sorted({
        registration.name
        for registration in getGlobalSiteManager().registeredAdapters()
        if registration.provided.isOrExtends(ITraversable)
        and registration.name} | {'unknown'})


def findOtherNames():
    """Return the names of all utilities, adapters and resources."""
    manager = getGlobalSiteManager()
    found = {registration.name
             for registration in manager.registeredUtilities()}
    return found | {registration.name
                    for registration in manager.registeredAdapters()
                    if len(registration.required) == 1}


def findViewNames(ob, request):
    """Return the names of the views registered for *ob* and *request*."""
    found = set()
    for registration in getGlobalSiteManager().registeredAdapters():
        required = registration.required
        if len(required) == 2 and all(
                interface.providedBy(value) for interface, value
                in zip(required, (ob, request))):
            found.add(registration.name)
    return found


def findPages(kind):
    """Return the names of our pages and JSON for *kind*, an interface."""
    return sorted({
        registration.name
        for registration in getGlobalSiteManager().registeredAdapters()
        if len(registration.required) == 2 and registration.name
        and kind.isOrExtends(registration.required[0])
        and inspect.isclass(registration.factory)
        and issubclass(registration.factory, (Published, ErrorPage))})


def findNames(ob):
    """Return the names that the checker of *ob* allows to get or to set."""
    checker = getChecker(ProxyFactory(ob))
    return set(checker.get_permissions) | set(checker.set_permissions)


def findParameters(ob, names):
    """Return the names of the arguments of the methods of *ob*."""
    found = set()
    for name in names:
        method = getattr(ob, name, None)
        if inspect.isroutine(method):
            try:
                found |= set(inspect.signature(method).parameters)
            except (TypeError, ValueError):
                found.add('key')
    return found


class Walk:
    """Mix-in: requests each name in each namespace of each object."""

    users = ()
    skin = None        # a skin for XML-RPC requests
    application = db = None

    def walk(self, objects):
        """Request everything below *objects*, {path: (object, names)}.

        Each name in each namespace is requested by each visitor and in each
        way; the pairs of both take turns.  Yield (path, namespace, name,
        visitor, way, answer).
        """
        pairs = cycle([(user, method) for method in METHODS
                       for user in self.users])
        for path, (ob, names) in objects.items():
            query = self.makeQuery(ob, names)
            for namespace in self.namespaces:
                for name in sorted(names):
                    for _turn in range(self.turns):
                        user, method = next(pairs)
                        yield (path, namespace, name, user, method,
                               self.step(path, namespace, name, user, method,
                                         query))

    def step(self, path, namespace, name, user, method, query):
        """Request a name in a namespace; return the answer."""
        step = '++%s++%s' % (namespace, name)
        whole = '%s/%s' % (path.rstrip('/'), step)
        if method == POST:
            return ask(self.application, POST, whole, user,
                       body=query.encode('ascii'), CONTENT_TYPE=(
                           'application/x-www-form-urlencoded'))
        if method == SUFFIX:
            return ask(self.application, GET, path, user, '%s&%s:method=1' % (
                query, quote(step, safe='')))
        if method in (XMLRPC, SKIN):
            if method == SKIN:
                path = '/++skin++%s%s' % (self.skin, path)
            body = dumps(tuple(self.values), step).encode('utf-8')
            return ask(self.application, POST, path, user, body=body,
                       CONTENT_TYPE='text/xml')
        return ask(self.application, method, whole, user, query)

    def makeQuery(self, ob, names):
        """Return a query with a value for each argument of a method."""
        return urlencode({
            parameter: self.values[0] if 'id' in parameter
            else self.values[1]
            for parameter in sorted(findParameters(ob, names))})
