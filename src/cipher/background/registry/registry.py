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
"""The registry: the runs of a site, in lanes.

Pickles name `WorkerRegistry`: it stays here.
"""
import os

from BTrees.Length import Length
from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from zope.container.contained import Contained
from zope.event import notify
from zope.interface import implementer
from zope.security.interfaces import NoInteraction
from zope.security.interfaces import Unauthorized
from zope.security.management import checkPermission
from zope.security.management import queryInteraction
from zope.security.proxy import removeSecurityProxy

from cipher.background.declarations.workertype import getWorkerType
from cipher.background.events import RunCreatedEvent
from cipher.background.interfaces import InvalidContext
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import RegistryNotFound
from cipher.background.queries.snapshot import Snapshot
from cipher.background.registry import services
from cipher.background.registry.administration import Administration
from cipher.background.registry.bound import checkStarter
from cipher.background.registry.reader import RegistryReader
from cipher.background.registry.uniqueness import findPending
from cipher.background.registry.uniqueness import findStarted
from cipher.background.store import structure
from cipher.background.store.finishes import RemovedCounts
from cipher.background.store.journal import Journal
from cipher.background.store.lane import Lane
from cipher.background.store.lanepool import getPool
from cipher.background.store.lifecycle import checkOptions
from cipher.background.store.process import getDirectory
from cipher.background.store.process import makeKnown
from cipher.background.store.run import WorkerRun
from cipher.background.store.table import Table
from cipher.background.store.uniquekeys import onceKey
from cipher.background.store.uniquekeys import rightsOf
from cipher.background.store.uniquekeys import uniqueKey
from cipher.background.util import clock
from cipher.background.util.chain import deeper
from cipher.background.util.chain import depthOfNext
from cipher.background.util.principal import currentPrincipal
from cipher.background.util.principal import currentPrincipals
from cipher.background.util.reference import refer
from cipher.background.util.switchboard import wakeAfterCommit


#: A start that makes a claim writes the claims of one bucket.
KEY_BUCKETS = 256


@implementer(IWorkerRegistry)
class WorkerRegistry(Administration, RegistryReader, structure.Structured,
                     Contained, Persistent):
    """See `~cipher.background.interfaces.IWorkerRegistry`."""

    keep_days = 14.0
    keep = 10000
    waiting_per_starter = 1000
    hastened = None   # OOBTree: run id -> when its begin was asked for
    thresholds = ()   # {name: value} of those that are not as the default

    place = None   # (mark of the database, oid), where it was known last
    kept = None    # kept.Kept, after a copy

    def __init__(self):
        self.structure_version = structure.VERSION
        self.lanes = LOBTree()    # number -> Lane
        self.stops = OOBTree()    # run id -> (principal, asked_at, reason)
        self.schedules = OOBTree()   # name -> states.ScheduleState
        self.services = OOBTree()    # type name -> states.ServiceState
        self.unique_keys = Table(KEY_BUCKETS)   # uniqueKey -> (lane, serial)
        self.pauses = OOBTree()   # type name -> (principal, at, reason)
        self.removed_by_hand = RemovedCounts()   # what administrators removed
        self.journal = Journal()
        self.secret = os.urandom(32)
        self.lanes[1] = Lane(1)   # the others are made when they are leased

    # Starting

    def start(self, name, /, context=None, **input):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        return self._start(name, context, input, None)

    def startByPrincipal(self, name, /, context=None, **input):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        return self._start(name, context, input, self.permit(name, context))

    def startOnce(self, since, name, context=None, input=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        permission = self.permit(name, context)
        worker_type = getWorkerType(name)
        key = onceKey(
            worker_type.name, currentPrincipal(),
            self._refer(removeSecurityProxy(context)),
            worker_type.cleanInput(_given(input), self.findSite()))
        run = findStarted(self, key, since)
        if run is None:
            run = self._start(name, context, _given(input), permission)
            # Who does the same at this moment conflicts, and finds the run.
            self.unique_keys[key] = run.lane, run.serial
        return run

    def mayStart(self, name, context=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        if queryInteraction() is None:
            raise NoInteraction
        target = self.getSite() if context is None else context
        return checkPermission(getWorkerType(name).permission, target)

    def permit(self, name, context):
        """Return the permission of the type; raise unless it is there.

        For this package.
        """
        permission = getWorkerType(name).permission
        if not self.mayStart(name, context):
            target = self.getSite() if context is None else context
            raise Unauthorized(target, 'start', permission)
        return permission

    def submit(self, name, context=None, input=None, delay=0.0, unique=None,
               priority=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        checkOptions(delay, unique, priority)
        return self._start(name, context, _given(input), None, delay, unique,
                           priority)

    def _start(self, name, context, input, permission, delay=0.0, unique=None,
               priority=None):
        worker_type = getWorkerType(name)
        if self._p_jar is not None and makeKnown(self):
            # It may be a copy: what came with it stands for no start.
            wakeAfterCommit(self._p_jar)
        input = worker_type.cleanInput(input, self.findSite()) or None
        reference = self._refer(removeSecurityProxy(context))
        if worker_type.autostart:
            run = services.findLiving(self, worker_type)
            if run is not None:
                return run
        starter, asker = currentPrincipals()
        key = uniqueKey(
            unique or worker_type.unique, worker_type.name, reference, input,
            rightsOf(worker_type, starter, asker))
        if key is not None:
            snapshot = Snapshot(self)
            run = findPending(self, key, lambda run: snapshot.live(run))
            if run is not None:
                return run
        if permission is not None:
            checkStarter(self, starter)
        run = self.addRun(
            worker_type.name, reference=reference, input=input,
            permission=permission, starter=starter, asker=asker,
            due_at=clock.now() + float(delay) if delay > 0 else None,
            priority=int(
                worker_type.priority if priority is None else priority),
            unique_key=key)
        if worker_type.autostart:
            services.adopt(self, worker_type, run)
        return run

    def findSite(self):
        """Return the site that holds the registry, or None."""
        try:
            return self.getSite()
        except RegistryNotFound:
            return None   # it is not in its place yet

    def _refer(self, context):
        if context is None:
            return None
        if self._p_jar is None:
            raise InvalidContext(
                'context: expected a registry that is stored in a database, '
                'got one that is not; commit it first')
        return refer(context, self._p_jar)

    def addRun(self, type, unique_key=None, **values):
        """Store a new run in the open transaction and return it.

        *unique_key* is the `uniquekeys.uniqueKey` that it is to have, or None.
        For this package: nothing is checked.
        """
        if self._p_jar is not None:
            # What works already may end, as newer code waits for it.
            directory = getDirectory(self._p_jar)
            if directory is not None:
                structure.checkVersion(directory)
        lease = None if self._p_jar is None else self.checkOut()
        lane = self.lanes[min(self.lanes)] if lease is None else lease.lane
        run = WorkerRun(type, lane.number, lane.births.next_serial,
                        lane.births.timeOfNext(clock.now()),
                        depth=depthOfNext(), **values)
        if unique_key is not None:
            run.merged_starts = Length()
        if lease is not None:
            lease.born += 1
        run._v_parent = self
        lane.bear(run)
        if unique_key is not None:
            self.unique_keys[unique_key] = run.lane, run.serial
        with deeper():
            notify(RunCreatedEvent(run, self))
        return run

    def checkOut(self):
        """Return the `lanepool._Checkout` of the open transaction."""
        structure.checkVersion(self)
        txn = self._p_jar.transaction_manager.get()
        return getPool(self._p_jar.db(), self._p_oid).checkOut(self, txn)

    def finish(self, run, state, event, send=notify, **values):
        """Finish *run* in the open transaction; *send* an event of it.

        *event* makes the event.  For this package.  Raise
        `IllegalTransition`.
        """
        run.change(state, finished_at=clock.now(), **values)
        self.checkOut().lane.finish(run)
        run._v_parent = self
        send(event(run, self))


def _given(input):
    return {} if input is None else input
