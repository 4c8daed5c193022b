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
"""Retention: finished runs that are old or too many are removed.

Each runtime prunes what was finished in the lanes that it consumes, the
oldest first, in small commits.  It must disturb nobody: it writes what only
pruners write, which are the counts of what was removed
(`finishes.RemovedCounts`) and chunks, which nobody else writes once they are
there.  Heads and trees belong to the writers of the lanes: those give up empty
chunks when they spill (`lane.Lane.bear`).  A lane that nobody writes for the
moment is checked out, and tidied up.

It walks type by type, over chunks that hold something of the type, and begins
where it ended before: it loads little more than what it removes.
"""
import heapq
import time
from collections import Counter
from functools import partial

from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.registry.uniqueness import staleKeys
from cipher.background.runtime.maintenance.spill import ownLanes
from cipher.background.store.lanepool import getPool
from cipher.background.store.process import getDirectory
from cipher.background.util import clock


#: Runs are removed at most so many in one commit.
BATCH = 500

#: Seconds between two looks at what is too old, or too much by a few.
INTERVAL = 60.0

#: Seconds between two looks at what is far too much.
QUICK_INTERVAL = 5.0

#: Of a type so many runs may be there too much until the next `INTERVAL`, and
#: this part of those that are to be kept if that is more.
SLACK = 100
SLACK_PART = 0.05

#: Seconds after which a head that nobody writes is taken for idle: its runs
#: go as well.
IDLE = 3600.0

_DAY = 86400.0


class Pruner:
    """Prunes the lanes of one runtime, in the control thread."""

    def __init__(self, runtime, each_lane=None):
        self._runtime = runtime
        # Yields (place, lane) of those to prune.
        self._each_lane = each_lane or partial(
            ownLanes, runtime, runtime.backlog)
        now = time.monotonic()
        self._next = now + INTERVAL
        self._next_quick = now + QUICK_INTERVAL
        self._oldest = {}   # (registry oid, lane number, type) -> key
        self._claims = {}   # registry oid -> (bucket to go on with, stale)

    def turn(self, connection):
        """Prune one batch, if it is time; return whether there is more."""
        now = time.monotonic()
        if now < min(self._next, self._next_quick):
            return False
        is_quick = now < self._next
        is_more = self.prune(connection, is_quick)
        if not is_more:
            self._next_quick = time.monotonic() + QUICK_INTERVAL
            if not is_quick:
                self._next = time.monotonic() + INTERVAL
        return is_more

    def prune(self, connection, is_quick=False):
        """Prune one batch; return whether there is more.

        *is_quick*: only types with far too many runs.
        """
        runtime = self._runtime
        lanes = {}
        for (oid, _), lane in self._each_lane(connection):
            lanes.setdefault(oid, []).append(lane)
        is_more = False
        if not is_quick:
            with ZopeTransaction(note=runtime.note('prune processes')):
                getDirectory(connection).forgetEnded()
        for oid, own in lanes.items():
            with ZopeTransaction(note=runtime.note('prune')):
                registry = connection.get(oid)
                is_more |= _prune_registry(
                    registry, own, BATCH, is_quick, self._oldest)
            if not is_quick:
                self._prune_claims(connection, oid)
        return is_more

    def _prune_claims(self, connection, oid):
        begin, seen = self._claims.get(oid, (0, {}))
        with ZopeTransaction(note=self._runtime.note('prune claims')):
            registry = connection.get(oid)
            stale, bucket = staleKeys(registry, BATCH, begin, seen)
            for key in stale:
                del registry.unique_keys[key]
        self._claims[oid] = bucket or 0, seen


def _prune_registry(registry, lanes, limit, is_quick=False, oldest=None):
    """Remove at most *limit* runs; return whether there may be more.

    *oldest* is what former calls learned: (registry oid, lane number, type) ->
    key of the oldest entry there.
    """
    rules = _Rules(registry, lanes, is_quick)
    removal = _Removal(registry, {} if oldest is None else oldest)
    if not is_quick:
        for lane in lanes:
            removal.tidy(lane, rules)
    for name in rules.names():
        if removal.number >= limit:
            break
        removal.removeType(name, lanes, rules, limit)
    removal.end()
    return removal.number >= limit


class _Removal:
    """What one transaction removes."""

    def __init__(self, registry, oldest):
        self._registry = registry
        self._oldest = oldest
        self._pool = getPool(registry._p_jar.db(), registry._p_oid)
        # A service that was stopped: its last run tells that.
        self._services = {state.run for state in registry.services.values()}
        self._held = {}      # lane number -> whether it is checked out
        self._keys = {}      # lane number -> keys of entries to drop
        self._emptied = {}   # lane number -> keys of chunks of births
        self._now = clock.now()
        self.number = 0

    # Step by step

    def tidy(self, lane, rules):
        """Tidy *lane* up if nobody writes it for the moment."""
        entries = list(lane.finishes.inRecent())
        is_over = (entries and _is_idle(entries[-1].key / 1000000)
                   and any(rules.isOver(entry) for entry in entries))
        emptied = lane.emptied
        if (emptied.births or emptied.finishes) or is_over:
            if self._hold(lane):
                lane.tidy()
                if is_over:
                    lane.finishes.spill()
        for part, chunks in (('births', lane.births.chunks),
                             ('finishes', lane.finishes.chunks)):
            keys = getattr(emptied, part)
            left = tuple(key for key in keys if key in chunks)
            if left != keys:
                setattr(emptied, part, left)

    def removeType(self, name, lanes, rules, limit):
        """Remove runs of that type, the oldest first."""
        oid = self._registry._p_oid
        lanes = [lane for lane in lanes if rules.isOverAt(
            name, self._known(self._oldest.get((oid, lane.number, name), 0)))]
        walks = heapq.merge(*[self._walk(lane, name) for lane in lanes],
                            key=lambda item: item[1].key)
        first = {}   # lane number -> key of the first entry that stays
        for lane, entry in walks:
            if self.number >= limit or not rules.isOver(entry):
                # So it is with all that follow.
                first.setdefault(lane.number, entry.key)
                break
            if not self._remove(lane, entry, rules):
                first.setdefault(lane.number, entry.key)
        else:
            entry = None
        for lane in lanes:
            self._note(lane, name, first.get(lane.number), entry)

    def _walk(self, lane, name):
        for entry in lane.finishes.walkOldest(
                name, self._known(lane.pruned.markOf(name))):
            yield lane, entry

    def _known(self, key):
        # Entries of a clock that was far ahead get other keys later.
        return 0 if clock.isAhead(key / 1000000, self._now) else key

    def _note(self, lane, name, first, stopped_at):
        """Note how far the walk came in *lane*."""
        place = self._registry._p_oid, lane.number, name
        if first is None and stopped_at is not None:
            # All that is older than where the walk stopped is gone, but for
            # what stands in the head.
            first = min([stopped_at.key, *[
                entry.key for entry in lane.finishes.inRecent()]])
        if first is None:
            self._oldest.pop(place, None)
            return
        self._oldest[place] = first
        if (lane.number in self._keys
                and first > self._known(lane.pruned.markOf(name))):
            lane.pruned.setMark(name, first)

    def _remove(self, lane, entry, rules):
        """Remove the run of *entry*; return whether that was possible."""
        if (entry.lane, entry.serial) in self._services:
            return False
        born_in = self._registry.lanes.get(entry.lane)
        if born_in is not None:
            births = born_in.births
            run = births.get(entry.serial)
            is_there = run is not None and not run.is_removed
            if not births.drop(entry.serial):
                if not (_is_idle(births.last_at) and self._hold(born_in)):
                    return False
                births.drop(entry.serial, from_head=True)
                if is_there:
                    run.remove()   # an administrator may do so as well
            key = births.emptyChunk(entry.serial)
            if key is not None:
                self._emptied.setdefault(born_in.number, set()).add(key)
            if is_there:
                lane.pruned.add(entry)
                rules.removed(entry)
                self.number += 1
        self._keys.setdefault(lane.number, set()).add(entry.key)
        return True

    def end(self):
        """Write what was gathered."""
        for number, keys in self._keys.items():
            lane = self._registry.lanes[number]
            empty = lane.finishes.drop(keys)
            if empty:
                lane.emptied.finishes = _with(lane.emptied.finishes, empty)
        for number, keys in self._emptied.items():
            lane = self._registry.lanes[number]
            lane.emptied.births = _with(lane.emptied.births, keys)

    def _hold(self, lane):
        if lane.number not in self._held:
            self._held[lane.number] = self._pool.hold(
                self._registry, lane.number)
        return self._held[lane.number]


def _with(keys, more):
    return tuple(sorted({*keys, *more}))


def _is_idle(last_at):
    return clock.now() - last_at > IDLE


class _Rules:
    """Which finished runs are over, by age and by number of the type."""

    def __init__(self, registry, lanes, is_quick):
        self._registry = registry
        self._is_quick = is_quick
        self._now = clock.now()
        self._limits = {}   # type name -> key under which it is over
        self._excess = Counter()
        numbers = Counter()
        for name, _, number in registry.removed_by_hand.getCounts():
            numbers[name] -= number
        for lane in registry.lanes.values():
            for name, _, number in lane.finishes.getCounts():
                numbers[name] += number
            for name, _, number in lane.pruned.getCounts():
                numbers[name] -= number
            # Two processes that remove from the same excess conflict.
            registry._p_jar.readCurrent(lane.pruned)
        registry._p_jar.readCurrent(registry.removed_by_hand)
        for name, number in numbers.items():
            days, keep = self._retention(name)
            excess = max(0, number - keep)
            if not is_quick:
                begin = max(0.0, self._now - days * _DAY)   # days may be inf
                self._limits[name] = int(begin * 1000000)
            elif excess <= max(SLACK, SLACK_PART * keep):
                continue
            self._excess[name] = excess

    def _retention(self, name):
        worker_type = queryWorkerType(name)
        days = worker_type and worker_type.keep_days
        keep = worker_type and worker_type.keep
        return (self._registry.keep_days if days is None else days,
                self._registry.keep if keep is None else keep)

    def names(self):
        """Return the names of the types that something may be over of."""
        return list(self._excess)

    def isOver(self, entry):
        """Return whether the run of *entry* is to be removed."""
        return self.isOverAt(entry.type, entry.key)

    def isOverAt(self, name, key):
        """Likewise, of a run of that type that was finished then."""
        return (key < self._limits.get(name, 0)
                or self._excess[name] > 0)

    def removed(self, entry):
        """Note that the run of *entry* was removed."""
        self._excess[entry.type] -= 1
