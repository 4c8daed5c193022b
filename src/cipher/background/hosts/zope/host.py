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
"""The host of applications of Zope.

Objects are reached by paths and wrapped on the way.  Users are those of user
folders, and AccessControl knows their permissions by their titles.
"""
import threading
from contextlib import contextmanager
from io import BytesIO
from urllib.parse import parse_qsl
from urllib.parse import urlsplit

from AccessControl import Unauthorized
from AccessControl.SecurityManagement import getSecurityManager
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.SecurityManagement import noSecurityManager
from AccessControl.SecurityManagement import setSecurityManager
from AccessControl.users import BasicUser
from AccessControl.users import nobody
from AccessControl.users import system
from Acquisition import Explicit
from Acquisition import aq_base
from Acquisition import aq_chain
from Acquisition import aq_inner
from Acquisition import aq_parent
from Testing.makerequest import makerequest
from zope.authentication.interfaces import PrincipalLookupError
from zope.component import getUtility
from zope.component import hooks
from zope.component import queryUtility
from zope.component.interfaces import ISite
from zope.globalrequest import clearRequest
from zope.globalrequest import getRequest
from zope.globalrequest import setRequest
from zope.interface import implementedBy
from zope.interface import implementer
from zope.interface import implementer_only
from zope.security.interfaces import IPermission
from zope.security.interfaces import IPrincipal
from zope.security.interfaces import NoInteraction
from zope.security.proxy import removeSecurityProxy

from cipher.background.hosts.zope.moving import listPlaces
from cipher.background.interfaces import IWebSettings
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerRun
from cipher.background.interfaces import RegistryNotFound
from cipher.background.registry.registry import WorkerRegistry
from cipher.background.util.host import SYSTEM
from cipher.background.util.host import ToolkitHost
from cipher.background.util.host import getHost


#: Key of the application in the root of its database.
ROOT = 'Application'

#: Name of the registry below its site.
NAME = '++background++'

#: Id of visitors who are not logged in.  None would be the system.
ANONYMOUS = 'Anonymous User'

_PUBLIC = 'zope.Public'
_PORTS = {'http': 80, 'https': 443}

_thread = threading.local()


# Not an IAcquirer: Five would wrap its views.
@implementer_only(implementedBy(WorkerRegistry))
class OFSWorkerRegistry(WorkerRegistry, Explicit):
    """A registry that can be wrapped, so that permissions are acquired."""

    #: Path of the site: stored objects do not know their container.
    site_path: tuple[str, ...] = ()

    def _start(self, *args, **kwargs):
        # Raise RegistryNotFound now: the runs would wait for ever.
        getHost().siteOf(self)
        return super()._start(*args, **kwargs)


@implementer(IPrincipal)
class OFSPrincipal:
    """A user of a user folder, by its path and id."""

    description = ''

    def __init__(self, id, user):
        self.id = id
        self.user = user
        self.title = str(user.getUserName() or id)


class BothUsers(BasicUser):
    """May do what all of *users* may do."""

    def __init__(self, users):
        self.users = users

    def getUserName(self):
        return self.users[0].getUserName()

    def getId(self):
        return self.users[0].getId()

    def _getPassword(self):
        return None

    def getDomains(self):
        return ()

    def _meet(self, lists):
        first, *others = map(tuple, lists)
        return tuple(role for role in first
                     if all(role in other for other in others))

    def getRoles(self):
        return self._meet(user.getRoles() for user in self.users)

    def getRolesInContext(self, object):
        return self._meet(
            user.getRolesInContext(object) for user in self.users)

    def allowed(self, object, object_roles=None):
        return all(user.allowed(object, object_roles) for user in self.users)


class Hidden:
    """An object whose address may be known, but not its content."""

    def __init__(self, ob):
        self.__dict__['_hidden'] = ob

    def __getattr__(self, name):
        raise Unauthorized(name)


class ZopeHost(ToolkitHost):
    """An application of Zope."""

    registry_factory = OFSWorkerRegistry
    registry_advice = (
        'add one by the tab Background of a site in the management '
        'interface, or call addRegistry(site)')

    # Threads

    def enterSite(self, site):
        previous = hooks.getSite(), getattr(_thread, 'made', None), None
        if site is not None and aq_parent(site) is None and (
                self.isSite(site)):
            # A worker has loaded it by its oid.
            own = self._own(site)
            if own is not None:
                site = self.siteOf(own)
        if site is not None and getRequest() is None:
            site, request = self._make_request(site)
            _thread.made = request
            previous = *previous[:2], request
            setRequest(request)
        hooks.setSite(site)
        return previous

    def leaveSite(self, previous):
        site, made, request = previous
        hooks.setSite(site)
        _thread.made = made
        if request is not None:
            clearRequest()
            request.close()

    def _make_request(self, site):
        """Return (*site* with a request of its own, that request)."""
        app = makerequest(aq_base(site)._p_jar.root()[ROOT])
        settings = queryUtility(IWebSettings)
        if settings is not None and settings.base_url:
            # So that links in the work lead to this server.
            parts = urlsplit(settings.base_url)
            app.REQUEST.setServerURL(
                parts.scheme, parts.hostname,
                parts.port or _PORTS[parts.scheme])
        found = app.unrestrictedTraverse(site.getPhysicalPath())
        app.REQUEST['PARENTS'] = list(aq_chain(aq_inner(found)))[:-1]
        return found, app.REQUEST

    def beginInteraction(self, *participations):
        principals = [one.principal for one in participations
                      if one.principal is not None]
        super().beginInteraction(*participations)
        _thread.acting = principals
        users = [getattr(principal, 'user', nobody)
                 for principal in principals] or [system]
        newSecurityManager(
            None, users[0] if len(users) == 1 else BothUsers(users))

    def endInteraction(self):
        _thread.acting = None
        noSecurityManager()
        super().endInteraction()

    @contextmanager
    def trusted(self):
        acting, is_trusted = _get_acting(), getattr(
            _thread, 'is_trusted', False)
        manager = getSecurityManager()
        _thread.acting, _thread.is_trusted = None, True
        try:
            with super().trusted():
                yield
        finally:
            _thread.acting, _thread.is_trusted = acting, is_trusted
            setSecurityManager(manager)

    # Objects

    def unwrap(self, ob):
        if isinstance(ob, Hidden):
            ob = ob.__dict__['_hidden']
        return aq_base(removeSecurityProxy(ob))

    def lineage(self, ob):
        ob = removeSecurityProxy(ob)
        if isinstance(ob, OFSWorkerRegistry):
            yield aq_base(ob)
            ob = self.siteOf(ob)
        if hasattr(aq_base(ob), 'getPhysicalPath'):
            for place in aq_chain(aq_inner(ob)):
                if hasattr(aq_base(place), 'getPhysicalPath'):
                    yield place
        else:
            yield from super().lineage(ob)

    def pathOf(self, ob):
        return '/'.join(self.placeOf(ob) or ()) or '/'

    def placeOf(self, ob):
        get_path = getattr(aq_base(ob), 'getPhysicalPath', None)
        path = ob.getPhysicalPath() if get_path is not None else ()
        return tuple(path) if path and path[0] == '' else None

    def isInPlace(self, ob):
        ob = removeSecurityProxy(ob)
        if isinstance(ob, OFSWorkerRegistry):
            try:
                return self._own(self.siteOf(ob)) is aq_base(ob)
            except RegistryNotFound:
                return False
        place = self.placeOf(ob)
        return place is not None and self.locate(
            aq_base(ob), place) is not None

    def locate(self, ob, place):
        connection = ob._p_jar
        if connection is None or place is None:
            return None
        root = self._get_root(connection)
        for path in listPlaces(connection, place):
            found = root.unrestrictedTraverse(path, None)
            if aq_base(found) is ob:
                return found
        return None

    def traverse(self, ob, name, is_trusted=False):
        ob = ob.__dict__['_hidden'] if isinstance(ob, Hidden) else ob
        if is_trusted:
            return ob.unrestrictedTraverse(name)
        found = ob.restrictedTraverse(name)
        # Nothing that is acquired from above, nor a method or a template.
        if getattr(aq_base(found), '_p_jar', None) is None or (
                self.placeOf(found) != (*self.placeOf(ob), name)):
            raise LookupError(name)
        return found

    def protect(self, ob):
        if hasattr(aq_base(ob), 'getPhysicalPath') and not (
                getSecurityManager().checkPermission('View', ob)):
            return Hidden(ob)
        return ob

    def _get_root(self, connection):
        """Return the application, with the request of the thread if any."""
        for ob in (getRequest() or {}).get('PARENTS', ())[-1:]:
            if getattr(aq_base(ob), '_p_jar', None) is connection:
                return ob
        return connection.root()[ROOT]

    # Sites and registries

    def isSite(self, ob):
        return ISite.providedBy(ob)

    def connectionOf(self, site):
        return aq_base(site)._p_jar

    def _own(self, site):
        manager = aq_base(aq_base(site).getSiteManager())
        registration = manager._utility_registrations.get(
            (IWorkerRegistry, ''))
        return registration and aq_base(registration[0])

    def siteOf(self, registry):
        registry = aq_base(removeSecurityProxy(registry))
        stored = registry.__parent__
        site = stored and self.locate(aq_base(stored), registry.site_path)
        if site is None:
            raise RegistryNotFound(
                'registry: expected its site at %s, got none; call '
                'addRegistry(site), which notes the new place'
                % '/'.join(registry.site_path))
        return site

    def ownRegistry(self, site):
        if not self.isSite(site):
            raise LookupError('not a site')
        registry = self._own(site)
        return registry and registry.__of__(site)

    def nearestRegistry(self, ob):
        for place in self.lineage(ob):
            try:
                registry = self.ownRegistry(place)
            except LookupError:
                continue   # not a site, or one without a site manager
            if registry is not None:
                return registry
        return None

    def putRegistry(self, site, registry):
        registry.__name__ = NAME
        registry.__parent__ = aq_base(site)
        registry.site_path = self.placeOf(site)
        site.getSiteManager().registerUtility(registry, IWorkerRegistry)

    def takeRegistry(self, site, registry):
        site.getSiteManager().unregisterUtility(
            aq_base(registry), IWorkerRegistry)
        aq_base(registry).__parent__ = None

    # Principals

    def hasInteraction(self):
        if _get_acting() is not None:
            return bool(_get_acting())
        request = getRequest()
        return (request is not None
                and request is not getattr(_thread, 'made', None)
                and not getattr(_thread, 'is_trusted', False))

    def currentPrincipals(self):
        if _get_acting() is not None:
            return tuple(dict.fromkeys(one.id for one in _get_acting()))
        if not self.hasInteraction():
            return ()
        return (_identify(getSecurityManager().getUser()),)

    def currentPerson(self):
        person = next(iter(self.currentPrincipals()), None)
        return None if person in SYSTEM or person == ANONYMOUS else person

    def checkPermission(self, permission, ob):
        if not self.hasInteraction():
            raise NoInteraction
        if permission == _PUBLIC:
            return True
        ob = removeSecurityProxy(ob)
        if isinstance(ob, Hidden):
            ob = ob.__dict__['_hidden']
        if IWorkerRun.providedBy(ob):
            ob = ob.__parent__
        if isinstance(ob, OFSWorkerRegistry):
            ob = aq_base(ob).__of__(self.siteOf(ob))
        title = getUtility(IPermission, permission).title
        return bool(getSecurityManager().checkPermission(title, ob))

    def mayManage(self, ob):
        """Return whether the user may see the management screens of *ob*.
        """
        return bool(getSecurityManager().checkPermission(
            'View management screens', ob))

    def getPrincipal(self, principal_id):
        if principal_id in SYSTEM:
            return OFSPrincipal(SYSTEM[1], system)
        path, colon, id = principal_id.partition(':')
        site = hooks.getSite()
        if site is not None and colon:
            holder = site.getPhysicalRoot().unrestrictedTraverse(
                path or '/', None)
            folder = getattr(aq_base(holder), 'acl_users', None)
            if folder is not None:
                folder = folder.__of__(holder)
                user = folder.getUserById(id)
                if user is not None:
                    return OFSPrincipal(principal_id, user.__of__(folder))
        if principal_id == ANONYMOUS:
            return OFSPrincipal(ANONYMOUS, nobody)
        raise PrincipalLookupError(principal_id)

    def principalOf(self, request):
        user = getSecurityManager().getUser()
        return OFSPrincipal(_identify(user), user)

    def prepareRequest(self, request):
        request.set_lazy('principal', lambda: self.principalOf(request))
        request.set_lazy(
            'bodyStream', lambda: BytesIO(request.get('BODY') or b''))
        request.set('getApplicationURL',
                    lambda *args: self.getRootURL(request))
        request.set('getCookies', lambda: request.cookies)
        request.set('environment', request.environ)
        request.set('getTraversalStack', lambda: [])
        request.set('getURL', lambda *args: request['ACTUAL_URL'])
        if request.method == 'POST':
            _drop_query(request)

    def challenge(self, request):
        if self.principalOf(request).id == ANONYMOUS:
            request.response.unauthorized()

    # Addresses

    def getURL(self, ob, request):
        ob = removeSecurityProxy(ob)
        if isinstance(ob, Hidden):
            ob = ob.__dict__['_hidden']
        if IWorkerRun.providedBy(ob):
            return '%s/%s' % (self.getURL(ob.__parent__, request), ob.id)
        if IWorkerRegistry.providedBy(ob):
            return '%s/%s' % (self.getURL(self.siteOf(ob), request), NAME)
        if not hasattr(aq_base(ob), 'getPhysicalPath'):
            raise TypeError('no address')
        return request.physicalPathToURL(ob.getPhysicalPath())

    def getResourceURL(self, name, request):
        return '%s/++resource++%s' % (self.getRootURL(request), name)

    def getRootURL(self, request):
        return request.physicalPathToURL(('',)).rstrip('/')


def _get_acting():
    return getattr(_thread, 'acting', None)


def _drop_query(request):
    """Let the body of a POST say what both it and the query string say."""
    form = request.form
    for name, value in parse_qsl(request.environ.get('QUERY_STRING', '')):
        values = form.get(name)
        if isinstance(values, list) and value in values and len(values) > 1:
            values.remove(value)
            if len(values) == 1:
                form[name], = values


def _identify(user):
    """Return the id of a principal: the path of the folder and a user's id."""
    if aq_base(user) is system:
        return SYSTEM[1]
    id = user.getId()
    folder = aq_parent(aq_inner(user))
    if aq_base(user) is nobody or id is None and folder is None:
        return ANONYMOUS
    holder = aq_parent(aq_inner(folder)) if folder is not None else None
    path = getattr(holder, 'getPhysicalPath', lambda: ('',))()
    return '%s:%s' % ('/'.join(path) or '/', id or user.getUserName())
