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
"""A registry for a site, and where to find it."""
import itertools

from zope.component import adapter
from zope.component.hooks import getSite
from zope.component.interfaces import ISite
from zope.interface import implementer
from zope.interface.interfaces import ComponentLookupError
from zope.security.interfaces import Unauthorized
from zope.security.management import checkPermission
from zope.security.proxy import removeSecurityProxy

from cipher.background.interfaces import MANAGE_WORKERS
from cipher.background.interfaces import InvalidSite
from cipher.background.interfaces import IRegistryInstaller
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import RegistryNotFound
from cipher.background.logs import getLogger
from cipher.background.process import makeKnown
from cipher.background.reference import findConnection
from cipher.background.reference import isInPlace
from cipher.background.reference import lineage
from cipher.background.registry import WorkerRegistry
from cipher.background.switchboard import wakeAfterCommit
from cipher.background.transient import isTransient


log = getLogger(__name__)

#: Name of the registry in its site manager.
NAME = 'background'

#: Objects that a look for unknown registries looks at, at most.
LOOKED_AT = 1000


def addRegistry(site):
    """Give *site* a registry and return it; the one it has if there is one.

    Joins the open transaction.  Raise `InvalidSite` where the object has no
    site manager or is in no database yet.
    """
    try:
        manager = site.getSiteManager()
    except (AttributeError, LookupError):
        raise InvalidSite(
            'registry: expected a site, got a %s without a site manager; make '
            'it a site first' % type(site).__name__) from None
    registry = _own_registry(manager)
    if registry is not None:
        rememberRegistry(registry)   # it may have come with an import
        return registry
    # A manager need not be a persistent object itself.
    connection = findConnection(manager) or findConnection(site)
    if connection is None:
        raise InvalidSite(
            'registry: expected a site that is stored in a database, got a '
            '%s that is not; add it to its container first'
            % type(site).__name__)
    registry = WorkerRegistry()
    connection.add(registry)
    if hasattr(type(manager), '__setitem__'):
        manager[NAME] = registry
    else:
        # A site manager that is no folder, as Pyramid's.
        registry.__name__ = '++background++'
        registry.__parent__ = site
    manager.registerUtility(registry, IWorkerRegistry)
    rememberRegistry(registry)
    return registry


def rememberRegistry(registry):
    """Let the runtimes of the database know of *registry*."""
    connection = findConnection(registry)
    if connection is None:
        return
    if registry._p_jar is None:
        connection.add(registry)
    if makeKnown(registry):
        wakeAfterCommit(connection)


def rememberRegistries(connection):
    """Let the runtimes know of registries that came with an import or a copy.

    Joins the open transaction.  Looks at the sites in the root of the
    database, and at sites that these hold: at `LOOKED_AT` objects at most.
    """
    sites = [obj for obj in connection.root().values()
             if ISite.providedBy(obj)]
    looks = LOOKED_AT
    while sites:
        site = sites.pop()
        try:
            registry = _own_registry(site.getSiteManager())
            if registry is not None and isInPlace(registry):
                rememberRegistry(registry)
            for obj in itertools.islice(
                    getattr(site, 'values', tuple)(), max(0, looks)):
                looks -= 1
                if ISite.providedBy(obj):
                    sites.append(obj)
        except Exception as error:
            if isTransient(error, connection.db()):
                raise
            # What is no site of ours must not keep us from the others.
            log.exception('Looking for registries in %r failed', site)


def getRegistry(context=None):
    """Return the nearest registry at or above *context*.

    By default the current site.  Raise `RegistryNotFound`.
    """
    registry = nearestRegistry(context)
    if registry is None:
        where = getSite() if context is None else context
        raise RegistryNotFound(
            'registry: expected one at or above %r, got none; add it with '
            'addRegistry(site), or set the site' % (where,))
    return registry


def nearestRegistry(context=None):
    """Return the registry at or next above *context*, or None.

    By default that of the current site.
    """
    for obj in lineage(getSite() if context is None else context):
        try:
            return obj.getSiteManager().queryUtility(IWorkerRegistry)
        except (AttributeError, ComponentLookupError):
            continue   # no site; the next one above
    return None


@implementer(IRegistryInstaller)
@adapter(ISite)
class RegistryInstaller:
    """See `~cipher.background.interfaces.IRegistryInstaller`."""

    def __init__(self, site):
        self.site = removeSecurityProxy(site)

    def mayInstall(self):
        """See `~cipher.background.interfaces.IRegistryInstaller`."""
        return checkPermission(MANAGE_WORKERS, self.site)

    def install(self):
        """See `~cipher.background.interfaces.IRegistryInstaller`."""
        if not self.mayInstall():
            raise Unauthorized(self.site, 'install', MANAGE_WORKERS)
        return addRegistry(self.site)


def _own_registry(manager):
    for registration in manager.registeredUtilities():
        if registration.provided is IWorkerRegistry:
            return registration.component
    return None
