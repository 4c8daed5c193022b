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
"""How long runs took and waited, over time: of one worker type, and of all.

The numbers are those that lanes keep for each type and hour, with the recent
finishes added.  No run is loaded, and removed runs still count.  Times are
the middle of a bucket, so they are at most 9 % off.
"""
import math

from cipher.background.interfaces import FINISHED_STATES
from cipher.background.queries import visibility
from cipher.background.queries.status import Activity
from cipher.background.queries.status import ActivityPeriod
from cipher.background.queries.status import TypeHistory
from cipher.background.queries.status import TypePeriod
from cipher.background.store.histogram import unpackSpan
from cipher.background.store.hours import BUCKET
from cipher.background.store.hours import HOUR
from cipher.background.store.hours import Tally
from cipher.background.store.hours import addNumbers
from cipher.background.store.hours import hourOf
from cipher.background.store.hours import secondsOf
from cipher.background.util import clock


DAY = 24 * HOUR

#: Numbers of periods of a history.
HOURS = 24
DAYS = 14

#: Buckets of a factor of two each, from below a millisecond up to 49 days.
_OCTAVE = 2048 // BUCKET
_OCTAVES = 32

#: Steps of a factor of two in which multiples of the usual duration count.
_PACE_STEPS = 16
#: Seconds.  Shorter durations count as this long: their multiples would say
#: nothing.
PACE_FLOOR = 0.01


class Periods:
    """The last 24 hours, and the last 14 times 24 hours, of groups of runs.

    The last one of both is the current hour.  *make* makes an empty group.
    """

    def __init__(self, make):
        self.last = int(clock.now()) // HOUR
        self.first = self.last + 1 - DAYS * HOURS
        self.hours = [make() for _ in range(HOURS)]
        self.days = [make() for _ in range(DAYS)]

    def find(self, number):
        """Return the groups of an hour since the epoch."""
        # A clock that was set back leaves finishes in the future.  They
        # count for the current hour.
        back = self.last - min(number, self.last)
        found = []
        if back < HOURS:
            found.append(self.hours[-1 - back])
        if back < DAYS * HOURS:
            found.append(self.days[-1 - back // HOURS])
        return found

    def describe(self, describe):
        """Return what *describe* returns for (begin, seconds, group) of each.

        That is the list of the hours and the list of the days.
        """
        end = (self.last + 1) * HOUR
        return [[describe(float(end - (len(groups) - index) * length), length,
                          group) for index, group in enumerate(groups)]
                for length, groups in ((HOUR, self.hours), (DAY, self.days))]


def _list_hours(registry, names, begin):
    """Yield (type name, hour since the epoch, `Tally`); None: all types."""
    for lane in registry.lanes.values():
        stats = lane.finishes.stats
        for index, name in enumerate(stats.types):
            if names is None or name in names:
                for number, tally in stats.hours.listHours(index, begin):
                    yield name, number, tally
        recent = {}
        for entry in lane.finishes.inRecent():
            if names is None or entry.type in names:
                recent.setdefault((entry.type, hourOf(entry)),
                                  Tally()).add(entry)
        for (name, number), tally in recent.items():
            if number >= begin:
                yield name, number, tally


def getHistory(registry, name):
    """Return the `TypeHistory` of the worker type *name*."""
    periods = Periods(Tally)
    for _name, number, tally in _list_hours(
            registry, {name}, periods.first):
        for group in periods.find(number):
            group.merge(tally)
    hours, days = periods.describe(_describe)
    fortnight = _sum(periods.days)
    return TypeHistory(
        hours=hours, days=days, day=days[-1],
        fortnight=_describe(days[0].begins_at, DAYS * DAY, fortnight),
        buckets=_list_octaves(fortnight.took))


def _sum(tallies):
    total = Tally()
    for tally in tallies:
        total.merge(tally)
    return total


def _describe(begins_at, length, tally):
    return TypePeriod(
        begins_at=begins_at, ends_at=begins_at + length,
        counts=_count(tally),
        took_half=_seconds(tally.took, 0.5),
        took_most=_seconds(tally.took, 0.95),
        waited_half=_seconds(tally.waited, 0.5),
        waited_most=_seconds(tally.waited, 0.95))


def _count(tally):
    return {state: number for state, number
            in zip(FINISHED_STATES, tally.counts) if number}


def _seconds(numbers, share):
    bucket = within(numbers, share)
    return None if bucket is None else secondsOf(bucket)


def _list_octaves(numbers):
    """Return [(greatest seconds, number of runs)]; the last one: None."""
    octaves = [0] * _OCTAVES
    for bucket, number in numbers.items():
        octaves[bucket // _OCTAVE] += number
    return [(unpackSpan((index + 1) * _OCTAVE * BUCKET)
             if index + 1 < _OCTAVES else None, number)
            for index, number in enumerate(octaves)]


def within(numbers, share):
    """Return the least key that *share* of the values do not exceed.

    *numbers* is {key: number of values}.  None if there are no values.
    """
    left = math.ceil(share * sum(numbers.values()))
    for key in sorted(numbers):
        left -= numbers[key]
        if left <= 0:
            return key
    return None


class _Group:
    """Runs of all types: their numbers, waits, and multiples of the usual."""

    def __init__(self):
        self.tally = Tally()
        self.pace = {}     # steps -> number of runs


def getActivity(registry):
    """Return the `Activity` of the types that the reader may see."""
    periods = Periods(_Group)
    hidden = visibility.hiddenTypes(registry)
    names = {name for lane in registry.lanes.values()
             for name in lane.finishes.stats.types} - hidden
    usual = {name: _seconds(numbers, 0.5) for name, numbers
             in _list_usual(registry, names) if numbers}
    steps = {}     # type name -> {bucket: steps of its multiple}
    day = {}       # type name -> {bucket: number} of the last 24 hours
    for name, number, tally in _list_hours(registry, names, periods.first):
        known = steps.setdefault(name, {})
        pace = {}
        for bucket, runs in tally.took.items():
            if bucket not in known:
                known[bucket] = _pace(secondsOf(bucket), usual[name])
            pace[known[bucket]] = pace.get(known[bucket], 0) + runs
        for group in periods.find(number):
            group.tally.merge(tally)
            addNumbers(group.pace, pace)
        if periods.last - number < HOURS:
            addNumbers(day.setdefault(name, {}), tally.took)
    hours, days = periods.describe(_describe_all)
    whole = _Group()
    for group in periods.days:
        whole.tally.merge(group.tally)
        addNumbers(whole.pace, group.pace)
    return Activity(
        hours=hours, days=days, day=days[-1],
        fortnight=_describe_all(days[0].begins_at, DAYS * DAY, whole),
        paces={name: 2.0 ** (_pace(_seconds(numbers, 0.5), usual[name])
                             / _PACE_STEPS)
               for name, numbers in day.items() if numbers})


def _list_usual(registry, names):
    """Yield (name, {bucket: number of runs} of all hours that are kept)."""
    found = {name: {} for name in names}
    for lane in registry.lanes.values():
        stats = lane.finishes.stats
        for index, name in enumerate(stats.types):
            if name in found:
                addNumbers(found[name], stats.hours.getTook(index))
        recent = Tally()
        for entry in lane.finishes.inRecent():
            if entry.type in found and entry.took is not None:
                recent.add(entry)
                addNumbers(found[entry.type], recent.took)
                recent.took.clear()
    return found.items()


def _pace(seconds, usual):
    return round(_PACE_STEPS * math.log2(
        max(PACE_FLOOR, seconds) / max(PACE_FLOOR, usual)))


def _describe_all(begins_at, length, group):
    half, most = (within(group.pace, share) for share in (0.5, 0.95))
    return ActivityPeriod(
        begins_at=begins_at, ends_at=begins_at + length,
        counts=_count(group.tally),
        waited_half=_seconds(group.tally.waited, 0.5),
        waited_most=_seconds(group.tally.waited, 0.95),
        pace_half=None if half is None else 2.0 ** (half / _PACE_STEPS),
        pace_most=None if most is None else 2.0 ** (most / _PACE_STEPS))
