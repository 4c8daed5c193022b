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
"""What is wrong in a registry and wants an administrator."""
from itertools import islice

from cipher.background import listing
from cipher.background import sight
from cipher.background import timetable
from cipher.background.candidates import Wanted
from cipher.background.interfaces import BROKEN_RUN
from cipher.background.interfaces import COPIED_DATABASE
from cipher.background.interfaces import FAILING_RESCUE
from cipher.background.interfaces import FAILING_SUBSCRIBER
from cipher.background.interfaces import KEPT_RUNS
from cipher.background.interfaces import LATE_SCHEDULE
from cipher.background.interfaces import NO_RUNTIME
from cipher.background.interfaces import OLDEST
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import PROBLEMS
from cipher.background.interfaces import SILENT_PROCESS
from cipher.background.interfaces import UNDECLARED_TYPE
from cipher.background.interfaces import UNRESPONSIVE_RUN
from cipher.background.kept import walk
from cipher.background.plaindata import readNumber
from cipher.background.status import Problem
from cipher.background.workertype import queryWorkerType


#: Runs that came with a copy are counted up to this.
COUNTED = 1000


def listProblems(registry, watch, counts):
    """Return a `Problem` for each, worst first.

    Of the types in *counts* {type name: {state: number}}.
    """
    waiting = {name: states[PENDING] for name, states in counts.items()
               if PENDING in states}
    processes = watch.processes()
    copied = list(_copied(watch))
    return [
        *copied,
        *_kept(registry),
        *([] if copied else _without_runtime(
            registry, watch, processes, waiting)),
        # Those of the original are not here.
        *([] if copied else _silent(processes)),
        *_troubles(registry, watch),
        *_unresponsive(registry, watch),
        *_late(registry),
        *_undeclared(waiting)]


def _copied(watch):
    """Yield a `Problem` for each reason why processes take it for a copy."""
    found = {}
    for record in watch.copied():
        found.setdefault(record.copied, []).append(record)
    for (_, original, _), records in found.items():
        yield Problem(COPIED_DATABASE, original, records[0].started_at,
                      process=records[0].id)


def _kept(registry):
    hidden = sight.hiddenTypes(registry)
    found = islice((run for run in walk(registry) if run.type not in hidden),
                   COUNTED)
    number = sum(1 for _ in found)
    if number:
        yield Problem(KEPT_RUNS, number=number)


def _without_runtime(registry, watch, processes, waiting):
    if waiting and not any(
            process.threads and not (process.is_silent or process.is_quiet
                                     or process.is_draining)
            for process in processes):
        wanted = Wanted(frozenset([PENDING]), frozenset(waiting),
                        order=OLDEST)
        oldest = listing.listRuns(
            registry.lanes, wanted,
            lambda run: run.type in waiting and watch.state(run) == PENDING,
            1, None).runs
        yield Problem(NO_RUNTIME, number=sum(waiting.values()),
                      since=readNumber(oldest[0].created_at)
                      if oldest else None)


def _silent(processes):
    for process in processes:
        if process.is_silent:
            yield Problem(SILENT_PROCESS, process.id, process.beat_at,
                          process.busy)


def _troubles(registry, watch):
    found = [
        (PROBLEMS.index(one.kind), one.since, process, one)
        for process, one in watch.troubles()
        if one.kind not in (BROKEN_RUN, FAILING_RESCUE, FAILING_SUBSCRIBER)
        or _may_see(registry, one.subject)]
    for _, _, process, one in sorted(found, key=lambda item: item[:3]):
        yield Problem(one.kind, one.subject, one.since, process=process,
                      error=one.error, stack=one.stack)


def _may_see(registry, run_id):
    try:
        run = registry.findRun(run_id)
        return run is None or sight.maySee(registry, run.type)
    except Exception:
        return True   # that is what is wrong with it


def _unresponsive(registry, watch):
    found = [status for status in map(watch.describe, watch.running())
             if status.is_unresponsive
             and sight.maySee(registry, status.type)]
    for status in sorted(found, key=lambda status: status.stop.asked_at):
        yield Problem(UNRESPONSIVE_RUN, status.id, status.stop.asked_at)


def _late(registry):
    for schedule in timetable.listSchedules(registry):
        if schedule.is_late:
            yield Problem(LATE_SCHEDULE, schedule.name, schedule.next_at)


def _undeclared(waiting):
    for name, number in sorted(waiting.items()):
        if queryWorkerType(name) is None:
            yield Problem(UNDECLARED_TYPE, name, None, number)
