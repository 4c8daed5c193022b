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
"""A FileStorage with a runtime, and functions that wait, for live tests."""
import gc
import logging
import os
import tempfile
import threading
import time
import traceback
from contextlib import contextmanager
from unittest import mock

import transaction
from persistent import Persistent
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError
from zope.component import provideUtility
from zope.component.hooks import getSite
from zope.security.management import queryInteraction

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.declarations.workertype import WorkerType
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import IWorkerType
from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.runtime.runtime import startRuntime
from cipher.background.testing import setUpLogging
from cipher.background.testing import tearDownLogging
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import SiteTests
from cipher.background.thread import BackgroundWorkerThread


class Counter(Persistent):
    """An object that work changes."""

    value = 0


def declareWorker(name, handler=None, **values):
    """Declare a worker type like ZCML does; return it."""
    worker_type = WorkerType(name, handler=handler, **values)
    provideUtility(worker_type, IWorkerType, name)
    return worker_type


def declareKinds():
    """Declare ``rerun``, ``fail`` and ``loop``; return the list of begins."""
    called = []

    class Loop(BackgroundWorkerThread):
        def scheduleNextWork(self):
            called.append('loop')

    declareWorker('rerun', called.append)
    declareWorker('fail', called.append, on_interrupt=FAIL)
    declareWorker('loop', factory=Loop, is_loop=True)
    return called


def waitUntil(condition, what='the condition', limit=LIMIT):
    """Wait until *condition* holds; return its result."""
    deadline = time.monotonic() + limit
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError('%s did not come true' % what)
        pause.wait(0.005)


def inFork(check):
    """Return the exit status of a fork that calls *check*."""
    pid = os.fork()
    if pid == 0:   # pragma: no cover (coverage does not follow)
        status = 1
        try:
            check()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    deadline = time.monotonic() + LIMIT
    done = 0
    while not done and time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
    if not done:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise AssertionError('the child hangs')
    return status


@contextmanager
def noThread(name):
    """Make the start of a thread of that name fail."""
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    with mock.patch('threading.Thread.start', refuse):
        yield


def waitForLanes(runtime):
    """Wait until a runtime has lanes of its own."""
    waitUntil(lambda: len(runtime.backlog.lanes()) > runtime.threads,
              'the runtime')


class Database(DB):
    """A database that may be closed twice."""

    def close(self):
        if hasattr(self, '_mvcc_storage'):
            # A connection that failed to open while the server was away cannot
            # be closed either.
            gc.collect()
            try:
                super().close()
            except KeyError:
                # A thread closed one of its connections at the same moment.
                # ZODB has closed the others.
                self._mvcc_storage.close()


class CountingLoop(BackgroundWorkerThread):
    """Counts its iterations in the site's counter until it is stopped."""

    def scheduleNextWork(self):
        return not self.wait(0.01)

    def doWork(self):
        getSite()['counter'].value += 1


class Gate:
    """A place in a worker's code where it waits for the test."""

    def __init__(self):
        self._reached = threading.Event()
        self._opened = threading.Event()

    def stop(self):
        """Wait at the gate; called by the worker."""
        self._reached.set()
        if not self._opened.wait(LIMIT):
            raise AssertionError('nobody opened the gate')

    def waitReached(self):
        """Wait until the worker is at the gate."""
        if not self._reached.wait(LIMIT):
            raise AssertionError('nobody came to the gate')

    def open(self):
        """Let the worker go on."""
        self._opened.set()


class FileSiteTests(SiteTests):
    """A site with a registry and a counter in a real FileStorage."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        super().setUp()
        self.logger = logging.getLogger('cipher.background')
        self.logged = setUpLogging(self.logger, logging.INFO)
        self.addCleanup(tearDownLogging, self.logger)
        self.site['counter'] = self.counter = Counter()
        transaction.commit()

    def makeDatabase(self):
        path = os.path.join(self.folder.name, 'Data.fs')
        return Database(FileStorage(path), pool_size=30)

    def begin(self):
        """Begin a transaction that sees the latest commits."""
        transaction.begin()

    def patch(self, target, value):
        """Replace the attribute with the dotted name *target* in the test."""
        self._start(mock.patch(target, value))

    def _start(self, patcher):
        patcher.start()
        self.addCleanup(patcher.stop)


class LiveTests(FileSiteTests):
    """Tests with a runtime that polls quickly."""

    layer = Live

    def setUp(self):
        super().setUp()
        self.gate = Gate()
        self.runtime = self.startRuntime()
        self.addCleanup(self.gate.open)

    settings = {'threads': 2, 'poll': 0.05, 'drain': 5.0}

    def startRuntime(self, **settings):
        """Start a runtime; it is shut down at the end of the test."""
        runtime = startRuntime(
            self.db, RuntimeSettings(**dict(self.settings, **settings)))
        self.addCleanup(runtime.shutdown)
        if runtime.threads:
            waitForLanes(runtime)
        return runtime

    def writeBookmarksNow(self):
        """Make the runtime write its bookmarks now."""
        maintenance = self.runtime._maintenance
        while True:
            try:
                with ZodbConnection(self.db) as connection:
                    return maintenance.writeBookmarks(connection)
            except ConflictError:
                pass   # the control thread writes them at this moment

    @contextmanager
    def nothingDue(self):
        """Keep the runs that wait in memory from beginning meanwhile."""
        backlog = self.runtime.backlog
        backlog.setQuiet(True)
        try:
            yield
        finally:
            backlog.setQuiet(False)

    def waitTurn(self):
        """Wait until the control thread has done one whole turn."""
        maintenance = self.runtime._maintenance
        turn = maintenance.turn
        turns = []

        def counted(*args):
            result = turn(*args)
            turns.append(result)
            return result

        maintenance.turn = counted
        waitUntil(lambda: len(turns) > 1, 'a turn of the runtime')
        maintenance.turn = turn

    def start(self, name, context=None, **input):
        """Start a run and commit; return its id."""
        self.begin()
        run = self.registry.start(name, context, **input)
        transaction.commit()
        return run.id

    def status(self, run_id):
        """Return the current status of a run."""
        self.begin()
        return self.registry.getStatus(run_id)

    def waitState(self, run_id, *states):
        """Wait until a run is in one of *states*; return its status."""
        def status():
            status = self.status(run_id)
            return status if status.state in states else None
        try:
            return waitUntil(status)
        except AssertionError:
            raise AssertionError('expected %r, got %r\n%s' % (
                states, self.status(run_id), self.logged.getvalue())) from None

    def waitFinished(self, run_id):
        """Wait until a run has finished and left; return its status."""
        status = self.waitState(run_id, *FINISHED_STATES)
        waitUntil(lambda: self.runtime.findLive(
            self.registry._p_oid, run_id) is None, 'the end of the run')
        return status

    def carryOut(self, name, context=None, **input):
        """Start a run and wait for its end; return its status."""
        return self.waitFinished(self.start(name, context, **input))

    def requestStop(self, run_id, reason=None):
        """Ask a run to stop and commit; return its state."""
        return self.change(
            lambda: self.registry.requestStop(run_id, reason))

    def change(self, change):
        """Call *change* and commit; return its result.

        Try again if it conflicts with the runtime.
        """
        while True:
            self.begin()
            try:
                result = change()
                transaction.commit()
                return result
            except ConflictError:
                transaction.abort()

    def value(self):
        """Return the committed value of the counter."""
        self.begin()
        return self.counter.value

    def patchFinish(self, finish):
        """Replace the last step of each commit to a file by *finish*."""
        # Not by a dotted name: the module and its class have the same name.
        self._start(mock.patch.object(FileStorage, 'tpc_finish', finish))


class ProcessTests(LiveTests):
    """Tests whose database is opened by one process at a time."""

    def setUp(self):
        super().setUp()
        self.path = self.folder.name
        self.close()

    def close(self):
        """Close the database, for another process."""
        self.runtime.shutdown()
        transaction.abort()
        self.connection.close()
        self.db.close()

    def open(self, **settings):
        """Open the database in this process, with a runtime."""
        self.db = self.makeDatabase()
        self.addCleanup(self.db.close)
        self.connection = self.db.open()
        self.addCleanup(self.connection.close)
        self.addCleanup(transaction.abort)
        self.site = self.connection.root()['Application']
        self.counter = self.site['counter']
        self.registry = self.site.getSiteManager()['background']
        self.runtime = self.startRuntime(**settings)

    def forget(self, *names):
        for name in names:
            if os.path.exists(os.path.join(self.path, name)):
                os.remove(os.path.join(self.path, name))

    def wait_for(self, name):
        path = os.path.join(self.path, name)
        waitUntil(lambda: os.path.exists(path), 'the file %r' % name)

    def assertNothingRuns(self):
        self.begin()
        self.assertEqual(
            self.registry.listRuns(states=['running']).items, [])
        # The records of dead processes are removed.
        self.assertEqual([p.id for p in self.registry.listProcesses()],
                         [self.runtime.id])


class FailingTests(LiveTests):
    """Tests of a runtime that has to survive failures."""

    def setUp(self):
        super().setUp()
        self.patch(
            'cipher.background.runtime.executors.threads.RETRY_DELAY', 0.02)

    def assertGoesOn(self):
        """Assert that each thread of the runtime still works."""
        barrier = threading.Barrier(self.runtime.threads)

        def check(worker):
            barrier.wait(LIMIT)
            assert queryInteraction() is not None

        declareWorker('check', check)
        runs = [self.start('check') for _ in range(self.runtime.threads)]
        for run_id in runs:
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def failIn(self, work, name='work', error_type=None, **values):
        """Carry out *work*, which fails; return status and details."""
        declareWorker(name, work, **values)
        status = self.carryOut(name)
        self.assertEqual(status.state, 'failed')
        if error_type is not None:
            self.assertEqual(status.error_type, error_type,
                             self.logged.getvalue())
        self.assertGoesOn()
        self.begin()
        return status, self.registry.getDetails(status.id)
