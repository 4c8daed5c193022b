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
"""The list of schedules: the next tick and the last run of each."""
import math

from zope.component import getUtilitiesFor

from cipher.background.interfaces import ISchedule
from cipher.background.queries import visibility
from cipher.background.queries.status import ScheduleStatus
from cipher.background.queries.status import Tick
from cipher.background.store.states import ScheduleState
from cipher.background.store.thresholds import Thresholds
from cipher.background.util import clock
from cipher.background.util.host import getHost
from cipher.background.util.plaindata import readAsked
from cipher.background.util.plaindata import readNumber


def listSchedules(registry, with_recent=False):
    """Return a `ScheduleStatus` for each schedule, sorted by name.

    Without *with_recent*, its last ticks are left out: they need their runs.
    """
    found = []
    now = clock.now()
    late_after = Thresholds(registry.thresholds).late_after
    if late_after is None:
        late_after = math.inf
    for name, schedule in sorted(getUtilitiesFor(ISchedule)):
        if not visibility.maySee(registry, schedule.worker):
            continue
        state = registry.schedules.get(name, ScheduleState)
        run = _run_at(registry, state.last_run)
        paused_by = paused_at = reason = None
        if state.pause is not None:
            paused_by, paused_at, reason = readAsked(state.pause)
        found.append(ScheduleStatus(
            name=name, worker=schedule.worker,
            expression=schedule.expression,
            description=schedule.description,
            next_at=readNumber(state.next_at),
            last_at=readNumber(state.last_at),
            last_run=run.id if run else None,
            is_paused=state.pause is not None, paused_by=paused_by,
            paused_at=paused_at, pause_reason=reason,
            recent=_list_recent(registry, state) if with_recent else (),
            is_late=(state.pause is None and now - readNumber(
                state.next_at, now) > late_after)))
    return found


def homeOf(registries):
    """Return the one of *registries* that schedules and services start in.

    It is the one nearest to the root of the database; None if there is none.
    """
    lineage = getHost().lineage
    return min(registries, key=lambda registry: len(list(lineage(registry))),
               default=None)


def _list_recent(registry, state):
    found = []
    for at, lane, serial in state.recent:
        run = _run_at(registry, (lane, serial))
        found.append(Tick(
            readNumber(at), run and run.state, run and run.id, lane is None))
    return tuple(found)


def _run_at(registry, place):
    try:
        lane, serial = place
        run = registry.getRun(lane, serial)
    except (TypeError, ValueError):
        return None
    # The schedule may have had another, hidden type then.
    return run and (run if visibility.maySee(registry, run.type) else None)
