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
"""The problems of a registry that an administrator should look at.

Each kind has a function of a `Look` that yields its problems.  `_KINDS` lists
these functions.
"""
from functools import cached_property
from itertools import islice

from cipher.background.declarations.workertype import nameToday
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import BROKEN_RUN
from cipher.background.interfaces import BUSY_THREADS
from cipher.background.interfaces import CLOCK_JUMP
from cipher.background.interfaces import COPIED_DATABASE
from cipher.background.interfaces import FAILING_RESCUE
from cipher.background.interfaces import FAILING_STEP
from cipher.background.interfaces import FAILING_SUBSCRIBER
from cipher.background.interfaces import FAILING_TYPE
from cipher.background.interfaces import KEPT_RUNS
from cipher.background.interfaces import LATE_SCHEDULE
from cipher.background.interfaces import NEWER_DATABASE
from cipher.background.interfaces import NO_RUNTIME
from cipher.background.interfaces import OLDER_PROCESS
from cipher.background.interfaces import OLDEST
from cipher.background.interfaces import PAUSED_TYPE
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import PROBLEMS
from cipher.background.interfaces import SCHEDULE_ELSEWHERE
from cipher.background.interfaces import SILENT_PROCESS
from cipher.background.interfaces import STALLED_RUN
from cipher.background.interfaces import STUCK_PROCESS
from cipher.background.interfaces import UNDECLARED_TYPE
from cipher.background.interfaces import UNRESPONSIVE_RUN
from cipher.background.interfaces import WAITS_FOR_THREAD
from cipher.background.queries import failures
from cipher.background.queries import paging
from cipher.background.queries import timetable
from cipher.background.queries import visibility
from cipher.background.queries.merging import Wanted
from cipher.background.queries.status import Problem
from cipher.background.queries.waits import Waits
from cipher.background.store.kept import walk
from cipher.background.store.process import getDirectory
from cipher.background.store.thresholds import Thresholds
from cipher.background.util import clock
from cipher.background.util.plaindata import readAsked
from cipher.background.util.plaindata import readNumber


#: Waiting runs that one call loads to find one that waits for a thread.  And
#: serials that it reads for that in each lane.
LOOKS = 200
SERIALS = 2000
#: The kinds of problems that are of a process: each registry lists the same.
OF_PROCESSES = frozenset([
    CLOCK_JUMP, COPIED_DATABASE, FAILING_STEP, NEWER_DATABASE, OLDER_PROCESS,
    SILENT_PROCESS, STUCK_PROCESS])

#: Runs.  The count of the runs that are kept back ends here.
COUNTED = 1000


def listProblems(registry, snapshot, counts):
    """Return a `Problem` for each problem of *registry*, worst first.

    *counts* is {type name: {state: number}} of the types that the reader may
    see.
    """
    look = Look(registry, snapshot, counts)
    return [problem for kind in _KINDS for problem in kind(look)]


class Look:
    """The data that the kinds of problems share; valid for one call."""

    def __init__(self, registry, snapshot, counts):
        self.registry = registry
        self.snapshot = snapshot
        self.waits = Waits(snapshot)
        self.counts = counts   # of the types that the reader may see
        self.thresholds = Thresholds(registry.thresholds)
        self.now = clock.now()
        # {type name: number of runs that wait}
        self.waiting = {name: states[PENDING]
                        for name, states in counts.items()
                        if PENDING in states}

    @cached_property
    def processes(self):
        return self.snapshot.processes()

    @cached_property
    def copied(self):
        return self.snapshot.copied()

    @cached_property
    def running(self):
        """The statuses of the running runs that the reader may see."""
        return [self.snapshot.describe(run, self.waits)
                for run in self.snapshot.running()
                if visibility.maySee(self.registry, run.type)]

    @cached_property
    def longest(self):
        return failures.Longest(self.registry, self.now)

    def isSilent(self, status):
        """Return whether a running run has not progressed for too long."""
        after = self.thresholds.stalled_after
        return after is not None and self.now - _last_sign(status) > after

    @cached_property
    def schedules(self):
        return timetable.listSchedules(self.registry)

    @cached_property
    def runs_schedules(self):
        """Whether this registry is the one that schedules start runs in."""
        jar = self.registry._p_jar
        directory = jar and getDirectory(jar)
        return not directory or timetable.homeOf(
            directory.listRegistries()) in (None, self.registry)


def _copied(look):
    """Yield a `Problem` for each reason to regard the database as a copy."""
    found = {}
    for record in look.copied:
        found.setdefault(record.copied, []).append(record)
    for (_, original, _), records in found.items():
        yield Problem(COPIED_DATABASE, original, records[0].started_at,
                      process=records[0].id)


def _kept(look):
    hidden = visibility.hiddenTypes(look.registry)
    found = islice(
        (run for run in walk(look.registry) if run.type not in hidden),
        COUNTED)
    number = sum(1 for _ in found)
    if number:
        yield Problem(KEPT_RUNS, number=number)


def _without_runtime(look):
    if look.copied:
        return
    registry, snapshot, waiting = look.registry, look.snapshot, look.waiting
    if waiting and not any(
            process.threads and not (process.is_silent or process.is_quiet
                                     or process.is_draining)
            for process in look.processes):
        wanted = Wanted(frozenset([PENDING]), frozenset(waiting),
                        order=OLDEST)
        oldest = paging.listRuns(
            registry.lanes, wanted,
            lambda run: run.type in waiting and snapshot.state(run) == PENDING,
            1, None).runs
        yield Problem(NO_RUNTIME, number=sum(waiting.values()),
                      since=readNumber(oldest[0].created_at)
                      if oldest else None)


def _silent(look):
    # In a copy, the processes of the original are silent, and rightly so.
    for process in () if look.copied else look.processes:
        if process.is_silent:
            yield Problem(SILENT_PROCESS, process.id, process.beat_at,
                          process.busy)


def _troubles(look):
    found = [
        (PROBLEMS.index(one.kind), one.since, process, one)
        for process, one in look.snapshot.troubles() if _is_shown(look, one)]
    older = set()
    for _, _, process, one in sorted(found, key=lambda item: item[:3]):
        if one.kind == OLDER_PROCESS:
            # Each newer process reports the same older one.
            if one.subject in older:
                continue
            older.add(one.subject)
        yield Problem(one.kind, one.subject, one.since, process=process,
                      error=one.error, stack=one.stack)


def _is_shown(look, trouble):
    if trouble.kind == CLOCK_JUMP:
        above = look.thresholds.jump_above
        return above is not None and abs(int(trouble.subject)) >= above
    if trouble.kind in (BROKEN_RUN, FAILING_RESCUE, FAILING_SUBSCRIBER):
        return _may_see(look.registry, trouble.subject)
    return True


def _may_see(registry, run_id):
    try:
        run = registry.findRun(run_id)
        return run is None or visibility.maySee(registry, run.type)
    except Exception:
        return True   # the problem is that it cannot be read


def _unresponsive(look):
    found = [status for status in look.running if status.is_unresponsive]
    for status in sorted(found, key=lambda status: status.stop.asked_at):
        yield Problem(UNRESPONSIVE_RUN, status.id, status.stop.asked_at)


def _stalled(look):
    for status in sorted(look.running, key=lambda status: (
            _last_sign(status), status.id)):
        if not look.isSilent(status):
            return   # the others progressed later than this one
        problem = findStall(look, status)
        if problem is not None:
            yield problem


def findStall(look, status):
    """Return the `Problem` that a running run stands still, or None."""
    worker_type = queryWorkerType(status.type)
    if not look.isSilent(status) or (
            status.took is None or status.stop is not None
            or worker_type is not None and worker_type.is_loop):
        return None
    factor = look.thresholds.stalled_factor
    usual = look.longest.usual(
        status.type, status.took / factor) if factor else None
    if status.took <= factor * (usual or 0.0):
        return None
    return Problem(STALLED_RUN, status.id, _last_sign(status), usual=usual)


def _last_sign(status):
    begun = status.started_at or 0.0
    return max(begun, status.progressed_at or begun)


def _busy(look):
    after = look.thresholds.busy_after
    if after is None or not look.snapshot.is_full or not look.waiting:
        return
    since, run_id = min((
        found for found in (
            _longest_waiting(look, lane, look.now - after)
            for lane in look.registry.lanes.values())
        if found is not None), default=(None, None))
    if run_id is not None:
        yield Problem(BUSY_THREADS, run_id, since)


def _longest_waiting(look, lane, before):
    """Return (since, id) of the run of *lane* that waits longest for a thread.

    None if no run has waited for a thread since the time *before*.
    """
    looks = max(10, LOOKS // len(look.registry.lanes))
    for serial in unparked(lane):
        run = lane.births.get(serial)
        if run is None or run.is_removed:
            continue
        looks -= 1
        created_at = readNumber(run.created_at, 0.0)
        if created_at >= before or not looks:
            return None
        since = max(created_at, readNumber(run.due_at, 0.0))
        if (run.type in look.waiting and since < before
                and not run.isFinished()):
            run._v_parent = look.registry
            wait = look.waits.reasonOf(run)
            if wait is not None and wait.kind == WAITS_FOR_THREAD:
                return since, run.id
    return None


def unparked(lane):
    """Yield serials of runs that wait for no condition, oldest first.

    Some of these runs are finished; at most `SERIALS` are looked at.
    """
    bookmark, parked = lane.bookmark, lane.waiting.places
    for serial in bookmark.stragglers:
        if serial < bookmark.low and serial not in parked:
            yield serial
    for serial in range(bookmark.low, min(
            lane.births.next_serial, bookmark.low + SERIALS)):
        if serial not in parked:
            yield serial


def _failing(look):
    limits = look.thresholds
    if limits.failing_number is None:
        return
    lately = failures.failedLately(look.registry, look.now)
    found = [(-one.failed, name, one) for name, one in lately.items()
             if one.failed >= limits.failing_number
             and 100 * one.rate >= limits.failing_percent
             and one.rate >= limits.failing_factor * (one.usual or 0.0)]
    seen = found and {nameToday(name) for name in look.counts}
    for _, name, one in sorted(found, key=lambda item: item[:2]):
        if name in seen:
            yield Problem(FAILING_TYPE, name, None, one.failed,
                          total=one.total, usual=one.usual)


def _late(look):
    for schedule in look.schedules:
        if schedule.is_late and look.runs_schedules:
            yield Problem(LATE_SCHEDULE, schedule.name, schedule.next_at)


def _elsewhere(look):
    after = look.thresholds.elsewhere_after
    takers = look.snapshot.takers
    if after is None or not takers:
        return
    since = min(record.started_at for record in takers)
    if look.now - since <= after:
        return
    for schedule in look.schedules:
        is_without = schedule.next_at is None
        if not schedule.is_paused and (is_without or schedule.is_late) and (
                is_without or not look.runs_schedules):
            yield Problem(
                SCHEDULE_ELSEWHERE, schedule.name,
                since if is_without else schedule.next_at)


def _paused(look):
    limit = look.thresholds.paused_waiting
    pauses = look.registry.pauses
    if limit is None or not pauses:
        return
    ticking = {nameToday(schedule.worker) for schedule in look.schedules
               if not schedule.is_paused}
    for name, asked in pauses.items():
        today = nameToday(name)
        number = sum(number for other, number in look.waiting.items()
                     if nameToday(other) == today)
        if visibility.maySee(look.registry, name) and (
                number >= limit or today in ticking):
            yield Problem(PAUSED_TYPE, name, readAsked(asked)[1], number)


def _undeclared(look):
    for name, number in sorted(look.waiting.items()):
        if not look.snapshot.isKnown(name):
            yield Problem(UNDECLARED_TYPE, name, None, number)


#: The order in which problems are shown: worst first.
_KINDS = (_copied, _kept, _without_runtime, _silent, _troubles,
          _unresponsive, _stalled, _busy, _failing, _late, _elsewhere,
          _paused, _undeclared)
