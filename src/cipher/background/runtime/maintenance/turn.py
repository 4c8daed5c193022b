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
"""The list of the steps, and the objects that do them."""
import time
from functools import partial

from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.registry.installation import rememberRegistries
from cipher.background.runtime.maintenance.bookmarks import Bookmarks
from cipher.background.runtime.maintenance.bookmarks import ownLanes
from cipher.background.runtime.maintenance.caretaker import Caretaker
from cipher.background.runtime.maintenance.clockwatch import ClockWatch
from cipher.background.runtime.maintenance.deadprocesses import DeadProcesses
from cipher.background.runtime.maintenance.evolving import Evolving
from cipher.background.runtime.maintenance.heartbeat import BEATS_PER_LEASE
from cipher.background.runtime.maintenance.homes import Homes
from cipher.background.runtime.maintenance.leaving import Leaving
from cipher.background.runtime.maintenance.liveness import Liveness
from cipher.background.runtime.maintenance.pruner import Pruner
from cipher.background.runtime.maintenance.record import OwnRecord
from cipher.background.runtime.maintenance.reports import Reports
from cipher.background.runtime.maintenance.rescuer import Rescuer
from cipher.background.runtime.maintenance.runnow import RunNowRequests
from cipher.background.runtime.maintenance.scheduler import Scheduler
from cipher.background.runtime.maintenance.steps import Step
from cipher.background.runtime.maintenance.steps import Steps
from cipher.background.runtime.maintenance.stopping import StopRequests
from cipher.background.runtime.maintenance.taker import Taker
from cipher.background.runtime.maintenance.unblocking import Unblocker
from cipher.background.store import process


#: Seconds between two looks for registries of imported and copied sites.  A
#: look loads each site, and imports are rare.
LOOK_INTERVAL = 600.0

#: Seconds between two reports of live runs to other processes.  Pages show
#: logs and progress of other processes so much later at most.
REPORT_INTERVAL = 3.0


class Maintenance:
    """Makes the steps of the process *own*, and calls them.

    *runs* are the `OwnRuns` of the process, *admission* and *troubles* its
    `Admission` and `Troubles`.  *poller* looks at new runs, *make_sorter*
    returns the `Sorter` of a connection, and *get_executor* the executor,
    which an upgrade replaces.

    The thread of the heartbeat calls `beat`, and any thread `listTroubles`.
    """

    def __init__(self, own, runs, admission, troubles, poller, make_sorter,
                 get_executor):
        backlog, running = runs.backlog, runs.running
        self._own = own
        self._admission = admission
        self._troubles = troubles
        self._look_at = 0.0   # monotonic; of the look for registries
        self.clock_watch = ClockWatch(own.db)
        self._evolving = Evolving(own, troubles.report)
        self._liveness = Liveness(own)
        self._reports = Reports(own, runs, self._liveness,
                                self.listTroubles, troubles.report)
        self._record = OwnRecord(own, runs, admission, self._reports,
                                 self._evolving, self._make_due)
        self._dead_processes = DeadProcesses(own, self._liveness, troubles)
        self._rescuer = Rescuer(
            own, runs, troubles, make_sorter, get_executor)
        self._homes = Homes(
            own, backlog, admission, self._reports.writeAllLive)
        self._bookmarks = Bookmarks(own, backlog)
        self._leaving = Leaving(
            own, runs, admission, troubles, self._bookmarks)
        self._run_now = RunNowRequests(own, backlog, running, troubles)
        self._unblocker = Unblocker(
            own, backlog, running, admission, troubles, make_sorter)
        self._taker = Taker(own, runs, admission, get_executor)
        self._stops = StopRequests(own, backlog, running, troubles)
        self._scheduler = Scheduler(own, admission, troubles)
        self._pruner = Pruner(own, partial(ownLanes, own, backlog))
        self._caretaker = Caretaker(
            own, admission, self._dead_processes, self._rescuer)
        self.steps = Steps(own, troubles, Step('record', self._keep_record), [
            Step('clock', self.clock_watch.look),
            Step('registries', self._look_for_registries),
            Step('evolve', self._evolve, self._often),
            Step('dead processes', self._remove_dead,
                 self._often),
            Step('homes', lambda c: self._homes.turn(c), self._often),
            Step('new runs', lambda c: poller.lookAtAll(c)),
            Step('runs elsewhere', lambda c: self._rescuer.turn(c)),
            Step('lost runs', lambda c: self._rescuer.abandonLost(c)),
            Step('bookmarks', lambda c: self._bookmarks.turn(c)),
            Step('run now', lambda c: self._run_now.turn(c)),
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
            Step('live runs', lambda c: self._reports.writeLive(c),
                 lambda: REPORT_INTERVAL)])

    def _beat_interval(self):
        return self._own.settings.lease / BEATS_PER_LEASE

    def _often(self):
        return min(self._beat_interval(), self._own.settings.poll)

    # Turns

    def turn(self, is_full=False):
        """Do the steps that are due, or all of them if *is_full*."""
        return self.steps.turn(is_full)

    def _look_for_registries(self, connection):
        """Add registries of imported and copied sites to the directory."""
        now = time.monotonic()
        if now >= self._look_at and self._own.threads:
            with ZopeTransaction(note=self._own.note('registries')):
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
        return self._record.turn(connection)

    def _make_due(self, name=None):
        self.steps.makeDue(name)

    def _evolve(self, connection):
        is_more = self._evolving.turn(connection)
        if is_more:
            self._make_due('evolve')
        return is_more

    def _remove_dead(self, connection):
        if not self._own.threads:
            self._caretaker.turn(connection)
        elif self._admission.is_taking:
            self._dead_processes.remove(connection)

    def _prune(self, connection):
        self.clock_watch.look()   # the clock may have jumped in this turn
        if not self.clock_watch.isSteady():
            return False
        if not self._own.threads:
            return self._caretaker.prune(connection)
        return self._admission.is_taking and self._pruner.turn(connection)

    def listTroubles(self):
        """Return a tuple of `process.Trouble`, the worst first.

        Any thread may call.
        """
        return (*filter(None, (self.steps.findStuck(),
                               self.clock_watch.trouble())),
                *self._evolving.listTroubles(),
                *self._troubles.list())

    # Called by others than the steps

    def beat(self):
        """Write the heartbeat: see `Reports.beat`."""
        return self._reports.beat()

    def writeLive(self, connection):
        """Write the live runs: see `Reports.writeLive`."""
        self._reports.writeLive(connection)

    def writeBookmarks(self, connection):
        """Write the bookmarks of our lanes that have changed."""
        if self._own.is_recorded:
            self._bookmarks.write(connection)

    def leave(self, given_up=()):
        """Write that this process ends in good order: see `Leaving.leave`."""
        self._leaving.leave(given_up)
