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
"""Add a registry to a site, find it and remove it."""
import itertools
from collections import Counter
from typing import Any

from ZODB.utils import u64
from zope.component import adapter
from zope.component.interfaces import ISite
from zope.interface import implementer
from zope.security.interfaces import Unauthorized
from zope.security.proxy import removeSecurityProxy

from cipher.background.events import RunInterruptedEvent
from cipher.background.events import RunStoppedEvent
from cipher.background.interfaces import DISCARD
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import MANAGE_WORKERS
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import REFUSE
from cipher.background.interfaces import STOP
from cipher.background.interfaces import STOP_WORKERS
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import UNFINISHED
from cipher.background.interfaces import InvalidSite
from cipher.background.interfaces import IRegistryInstaller
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import RegistryInUse
from cipher.background.interfaces import RegistryNotFound
from cipher.background.queries import visibility
from cipher.background.queries.snapshot import Snapshot
from cipher.background.registry.registry import WorkerRegistry
from cipher.background.store import journal
from cipher.background.store import structure
from cipher.background.store.journal import askedNow
from cipher.background.store.process import getDirectory
from cipher.background.store.process import makeKnown
from cipher.background.util.host import getHost
from cipher.background.util.logs import getLogger
from cipher.background.util.reference import findConnection
from cipher.background.util.switchboard import wakeAfterCommit
from cipher.background.util.text import cleanLine
from cipher.background.util.text import safeRepr
from cipher.background.util.transient import isTransient


log = getLogger(__name__)

#: Objects that a search for unknown registries reads at most.  It bounds the
#: time of the transaction in a big site.
LOOKED_AT = 1000


def addRegistry(site: Any) -> IWorkerRegistry:
    """Add a registry to *site*, if it has none; return its registry.

    Joins the open transaction.  Raise `InvalidSite` if the object has no site
    manager or is not stored in a database yet.  Raise `NewerDatabase` or
    `InvalidDatabase` if this code cannot use the database.
    """
    host = getHost()
    try:
        registry = host.ownRegistry(site)
    except (AttributeError, LookupError):
        raise InvalidSite(
            'registry: expected a site, got a %s without a site manager; make '
            'it a site first' % type(host.unwrap(site)).__name__) from None
    connection = host.connectionOf(site)
    directory = connection and getDirectory(connection)
    if directory:
        structure.checkVersion(directory)
    if registry is not None:
        structure.checkRegistry(registry)
        if not host.isInPlace(registry):
            host.putRegistry(site, registry)   # the site has moved
        rememberRegistry(registry)   # it may have come with an import
        return registry
    if connection is None:
        raise InvalidSite(
            'registry: expected a site that is stored in a database, got a '
            '%s that is not; add it to its container first'
            % type(host.unwrap(site)).__name__)
    registry = (host.registry_factory or WorkerRegistry)()
    connection.add(registry)
    host.putRegistry(site, registry)
    rememberRegistry(registry)
    return host.ownRegistry(site)


def removeRegistry(site: Any, unfinished: str = REFUSE,
                   reason: str | None = None) -> int:
    """Remove the registry of *site* itself, with all its runs.

    *unfinished* is one of `UNFINISHED`.  REFUSE raises `RegistryInUse` if
    there are unfinished runs.  STOP stops waiting runs and asks running ones
    to stop; the registry stays until a later call finds them finished.
    DISCARD finishes all at once: waiting runs are stopped, and running ones
    are interrupted and cannot commit.

    Return the number of runs that are asked to stop; if it is 0, the registry
    is removed.  Joins the open transaction; undoing that brings the registry
    back.  Raise `RegistryNotFound` if the site has none.
    """
    if unfinished not in UNFINISHED:
        raise ValueError(
            'unfinished: expected one of %s, got %s; leave it out to remove '
            'a registry only if all its runs are finished' % (
                ', '.join(map(repr, UNFINISHED)), safeRepr(unfinished, 100)))
    registry = ownRegistry(site)
    if registry is None:
        raise RegistryNotFound(
            'registry: expected a site that has one of its own, got %s; look '
            'for it with getRegistry(site).getSite()' % safeRepr(site, 200))
    rememberRegistry(registry)   # it may have come with an import
    working, waiting = _find_unfinished(registry)
    for run in working + waiting:
        reason = askedNow(reason, run)[-1]   # without the secrets of each
    asked = askedNow(reason)
    if unfinished == REFUSE and (working or waiting):
        raise RegistryInUse(
            'registry of %s: expected no unfinished runs, got %d in work and '
            '%d that wait (%s); remove it with unfinished=%r or %r' % (
                safeRepr(site, 200), len(working), len(waiting),
                _say_types(working + waiting), STOP, DISCARD))
    for run in waiting:
        registry.finish(run, STOPPED, RunStoppedEvent, stop_request=asked)
    if working and unfinished == STOP:
        _ask_to_stop(registry, working, asked)
        return len(working)
    for run in working:
        # A worker of this run has written nothing yet, or its commit
        # conflicts.
        registry.finish(
            run, INTERRUPTED, RunInterruptedEvent, stop_request=asked)
    _take_away(site, registry, asked)
    return 0


def _ask_to_stop(registry, runs, asked):
    new = [run for run in runs if run.id not in registry.stops]
    for run in new:
        registry.stops[run.id] = asked
    if new:
        journal.recordMany(registry, 'stop', [run.id for run in new], asked,
                           {run.type for run in new})
        wakeAfterCommit(registry._p_jar)


def _find_unfinished(registry):
    """Return (running runs, waiting runs), including those of hidden types."""
    snapshot = Snapshot(registry)
    working, waiting = [], []
    for lane in registry.lanes.values():
        # So a removal conflicts with a start that it does not see.
        if lane.births._p_jar is not None:
            lane.births._p_activate()
            lane.births._p_jar.readCurrent(lane.births)
        for run in lane.births.walk():
            run._v_parent = registry
            if not run.isFinished():
                (waiting if snapshot.state(run) == PENDING and (
                    run.state == PENDING) else working).append(run)
    return working, waiting


def _say_types(runs):
    numbers = Counter(run.type for run in runs)
    return cleanLine(', '.join(
        '%d of %r' % (number, name) for name, number in sorted(
            numbers.items(), key=str)))


def _take_away(site, registry, asked):
    connection = registry._p_jar
    getHost().takeRegistry(site, registry)
    directory = getDirectory(connection)
    del directory.registries[registry._p_oid]
    # The row does not name the site: some readers may not see it.
    journal.record(directory, 'remove registry',
                   '0x%x' % u64(registry._p_oid), asked)
    wakeAfterCommit(connection)


def ownRegistry(site):
    """Return the registry that *site* itself has, or None."""
    try:
        return getHost().ownRegistry(site)
    except (AttributeError, LookupError):
        return None


def rememberRegistry(registry):
    """Make *registry* known to the runtimes of the database.

    Joins the open transaction.
    """
    connection = findConnection(registry)
    if connection is None:
        return
    if registry._p_jar is None:
        connection.add(registry)
    if makeKnown(registry):
        wakeAfterCommit(connection)


def rememberRegistries(connection):
    """Make registries known that came with an import or a copy.

    Joins the open transaction.  Searches the sites in the root of the
    database and the sites in them.  At most `LOOKED_AT` objects are read.
    """
    host = getHost()
    sites = [obj for obj in connection.root().values()
             if ISite.providedBy(obj)]
    looks = LOOKED_AT
    while sites:
        site = sites.pop()
        try:
            registry = host.ownRegistry(site)
            if registry is not None and host.isInPlace(registry):
                rememberRegistry(registry)
            for obj in itertools.islice(
                    getattr(site, 'values', tuple)(), max(0, looks)):
                looks -= 1
                if ISite.providedBy(obj):
                    sites.append(obj)
        except Exception as error:
            if isTransient(error, connection.db()):
                raise
            # A broken site must not hide the other sites.
            log.exception('Search for registries in %r failed', site)


def getRegistry(context: Any = None) -> IWorkerRegistry:
    """Return the nearest registry at or above *context*.

    *context* is by default the current site.  Raise `RegistryNotFound`.
    """
    registry = nearestRegistry(context)
    if registry is None:
        where = getHost().getSite() if context is None else context
        raise RegistryNotFound(
            'registry: expected one at or above %r, got none; add it with '
            'addRegistry(site), or set the site' % (where,))
    return registry


def nearestRegistry(context=None):
    """Return the nearest registry at or above *context*, or None.

    *context* is by default the current site.
    """
    host = getHost()
    return host.nearestRegistry(
        host.getSite() if context is None else context)


@implementer(IRegistryInstaller)
@adapter(ISite)
class RegistryInstaller:

    def __init__(self, site):
        self.site = removeSecurityProxy(site)

    def mayInstall(self):
        return getHost().checkPermission(MANAGE_WORKERS, self.site)

    def install(self):
        if not self.mayInstall():
            raise Unauthorized(self.site, 'install', MANAGE_WORKERS)
        return addRegistry(self.site)

    def queryRegistry(self):
        return ownRegistry(self.site)

    def countUnfinished(self):
        return tuple(map(len, _find_unfinished(self.queryRegistry())))

    def mayUninstall(self):
        registry = self.queryRegistry()
        return (registry is not None and self.mayInstall()
                and getHost().checkPermission(MANAGE_WORKERS, registry)
                and not visibility.hiddenTypes(registry))

    def uninstall(self, unfinished, reason=None):
        if self.queryRegistry() is not None:
            if not self.mayUninstall():
                raise Unauthorized(self.site, 'uninstall', MANAGE_WORKERS)
            if any(self.countUnfinished()) and not getHost().checkPermission(
                    STOP_WORKERS, self.queryRegistry()):
                raise Unauthorized(self.site, 'uninstall', STOP_WORKERS)
        return removeRegistry(self.site, unfinished, reason)
