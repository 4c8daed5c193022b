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
import logging
import math

from persistent import Persistent
from zope.component import getUtilitiesFor
from zope.component import queryUtility

from cipher.background import clock
from cipher.background import sight
from cipher.background.automatic import startAutomatically
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import ScheduleNotFound
from cipher.background.plaindata import readAsked
from cipher.background.plaindata import readNumber
from cipher.background.reference import lineage
from cipher.background.status import ScheduleStatus
from cipher.background.text import safeRepr
from cipher.background.thresholds import Thresholds


log = logging.getLogger(__name__)

#: Expressions of one schedule that are kept, of processes that declare it
#: differently, and the seconds after whose tick one counts as gone.
OTHERS_LIMIT = 3
STALE_AFTER = 3600.0


class ScheduleState(Persistent):
    """The ticks of one schedule in one registry."""

    expression = None   # that next_at was computed from
    next_at = None
    others = ()         # (expression, next_at) that other processes declare
    last_at = None      # of the last tick that started a run
    last_run = None     # (lane, serial)
    pause = None        # (principal, asked_at, reason) while it is paused


def tick(registry, schedule):
    """Start the run of *schedule* if it is due, in the open transaction.

    Two processes that do so for one tick conflict, and the one that comes
    second finds the next tick in the future.  Return whether anything was
    written.
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
    # Ticks that were missed are one.
    _set_next(state, schedule,
              next_at if next_at > now else schedule.nextTick(now))
    if state.pause is None:
        if schedule.isMissed(due_at, now):
            log.warning('Schedule %r: a tick was missed by %d s, which is '
                        'more than its misfire of %s s; nothing is started',
                        schedule.name, now - due_at, schedule.misfire)
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

    During a deploy two processes may declare it differently: each keeps its
    own ticks, so that neither begins those of the other anew.
    """
    if state.expression == schedule.expression:
        due_at = state.next_at
    else:
        due_at = dict(state.others).get(schedule.expression)
        # One that nobody declared for long has missed nothing.
        if due_at is not None and now - due_at > STALE_AFTER:
            return None
    # Never far beyond the schedule's own: the clock was ahead once.  After
    # less than that, the ticks that come a second time start nothing.
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
    """Start the run of that schedule now; return it, None if that failed."""
    schedule = _schedule(registry, name)
    return _start(registry, schedule, _state(registry, schedule), clock.now())


def getWorker(registry, name):
    """Return the worker type of a schedule; raise `ScheduleNotFound`."""
    return _schedule(registry, name).worker


def pause(registry, name, asked):
    """Let the schedule of that name start nothing; again, if *asked* is None.

    *asked* is what `journal.askedNow` gave.  Return whether that is news; who
    paused it first stays known.
    """
    schedule = _schedule(registry, name)
    state = registry.schedules.get(name, ScheduleState)
    if (state.pause is None) == (asked is None):
        return False
    _state(registry, schedule).pause = asked
    return True


def listSchedules(registry):
    """Return a `ScheduleStatus` for each schedule, by name."""
    found = []
    now = clock.now()
    late_after = Thresholds(registry.thresholds).late_after
    if late_after is None:
        late_after = math.inf
    for name, schedule in sorted(getUtilitiesFor(ISchedule)):
        if not sight.maySee(registry, schedule.worker):
            continue
        state = registry.schedules.get(name, ScheduleState)
        run = _run_at(registry, state.last_run)
        if run and not sight.maySee(registry, run.type):
            run = None   # it was declared for another type then
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
            is_late=(state.pause is None and now - readNumber(
                state.next_at, now) > late_after)))
    return found


def homeOf(registries):
    """Return the one of *registries* that schedules and services start in.

    That which is nearest to the root of the database.
    """
    return min(registries, key=lambda registry: len(list(lineage(registry))),
               default=None)


def _run_at(registry, place):
    try:
        lane, serial = place
        return registry.getRun(lane, serial)
    except (TypeError, ValueError):
        return None


def _start(registry, schedule, state, now):
    run = startAutomatically(
        registry, 'schedule %r' % schedule.name, schedule.worker, None,
        schedule.input, make_context=schedule.context,
        unique=schedule.unique, priority=schedule.priority)
    state.last_at = now
    state.last_run = run and (run.lane, run.serial)
    return run


def _state(registry, schedule):
    state = registry.schedules.get(schedule.name)
    if state is None:
        state = registry.schedules[schedule.name] = ScheduleState()
    return state


def _schedule(registry, name):
    schedule = queryUtility(ISchedule, name) if isinstance(
        name, str) else None
    if schedule is None or not sight.maySee(registry, schedule.worker):
        raise ScheduleNotFound(
            'schedule %s: expected the name of a declared schedule; '
            'declare it with <background:schedule … />' % safeRepr(name, 100))
    return schedule
