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
"""The list of the steps, and those that keep the record of the process."""
import time

from ZODB.POSException import ConflictError

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.events import RunInterruptedEvent
from cipher.background.interfaces import DRAINED
from cipher.background.interfaces import FAILING_RESCUE
from cipher.background.interfaces import FAILING_STEP
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import NEWER_DATABASE
from cipher.background.interfaces import OLDER_PROCESS
from cipher.background.interfaces import SHUT_DOWN
from cipher.background.interfaces import RuntimeRefused
from cipher.background.registry.installation import rememberRegistries
from cipher.background.runtime.maintenance.caretaker import Caretaker
from cipher.background.runtime.maintenance.clockwatch import ClockWatch
from cipher.background.runtime.maintenance.hastening import Hastening
from cipher.background.runtime.maintenance.heartbeat import BEATS_PER_LEASE
from cipher.background.runtime.maintenance.homes import Homes
from cipher.background.runtime.maintenance.liveness import Liveness
from cipher.background.runtime.maintenance.pruner import Pruner
from cipher.background.runtime.maintenance.rescuer import Rescuer
from cipher.background.runtime.maintenance.scheduler import Scheduler
from cipher.background.runtime.maintenance.spill import Spill
from cipher.background.runtime.maintenance.spill import ownLanes
from cipher.background.runtime.maintenance.spill import writePosition
from cipher.background.runtime.maintenance.steps import Step
from cipher.background.runtime.maintenance.steps import Steps
from cipher.background.runtime.maintenance.stopping import StopRequests
from cipher.background.runtime.maintenance.taker import Taker
from cipher.background.runtime.maintenance.unblocking import Unblocker
from cipher.background.store import process
from cipher.background.store import structure
from cipher.background.store.evolve import Evolution
from cipher.background.store.lifecycle import backOff
from cipher.background.store.process import Trouble
from cipher.background.util import clock
from cipher.background.util.logs import getLogger
from cipher.background.work.outcome import keepInterrupted
from cipher.background.work.outcome import writeInterruption


log = getLogger(__name__)

#: Seconds.  Runs that are live for less are not reported to other processes:
#: most short jobs then need no report.
LIVE_AFTER = 1.0

#: Seconds between two looks for registries of imported and copied sites.  A
#: look loads each site, and imports are rare.
LOOK_INTERVAL = 600.0

#: Tries to write the end of the process if another process conflicts, as when
#: both end at the same time.
LEAVE_TRIES = 5

#: Seconds between two reports of live runs to other processes.  Pages show
#: logs and progress of other processes so much later at most.
REPORT_INTERVAL = 3.0


class Maintenance:
    """Calls the steps of one runtime and keeps its record.

    The thread of the heartbeat calls `beat`, and any thread `listTroubles`.
    """

    def __init__(self, runtime):
        self._runtime = runtime
        self._is_recorded = False
        self._left = set()      # keys of live runs in lanes that we left
        self._reported = {}     # live runs as recorded; None: not known
        self._look_at = 0.0     # monotonic; of the look for registries
        self._evolution = Evolution(runtime.id)
        self._newer = None      # (structure, since): others are newer than we
        self._liveness = Liveness(runtime.own, runtime.db)
        self._rescuer = Rescuer(runtime, self._liveness)
        self._homes = Homes(runtime, self._report_all)
        self._spill = Spill(runtime.own, runtime.backlog)
        self._hastening = Hastening(
            runtime.own, runtime.backlog, runtime.running,
            runtime.troubles)
        self._unblocker = Unblocker(runtime)
        self._taker = Taker(runtime)
        self._stops = StopRequests(
            runtime.own, runtime.backlog, runtime.running,
            runtime.troubles)
        self._scheduler = Scheduler(
            runtime.own, runtime.admission, runtime.troubles)
        self._pruner = Pruner(runtime)
        self.clock_watch = ClockWatch(runtime.db)
        self._caretaker = Caretaker(runtime, self._rescuer)
        self.steps = Steps(runtime, Step('record', self._keep_record), [
            Step('clock', self.clock_watch.look),
            Step('registries', self._look_for_registries),
            Step('evolve', self._evolve, self._often),
            Step('dead processes', self._remove_dead,
                 self._often),
            Step('homes', lambda c: self._homes.turn(c), self._often),
            Step('new runs', lambda c: runtime.poller.lookAtAll(c)),
            Step('runs elsewhere', lambda c: self._rescuer.turn(c)),
            Step('lost runs', lambda c: self._rescuer.abandonLost(c)),
            Step('cursors', lambda c: self._spill.turn(c)),
            Step('begin now', lambda c: self._hastening.turn(c)),
            Step('waiting runs', lambda c: self._unblocker.turn(c)),
            Step('overdue runs', lambda c: self._unblocker.sweep(c)),
            Step('taking', lambda c: self._taker.turn(c)),
            # This follows the steps that find the runs of dead processes.
            Step('stop requests', lambda c: self._stops.read(c)),
            Step('unrecorded runs',
                 lambda c: self._rescuer.rescueUnrecorded(c), self._often),
            Step('schedules', lambda c: self._scheduler.startSchedules(c)),
            Step('services', lambda c: self._scheduler.startServices(c)),
            Step('prune', self._prune),
            Step('live runs', self.reportLive, lambda: REPORT_INTERVAL)])

    def _beat_interval(self):
        return self._runtime.settings.lease / BEATS_PER_LEASE

    def _often(self):
        return min(self._beat_interval(), self._runtime.settings.poll)

    # Turns

    def turn(self, is_full=False):
        """Do the steps that are due, or all of them if *is_full*."""
        return self.steps.turn(is_full)

    def _look_for_registries(self, connection):
        """Add registries of imported and copied sites to the directory."""
        now = time.monotonic()
        if now >= self._look_at and self._runtime.threads:
            with ZopeTransaction(note=self._runtime.note('registries')):
                rememberRegistries(connection)
            self._look_at = now + LOOK_INTERVAL

    def _keep_record(self, connection):
        """Write the record of this process; apply the requests in it.

        Return False if there is no registry yet; then write nothing.
        """
        with ZopeTransaction():
            directory = process.getDirectory(connection)
        if directory is None:
            # An import may have brought one; the next turn finds it.
            self._look_for_registries(connection)
            return False
        with ZopeTransaction():
            is_newer = self._look_for_newer(directory)
            backlog = self._runtime.backlog
            known = {oid for oid, _ in backlog.lanes()}
            if backlog.takeUnknown() or any(
                    r._p_oid not in known
                    for r in directory.listRegistries()):
                self.steps.hasten('homes')
            is_known = self._runtime.id in directory.processes
        if not is_newer or is_known:
            # Live runs may end here before newer code changes the structure.
            self._write_record(connection)
        elif self._is_recorded:
            self._is_recorded = False
            self._runtime.lostLease()
        if is_newer and not self._runtime.is_quiet:
            self._runtime.quiet()
        return self._is_recorded

    def _evolve(self, connection):
        """Convert a batch of records that older code stored.

        Each turn converts one batch, so the other steps go on meanwhile.
        """
        before = set(self._evolution.older)
        is_more = self._evolution.turn(
            connection, self._runtime.note('evolve'))
        if set(self._evolution.older) != before:
            self._runtime.report()
        if is_more:
            self.steps.hasten('evolve')
        return is_more

    def listTroubles(self):
        """Return the list of `Trouble` of the stored structure.  Thread-safe.
        """
        found = [Trouble(OLDER_PROCESS, process_id, since, '')
                 for process_id, since
                 in list(self._evolution.older.items())]
        if self._newer is not None:
            number, since = self._newer
            found.insert(0, Trouble(NEWER_DATABASE, str(number), since, ''))
        return found

    def _look_for_newer(self, directory):
        """Return whether newer code has used the database; log it once."""
        newer = [record for record
                 in (directory, *directory.listAllRegistries())
                 if structure.isNewer(record)]
        if not newer:
            self._newer = None
        elif self._newer is None:
            self._newer = newer[0].structure_version, clock.now()
            log.error('Process %s: its release is older than the database: '
                      '%s has structure %d, this code knows %d; it begins '
                      'no new runs; start it again with the newer release',
                      self._runtime.name,
                      structure.describe(newer[0]), self._newer[0],
                      structure.VERSION)
            self._runtime.report()
        return bool(newer)

    def _remove_dead(self, connection):
        runtime = self._runtime
        if not runtime.threads:
            self._caretaker.turn(connection)
        elif runtime.is_taking:
            self._rescuer.removeDead(connection)

    def _prune(self, connection):
        runtime = self._runtime
        self.clock_watch.look()   # the clock may have jumped in this turn
        if not self.clock_watch.isSteady():
            return False
        if not runtime.threads:
            return self._caretaker.prune(connection)
        return runtime.is_taking and self._pruner.turn(connection)

    def _write_record(self, connection):
        runtime = self._runtime
        asked = runtime.admission.requested_quiet
        with ZopeTransaction(note=runtime.note('begins')):
            directory = process.getDirectory(connection)
            copied, reason = self._judge(directory)
            processes = directory.processes
            record = processes.get(runtime.id)
            was_lost = record is None and self._is_recorded
            if record is None:
                # Newer code looks at the processes before it raises the
                # number.  So it sees this process, or this process sees the
                # number.
                structure.checkVersion(directory)
                connection.readCurrent(directory)
                if was_lost:
                    runtime.own.takeNewId()
                record = self._make_record()
                processes[runtime.id] = record
            threads, lease = runtime.threads, runtime.settings.lease
            if (record.threads, record.lease) != (threads, lease):
                record.threads, record.lease = threads, lease
            if (record.deployment, record.copied) != (
                    runtime.deployment, copied and tuple(copied)):
                record.deployment = runtime.deployment
                record.copied = copied and tuple(copied)
            request = record.request
            if runtime.is_draining and not request.is_draining:
                request.is_draining = True   # so others give it no runs
                request.asked = None         # no person asked for it
            if asked not in (None, request.is_quiet):
                request.is_quiet = asked
                request.asked = None
        is_news = runtime.copied != copied
        runtime.admission.setCopied(copied, reason)
        if is_news and copied is None:
            self.steps.hasten()
        if was_lost:
            # Others took this process for dead, as after a pause of the
            # machine.
            runtime.lostLease()
            self._reported = {}
        if not self._is_recorded or was_lost:
            self._is_recorded = True
            runtime.report()
        if request.is_draining:
            runtime.admission.drain_asked = request.asked
        runtime.admission.applyRequest(
            asked, request.is_quiet, request.is_draining)

    def _judge(self, directory):
        """Find out whether the database is a copy.

        Return (`deployment.Copied`, reason), or (None, None) if it is not.
        If the origin is not recorded yet, record it.
        """
        origin = self._runtime.origin
        if directory.belonging is None:
            directory.belonging = process.Belonging()
        judged = origin.judge(directory.belonging)
        if judged is None:
            origin.settle(directory.belonging)
        return judged or (None, None)

    def _make_record(self):
        runtime = self._runtime
        record = process.ProcessRecord(
            runtime.id, runtime.own.host, runtime.pid, process.machineId(),
            process.pidStarted(runtime.pid), runtime.threads,
            runtime.settings.lease, clock.now())
        record.request.is_quiet = runtime.admission.is_asked_quiet
        return record

    # Reports to other processes

    def beat(self):
        """Write the heartbeat, with the troubles of this process.

        The thread of the heartbeat calls this.  Return False if the process
        has no record.
        """
        if not self._is_recorded:
            return False
        troubles = self._runtime.listTroubles()
        waiting = self._runtime.backlog.mostWaiting()
        with ZodbConnection(self._runtime.db) as connection:
            with ZopeTransaction(note=self._runtime.note('heartbeat')):
                record = self._own_record(connection)
                if record is None:
                    return False
                record.heartbeat.count += 1
                record.heartbeat.beat_at = clock.now()
                record.heartbeat.troubles = tuple(map(tuple, troubles))
                if record.heartbeat.waiting != waiting:
                    record.heartbeat.waiting = waiting
        self._liveness.noteBeat()
        return True

    def reportLive(self, connection):
        """Write the live runs into the record, if they changed."""
        live = self._live()
        if not self._is_recorded or live == self._reported:
            return
        with ZopeTransaction(note=self._runtime.note('live runs')):
            record = self._own_record(connection)
            if record is None:
                return
            self._write_live(record, live)
        self._reported = live

    def writeCursors(self, connection):
        """Write the cursors of our lanes that have changed."""
        if self._is_recorded:
            self._spill.write(connection)

    def _report_all(self, connection):
        """Write all live runs into the record, in the open transaction.

        Raise `RuntimeRefused` if others took this process for dead.
        """
        self._reported = None
        record = self._own_record(connection)
        if record is None:
            raise RuntimeRefused('process %s was taken for dead'
                                 % self._runtime.name)
        self._write_live(record, self._live(with_all=True))

    def _own_record(self, connection):
        """Return our record; None if others took this process for dead."""
        return process.getDirectory(connection).processes.get(
            self._runtime.id)

    def _live(self, with_all=False):
        limit = clock.now() - LIVE_AFTER
        lives = {live.key: live for live in self._runtime.allLive()
                 if not live.is_abandoned}
        if with_all:
            # They stay reported, however young, as their lane has been left.
            self._left = set(lives)
        self._left.intersection_update(lives)
        return {key: live.getReport() for key, live in lives.items()
                if live.started_at <= limit or key in self._left}

    def _write_live(self, record, live):
        if record.live.runs != live:
            record.live.runs = live

    # The end

    def leave(self, given_up=()):
        """Write that this process ends in good order.

        Give up the runs that are still live, and those in *given_up*, a
        sequence of `LiveRun`: their work cannot commit any more.

        Raise transient errors; the caller may try again.  Runs that are not
        given up would count as interrupted by a death.
        """
        if not self._is_recorded:
            return
        runtime = self._runtime
        lives = {(live.run_id, live.registry_oid): live
                 for live in (*given_up, *runtime.allLive())}
        for live in lives.values():
            live.is_abandoned = True
        note = runtime.note('ends')
        with ZodbConnection(runtime.db) as connection:
            for key, live in lives.items():
                with self._guard(key), ZopeTransaction(note=note):
                    self._give_up(connection, live)
            for oid, run_id in runtime.claims():
                with self._guard((run_id, oid)), ZopeTransaction(note=note):
                    self._give_back(connection, run_id, oid)
            with runtime.troubles.guard(FAILING_STEP, 'cursors'):
                self._spill.write(connection)
            for tries in range(1, LEAVE_TRIES + 1):
                try:
                    return self._write_end(connection, note)
                except ConflictError:
                    # Another process may end at the same time.
                    if tries == LEAVE_TRIES:
                        raise
                time.sleep(backOff(tries))

    def _write_end(self, connection, note):
        runtime = self._runtime
        with ZopeTransaction(note=note):
            for place, lane in ownLanes(
                    runtime.own, runtime.backlog, connection):
                writePosition(lane, *runtime.backlog.position(place))
                lane.cursor.home = None
            directory = process.getDirectory(connection)
            record = directory.processes.get(runtime.id)
            if record is None:
                return   # others took it for dead
            asked = runtime.admission.drain_asked
            ended = directory.end(
                record, SHUT_DOWN if asked is None else DRAINED, asked)
            for key in sorted(runtime.left_over):
                ended.leave(key)

    def _guard(self, key):
        return self._runtime.troubles.guard(
            FAILING_RESCUE, *key, with_transient=False)

    def _give_back(self, connection, run_id, oid):
        """Leave a taken or claimed run that has not begun to others."""
        registry = process.findRegistry(connection, oid)
        run = registry and registry.findRun(run_id)
        if (run is not None and not run.isFinished()
                and run.owner == self._runtime.id):
            writeInterruption(registry, run, False, self._runtime.announce)

    def _give_up(self, connection, live):
        """End the attempt of *live*, whose work outlasts the drain."""
        registry = process.findRegistry(connection, live.registry_oid)
        run = registry and registry.getRun(live.lane, live.serial)
        if run is None or run.isFinished() or run.owner not in (
                None, self._runtime.id):
            return
        log.warning('Run %s: it works longer than the drain; it is given up',
                    run.id)
        stop = registry.stops.get(run.id)
        has_begun = live.worker is not None
        if stop is not None:
            if has_begun:
                keepInterrupted(live, run)
            registry.finish(run, INTERRUPTED, RunInterruptedEvent,
                            self._runtime.announce, stop_request=stop)
        else:
            writeInterruption(registry, run, live.must_not_rerun,
                              self._runtime.announce,
                              live if has_begun else None)
