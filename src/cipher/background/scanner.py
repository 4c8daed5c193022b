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
from cipher.background.backlog import eachLane
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import RunStoppedEvent
from cipher.background.live import Ticket
from cipher.background.offers import Offers
from cipher.background.rescuer import Rescuer
from cipher.background.run import StopRequest
from cipher.background.shelves import Shelves


log = logging.getLogger(__name__)

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

    def turn(self, connection):
        """Look once; return whether to look again at once."""
        is_unfinished = self._scan(connection)
        is_unfinished |= self._scan_due(connection)
        is_unfinished |= self._shelves.write(connection)
        if self._runtime.threads:
            is_unfinished |= self._shelves.comeBack(connection)
            overdue = self._offers.turn(connection)
            is_unfinished |= self._shelves.sweep(connection, overdue)
        self._read_stops(connection)
        self._look_at_live(connection)
        return is_unfinished

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
                    run = births.get(serial)
                    if others.hold(oid, run):
                        # A hand-made thread's, perhaps of a process that
                        # has no lanes, or of one that had this lane.
                        backlog.passed(oid, number, serial)
                        if run.owner != runtime.id:
                            backlog.elsewhere.add(Ticket(oid, number, serial))
                        continue
                    if self._rescuer.isLost(connection, oid, number, run):
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
        return self._rescuer.rescue(connection, lost)

    def lookAtForeign(self, connection):
        """Look what became of runs in our lanes that others carry out."""
        executor = self._runtime.executor
        for ticket in list(self._runtime.backlog.elsewhere):
            with ZopeTransaction():
                run = _find(connection, ticket)
                holders = self._rescuer.holders(connection)
                if holders.hold(ticket.registry_oid, run):
                    continue
                is_lost = run is not None and (
                    run.state == RUNNING or not run.isFinished()
                    and (ticket.registry_oid, run.id) in self.orphans)
                if not is_lost and run is not None and (
                        run.state == PENDING
                        and executor.isUnderway(ticket, run)):
                    continue
            if is_lost:
                self._rescuer.rescue(connection, [ticket[:3]])
            self._runtime.backlog.elsewhere.discard(ticket)
            executor.returned(ticket, run)
            self._resume(ticket, run)

    def lookAtUnrecorded(self, connection, tickets):
        """Rescue runs of this process whose end could not be written."""
        for ticket in list(tickets):
            with ZopeTransaction():
                run = _find(connection, ticket)
                is_lost = run is not None and not run.isFinished()
            if is_lost:
                self._rescuer.rescue(connection, [ticket[:3]])
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
                    run = lane.births.get(serial)
                    if others.hold(oid, run):
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

    # Stop requests

    def _read_stops(self, connection):
        runtime = self._runtime
        with ZopeTransaction(note=self._runtime.note('stop requests')):
            mine = set(runtime.backlog.lanes())
            others = self._rescuer.holders(connection)
            for oid in {oid for oid, _ in mine} | runtime.liveRegistries():
                try:
                    registry = connection.get(oid)
                    requests = list(registry.stops.items())
                except KeyError:
                    continue   # the registry is gone
                for run_id, request in requests:
                    self._read_stop(registry, run_id, request, mine,
                                    others)

    def _read_stop(self, registry, run_id, request, mine, others):
        live = self._runtime.findLive(registry._p_oid, run_id)
        if live is not None:
            if live.stop is None:
                live.requestStop(StopRequest(*request))
            return
        run = registry.findRun(run_id)
        if run is None or run.isFinished():
            del registry.stops[run_id]
        elif (run.state == PENDING and (registry._p_oid, run.lane) in mine
              and not others.hold(registry._p_oid, run)):
            registry.finish(run, STOPPED, RunStoppedEvent,
                            stop_request=request)
            del registry.stops[run_id]

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
        with ZopeTransaction():   # which sees all that those saw
            for live in lives:
                run = _find(connection, live.ticket)
                if run is not None and run.owner != runtime.id and (
                        run.owner is not None or run.isFinished()):
                    log.info('Run %s: it was taken over or ended by another '
                             'process', live.run_id)
                    live.abandon()


def _rank(run):
    return (0, 0.0) if run is None else (run.priority, run.created_at)


def _find(connection, ticket):
    try:
        return connection.get(ticket.registry_oid).getRun(
            ticket.lane, ticket.serial)
    except KeyError:
        return None
