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

from cipher.background import clock
from cipher.background import process
from cipher.background.chores import Chores
from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import RunInterruptedEvent
from cipher.background.lane import Lane
from cipher.background.lifecycle import isSilent
from cipher.background.pool import getPool
from cipher.background.pruner import Pruner
from cipher.background.recording import writeInterruption
from cipher.background.scanner import Scanner
from cipher.background.scanner import eachLane


log = logging.getLogger(__name__)

#: Lanes beyond one for each thread: as many transactions of this process may
#: start runs at a time without a conflict.
SPARE_LANES = 4

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
        self._scanner = Scanner(runtime)
        self._chores = Chores(runtime)
        self._pruner = Pruner(runtime)

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
            is_more = self._scanner.turn(connection)
            if with_adoption:
                self._scanner.lookAtForeign(connection)
            if self._runtime.threads:
                self._chores.turn(connection)
                is_more |= self._pruner.turn(connection)
            return is_more

    def _record(self, connection):
        runtime = self._runtime
        pid = runtime.pid
        with ZopeTransaction(note=self._runtime.note('begins')):
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
            with ZopeTransaction(note=self._runtime.note('beat')):
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
            with ZopeTransaction(note=self._runtime.note('live runs')):
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
        for oid, number, lane in eachLane(backlog, connection):
            position = backlog.position(oid, number)
            if lane.cursor.position != position:
                lane.cursor.position = position

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
        with ZopeTransaction(note=self._runtime.note('lanes')):
            directory = process.getDirectory(connection)
            dead = self._dead(directory)
            for record in dead:
                # Fails when the process beats after all.
                connection.readCurrent(record.beat)
                self._scanner.orphans.update(record.live.runs)
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

    # The end

    def leave(self):
        """Write that this process ends in good order.

        What still is live is given up: whoever works on it has lost it.
        """
        if not self._is_recorded:
            return
        runtime = self._runtime
        with ZodbConnection(runtime.db) as connection:
            with ZopeTransaction(note=self._runtime.note('ends')):
                for live in runtime.allLive():
                    live.is_abandoned = True
                    self._give_up(connection, live)
                self._write_cursors(connection)
                for _, _, lane in eachLane(runtime.backlog, connection):
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
