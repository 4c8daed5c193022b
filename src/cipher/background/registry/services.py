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
"""Services: loops that a runtime keeps running.

A service has one or more instances.  During a deploy, processes that know
different names of a service share its instances.
"""
from zope.component import getUtilitiesFor

from cipher.background.declarations.workertype import allNames
from cipher.background.declarations.workertype import findPause
from cipher.background.interfaces import BY_SERVICE
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import IWorkerType
from cipher.background.registry.unattended import startAutomatically
from cipher.background.store.cause import Reason
from cipher.background.store.kept import isKept
from cipher.background.store.states import ServiceState
from cipher.background.util import clock
from cipher.background.util.plaindata import readNumber


#: Seconds.  The restart delay of a service after its first death.  Each
#: further death doubles it, up to the cap.
DELAY = 1.0
DELAY_CAP = 300.0

#: Seconds.  A service that ran this long counts as healthy; its restart delay
#: resets.
WELL_AFTER = 600.0


def listServices():
    """Return the worker types that are kept running."""
    return [worker_type for _, worker_type in sorted(getUtilitiesFor(
        IWorkerType)) if worker_type.autostart and not worker_type.current]


def instances(worker_type):
    """Return the instance numbers of the service *worker_type*."""
    return range(worker_type.max_running or 1)


def isMissing(registry, worker_type, instance=0):
    """Return whether `keepRunning` would start the service now."""
    if findPause(registry, worker_type.name) is not None:
        return False
    state = registry.services.get(_key(registry, worker_type, instance))
    if state is None:
        return True
    if state.is_stopped or _must_wait(state.not_before):
        return False
    run = _run_of(registry, state)
    if run is None:
        return True
    if not run.isFinished() or _is_stopped(run):
        return False
    return not _must_wait(run.finished_at + _delay(_deaths(state, run)))


def keepRunning(registry, worker_type, instance=0):
    """Start the service in the open transaction, if it is missing.

    Two processes that do this at a time conflict.
    """
    if not isMissing(registry, worker_type, instance):
        return
    state = _state(registry, _key(registry, worker_type, instance))
    old = _run_of(registry, state)
    deaths = _deaths(state, old) if old is not None else 0
    run = startAutomatically(
        registry, 'the runtime', worker_type.name, None, None,
        reason=Reason(BY_SERVICE))
    if run is not None:
        # submit() may have adopted the run as if a person had started it,
        # which clears the deaths.
        state.run = run.lane, run.serial
        state.deaths = deaths
    else:
        state.deaths += 1
        state.not_before = clock.now() + _delay(state.deaths)


def findLiving(registry, worker_type):
    """Return the run that a start by hand returns instead of a new one.

    None if an instance is missing: then a run has to be started.
    """
    run = None
    for instance in instances(worker_type):
        state = registry.services.get(_key(registry, worker_type, instance))
        run = state and _run_of(registry, state)
        if run is None or run.isFinished():
            return None
    return run


def adopt(registry, worker_type, run):
    """Make the new *run* the instance in place of one that has finished."""
    for instance in instances(worker_type):
        state = _state(registry, _key(registry, worker_type, instance))
        old = _run_of(registry, state)
        if old is None or old.isFinished():
            state.run = run.lane, run.serial
            state.deaths = 0
            state.not_before = 0.0
            state.is_stopped = False
            return


def forget(registry, run):
    """Keep the deaths and the stop of *run*'s service, before its removal."""
    for state in registry.services.values():
        if state.run == (run.lane, run.serial):
            state.is_stopped = _is_stopped(run)
            state.deaths = _deaths(state, run)
            state.not_before = run.finished_at + _delay(state.deaths)
            state.run = None


def _is_stopped(run):
    # A person stopped it, so only a person starts it again.
    return run.stop is not None or run.state == STOPPED


def _key(registry, worker_type, instance):
    """Return the key of an instance, possibly one with a former name.

    A key with a former name stays in use, because processes that know only
    the former name use it as well.
    """
    keys = [name + (' %d' % instance if instance else '')
            for name in allNames(worker_type.name)]
    return next((key for key in keys if key in registry.services), keys[0])


def _run_of(registry, state):
    """Return the run that is the instance, or None.

    A run that is kept back does not count: a copy starts a run of its own.
    """
    run = state.run and registry.getRun(*state.run)
    if run and not run.isFinished() and isKept(registry, run):
        return None
    return run


def _state(registry, key):
    state = registry.services.get(key)
    if state is None:
        state = registry.services[key] = ServiceState()
    return state


def _deaths(state, run):
    finished_at = readNumber(run.finished_at, 0.0)
    lived = finished_at - (readNumber(run.started_at) or finished_at)
    return 1 if lived >= WELL_AFTER else state.deaths + 1


def _must_wait(moment):
    # A moment beyond the cap was stored while the clock was ahead: ignore it.
    return 0.0 < moment - clock.now() <= DELAY_CAP


def _delay(deaths):
    return min(DELAY_CAP, DELAY * 2 ** min(deaths - 1, 30))
