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
"""Recent failures of worker types, and their longest durations.

Each chunk of finishes stores the totals up to it.  So the numbers for a time
span are the difference of two chunks, and their cost does not grow with the
number of runs.
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
from cipher.background.store.hours import HOUR
from cipher.background.store.stats import STATE_NUMBER


DAY = 24 * HOUR

#: Finishes that one search for the longest run reads, newest first; older ones
#: do not count.  And seconds that it may take: after that it uses the longest
#: duration ever.
LOOKS = 500
TIME_LIMIT = 0.1

_MICROSECONDS = 1000000
_FAILED = FINISHED_STATES.index(FAILED)


class Lately:
    """The numbers of one type's runs that finished in the last day."""

    def __init__(self):
        self.failed = self.total = 0   # in the last hour
        self.failed_before = self.total_before = 0   # 23 hours before that

    @property
    def rate(self):
        """The share of failed runs in the last hour, 0.0 to 1.0."""
        return self.failed / self.total if self.total else 0.0

    @property
    def usual(self):
        """The share of failed runs before that; None if none finished."""
        if not self.total_before:
            return None
        return self.failed_before / self.total_before


def failedLately(registry, now):
    """Return {current type name: `Lately`}.

    Only types of which a run failed in the last hour.
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
    current = {}   # type name -> current name
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
    """The longest durations of worker types; valid for one call."""

    def __init__(self, registry, now):
        self._registry = registry
        self._day_ago = int((now - DAY) * _MICROSECONDS)
        self._looks = LOOKS
        self._deadline = None

    @cached_property
    def _names(self):
        # {current name: names under which runs are stored}
        names = {}
        for name, worker_type in getUtilitiesFor(IWorkerType):
            names.setdefault(worker_type.current or name, []).append(name)
        return names

    def usual(self, name, enough):
        """Return the seconds of the longest run of the type *name*, or None.

        It is the longest of the last 24 hours.  It is the longest ever if no
        run finished in this time, or if no run ever took *enough* seconds.
        The search ends at the first run that took *enough* seconds.
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
        """Yield the seconds of the last finishes, newest first.

        Yield None at the time limit: the durations so far are too few.
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
