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

from cipher.background import clock
from cipher.background import process
from cipher.background.census import Census
from cipher.background.chores import Chores
from cipher.background.comeback import Comeback
from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.homes import Homes
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import RunInterruptedEvent
from cipher.background.interfaces import RuntimeRefused
from cipher.background.pool import getPool
from cipher.background.pruner import Pruner
from cipher.background.recording import writeInterruption
from cipher.background.rescuer import Rescuer
from cipher.background.spill import Spill
from cipher.background.spill import ownLanes
from cipher.background.spill import writePosition
from cipher.background.stops import Stops
from cipher.background.taker import Taker


log = logging.getLogger(__name__)

#: Seconds.  What lives shorter than this is not told to other processes.
LIVE_AFTER = 1.0


class Keeper:
    """Keeps the records of one runtime."""

    def __init__(self, runtime):
        self._runtime = runtime
        self._is_recorded = False
        self._told_live = {}    # what LiveRuns says; None: not known
        self._census = Census(runtime)
        self._rescuer = Rescuer(runtime, self._census)
        self._homes = Homes(runtime, self._tell)
        self._spill = Spill(runtime)
        self._comeback = Comeback(runtime)
        self._taker = Taker(runtime)
        self._stops = Stops(runtime)
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
                known = {oid for oid, _ in self._runtime.tickets.lanes()}
                is_news = any(
                    r._p_oid not in known
                    or getPool(self._runtime.db, r._p_oid).ran_dry
                    for r in directory.listRegistries())
            self._keep_record(connection)
            is_more = False
            if self._runtime.threads and (with_adoption or is_news):
                self._rescuer.bury(connection)
                self._homes.turn(connection)
                self._runtime.looker.again()
            is_more |= self._runtime.looker.look(at_all=True)
            is_more |= self._rescuer.turn(connection)
            self._rescuer.rescueUnrecorded(connection)
            is_more |= self._spill.turn(connection)
            if self._runtime.threads:
                is_more |= self._comeback.turn(connection)
                is_more |= self._comeback.sweep(connection)
                is_more |= self._taker.turn(connection)
            self._stops.turn(connection)
            if self._runtime.threads and self._runtime.is_taking:
                self._chores.turn(connection)
                is_more |= self._pruner.turn(connection)
            return is_more

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
            self._told_live = live
        self._census.noteBeat()

    def tellLive(self):
        """Tell what is live, when that is news."""
        live = self._live()
        if not self._is_recorded or live == self._told_live:
            return
        with ZodbConnection(self._runtime.db) as connection:
            with ZopeTransaction(note=self._runtime.note('live runs')):
                record = self._own_record(connection)
                if record is None:
                    return
                self._write_live(record, live)
        self._told_live = live

    def _tell(self, connection):
        """Tell all that is live, in the open transaction."""
        self._told_live = None
        record = self._own_record(connection)
        if record is None:
            raise RuntimeRefused('process %s was taken for dead'
                                 % self._runtime.name)
        self._write_live(record, self._live(after=0.0))

    def _own_record(self, connection):
        """Return our record; None when others took us for dead."""
        return process.getDirectory(connection).processes.get(
            self._runtime.id)

    def _live(self, after=None):
        limit = clock.now() - (LIVE_AFTER if after is None else after)
        return {live.key: live.tell() for live in self._runtime.allLive()
                if not live.is_abandoned and live.started_at <= limit}

    def _write_live(self, record, live):
        if record.live.runs != live:
            record.live.runs = live

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
                self._give_back(connection)
                for place, lane in ownLanes(runtime, connection):
                    writePosition(lane, *runtime.tickets.position(place))
                    lane.cursor.home = None
                processes = process.getDirectory(connection).processes
                if runtime.id in processes:
                    del processes[runtime.id]

    def _give_back(self, connection):
        """Leave what was taken or claimed, and not begun, to others."""
        runtime = self._runtime
        runtime.tickets.givenBack()
        for oid, run_id in runtime.claims():
            try:
                registry = connection.get(oid)
                run = registry.findRun(run_id)
            except KeyError:
                continue   # the registry is gone
            if run is None or run.isFinished() or run.owner != runtime.id:
                continue
            writeInterruption(registry, run, must_not_rerun=False)

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
