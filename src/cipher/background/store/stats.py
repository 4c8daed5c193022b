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
"""Statistics of the finishes of a lane: by type, by state, by hour.

They are written when the recent finishes spill.  The recent ones are not in
them: readers add those.
"""
import struct
from typing import NamedTuple

from BTrees.LOBTree import LOBTree
from persistent import Persistent

from cipher.background.interfaces import FINISHED_STATES
from cipher.background.store.histogram import Histogram
from cipher.background.store.histogram import unpackAll


#: Seconds of an hour.
HOUR = 3600

#: Hours with a finish that are kept.  Pages show a day.
HOURS_KEPT = 26

STATE_NUMBER = len(FINISHED_STATES)


class Entry(NamedTuple):
    """The finish of one run."""

    key: int             # microseconds; greater than all keys before
    lane: int
    serial: int
    state: str
    type: str
    took: float = None   # seconds; None: the run never began
    waited: float = None   # queue wait in seconds; None: it is unknown


class Times(NamedTuple):
    """The times that the runs of a type took, and the last one's finish."""

    timed: int = 0       # number of runs that began
    seconds: float = 0.0   # sum over these
    longest: float = 0.0   # seconds of the longest one
    key: int = 0         # of the last entry, as the three below
    lane: int = 0
    serial: int = 0
    state: int = 0       # index into FINISHED_STATES

    @classmethod
    def of(cls, entry):
        """Return the `Times` of one `Entry`."""
        return cls(entry.took is not None, entry.took or 0.0,
                   entry.took or 0.0, entry.key, entry.lane, entry.serial,
                   FINISHED_STATES.index(entry.state))

    def plus(self, other):
        """Return the `Times` of both together."""
        return Times(self.timed + other.timed, self.seconds + other.seconds,
                     max(self.longest, other.longest),
                     *max(self[3:], other[3:]))


class Hour(NamedTuple):
    """The numbers of runs that finished in an hour, by state."""

    number: int = 0      # of the hour since the epoch
    succeeded: int = 0
    failed: int = 0
    stopped: int = 0
    interrupted: int = 0
    timed: int = 0       # number of runs that began
    seconds: float = 0.0   # sum over these

    @classmethod
    def of(cls, entry):
        """Return the `Hour` of one `Entry`."""
        counts = [int(entry.state == state) for state in FINISHED_STATES]
        return cls(max(0, entry.key // (HOUR * 1000000)), *counts)._replace(
            timed=entry.took is not None, seconds=entry.took or 0.0)

    def plus(self, other):
        """Return the `Hour` of both together, with the number of this one."""
        return Hour(self.number, *[mine + others for mine, others
                                   in zip(self[1:], other[1:])])


_TIMES = struct.Struct('<QdfqIQB')
_HOUR = struct.Struct('<I4IId')


class Spans(NamedTuple):
    """The spans of the runs of a type, as histograms."""

    took: Histogram = Histogram()
    waited: Histogram = Histogram()   # queue wait

    def plus(self, entries):
        """Return the `Spans` with those of more `Entry` objects."""
        return Spans(*(
            histogram.plus([value for value in values if value is not None])
            for histogram, values in zip(self, (
                [entry.took for entry in entries],
                [entry.waited for entry in entries]))))

    def merged(self, other):
        """Return the `Spans` of both together."""
        return Spans(*(mine.merged(others)
                       for mine, others in zip(self, other)))


class PastHours(Persistent):
    """The last past hours with a finish, packed."""

    def __init__(self):
        self.packed = b''

    def __getstate__(self):
        return self.packed

    def __setstate__(self, state):
        self.packed = state

    def add(self, hour):
        """Add an `Hour`, which is later than those before."""
        self.packed += _HOUR.pack(*hour)
        self.packed = self.packed[-HOURS_KEPT * _HOUR.size:]

    def keepUntil(self, number):
        """Remove the hours from *number* on."""
        kept = b''.join(_HOUR.pack(*values) for values
                        in _HOUR.iter_unpack(self.packed)
                        if values[0] < number)
        if kept != self.packed:
            self.packed = kept


class Stats(Persistent):
    """The chunks of the finishes of a lane, and statistics over them.

    The statistics are packed, as the finishes are.
    """

    def __init__(self):
        self.types = []      # names; the other lists go by their index
        self.counts = []     # one for each kind
        self.times = []      # of Times
        self.spans = []      # of Spans
        self.hour = Hour()   # the current one
        self.past = PastHours()
        self.chunks = LOBTree()   # first key -> Chunk of packed entries

    def __getstate__(self):
        return (
            '\n'.join(self.types),
            struct.pack('<%dQ' % len(self.counts), *self.counts),
            b''.join(_TIMES.pack(*times) for times in self.times),
            b''.join(histogram.pack() for spans in self.spans
                     for histogram in spans),
            _HOUR.pack(*self.hour), self.past, self.chunks)

    def __setstate__(self, state):
        types, counts, times, spans, hour, self.past, self.chunks = state
        self.types = types.split('\n') if types else []
        self.counts = list(struct.unpack('<%dQ' % (len(counts) // 8), counts))
        self.times = [Times(*values) for values in _TIMES.iter_unpack(times)]
        histograms = iter(unpackAll(spans))
        self.spans = [Spans(*pair) for pair in zip(histograms, histograms)]
        self.hour = Hour(*_HOUR.unpack(hour))

    def kindOf(self, name, state):
        """Return the kind, a number, of the type *name* and *state*.

        Add a new type, which changes this object.
        """
        if name not in self.types:
            self.types = [*self.types, name]
            self.counts = self.counts + [0] * STATE_NUMBER
            self.times = [*self.times, Times()]
            self.spans = [*self.spans, Spans()]
        return (self.types.index(name) * STATE_NUMBER
                + FINISHED_STATES.index(state))

    def kindsOf(self, names, states):
        """Return the kinds of these types and states.

        Empty *names* or *states* stand for all.
        """
        return [kind for kind in range(len(self.counts))
                if (not states or self.stateOf(kind) in states)
                and (not names or self.typeOf(kind) in names)]

    def typeOf(self, kind):
        """Return the name of the type of *kind*."""
        return self.types[kind // STATE_NUMBER]

    def stateOf(self, kind):
        """Return the finished state of *kind*."""
        return FINISHED_STATES[kind % STATE_NUMBER]

    def add(self, entries):
        """Count the `Entry` objects that spill."""
        by_type = {}   # index -> entries; histograms of one each take long
        for entry in entries:
            by_type.setdefault(self._add(entry), []).append(entry)
        for index, those in by_type.items():
            self.spans[index] = self.spans[index].plus(those)
        self._p_changed = True

    def _add(self, entry):
        """Count *entry*, except in the spans; return the index of its type.
        """
        kind = self.kindOf(entry.type, entry.state)
        self.counts[kind] += 1
        index, state = divmod(kind, STATE_NUMBER)
        self.times[index] = self._add_times(self.times[index], entry, state)
        number = entry.key // (HOUR * 1000000)
        if number > self.hour.number:
            if self.hour.number:
                self.past.add(self.hour)
            self.hour = Hour.of(entry)
        else:
            hour = list(self.hour)
            hour[1 + state] += 1
            hour[-2] += entry.took is not None
            hour[-1] += entry.took or 0.0
            self.hour = Hour._make(hour)
        return index

    def _add_times(self, times, entry, state):
        # As ``times.plus(Times.of(entry))``, which takes twice the time.
        timed, seconds, longest, *last = times
        took = entry.took or 0.0
        return Times(timed + (entry.took is not None), seconds + took,
                     max(longest, took),
                     *max(last, [entry.key, entry.lane, entry.serial, state]))

    def forgetFuture(self, now):
        """Remove or cap times after *now* (microseconds) of a wrong clock."""
        number = now // (HOUR * 1000000)
        self.past.keepUntil(number)
        if self.hour.number > number:
            self.hour = self.hour._replace(number=number)
        self.times = [times._replace(key=min(times.key, now))
                      for times in self.times]

    def hours(self):
        """Yield each `Hour`, oldest first."""
        for values in _HOUR.iter_unpack(self.past.packed):
            yield Hour(*values)
        yield self.hour
