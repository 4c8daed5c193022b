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
"""Processes that end without a `shutdown`: soon, quietly, nothing is lost."""
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
from unittest import mock

import transaction
from ZODB.blob import BlobStorage
from ZODB.DB import DB
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import ConflictError

from cipher.background.tests.support.crashingprocess import declareWorkers
from cipher.background.tests.support.endingprocess import WAYS
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.live import ProcessTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.servers import ZEOServer
from cipher.background.tests.support.servers import openDatabase
from cipher.background.tests.support.servers import programEnvironment
from cipher.background.tests.support.servers import requireServer
from cipher.background.tests.support.servers import touch
from cipher.background.tests.support.sites import LIMIT
from cipher.background.util import switchboard
from cipher.background.util.transient import isClosed
from cipher.background.util.transient import isTransient


#: Seconds of a drain that no test waits for.
FOR_EVER = '3600'

#: Seconds for a process that need not wait for anything.
SOON = 25

#: Those ways in which the database is closed under the runtime.
CLOSING = [way for way in WAYS if way.startswith('close')]

#: Interruptions of work that begins anew: it may have been told or not that
#: it had begun.
MAYBE = 0, 1


class ClosingTests(ProcessTests):
    """Each way to end, with each kind of work."""

    def begin_end(self, way, *names, drain=FOR_EVER):
        """Start a process with runs of these names that ends in that *way*.
        """
        self.before = self.reopened(lambda: self.value())
        self.forget('started', 'inside', 'go-on')
        self.way = way
        self.log = open(os.path.join(self.path, 'log'), 'w+')
        self.addCleanup(self.log.close)
        self.process = subprocess.Popen(
            [sys.executable, '-m',
             'cipher.background.tests.support.endingprocess',
             self.path, way, drain, *names],
            env=programEnvironment(), stderr=self.log)
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        self.wait_for('started')
        with open(os.path.join(self.path, 'started')) as started:
            self.run_ids = started.read().split()

    def logText(self):
        with open(self.log.name) as log:
            return log.read()

    def assertEndsSoon(self):
        """Assert that it ends, with the status of its way and no tracebacks.
        """
        self.assertEqual(
            self.process.wait(SOON),
            {'exit': 3, 'interrupt': -signal.SIGINT}.get(self.way, 0),
            self.logText())
        text = self.logText()
        records = re.split('(?m)^(?=[A-Z]+:)', text)
        self.assertFalse([record for record in records if 'Traceback' in record
                          and ':cipher.' in record], text)
        # ZODB and transaction have their say on what they were doing, and
        # Python on an interrupt; of one error there may be a chain.
        self.assertLessEqual(
            sum('Traceback (most recent' in record for record in records), 3,
            text)
        self.assertEqual(text.count('database was closed before'),
                         self.way in CLOSING, text)

    def assertLeft(self, state, interruptions, value=0):
        """Assert what another process makes of what was left.

        *interruptions*: one of these numbers.
        """
        def check():
            for run_id in self.run_ids:
                status = self.waitState(run_id, state)
                self.assertIn(status.interruptions, interruptions)
            self.assertNothingRuns()
            self.assertEqual(self.value() - self.before, value)

        self.reopened(check)

    def reopened(self, call):
        """Return what *call* gives while this process has the database."""
        self.open()
        try:
            return call()
        finally:
            self.close()

    def test_idle_process_ends_at_once(self):
        for way in WAYS:
            with self.subTest(way):
                self.begin_end(way)
                self.assertEndsSoon()

    def test_work_that_asks_ends_at_once_and_is_rescued(self):
        declareWorker('polite', lambda worker: None)
        for way in CLOSING:
            with self.subTest(way):
                self.begin_end(way, 'polite')
                self.assertEndsSoon()
                self.assertLeft('succeeded', MAYBE)

    def test_loop_ends_at_once_and_goes_on_later(self):
        declareWorker('loop', lambda worker: None)
        for way in WAYS:
            with self.subTest(way):
                self.begin_end(way, 'loop')
                self.assertEndsSoon()
                # In a drain loops end first of all.
                self.assertLeft('succeeded', MAYBE if 'drain' in way else [
                    int(way in CLOSING)])

    def test_work_that_does_not_ask_is_waited_for(self):
        declareWorker('stubborn', lambda worker: None)
        for way in 'nothing', 'close', 'close the storage':
            with self.subTest(way):
                self.begin_end(way, 'stubborn')
                with self.assertRaises(subprocess.TimeoutExpired):
                    self.process.wait(0.5)
                touch(self.path, 'go-on')
                self.assertEndsSoon()
                self.assertLeft('succeeded', MAYBE,
                                int(way not in CLOSING))

    def test_no_longer_than_the_drain(self):
        declareWorker('stubborn', lambda worker: None)
        for way in 'exit', 'interrupt', *CLOSING:
            with self.subTest(way):
                self.begin_end(way, 'stubborn', drain='0.2')
                self.assertEndsSoon()   # nobody ever lets it go on
                self.assertLeft('succeeded', MAYBE)

    def test_work_that_must_not_rerun_is_interrupted(self):
        declareWorkers(self.path)
        for way in 'close', 'close the storage':
            with self.subTest(way):
                self.begin_end(way, 'fail', drain='0.2')
                self.assertEndsSoon()
                self.assertLeft('interrupted', [1])

    def test_process_that_goes_on_is_rid_of_the_runtime(self):
        inside = threading.Event()

        def work(worker):
            inside.set()
            worker.wait(LIMIT)

        declareWorker('work', work)
        for way in ('close', 'close the storage'):
            with self.subTest(way):
                self.open()
                self.before = self.value()
                inside.clear()
                run_id = self.start('work')
                self.assertTrue(inside.wait(LIMIT))
                transaction.abort()
                WAYS[way](self.db, self.runtime)
                waitUntil(lambda: not [
                    thread for thread in threading.enumerate()
                    if thread.name.startswith('background')], 'no threads')
                self.assertIsNone(switchboard.queryRuntime(self.db))
                self.assertNotIn('Traceback', self.logged.getvalue())
                self.run_ids = [run_id]
                declareWorker('work', lambda worker: None)
                self.connection.close()
                self.db.close()
                self.assertLeft('succeeded', MAYBE)
                declareWorker('work', work)


class IsClosedTests(unittest.TestCase):
    """Each kind of storage shows that it was closed."""

    layer = Live

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = folder.name

    def check(self, make):
        """Assert it of databases that *make* makes."""
        for close in lambda db: db.close(), lambda db: db.storage.close():
            db = make()
            self.addCleanup(lambda db=db: db.close())
            db.open().close()
            self.assertFalse(isClosed(db))
            self.assertTrue(isTransient(ConflictError(), db))
            close(db)
            self.assertTrue(isClosed(db))
            self.assertFalse(isTransient(ConflictError(), db))

    def file(self):
        return FileStorage(os.path.join(self.path, 'Data.fs'))

    def test_file(self):
        self.check(lambda: DB(self.file()))

    def test_file_with_blobs(self):
        self.check(lambda: DB(BlobStorage(
            os.path.join(self.path, 'blobs'), self.file())))

    def test_file_is_open_during_and_after_a_pack(self):
        db = DB(self.file())
        self.addCleanup(db.close)
        seen = []
        pack = db.storage.pack
        db.storage.pack = lambda *args: (
            seen.append(isClosed(db)), pack(*args), seen.append(isClosed(db)))
        db.pack()
        self.assertEqual(seen, [False, False])

    def test_memory(self):
        self.check(lambda: DB(MappingStorage()))
        self.check(lambda: DB(DemoStorage()))
        self.check(lambda: DB(DemoStorage(base=self.file())))

    def test_zeo(self):
        requireServer(self, ZEOServer.findMissing())
        with ZEOServer(self.path) as server:
            self.check(lambda: openDatabase(server.uri))

    def test_what_is_no_database_is_not_closed(self):
        for db in None, object(), mock.Mock():
            self.assertFalse(isClosed(db))
