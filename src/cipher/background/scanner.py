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

from zope.event import notify

from cipher.background import clock
from cipher.background import process
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import RunFailedEvent
from cipher.background.interfaces import RunInterruptedEvent
from cipher.background.interfaces import RunRequeuedEvent
from cipher.background.interfaces import RunStoppedEvent
from cipher.background.lifecycle import afterInterruption
from cipher.background.live import Ticket
from cipher.background.run import StopRequest


log = logging.getLogger(__name__)

#: Runs are rescued at most so many in one commit.
RESCUE_BATCH = 100

#: Delayed runs of one lane are written at most so many in one commit.
DUE_BATCH = 500


class Scanner:
    """Looks into the lanes that one runtime consumes."""

    def __init__(self, runtime):
        self._runtime = runtime
        self._foreign = set()  # tickets of runs that others carry out
        self.orphans = set()   # (oid, run id) that dead processes worked on

    def turn(self, connection):
        """Look once; return whether to look again at once."""
        is_unfinished = self._scan(connection)
        is_unfinished |= self._scan_due(connection)
        is_unfinished |= self._write_due(connection)
        self._read_stops(connection)
        return is_unfinished

    def _scan(self, connection):
        """Find what waits in the lanes of this process; submit it."""
        runtime = self._runtime
        backlog = runtime.backlog
        backlog.is_behind = False
        tickets = []
        lost = []
        with ZopeTransaction():
            alive = set(process.getDirectory(connection).processes)
            for oid, number, lane in eachLane(backlog, connection):
                births = lane.births
                for serial in backlog.toScan(oid, number, births.next_serial):
                    run = births.get(serial)
                    if _is_held(run, alive):
                        # A hand-made thread's, perhaps of a process that
                        # has no lanes.
                        backlog.passed(oid, number, serial)
                        if run.owner != runtime.id:
                            self._foreign.add(Ticket(oid, number, serial))
                        continue
                    if self._is_lost(connection, oid, number, run):
                        lost.append((oid, number, serial))
                        break   # first its rescue, then the rest
                    ticket = backlog.scanned(
                        oid, number, serial,
                        run is not None and run.state == PENDING,
                        run.priority if run is not None else 0)
                    if ticket is not None:
                        tickets.append((ticket, run.due_at))
        for ticket, due_at in tickets:
            runtime.dispatcher.submit(ticket, due_at)
        if lost:
            self._rescue(connection, lost[:RESCUE_BATCH])
        return bool(lost)

    def lookAtForeign(self, connection):
        """Look what became of runs in our lanes that others carry out."""
        runtime = self._runtime
        for ticket in list(self._foreign):
            with ZopeTransaction():
                run = _find(connection, ticket)
                if _is_held(run, process.getDirectory(connection).processes):
                    continue
                is_lost = run is not None and run.state == RUNNING
            if is_lost:
                self._rescue(connection, [ticket[:3]])
            self._foreign.discard(ticket)
            if run is not None and run.state == PENDING:
                runtime.dispatcher.again(
                    ticket._replace(is_inherited=True), run.due_at)
            else:
                runtime.backlog.finished(ticket)

    def _scan_due(self, connection):
        """Find whose time has come; submit it.

        Return whether to look again at once.
        """
        runtime = self._runtime
        backlog = runtime.backlog
        lost = []
        with ZopeTransaction():
            alive = set(process.getDirectory(connection).processes)
            for oid, number, lane in eachLane(backlog, connection):
                for key, serial in lane.due.upTo(clock.now()):
                    if backlog.isKnown(oid, number, serial):
                        continue
                    run = lane.births.get(serial)
                    if _is_held(run, alive):
                        continue
                    if self._is_lost(connection, oid, number, run):
                        # Its process died before its beat told the cursor.
                        lost.append((oid, number, serial))
                        continue
                    ticket = backlog.foundDue(
                        oid, number, key, serial, run.priority if run else 0)
                    if ticket is None:
                        break   # no room
                    runtime.dispatcher.submit(ticket)
        if lost:
            self._rescue(connection, lost[:RESCUE_BATCH])
        return bool(lost)

    def _write_due(self, connection):
        """Write what waits for long into the database, and forget the old.

        Return whether there is more.
        """
        backlog = self._runtime.backlog
        written = []
        with ZopeTransaction(note=self._runtime.note('due runs')):
            for oid, number, lane in eachLane(backlog, connection):
                new, old = backlog.dueChanges(oid, number, DUE_BATCH)
                if not (new or old):
                    continue
                for key in old:
                    lane.due.remove(key)
                for serial, due_at in new:
                    lane.due.add(due_at, serial)
                written.append((oid, number, new, old))
        for changes in written:
            backlog.dueWritten(*changes)
        return any(DUE_BATCH in (len(new), len(old))
                   for _, _, new, old in written)

    def _is_lost(self, connection, oid, number, run):
        """Return whether a dead process surely worked on *run* (or None).

        Nobody alive holds the run.  A pending one is lost when the process
        said that it works on it, or was asked to stop that.
        """
        if run is None or run.state != PENDING:
            return run is not None and run.state == RUNNING
        return (oid, run.id) in self.orphans or (
            self._runtime.backlog.isInherited(oid, number, run.serial)
            and run.id in connection.get(oid).stops)

    def _rescue(self, connection, lost):
        with ZopeTransaction(note=self._runtime.note('rescue')):
            for oid, number, serial in lost:
                registry = connection.get(oid)
                run = registry.getRun(number, serial)
                self._rescue_run(registry, run)
        for oid, number, serial in lost:
            self.orphans.discard((oid, '%d-%d' % (number, serial)))

    def _rescue_run(self, registry, run):
        count = run.interruptions + 1
        stop = registry.stops.get(run.id)
        state = afterInterruption(run.must_not_rerun, count, stop is not None)
        log.warning('Run %s: its process ended while it ran%s; now %s',
                    run.id, run.owner and ' (%s)' % process.processName(
                        run.owner) or '', state)
        if state == PENDING:
            run.putBack(interruptions=count)
            notify(RunRequeuedEvent(run, registry))
        elif state == FAILED:
            registry.finish(
                run, FAILED, RunFailedEvent, interruptions=count,
                error=('ProcessDied', 'its process ended %d times while it '
                       'ran' % count))
        else:
            registry.finish(run, INTERRUPTED, RunInterruptedEvent,
                            interruptions=count, stop_request=stop)
            if stop is not None:
                del registry.stops[run.id]

    # Stop requests

    def _read_stops(self, connection):
        runtime = self._runtime
        with ZopeTransaction(note=self._runtime.note('stop requests')):
            mine = set(runtime.backlog.lanes())
            for oid in {oid for oid, _ in mine} | runtime.liveRegistries():
                try:
                    registry = connection.get(oid)
                    requests = list(registry.stops.items())
                except KeyError:
                    continue   # the registry is gone
                for run_id, request in requests:
                    self._read_stop(registry, run_id, request, mine)

    def _read_stop(self, registry, run_id, request, mine):
        live = self._runtime.findLive(registry._p_oid, run_id)
        if live is not None:
            if live.stop is None:
                live.requestStop(StopRequest(*request))
            return
        run = registry.get(run_id)
        if run is None or run.isFinished():
            del registry.stops[run_id]
        elif run.state == PENDING and (registry._p_oid, run.lane) in mine:
            registry.finish(run, STOPPED, RunStoppedEvent,
                            stop_request=request)
            del registry.stops[run_id]


def _find(connection, ticket):
    try:
        return connection.get(ticket.registry_oid).getRun(
            ticket.lane, ticket.serial)
    except KeyError:
        return None


def _is_held(run, alive):
    """Return whether a process that is *alive* carries *run* (or None) out."""
    return run is not None and run.state == RUNNING and run.owner in alive


def eachLane(backlog, connection):
    """Yield (registry oid, number, lane) of what is consumed here.

    A lane whose registry is gone is forgotten.
    """
    for oid, number in backlog.lanes():
        try:
            lane = connection.get(oid).lanes[number]
            for part in (lane.births, lane.cursor, lane.due, lane.due.tree):
                part._p_activate()
        except KeyError:
            backlog.dropLane(oid, number)
        else:
            yield oid, number, lane
