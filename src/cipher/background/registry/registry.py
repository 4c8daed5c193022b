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
"""The registry: the runs of a site, in lanes."""
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


#: Buckets of the table of unique keys.  A start with a new key writes one
#: bucket; starts in the same bucket may conflict, so there are many.
KEY_BUCKETS = 256


@implementer(IWorkerRegistry)
class WorkerRegistry(Administration, RegistryReader, structure.Structured,
                     Contained, Persistent):
    """The runs of a site, with their schedules, services and journal."""

    keep_days = 14.0
    keep = 10000
    waiting_per_starter = 1000
    hastened = None   # OOBTree: run id -> time of the call of beginNow
    thresholds = ()   # {name: value} of the changed thresholds

    place = None   # (mark of the database, oid) where it was last known
    kept = None    # kept.Kept, after a copy

    def __init__(self):
        self.structure_version = structure.VERSION
        self.lanes = LOBTree()    # number -> Lane
        self.stops = OOBTree()    # run id -> (principal, asked_at, reason)
        self.schedules = OOBTree()   # name -> states.ScheduleState
        self.services = OOBTree()    # type name -> states.ServiceState
        self.unique_keys = Table(KEY_BUCKETS)   # uniqueKey -> (lane, serial)
        self.pauses = OOBTree()   # type name -> (principal, at, reason)
        self.removed_by_hand = RemovedCounts()   # removals by administrators
        self.journal = Journal()
        self.secret = os.urandom(32)
        self.lanes[1] = Lane(1)   # other lanes are made when they are needed

    # Starting

    def start(self, name, /, context=None, **input):
        return self._start(name, context, input, None)

    def startByPrincipal(self, name, /, context=None, **input):
        return self._start(name, context, input, self.permit(name, context))

    def startOnce(self, since, name, context=None, input=None):
        permission = self.permit(name, context)
        worker_type = getWorkerType(name)
        key = onceKey(
            worker_type.name, currentPrincipal(),
            self._refer(removeSecurityProxy(context)),
            worker_type.cleanInput(_given(input), self.findSite()))
        run = findStarted(self, key, since)
        if run is None:
            run = self._start(name, context, _given(input), permission)
            # A second click at the same time conflicts, and then finds it.
            self.unique_keys[key] = run.lane, run.serial
        return run

    def mayStart(self, name, context=None):
        if queryInteraction() is None:
            raise NoInteraction
        target = self.getSite() if context is None else context
        return checkPermission(getWorkerType(name).permission, target)

    def permit(self, name, context):
        """Return the permission of the worker type *name*.

        For this package.  Raise ``Unauthorized`` if the principal lacks the
        permission on *context*, or on the site if that is None.
        """
        permission = getWorkerType(name).permission
        if not self.mayStart(name, context):
            target = self.getSite() if context is None else context
            raise Unauthorized(target, 'start', permission)
        return permission

    def submit(self, name, context=None, input=None, delay=0.0, unique=None,
               priority=None):
        checkOptions(delay, unique, priority)
        return self._start(name, context, _given(input), None, delay, unique,
                           priority)

    def _start(self, name, context, input, permission, delay=0.0, unique=None,
               priority=None):
        worker_type = getWorkerType(name)
        if self._p_jar is not None and makeKnown(self):
            # The registry may be a copy.  Its waiting runs are then kept
            # back, so none of them may stand for this start.
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
            return None   # it has no parent yet

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

        For this package: nothing is checked.  *unique_key* is a
        `uniquekeys.uniqueKey` or None.  *values* are attributes of the run.
        """
        if self._p_jar is not None:
            # With a newer database no new run may begin.  Running work may
            # still finish: the newer code waits for it.
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
        """Finish *run* in the open transaction and send an event.

        For this package.  *state* is the new state, *values* are attributes
        of the run.  *event* is the class of the event, *send* the function
        that sends it.  Raise `IllegalTransition`.
        """
        run.change(state, finished_at=clock.now(), **values)
        self.checkOut().lane.finish(run)
        run._v_parent = self
        send(event(run, self))


def _given(input):
    return {} if input is None else input
