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
"""The present state of a registry: stored and live data together.

Silence is judged by the wall clocks of two hosts.  So a page may show a
process as silent, but nothing is decided by it.
"""
from functools import cached_property
from typing import Any

from ZODB.POSException import POSKeyError

from cipher.background.declarations.workertype import findPause
from cipher.background.declarations.workertype import nameToday
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import PROBLEMS
from cipher.background.interfaces import RUNNING
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
from cipher.background.util import clock
from cipher.background.util import switchboard
from cipher.background.util.plaindata import readAsked
from cipher.background.util.reference import root


#: The last items of a report of `work.liverun.LiveRun`.
_REPORTED = 'progressed_at', 'first_progress', 'unmoved_since'


class Snapshot:
    """A view of *registry*, valid for one call."""

    def __init__(self, registry):
        self.registry = registry
        self._oid = registry._p_oid
        jar = registry._p_jar
        self._runtime: Any = jar and switchboard.queryRuntime(jar.db())
        directory = jar and getDirectory(jar)
        self._records = list(directory.processes.values()) if directory else []
        # oid -> (registry, or None if hidden; whether it has hidden types)
        self._seen = {}

    def isSilent(self, record):
        """Return whether to show the process of *record* as silent."""
        if self._is_here(record):
            return False
        if self._is_alone:
            return True   # its record came with a copy, or it died
        return isKnownDead(record) or isSilent(
            clock.now() - record.heartbeat.beat_at, record.lease)

    @cached_property
    def _is_alone(self):
        # True if no other process can have the database open.
        return self._runtime is not None and isExclusive(self._runtime.db)

    def _is_here(self, record):
        return self._runtime is not None and self._runtime.id == record.id

    @cached_property
    def _elsewhere(self):
        # {run id: Live}.  A silent process has no live runs.
        return {run_id: Live(record.name, started_at, progress, log=log,
                             stack=stack, **dict(zip(_REPORTED, rest)))
                for record in self._records
                if not self._is_here(record) and not self.isSilent(record)
                for (oid, run_id), (started_at, progress, log, stack, *rest)
                in record.live.runs.items() if oid == self._oid}

    def live(self, run):
        """Return the `Live` of *run*, or None."""
        if run.isFinished():
            return None
        here = self._runtime and self._runtime.getLive(self._oid, run.id)
        return here or self._elsewhere.get(run.id)

    def stack(self, run):
        """Return the stack of the thread of *run*, or None."""
        here = self._runtime and self._runtime.getStack(self._oid, run.id)
        if here:
            return here
        live = self.live(run)
        return live and live.stack

    @cached_property
    def _alive(self):
        # Ids of the processes that are not silent.
        return {record.id for record in self._records
                if not self.isSilent(record)}

    def isOrphaned(self, run):
        """Return whether *run* is stored as running, but not carried out.

        Its process is gone or silent; another process will rescue it.
        """
        return run.state == RUNNING and self.live(run) is None and (
            run.owner not in self._alive or isKept(self.registry, run))

    def state(self, run):
        """Return the state of *run* as an administrator sees it.

        A stored "running" is shown as pending if no process carries it out.
        """
        if run.state == PENDING and self.live(run) is not None:
            return RUNNING
        return PENDING if self.isOrphaned(run) else run.state

    def describe(self, run, waits):
        """Return the `RunStatus` of *run*; *waits* is the `Waits` of this."""
        run._v_parent = self.registry
        stop = self.registry.stops.get(run.id)
        if stop is not None:
            stop = StopRequest(*readAsked(stop))
        return describeRun(
            run, self.live(run), stop, clock.now(),
            is_orphaned=self.isOrphaned(run),
            is_paused=findPause(self.registry, run.type) is not None,
            wait=waits.reasonOf(run), begin_obstacle=waits.obstacleOf(run),
            is_kept=not run.isFinished() and isKept(self.registry, run))

    def running(self):
        """Yield the runs that are known to be running now."""
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
        # Live runs come from memory and may be newer than the stored numbers
        # that this transaction sees.  So a number may be below zero.
        counts = {name: {state: number for state, number in states.items()
                         if number > 0} for name, states in counts.items()}
        return {name: states for name, states in counts.items() if states}

    def countWaiting(self, starter):
        """Return (number, time): how many runs of *starter* wait.

        Lanes with their home in this process are counted in memory.  For the
        others the last report of their process counts.  Runs that this
        process started after the time may be missing from the number.  The
        time is 0.0 if no process reports.
        """
        number, reported = 0, []
        looked_at = None
        for record in self._records:
            if self._is_here(record):
                here, seen_at = self._runtime.countWaiting(self._oid, starter)
                number += here
                if record.isTaking():
                    # Lanes that this process writes have their home in it.
                    looked_at = seen_at
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
        """Return [(process id, `Trouble`)] of the living processes.

        Only troubles of this registry or of no registry.
        """
        found = []
        for record in self._records:
            if self.isSilent(record):
                continue
            troubles = (self._runtime.listTroubles() if self._is_here(record)
                        else map(Trouble._make, record.heartbeat.troubles))
            # A process of newer code may report unknown kinds.
            found += [(record.id, one) for one in troubles
                      if one.kind in PROBLEMS
                      and one.registry_oid in (None, self._oid)]
        return found

    def copied(self):
        """Return the records of processes that regard the database as a copy.
        """
        return [record for record in self._records
                if record.copied is not None and not self.isSilent(record)]

    def processes(self):
        """Return a `ProcessStatus` for each process, oldest first."""
        return sorted((self._describe_process(record)
                       for record in self._records),
                      key=lambda status: status.started_at)

    def _list_begun(self, record):
        """Return the names of the types that a process begins; None: all."""
        begun = record.declared.begun
        if begun is None:
            return None
        return [name for name in begun if name == nameToday(name)
                and visibility.maySee(self.registry, name)]

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
        """The records of the processes that begin waiting runs."""
        return [record for record in self._records
                if record.isTaking() and not self.isSilent(record)]

    @cached_property
    def workers(self):
        """The records of the living processes that have threads."""
        return [record for record in self._records
                if record.threads and not self.isSilent(record)]

    def isKnown(self, name):
        """Return whether a process that takes runs begins those of *name*.

        Without such a process, the declarations of this process count.
        """
        is_declared = queryWorkerType(name) is not None
        return is_declared if not self.takers else any(
            self._begins(record, name, is_declared)
            for record in self.takers)

    def _begins(self, record, name, is_declared):
        if self._is_here(record):
            return self._runtime.begins(name)
        begins = record.begins(name)
        # A process that has not reported its types yet is taken to declare
        # the same ones as this process.
        return is_declared if begins is None else begins

    @cached_property
    def is_full(self):
        """Whether all threads work on runs that the reader may see.

        Hidden runs do not count: they must not show in anything.
        """
        return bool(self.takers) and all(
            self._count_jobs(record) >= record.threads
            for record in self.takers)

    def countBusy(self):
        """Return {process id: number of its threads that carry out jobs}."""
        return {record.id: self._count_jobs(record)
                for record in self._records}

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
        """Yield the keys of the process's runs that the reader may see."""
        keys = ([live.key for live in self._runtime.allLive()]
                if self._is_here(record) else record.live.runs)
        for oid, run_id in keys:
            if self.maySee(oid, run_id):
                yield oid, run_id

    def maySee(self, oid, run_id):
        """Return whether the reader may see the run of any registry.

        *oid* is that of the registry.
        """
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
        is_here = self._is_here(record)
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
            types=self._list_begun(record),
            asked_by=request.asked and request.asked[0])
