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
from BTrees.LOBTree import LOBTree
from persistent import Persistent

from cipher.background import chunks
from cipher.background.chunks import SPILL
from cipher.background.chunks import Chunk
from cipher.background.cursor import Cursor
from cipher.background.cursor import Due
from cipher.background.finishes import Finishes
from cipher.background.finishes import Pruned
from cipher.background.plaindata import readNumber


#: Seconds since the epoch: later nothing was ever created.
_LAST = 9e11


class Births(Persistent):
    """The runs born in a lane, in order of their serials (from 1)."""

    def __init__(self):
        self.next_serial = 1
        self.tail = ()           # runs, the last of them next_serial - 1
        self.counts = {}         # type name -> number of runs ever born
        self.chunks = LOBTree()  # first serial -> Chunk of runs or None
        self.last_at = 0.0       # created_at of the last run

    def __getstate__(self):
        return (self.next_serial, self.tail, self.counts, self.chunks,
                self.last_at)

    def __setstate__(self, state):
        (self.next_serial, self.tail, self.counts, self.chunks,
         self.last_at) = state

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
            self.chunks[self.next_serial - SPILL] = Chunk(
                self.tail, self.counts.values(), momentOf(run))
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

    def walk(self, below=None, types=()):
        """Yield the runs with a serial under *below*, newest first.

        *types* (names): where there are any, at least the runs of these.
        """
        kinds = self._kinds(types)
        if kinds == []:
            return
        if below is None or below > self.next_serial:
            below = self.next_serial
        first = self.next_serial - len(self.tail)
        for run in reversed(self.tail[:max(0, below - first)]):
            if run is not None:
                yield run
        for first, chunk in chunks.walkDown(self.chunks, below - 1, kinds):
            _prefetch(chunk)
            for run in reversed(chunk.entries[:below - first]):
                if run is not None:
                    yield run

    def walkUp(self, begin=1, types=()):
        """Yield the runs with a serial from *begin* on, oldest first."""
        kinds = self._kinds(types)
        if kinds == []:
            return
        lowest = begin - (begin - 1) % SPILL
        for first, chunk in chunks.walkUp(self.chunks, lowest, kinds):
            _prefetch(chunk)
            for run in chunk.entries[max(0, begin - first):]:
                if run is not None:
                    yield run
        first = self.next_serial - len(self.tail)
        for run in self.tail[max(0, begin - first):]:
            if run is not None:
                yield run

    def _kinds(self, types):
        if not types:
            return None
        return [index for index, name in enumerate(self.counts)
                if name in types]

    def serialAfter(self, moment):
        """Return a serial that no run of *moment* or before reaches.

        Close to the least: at most a chunk or so above it.  *moment* is as
        `momentOf` gives it.
        """
        first = chunks.firstKey(
            self.chunks, lambda chunk: chunk.moment > moment)
        return self.next_serial if first is None else first + SPILL - 1

    def serialFrom(self, moment):
        """Return a serial that all runs of *moment* or after reach.

        At most a chunk or so under the greatest such serial.
        """
        first = chunks.firstKey(
            self.chunks, lambda chunk: chunk.moment >= moment)
        return (self.next_serial - len(self.tail) if first is None
                else first)


def momentOf(run):
    """Return when *run* was created, in whole microseconds."""
    # Within what a page's key can say.
    return int(max(0.0, min(_LAST, readNumber(run.created_at, 0.0))) * 1000000)


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


def _prefetch(chunk):
    """Let a storage behind a network send the runs of *chunk* at once."""
    jar = chunk._p_jar
    if jar is not None:
        jar.prefetch([run for run in chunk.entries
                      if run is not None and run._p_changed is None])


def _without(entries, index):
    return entries[:index] + (None,) + entries[index + 1:]
