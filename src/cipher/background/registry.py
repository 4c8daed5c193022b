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
import re

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

from cipher.background import clock
from cipher.background import listing
from cipher.background import services
from cipher.background import timetable
from cipher.background.current import deeper
from cipher.background.current import depthOfNext
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import InvalidContext
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import RegistryNotFound
from cipher.background.interfaces import RunCreatedEvent
from cipher.background.interfaces import RunNotFound
from cipher.background.interfaces import RunNotStoppable
from cipher.background.interfaces import RunStoppedEvent
from cipher.background.lane import Lane
from cipher.background.lifecycle import LONGEST_DELAY
from cipher.background.pool import getPool
from cipher.background.principal import currentPrincipal
from cipher.background.reference import lineage
from cipher.background.reference import refer
from cipher.background.run import RunDetails
from cipher.background.run import WorkerRun
from cipher.background.status import RunDetailsStatus
from cipher.background.status import RunPage
from cipher.background.text import cleanLine
from cipher.background.uniqueness import claimKey
from cipher.background.uniqueness import findPending
from cipher.background.wakeup import wakeAfterCommit
from cipher.background.watch import Watch
from cipher.background.workertype import getWorkerType


#: Lanes for whoever has none: scripts, processes without a runtime.  More of
#: them, fewer conflicts between those.
GUEST_LANES = 4

_RUN_ID = re.compile(r'([0-9]{1,9})-([0-9]{1,15})', re.ASCII)


@implementer(IWorkerRegistry)
class WorkerRegistry(Contained, Persistent):
    """See `~cipher.background.interfaces.IWorkerRegistry`."""

    keep_days = 14.0
    keep = 10000

    def __init__(self):
        self.lanes = LOBTree()    # number -> Lane
        self.stops = OOBTree()    # run id -> (principal, asked_at, reason)
        self.schedules = OOBTree()   # name -> timetable.ScheduleState
        self.services = OOBTree()    # type name -> services.ServiceState
        self.claims = OOBTree()   # uniqueness.claimKey -> (lane, serial)
        self.secret = os.urandom(32)
        for number in range(1, GUEST_LANES + 1):
            self.lanes[number] = Lane(number, is_guest=True)

    # Starting

    def start(self, name, /, context=None, **input):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        return self._start(name, context, input, None)

    def startByPrincipal(self, name, /, context=None, **input):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        if queryInteraction() is None:
            raise NoInteraction
        permission = getWorkerType(name).permission
        target = self.getSite() if context is None else context
        if not checkPermission(permission, target):
            raise Unauthorized(target, 'start', permission)
        return self._start(name, context, input, permission)

    def submit(self, name, context=None, input=None, delay=0.0, unique=None,
               priority=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        if not delay <= LONGEST_DELAY:
            raise ValueError(
                'delay: expected at most %d seconds, got %r; start it later'
                % (LONGEST_DELAY, delay))
        return self._start(name, context, input or {}, None, delay, unique,
                           priority)

    def _start(self, name, context, input, permission, delay=0.0, unique=None,
               priority=None):
        worker_type = getWorkerType(name)
        input = worker_type.cleanInput(input) or None
        reference = self._refer(removeSecurityProxy(context))
        if worker_type.autostart:
            run = services.findLiving(self, worker_type)
            if run is not None:
                return run
        key = claimKey(unique or worker_type.unique, name, reference, input)
        if key is not None:
            watch = Watch(self)
            run = findPending(self, key, lambda run: watch.live(run))
            if run is not None:
                return run
        run = self.addRun(
            worker_type.name, reference=reference, input=input,
            permission=permission, starter=currentPrincipal(),
            due_at=clock.now() + delay if delay > 0 else None,
            priority=worker_type.priority if priority is None else priority,
            claim=key)
        if worker_type.autostart:
            services.adopt(self, worker_type, run)
        return run

    def _refer(self, context):
        if context is None:
            return None
        if self._p_jar is None:
            raise InvalidContext(
                'context: expected a registry that is stored in a database, '
                'got one that is not; commit it first')
        return refer(context, self._p_jar)

    def addRun(self, type, claim=None, **values):
        """Store a new run in the open transaction and return it.

        *claim* is the `uniqueness.claimKey` that it is to have, or None.  For
        this package: nothing is checked.
        """
        if self._p_jar is None:
            lane = self.lanes[min(self.lanes)]
        else:
            lease = self.checkOut()
            lane = lease.lane
            lease.born[lane.births.next_serial] = (
                values.get('priority', 0), values.get('due_at'))
        run = WorkerRun(type, lane.number, lane.births.next_serial,
                        lane.births.timeOfNext(clock.now()),
                        depth=depthOfNext(), **values)
        run._v_parent = self
        lane.births.add(run)
        if claim is not None:
            self.claims[claim] = run.lane, run.serial
        with deeper():
            notify(RunCreatedEvent(run, self))
        return run

    def checkOut(self):
        """Return the `pool._Lease` of the open transaction."""
        txn = self._p_jar.transaction_manager.get()
        return getPool(self._p_jar.db(), self._p_oid).checkOut(self, txn)

    def finish(self, run, state, event, **values):
        """Finish *run* in the open transaction and tell so by *event*.

        For this package.  Raise `IllegalTransition`.
        """
        run.change(state, finished_at=clock.now(), **values)
        self.checkOut().lane.finishes.add(run)
        run._v_parent = self
        notify(event(run, self))

    # Looking

    def get(self, run_id, default=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        match = _RUN_ID.fullmatch(run_id) if isinstance(run_id, str) else None
        if match is None:
            return default
        run = self.getRun(int(match[1]), int(match[2]))
        return default if run is None else run

    def getRun(self, lane_number, serial):
        """Return the run of that lane and serial, or None."""
        lane = self.lanes.get(lane_number)
        run = lane and lane.births.get(serial)
        if run is not None:
            run._v_parent = self
        return run

    def _get(self, run_id):
        run = self.get(run_id)
        if run is None:
            raise RunNotFound('run %.40r: expected the id of a run of this '
                              'registry; it may have been removed' % (run_id,))
        return run

    def getStatus(self, run_id):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        return Watch(self).describe(self._get(run_id))

    def getDetails(self, run_id):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        run = self._get(run_id)
        live = Watch(self).live(run)
        details = run.details or RunDetails()
        return RunDetailsStatus(
            input=dict(run.input or {}), traceback=details.traceback,
            log=details.log if live is None else live.log,
            history=list(details.history))

    def getContext(self, run_id):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        return self._get(run_id).context

    def listRuns(self, states=(), types=(), contexts=(), limit=50,
                 before=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        watch = Watch(self)
        states, types = set(states), set(types)
        oids = {removeSecurityProxy(context)._p_oid for context in contexts}

        def matches(run):
            return (
                (not types or run.type in types)
                and (not oids or (run.reference is not None
                                  and run.reference[0].oid in oids))
                and (not states or watch.state(run) in states))

        runs, older = listing.listRuns(
            self.lanes, states, matches, limit, before)
        return RunPage([watch.describe(run) for run in runs], older)

    def getCounts(self):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        return Watch(self).counts()

    def listProcesses(self):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        return Watch(self).processes()

    # Schedules

    def listSchedules(self):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        return timetable.listSchedules(self)

    def pauseSchedule(self, name, is_paused=True):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        timetable.pause(self, name, is_paused)

    def runSchedule(self, name):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        return timetable.runNow(self, name)

    # Stopping

    def requestStop(self, run_id, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        run = self._get(run_id)
        if run.isFinished():
            raise RunNotStoppable(
                'run %r: expected a pending or running run to stop, got one '
                'that is %r; nothing is left to stop' % (run.id, run.state))
        request = (currentPrincipal(), clock.now(),
                   cleanLine(reason) if reason else None)
        if Watch(self).state(run) == PENDING:
            self.finish(run, STOPPED, RunStoppedEvent, stop_request=request)
            return STOPPED
        if run.id not in self.stops:
            self.stops[run.id] = request
            wakeAfterCommit(self._p_jar)
        return RUNNING

    def getSite(self):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        for obj in lineage(self):
            if obj is not self and hasattr(obj, 'getSiteManager'):
                return obj
        raise RegistryNotFound(
            'registry: expected to be held by the site manager of a site, '
            'got %r as parent; add it with addRegistry(site)'
            % (self.__parent__,))
