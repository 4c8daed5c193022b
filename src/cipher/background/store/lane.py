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
"""Lanes: logs with one writer at a time, so that transactions do not conflict.

A registry is a set of lanes.  Each part of a lane is an object of its own,
written by one thread at a time in the normal course::

    Lane
     +-- writer     the process that writes births and finishes: see `writers`
     +-- births     runs started here, by serial; written by each start
     +-- finishes   runs that the writer finished; written by each finish
     +-- bookmark   the place that the home has reached; written by the home
     +-- waiting    runs that cannot begin yet; written by the home
     +-- pruned     counts of pruned runs; written by the home
     +-- emptied    keys of empty chunks; written by pruners

A new entry goes into ``recent`` of births or finishes.  These spill, `SPILL`
at a time, into a chunk in a tree: most starts and finishes write the recent
entries only.
"""
import struct

from BTrees.LOBTree import LOBTree
from persistent import Persistent

from cipher.background.store import chunks
from cipher.background.store.bookmark import Bookmark
from cipher.background.store.bookmark import Waiting
from cipher.background.store.chunks import SPILL
from cipher.background.store.chunks import Chunk
from cipher.background.store.finishes import Finishes
from cipher.background.store.finishes import RemovedCounts
from cipher.background.store.writers import Writer
from cipher.background.util import clock
from cipher.background.util.plaindata import readNumber


#: Seconds since the epoch.  A later time of creation counts as this one: its
#: microseconds have to fit into the key of a page.
_LAST = 9e11

_KIND = struct.Struct('<H')


class Books(Persistent):
    """The chunks of the births of a lane, and the counts of each type.

    Written when the recent runs spill, and at the first run of a type.  It is
    apart from `Births` because the names of types would be most of what a
    start writes.
    """

    def __init__(self):
        self.types = []      # names; the counts go by their index
        self.counts = []     # of runs in the chunks
        self.chunks = LOBTree()  # first serial -> Chunk of runs or None

    def __getstate__(self):
        return ('\n'.join(self.types),
                struct.pack('<%dQ' % len(self.counts), *self.counts),
                self.chunks)

    def __setstate__(self, state):
        types, counts, self.chunks = state
        self.types = types.split('\n') if types else []
        self.counts = list(struct.unpack('<%dQ' % (len(counts) // 8), counts))

    def kindOf(self, name):
        """Return the kind, a number, of the type *name*; add a new type."""
        if name not in self.types:
            self.types = [*self.types, name]
            self.counts = [*self.counts, 0]
        return self.types.index(name)

    def count(self, kinds):
        """Count recent runs that spill, of these *kinds* (numbers)."""
        counts = list(self.counts)
        for kind in kinds:
            counts[kind] += 1
        self.counts = counts


class Births(Persistent):
    """The runs started in a lane, in order of their serials (from 1)."""

    def __init__(self):
        self.next_serial = 1
        self.recent = ()         # runs, the last of them next_serial - 1
        self.kinds = b''         # kinds of the recent runs, packed
        self.last_at = 0.0       # created_at of the last run
        self.books = Books()     # with the chunks: the runs not in recent

    def __getstate__(self):
        return (self.next_serial, self.recent, self.kinds, self.last_at,
                self.books)

    def __setstate__(self, state):
        (self.next_serial, self.recent, self.kinds, self.last_at,
         self.books) = state

    @property
    def chunks(self):
        return self.books.chunks

    @property
    def counts(self):
        """{type name: number of runs ever started here}, a new dict."""
        counts = list(self.books.counts)
        for kind, in _KIND.iter_unpack(self.kinds):
            counts[kind] += 1
        return dict(zip(self.books.types, counts))

    def timeOfNext(self, now):
        """Return the time of creation of the next run, at the time *now*.

        It is not before that of the last run, even if the clock was set back:
        lists are in the order of these times.  If the last run is of a clock
        that was far ahead, the next one is of *now* all the same.
        """
        if clock.isAhead(self.last_at, now):
            self.last_at = now
            chunks.capMoments(self.chunks, int(now * 1000000))
        return max(now, self.last_at)

    def add(self, run):
        """Add *run*, whose serial is `next_serial`.

        Return whether the recent runs spilled.
        """
        self.recent += (run,)
        self.last_at = run.created_at
        self.next_serial += 1
        self.kinds += _KIND.pack(self.books.kindOf(run.type))
        if len(self.recent) >= SPILL:
            self.books.count(kind for kind, in _KIND.iter_unpack(self.kinds))
            self.chunks[self.next_serial - SPILL] = Chunk(
                self.recent, self.books.counts, momentOf(run))
            self.recent, self.kinds = (), b''
        return not self.recent

    def get(self, serial):
        """Return the run *serial*, or None."""
        if not 0 < serial < self.next_serial:
            return None
        first = self.next_serial - len(self.recent)
        if serial >= first:
            return _unless_removed(self.recent[serial - first])
        first = serial - (serial - 1) % SPILL
        chunk = self.chunks.get(first)
        if chunk is None or not chunk.entries:
            return None
        return _unless_removed(chunk.entries[serial - first])

    def drop(self, serial, from_recent=False):
        """Drop the run *serial*; it still counts as started here.

        Return False if it is among the recent runs, which others write; drop
        it from there only if *from_recent*.  A chunk that becomes empty stays
        in the tree until `chunks.drop`.
        """
        first = self.next_serial - len(self.recent)
        if serial >= first:
            if from_recent:
                self.recent = _without(self.recent, serial - first)
            return from_recent
        first = serial - (serial - 1) % SPILL
        chunk = self.chunks.get(first)
        if chunk is not None and chunk.entries:
            entries = _without(chunk.entries, serial - first)
            chunk.entries = entries if any(entries) else ()
        return True

    def dependOn(self, serial):
        """Let the transaction conflict if the run is dropped meanwhile.

        This concerns a run in a chunk.  A transaction that drops a recent run
        also writes the run, so it conflicts anyway.
        """
        chunk = self.chunks.get(serial - (serial - 1) % SPILL)
        if chunk is not None and chunk._p_jar is not None:
            chunk._p_activate()
            chunk._p_jar.readCurrent(chunk)

    def emptyChunk(self, serial):
        """Return the key of the chunk of *serial* if it is empty, else None.
        """
        first = serial - (serial - 1) % SPILL
        chunk = self.chunks.get(first)
        return first if chunk is not None and not chunk.entries else None

    def walk(self, below=None, types=()):
        """Yield the runs with a serial under *below*, newest first.

        If *types* (names) are given, yield all runs of these, and maybe some
        of others.
        """
        for first, chunk in self.walkChunks(below, types):
            yield from self.newestOf(first, chunk, below)

    def walkUp(self, begin=1, types=()):
        """Yield the runs with a serial from *begin* on, oldest first.

        *types* is as in `walk`.
        """
        for first, chunk in self.walkChunksUp(begin, types):
            yield from self.oldestOf(first, chunk, begin)

    def newestOf(self, first, chunk, below=None):
        """Yield the runs of a *chunk* as `walk` does.

        *first* is the serial of its first run.
        """
        _prefetch(chunk)
        end = None if below is None else max(0, below - first)
        for run in reversed(chunk.entries[:end]):
            if _unless_removed(run) is not None:
                yield run

    def oldestOf(self, first, chunk, begin=1):
        """Yield the runs of a *chunk* as `walkUp` does."""
        _prefetch(chunk)
        for run in chunk.entries[max(0, begin - first):]:
            if _unless_removed(run) is not None:
                yield run

    def walkChunks(self, below=None, types=(), known=None):
        """Yield (first serial, chunk) of the runs of `walk`, newest first.

        The recent runs are a chunk that is not stored.  *known* is as for
        `chunks.walkDown`.
        """
        kinds = self._kinds(types)
        if kinds == []:
            return
        if below is None or below > self.next_serial:
            below = self.next_serial
        first = self.next_serial - len(self.recent)
        if below > first:
            yield first, Chunk(self.recent)
        yield from chunks.walkDown(self.chunks, below - 1, kinds, known)

    def walkChunksUp(self, begin=1, types=(), known=None):
        """Yield (first serial, chunk) of the runs of `walkUp`, oldest first.

        The recent runs are as in `walkChunks`.
        """
        kinds = self._kinds(types)
        if kinds == []:
            return
        lowest = begin - (begin - 1) % SPILL
        yield from chunks.walkUp(self.chunks, lowest, kinds, known)
        if self.recent:
            yield self.next_serial - len(self.recent), Chunk(self.recent)

    def _kinds(self, types):
        if not types:
            return None
        return [index for index, name in enumerate(self.books.types)
                if name in types]

    def serialAfter(self, moment):
        """Return a serial above those of all runs of *moment* or before.

        It is at most about a chunk above the least such serial.  *moment* is
        in microseconds, as `momentOf` returns it.
        """
        first = chunks.firstKey(
            self.chunks, lambda chunk: chunk.moment > moment)
        return self.next_serial if first is None else first + SPILL - 1

    def serialFrom(self, moment):
        """Return a serial that is not above any run of *moment* or after.

        It is at most about a chunk under the greatest such serial.
        """
        first = chunks.firstKey(
            self.chunks, lambda chunk: chunk.moment >= moment)
        return (self.next_serial - len(self.recent) if first is None
                else first)


def _unless_removed(run):
    # A ghost is not loaded just to look; callers check is_removed once more.
    if run is None or run._p_changed is None:
        return run
    return None if run.is_removed else run


def momentOf(run):
    """Return the time of creation of *run* in whole microseconds."""
    return int(max(0.0, min(_LAST, readNumber(run.created_at, 0.0))) * 1000000)


class Emptied(Persistent):
    """Keys of the empty chunks of a lane; written by pruners only.

    The writer of the lane removes these chunks when recent entries spill.
    """

    def __init__(self):
        self.births = self.finishes = ()

    def __getstate__(self):
        return self.births, self.finishes

    def __setstate__(self, state):
        self.births, self.finishes = state


#: Empty chunks that the writer of a lane removes at each spill, at most.  A
#: spill makes one chunk, so empty ones do not accumulate.
DROPPED = 64


class Lane(Persistent):
    """One lane.  It is written only when it is made; its parts change."""

    def __init__(self, number):
        self.number = number
        self.writer = Writer()
        self.births = Births()
        self.finishes = Finishes()
        self.bookmark = Bookmark()
        self.waiting = Waiting()
        self.pruned = RemovedCounts()
        self.emptied = Emptied()

    def bear(self, run):
        """Add *run* to the births; at a spill, remove empty chunks."""
        if self.births.add(run):
            chunks.drop(self.births.chunks, self.emptied.births[:DROPPED])

    def finish(self, run):
        """Add *run* to the finishes; at a spill, remove empty chunks."""
        if self.finishes.add(run):
            chunks.drop(self.finishes.chunks, self.emptied.finishes[:DROPPED])

    def walkUnfinished(self):
        """Yield all unfinished runs, and perhaps some finished ones."""
        low = self.bookmark.low
        for serial in sorted({*self.bookmark.stragglers,
                              *self.waiting.places}):
            run = self.births.get(serial) if serial < low else None
            if run is not None:
                yield run
        yield from self.births.walkUp(low)

    def tidy(self):
        """Remove all empty chunks; return whether there were any.

        The transaction must have checked this lane out.
        """
        is_changed = False
        for part, keys in ((self.births, self.emptied.births),
                           (self.finishes, self.emptied.finishes)):
            if chunks.drop(part.chunks, keys):
                # The pool recognises a change of the lane by its parts.
                part._p_changed = is_changed = True
        return is_changed


def _prefetch(chunk):
    """Let a storage behind a network send the runs of *chunk* together."""
    jar = chunk._p_jar
    if jar is not None:
        jar.prefetch([run for run in chunk.entries
                      if run is not None and run._p_changed is None])


def _without(entries, index):
    return entries[:index] + (None,) + entries[index + 1:]
