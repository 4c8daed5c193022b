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
"""Lanes: logs with one writer at a time, so that nobody conflicts.

The registry is a set of lanes.  Each part of a lane is an object of its own,
written by one thread at a time in the normal course::

    Lane
     +-- births     runs born here, by serial; written by whoever starts
     +-- finishes   what its writer finished; written by whoever finishes
     +-- cursor     how far its consumer came; written by the consumer alone
     +-- due        what waits for its time; written by the consumer alone

New entries gather in the head (``tail``) and spill, `SPILL` at a time, into a
chunk that a tree refers to: a start or finish writes the head only.

Pickles name the classes of this module: they stay here.
"""
import struct
from typing import NamedTuple

from BTrees.LLBTree import LLBTree
from BTrees.LOBTree import LOBTree
from persistent import Persistent

from cipher.background.cursor import Cursor
from cipher.background.cursor import Due
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import STATES


#: Entries that the head holds before they go into a chunk.  The head is
#: written whole each time, the tree only once for so many.
SPILL = 16


class Chunk(Persistent):
    """Entries that no longer stand in a head."""

    def __init__(self, entries):
        self.entries = entries   # a tuple of runs, or packed finishes

    def __getstate__(self):
        return self.entries

    def __setstate__(self, entries):
        self.entries = entries


class Births(Persistent):
    """The runs born in a lane, in order of their serials (from 1)."""

    def __init__(self):
        self.next_serial = 1
        self.tail = ()           # runs, the last of them next_serial - 1
        self.counts = {}         # type name -> number of runs
        self.chunks = LOBTree()  # first serial -> Chunk of runs or None
        self.times = LLBTree()   # momentOf a chunk's last run -> its serial
        self.last_at = 0.0       # created_at of the last run

    def __getstate__(self):
        return (self.next_serial, self.tail, self.counts, self.chunks,
                self.times, self.last_at)

    def __setstate__(self, state):
        (self.next_serial, self.tail, self.counts, self.chunks,
         self.times, self.last_at) = state

    def timeOfNext(self, now):
        """Return *now* as the creation of the next run.

        Never before that of the last one, if the clock was set back: lists
        are in the order of these times.
        """
        return max(now, self.last_at)

    def add(self, run):
        """Add *run*, whose serial is `next_serial`."""
        self.tail += (run,)
        self.last_at = run.created_at
        self.next_serial += 1
        self.counts = count(self.counts, run.type, 1)
        if len(self.tail) >= SPILL:
            self.chunks[self.next_serial - SPILL] = Chunk(self.tail)
            self.times[momentOf(run)] = run.serial
            self.tail = ()

    def get(self, serial):
        """Return the run of that serial, or None."""
        if not 0 < serial < self.next_serial:
            return None
        first = self.next_serial - len(self.tail)
        if serial >= first:
            return self.tail[serial - first]
        first = serial - (serial - 1) % SPILL
        chunk = self.chunks.get(first)
        return None if chunk is None else chunk.entries[serial - first]

    def remove(self, run):
        """Forget *run*; its serial is not given out again."""
        serial = run.serial
        first = self.next_serial - len(self.tail)
        if serial >= first:
            self.tail = _without(self.tail, serial - first)
        else:
            first = serial - (serial - 1) % SPILL
            chunk = self.chunks[first]
            chunk.entries = _without(chunk.entries, serial - first)
            if not any(chunk.entries):
                del self.chunks[first]
        self.counts = count(self.counts, run.type, -1)

    def walk(self, below=None):
        """Yield the runs with a serial under *below*, newest first."""
        if below is None or below > self.next_serial:
            below = self.next_serial
        first = self.next_serial - len(self.tail)
        for serial in range(below - 1, first - 1, -1):
            if self.tail[serial - first] is not None:
                yield self.tail[serial - first]
        below = min(below, first)
        if below <= 1 or not self.chunks:
            return
        for first in self._chunks_from(below - 1):
            entries = self.chunks[first].entries
            for run in reversed(entries[:below - first]):
                if run is not None:
                    yield run

    def _chunks_from(self, serial):
        # From the greatest key down, without listing the keys.
        while True:
            try:
                first = self.chunks.maxKey(serial)
            except ValueError:
                return
            yield first
            serial = first - 1

    def serialAfter(self, moment):
        """Return a serial that no run of *moment* or before reaches.

        Close to the least: at most a chunk or so above it.  *moment* is as
        `momentOf` gives it.
        """
        try:
            return self.times[self.times.minKey(moment + 1)]
        except ValueError:
            return self.next_serial


def momentOf(run):
    """Return when *run* was created, in whole microseconds."""
    return int(run.created_at * 1000000)


class Entry(NamedTuple):
    """One finish.  *key* orders: microseconds, growing within the lane."""

    key: int
    lane: int
    serial: int
    state: str
    type: str


class Finishes(Persistent):
    """What the writer of a lane finished, in order.

    Entries are packed: pickling asks for each object in a state whether it is
    persistent, which costs more than all else for a tuple of tuples.
    """

    _packing = struct.Struct('<qIQBH')   # key, lane, serial, state, type

    def __init__(self):
        self.last_key = 0
        self.tail = b''
        self.types = []      # names; entries and counts refer to the index
        self.counts = []     # numbers, one for each type and finished state
        self.chunks = LOBTree()  # first key -> Chunk of packed entries

    def __getstate__(self):
        return (self.last_key, self.tail, '\n'.join(self.types),
                struct.pack('<%dq' % len(self.counts), *self.counts),
                self.chunks)

    def __setstate__(self, state):
        self.last_key, self.tail, types, counts, self.chunks = state
        self.types = types.split('\n') if types else []
        self.counts = list(struct.unpack('<%dq' % (len(counts) // 8), counts))

    def add(self, run):
        """Note that *run* has just been finished."""
        self.last_key = max(self.last_key + 1, int(run.finished_at * 1000000))
        self.tail += self._packing.pack(
            self.last_key, run.lane, run.serial, run.stored_state,
            self._type_index(run.type))
        self._count(run, 1)
        if len(self.tail) >= SPILL * self._packing.size:
            first = self._packing.unpack_from(self.tail)[0]
            self.chunks[first] = Chunk(self.tail)
            self.tail = b''

    def uncount(self, run):
        """Note that the finished *run* was removed.

        The entry stays until it is pruned, and leads to nothing.
        """
        self._count(run, -1)

    def _type_index(self, name):
        if name not in self.types:
            self.types = [*self.types, name]
            self.counts = self.counts + [0] * len(FINISHED_STATES)
        return self.types.index(name)

    def _count(self, run, change):
        index = (self._type_index(run.type) * len(FINISHED_STATES)
                 + FINISHED_STATES.index(run.state))
        self.counts[index] += change
        self._p_changed = True

    def getCounts(self):
        """Yield (type name, state, number)."""
        for index, number in enumerate(self.counts):
            kind, state = divmod(index, len(FINISHED_STATES))
            yield self.types[kind], FINISHED_STATES[state], number

    def walk(self, below=None):
        """Yield each `Entry` with a key under *below*, newest first."""
        yield from self._unpack(self.tail, below)
        key = below - 1 if below is not None else None
        while True:
            try:
                first = (self.chunks.maxKey() if key is None
                         else self.chunks.maxKey(key))
            except ValueError:
                return
            yield from self._unpack(self.chunks[first].entries, below)
            key = first - 1

    def _unpack(self, packed, below):
        for key, lane, serial, state, kind in reversed(
                list(self._packing.iter_unpack(packed))):
            if below is None or key < below:
                yield Entry(key, lane, serial, STATES[state],
                            self.types[kind])


class Lane(Persistent):
    """One lane; never written after its birth, only its parts are."""

    def __init__(self, number, is_guest=False):
        self.number = number
        self.is_guest = is_guest   # anybody may write it
        self.births = Births()
        self.finishes = Finishes()
        self.cursor = Cursor()
        self.due = Due()


def count(counts, name, change):
    """Return *counts* (a dict) with *change* added to that of *name*."""
    counts = dict(counts)
    counts[name] = counts.get(name, 0) + change
    return counts


def _without(entries, index):
    return entries[:index] + (None,) + entries[index + 1:]
