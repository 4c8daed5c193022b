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
"""Bring runs back from the waiting trees when they may begin."""
import heapq
import time
from functools import partial
from operator import itemgetter

from zope.component import getUtilitiesFor

from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.declarations.workertype import findPause
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.events import RunFailedEvent
from cipher.background.interfaces import BROKEN_RUN
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import IWorkerType
from cipher.background.runtime.maintenance.bookmarks import ownLanes
from cipher.background.runtime.queue.backlog import AWAY
from cipher.background.runtime.queue.backlog import READY
from cipher.background.runtime.queue.sorting import LOST
from cipher.background.store.bookmark import DUE
from cipher.background.store.bookmark import FOR_TIME
from cipher.background.store.bookmark import KEPT
from cipher.background.store.bookmark import LIMIT
from cipher.background.store.bookmark import PAUSE
from cipher.background.store.bookmark import TYPE
from cipher.background.store.bookmark import urgencyOf
from cipher.background.store.conditions import limitOf
from cipher.background.store.kept import isTypeKept
from cipher.background.store.process import findRegistry
from cipher.background.store.process import getDirectory
from cipher.background.store.run import formatId
from cipher.background.util import clock
from cipher.background.work.announcing import announce


#: Runs that one turn looks at, at most.
BATCH = 500

#: Seconds between two looks at a batch of runs that cannot begin yet.  Some of
#: them may have been stopped or removed, or have waited too long.
SWEEP_INTERVAL = 5.0

#: Seconds that a process waits before it fails runs of a type that no process
#: declares: after a common start, others may not have recorded theirs.
WATCH = 300.0


class Unblocker:
    """The waiting runs in the lanes whose home is the process *own*.

    *backlog* and *running* are its runs in memory, *admission* knows whether
    the database is a copy.  Runs that fail are noted in *troubles*.
    *make_sorter* returns the `Sorter` of a connection.
    """

    def __init__(self, own, backlog, running, admission, troubles,
                 make_sorter):
        self._own = own
        self._backlog = backlog
        self._running = running
        self._admission = admission
        self._troubles = troubles
        self._make_sorter = make_sorter
        self._announce = partial(announce, troubles=troubles)
        self._sweep_at = 0.0   # monotonic
        self._swept = {}       # (place, key) -> order looked at last
        self._unknown = {}     # type name -> monotonic time first seen so

    # Runs that may begin

    def turn(self, connection):
        """Bring back runs that may begin; return whether to look again.

        A lost run needs a further turn, which rescues it.
        """
        if not self._own.threads:
            return False
        backlog = self._backlog
        if backlog.has_ended or backlog.parkedTypes():
            self._find_wanted_types(connection)
        looks = BATCH
        is_lost = False
        with ZopeTransaction():
            sorter = self._make_sorter(connection)
            for key, lanes in self._ready(connection).items():
                looked, lost = self._take(sorter, key, lanes, looks)
                looks -= looked
                is_lost |= lost
        self._try_limited()
        return is_lost or looks <= 0

    def _find_wanted_types(self, connection):
        """Find the limited types of which other homes have waiting runs."""
        with ZopeTransaction():
            self._backlog.setWanted(
                key[1]
                for registry in getDirectory(connection).listRegistries()
                for lane in registry.lanes.values()
                if lane.bookmark.home != self._own.id
                for key in lane.waiting.trees if key[0] == LIMIT)

    def _ready(self, connection):
        """Return {key: [(place, lane)]} of the runs that may begin."""
        ready = {}
        for place, lane in ownLanes(
                    self._own, self._backlog, connection):
            registry = connection.get(place[0])
            for key in lane.waiting.trees:
                if self._may_begin(registry, key):
                    ready.setdefault(key, []).append((place, lane))
        return ready

    def _may_begin(self, registry, key):
        kind, name = key
        return (kind in (DUE, LIMIT)
                or kind == PAUSE and findPause(registry, name) is None
                or kind == KEPT and not isTypeKept(registry, name)
                or kind == TYPE and self._own.begins(name))

    def _take(self, sorter, key, lanes, most):
        """Bring back at most *most* runs that wait for *key* in *lanes*.

        Return (number of runs looked at, whether one is lost).
        """
        backlog = self._backlog
        room = min(most, backlog.room(key))
        if room <= 0:
            return 0, False
        looked, is_lost, is_more = 0, False, False
        candidates = heapq.merge(
            *[self._candidates(place, lane, key) for place, lane in lanes],
            key=itemgetter(0))
        for _, place, lane, serial in candidates:
            if backlog.isKnown(place, serial):
                continue
            if looked >= room:
                is_more = True
                break
            looked += 1
            is_lost |= self._settle(sorter, place, lane, serial, key)
        backlog.setBeyond(key, is_more)
        return looked, is_lost

    def _candidates(self, place, lane, key):
        """Yield (order, place, lane, serial), the most urgent and old first.
        """
        if key == FOR_TIME:
            for serial in lane.waiting.upTo(clock.now()):
                yield (0, 0.0), place, lane, serial
            return
        for order, serial in lane.waiting.serials(key):
            born = 0.0
            with self._troubles.guard(
                    BROKEN_RUN, formatId(place[1], serial), place[0],
                    with_transient=False):
                run = lane.births.get(serial)
                born = run.created_at if run is not None else 0.0
            yield (urgencyOf(order), born), place, lane, serial

    def _settle(self, sorter, place, lane, serial, key):
        """Settle a run that has an entry; return whether it is lost."""
        ticket, what = sorter.sort(place, serial, lane.births)
        is_lost = what == LOST
        if is_lost:
            what = AWAY
        elif what == READY and key[0] == LIMIT:
            run = lane.births.get(serial)
            if run.state == PENDING and queryWorkerType(
                    run.type).max_running is not None:
                what = limitOf(run)   # it waits for its turn
        self._backlog.settle(ticket, what, has_entry=True)
        return is_lost

    def _try_limited(self):
        """Let one run of each limited type try to begin, if there is room."""
        backlog = self._backlog
        for name in backlog.parkedTypes():
            worker_type = queryWorkerType(name)
            if worker_type is None or self._running.mayRun(worker_type, None):
                backlog.unpark(name)

    # Runs that cannot begin

    def sweep(self, connection):
        """Look at a batch of runs that cannot begin; fail overdue ones.

        Runs are overdue if no process has declared their type for the grace
        period.  Return whether to look at the next batch at once.
        """
        now = time.monotonic()
        if (now < self._sweep_at or not self._own.threads
                or self._admission.copied is not None):
            return False
        self._sweep_at = now + SWEEP_INTERVAL
        overdue = self._find_overdue(connection)
        failing, is_more = [], False
        with ZopeTransaction():
            sorter = self._make_sorter(connection)
            for place, lane in ownLanes(
                    self._own, self._backlog, connection):
                registry = connection.get(place[0])
                for key in list(lane.waiting.trees):
                    if not self._may_begin(registry, key):
                        since = (overdue.get(key[1]) if key[0] == TYPE
                                 and findPause(registry, key[1]) is None
                                 else None)
                        is_more |= self._sweep(
                            sorter, place, lane, key, since, failing)
        done = self._troubles.doEach(
            BROKEN_RUN, [(formatId(place[1], serial), place[0])
                         for place, serial in failing],
            lambda *item: self._fail(connection, *item),
            self._own.note('undeclared types'))
        failed = set(done)
        for place, serial in failing:
            if (formatId(place[1], serial), place[0]) in failed:
                self._backlog.drop(place, serial)
        if is_more:
            self._sweep_at = now
        return is_more

    def _sweep(self, sorter, place, lane, key, since, failing):
        """Look at the next batch of the runs that wait for *key* in a lane.

        *since* is the time since when their type is unknown, or None.  Append
        (place, serial) of overdue runs to *failing*.  Return whether to look
        at the next batch at once.
        """
        backlog = self._backlog
        looks = found = 0
        swept = place, key
        after = self._swept.pop(swept, None)
        for order, serial in lane.waiting.serials(key, after):
            looks += 1
            if looks > BATCH:
                return found > BATCH // 2
            self._swept[swept] = order
            if backlog.isKnown(place, serial):
                continue
            ticket, what = sorter.sort(place, serial, lane.births)
            if what == key:
                if since is None or not self._is_over(
                        lane.births.get(serial), since):
                    continue
                failing.append((place, serial))
            else:
                backlog.settle(
                    ticket, AWAY if what == LOST else what, has_entry=True)
            found += 1
        self._swept.pop(swept, None)
        return False

    def _is_over(self, run, since):
        since = max(since, run.created_at, run.due_at or 0.0)
        return clock.now() - since >= self._own.settings.grace

    # Types that no process declares

    def _find_overdue(self, connection):
        """Return {type name: time} of types undeclared for the grace period.

        The time is the one since when no process declares the type.
        """
        own = self._own
        with ZopeTransaction(note=own.note('types')):
            directory = getDirectory(connection)
            names = tuple(sorted(
                name for name, _ in getUtilitiesFor(IWorkerType)))
            record = directory.processes.get(own.id)
            begun = (None if own.settings.types is None
                     else tuple(filter(own.begins, names)))
            if record is not None and (names, begun) != (
                    record.declared.types, record.declared.begun):
                record.declared.types, record.declared.begun = names, begun
            known = {name for record in directory.processes.values()
                     for name in record.declared.types or ()}
            unknown = {
                key[1] for registry in directory.listRegistries()
                for lane in registry.lanes.values()
                for key in lane.waiting.trees
                if key[0] == TYPE and key[1] not in known}
            for name in list(directory.unknown):
                if name not in unknown:
                    del directory.unknown[name]
            for name in unknown.difference(directory.unknown):
                directory.unknown[name] = clock.now()
            since = {name: directory.unknown[name] for name in unknown}
        now = time.monotonic()
        self._unknown = {name: self._unknown.get(name, now)
                         for name in unknown}
        grace = own.settings.grace
        return {name: since[name] for name, seen in self._unknown.items()
                if clock.now() - since[name] >= grace
                and now - seen >= min(grace, WATCH)}

    def _fail(self, connection, run_id, oid):
        """Fail a run whose type no process declares any more."""
        registry = findRegistry(connection, oid)
        run = registry and registry.findRun(run_id)
        if run is None or run.state != PENDING:
            return
        registry.finish(
            run, FAILED, RunFailedEvent, self._announce,
            error=('UnknownWorkerType', 'worker %r: expected a declared '
                   'worker type, got none in any process; declare it with '
                   '<background:worker name=… /> and start the run anew'
                   % run.type))
