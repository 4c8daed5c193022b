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
"""What a registry knows of its schedules.

Pickles name `ScheduleState`: it stays here.
"""
from persistent import Persistent
from zope.component import getUtilitiesFor
from zope.component import queryUtility

from cipher.background import clock
from cipher.background.automatic import startAutomatically
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import ScheduleNotFound
from cipher.background.status import ScheduleStatus


class ScheduleState(Persistent):
    """The ticks of one schedule in one registry."""

    expression = None   # that next_at was computed from
    next_at = None
    last_at = None      # of the last tick that started a run
    last_run = None     # (lane, serial)
    is_paused = False


def tick(registry, schedule):
    """Start the run of *schedule* if it is due, in the open transaction.

    Two processes that do so for one tick conflict, and the one that comes
    second finds the next tick in the future.  Return whether anything was
    written.
    """
    now = clock.now()
    state = _state(registry, schedule)
    if state.expression != schedule.expression:
        state.expression = schedule.expression
        state.next_at = schedule.nextTick(now)
        return True
    if state.next_at > now:
        return False
    # Ticks that were missed are one.
    state.next_at = schedule.nextTick(now)
    if not state.is_paused:
        _start(registry, schedule, state, now)
    return True


def isDue(registry, schedule):
    """Return whether `tick` would write anything."""
    state = registry.schedules.get(schedule.name)
    return (state is None or state.expression != schedule.expression
            or state.next_at <= clock.now())


def runNow(registry, name):
    """Start the run of that schedule now; return it, None if that failed."""
    schedule = _schedule(name)
    return _start(registry, schedule, _state(registry, schedule), clock.now())


def pause(registry, name, is_paused):
    """Let the schedule of that name start nothing, or again."""
    _state(registry, _schedule(name)).is_paused = is_paused


def listSchedules(registry):
    """Return a `ScheduleStatus` for each schedule, by name."""
    found = []
    for name, schedule in sorted(getUtilitiesFor(ISchedule)):
        state = registry.schedules.get(name, ScheduleState)
        run = state.last_run and registry.getRun(*state.last_run)
        found.append(ScheduleStatus(
            name=name, worker=schedule.worker,
            expression=schedule.expression,
            next_at=state.next_at, last_at=state.last_at,
            last_run=run.id if run else None, is_paused=state.is_paused))
    return found


def _start(registry, schedule, state, now):
    run = startAutomatically(
        registry, 'schedule %r' % schedule.name, schedule.worker, None,
        schedule.input)
    state.last_at = now
    state.last_run = run and (run.lane, run.serial)
    return run


def _state(registry, schedule):
    state = registry.schedules.get(schedule.name)
    if state is None:
        state = registry.schedules[schedule.name] = ScheduleState()
    return state


def _schedule(name):
    schedule = queryUtility(ISchedule, name)
    if schedule is None:
        raise ScheduleNotFound(
            'schedule %.100r: expected the name of a declared schedule; '
            'declare it with <background:schedule … />' % (name,))
    return schedule
