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
"""The runtime: the one owner, per process and database, of live workers."""
import _thread
import atexit
import logging
import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING
from typing import Any

from zope.interface import implementer

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.declarations.workertype import nameOf
from cipher.background.declarations.workertype import nameToday
from cipher.background.interfaces import IRuntime
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import RuntimeRefused
from cipher.background.runtime.admission import Admission
from cipher.background.runtime.control import ControlThread
from cipher.background.runtime.executors.choice import makeExecutor
from cipher.background.runtime.maintenance.heartbeat import HeartbeatThread
from cipher.background.runtime.maintenance.invalidations import Invalidations
from cipher.background.runtime.maintenance.troubles import Troubles
from cipher.background.runtime.maintenance.turn import Maintenance
from cipher.background.runtime.ownprocess import OwnProcess
from cipher.background.runtime.ownruns import OwnRuns
from cipher.background.runtime.preflight import checkDatabase
from cipher.background.runtime.preflight import checkTypes
from cipher.background.runtime.preflight import lookAtDirectory
from cipher.background.runtime.queue.backlog import LOOK
from cipher.background.runtime.queue.backlog import Backlog
from cipher.background.runtime.queue.poller import Poller
from cipher.background.runtime.queue.sorting import Sorter
from cipher.background.runtime.queue.undeclared import Undeclared
from cipher.background.store.deployment import getDeployment
from cipher.background.util import clock
from cipher.background.util import switchboard
from cipher.background.util.forks import isInherited
from cipher.background.util.forks import noteDatabase
from cipher.background.util.transient import isClosed
from cipher.background.work import runlog
from cipher.background.work.stack import isInSignalHandler


if TYPE_CHECKING:
    from ZODB.DB import DB


log = logging.getLogger(__name__)

#: Seconds of the drain, at the most half of it, that are left to jobs that
#: were asked to stop.
DRAIN_STOP_TIMEOUT = 5.0

#: Seconds until a run is looked at again that a thread still works on.
REFUSED_DELAY = 1.0

#: Seconds that the last turn of the control thread may take after the drain,
#: and then the records of the end.
LEAVE_TIMEOUT = 10.0


@implementer(IRuntime)
class Runtime:
    """See `~cipher.background.interfaces.IRuntime`."""

    def __init__(self, db, settings=None, is_implicit=False):
        self.db = db
        self.own = OwnProcess(db, settings or RuntimeSettings())
        self.backlog = Backlog(self._wake_control, self.report)
        self.runs = OwnRuns(self.backlog)
        self.running = self.runs.running
        self.claims = self.runs.claims
        self.admission = Admission(self.name, self.running, self.backlog,
                                   self._wake_control, self.shutdown)
        self.troubles = Troubles(db, self.report)
        self._undeclared = Undeclared()
        make_sorter = partial(Sorter, self.own, self.runs, self.troubles,
                              self._undeclared)
        self.poller = Poller(self.own, self.backlog, self.troubles,
                             make_sorter, self._wake_control)
        self.executor = makeExecutor(self, self.settings)
        self.is_implicit = is_implicit   # a thread made by hand needed it
        self._maintenance = Maintenance(
            self.own, self.runs, self.admission, self.troubles, self.poller,
            make_sorter, lambda: self.executor)
        self._control = ControlThread(
            self.own, self.troubles, self._maintenance, self._database_closed)
        self._heartbeat = HeartbeatThread(self.own, self._maintenance)
        self._invalidations = Invalidations(
            self.own, self.running, self.lanesChanged, self.wakeAll)
        self._maintenance.steps.add(self._invalidations.step)
        self._lock = threading.Lock()
        self._ender = None                   # the thread that shuts down
        self._gone = threading.Event()       # the shutdown is over
        self._gone_by = 0.0                  # monotonic; surely by then
        self._given_up = ()     # live when all was given up
        self._is_started = False
        self._is_forked = False

    def start(self):
        """Begin.  Raise `RuntimeRefused` where the database has a runtime."""
        if self._is_forked or self.pid != os.getpid():
            raise RuntimeRefused(
                'runtime: expected to begin in the process that made it, got '
                'a fork of it; make one after the fork')
        if isInherited(self.db):
            raise RuntimeRefused(
                'runtime: expected a database that this process has opened, '
                'got one that it inherited by a fork: two processes that '
                'write into one storage damage it; open the database in each '
                'process, after the fork')
        checkTypes(self.settings)
        noteDatabase(self.db)
        if switchboard.connect(self.db, self) is not self:
            raise _refusal()
        try:
            checkDatabase(self.db, self.settings)
            self._look_where_it_belongs(self.settings)
            self.executor.start()
            runlog.install()
            self._is_started = True
            self._control.start()
            self._heartbeat.start()
        except BaseException:
            self.running.startDraining()
            self.executor.stop()
            self._control.end()
            self._heartbeat.end()
            self._is_started = False
            switchboard.disconnect(self.db, self)
            raise
        atexit.register(self.shutdown)
        self._invalidations.begin()

    def _look_where_it_belongs(self, settings):
        """See, before anything begins, whether the database is a copy."""
        self.own.setDeployment(getDeployment(settings))
        judged = lookAtDirectory(self.db, lambda directory: (
            directory and self.own.origin.look(directory.belonging)))
        self.admission.setCopied(*(judged or (None, None)))

    def report(self):
        """Let other processes know soon what is wrong.  Thread-safe."""
        self._heartbeat.wake()

    def listTroubles(self):
        """Return a tuple of `process.Trouble`, the worst first."""
        return self._maintenance.listTroubles()

    def forked(self):
        """In a child after a fork: threads are gone, refuse everything."""
        self._is_forked = True
        self.backlog.forked()

    # What it is: see `OwnProcess`

    @property
    def id(self):
        return self.own.id

    @property
    def name(self):
        return self.own.name

    @property
    def pid(self):
        return self.own.pid

    @property
    def settings(self):
        return self.own.settings

    @property
    def threads(self):
        return self.own.threads

    def note(self, what):
        return self.own.note(what)

    def begins(self, name):
        """See `~cipher.background.interfaces.IRuntime`."""
        return self.own.begins(name)

    # What is in work: see `RunningRuns`

    @property
    def is_draining(self):
        return self.running.is_draining

    @property
    def conflicts(self):
        return self.running.conflicts

    def enter(self, live):
        return self.running.enter(live)

    def leave(self, live):
        self.running.leave(live)

    def mayRun(self, worker_type, live):
        return self.running.mayRun(worker_type, live)

    def findLive(self, registry_oid, run_id):
        return self.running.findLive(registry_oid, run_id)

    def getLive(self, registry_oid, run_id):
        return self.running.getLive(registry_oid, run_id)

    def getStack(self, registry_oid, run_id):
        return self.running.getStack(registry_oid, run_id)

    def listLive(self, registry_oid):
        return self.running.listLive(registry_oid)

    def allLive(self):
        return self.running.allLive()

    @property
    def turns(self):
        """How many turns of the control thread got through so far."""
        return self._maintenance.steps.turns

    def isStuck(self):
        """Return whether a step of the control thread takes too long."""
        return self._maintenance.steps.findStuck() is not None

    def hasFreeThread(self):
        """Return whether a thread waits for a job."""
        return self.threads > self.running.countJobs()

    # Whether it begins anything new: see `Admission`

    @property
    def is_quiet(self):
        return self.admission.is_quiet

    @property
    def is_taking(self):
        return self.admission.is_taking

    @property
    def copied(self):
        return self.admission.copied

    def quiet(self, is_quiet=True):
        """See `~cipher.background.interfaces.IRuntime`."""
        self.admission.quiet(is_quiet)

    # Called by any thread

    def upgrade(self, settings):
        """Let a runtime that nobody asked for be one with these settings.

        Raise `RuntimeRefused` where there is more than that in the way.
        """
        checkDatabase(self.db, settings)
        checkTypes(settings)
        deployment = getDeployment(settings)
        executor = makeExecutor(self, settings)
        with self._lock:
            if not self.is_implicit or self.is_draining:
                raise _refusal()
            self.is_implicit = False
        try:
            executor.start()
        except BaseException:
            self.is_implicit = True
            executor.stop()
            raise
        if deployment != self.own.deployment:
            self._look_where_it_belongs(settings)
        self.executor = executor
        self.own.settings = settings
        self._control.wake()

    def _wake_control(self):
        self._control.wake()

    def wake(self, places=(), only=None):
        """See `~cipher.background.interfaces.IRuntime`."""
        if self._is_forked:
            return   # whoever held its locks is not here
        if places:
            if self.threads:
                self.backlog.mark(places, only=only)
        else:
            self._control.wake()

    def countWaiting(self, registry_oid, starter):
        """See `~cipher.background.interfaces.IRuntime`."""
        number, seconds = self.backlog.countWaiting(registry_oid, starter)
        return number, clock.now() - seconds

    def next(self, is_over, door):
        """Return a ticket to carry out, when there is one; None at the end.

        The calling thread looks at new runs, if that is to be done: then
        *door* (a `contextmanagers.Door`) may be open, to begin the ticket.
        """
        while True:
            ticket = self.backlog.next(is_over)
            if ticket is LOOK:
                ticket = self.poller.next(door)
                if ticket is None:
                    continue
            return ticket

    def wakeAll(self):
        """Have a whole turn soon, with the steps of now and then as well.

        Any thread may call; it takes no lock that is held across a load.
        """
        self._maintenance.steps.makeDue()
        self._control.wake()

    def lanesChanged(self, places):
        """Another process wrote births of lanes: (registry oid, number).

        Any thread may call; it takes no lock that is held across a load.
        """
        if self.threads:
            self.backlog.mark(places, are_ours=False)
            if self.backlog.others_have_more or self.hasFreeThread():
                self._control.wake()   # perhaps there is something to take

    def refused(self, ticket):
        """`enter` said False for *ticket*."""
        if not self.is_draining:
            # Its lane had another home for a while; a thread still works
            # on it.
            self.backlog.later(ticket, REFUSED_DELAY)
            if ticket.type is not None:   # others of it may go before
                self.backlog.unpark(nameToday(ticket.type))

    def noteClaim(self, ticket, epoch):
        """See `Claims.note`."""
        self.claims.note(ticket, epoch)

    def forgetClaim(self, ticket, epoch=None):
        """See `Claims.forget`."""
        self.claims.forget(ticket, epoch)

    def hasClaimed(self, registry_oid, run):
        """See `Claims.has`."""
        return self.claims.has(registry_oid, run)

    def doubt(self, ticket):
        """Nobody knows whether *ticket* was claimed as `noteClaim` says."""
        self.backlog.isAway(ticket)
        self.claims.doubt(ticket)

    def noteUndeclared(self, run):
        """See `Undeclared.note`."""
        self._undeclared.note(run)

    @property
    def left_over(self):
        """See `OwnRuns`."""
        return self.runs.left_over

    def ended(self, live):
        """There is nothing more to do for *live*."""
        self.claims.forget(live, live.epoch)
        self.leave(live)
        if live.is_unrecorded:
            self.runs.unrecorded.add(live.ticket)
        elif live.is_lost or live.is_abandoned:
            self.backlog.isAway(live.ticket)
        elif live.due_at is not None:
            self.backlog.again(live.ticket, live.due_at)
        elif not live.is_shutdown:
            # At a shutdown it may wait again: the bookmark must not pass it.
            self.backlog.done(live.ticket)
        is_passed = live.passing is not None and live.passing.end()
        if live.worker_type is not None and (
                live.worker_type.max_running and not is_passed):
            self.backlog.unpark(nameOf(live.worker_type))
        if live.stop is not None:
            self._control.wake()   # the request can be forgotten

    # The end

    def shutdown(self, timeout=None):
        """See `~cipher.background.interfaces.IRuntime`."""
        if self._is_forked or not self._is_started:
            return
        if timeout is None:
            timeout = self.settings.drain
        if isInSignalHandler():
            # Not by `threading.Thread`: that waits for the new thread, and
            # the interrupted code may hold a lock which that one needs.
            _thread.start_new_thread(self.shutdown, (timeout,))
            return
        me = threading.current_thread()
        with self._lock:
            is_first = self.running.startDraining()
            if is_first:
                self._ender = me
                self._gone_by = time.monotonic() + timeout + 3 * LEAVE_TIMEOUT
        if is_first:
            try:
                if isClosed(self.db):
                    self._give_all_up(timeout)
                else:
                    self._drain(timeout)
            finally:
                self._gone.set()
        elif self._ender is not me:
            # Whoever asks may close the database, but not before the end.
            self._gone.wait(self._gone_by - time.monotonic())

    def _drain(self, timeout):
        deadline = time.monotonic() + timeout
        self.executor.stop()
        self._control.wake()   # it hands over what waits
        self.running.stopAll(with_jobs=False)
        self.running.waitIdle(
            deadline - min(timeout / 2, DRAIN_STOP_TIMEOUT))
        self.running.stopAll()
        self.running.waitIdle(deadline)
        self.executor.join(max(0.0, deadline - time.monotonic()))
        self._control.end()
        self._control.join(LEAVE_TIMEOUT)
        self._heartbeat.end()
        self._heartbeat.join(LEAVE_TIMEOUT)
        # A run that is given up records nothing itself any more: we do.
        # Even if nothing can be written.
        self._given_up = self.running.abandonAll()
        leaving = threading.Thread(
            target=self._leave, name='background-end', daemon=True)
        try:
            leaving.start()
            leaving.join(LEAVE_TIMEOUT)
        except RuntimeError:
            # At its end an interpreter starts no thread.
            self._leave()
        # After the last commit, which may send a notice.
        self._invalidations.end()
        self._disconnect()

    def _database_closed(self):
        """Somebody closed the database without a `shutdown`."""
        timeout = self.settings.drain
        with self._lock:
            is_first = self.running.startDraining()
            if is_first:
                self._gone_by = time.monotonic() + timeout + LEAVE_TIMEOUT
        if not is_first:
            self.running.abandonAll()   # a drain that has nothing to wait for
            return
        try:
            self._give_all_up(timeout)
        finally:
            self._gone.set()

    def _give_all_up(self, timeout):
        """The database is closed: nothing can be committed any more.

        What works may come to its end before the process does.
        """
        log.warning('Process %s: its database was closed before a shutdown '
                    'of its runtime; what it worked on is given up, and the '
                    'next runtime rescues it', self.name)
        switchboard.disconnect(self.db, self)
        self.executor.stop()
        self._control.end()
        self._heartbeat.end()
        self._invalidations.end()
        self.running.abandonAll()
        self.running.stopAll()
        self.running.waitIdle(time.monotonic() + timeout)
        self._disconnect()

    def _leave(self):
        self._control.leave(self._given_up)

    def _disconnect(self):
        switchboard.disconnect(self.db, self)
        atexit.unregister(self.shutdown)


def startRuntime(db: 'DB', settings: 'IRuntimeSettings | None' = None,
                 is_implicit: bool = False) -> IRuntime:
    """Begin a runtime of *db* in this process and return it.

    One that *is_implicit* gives way to another one that begins later: in
    place, so that what is recorded with it stays so.
    """
    runtime: Any = switchboard.queryRuntime(db)
    if runtime is not None and runtime.is_implicit and not is_implicit:
        runtime.upgrade(settings or RuntimeSettings())
        return runtime
    runtime = Runtime(db, settings, is_implicit)
    runtime.start()
    return runtime


def _refusal():
    return RuntimeRefused(
        'runtime: expected a database without one in this process, got one '
        'that has it; shut that down first')
