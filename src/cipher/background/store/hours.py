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
"""What finished in each hour, by worker type: numbers and histograms.

The writer of a lane adds to the current hour when its recent finishes spill;
nothing else writes here.  Past hours are kept in one object for each day, so
that a new hour rewrites little.
"""
import struct

from persistent import Persistent

from cipher.background.interfaces import FINISHED_STATES
from cipher.background.store.histogram import packNumber
from cipher.background.store.histogram import packSpan
from cipher.background.store.histogram import unpackNumber
from cipher.background.store.histogram import unpackSpan


#: Seconds of an hour.
HOUR = 3600
#: Hours of a day.
DAY_HOURS = 24
#: Days with a finish that are kept: 14 times 24 hours touch 15 days.  They
#: are not forgotten by their date, so a clock that is ahead forgets nothing.
DAYS_KEPT = 15

#: A bucket of seconds is this many steps of `packSpan` wide, a fourth of a
#: factor of two.  So its middle is at most 9 % off.
BUCKET = 512

_NUMBER = struct.Struct('<I')


def bucketOf(seconds):
    """Return the bucket, a number below 128, of *seconds*."""
    return packSpan(seconds) // BUCKET


def secondsOf(bucket):
    """Return the seconds in the middle of *bucket*."""
    return unpackSpan(bucket * BUCKET + BUCKET // 2)


class Tally:
    """Numbers of finishes by state, and of their times by bucket."""

    __slots__ = 'counts', 'took', 'waited'

    def __init__(self):
        self.counts = [0] * len(FINISHED_STATES)
        self.took = {}     # bucket -> number of runs
        self.waited = {}   # likewise, of the queue wait

    def add(self, entry):
        """Count one `stats.Entry`."""
        self.counts[FINISHED_STATES.index(entry.state)] += 1
        if entry.took is not None:
            bucket = bucketOf(entry.took)
            self.took[bucket] = self.took.get(bucket, 0) + 1
        if entry.waited is not None:
            bucket = bucketOf(entry.waited)
            self.waited[bucket] = self.waited.get(bucket, 0) + 1

    def merge(self, other):
        """Count all of another `Tally` as well."""
        for index, number in enumerate(other.counts):
            self.counts[index] += number
        addNumbers(self.took, other.took)
        addNumbers(self.waited, other.waited)

    def pack(self):
        """Return the numbers as bytes, for `unpackTally`."""
        packed = [packNumber(number) for number in self.counts]
        for numbers in self.took, self.waited:
            packed.append(bytes([len(numbers)]))
            for bucket in sorted(numbers):
                packed += [bytes([bucket]), packNumber(numbers[bucket])]
        return b''.join(packed)


def addNumbers(numbers, others):
    """Add *others*, {key: number}, to *numbers*."""
    for key, number in others.items():
        numbers[key] = numbers.get(key, 0) + number


def unpackTally(packed, at):
    """Return (the `Tally` of the bytes at *at*, where they end)."""
    tally = Tally()
    for index in range(len(FINISHED_STATES)):
        tally.counts[index], at = unpackNumber(packed, at)
    for numbers in tally.took, tally.waited:
        left, at = packed[at], at + 1
        for _ in range(left):
            bucket = packed[at]
            numbers[bucket], at = unpackNumber(packed, at + 1)
    return tally, at


class Day(Persistent):
    """The past hours of one day, packed for each type."""

    def __init__(self, number):
        self.number = number   # days since the epoch
        self.packed = {}       # index of a type -> bytes: (hour, tally), …

    def __getstate__(self):
        return self.number, self.packed

    def __setstate__(self, state):
        self.number, self.packed = state

    def add(self, hour, tallies):
        """Add the *tallies*, {index: `Tally`}, of an *hour* of the day."""
        for index, tally in tallies.items():
            self.packed[index] = (self.packed.get(index, b'')
                                  + bytes([hour]) + tally.pack())
        self._p_changed = True

    def listHours(self, index):
        """Yield (hour since the epoch, `Tally`) of a type, oldest first."""
        packed, at = self.packed.get(index, b''), 0
        while at < len(packed):
            hour = self.number * DAY_HOURS + packed[at]
            tally, at = unpackTally(packed, at + 1)
            yield hour, tally

    def getTook(self, index):
        """Return {bucket: number of runs} of a type for the whole day.

        It is kept in memory while the day stays the same: do not change it.
        """
        known = getattr(self, '_v_took', None)
        if known is None:
            known = self._v_took = {}
        size, took = known.get(index, (0, {}))
        packed = self.packed.get(index, b'')
        if size != len(packed):
            took = {}
            for _hour, tally in self.listHours(index):
                addNumbers(took, tally.took)
            known[index] = len(packed), took
        return took

    def keepUntil(self, number):
        """Remove the hours from *number*, an hour since the epoch, on."""
        kept = {}
        for index in self.packed:
            packed = b''.join(
                bytes([hour % DAY_HOURS]) + tally.pack()
                for hour, tally in self.listHours(index) if hour < number)
            if packed:
                kept[index] = packed
        if kept != self.packed:
            self.packed = kept


class PastHours(Persistent):
    """The past days of a lane that have a finish."""

    def __init__(self):
        self.days = ()   # of Day, oldest first

    def __getstate__(self):
        return self.days

    def __setstate__(self, state):
        self.days = state

    def add(self, number, tallies):
        """Add an hour, which is later than those before."""
        day, hour = divmod(number, DAY_HOURS)
        if not self.days or self.days[-1].number != day:
            self.days = (*self.days[1 - DAYS_KEPT:], Day(day))
        self.days[-1].add(hour, tallies)

    def keepUntil(self, number):
        """Remove the hours from *number* on."""
        kept = tuple(day for day in self.days
                     if day.number <= number // DAY_HOURS)
        if kept != self.days:
            self.days = kept
        if kept and kept[-1].number == number // DAY_HOURS:
            kept[-1].keepUntil(number)


class Hours:
    """The hours of a lane: the current one, and the past ones."""

    def __init__(self):
        self.number = 0     # the current hour since the epoch
        self.tallies = {}   # index of a type -> Tally of the current hour
        self.past = PastHours()

    def pack(self):
        """Return the current hour as bytes, for `unpack`."""
        packed = [_NUMBER.pack(self.number)]
        for index in sorted(self.tallies):
            packed += [packNumber(index), self.tallies[index].pack()]
        return b''.join(packed)

    @classmethod
    def unpack(cls, packed, past):
        """Return the `Hours` of what `pack` returned, and the past ones."""
        self = cls.__new__(cls)
        self.past, self.tallies = past, {}
        self.number, = _NUMBER.unpack_from(packed)
        at = _NUMBER.size
        while at < len(packed):
            index, at = unpackNumber(packed, at)
            self.tallies[index], at = unpackTally(packed, at)
        return self

    def add(self, index, entry):
        """Count an `Entry` of the type of *index*."""
        number = hourOf(entry)
        if number > self.number:
            if self.tallies:
                self.past.add(self.number, self.tallies)
            self.number, self.tallies = number, {}
        if index not in self.tallies:
            self.tallies[index] = Tally()
        self.tallies[index].add(entry)

    def forgetFuture(self, number):
        """Make *number* the last hour, which counts those after it as well.
        """
        for day in self.past.days:
            for index in day.packed:
                for hour, tally in day.listHours(index):
                    if hour >= number:
                        self.tallies.setdefault(index, Tally()).merge(tally)
        self.past.keepUntil(number)
        self.number = min(self.number, number)

    def listHours(self, index, begin):
        """Yield (hour since the epoch, `Tally`) of a type, oldest first.

        These are the hours from *begin* on.
        """
        for day in self.past.days:
            if (day.number + 1) * DAY_HOURS > begin:
                for number, tally in day.listHours(index):
                    if number >= begin:
                        yield number, tally
        if index in self.tallies and self.number >= begin:
            yield self.number, self.tallies[index]

    def getTook(self, index):
        """Return {bucket: number of runs} of a type in all kept hours."""
        took = {}
        for day in self.past.days:
            addNumbers(took, day.getTook(index))
        if index in self.tallies:
            addNumbers(took, self.tallies[index].took)
        return took


def hourOf(entry):
    """Return the hour since the epoch in which a run finished."""
    return max(0, entry.key // (HOUR * 1000000))
