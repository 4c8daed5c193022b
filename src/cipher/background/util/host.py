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
"""The host application: see `IHost`.

`ToolkitHost` is that of the Zope Toolkit, and the default.  It alone uses the
interfaces by which an application of that kind places, finds and permits.
"""
from collections.abc import Iterable
from contextlib import contextmanager
from typing import Any

import transaction
from ZODB.utils import z64
from zope.authentication.interfaces import IAuthentication
from zope.authentication.interfaces import IUnauthenticatedPrincipal
from zope.authentication.interfaces import PrincipalLookupError
from zope.component import getGlobalSiteManager
from zope.component import getUtility
from zope.component import hooks
from zope.component import queryAdapter
from zope.component import queryUtility
from zope.interface import implementer
from zope.interface.interfaces import ComponentLookupError
from zope.security.checker import ProxyFactory
from zope.security.interfaces import IParticipation
from zope.security.interfaces import IPrincipal
from zope.security.management import checkPermission
from zope.security.management import endInteraction
from zope.security.management import newInteraction
from zope.security.management import queryInteraction
from zope.security.management import restoreInteraction
from zope.security.management import system_user
from zope.security.management import thread_local
from zope.security.proxy import removeSecurityProxy
from zope.traversing.interfaces import ITraversable

from cipher.background.interfaces import AS_STARTER
from cipher.background.interfaces import AS_SYSTEM
from cipher.background.interfaces import IHost
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerType
from cipher.background.interfaces import RegistryNotFound
from cipher.background.interfaces import StarterGone


#: Ids of the system, which may do everything.  A run without a starter (None)
#: is the system's.
SYSTEM = (None, system_user.id)

#: Name of a registry in its site manager.
NAME = 'background'

# The oid of the root object.
_ROOT = z64

# Levels of parents that are followed; parents may form a cycle.
_MAX_DEPTH = 1000
_SITE_MANAGER = '++etc++site'


@implementer(IParticipation)
class Participation:
    """A principal without a request."""

    interaction = None

    def __init__(self, principal: Any) -> None:
        self.principal = principal


@implementer(IPrincipal)
class NamedPrincipal:
    """A starter of whom only the id is known.

    Used if the application has no authentication utility.
    """

    title = description = ''

    def __init__(self, id):
        self.id = id


@implementer(IHost)
class ToolkitHost:
    """An application of the Zope Toolkit.

    Objects know their place by ``__parent__`` and ``__name__``.
    """

    registry_factory = None
    registry_advice = (
        'subscribe cipher.background.subscribers.addRegistryToRoot in the '
        'ZCML, call addRegistry(site), or open @@background.html of a site')

    # Threads

    def getSite(self):
        return hooks.getSite()

    def enterSite(self, site):
        previous = hooks.getSite()
        try:
            hooks.setSite(site)
        except BaseException:
            hooks.setSite(previous)
            raise
        return previous

    def leaveSite(self, previous):
        hooks.setSite(previous)

    def participations(self, user_name, run):
        if run is None:
            # As upstream: no participation, so everything is allowed.
            return ()
        if run.permission:
            self._check(run)
        worker_type = queryUtility(IWorkerType, run.type)
        run_as = worker_type.run_as if worker_type is not None else AS_STARTER
        if run_as == AS_STARTER:
            return self._get_people(run)
        return (Participation(self._resolve(
            run, None if run_as == AS_SYSTEM else run_as)),)

    def _get_people(self, run):
        """Return participations of the starter and of a retry's asker.

        A security policy allows only what both of them may do.  So neither
        gains the rights of the other.
        """
        ids = [run.starter] if run.asker is None else [run.starter, run.asker]
        return tuple([Participation(self._resolve(run, id)) for id in ids])

    def _resolve(self, run, id):
        try:
            return self.getPrincipal(id)
        except PrincipalLookupError:
            raise StarterGone(
                'run %r: expected the principal %r to exist, as the run has '
                'its permissions, got none of that id; start it anew'
                % (run.id, id)) from None
        except ComponentLookupError:
            return NamedPrincipal(id)

    def _check(self, run):
        target = self.getSite() if run.reference is None else run.context
        if target is None:
            return   # The context is gone, so no work will be done.
        self.beginInteraction(*self._get_people(run))
        try:
            permitted = self.checkPermission(run.permission, target)
        finally:
            self.endInteraction()
        if not permitted:
            raise StarterGone(
                'run %r: expected its starter %r still to have the permission '
                '%r, got none; start it anew'
                % (run.id, run.starter, run.permission))

    def beginInteraction(self, *participations):
        newInteraction(*participations)

    def endInteraction(self):
        endInteraction()

    @contextmanager
    def trusted(self):
        interaction = queryInteraction()
        if interaction is None:
            yield
            return
        endInteraction()
        try:
            yield
        finally:
            # Otherwise the interaction that was last ended in the block would
            # be restored.
            thread_local.previous_interaction = interaction
            restoreInteraction()

    # Objects

    def unwrap(self, ob):
        return removeSecurityProxy(ob)

    def lineage(self, ob):
        for _ in range(_MAX_DEPTH):
            if ob is None:
                return
            yield ob
            ob = getattr(ob, '__parent__', None)

    def pathOf(self, ob):
        names = [getattr(place, '__name__', None)
                 for place in self.lineage(ob)]
        return '/' + '/'.join(reversed([name for name in names if name]))

    def placeOf(self, ob):
        return None

    def isInPlace(self, ob):
        connection = None   # of the first one that is stored
        for _ in range(_MAX_DEPTH):
            if connection is None:
                connection = getattr(ob, '_p_jar', None)
            parent = getattr(ob, '__parent__', None)
            if parent is None:
                break
            if not _holds(parent, ob):
                return False
            ob = parent
        if connection is None:
            return False
        root = connection.get(_ROOT)
        for key in root:
            if root[key] is ob:
                return True
        return False

    def locate(self, ob, place):
        return ob if self.isInPlace(ob) else None

    def traverse(self, ob, name, is_trusted=False):
        if is_trusted:
            return ob[name]
        return ProxyFactory(ITraversable(ob).traverse(name, []))

    def protect(self, ob):
        return ProxyFactory(ob)

    # Sites and registries

    def isSite(self, ob):
        return hasattr(ob, 'getSiteManager')

    def siteOf(self, registry):
        # The usual case first: each start and each job comes here.
        manager = registry.__parent__
        site = getattr(manager, '__parent__', None)
        if self.isSite(site) and not self.isSite(manager):
            return site
        for ob in self.lineage(registry):
            if ob is not registry and self.isSite(ob):
                return ob
        raise RegistryNotFound(
            'registry: expected to be held by the site manager of a site, '
            'got %r as parent; add it with addRegistry(site)' % (manager,))

    def nearestRegistry(self, ob):
        for place in self.lineage(ob):
            try:
                return place.getSiteManager().queryUtility(IWorkerRegistry)
            except (AttributeError, ComponentLookupError):
                continue   # not a site
        return None

    def ownRegistry(self, site):
        for registration in site.getSiteManager().registeredUtilities():
            if registration.provided is IWorkerRegistry:
                return registration.component
        return None

    def connectionOf(self, site):
        # A site manager need not be persistent.
        return (firstConnection(self.lineage(site.getSiteManager()))
                or firstConnection(self.lineage(site)))

    def putRegistry(self, site, registry):
        manager = site.getSiteManager()
        if hasattr(type(manager), '__setitem__'):
            manager[NAME] = registry
        else:
            # The site manager is not a folder, for example in Pyramid.
            registry.__name__ = '++background++'
            registry.__parent__ = site
        manager.registerUtility(registry, IWorkerRegistry)

    def takeRegistry(self, site, registry):
        manager = site.getSiteManager()
        for registration in list(manager.registeredUtilities()):
            if registration.component is registry:
                manager.unregisterUtility(
                    registry, registration.provided, registration.name)
        parent, name = registry.__parent__, registry.__name__
        if hasattr(type(parent), '__delitem__') and name in parent:
            del parent[name]
        registry.__parent__ = registry.__name__ = None

    # Principals

    def hasInteraction(self):
        return queryInteraction() is not None

    def currentPrincipals(self):
        interaction = queryInteraction()
        return tuple(dict.fromkeys(
            str(participation.principal.id) for participation
            in getattr(interaction, 'participations', ())
            if participation.principal is not None))

    def currentPerson(self):
        for participation in getattr(
                queryInteraction(), 'participations', ()):
            principal = participation.principal
            if principal is not None:
                person = str(principal.id)
                return None if person in SYSTEM or (
                    IUnauthenticatedPrincipal.providedBy(principal)
                ) else person
        return None

    def checkPermission(self, permission, ob):
        return checkPermission(permission, ob)

    def getPrincipal(self, principal_id):
        if principal_id is None:
            return system_user
        return getUtility(IAuthentication).getPrincipal(principal_id)

    def principalOf(self, request):
        return request.principal

    def prepareRequest(self, request):
        pass

    def acceptRequest(self, request):
        pass

    def currentTransaction(self):
        return transaction.get()

    def challenge(self, request):
        authentication = queryUtility(IAuthentication)
        principal = self.principalOf(request)
        if authentication is None or not (
                IUnauthenticatedPrincipal.providedBy(principal)):
            return
        # The authentication may change the status, or redirect to a login
        # form.
        request.response.setStatus(401)
        authentication.unauthorized(principal.id, request)

    # Addresses

    def getURL(self, ob, request):
        # It needs zope.publisher, which the core can do without.
        from zope.traversing.browser import absoluteURL
        return absoluteURL(ob, request)

    def getResourceURL(self, name, request):
        resource = queryAdapter(request, name=name)
        return None if resource is None else resource()

    def getRootURL(self, request):
        return request.getApplicationURL()


_toolkit = ToolkitHost()


def getHost() -> Any:
    """Return the `IHost` of this process."""
    # As `queryUtility`, which takes longer: a job asks some ten times.
    return getGlobalSiteManager().utilities.lookup((), IHost, '', _toolkit)


def firstConnection(places: Iterable[Any]) -> Any:
    """Return the connection of the first stored one of *places*, or None."""
    for place in places:
        connection = getattr(place, '_p_jar', None)
        if connection is not None:
            return connection
    return None


def _holds(parent, ob):
    name = getattr(ob, '__name__', None)
    if name is not None and name != _SITE_MANAGER and hasattr(
            type(parent), '__getitem__'):
        try:
            return parent[name] is ob
        except (KeyError, TypeError, AttributeError):
            if not name.startswith('++'):
                return False
    # A site manager, an annotation or an attribute is not an item of its
    # parent.
    get_site_manager = getattr(parent, 'getSiteManager', None)
    if name == _SITE_MANAGER and get_site_manager is not None:
        try:
            return get_site_manager() is ob
        except LookupError:
            return False
    return True
