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
"""Retention: remove finished runs that are too old or too many.

Each runtime prunes the lanes whose home it is, the oldest runs first, in
small commits.  To conflict with no other writer, it writes only two kinds of
objects: the counts of removed runs (`finishes.RemovedCounts`), which only
pruners write, and full chunks, which no one else changes.

Recent entries and trees belong to the writers of the lanes.  These drop empty
chunks when they spill (`lane.Lane.bear`).  If a lane has no writer at the
moment, the pruner checks it out and tidies it up.

The pruner walks type by type, over the chunks that contain runs of the type.
It begins where it ended before, so it loads little more than it removes.
"""
import heapq
import time
from collections import Counter

from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.registry.uniqueness import staleKeys
from cipher.background.store.lanepool import getPool
from cipher.background.store.process import getDirectory
from cipher.background.util import clock


#: Runs that one commit removes at most, so that it stays short.
BATCH = 500

#: Seconds between two looks for runs that are too old or slightly too many.
#: Retention is counted in days, so a minute does not matter.
INTERVAL = 60.0

#: Seconds between two looks for types with far too many runs, so that quick
#: jobs do not fill the database meanwhile.
QUICK_INTERVAL = 5.0

#: Runs of a type above its limit that may wait for the next `INTERVAL`.  If
#: `SLACK_PART` of the limit is more, it applies instead.
SLACK = 100
SLACK_PART = 0.05

#: Seconds without a write after which recent runs of a lane count as idle, so
#: that the pruner removes them as well.
IDLE = 3600.0

_DAY = 86400.0


class Pruner:
    """Prunes lanes for the process *own*.

    *each_lane* is called with a connection and yields (place, lane) of those
    to prune.
    """

    def __init__(self, own, each_lane):
        self._own = own
        self._each_lane = each_lane
        now = time.monotonic()
        self._next = now + INTERVAL
        self._next_quick = now + QUICK_INTERVAL
        self._oldest = {}   # (registry oid, lane number, type) -> key
        self._claims = {}   # registry oid -> (bucket to go on with, stale)

    def turn(self, connection):
        """Prune one batch, if it is due; return whether there is more."""
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
        """Prune one batch now; return whether there is more.

        *is_quick*: prune only types with far too many runs.
        """
        own = self._own
        lanes = {}
        for (oid, _), lane in self._each_lane(connection):
            lanes.setdefault(oid, []).append(lane)
        is_more = False
        if not is_quick:
            with ZopeTransaction(note=own.note('prune processes')):
                getDirectory(connection).forgetEnded()
        for oid, its_lanes in lanes.items():
            with ZopeTransaction(note=own.note('prune')):
                registry = connection.get(oid)
                is_more |= _prune_registry(
                    registry, its_lanes, BATCH, is_quick, self._oldest)
            if not is_quick:
                self._prune_claims(connection, oid)
        return is_more

    def _prune_claims(self, connection, oid):
        begin, seen = self._claims.get(oid, (0, {}))
        with ZopeTransaction(note=self._own.note('prune claims')):
            registry = connection.get(oid)
            stale, bucket = staleKeys(registry, BATCH, begin, seen)
            for key in stale:
                del registry.unique_keys[key]
        self._claims[oid] = bucket or 0, seen


def _prune_registry(registry, lanes, limit, is_quick=False, oldest=None):
    """Remove at most *limit* runs; return whether there may be more.

    *oldest* is a dict that calls keep up to date for the next ones: (registry
    oid, lane number, type) -> key of the oldest entry there.
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
    """The runs that one transaction removes."""

    def __init__(self, registry, oldest):
        self._registry = registry
        self._oldest = oldest
        self._pool = getPool(registry._p_jar.db(), registry._p_oid)
        # The last run of a stopped service has to stay: it shows the stop.
        self._services = {state.run for state in registry.services.values()}
        self._held = {}      # lane number -> whether it is checked out
        self._keys = {}      # lane number -> keys of entries to drop
        self._emptied = {}   # lane number -> keys of chunks of births
        self._now = clock.now()
        self.number = 0

    # Steps, in the order of their calls

    def tidy(self, lane, rules):
        """Tidy up *lane* if it has work for that and no writer."""
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
                # All that follow stay as well.
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
        # Entries made by a clock far ahead get other keys later.
        return 0 if clock.isAhead(key / 1000000, self._now) else key

    def _note(self, lane, name, first, stopped_at):
        """Record how far the walk came in *lane*."""
        place = self._registry._p_oid, lane.number, name
        if first is None and stopped_at is not None:
            # Older entries than the one where the walk stopped are gone,
            # except the recent ones of the lane.
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
        """Remove the run of *entry*; return False if that is not possible."""
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
                births.drop(entry.serial, from_recent=True)
                if is_there:
                    run.remove()   # conflicts if a person removes it, too
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
        """Write what the other steps have gathered."""
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
    """Decides which finished runs to remove, by age and number of a type."""

    def __init__(self, registry, lanes, is_quick):
        self._registry = registry
        self._is_quick = is_quick
        self._now = clock.now()
        self._limits = {}   # type name -> keys below it are too old
        self._excess = Counter()
        numbers = Counter()
        for name, _, number in registry.removed_by_hand.getCounts():
            numbers[name] -= number
        for lane in registry.lanes.values():
            for name, _, number in lane.finishes.getCounts():
                numbers[name] += number
            for name, _, number in lane.pruned.getCounts():
                numbers[name] -= number
            # Makes two processes that remove from the same excess conflict.
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
        """Return the names of the types of which runs may be removed."""
        return list(self._excess)

    def isOver(self, entry):
        """Return whether the run of *entry* is to be removed."""
        return self.isOverAt(entry.type, entry.key)

    def isOverAt(self, name, key):
        """Return whether to remove runs of type *name* that ended at *key*."""
        return (key < self._limits.get(name, 0)
                or self._excess[name] > 0)

    def removed(self, entry):
        """Record that the run of *entry* was removed."""
        self._excess[entry.type] -= 1
