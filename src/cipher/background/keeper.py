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
from cipher.background.adoption import Adoption
from cipher.background.backlog import eachLane
from cipher.background.census import Census
from cipher.background.chores import Chores
from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.installation import rememberRegistries
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import RunInterruptedEvent
from cipher.background.interfaces import RuntimeRefused
from cipher.background.pruner import Pruner
from cipher.background.recording import writeInterruption
from cipher.background.scanner import Scanner


log = logging.getLogger(__name__)

#: Seconds.  What lives shorter than this is not told to other processes.
LIVE_AFTER = 1.0

#: Seconds between two looks for registries of imported and copied sites.
LOOK_INTERVAL = 600.0


class Keeper:
    """Keeps the records of one runtime."""

    def __init__(self, runtime):
        self._runtime = runtime
        self._is_recorded = False
        self._told_live = {}    # what LiveRuns says; None: not known
        self._told_load = None
        self._look_at = time.monotonic()   # for unknown registries
        self.unrecorded = set()   # tickets of runs that could not tell
        self._scanner = Scanner(runtime)
        self._census = Census(runtime)
        self._adoption = Adoption(
            runtime, self._census, self._scanner.orphans, self._tell)
        self._chores = Chores(runtime)
        self._pruner = Pruner(runtime)

    # Turns

    def turn(self, with_adoption):
        """Look at the database: record, lanes, what waits, stop requests.

        Return whether to look again at once.
        """
        with ZodbConnection(self._runtime.db) as connection:
            self._look_for_registries(connection)
            with ZopeTransaction():
                directory = process.getDirectory(connection)
                if directory is None:
                    return False   # no registry yet: nothing is written
                registries = directory.listRegistries()
                known = {key[0] for key in self._runtime.backlog.lanes()}
                is_news = any(r._p_oid not in known for r in registries)
            self._keep_record(connection)
            if self._runtime.threads and (with_adoption or is_news):
                self._adoption.turn(connection)
            is_more = self._scanner.turn(connection)
            if with_adoption:
                self._scanner.lookAtForeign(connection)
                self._scanner.lookAtUnrecorded(connection, self.unrecorded)
            if self._runtime.threads and self._runtime.is_taking:
                self._chores.turn(connection)
                is_more |= self._pruner.turn(connection)
            return is_more

    def _look_for_registries(self, connection):
        now = time.monotonic()
        if now >= self._look_at and self._runtime.threads:
            with ZopeTransaction(note=self._runtime.note('registries')):
                rememberRegistries(connection)
            self._look_at = now + LOOK_INTERVAL

    def _keep_record(self, connection):
        """Have a record that says what we are; obey what it asks for."""
        runtime = self._runtime
        asked = runtime.quiet_wish
        with ZopeTransaction(note=runtime.note('begins')):
            processes = process.getDirectory(connection).processes
            record = processes.get(runtime.id)
            was_lost = record is None and self._is_recorded
            if record is None:
                if was_lost:
                    runtime.takeNewId()
                record = self._make_record()
                processes[runtime.id] = record
            threads, lease = runtime.threads, runtime.settings.lease
            if (record.threads, record.lease) != (threads, lease):
                record.threads, record.lease = threads, lease
            wish = record.wish
            if runtime.is_draining and not wish.is_draining:
                wish.is_draining = True   # so that nobody gives it anything
            if asked not in (None, wish.is_quiet):
                wish.is_quiet = asked
                wish.asked = None
        if was_lost:
            # Others took this process for dead: a paused machine.
            runtime.lostLease()
            self._told_live = {}
            self._told_load = None
        self._is_recorded = True
        runtime.obey(asked, wish.is_quiet, wish.is_draining)

    def _make_record(self):
        runtime = self._runtime
        record = process.ProcessRecord(
            runtime.id, runtime.host, runtime.pid, process.machineId(),
            process.pidStarted(runtime.pid), runtime.threads,
            runtime.settings.lease, clock.now())
        record.wish.is_quiet = runtime.is_quiet
        return record

    # Beat

    def beat(self):
        """Tell the other processes that this one lives, and with what."""
        if not self._is_recorded:
            return
        with ZodbConnection(self._runtime.db) as connection:
            live = self._live()
            with ZopeTransaction(note=self._runtime.note('beat')):
                record = self._own_record(connection)
                if record is None:
                    return
                record.beat.count += 1
                record.beat.beat_at = clock.now()
                self._write_live(record, live)
                self._write_cursors(connection)
            self._told_live = live
        self._census.noteBeat()

    def tellLive(self):
        """Tell what is live, when that is news."""
        live = self._live()
        load = self._adoption.load
        if not self._is_recorded or (
                live == self._told_live
                and load == self._told_load):
            return
        with ZodbConnection(self._runtime.db) as connection:
            with ZopeTransaction(note=self._runtime.note('live runs')):
                record = self._own_record(connection)
                if record is None:
                    return
                self._write_live(record, live)
                if record.live.load != load:
                    record.live.load = load
                self._write_cursors(connection)
        self._told_live = live
        self._told_load = load

    def _tell(self, connection):
        """Tell what is live in the open transaction."""
        self._told_live = None
        record = self._own_record(connection)
        if record is None:
            raise RuntimeRefused('process %s was taken for dead'
                                 % self._runtime.name)
        self._write_live(record, self._live())

    def _own_record(self, connection):
        """Return our record; None when others took us for dead."""
        return process.getDirectory(connection).processes.get(
            self._runtime.id)

    def _live(self):
        now = clock.now()
        # What has begun in a lane of another process is told at once: else
        # that one would begin it as well.
        told = dict.fromkeys(
            self._runtime.backlog.given(), (now, None, '', None))
        for live in self._runtime.allLive():
            if live.is_abandoned:
                told.pop(live.key, None)
            elif live.key in told or live.started_at <= now - LIVE_AFTER:
                told[live.key] = live.tell()
        return told

    def _write_live(self, record, live):
        if record.live.runs != live:
            record.live.runs = live

    def _write_cursors(self, connection):
        for oid, number, lane in self._own_lanes(connection):
            position = self._runtime.backlog.position(oid, number)
            if lane.cursor.position != position:
                lane.cursor.position = position

    def _own_lanes(self, connection):
        """Yield (registry oid, number, lane) of what is ours to write.

        Others may have taken the rest, which we have not seen yet.
        """
        for each in eachLane(self._runtime.backlog, connection):
            if each[-1].cursor.owner == self._runtime.id:
                yield each

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
                for _, _, lane in self._own_lanes(connection):
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
        log.warning('Run %s: it works longer than the drain; given up',
                    run.id)
        stop = registry.stops.get(run.id)
        if stop is not None:
            registry.finish(run, INTERRUPTED, RunInterruptedEvent,
                            stop_request=stop)
        else:
            writeInterruption(registry, run, live.must_not_rerun)
