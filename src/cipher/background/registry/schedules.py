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
"""The ticks, runs and pauses of schedules in a registry."""
import logging

from zope.component import queryUtility

from cipher.background.interfaces import BY_SCHEDULE
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import ScheduleNotFound
from cipher.background.queries import visibility
from cipher.background.registry.unattended import startAutomatically
from cipher.background.store.cause import Reason
from cipher.background.store.states import ScheduleState
from cipher.background.util import clock
from cipher.background.util.text import safeRepr


log = logging.getLogger(__name__)

#: Other expressions of one schedule that are kept.  During a deploy, processes
#: may declare it differently.
OTHERS_LIMIT = 3
#: Ticks of a schedule that are kept, for a glance at the last two weeks of a
#: daily one.
RECENT_LIMIT = 14
#: Seconds after its tick until such an expression counts as gone.
STALE_AFTER = 3600.0


def tick(registry, schedule):
    """Start the run of *schedule* in the open transaction, if it is due.

    Return whether anything was written.  Two processes that do this for one
    tick conflict, and the second one then finds the next tick in the future.
    """
    now = clock.now()
    state = _state(registry, schedule)
    due_at = _next_at(state, schedule, now)
    if due_at is None:
        _set_next(state, schedule, schedule.nextTick(now))
        return True
    if due_at > now:
        return False
    next_at = schedule.nextTick(due_at)
    # Several missed ticks start one run.
    _set_next(state, schedule,
              next_at if next_at > now else schedule.nextTick(now))
    if state.pause is None:
        if schedule.isMissed(due_at, now):
            log.warning('Schedule %r: a tick is late by %d s, which is more '
                        'than its misfire of %s s; nothing is started',
                        schedule.name, now - due_at, schedule.misfire)
            _note(state, due_at, None)
        else:
            _start(registry, schedule, state, now)
    return True


def isDue(registry, schedule):
    """Return whether `tick` would write anything."""
    now = clock.now()
    state = registry.schedules.get(schedule.name, ScheduleState)
    due_at = _next_at(state, schedule, now)
    return due_at is None or due_at <= now


def _next_at(state, schedule, now):
    """Return the next tick of *schedule* as declared here, None if unknown.

    During a deploy two processes may declare it differently.  Each keeps ticks
    of its own, so neither resets those of the other.
    """
    if state.expression == schedule.expression:
        due_at = state.next_at
    else:
        due_at = dict(state.others).get(schedule.expression)
        # An expression that no process declared for long has missed nothing.
        if due_at is not None and now - due_at > STALE_AFTER:
            return None
    # A tick far beyond the schedule's next one means that the clock was ahead:
    # compute it again.  After a small jump of the clock the stored tick stays,
    # so that ticks that come a second time start nothing.
    if due_at is not None and due_at > now and clock.isAhead(
            due_at, schedule.nextTick(now)):
        return None
    return due_at


def _set_next(state, schedule, next_at):
    if state.expression not in (None, schedule.expression):
        state.others = ((state.expression, state.next_at), *state.others)
    state.others = tuple(
        other for other in state.others
        if other[0] != schedule.expression)[:OTHERS_LIMIT]
    state.expression = schedule.expression
    state.next_at = next_at


def runNow(registry, name):
    """Start the run of the schedule *name* now; return it, or None.

    None if the start failed.  Raise `ScheduleNotFound`.
    """
    schedule = _schedule(registry, name)
    return _start(registry, schedule, _state(registry, schedule), clock.now())


def getWorker(registry, name):
    """Return the worker type of a schedule; raise `ScheduleNotFound`."""
    return _schedule(registry, name).worker


def pause(registry, name, asked):
    """Pause the schedule *name*, or resume it if *asked* is None.

    *asked* is a result of `journal.askedNow`.  Return whether anything
    changed: a second pause keeps the principal of the first.  Raise
    `ScheduleNotFound`.
    """
    schedule = _schedule(registry, name)
    state = registry.schedules.get(name, ScheduleState)
    if (state.pause is None) == (asked is None):
        return False
    _state(registry, schedule).pause = asked
    return True


def _start(registry, schedule, state, now):
    run = startAutomatically(
        registry, 'schedule %r' % schedule.name, schedule.worker, None,
        schedule.input, make_context=schedule.context,
        reason=Reason(BY_SCHEDULE, schedule.name),
        unique=schedule.unique, priority=schedule.priority)
    state.last_at = now
    state.last_run = run and (run.lane, run.serial)
    _note(state, now, run)
    return run


def _note(state, at, run):
    place = (None, None) if run is None else (run.lane, run.serial)
    state.recent = (*state.recent, (at, *place))[-RECENT_LIMIT:]


def _state(registry, schedule):
    state = registry.schedules.get(schedule.name)
    if state is None:
        state = registry.schedules[schedule.name] = ScheduleState()
    return state


def _schedule(registry, name):
    schedule = queryUtility(ISchedule, name) if isinstance(
        name, str) else None
    if schedule is None or not visibility.maySee(registry, schedule.worker):
        raise ScheduleNotFound(
            'schedule %s: expected the name of a declared schedule; '
            'declare it with <background:schedule … />' % safeRepr(name, 100))
    return schedule
