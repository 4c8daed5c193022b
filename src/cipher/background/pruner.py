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

Each runtime prunes what was finished in its own lanes, the oldest first, in
small commits.  Heads are written by others: what stands in one is left to a
later turn, unless nobody has written that head for an hour.
"""
import heapq
import time
from collections import Counter

from cipher.background import clock
from cipher.background.backlog import eachLane
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.uniqueness import staleClaims
from cipher.background.workertype import queryWorkerType


#: Runs are removed at most so many in one commit.
BATCH = 500

#: Seconds between two looks at what there is to prune.
INTERVAL = 60.0

#: Seconds after which a head that nobody writes is taken for idle.  Whoever
#: writes it at this very moment all the same conflicts, once.
IDLE = 3600.0

_DAY = 86400.0


class Pruner:
    """Prunes the lanes of one runtime, in the control thread."""

    def __init__(self, runtime):
        self._runtime = runtime
        self._next = time.monotonic() + INTERVAL
        self._claims = {}   # registry oid -> key of the claim looked at last

    def turn(self, connection):
        """Prune one batch, if it is time; return whether there is more."""
        if time.monotonic() < self._next:
            return False
        is_more = self.prune(connection)
        if not is_more:
            self._next = time.monotonic() + INTERVAL
        return is_more

    def prune(self, connection):
        """Prune one batch; return whether there is more."""
        runtime = self._runtime
        lanes = {}
        for oid, _, lane in eachLane(runtime.backlog, connection):
            lanes.setdefault(oid, []).append(lane)
        is_more = False
        for oid, own in lanes.items():
            with ZopeTransaction(note=runtime.note('prune')):
                registry = connection.get(oid)
                is_more |= _prune_registry(registry, own, BATCH)
                stale, last = staleClaims(
                    registry, BATCH, self._claims.get(oid))
                for key in stale:
                    del registry.claims[key]
            self._claims[oid] = last
        return is_more


def _prune_registry(registry, lanes, limit):
    """Remove at most *limit* runs; return whether there may be more."""
    rules = _Rules(registry)
    # Who was stopped is told by its last run.
    services = {state.run for state in registry.services.values()}
    removed = 0
    for lane in lanes:
        _spill_idle(lane, rules)
    entries = heapq.merge(*[_with_lane(lane) for lane in lanes],
                          key=lambda item: item[1].key)
    dropped = {}    # lane number -> (lane, keys of entries to drop)
    for lane, entry in entries:
        if removed >= limit:
            break
        if not rules.isOver(entry):
            if rules.isDone(entry):
                break
            continue
        if (entry.lane, entry.serial) in services:
            continue
        born_in = registry.lanes.get(entry.lane)
        run = born_in and born_in.births.get(entry.serial)
        if run is not None:
            if not born_in.births.drop(
                    entry.serial, from_head=_is_idle(born_in.births.last_at)):
                continue
            lane.pruned.add(entry)
            rules.removed(entry)
            removed += 1
        dropped.setdefault(lane.number, (lane, set()))[1].add(entry.key)
    for lane, keys in dropped.values():
        lane.finishes.drop(keys)
    return removed >= limit


def _is_idle(last_at):
    return clock.now() - last_at > IDLE


def _spill_idle(lane, rules):
    """Let what is over leave the head, if that is idle."""
    entries = list(lane.finishes.inHead())
    if (entries and _is_idle(entries[-1].key / 1000000)
            and any(rules.isOver(entry) for entry in entries)):
        lane.finishes.spill()


def _with_lane(lane):
    for entry in lane.finishes.walkOldest():
        yield lane, entry


class _Rules:
    """Which finished runs are over, by age and by number of the type."""

    def __init__(self, registry):
        self._registry = registry
        self._now = clock.now()
        self._limits = {}   # type name -> (key under which it is over, excess)
        self._excess = Counter()
        numbers = Counter()
        for name, _, number in registry.removed.getCounts():
            numbers[name] -= number
        for lane in registry.lanes.values():
            for name, _, number in lane.finishes.getCounts():
                numbers[name] += number
            for name, _, number in lane.pruned.getCounts():
                numbers[name] -= number
            # Two processes that remove from the same excess conflict.
            registry._p_jar.readCurrent(lane.pruned)
        registry._p_jar.readCurrent(registry.removed)
        for name, number in numbers.items():
            days, keep = self._retention(name)
            begin = max(0.0, self._now - days * _DAY)   # days may be inf
            self._limits[name] = int(begin * 1000000)
            self._excess[name] = max(0, number - keep)

    def _retention(self, name):
        worker_type = queryWorkerType(name)
        days = worker_type and worker_type.keep_days
        keep = worker_type and worker_type.keep
        return (self._registry.keep_days if days is None else days,
                self._registry.keep if keep is None else keep)

    def isOver(self, entry):
        """Return whether the run of *entry* is to be removed."""
        return (entry.key < self._limits.get(entry.type, 0)
                or self._excess[entry.type] > 0)

    def removed(self, entry):
        """Note that the run of *entry* was removed."""
        self._excess[entry.type] -= 1

    def isDone(self, entry):
        """Return whether nothing that is younger than *entry* is over."""
        return (entry.key >= max(self._limits.values())
                and not any(n > 0 for n in self._excess.values()))
