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
"""What waits in the database, and what happened to it: scan, rescue, stop.

Called by the control thread only.  Each step is one short transaction; one
that conflicts is left to the next turn.
"""
import logging

from cipher.background import clock
from cipher.background import process
from cipher.background.backlog import eachLane
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import BROKEN_RUN
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.live import Ticket
from cipher.background.offers import Offers
from cipher.background.rescuer import Rescuer
from cipher.background.run import formatId
from cipher.background.shelves import Shelves
from cipher.background.steps import Step


log = logging.getLogger(__name__)

_BROKEN = object()   # stands for a run whose record cannot be loaded

#: Seconds.  What is live for less is at its end before others can stop it.
LOOK_AFTER = 0.5


class Scanner:
    """Looks into the lanes that one runtime consumes."""

    def __init__(self, runtime):
        self._runtime = runtime
        self._rescuer = Rescuer(runtime)
        self._shelves = Shelves(runtime, self._rescuer)
        self._offers = Offers(runtime, self._shelves)
        # (oid, run id) that dead processes worked on
        self.orphans = self._rescuer.orphans

    def steps(self, often):
        """Return the `Step`s of each turn; some each *often* seconds only."""
        return [
            Step('scan', lambda c: self._scan(c)),
            Step('due runs', lambda c: self._scan_due(c)),
            Step('what waits', lambda c: self._shelves.write(c)),
            Step('shelves', self._come_back),
            Step('offers', self._offer),
            Step('lost runs', lambda c: self._look_at_live(c)),
            Step('runs elsewhere', lambda c: self.lookAtForeign(c), often)]

    def _come_back(self, connection):
        return self._runtime.threads and self._shelves.comeBack(connection)

    def _offer(self, connection):
        return self._runtime.threads and self._shelves.sweep(
            connection, self._offers.turn(connection))

    def _scan(self, connection):
        """Find what waits in the lanes of this process; submit it."""
        runtime = self._runtime
        backlog = runtime.backlog
        backlog.is_behind = False
        tickets = []
        lost = []
        with ZopeTransaction():
            others = self._rescuer.holders(connection)
            for oid, number, lane in eachLane(backlog, connection):
                births = lane.births
                for serial in backlog.toScan(oid, number, births.next_serial):
                    run = self._load(births, oid, number, serial)
                    if run is _BROKEN:
                        backlog.passed(oid, number, serial)
                        backlog.elsewhere.add(Ticket(oid, number, serial))
                        continue
                    if others.hold(oid, run):
                        # A hand-made thread's, perhaps of a process that
                        # has no lanes, or of one that had this lane.
                        backlog.passed(oid, number, serial)
                        if run.owner != runtime.id:
                            backlog.elsewhere.add(Ticket(oid, number, serial))
                        continue
                    if self._rescuer.isLost(connection, oid, number, run):
                        if self._rescuer.isResting(oid, run):
                            backlog.passed(oid, number, serial)
                            backlog.elsewhere.add(Ticket(oid, number, serial))
                            continue
                        lost.append((oid, number, serial))
                        break   # first its rescue, then the rest
                    ticket = backlog.scanned(
                        oid, number, serial,
                        run is not None and run.state == PENDING,
                        *_rank(run))
                    if ticket is not None:
                        tickets.append((ticket, run.due_at))
        for ticket, due_at in tickets:
            runtime.dispatcher.submit(ticket, due_at)
        # A run that cannot be rescued rests, and the next look goes by it.
        self._rescuer.rescue(connection, lost)
        return bool(lost)

    def _load(self, births, oid, number, serial):
        """Return the run, loaded, or None; `_BROKEN` if that fails."""
        key = BROKEN_RUN, formatId(number, serial), oid
        troubles = self._runtime.troubles
        if troubles.isResting(*key):
            return _BROKEN
        run = _BROKEN
        with troubles.guard(*key, with_transient=False):
            found = births.get(serial)
            if found is not None:
                found._p_activate()
            run = found
        return run

    def lookAtForeign(self, connection):
        """Look what became of runs in our lanes that others carry out.

        Or that could not be loaded.
        """
        troubles = self._runtime.troubles
        for ticket in list(self._runtime.backlog.elsewhere):
            key = BROKEN_RUN, ticket.run_id, ticket.registry_oid
            if not troubles.isResting(*key):
                with troubles.guard(*key, with_transient=False):
                    self._look_at_foreign(connection, ticket)

    def _look_at_foreign(self, connection, ticket):
        executor = self._runtime.executor
        with ZopeTransaction():
            run = _find(connection, ticket)
            holders = self._rescuer.holders(connection)
            if holders.hold(ticket.registry_oid, run):
                return
            is_lost = run is not None and (
                run.state == RUNNING or not run.isFinished()
                and (ticket.registry_oid, run.id) in self.orphans)
            if not is_lost and run is not None and (
                    run.state == PENDING
                    and executor.isUnderway(ticket, run)):
                return
        if is_lost and not self._rescuer.rescue(connection, [ticket[:3]]):
            return
        self._runtime.backlog.elsewhere.discard(ticket)
        executor.returned(ticket, run)
        self._resume(ticket, run)

    def lookAtUnrecorded(self, connection, tickets):
        """Rescue runs of this process whose end could not be written."""
        for ticket in list(tickets):
            with ZopeTransaction():
                run = _find(connection, ticket)
                is_lost = run is not None and not run.isFinished()
            if is_lost and not self._rescuer.rescue(
                    connection, [ticket[:3]]):
                continue
            tickets.discard(ticket)
            self._resume(ticket, run)

    def _resume(self, ticket, run):
        if run is not None and run.state == PENDING:
            self._runtime.dispatcher.again(
                ticket._replace(is_inherited=True), run.due_at)
        else:
            self._runtime.backlog.finished(ticket)

    def _scan_due(self, connection):
        """Find whose time has come; submit it.

        Return whether to look again at once.
        """
        runtime = self._runtime
        backlog = runtime.backlog
        lost = []
        with ZopeTransaction():
            others = self._rescuer.holders(connection)
            for oid, number, lane in eachLane(backlog, connection):
                for key, serial in lane.due.upTo(clock.now()):
                    if backlog.isKnown(oid, number, serial):
                        continue
                    run = self._load(lane.births, oid, number, serial)
                    if run is _BROKEN or others.hold(oid, run):
                        continue
                    if self._rescuer.isLost(connection, oid, number, run):
                        # Its process died before its beat told the cursor.
                        lost.append((oid, number, serial))
                        continue
                    ticket = backlog.found(
                        oid, number, serial, key, *_rank(run))
                    if ticket is None:
                        break   # no room
                    runtime.dispatcher.submit(ticket)
        return self._rescuer.rescue(connection, lost)

    def _look_at_live(self, connection):
        """Abandon what works here on a run that others ended or took.

        They could not tell: it is stopped as a pending one as long as they
        do not know that it runs.
        """
        runtime = self._runtime
        limit = clock.now() - LOOK_AFTER
        lives = [live for live in runtime.allLive()
                 if live.started_at <= limit and not live.is_abandoned]
        if not lives:
            return
        for live in lives:
            key = BROKEN_RUN, live.run_id, live.registry_oid
            # A transaction of its own, which sees all that those saw.
            with runtime.troubles.guard(
                    *key, with_transient=False), ZopeTransaction():
                run = _find(connection, live.ticket)
                if run is not None and run.owner != runtime.id and (
                        run.owner is not None or run.isFinished()):
                    log.info('Run %s: it was taken over or ended by another '
                             'process', live.run_id)
                    live.abandon()


def _rank(run):
    return (0, 0.0) if run is None else (run.priority, run.created_at)


def _find(connection, ticket):
    registry = process.findRegistry(connection, ticket.registry_oid)
    return registry and registry.getRun(ticket.lane, ticket.serial)
