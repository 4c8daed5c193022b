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
import time

from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.stats import HOUR
from cipher.background.stats import STATE_NUMBER
from cipher.background.workertype import currentName


DAY = 24 * HOUR

#: Finishes that one look for the longest run looks at, and seconds that it
#: takes; of more, the last ones count.
LOOKS = 2000
TIME_LIMIT = 0.25

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
                        currentName(finishes.stats.typeOf(kind)), Lately())
    if found:
        for lane in registry.lanes.values():
            _add(found, lane.finishes, hour_ago, day_ago)
    return found


def _add(found, finishes, hour_ago, day_ago):
    indices = [(index, found[currentName(name)])
               for index, name in enumerate(finishes.stats.types)
               if currentName(name) in found]
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

    def usual(self, name):
        """Return the seconds of the longest run of a type, or None.

        Of the last 24 hours; where nothing was finished then, of all.
        """
        lanes = []
        longest = lately = None
        for lane in self._registry.lanes.values():
            names = [stored for stored in lane.finishes.stats.types
                     if currentName(stored) == currentName(name)]
            if names:
                lanes.append((lane.finishes, names))
        for finishes, names in lanes:
            stats = finishes.stats
            for stored in names:
                times = stats.times[stats.types.index(stored)]
                if times.timed:
                    longest = max(longest or 0.0, times.longest)
        for finishes, names in lanes:
            for entry in self._walk(finishes, names):
                if entry.took is not None:
                    lately = max(lately or 0.0, entry.took)
        return longest if lately is None else lately

    def _walk(self, finishes, names):
        if self._deadline is None:
            self._deadline = time.monotonic() + TIME_LIMIT
        for entry in finishes.walk(types=names):
            if entry.key < self._day_ago or self._looks <= 0 or (
                    time.monotonic() >= self._deadline):
                return
            self._looks -= 1
            yield entry
