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
"""What a runtime writes into its database, turn by turn.

Called by the control thread only.  Each step is one short transaction; one
that conflicts is left to the next turn.
"""
import logging
import time

from zope.event import notify

from cipher.background import clock
from cipher.background import process
from cipher.background.contextmanagers import ZodbConnection
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
from cipher.background.lane import Lane
from cipher.background.lifecycle import afterInterruption
from cipher.background.lifecycle import isSilent
from cipher.background.pool import getPool
from cipher.background.recording import writeInterruption
from cipher.background.run import StopRequest


log = logging.getLogger(__name__)

#: Lanes beyond one for each thread: as many transactions of this process may
#: start runs at a time without a conflict.
SPARE_LANES = 4

#: Runs are rescued at most so many in one commit.
RESCUE_BATCH = 100

#: Delayed runs of one lane are written at most so many in one commit.
DUE_BATCH = 500

#: Seconds.  What lives shorter than this is not told to other processes.
LIVE_AFTER = 1.0


class Keeper:
    """Keeps the records of one runtime."""

    def __init__(self, runtime, is_exclusive):
        self._runtime = runtime
        self._is_exclusive = is_exclusive   # no other process has the database
        self._is_recorded = False
        self._beats = {}        # process id -> (count, monotonic time seen)
        self._told_live = {}    # what LiveRuns says
        self._orphans = set()   # (oid, run id) that dead processes worked on

    # Turns

    def turn(self, with_adoption):
        """Look at the database: record, lanes, what waits, stop requests.

        Return whether to look again at once.
        """
        with ZodbConnection(self._runtime.db) as connection:
            with ZopeTransaction():
                directory = process.getDirectory(connection)
                if directory is None:
                    return False   # no registry yet: nothing is written
                registries = directory.listRegistries()
                known = {key[0] for key in self._runtime.backlog.lanes()}
                is_news = any(r._p_oid not in known for r in registries)
                is_dry = any(getPool(self._runtime.db, r._p_oid).ran_dry
                             for r in registries)
            if not self._is_recorded:
                self._record(connection)
            if self._runtime.threads and (
                    with_adoption or is_news or is_dry):
                self._adopt(connection)
            is_unfinished = self._scan(connection)
            self._scan_due(connection)
            self._write_due(connection)
            self._read_stops(connection)
            return is_unfinished

    def _note(self, what):
        return 'background process %s: %s' % (self._runtime.name, what)

    def _record(self, connection):
        runtime = self._runtime
        pid = runtime.pid
        with ZopeTransaction(note=self._note('begins')):
            process.getDirectory(connection).processes[runtime.id] = (
                process.ProcessRecord(
                    runtime.id, runtime.host, pid, process.machineId(),
                    process.pidStarted(pid), runtime.threads,
                    runtime.settings.lease, clock.now()))
        self._is_recorded = True

    # Beat

    def beat(self):
        """Tell the other processes that this one lives, and with what."""
        if not self._is_recorded:
            return
        with ZodbConnection(self._runtime.db) as connection:
            live = self._live()
            with ZopeTransaction(note=self._note('beat')):
                record = self._own_record(connection)
                record.beat.count += 1
                record.beat.beat_at = clock.now()
                self._write_live(record, live)
                self._write_cursors(connection)
            self._told_live = live

    def tellLive(self):
        """Tell what is live, when that is news."""
        live = self._live()
        if live == self._told_live or not self._is_recorded:
            return
        with ZodbConnection(self._runtime.db) as connection:
            with ZopeTransaction(note=self._note('live runs')):
                self._write_live(self._own_record(connection), live)
                self._write_cursors(connection)
        self._told_live = live

    def _own_record(self, connection):
        directory = process.getDirectory(connection)
        record = directory.processes.get(self._runtime.id)
        if record is None:
            # Others took this process for dead: a paused machine.
            self._is_recorded = False
            self._runtime.lostLease()
            self._record(connection)
            record = directory.processes[self._runtime.id]
        return record

    def _live(self):
        limit = clock.now() - LIVE_AFTER
        return {live.key: (live.started_at, live.progress)
                for live in self._runtime.allLive()
                if live.started_at <= limit}

    def _write_live(self, record, live):
        if record.live.runs != live:
            record.live.runs = live

    def _write_cursors(self, connection):
        backlog = self._runtime.backlog
        for oid, number in backlog.lanes():
            lane = self._lane(connection, oid, number)
            if lane is None:
                continue
            position = backlog.position(oid, number)
            if lane.cursor.position != position:
                lane.cursor.position = position

    def _lane(self, connection, oid, number):
        """Return that lane; None, and forget it, when its registry is gone.
        """
        try:
            lane = connection.get(oid).lanes[number]
            lane.births._p_activate()
            lane.cursor._p_activate()
            return lane
        except KeyError:
            self._runtime.backlog.dropLane(oid, number)
            return None

    # Adoption of lanes, rescue of runs

    def _dead(self, directory):
        """Return the records of the processes that are dead."""
        now = time.monotonic()
        dead = []
        for record in directory.processes.values():
            if record.id == self._runtime.id:
                continue
            count = record.beat.count
            seen_count, seen_at = self._beats.get(record.id, (None, now))
            if count != seen_count:
                seen_at = now
            self._beats[record.id] = count, seen_at
            if (self._is_exclusive or process.isKnownDead(record)
                    or isSilent(now - seen_at, record.lease)):
                dead.append(record)
        return dead

    def _adopt(self, connection):
        runtime = self._runtime
        adopted = []   # arguments of Backlog.addLane
        own = {}       # registry oid -> lane numbers
        with ZopeTransaction(note=self._note('lanes')):
            directory = process.getDirectory(connection)
            dead = self._dead(directory)
            for record in dead:
                # Fails when the process beats after all.
                connection.readCurrent(record.beat)
                self._orphans.update(record.live.runs)
                del directory.processes[record.id]
            alive = set(directory.processes)
            for registry in directory.listRegistries():
                own[registry._p_oid] = self._adopt_lanes(
                    registry, alive, adopted)
        known = set(runtime.backlog.lanes())
        for lane in adopted:
            if lane[:2] not in known:
                runtime.backlog.addLane(*lane)
        for oid, numbers in own.items():
            getPool(runtime.db, oid).setOwn(numbers)
        for record in dead:
            log.warning('Process %s (%s) is dead; its work is taken over',
                        record.name, record.id)

    def _adopt_lanes(self, registry, alive, adopted):
        runtime = self._runtime
        own = []
        for lane in registry.lanes.values():
            owner = lane.cursor.owner
            if owner not in alive:
                lane.cursor.owner = runtime.id
                adopted.append((
                    registry._p_oid, lane.number, lane.cursor.position,
                    lane.births.next_serial, owner is not None))
            if lane.cursor.owner == runtime.id and not lane.is_guest:
                own.append(lane.number)
        wanted = runtime.threads + SPARE_LANES
        if getPool(runtime.db, registry._p_oid).ran_dry:
            wanted = max(wanted, len(own) + SPARE_LANES)
        while len(own) < wanted:
            lane = Lane(registry.lanes.maxKey() + 1)
            lane.cursor.owner = runtime.id
            registry.lanes[lane.number] = lane
            own.append(lane.number)
            adopted.append((registry._p_oid, lane.number, 1, 1, False))
        return own

    def _scan(self, connection):
        """Find what waits in the lanes of this process; submit it."""
        runtime = self._runtime
        backlog = runtime.backlog
        backlog.is_behind = False
        tickets = []
        lost = []
        with ZopeTransaction():
            for oid, number in backlog.lanes():
                lane = self._lane(connection, oid, number)
                if lane is None:
                    continue
                births = lane.births
                for serial in backlog.toScan(oid, number, births.next_serial):
                    run = births.get(serial)
                    state = run and run.state
                    if state == RUNNING and run.owner != runtime.id or (
                            state == PENDING
                            and (oid, run.id) in self._orphans):
                        lost.append((oid, number, serial))
                        break   # first its rescue, then the rest
                    ticket = backlog.scanned(
                        oid, number, serial, state in (PENDING, RUNNING),
                        run.priority if run is not None else 0)
                    if ticket is not None and state == PENDING:
                        tickets.append((ticket, run.due_at))
        for ticket, due_at in tickets:
            runtime.dispatcher.submit(ticket, due_at)
        if lost:
            self._rescue(connection, lost[:RESCUE_BATCH])
        return bool(lost)

    def _scan_due(self, connection):
        """Find whose time has come; submit it."""
        runtime = self._runtime
        backlog = runtime.backlog
        with ZopeTransaction():
            for oid, number in backlog.lanes():
                lane = self._lane(connection, oid, number)
                if lane is None:
                    continue
                for key, serial in lane.due.upTo(clock.now()):
                    if backlog.isKnown(oid, number, serial):
                        continue
                    run = lane.births.get(serial)
                    ticket = backlog.foundDue(
                        oid, number, key, serial, run.priority if run else 0)
                    if ticket is None:
                        break   # no room
                    runtime.dispatcher.submit(ticket)

    def _write_due(self, connection):
        """Write what waits for long into the database, and forget the old."""
        backlog = self._runtime.backlog
        written = []
        with ZopeTransaction(note=self._note('due runs')):
            for oid, number in backlog.lanes():
                new, old = backlog.dueChanges(oid, number, DUE_BATCH)
                if not (new or old):
                    continue
                lane = self._lane(connection, oid, number)
                if lane is None:
                    continue
                for key in old:
                    lane.due.remove(key)
                for serial, due_at in new:
                    lane.due.add(due_at, serial)
                written.append((oid, number, new, old))
        for changes in written:
            backlog.dueWritten(*changes)

    def _rescue(self, connection, lost):
        with ZopeTransaction(note=self._note('rescue')):
            for oid, number, serial in lost:
                registry = connection.get(oid)
                run = registry.getRun(number, serial)
                self._rescue_run(registry, run)
        for oid, number, serial in lost:
            self._orphans.discard((oid, '%d-%d' % (number, serial)))

    def _rescue_run(self, registry, run):
        count = run.interruptions + 1
        stop = registry.stops.get(run.id)
        state = afterInterruption(run.must_not_rerun, count, stop is not None)
        log.warning('Run %s: its process %s ended while it ran; now %s',
                    run.id, process.processName(run.owner), state)
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

    # Stop requests

    def _read_stops(self, connection):
        runtime = self._runtime
        with ZopeTransaction(note=self._note('stop requests')):
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

    # The end

    def leave(self):
        """Write that this process ends in good order.

        What still is live is given up: whoever works on it has lost it.
        """
        if not self._is_recorded:
            return
        runtime = self._runtime
        with ZodbConnection(runtime.db) as connection:
            with ZopeTransaction(note=self._note('ends')):
                for live in runtime.allLive():
                    live.is_abandoned = True
                    self._give_up(connection, live)
                self._write_cursors(connection)
                for oid, number in runtime.backlog.lanes():
                    lane = self._lane(connection, oid, number)
                    if lane is not None:
                        lane.cursor.owner = None
                processes = process.getDirectory(connection).processes
                if runtime.id in processes:
                    del processes[runtime.id]

    def _give_up(self, connection, live):
        try:
            registry = connection.get(live.registry_oid)
            run = registry.getRun(live.lane, live.serial)
        except KeyError:
            return   # the registry is gone
        if run is None or run.isFinished():
            return
        log.warning('Run %s: it works longer than the drain; interrupted',
                    run.id)
        stop = registry.stops.get(run.id)
        if stop is not None:
            registry.finish(run, INTERRUPTED, RunInterruptedEvent,
                            stop_request=stop)
        else:
            writeInterruption(registry, run, live.must_not_rerun)
