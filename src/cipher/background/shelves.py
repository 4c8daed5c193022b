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
"""What waits in the database instead of memory, and how it comes back.

Called by the control thread only.  Each step is one short transaction; one
that conflicts is left to the next turn.
"""
import heapq
import time
from operator import itemgetter

from cipher.background import clock
from cipher.background.backlog import eachLane
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.cursor import serialOf
from cipher.background.cursor import shelfKey
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RunFailedEvent
from cipher.background.workertype import queryWorkerType


#: Entries of one lane are written, and runs failed, at most so many in one
#: commit; and runs are looked at, at most so many in one turn.
BATCH = 500

#: Seconds between two looks for runs that keep a cursor back.
STRAGGLERS_INTERVAL = 1.0

#: Seconds between two looks at a batch of what does not come back for now:
#: some of it was stopped, carried out elsewhere, or has waited in vain.
SWEEP_INTERVAL = 5.0


class Shelves:
    """The entries of the lanes of one runtime, in ``Due`` and ``Shelf``."""

    def __init__(self, runtime, rescuer):
        self._runtime = runtime
        self._rescuer = rescuer
        self._stragglers_at = 0.0   # monotonic; the next look
        self._sweep_at = 0.0
        self._swept = {}   # (oid, number, type name) -> key looked at last

    # Memory to database

    def write(self, connection):
        """Write what is to wait there, and forget what is finished.

        Return whether there is more.
        """
        backlog = self._runtime.backlog
        written, noted = [], []
        now = time.monotonic()
        with_stragglers = now >= self._stragglers_at
        with ZopeTransaction(note=self._runtime.note('what waits')):
            for oid, number, lane in eachLane(backlog, connection):
                new, old = backlog.changes(oid, number, BATCH)
                for _, entry in old:
                    _remove(lane, entry)
                for serial, entry in new:
                    _add(lane, serial, entry)
                if new or old:
                    written.append((oid, number, new, old))
                for serial in with_stragglers and backlog.stragglers(
                        oid, number, BATCH) or ():
                    run = lane.births.get(serial)
                    if run is not None:
                        entry = run.type, shelfKey(run.priority, serial)
                        _add(lane, serial, entry)
                        noted.append((oid, number, serial, entry))
        if with_stragglers:
            self._stragglers_at = now + STRAGGLERS_INTERVAL
        for changes in written:
            backlog.written(*changes)
        for note in noted:
            backlog.noted(*note)
        return any(len(new) >= BATCH or len(old) >= BATCH
                   for _, _, new, old in written)

    # Database to memory

    def comeBack(self, connection):
        """Take from the shelves what may begin now, as far as there is room.

        Return whether to look again at once.
        """
        runtime = self._runtime
        if not runtime.is_taking:
            return False
        looks = BATCH
        later, lost, came = [], [], []
        with ZopeTransaction():
            holders = self._rescuer.holders(connection)
            for worker_type, places in self._ready(connection).items():
                room = min(looks, runtime.dispatcher.room(worker_type))
                if room <= 0:
                    continue
                tickets = []
                candidates = heapq.merge(
                    *[self._candidates(*place, worker_type.name)
                      for place in places], key=itemgetter(0))
                for _, oid, number, entry, run in candidates:
                    if room <= 0:
                        break
                    room -= 1
                    looks -= 1
                    ticket = self._look(
                        connection, holders, oid, number, entry, run, lost)
                    if ticket is None:
                        continue
                    if clock.isLater(run.due_at):
                        later.append((ticket, run.due_at))
                    else:
                        tickets.append(ticket)
                came.append((worker_type, tickets, room > 0))
        for ticket, due_at in later:
            runtime.dispatcher.submit(ticket, due_at)
        for arguments in came:
            runtime.dispatcher.comeBack(*arguments)
        return self._rescuer.rescue(connection, lost) or looks <= 0

    def _ready(self, connection):
        """Return {worker type: [(oid, number, lane)]} of what may begin."""
        ready = {}
        for oid, number, lane, name in self.entries(connection):
            worker_type = queryWorkerType(name)
            if (worker_type is not None
                    and name not in connection.get(oid).pauses):
                ready.setdefault(worker_type, []).append((oid, number, lane))
        return ready

    def entries(self, connection):
        """Yield (oid, number, lane, type name) of what is on the shelves."""
        for oid, number, lane in eachLane(self._runtime.backlog, connection):
            if lane.cursor.shelf is not None:
                for name in lane.cursor.shelf.types:
                    yield oid, number, lane, name

    def _candidates(self, oid, number, lane, name, after=None):
        """Yield (order, oid, number, entry, run) of what is not known."""
        for key in lane.cursor.shelf.keys(name, after):
            serial = serialOf(key)
            if not self._runtime.backlog.isKnown(oid, number, serial):
                run = lane.births.get(serial)
                yield ((-run.priority, run.created_at) if run else (0, 0.0),
                       oid, number, (name, key), run)

    def _look(self, connection, holders, oid, number, entry, run, lost):
        """Return a ticket for *run* (or None) if it waits.

        Append to *lost* what is to be rescued.
        """
        backlog = self._runtime.backlog
        serial = serialOf(entry[1])
        if run is None or run.isFinished():
            backlog.foundOver(oid, number, serial, entry)
        elif holders.hold(oid, run):
            pass
        elif self._rescuer.isLost(connection, oid, number, run):
            lost.append((oid, number, serial))
        else:
            return backlog.found(oid, number, serial, entry, run.priority,
                                 run.created_at)
        return None

    # What does not come back

    def sweep(self, connection, overdue):
        """Look at a batch of what cannot begin here.

        *overdue* tells whose grace may be over: {(oid, number, type name):
        time since when nobody knows the type}.  Return whether to look again
        at once.
        """
        now = time.monotonic()
        if now < self._sweep_at:
            return False
        self._sweep_at = now + SWEEP_INTERVAL
        later, lost, failing = [], [], []
        is_more = False
        with ZopeTransaction():
            holders = self._rescuer.holders(connection)
            ready = {place[:2] + (worker_type.name,)
                     for worker_type, places in self._ready(connection).items()
                     for place in places}
            for oid, number, lane, name in self.entries(connection):
                place = oid, number, name
                if place in ready:
                    continue
                since = overdue.get(place)
                if name in connection.get(oid).pauses:
                    since = None   # it is to wait
                is_more |= self._sweep(connection, holders, place, lane,
                                       since, later, lost, failing)
        for ticket, due_at in later:
            self._runtime.dispatcher.submit(ticket, due_at)
        is_more |= self._rescuer.rescue(connection, lost)
        if failing:
            self._fail(connection, failing)
        if is_more:
            self._sweep_at = now
        return is_more

    def _sweep(self, connection, holders, place, lane, unknown_since,
               later, lost, failing):
        """Return whether to look at the next batch at once."""
        oid, number, name = place
        looks = found = 0
        for _, _, _, entry, run in self._candidates(
                oid, number, lane, name, self._swept.pop(place, None)):
            looks += 1
            if looks > BATCH:
                return found > BATCH // 2
            self._swept[place] = entry[1]
            if run is not None and run.state == PENDING and (
                    not clock.isLater(run.due_at)):
                if unknown_since is None or not self._is_over(
                        run, unknown_since):
                    continue
                failing.append((oid, number, entry))
            else:
                ticket = self._look(
                    connection, holders, oid, number, entry, run, lost)
                if ticket is not None:
                    later.append((ticket, run.due_at))
            found += 1
        self._swept.pop(place, None)
        return False

    def _is_over(self, run, unknown_since):
        since = max(unknown_since, run.created_at, run.due_at or 0.0)
        return clock.now() - since >= self._runtime.settings.grace

    def _fail(self, connection, failing):
        """Fail runs whose type nobody declares any more."""
        failed = []
        with ZopeTransaction(note=self._runtime.note('undeclared types')):
            for oid, number, entry in failing:
                name, key = entry
                registry = connection.get(oid)
                run = registry.getRun(number, serialOf(key))
                if run is not None and run.state == PENDING:
                    failed.append((oid, number, serialOf(key), entry))
                    registry.finish(
                        run, FAILED, RunFailedEvent,
                        error=('UnknownWorkerType', 'worker %r: expected a '
                               'declared worker type, got none in any '
                               'process; declare it with <background:worker '
                               'name=… /> and start the run anew' % name))
        for arguments in failed:
            self._runtime.backlog.foundOver(*arguments)


def _add(lane, serial, entry):
    if isinstance(entry, tuple):
        lane.cursor.getShelf().add(*entry)
    else:
        lane.due.add(entry, serial)


def _remove(lane, entry):
    if isinstance(entry, tuple):
        lane.cursor.getShelf().remove(*entry)
    else:
        lane.due.remove(entry)
