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
     +-- pruned     counts of what was removed; written by the consumer alone
     +-- due        what waits for its time; written by the consumer alone

New entries gather in the head (``tail``) and spill, `SPILL` at a time, into a
chunk that a tree refers to: a start or finish writes the head only.

Pickles name the classes of this module: they stay here.
"""
from BTrees.LLBTree import LLBTree
from BTrees.LOBTree import LOBTree
from persistent import Persistent

from cipher.background.cursor import Cursor
from cipher.background.cursor import Due
from cipher.background.finishes import SPILL
from cipher.background.finishes import Chunk
from cipher.background.finishes import Finishes
from cipher.background.finishes import Pruned


class Births(Persistent):
    """The runs born in a lane, in order of their serials (from 1)."""

    def __init__(self):
        self.next_serial = 1
        self.tail = ()           # runs, the last of them next_serial - 1
        self.counts = {}         # type name -> number of runs ever born
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

    def drop(self, serial, from_head=False):
        """Forget the run *serial*, which is counted as born all the same.

        Return whether that was possible: False while it stands in the head,
        which is others' to write, unless *from_head*.
        """
        first = self.next_serial - len(self.tail)
        if serial >= first:
            if from_head:
                self.tail = _without(self.tail, serial - first)
            return from_head
        first = serial - (serial - 1) % SPILL
        chunk = self.chunks[first]
        chunk.entries = _without(chunk.entries, serial - first)
        if not any(chunk.entries):
            del self.chunks[first]
        return True

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


class Lane(Persistent):
    """One lane; never written after its birth, only its parts are."""

    def __init__(self, number, is_guest=False):
        self.number = number
        self.is_guest = is_guest   # anybody may write it
        self.births = Births()
        self.finishes = Finishes()
        self.cursor = Cursor()
        self.due = Due()
        self.pruned = Pruned()


def count(counts, name, change):
    """Return *counts* (a dict) with *change* added to that of *name*."""
    counts = dict(counts)
    counts[name] = counts.get(name, 0) + change
    return counts


def _without(entries, index):
    return entries[:index] + (None,) + entries[index + 1:]
