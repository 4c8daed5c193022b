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

from transaction.interfaces import TransientError
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage
from zope.interface import implementer

from cipher.background import process
from cipher.background import runlog
from cipher.background import switchboard
from cipher.background.backlog import Backlog
from cipher.background.dispatcher import Dispatcher
from cipher.background.executors.threads import ThreadsExecutor
from cipher.background.interfaces import IRuntime
from cipher.background.interfaces import RuntimeRefused
from cipher.background.keeper import Keeper
from cipher.background.lifecycle import backOff
from cipher.background.settings import RuntimeSettings


log = logging.getLogger(__name__)

#: Seconds between two looks at what is live, to tell other processes of it.
TELL_INTERVAL = 3.0

#: A process beats so many times during its lease.
BEATS_PER_LEASE = 4

#: Seconds that the records of the end may take after the drain.
LEAVE_TIMEOUT = 10.0


@implementer(IRuntime)
class Runtime:
    """See `~cipher.background.interfaces.IRuntime`."""

    def __init__(self, db, settings=None):
        self.db = db
        self.settings = settings or RuntimeSettings()
        self.threads = self.settings.threads
        self.host = process.hostName()
        self.pid = os.getpid()
        self.id = process.newProcessId(self.host, self.pid)
        self.name = process.processName(self.id)
        self.backlog = Backlog()
        self.executor = ThreadsExecutor(self, self.threads)
        self.conflicts = 0      # of the runs that are over
        self._keeper = Keeper(self, _is_exclusive(db))
        self._lock = threading.Lock()
        self._live = {}         # (registry oid, run id) -> LiveRun
        self._idle = threading.Condition(self._lock)
        self._wish = threading.Event()   # to have a turn at once
        self.dispatcher = Dispatcher(
            self.backlog, self.executor, self._wish)
        self._draining = threading.Event()   # takes nothing new
        self._end = threading.Event()        # the control thread ends
        self._is_forked = False
        self._control = threading.Thread(
            target=self._run, name='background-control', daemon=True)

    def start(self):
        """Begin.  Raise `RuntimeRefused` where the database has a runtime."""
        if self._is_forked or self.pid != os.getpid():
            raise RuntimeRefused(
                'runtime: expected to begin in the process that made it, got '
                'a fork of it; make one after the fork')
        if switchboard.connect(self.db, self) is not self:
            raise RuntimeRefused(
                'runtime: expected a database without one in this process, '
                'got one that has it; shut that down first')
        runlog.install()
        atexit.register(self.shutdown)
        self.executor.start()
        self._control.start()

    def note(self, what):
        """Return the note of a transaction of the control thread."""
        return 'background process %s: %s' % (self.name, what)

    def forked(self):
        """In a child after a fork: threads are gone, refuse everything."""
        self._is_forked = True

    # Called by any thread

    @property
    def is_draining(self):
        """Whether it takes nothing new."""
        return self._draining.is_set()

    def wake(self, items=()):
        """See `~cipher.background.interfaces.IRuntime`."""
        if items:
            for ticket, due_at in self.backlog.told(items):
                self.dispatcher.submit(ticket, due_at)
        else:
            self._wish.set()

    def mayRun(self, worker_type, live):
        """Return whether this process alone leaves room for one more."""
        limit = worker_type.max_running
        if limit is None:
            return True
        with self._lock:
            return limit > sum(
                other is not live and other.worker_type is worker_type
                for other in self._live.values())

    def begun(self):
        """A thread has taken a ticket."""
        if self.backlog.begun():
            self._wish.set()

    def enter(self, live):
        """Take *live* among the live runs; False if it is there already."""
        with self._lock:
            if self._draining.is_set():
                return False
            return self._live.setdefault(live.key, live) is live

    def leave(self, live):
        """*live* is live no longer; its ticket still waits."""
        with self._lock:
            self.conflicts += live.conflicts
            del self._live[live.key]
            self._idle.notify_all()

    def ended(self, live):
        """There is nothing more to do for *live*."""
        if live.due_at is None and not live.is_shutdown:
            # At a shutdown it may wait again: the cursor must not pass it.
            self.backlog.finished(live.ticket)
        self.leave(live)
        if live.due_at is not None:
            self.dispatcher.again(live.ticket, live.due_at)
        if live.worker_type is not None and live.worker_type.max_running:
            self.dispatcher.unpark(live.worker_type.name)
        if live.stop is not None:
            self._wish.set()   # the request can be forgotten

    def findLive(self, registry_oid, run_id):
        """Return the `LiveRun` of a run, or None."""
        return self._live.get((registry_oid, run_id))

    def getLive(self, registry_oid, run_id):
        """Return the `status.Live` of a run, None unless it is live here."""
        live = self.findLive(registry_oid, run_id)
        return live and live.getStatus()

    def listLive(self, registry_oid):
        """Return the ids of the runs of a registry that are live here."""
        with self._lock:
            return [run_id for oid, run_id in self._live
                    if oid == registry_oid]

    def allLive(self):
        """Return every `LiveRun`."""
        with self._lock:
            return list(self._live.values())

    def liveRegistries(self):
        """Return the oids of the registries that have live runs here."""
        with self._lock:
            return {oid for oid, _ in self._live}

    def lostLease(self):
        """Others took this process for dead, and its lanes."""
        log.error('Process %s: it was silent for too long; what it worked on '
                  'is taken over by others', self.name)
        for live in self.allLive():
            live.is_abandoned = True
        for lane in self.backlog.lanes():
            self.backlog.dropLane(*lane)

    # The control thread

    def _run(self):
        interval = self.settings.lease / BEATS_PER_LEASE
        beat_at = tell_at = adopt_at = 0.0
        failures = 0
        while not self._end.is_set():
            self._wish.clear()
            now = time.monotonic()
            pause = self.settings.poll
            try:
                with_adoption = now >= adopt_at
                if self._keeper.turn(with_adoption):
                    pause = 0.0
                if with_adoption:
                    adopt_at = now + interval
                if now >= beat_at:
                    self._keeper.beat()
                    beat_at = now + interval
                if now >= tell_at:
                    self._keeper.tellLive()
                    tell_at = now + TELL_INTERVAL
                failures = 0
            except Exception as error:
                failures += 1
                pause = backOff(failures)
                _log_failure(error, failures)
            self.dispatcher.submitDue()
            self._wish.wait(self.dispatcher.secondsToNext(pause))

    # The end

    def shutdown(self, timeout=None):
        """See `~cipher.background.interfaces.IRuntime`."""
        if self._is_forked:
            return
        if timeout is None:
            timeout = self.settings.drain
        deadline = time.monotonic() + timeout
        with self._lock:
            if self._draining.is_set():
                return
            self._draining.set()
        self.executor.stop()
        for live in self.allLive():
            live.requestStop()
        with self._idle:
            self._idle.wait_for(
                lambda: not self._live,
                timeout=max(0.0, deadline - time.monotonic()))
        self.executor.join(max(0.0, deadline - time.monotonic()))
        self._end.set()
        self._wish.set()
        self._control.join(LEAVE_TIMEOUT)
        leaving = threading.Thread(
            target=self._leave, name='background-end', daemon=True)
        try:
            leaving.start()
            leaving.join(LEAVE_TIMEOUT)
        except RuntimeError:
            self._leave()   # at its end an interpreter starts no thread
        switchboard.disconnect(self.db, self)
        atexit.unregister(self.shutdown)

    def _leave(self):
        for tries in range(1, 6):
            try:
                return self._keeper.leave()
            except TransientError:
                time.sleep(backOff(tries))
            except Exception:
                log.exception('Process %s: its end could not be written; its '
                              'lease will tell', self.name)
                return


def startRuntime(db, settings=None):
    """Begin a runtime of *db* in this process and return it."""
    runtime = Runtime(db, settings)
    runtime.start()
    return runtime


def _is_exclusive(db):
    """Return whether no other process can have the database open."""
    storage = db.storage
    return (isinstance(storage, MappingStorage)
            or isinstance(storage, FileStorage) and not storage.isReadOnly())


def _log_failure(error, failures):
    if isinstance(error, TransientError):
        log.debug('Turn of the runtime: %s; again', type(error).__name__)
    elif failures in (1, 10) or failures % 100 == 0:
        log.exception('Turn of the runtime failed %d times in a row; it goes '
                      'on', failures)
