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
"""Numbers of what was finished in a lane: by type, by state, by hour.

They are written when the head of the finishes spills, and tell nothing of
what stands in the head.

Pickles name `Stats` and `PastHours`: they stay here.
"""
import struct
from typing import NamedTuple

from BTrees.LOBTree import LOBTree
from persistent import Persistent

from cipher.background.interfaces import FINISHED_STATES


HOUR = 3600

#: Hours that a lane remembers; those without a finish do not count.
HOURS_KEPT = 26

STATE_NUMBER = len(FINISHED_STATES)


class Entry(NamedTuple):
    """One finish.  *key* orders: microseconds, growing within the lane."""

    key: int
    lane: int
    serial: int
    state: str
    type: str
    took: float = None   # seconds; None: it never began


class Times(NamedTuple):
    """How long the runs of a type took, and which finished last."""

    timed: int = 0       # how many ever began
    seconds: float = 0.0
    longest: float = 0.0
    key: int = 0         # of the entry of the last one
    lane: int = 0
    serial: int = 0
    state: int = 0       # index into FINISHED_STATES

    @classmethod
    def of(cls, entry):
        """Return the `Times` of one entry."""
        return cls(entry.took is not None, entry.took or 0.0,
                   entry.took or 0.0, entry.key, entry.lane, entry.serial,
                   FINISHED_STATES.index(entry.state))

    def plus(self, other):
        """Return both together."""
        return Times(self.timed + other.timed, self.seconds + other.seconds,
                     max(self.longest, other.longest),
                     *max(self[3:], other[3:]))


class Hour(NamedTuple):
    """What was finished in an hour; *number* of it since the epoch."""

    number: int = 0
    succeeded: int = 0
    failed: int = 0
    stopped: int = 0
    interrupted: int = 0
    timed: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, entry):
        """Return the `Hour` of one entry."""
        counts = [int(entry.state == state) for state in FINISHED_STATES]
        return cls(max(0, entry.key // (HOUR * 1000000)), *counts)._replace(
            timed=entry.took is not None, seconds=entry.took or 0.0)

    def plus(self, other):
        """Return both together."""
        return Hour(self.number, *[mine + others for mine, others
                                   in zip(self[1:], other[1:])])


_TIMES = struct.Struct('<QdfqIQB')
_HOUR = struct.Struct('<I4IId')


class PastHours(Persistent):
    """The hours that are over, packed; the last ones with a finish."""

    def __init__(self):
        self.packed = b''

    def __getstate__(self):
        return self.packed

    def __setstate__(self, state):
        self.packed = state

    def add(self, hour):
        """Keep one more `Hour`, later than those before."""
        self.packed += _HOUR.pack(*hour)
        self.packed = self.packed[-HOURS_KEPT * _HOUR.size:]

    def keepUntil(self, number):
        """Forget the hours from that number on."""
        kept = b''.join(_HOUR.pack(*values) for values
                        in _HOUR.iter_unpack(self.packed)
                        if values[0] < number)
        if kept != self.packed:
            self.packed = kept


class Stats(Persistent):
    """The chunks of the finishes of a lane, and their numbers.

    Packed, as the finishes are.
    """

    def __init__(self):
        self.types = []      # names; the other lists go by their index
        self.counts = []     # one for each type and finished state
        self.times = []      # Times
        self.hour = Hour()   # that goes on
        self.past = PastHours()
        self.chunks = LOBTree()   # first key -> Chunk of packed entries

    def __getstate__(self):
        return (
            '\n'.join(self.types),
            struct.pack('<%dQ' % len(self.counts), *self.counts),
            b''.join(_TIMES.pack(*times) for times in self.times),
            _HOUR.pack(*self.hour), self.past, self.chunks)

    def __setstate__(self, state):
        types, counts, times, hour, self.past, self.chunks = state
        self.types = types.split('\n') if types else []
        self.counts = list(struct.unpack('<%dQ' % (len(counts) // 8), counts))
        self.times = [Times(*values) for values in _TIMES.iter_unpack(times)]
        self.hour = Hour(*_HOUR.unpack(hour))

    def kindOf(self, name, state):
        """Return the number of that type and finished state.

        A type that is new gets its numbers, which is written.
        """
        if name not in self.types:
            self.types = [*self.types, name]
            self.counts = self.counts + [0] * STATE_NUMBER
            self.times = [*self.times, Times()]
        return (self.types.index(name) * STATE_NUMBER
                + FINISHED_STATES.index(state))

    def kindsOf(self, names, states):
        """Return the numbers of these types and states that there are.

        Empty: of whichever.
        """
        return [kind for kind in range(len(self.counts))
                if (not states or self.stateOf(kind) in states)
                and (not names or self.typeOf(kind) in names)]

    def typeOf(self, kind):
        """Return the name of the type of that kind."""
        return self.types[kind // STATE_NUMBER]

    def stateOf(self, kind):
        """Return the finished state of that kind."""
        return FINISHED_STATES[kind % STATE_NUMBER]

    def add(self, entry):
        """Count an `Entry` that leaves the head."""
        kind = self.kindOf(entry.type, entry.state)
        self.counts[kind] += 1
        index = kind // STATE_NUMBER
        self.times[index] = self.times[index].plus(Times.of(entry))
        hour = Hour.of(entry)
        if hour.number > self.hour.number:
            if self.hour.number:
                self.past.add(self.hour)
            self.hour = hour
        else:
            self.hour = self.hour.plus(hour)
        self._p_changed = True

    def forgetFuture(self, now):
        """Forget times after *now* (microseconds): the clock was wrong."""
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
