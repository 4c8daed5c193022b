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
import atexit
import logging
import os
import threading
import time

from zope.interface import implementer

from cipher.background import process
from cipher.background import runlog
from cipher.background import switchboard
from cipher.background.backlog import Backlog
from cipher.background.checks import checkDatabase
from cipher.background.control import ControlThread
from cipher.background.dispatcher import Dispatcher
from cipher.background.executors.choice import makeExecutor
from cipher.background.interfaces import IRuntime
from cipher.background.interfaces import RuntimeRefused
from cipher.background.keeper import Keeper
from cipher.background.obedience import Obedience
from cipher.background.settings import RuntimeSettings


log = logging.getLogger(__name__)

#: Seconds of the drain, at the most half of it, that are left to jobs that
#: were asked to stop.
STOP_TIMEOUT = 5.0

#: Seconds until a run is looked at again that a thread still works on.
REFUSED_DELAY = 1.0

#: Seconds that the last turn of the control thread may take after the drain,
#: and then the records of the end.
LEAVE_TIMEOUT = 10.0


@implementer(IRuntime)
class Runtime(Obedience):
    """See `~cipher.background.interfaces.IRuntime`."""

    def __init__(self, db, settings=None, is_implicit=False):
        super().__init__()
        self.db = db
        self.settings = settings or RuntimeSettings()
        self.threads = self.settings.threads
        self.host = process.hostName()
        self.pid = os.getpid()
        self.id = process.newProcessId(self.host, self.pid)
        self.name = process.processName(self.id)
        self.backlog = Backlog()
        self.executor = makeExecutor(self, self.settings)
        self.is_implicit = is_implicit   # a thread made by hand needed it
        self._keeper = Keeper(self)
        self._control = ControlThread(self, self._keeper)
        self.dispatcher = Dispatcher(
            self.backlog, self.executor, self._control.wish)
        self._ender = None                   # the thread that shuts down
        self._gone = threading.Event()       # the shutdown is over
        self._gone_by = 0.0                  # monotonic; surely by then
        self.was_lost = False   # others may have begun what our lanes hold
        self._is_forked = False

    def start(self):
        """Begin.  Raise `RuntimeRefused` where the database has a runtime."""
        if self._is_forked or self.pid != os.getpid():
            raise RuntimeRefused(
                'runtime: expected to begin in the process that made it, got '
                'a fork of it; make one after the fork')
        if switchboard.connect(self.db, self) is not self:
            raise _refusal()
        try:
            checkDatabase(self.db, self.settings)
            self.executor.start()
        except BaseException:
            self.executor.stop()
            switchboard.disconnect(self.db, self)
            raise
        runlog.install()
        atexit.register(self.shutdown)
        self._control.start()

    def note(self, what):
        """Return the note of a transaction of the control thread."""
        return 'background process %s: %s' % (self.name, what)

    def forked(self):
        """In a child after a fork: threads are gone, refuse everything."""
        self._is_forked = True

    # Called by any thread

    def upgrade(self, settings):
        """Let a runtime that nobody asked for be one with these settings.

        Raise `RuntimeRefused` where there is more than that in the way.
        """
        checkDatabase(self.db, settings)
        executor = makeExecutor(self, settings)
        with self._lock:
            if not self.is_implicit or self._draining.is_set():
                raise _refusal()
            self.is_implicit = False
        try:
            executor.start()
        except BaseException:
            self.is_implicit = True
            executor.stop()
            raise
        # Nothing waits in a process without threads.
        self.executor = executor
        self.dispatcher = Dispatcher(
            self.backlog, executor, self._control.wish)
        self.settings = settings
        self.threads = settings.threads
        self._control.wish()

    def wake(self, items=()):
        """See `~cipher.background.interfaces.IRuntime`."""
        if self._is_forked:
            return   # whoever held its locks is not here
        if items:
            for ticket, due_at in self.backlog.told(items):
                self.dispatcher.submit(ticket, due_at)
        else:
            self._control.wish()

    def begun(self, ticket):
        """A thread is there for *ticket*; return whether it may begin it."""
        if not self.backlog.begun(ticket):
            return False
        if self.backlog.hasRoom():
            self._control.wish()
        return True

    def refused(self, ticket):
        """`enter` said False for *ticket*."""
        live = self.findLive(ticket.registry_oid, ticket.run_id)
        if self.is_draining or live is not None and not live.is_abandoned:
            self.backlog.left(ticket)
        else:
            # Its lane was lost and came back; a thread still works on it.
            self.dispatcher.later(ticket, REFUSED_DELAY)

    def ended(self, live):
        """There is nothing more to do for *live*."""
        if live.is_unrecorded:
            self._keeper.unrecorded.add(live.ticket)
        elif live.is_lost or live.is_abandoned:
            self.backlog.goesOn(live.ticket)
        elif live.due_at is None and not live.is_shutdown:
            self.backlog.finished(live.ticket)
        elif live.due_at is None:
            # At a shutdown it may wait again: the cursor must not pass it.
            self.backlog.left(live.ticket)
        self.leave(live)
        if live.due_at is not None:
            self.dispatcher.again(live.ticket, live.due_at)
        if live.worker_type is not None and live.worker_type.max_running:
            self.dispatcher.unpark(live.worker_type.name)
        if live.stop is not None:
            self._control.wish()   # the request can be forgotten

    def takeNewId(self):
        """Be another process, as far as the database knows.

        What the old one had claimed and nobody has rescued yet would else
        count as carried out for ever.
        """
        self.id = process.newProcessId(self.host, self.pid)

    def lostLease(self):
        """Others took this process for dead, and its lanes."""
        log.error('Process %s: it was silent for too long; what it worked on '
                  'is taken over by others', self.name)
        self.was_lost = True
        self.abandonAll()
        for lane in self.backlog.lanes():
            self.backlog.dropLane(*lane)

    # The end

    def shutdown(self, timeout=None):
        """See `~cipher.background.interfaces.IRuntime`."""
        if self._is_forked:
            return
        if timeout is None:
            timeout = self.settings.drain
        me = threading.current_thread()
        with self._lock:
            is_first = not self._draining.is_set()
            if is_first:
                self._ender = me
                self._gone_by = time.monotonic() + timeout + 3 * LEAVE_TIMEOUT
            self._draining.set()
        if is_first:
            try:
                self._drain(timeout)
            finally:
                self._gone.set()
        elif self._ender is not me:
            # Whoever asks may close the database, but not before the end.
            self._gone.wait(self._gone_by - time.monotonic())

    def _drain(self, timeout):
        deadline = time.monotonic() + timeout
        self.executor.stop()
        self._control.wish()   # it hands over what waits
        self.stopAll(with_jobs=False)
        self.waitIdle(deadline - min(timeout / 2, STOP_TIMEOUT))
        self.stopAll()
        self.waitIdle(deadline)
        self.executor.join(max(0.0, deadline - time.monotonic()))
        self._control.end()
        self._control.join(LEAVE_TIMEOUT)
        self.abandonAll()   # even if that cannot be written
        leaving = threading.Thread(
            target=self._leave, name='background-end', daemon=True)
        try:
            leaving.start()
            leaving.join(LEAVE_TIMEOUT)
        except RuntimeError:
            self._leave()   # at its end an interpreter starts no thread
        self._disconnect()

    def databaseClosed(self):
        """Somebody closed the database without a `shutdown`."""
        with self._lock:
            if self._draining.is_set():
                return   # it sees to the end itself
            self._gone_by = time.monotonic() + LEAVE_TIMEOUT
            self._draining.set()
        log.warning('Process %s: its database was closed before a shutdown '
                    'of its runtime; what it worked on is given up', self.name)
        self.executor.stop()
        self.abandonAll()
        self.stopAll()
        self._disconnect()
        self._gone.set()

    def _leave(self):
        self._control.leave()

    def _disconnect(self):
        switchboard.disconnect(self.db, self)
        atexit.unregister(self.shutdown)


def startRuntime(db, settings=None, is_implicit=False):
    """Begin a runtime of *db* in this process and return it.

    One that *is_implicit* gives way to another one that begins later: in
    place, so that what is recorded with it stays so.
    """
    runtime = switchboard.queryRuntime(db)
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
