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
"""Summaries of a registry, by worker type."""
from zope.component import getUtilitiesFor

from cipher.background.declarations.workertype import findPause
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import IWorkerType
from cipher.background.queries import visibility
from cipher.background.queries.status import TypeStatus
from cipher.background.store.stats import Spans
from cipher.background.store.stats import Times
from cipher.background.util.plaindata import readAsked


def listTypes(registry, snapshot):
    """Return a `TypeStatus` for each worker type, sorted by name.

    These are the types that are declared, have runs or are paused.
    """
    types = dict(getUtilitiesFor(IWorkerType))
    declared = {name for name in types if types[name].current is None}
    hidden = visibility.hiddenTypes(registry)
    counts = snapshot.counts()
    times = _times(registry)
    finished = countFinished(registry)
    return [
        _describe_type(registry, name, name in types, counts.get(name, {}),
                       times.get(name, Times()), finished.get(name, {}))
        for name in sorted(
            (declared | set(counts) | set(registry.pauses)) - hidden)]


def _describe_type(registry, name, is_declared, counts, times, finished):
    paused_by = paused_at = reason = None
    pause = findPause(registry, name)
    if pause is not None:
        paused_by, paused_at, reason = readAsked(pause)
    number = sum(finished.values())
    last = times.key and registry.getRun(times.lane, times.serial)
    return TypeStatus(
        name=name, is_declared=is_declared, counts=counts,
        is_paused=pause is not None, paused_by=paused_by,
        paused_at=paused_at, pause_reason=reason, timed=times.timed,
        mean=_mean(times), maximum=times.longest if times.timed else None,
        failure_rate=finished.get(FAILED, 0) / number if number else None,
        last_run=last.id if last else None,
        last_at=times.key / 1000000 if times.key else None,
        last_state=FINISHED_STATES[times.state] if times.key else None)


def _times(registry):
    """Return {type name: Times} of all runs that ever finished."""
    found = {}

    def add(name, times):
        found[name] = found.get(name, Times()).plus(times)

    for lane in registry.lanes.values():
        stats = lane.finishes.stats
        for name, times in zip(stats.types, stats.times):
            add(name, times)
        for entry in lane.finishes.inRecent():
            add(entry.type, Times.of(entry))
    return found


def getSpans(registry):
    """Return {type name: `Spans` of all runs that ever finished}."""
    found = {}
    for lane in registry.lanes.values():
        finishes = lane.finishes
        recent = {}   # type name -> list of Entry
        for entry in finishes.inRecent():
            recent.setdefault(entry.type, []).append(entry)
        # The type of each entry is among those of the statistics.
        for name, spans in zip(finishes.stats.types, finishes.stats.spans):
            found[name] = found.get(name, Spans()).merged(spans).plus(
                recent.get(name, ()))
    return found


def countFinished(registry):
    """Return {type name: {state: number ever finished}}."""
    found = {}
    for lane in registry.lanes.values():
        for name, state, number in lane.finishes.getCounts():
            counts = found.setdefault(name, {})
            counts[state] = counts.get(state, 0) + number
    return found


def _mean(numbers):
    return numbers.seconds / numbers.timed if numbers.timed else None
