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
"""The finishes of a lane: entries in order, and counts by type and state."""
import struct

from persistent import Persistent

from cipher.background.interfaces import FINISHED_STATES
from cipher.background.store.attempts import waitedOf
from cipher.background.store.chunks import SPILL
from cipher.background.store.chunks import Chunk
from cipher.background.store.chunks import walkDown
from cipher.background.store.chunks import walkUp
from cipher.background.store.histogram import NO_SPAN
from cipher.background.store.histogram import packSpan
from cipher.background.store.histogram import unpackSpan
from cipher.background.store.stats import Entry
from cipher.background.store.stats import Stats
from cipher.background.util import clock


class RemovedCounts(Persistent):
    """Counts of removed runs; each of these objects has one writer."""

    def __init__(self):
        self.types = []      # names; the other lists go by their index
        self.counts = []     # numbers, one for each type and finished state
        self.marks = []      # keys below which no entry of the type is left

    def markOf(self, name):
        """Return the key below which no entry of the type *name* is left."""
        return self.marks[self.types.index(name)] if name in self.types else 0

    def setMark(self, name, key):
        """Note that no entry of the type *name* is left below *key*."""
        self._add_type(name)
        self.marks[self.types.index(name)] = key
        self._p_changed = True

    def _add_type(self, name):
        if name not in self.types:
            self.types = [*self.types, name]
            self.counts = self.counts + [0] * len(FINISHED_STATES)
            self.marks = [*self.marks, 0]

    def count(self, name, state):
        """Count one more removed run of the type *name* in *state*."""
        self._add_type(name)
        index = (self.types.index(name) * len(FINISHED_STATES)
                 + FINISHED_STATES.index(state))
        self.counts[index] += 1
        self._p_changed = True

    def add(self, entry):
        """Count *entry*, or a run, as removed."""
        self.count(entry.type, entry.state)

    def getCounts(self):
        """Yield (type name, state, number)."""
        for index, number in enumerate(self.counts):
            kind, state = divmod(index, len(FINISHED_STATES))
            yield self.types[kind], FINISHED_STATES[state], number


class Finishes(Persistent):
    """The runs that the writer of a lane finished, in order.

    Entries are packed into bytes.  Pickling checks for each object in a state
    whether it is persistent; for a tuple of tuples that is most of the cost.
    """

    # The fields of an entry: key, lane, serial, kind (see Stats), took,
    # waited.  Took is in seconds, -1 if the run never began; waited is of
    # packSpan.
    _packing = struct.Struct('<qIQHfH')

    def __init__(self):
        self.last_key = 0
        self.recent = b''
        self.stats = Stats()   # with the chunks: the entries not in recent

    def __getstate__(self):
        return self.last_key, self.recent, self.stats

    def __setstate__(self, state):
        self.last_key, self.recent, self.stats = state

    @property
    def chunks(self):
        return self.stats.chunks

    def add(self, run):
        """Add an entry for *run*, which has just been finished.

        Return whether the recent entries spilled.
        """
        now = int(run.finished_at * 1000000)
        if clock.isAhead(self.last_key / 1000000, run.finished_at):
            self._leave_future(now)
        self.last_key = max(self.last_key + 1, now)
        took = -1.0
        if run.started_at is not None:
            took = max(0.0, run.finished_at - run.started_at)
        self.recent += self._packing.pack(
            self.last_key, run.lane, run.serial,
            self.stats.kindOf(run.type, run.state), took,
            packSpan(waitedOf(run)))
        if len(self.recent) >= SPILL * self._packing.size:
            self.spill()
        return not self.recent

    def _leave_future(self, now):
        """Give keys of the past to entries of a clock that was far ahead.

        The keys are right before *now*, a key, when the clock is correct
        again.  So the entries keep their order and are pruned by their age
        from now on.  Their true times are unknown; earlier keys would prune
        them too soon.
        """
        self.spill()
        self._drop_empty()
        wrong = []   # keys of chunks with such entries, in descending order
        key = self.chunks.maxKey() if self.chunks else None
        while key is not None and self._last_of(self.chunks[key]) > now:
            wrong.append(key)
            below = self.chunks.keys(max=key, excludemax=True)
            key = below[-1] if below else None
        last = 0 if key is None else self._last_of(self.chunks[key])
        left = sum(len(self.chunks[key].entries)
                   for key in wrong) // self._packing.size
        for key in reversed(wrong):
            chunk = self.chunks[key]
            entries = []
            for number, *rest in self._packing.iter_unpack(chunk.entries):
                last = (number if last < number <= now
                        else max(last + 1, now - left))
                left -= 1
                entries.append((last, *rest))
            chunk.entries = b''.join(
                self._packing.pack(*entry) for entry in entries)
            del self.chunks[key]
            self.chunks[entries[0][0]] = chunk
        self.last_key = last
        self.stats.forgetFuture(now)

    def _drop_empty(self):
        # They get no new keys: the pruner knows the old ones.
        for key in [key for key, chunk in self.chunks.items()
                    if not chunk.entries]:
            del self.chunks[key]

    def _last_of(self, chunk):
        return self._packing.unpack(chunk.entries[-self._packing.size:])[0]

    def spill(self):
        """Move the recent entries into a chunk."""
        entries = list(self._unpack(self.recent))
        if not entries:
            return
        self.stats.add(entries)
        self.chunks[entries[0].key] = Chunk(self.recent, self.stats.counts)
        self.recent = b''

    def inRecent(self):
        """Yield each recent `Entry`, oldest first."""
        yield from self._unpack(self.recent)

    def getCounts(self):
        """Yield (type name, state, number of runs ever finished)."""
        for kind, number in enumerate(self.getCountsOf()):
            yield self.stats.typeOf(kind), self.stats.stateOf(kind), number

    def getCountsOf(self, below=None):
        """Return a tuple: the number of runs of each kind ever finished.

        Count those with a key under *below*, or all if it is None.  Removed
        runs count as well.  If *below* is under the oldest entry that is
        kept, count all runs before that entry.
        """
        counts = list(self.stats.counts)
        if below is None or not self.chunks or below > self._end_of_chunks():
            for key, _, _, kind, *_ in self._packing.iter_unpack(self.recent):
                counts[kind] += below is None or key < below
            return tuple(counts)
        first = self.chunks.maxKey(max(below - 1, self.chunks.minKey()))
        chunk = self.chunks[first]
        totals = chunk.getTotals()
        counts = [*totals, *[0] * (len(counts) - len(totals))]
        for key, _, _, kind, *_ in self._packing.iter_unpack(chunk.entries):
            counts[kind] -= key >= below
        return tuple(counts)

    def _end_of_chunks(self):
        """Return a key above those of all entries in chunks."""
        if self.recent:
            return self._packing.unpack_from(self.recent)[0]
        return self.last_key + 1

    def drop(self, keys):
        """Remove the entries of these *keys* from their chunks.

        Recent entries stay.  Return the keys of chunks that are empty now;
        these stay in the tree.
        """
        empty = []
        for first in {self.chunks.maxKey(key) for key in keys
                      if self.chunks and key >= self.chunks.minKey()}:
            chunk = self.chunks[first]
            chunk.entries = b''.join(
                self._packing.pack(*entry) for entry
                in self._packing.iter_unpack(chunk.entries)
                if entry[0] not in keys)
            if not chunk.entries:
                empty.append(first)
        return empty

    def walkOldest(self, name, begin):
        """Yield each `Entry` of the type *name* in a chunk, oldest first.

        Begin with the key *begin*.
        """
        yield from self._walk_chunks_up(begin, self.kinds((name,), ()))

    def walk(self, below=None, types=(), states=()):
        """Yield each `Entry` with a key under *below*, newest first.

        *types* (names) and *states* are filters, unless they are empty.
        """
        kinds = self.kinds(types, states)
        for _, chunk in self.walkChunks(below, types, states):
            yield from reversed(list(
                self._unpack(chunk.entries, None, below, kinds)))

    def walkChunks(self, below=None, types=(), states=(), known=None):
        """Yield (key, chunk) of the entries of `walk`, newest first.

        The key is that of the first entry; the entries of a chunk are in the
        order of their keys.  All entries of the *types* and *states* are among
        them, and others.  The recent entries are a chunk that is not stored.
        *known* is as for `chunks.walkDown`.
        """
        if self.recent and (below is None or below > self._end_of_chunks()):
            yield self._end_of_chunks(), Chunk(self.recent)
        upto = None if below is None else below - 1
        yield from walkDown(
            self.chunks, upto, self.kinds(types, states), known)

    def entriesOf(self, chunk, states):
        """Return each `Entry` of a *chunk* in one of these *states*."""
        return self._unpack(chunk.entries, kinds=self.kinds((), states))

    def walkPacked(self, below, types, states, digests):
        """Yield (key, packed entries) of the chunks of `walkChunks`.

        *digests* keeps the entries of chunks.
        """
        for key, chunk in self.walkChunks(
                below, types, states, digests.hasPacked):
            yield key, digests.packed(chunk)

    def countPacked(self, packed):
        """Return the number of *packed* entries, those of all kinds."""
        return len(packed) // self._packing.size

    def unpackDurations(self, packed, kinds):
        """Yield (seconds or -1, key, lane, serial) of entries of *kinds*.

        None stands for all kinds.  This is the fastest way to read many.
        """
        for key, lane, serial, kind, took, _ in self._packing.iter_unpack(
                packed):
            if kinds is None or kind in kinds:
                yield took, key, lane, serial

    def unpackWaits(self, packed, kinds):
        """Yield (queue wait or -1, key, lane, serial), as `unpackDurations`.

        The wait is the number of `packSpan`, which grows with it.
        """
        for key, lane, serial, kind, _, waited in self._packing.iter_unpack(
                packed):
            if kinds is None or kind in kinds:
                yield (-1.0 if waited == NO_SPAN else float(waited), key,
                       lane, serial)

    def walkUp(self, begin=None, types=(), states=()):
        """Yield each `Entry` with a key from *begin* on, oldest first."""
        kinds = self.kinds(types, states)
        yield from self._walk_chunks_up(begin, kinds)
        yield from self._unpack(self.recent, begin, None, kinds)

    def _walk_chunks_up(self, begin, kinds):
        try:
            first = None if begin is None else self.chunks.maxKey(begin)
        except ValueError:
            first = None
        for _, chunk in walkUp(self.chunks, first, kinds):
            yield from self._unpack(chunk.entries, begin, None, kinds)

    def kinds(self, types, states):
        """Return the set of kinds of *types* and *states*; None for all."""
        return (set(self.stats.kindsOf(types, states)) if types or states
                else None)

    def _unpack(self, packed, begin=None, below=None, kinds=None):
        stats = self.stats
        for key, lane, serial, kind, took, waited in (
                self._packing.iter_unpack(packed)):
            if ((begin is None or key >= begin)
                    and (below is None or key < below)
                    and (kinds is None or kind in kinds)):
                yield Entry(key, lane, serial, stats.stateOf(kind),
                            stats.typeOf(kind), took if took >= 0 else None,
                            unpackSpan(waited))
