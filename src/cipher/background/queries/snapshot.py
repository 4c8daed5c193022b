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
"""What is going on in a registry: the stored, joined with the live."""
from functools import cached_property

from ZODB.POSException import POSKeyError

from cipher.background.declarations.workertype import findPause
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import ALREADY_DUE
from cipher.background.interfaces import KEPT_BACK
from cipher.background.interfaces import LIMIT_REACHED
from cipher.background.interfaces import NOT_WAITING
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import PROBLEMS
from cipher.background.interfaces import PROCESS_GONE
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import TYPE_PAUSED
from cipher.background.interfaces import TYPE_UNDECLARED
from cipher.background.queries import visibility
from cipher.background.queries.status import EndedProcessStatus
from cipher.background.queries.status import ProcessStatus
from cipher.background.queries.status import describeRun
from cipher.background.store.deployment import isExclusive
from cipher.background.store.kept import isKept
from cipher.background.store.lifecycle import isSilent
from cipher.background.store.process import Trouble
from cipher.background.store.process import getDirectory
from cipher.background.store.process import isKnownDead
from cipher.background.store.run import Live
from cipher.background.store.run import StopRequest
from cipher.background.store.slots import listTaken
from cipher.background.util import clock
from cipher.background.util import switchboard
from cipher.background.util.plaindata import readAsked
from cipher.background.util.plaindata import readNumber
from cipher.background.util.reference import root


class Snapshot:
    """A look at a registry, for the length of one call."""

    def __init__(self, registry):
        self.registry = registry
        self._oid = registry._p_oid
        jar = registry._p_jar
        self._runtime = jar and switchboard.queryRuntime(jar.db())
        directory = jar and getDirectory(jar)
        self._records = list(directory.processes.values()) if directory else []
        # oid -> (registry or None, whether some of its types are hidden), of
        # what the reader may see.
        self._seen = {}
        self._full = {}   # type name -> whether it has no room

    def isSilent(self, record):
        """Return whether to show a process as silent.

        By the wall clocks of two hosts, so for the eye only: nothing is
        decided on it.
        """
        if self._isHere(record):
            return False
        if self._is_alone:
            return True   # it came with a copy, or died
        return isKnownDead(record) or isSilent(
            clock.now() - record.heartbeat.beat_at, record.lease)

    @cached_property
    def _is_alone(self):
        # Whether no other process can have the database open.
        return self._runtime is not None and isExclusive(self._runtime.db)

    def _isHere(self, record):
        return self._runtime is not None and self._runtime.id == record.id

    @cached_property
    def _elsewhere(self):
        # run id -> Live.  A silent process has nothing live.
        return {run_id: Live(record.name, started_at, progress, log=log,
                             stack=stack, progressed_at=(*rest, None)[0])
                for record in self._records
                if not self._isHere(record) and not self.isSilent(record)
                for (oid, run_id), (started_at, progress, log, stack, *rest)
                in record.live.runs.items() if oid == self._oid}

    def live(self, run):
        """Return the `Live` of *run*, or None."""
        if run.isFinished():
            return None
        here = self._runtime and self._runtime.getLive(self._oid, run.id)
        return here or self._elsewhere.get(run.id)

    def stack(self, run):
        """Return where the thread of *run* stands, or None."""
        here = self._runtime and self._runtime.getStack(self._oid, run.id)
        if here:
            return here
        live = self.live(run)
        return live and live.stack

    @cached_property
    def _alive(self):
        # Process ids, as far as records tell.
        return {record.id for record in self._records
                if not self.isSilent(record)}

    def isOrphaned(self, run):
        """Return whether *run* is stored as running, but nobody runs it.

        Its process is gone or silent; another one will look after it.  For
        the eye, as `isSilent`.
        """
        return run.state == RUNNING and self.live(run) is None and (
            run.owner not in self._alive or isKept(self.registry, run))

    def state(self, run):
        """Return the state of *run* as an administrator sees it.

        What nobody carries out is not shown as running, whatever is stored.
        """
        if run.state == PENDING and self.live(run) is not None:
            return RUNNING
        return PENDING if self.isOrphaned(run) else run.state

    def isFull(self, worker_type):
        """Return whether as many runs of the type run as may at a time."""
        if worker_type.max_running is None:
            return False
        if worker_type.name not in self._full:
            self._full[worker_type.name] = worker_type.max_running <= len(
                listTaken(self.registry._p_jar, worker_type))
        return self._full[worker_type.name]

    def beginObstacle(self, run):
        """Return why *run* cannot be begun now, one of `BEGIN_OBSTACLES`.

        None where it waits for nothing but its time.
        """
        if not run.isFinished() and isKept(self.registry, run):
            return KEPT_BACK
        if self.isOrphaned(run):
            return PROCESS_GONE
        if run.isFinished() or self.state(run) != PENDING:
            return NOT_WAITING
        worker_type = queryWorkerType(run.type)
        if worker_type is None:
            return TYPE_UNDECLARED
        if findPause(self.registry, run.type) is not None:
            return TYPE_PAUSED
        if clock.isLater(readNumber(run.due_at)):
            return None
        return LIMIT_REACHED if self.isFull(worker_type) else ALREADY_DUE

    def describe(self, run):
        """Return the `RunStatus` of *run*."""
        run._v_parent = self.registry
        stop = self.registry.stops.get(run.id)
        if stop is not None:
            stop = StopRequest(*readAsked(stop))
        return describeRun(
            run, self.live(run), stop, clock.now(),
            is_orphaned=self.isOrphaned(run),
            is_paused=findPause(self.registry, run.type) is not None,
            begin_obstacle=self.beginObstacle(run),
            is_kept=not run.isFinished() and isKept(self.registry, run))

    def running(self):
        """Yield the runs that are running now, as far as is known."""
        ids = set(self._elsewhere)
        if self._runtime is not None:
            ids.update(self._runtime.listLive(self._oid))
        for run_id in ids:
            run = self.registry.findRun(run_id)
            if run is not None and not run.isFinished():
                yield run

    def counts(self):
        """Return {type name: {state: number of runs}}, without zeros."""
        counts = {}

        def count(name, state, number):
            states = counts.setdefault(name, {})
            states[state] = states.get(state, 0) + number

        for lane in self.registry.lanes.values():
            for name, number in lane.births.counts.items():
                count(name, PENDING, number)
            for name, state, number in lane.finishes.getCounts():
                count(name, state, number)
                count(name, PENDING, -number)
            for name, state, number in lane.pruned.getCounts():
                count(name, state, -number)
        for name, state, number in self.registry.removed_by_hand.getCounts():
            count(name, state, -number)
        for run in self.running():
            count(run.type, RUNNING, 1)
            count(run.type, PENDING, -1)
        # Never below zero: what is live is told by memory, not by the
        # snapshot that this transaction sees.
        counts = {name: {state: number for state, number in states.items()
                         if number > 0} for name, states in counts.items()}
        return {name: states for name, states in counts.items() if states}

    def countWaiting(self, starter):
        """Return (number, time): how many runs of *starter* wait.

        As far as memory knows what has its home here, and as the others
        reported last.  What this process started after the time may not be
        counted yet; 0.0 if no process reports.
        """
        number, reported = 0, []
        looked_at = None
        for record in self._records:
            if self._isHere(record):
                here, seen_at = self._runtime.countWaiting(self._oid, starter)
                number += here
                if record.isTaking():
                    looked_at = seen_at   # home of all lanes written here
            elif not self.isSilent(record):
                number += sum(
                    count for oid, name, count in record.heartbeat.waiting
                    if (oid, name) == (self._oid, starter))
                if record.isTaking():
                    reported.append(record.heartbeat.beat_at)
        if looked_at is None:
            looked_at = min(reported, default=0.0)
        return number, looked_at

    def troubles(self):
        """Return [(process id, `Trouble`)] of the processes that live.

        Those that concern the registry or no registry.
        """
        found = []
        for record in self._records:
            if self.isSilent(record):
                continue
            troubles = (self._runtime.listTroubles() if self._isHere(record)
                        else map(Trouble._make, record.heartbeat.troubles))
            # A process of newer code may know of kinds that we do not.
            found += [(record.id, one) for one in troubles
                      if one.kind in PROBLEMS
                      and one.registry_oid in (None, self._oid)]
        return found

    def copied(self):
        """Return the records of those that take the database for a copy."""
        return [record for record in self._records
                if record.copied is not None and not self.isSilent(record)]

    def processes(self):
        """Return a `ProcessStatus` for each process, oldest first."""
        return sorted((self._describe_process(record)
                       for record in self._records),
                      key=lambda status: status.started_at)

    def endedProcesses(self):
        """Return an `EndedProcessStatus` for each, the last one first."""
        jar = self.registry._p_jar
        directory = jar and getDirectory(jar)
        ended = directory and directory.ended or {}
        return sorted((self._describe_ended(one) for one in ended.values()),
                      key=lambda status: status.ended_at, reverse=True)

    def _describe_ended(self, ended):
        principal, _, reason = readAsked(ended.asked or (None, None, None))
        seen = [(oid, run_id) for oid, run_id in ended.taken_over
                if self.maySee(oid, run_id)]
        return EndedProcessStatus(
            id=ended.id, host=ended.host, pid=ended.pid,
            started_at=ended.started_at, beat_at=ended.beat_at,
            ended_at=ended.ended_at, how=ended.how, asked_by=principal,
            reason=reason, taken_over=len(seen),
            run_ids=[run_id for oid, run_id in seen
                     if oid == self._oid
                     and self.registry.findRun(run_id) is not None])

    @cached_property
    def takers(self):
        """The records of the processes that begin what waits."""
        return [record for record in self._records
                if record.isTaking() and not self.isSilent(record)]

    @cached_property
    def workers(self):
        """The records of the processes that live and have threads."""
        return [record for record in self._records
                if record.threads and not self.isSilent(record)]

    def isKnown(self, name):
        """Return whether a process that begins runs declares that type."""
        is_declared = queryWorkerType(name) is not None
        if not self.takers:
            return is_declared
        # Of one that has not yet told, what is declared here counts.
        return any(is_declared if self._isHere(record)
                   or not record.declared.types
                   else name in record.declared.types
                   for record in self.takers)

    @cached_property
    def is_full(self):
        """Whether all threads are at work on runs that the reader may see.

        Whatever else there is, hidden runs show in nothing.
        """
        return bool(self.takers) and all(
            self._count_jobs(record) >= record.threads
            for record in self.takers)

    def _count_jobs(self, record):
        # A loop has a thread of its own.
        return sum(1 for oid, run_id in self._seen_keys(record)
                   if not self._is_loop(oid, run_id))

    def _is_loop(self, oid, run_id):
        registry, _ = self._seen[oid]
        run = registry.findRun(run_id)
        worker_type = run and queryWorkerType(run.type)
        return worker_type is not None and worker_type.is_loop

    def _seen_keys(self, record):
        """Yield the keys of the runs of that process, as far as seen."""
        keys = ([live.key for live in self._runtime.allLive()]
                if self._isHere(record) else record.live.runs)
        for oid, run_id in keys:
            if self.maySee(oid, run_id):
                yield oid, run_id

    def maySee(self, oid, run_id):
        """Return whether the reader may see that run of whatever registry."""
        if oid not in self._seen:
            self._seen[oid] = self._look_at(oid)
        registry, has_hidden_types = self._seen[oid]
        return registry is not None and (
            not has_hidden_types or registry.get(run_id) is not None)

    def _look_at(self, oid):
        registry = self.registry
        if oid != self._oid:
            try:
                registry = registry._p_jar.get(oid)
            except POSKeyError:
                return None, False
            if not visibility.maySeeRegistry(registry):
                return None, False
        return registry, bool(visibility.hiddenTypes(registry))

    @cached_property
    def _is_all_seen(self):
        return not visibility.hiddenTypes(
            self.registry) and visibility.maySeeRegistry(
            root(self.registry))

    def _describe_process(self, record):
        is_here = self._isHere(record)
        request = record.request
        return ProcessStatus(
            id=record.id, host=record.host, pid=record.pid,
            threads=record.threads, started_at=record.started_at,
            beat_at=record.heartbeat.beat_at, is_here=is_here,
            is_silent=self.isSilent(record),
            busy=sum(1 for _ in self._seen_keys(record)),
            is_all_seen=self._is_all_seen,
            is_quiet=record.isQuiet(), is_draining=request.is_draining,
            is_copy=record.copied is not None,
            asked_by=request.asked and request.asked[0])
