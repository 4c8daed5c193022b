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
"""The host of applications of Pyramid.

Objects know their place by ``__parent__`` and ``__name__``.  A registry is an
attribute of its site, which is any stored object of the tree.  The security
policy of Pyramid says who somebody is and what they may do.
"""
import threading
from contextlib import contextmanager

import transaction
from persistent.interfaces import IPersistent
from pyramid.authorization import Everyone
from pyramid.httpexceptions import HTTPForbidden
from pyramid.interfaces import IRequestFactory
from pyramid.interfaces import ISecurityPolicy
from pyramid.request import Request
from pyramid.request import apply_request_extensions
from pyramid.threadlocal import get_current_request
from pyramid.threadlocal import manager as threadlocals
from zope.authentication.interfaces import IUnauthenticatedPrincipal
from zope.authentication.interfaces import PrincipalLookupError
from zope.component import queryUtility
from zope.interface import implementer
from zope.interface import provider
from zope.publisher.browser import BrowserView
from zope.security.checker import CheckerPublic
from zope.security.interfaces import IChecker
from zope.security.interfaces import IInteraction
from zope.security.interfaces import IPrincipal
from zope.security.interfaces import ISecurityPolicy as IToolkitPolicy
from zope.security.interfaces import Unauthorized
from zope.security.management import thread_local
from zope.security.proxy import Proxy
from zope.security.proxy import removeSecurityProxy
from zope.security.simplepolicies import ParanoidSecurityPolicy

from cipher.background.interfaces import IWebSettings
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerRun
from cipher.background.interfaces import RegistryNotFound
from cipher.background.util.host import SYSTEM
from cipher.background.util.host import Participation
from cipher.background.util.host import ToolkitHost
from cipher.background.util.host import firstConnection


#: The attribute of a site that is its registry.
ATTRIBUTE = '__background_registry__'

#: Name of the registry below its site.
NAME = '++background++'

#: The permission to see an object of the application.
VIEW = 'view'

#: Keys of an environ: the id of the principal of a request that no browser
#: has sent, and the URL of the pages' site.
USERID = 'cipher.background.userid'
SITE_URL = 'cipher.background.site_url'

_thread = threading.local()


@implementer(IPrincipal)
class PyramidPrincipal:
    """The user of a request.  Only a question for the id authenticates."""

    description = ''

    def __init__(self, request):
        self.request = request

    @property
    def id(self):
        return identify(self.request) or Everyone

    @property
    def title(self):
        return self.id

    def may(self, permission, ob):
        """Return whether the security policy permits it; False without one.
        """
        policy = self.request.registry.queryUtility(ISecurityPolicy)
        return policy is not None and bool(
            policy.permits(self.request, ob, permission))


@implementer(IUnauthenticatedPrincipal)
class Anonymous(PyramidPrincipal):
    """Somebody who has not logged in."""

    id = title = Everyone


def identify(request):
    """Return the id of the user of *request* as a text, or None."""
    policy = request.registry.queryUtility(ISecurityPolicy)
    userid = policy and policy.authenticated_userid(request)
    if userid is None or userid == '':
        return None
    # Nobody is the system because of a name.
    return None if str(userid) in (*SYSTEM, Everyone) else str(userid)


def principalOf(request):
    """Return the principal of a request of Pyramid."""
    return (Anonymous if identify(request) is None
            else PyramidPrincipal)(request)


@implementer(IInteraction)
@provider(IToolkitPolicy)
class PyramidPolicy(ParanoidSecurityPolicy):
    """The security policy of zope.security: it asks that of Pyramid.

    An interaction without participations is allowed everything.
    """

    def checkPermission(self, permission, ob):
        if permission is CheckerPublic or permission == 'zope.Public':
            return True
        ob = removeSecurityProxy(ob)
        while isinstance(ob, BrowserView):
            ob = removeSecurityProxy(ob.context)
        return all(
            participation.principal is None
            or participation.principal.id in SYSTEM
            or participation.principal.may(permission, ob)
            for participation in self.participations)


@implementer(IChecker)
class Viewable:
    """A checker: each access to an object asks for the permission to view."""

    def check(self, ob, name):
        if name not in _OPEN and not PyramidHost.mayView(ob):
            raise Unauthorized(ob, name, VIEW)

    check_getattr = check_setattr = check

    def proxy(self, value):
        return value


_viewable = Viewable()

# What adapters and comparisons ask: it shows nothing of an object.
_OPEN = frozenset((
    '__bool__', '__class__', '__conform__', '__eq__', '__hash__',
    '__implemented__', '__ne__', '__providedBy__', '__provides__'))


class PyramidHost(ToolkitHost):
    """An application of Pyramid.

    *registries* are those of the applications in this process.
    """

    registry_advice = (
        'let the setting background.add_registry be true, or call '
        'addRegistry(site)')

    def __init__(self):
        self.registries = []

    # Threads

    def getSite(self):
        site = getattr(_thread, 'site', None)
        if site is None:
            request = get_current_request()
            site = getattr(request, 'background_site', None)
        return site

    def enterSite(self, site):
        previous = getattr(_thread, 'site', None), site is not None
        if site is not None:
            request = self.makeRequest(site)
            threadlocals.push(threadlocals.get() if request is None else {
                'request': request, 'registry': request.registry})
        _thread.site = site
        return previous

    def leaveSite(self, previous):
        _thread.site, is_pushed = previous
        if is_pushed:
            threadlocals.pop()

    def makeRequest(self, site, userid=None):
        """Return a request of the principal *userid* for work in *site*.

        Return None if no application of this process has its database.
        """
        connection = self.connectionOf(site)
        registry = connection and self._get_registry(connection.db())
        if registry is None:
            return None
        settings = queryUtility(IWebSettings)
        base_url = getattr(settings, 'base_url', None)
        factory = registry.queryUtility(IRequestFactory, default=Request)
        request = factory.blank('/', environ={
            # See pyramid_tm.
            'tm.manager': connection.transaction_manager, 'tm.active': True,
        }, base_url=base_url)
        if userid is not None:
            request.environ.update(
                {USERID: userid, 'REMOTE_USER': userid.encode(
                    'utf-8', 'surrogatepass').decode('latin-1')})
        request.registry = registry
        request.root = request.context = site
        # See pyramid_zodbconn: the connection of this work.
        request._primary_zodb_conn = connection
        apply_request_extensions(request)
        return request

    def _get_registry(self, db):
        for registry in reversed(self.registries):
            if db in getattr(registry, '_zodb_databases', {}).values():
                return registry
        return None

    @contextmanager
    def actingFor(self, request):
        """Act in the block for the user of *request*, one of Pyramid."""
        previous = getattr(thread_local, 'interaction', None)
        thread_local.interaction = PyramidPolicy(
            Participation(PyramidPrincipal(request)))
        try:
            yield
        finally:
            if previous is None:
                del thread_local.interaction
            else:
                thread_local.interaction = previous

    # Objects

    def isInPlace(self, ob):
        ob = removeSecurityProxy(ob)
        if IWorkerRegistry.providedBy(ob):
            site = ob.__parent__
            return (site is not None and self._own(site) is ob
                    and self.isInPlace(site))
        connection = firstConnection(self.lineage(ob))
        return (connection is not None and ob is connection.root()
                or super().isInPlace(ob))

    def traverse(self, ob, name, is_trusted=False):
        found = removeSecurityProxy(ob)[name]
        if is_trusted:
            return found
        if not self.mayView(found):
            raise Unauthorized(ob, name, VIEW)
        return self.protect(found)

    def protect(self, ob):
        if not IPersistent.providedBy(ob) or IWorkerRegistry.providedBy(
                ob) or IWorkerRun.providedBy(ob) or type(ob) is Proxy:
            return ob
        return Proxy(ob, _viewable)

    @staticmethod
    def mayView(ob):
        """Return whether the principals of the thread may see *ob*."""
        interaction = getattr(thread_local, 'interaction', None)
        return interaction is None or interaction.checkPermission(VIEW, ob)

    # Sites and registries

    def isSite(self, ob):
        return IPersistent.providedBy(ob)

    def _own(self, site):
        return getattr(removeSecurityProxy(site), ATTRIBUTE, None)

    def siteOf(self, registry):
        site = removeSecurityProxy(registry).__parent__
        if site is None:
            raise RegistryNotFound(
                'registry: expected a site that has it, got one that was '
                'removed; add another with addRegistry(site)')
        return site

    def nearestRegistry(self, ob):
        for place in self.lineage(removeSecurityProxy(ob)):
            registry = self._own(place)
            if registry is not None:
                return registry
        return None

    def ownRegistry(self, site):
        if not self.isSite(site):
            raise LookupError(site)
        return self._own(site)

    def connectionOf(self, site):
        return firstConnection(self.lineage(removeSecurityProxy(site)))

    def putRegistry(self, site, registry):
        site = removeSecurityProxy(site)
        registry.__name__ = NAME
        registry.__parent__ = site
        setattr(site, ATTRIBUTE, registry)

    def takeRegistry(self, site, registry):
        delattr(removeSecurityProxy(site), ATTRIBUTE)
        registry.__parent__ = None

    # Principals

    def currentPerson(self):
        # Visitors who have not logged in are nobody in particular.
        person = super().currentPerson()
        return None if person == Everyone else person

    def getPrincipal(self, principal_id):
        if principal_id in SYSTEM:
            return super().getPrincipal(None)
        site = self.getSite()
        request = site is not None and self.makeRequest(
            site, None if principal_id == Everyone else principal_id)
        if not request:
            raise PrincipalLookupError(principal_id)
        principal = principalOf(request)
        if principal.id != principal_id:
            raise PrincipalLookupError(principal_id)
        return principal

    def currentTransaction(self):
        manager = getattr(get_current_request(), 'tm', transaction.manager)
        return manager.get()

    def challenge(self, request):
        if IUnauthenticatedPrincipal.providedBy(self.principalOf(request)):
            # The application answers this: it may lead to its login.
            raise HTTPForbidden()

    # Addresses

    def getURL(self, ob, request):
        ob = removeSecurityProxy(ob)
        if IWorkerRun.providedBy(ob):
            return '%s/%s' % (self.getURL(ob.__parent__, request), ob.id)
        if IWorkerRegistry.providedBy(ob):
            return '%s/%s' % (self.getURL(ob.__parent__, request), NAME)
        pyramid = request.pyramid
        if ob is removeSecurityProxy(pyramid.background_site):
            return request.getApplicationURL()
        if ob is None or not self.isInPlace(ob):
            raise TypeError('expected an object with an address, got one '
                            'without')
        return pyramid.resource_url(ob).rstrip('/')

    def getRootURL(self, request):
        return request.pyramid.application_url
