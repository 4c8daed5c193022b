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
"""How often runs of a type failed of late, and how long they took.

Chunks of finishes know how many there were of each kind so far, so what was
finished within a time is the difference of two of them: nothing here grows
with the number of runs.
"""
import heapq
import time
from functools import cached_property
from operator import itemgetter

from zope.component import getUtilitiesFor

from cipher.background.declarations.workertype import nameToday
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import IWorkerType
from cipher.background.store.stats import HOUR
from cipher.background.store.stats import STATE_NUMBER


DAY = 24 * HOUR

#: Finishes that one look for the longest run looks at: of more, the last ones
#: count.  And seconds that it may take: beyond, the longest ever counts.
LOOKS = 500
TIME_LIMIT = 0.1

_MICROSECONDS = 1000000
_FAILED = FINISHED_STATES.index(FAILED)


class Lately:
    """What was finished of one type."""

    def __init__(self):
        self.failed = self.total = 0   # in the last hour
        self.failed_before = self.total_before = 0   # in the 23 before

    @property
    def rate(self):
        """What part failed in the last hour."""
        return self.failed / self.total if self.total else 0.0

    @property
    def usual(self):
        """What part failed before, None where nothing was finished."""
        if not self.total_before:
            return None
        return self.failed_before / self.total_before


def failedLately(registry, now):
    """Return {type name: `Lately`} of the types that failed in the last hour.

    The names are those of today.
    """
    found = {}
    hour_ago = int((now - HOUR) * _MICROSECONDS)
    day_ago = int((now - DAY) * _MICROSECONDS)
    for lane in registry.lanes.values():
        finishes = lane.finishes
        if finishes.last_key < hour_ago:
            continue
        counts = finishes.getCountsOf()
        before = finishes.getCountsOf(hour_ago)
        if counts[_FAILED::STATE_NUMBER] != before[_FAILED::STATE_NUMBER]:
            for kind in range(_FAILED, len(counts), STATE_NUMBER):
                if counts[kind] > before[kind]:
                    found.setdefault(
                        nameToday(finishes.stats.typeOf(kind)), Lately())
    current = {}   # type name -> that of today
    for lane in registry.lanes.values() if found else ():
        for name in lane.finishes.stats.types:
            if name not in current:
                current[name] = nameToday(name)
        _add(found, current, lane.finishes, hour_ago, day_ago)
    return found


def _add(found, current, finishes, hour_ago, day_ago):
    indices = [(index, found[current[name]])
               for index, name in enumerate(finishes.stats.types)
               if current[name] in found]
    if not indices or finishes.last_key < day_ago:
        return
    first, second, third = (finishes.getCountsOf(day_ago),
                            finishes.getCountsOf(hour_ago),
                            finishes.getCountsOf())
    for index, lately in indices:
        begin = index * STATE_NUMBER
        own = slice(begin, begin + STATE_NUMBER)
        failed = begin + _FAILED
        lately.failed += third[failed] - second[failed]
        lately.total += sum(third[own]) - sum(second[own])
        lately.failed_before += second[failed] - first[failed]
        lately.total_before += sum(second[own]) - sum(first[own])


class Longest:
    """How long the runs of types took at most, for the length of one look."""

    def __init__(self, registry, now):
        self._registry = registry
        self._day_ago = int((now - DAY) * _MICROSECONDS)
        self._looks = LOOKS
        self._deadline = None

    @cached_property
    def _names(self):
        # Name of today -> names under which runs are stored.
        names = {}
        for name, worker_type in getUtilitiesFor(IWorkerType):
            names.setdefault(worker_type.current or name, []).append(name)
        return names

    def usual(self, name, enough):
        """Return the seconds of the longest run of a type, or None.

        Of the last 24 hours; where nothing was finished then, or nothing
        ever took so long as *enough*, of all.  The look ends at the first
        one that took so long.
        """
        names = self._names.get(nameToday(name), [name])
        ever = self._longest_ever(names)
        if ever is None or ever < enough:
            return ever
        lately = None
        for took in self._lately(names):
            if took is None:
                return ever
            lately = max(took, lately or 0.0)
            if lately >= enough:
                break
        return ever if lately is None else lately

    def _longest_ever(self, names):
        found = []
        for lane in self._registry.lanes.values():
            stats = lane.finishes.stats
            for name in names:
                if name in stats.types:
                    times = stats.times[stats.types.index(name)]
                    if times.timed:
                        found.append(times.longest)
            found += [entry.took for entry in lane.finishes.inRecent()
                      if entry.type in names and entry.took is not None]
        return max(found, default=None)

    def _lately(self, names):
        """Yield what the last ones took, the last one first.

        Beyond the time limit, None: nothing is to be made of that.
        """
        if self._deadline is None:
            self._deadline = time.monotonic() + TIME_LIMIT
        walks = [lane.finishes.walk(types=names)
                 for lane in self._registry.lanes.values()]
        for entry in heapq.merge(*walks, key=itemgetter(0), reverse=True):
            if entry.key < self._day_ago or self._looks <= 0:
                return
            if time.monotonic() >= self._deadline:
                yield None
            self._looks -= 1
            if entry.took is not None:
                yield entry.took
