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
"""What was finished in a lane: entries, and counts by type and state.

Pickles name the classes of this module: they stay here.
"""
import struct
from typing import NamedTuple

from BTrees.LOBTree import LOBTree
from persistent import Persistent

from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import STATES


#: Entries that a head holds before they go into a chunk.  The head is
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


class Counts(Persistent):
    """Numbers of runs by type and finished state."""

    def __init__(self):
        self.types = []      # names; counts refer to the index
        self.counts = []     # numbers, one for each type and finished state

    def indexOf(self, name):
        """Return the index of the type *name*, a new one if need be."""
        if name not in self.types:
            self.types = [*self.types, name]
            self.counts = self.counts + [0] * len(FINISHED_STATES)
        return self.types.index(name)

    def count(self, name, state):
        """Count one more."""
        index = (self.indexOf(name) * len(FINISHED_STATES)
                 + FINISHED_STATES.index(state))
        self.counts[index] += 1
        self._p_changed = True

    def getCounts(self):
        """Yield (type name, state, number)."""
        for index, number in enumerate(self.counts):
            kind, state = divmod(index, len(FINISHED_STATES))
            yield self.types[kind], FINISHED_STATES[state], number


class Pruned(Counts):
    """What a consumer removed."""

    def add(self, entry):
        """Note that the run of *entry* was removed."""
        self.count(entry.type, entry.state)


class Entry(NamedTuple):
    """One finish.  *key* orders: microseconds, growing within the lane."""

    key: int
    lane: int
    serial: int
    state: str
    type: str


class Finishes(Counts):
    """What the writer of a lane finished, in order.

    Entries are packed: pickling asks for each object in a state whether it is
    persistent, which costs more than all else for a tuple of tuples.
    """

    _packing = struct.Struct('<qIQBH')   # key, lane, serial, state, type

    def __init__(self):
        self.last_key = 0
        self.tail = b''
        super().__init__()
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
            self.indexOf(run.type))
        self.count(run.type, run.state)
        if len(self.tail) >= SPILL * self._packing.size:
            first = self._packing.unpack_from(self.tail)[0]
            self.chunks[first] = Chunk(self.tail)
            self.tail = b''

    def drop(self, keys):
        """Forget the entries of these *keys*; those in the head stay."""
        for first in {self.chunks.maxKey(key) for key in keys
                      if self.chunks and key >= self.chunks.minKey()}:
            chunk = self.chunks[first]
            left = b''.join(
                self._packing.pack(*entry) for entry
                in self._packing.iter_unpack(chunk.entries)
                if entry[0] not in keys)
            if left:
                chunk.entries = left
            else:
                del self.chunks[first]

    def walkOldest(self):
        """Yield each `Entry` that is not in the head, oldest first."""
        key = None
        while True:
            try:
                key = (self.chunks.minKey() if key is None
                       else self.chunks.minKey(key + 1))
            except ValueError:
                return
            yield from reversed(list(
                self._unpack(self.chunks[key].entries, None)))

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
