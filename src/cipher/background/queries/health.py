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
"""The health of one run: does it move, how long will it take, who is beside.
"""
from dataclasses import dataclass
from dataclasses import field

from zope.component import getUtilitiesFor
from zope.interface import implementer

from cipher.background.declarations.workertype import nameToday
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import IRunHealth
from cipher.background.interfaces import IWorkerType
from cipher.background.queries.problems import Look
from cipher.background.queries.problems import findStall
from cipher.background.store.histogram import BOUNDS
from cipher.background.store.histogram import Histogram
from cipher.background.util import clock
from cipher.background.util.plaindata import readNumber


#: Durations.  With fewer, nothing is called usual.
ENOUGH = 5
#: Seconds.  A run is given a time left only while it progresses: its last
#: progress is at most so old, or half as old as its progress altogether.
RECENT = 10.0
#: Runs.  At most so many of the same process are listed.
NEIGHBOURS = 20


@implementer(IRunHealth)
@dataclass
class Health:
    usual: float = None
    usual_most: float = None
    rate: float = None
    left: float = None
    stalled_since: float = None
    unmoved_since: float = None
    process_id: str = None
    beat_at: float = None
    neighbours: list = field(default_factory=list)


def findHealth(registry, snapshot, run, describe):
    """Return the `Health` of *run*.

    *describe* returns the statuses of a list of runs.
    """
    health = Health()
    worker_type = queryWorkerType(run.type)
    if worker_type is None or not worker_type.is_loop:
        took = _durations(registry, run.type)
        health.usual = quantile(took, 0.5)
        health.usual_most = quantile(took, 0.95)
    live = snapshot.live(run)
    status, = describe([run])
    if live is None or status.state != RUNNING:
        return health
    now = clock.now()
    stall = findStall(Look(registry, snapshot, {}), status)
    health.stalled_since = stall and stall.since
    health.unmoved_since = readNumber(live.unmoved_since)
    health.rate = _rate(status, live.first_progress)
    if stall is None:
        health.left = _left(status, live.first_progress, health.rate, now)
    for process in snapshot.processes():
        if '%s:%d' % (process.host, process.pid) == status.owner:
            health.process_id = process.id
            health.beat_at = process.beat_at
            break
    if status.is_unresponsive or stall is not None:
        health.neighbours = [
            other for other in describe([
                other for other in snapshot.running()
                if other is not run and registry.get(other.id) is not None
            ][:NEIGHBOURS]) if other.owner == status.owner]
    return health


def _durations(registry, name):
    """Return the `Histogram` of the durations of the type *name*."""
    name = nameToday(name)
    names = {name, *(other for other, worker_type
                     in getUtilitiesFor(IWorkerType)
                     if (worker_type.current or other) == name)}
    found = Histogram()
    for lane in registry.lanes.values():
        stats = lane.finishes.stats
        for other in names.intersection(stats.types):
            found = found.merged(stats.spans[stats.types.index(other)].took)
        found = found.plus([
            entry.took for entry in lane.finishes.inRecent()
            if entry.type in names and entry.took is not None])
    return found


def quantile(histogram, share):
    """Return the seconds that *share* of the values reach at most.

    None with fewer than `ENOUGH` values.  Within a bucket the values count
    as spread evenly.
    """
    total = sum(histogram.numbers)
    if total < ENOUGH:
        return None
    wanted = share * total
    for index, number in enumerate(histogram.numbers):
        if number >= wanted:
            low = BOUNDS[index - 1] if index else 0.0
            high = BOUNDS[min(index, len(BOUNDS) - 1)]
            return low + (high - low) * wanted / number
        wanted -= number
    return None


def _rate(status, first):
    """Return how much is done in a second, or None."""
    if type(first) not in (tuple, list) or len(first) != 2:
        return None
    at, done = map(readNumber, first)
    if None in (at, done, status.progress_done, status.progressed_at):
        return None
    seconds = status.progressed_at - at
    more = status.progress_done - done
    return more / seconds if seconds > 0 and more > 0 else None


def _left(status, first, rate, now):
    """Return the seconds until the end, or None if that cannot be known."""
    if rate is None or not status.progress_total or status.stop is not None:
        return None
    silence = now - status.progressed_at
    if silence > max(RECENT, (status.progressed_at - first[0]) / 2):
        return None
    return max(0.0, (status.progress_total - status.progress_done) / rate
               - silence)
