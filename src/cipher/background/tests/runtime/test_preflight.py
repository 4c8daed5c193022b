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
"""What a runtime finds when it begins: bad settings, a bad database."""
import os
import threading
from unittest import mock

import transaction
from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ReadOnlyError
from ZODB.POSException import ReadOnlyHistoryError
from zope.component import provideUtility
from zope.processlifetime import DatabaseOpenedWithRoot

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.interfaces import InvalidDatabase
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import RuntimeRefused
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.registry import WorkerRegistry
from cipher.background.runtime.runtime import startRuntime
from cipher.background.store.lanepool import getPool
from cipher.background.store.process import ROOT_KEY
from cipher.background.store.process import Directory
from cipher.background.subscribers import startRuntimeOfDatabase
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.live import Database
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import inFork
from cipher.background.tests.support.live import noThread
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util import switchboard


def threads():
    """Return the names of our threads."""
    return [thread.name for thread in threading.enumerate()
            if thread.name.startswith('background')]


def look(registry):
    """Call all that a page calls to show a registry."""
    page = registry.listRuns()
    for status in page.items:
        registry.getStatus(status.id)
        registry.getDetails(status.id)
        registry.getContext(status.id)
    registry.listRuns(states=['failed', 'succeeded'])
    registry.listRuns(states=['pending'])
    registry.getCounts()
    registry.listProcesses()
    registry.listSchedules()
    for name in 'listTypes', 'getActivity', 'listProblems', 'listActions':
        getattr(registry, name)()
    return page.items


class ReadOnlyTests(LiveTests):

    def setUp(self):
        super().setUp()

        def work(worker):
            if worker.context is not None:
                raise ValueError('broken')

        declareWorker('work', work)
        self.carryOut('work')
        self.carryOut('work', self.counter)
        self.runtime.shutdown()
        self.start('work')

    def reopen(self):
        """Open the database read-only; nothing runs."""
        transaction.abort()
        self.connection.close()
        self.db.close()
        self.path = os.path.join(self.folder.name, 'Data.fs')
        self.db = Database(FileStorage(self.path, read_only=True))
        self.addCleanup(self.db.close)
        self.connection = self.db.open()
        self.site = self.connection.root()['Application']
        self.registry = self.site.getSiteManager()['background']

    def test_runtime_of_a_read_only_database_is_refused(self):
        self.reopen()
        size = os.path.getsize(self.path)
        with self.assertRaisesRegex(
                RuntimeRefused, 'expected a database that can be written, '
                'got one that is opened read-only; .* leave'):
            startRuntime(self.db)
        self.assertIsNone(switchboard.queryRuntime(self.db))
        # ZCML declares it: the application goes on without.
        provideUtility(RuntimeSettings(), IRuntimeSettings)
        startRuntimeOfDatabase(DatabaseOpenedWithRoot(self.db))
        self.assertIsNone(switchboard.queryRuntime(self.db))
        self.assertIn('read-only', self.logged.getvalue())
        waitUntil(lambda: not threads(), 'no thread left')
        self.assertEqual(os.path.getsize(self.path), size)

    def test_pages_of_a_read_only_database(self):
        self.reopen()
        self.assertEqual([run.state for run in look(self.registry)],
                         ['pending', 'failed', 'succeeded'])
        transaction.commit()   # nothing is written
        self.assertEqual(addRegistry(self.site), self.registry)
        transaction.commit()
        self.registry.start('work')
        with self.assertRaises(ReadOnlyError):
            transaction.commit()
        transaction.abort()
        self.assertEqual(len(look(self.registry)), 3)

    def test_thread_made_by_hand_works_without_a_record(self):
        self.reopen()
        seen = []

        class Reading(BackgroundWorkerThread):
            def scheduleNextWork(self):
                return not seen

            def doWork(self):
                seen.append(self.run_id)

        worker = Reading.forSite(self.site, 'bob')
        worker.start()
        worker.join(LIMIT)
        self.assertEqual(seen, [None])
        waitUntil(lambda: not threads(), 'no thread left')

    def test_pages_of_a_historical_connection(self):
        before = self.db.lastTransaction()
        self.carryOutAll()
        manager = transaction.TransactionManager()
        connection = self.db.open(manager, at=before)
        self.addCleanup(connection.close)
        self.addCleanup(manager.abort)
        site = connection.root()['Application']
        registry = site.getSiteManager()['background']
        self.assertEqual([run.state for run in look(registry)],
                         ['pending', 'failed', 'succeeded'])
        manager.commit()
        registry.start('work')
        with self.assertRaises(ReadOnlyHistoryError):
            manager.commit()
        manager.abort()
        # It took nothing away from those that may write.
        self.carryOut('work')

    def carryOutAll(self):
        self.runtime = self.startRuntime()
        waitUntil(lambda: self.counts() == {
            'work': {'succeeded': 2, 'failed': 1}})
        waitUntil(lambda: not self.runtime.allLive())

    def counts(self):
        self.begin()
        return self.registry.getCounts()


class SmallPoolTests(LiveTests):

    settings = dict(LiveTests.settings, threads=6)

    def makeDatabase(self):
        return Database(FileStorage(
            os.path.join(self.folder.name, 'Data.fs')), pool_size=3)

    def advice(self):
        return [line for line in self.logged.getvalue().splitlines()
                if 'pool_size' in line]

    def test_more_threads_than_the_pool_holds(self):
        barrier = threading.Barrier(6)
        counts = []

        def work(worker):
            barrier.wait(LIMIT)
            counts.append(len([
                info for info in self.db.connectionDebugInfo()
                if info['opened']]))

        declareWorker('work', work)
        for run_id in [self.start('work') for _ in range(18)]:
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        # One for each thread, the control thread and the test.
        self.assertGreaterEqual(max(counts), 6)
        self.assertLessEqual(max(counts), 6 + 1 + 1)
        advice, = self.advice()
        self.assertIn('a pool of at least 8 connections for 6 threads, got '
                      'one of 3; set its pool_size', advice)

    def test_no_advice_where_the_pool_is_big_enough(self):
        self.runtime.shutdown()
        self.logged.truncate(0)
        self.startRuntime(threads=1)
        self.assertEqual(self.advice(), [])


class NoThreadTests(LiveTests):

    def test_no_thread_to_be_had_at_the_begin(self):
        self.runtime.shutdown()
        declareWorker('work', lambda worker: None)
        run_id = self.start('work')
        with noThread('background-2'):
            with self.assertRaisesRegex(RuntimeError, "can't start"):
                startRuntime(self.db, RuntimeSettings())
        self.assertIsNone(switchboard.queryRuntime(self.db))
        waitUntil(lambda: not threads(), 'no thread left')
        self.assertEqual(self.status(run_id).state, 'pending')
        self.runtime = self.startRuntime()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')


class ForkTests(LiveTests):

    def test_runtime_refuses_in_a_child(self):
        def check():
            self.assertIsNone(switchboard.queryRuntime(self.db))
            with self.assertRaisesRegex(
                    RuntimeRefused, 'got a fork of it; make one after'):
                self.runtime.start()
            self.runtime.wake([(b'', 1, 1, 0, 0.0, None)])
            self.runtime.shutdown()
            # The lanes of the parent are not ours.
            self.assertIsNot(pool, getPool(self.db, self.registry._p_oid))

        declareWorker('work', lambda worker: None)
        pool = getPool(self.db, self.registry._p_oid)
        self.assertEqual(inFork(check), 0)
        self.assertIs(switchboard.queryRuntime(self.db), self.runtime)
        self.assertEqual(self.carryOut('work').state, 'succeeded')


class BadDatabaseTests(FileSiteTests):

    layer = Live

    def assertInvalid(self, pattern):
        transaction.commit()
        with self.assertRaisesRegex(InvalidDatabase, pattern):
            startRuntime(self.db)
        self.assertIsNone(switchboard.queryRuntime(self.db))
        waitUntil(lambda: not threads(), 'no thread left')
        # As at the start of an application.
        provideUtility(RuntimeSettings(), IRuntimeSettings)
        with self.assertRaises(InvalidDatabase):
            startRuntimeOfDatabase(DatabaseOpenedWithRoot(self.db))

    def test_something_else_under_the_name_of_the_directory(self):
        self.connection.root()[ROOT_KEY] = PersistentMapping()
        self.assertInvalid(
            "expected the directory of cipher.background at "
            "'cipher.background' in its root, got a PersistentMapping; ")
        with self.assertRaises(InvalidDatabase):
            self.registry.listProcesses()

    def test_directory_without_its_parts(self):
        del self.connection.root()[ROOT_KEY].slots
        self.assertInvalid('directory: expected a OOBTree as its attribute '
                           'slots, got a NoneType; it is damaged or of')

    def test_registry_without_lanes(self):
        del self.registry.lanes
        self.assertInvalid("registry .*: expected a LOBTree as its attribute "
                           "lanes, got a NoneType; it is damaged or of")

    def test_registry_with_lanes_of_another_type(self):
        self.registry.lanes = OOBTree()
        self.assertInvalid('expected a LOBTree as its attribute lanes, got a '
                           'OOBTree')

    def test_registry_with_an_empty_or_a_wrong_lane(self):
        self.registry.lanes = LOBTree()
        self.assertInvalid('expected lanes in its attribute lanes')
        self.registry.lanes[1] = PersistentMapping()
        self.assertInvalid('expected lanes in its attribute lanes')

    def test_registry_that_was_half_migrated(self):
        del self.registry.unique_keys
        self.assertInvalid('its attribute unique_keys')

    def test_attribute_that_was_added_later_is_not_asked_for(self):
        for kind in WorkerRegistry, Directory:
            before = kind.__init__

            def init(obj, before=before):
                before(obj)
                obj.added_later = OOBTree()

            self.addCleanup(setattr, kind, '__init__', before)
            kind.__init__ = init
        runtime = startRuntime(self.db, RuntimeSettings(threads=0))
        self.addCleanup(runtime.shutdown)

    def test_good_database_and_the_transaction_of_the_caller(self):
        self.counter.value = 7
        runtime = startRuntime(self.db, RuntimeSettings(threads=0))
        self.addCleanup(runtime.shutdown)
        transaction.commit()   # what was open is still there
        connection = self.db.open(transaction.TransactionManager())
        self.addCleanup(connection.close)
        self.assertEqual(
            connection.root()['Application']['counter'].value, 7)

    def test_database_that_is_away_is_no_reason(self):
        with mock.patch.object(self.db, 'open', side_effect=OSError('away')):
            runtime = startRuntime(self.db, RuntimeSettings(poll=0.05))
        self.addCleanup(runtime.shutdown)
        self.assertIn('cannot be read', self.logged.getvalue())
        declareWorker('work', lambda worker: None)
        run = self.registry.start('work')
        transaction.commit()

        def is_done():
            self.begin()
            return run.state == 'succeeded'

        waitUntil(is_done)


class SettingsTests(LiveTests):

    def test_drain_of_nothing_interrupts_at_once(self):
        self.runtime.shutdown()
        self.runtime = self.startRuntime(drain=0.0)
        declareWorker('work', lambda worker: self.gate.stop())
        run_id = self.start('work')
        self.gate.waitReached()
        thread = self.runtime.allLive()[0].thread_id
        self.runtime.shutdown()
        status = self.status(run_id)
        self.assertEqual((status.state, status.attempts), ('pending', 0))
        self.gate.open()
        waitUntil(lambda: thread not in [
            thread.ident for thread in threading.enumerate()])
        self.assertEqual(self.status(run_id).state, 'pending')

    def test_long_poll_does_not_delay_the_beat(self):
        self.runtime.shutdown()
        self.runtime = self.startRuntime(poll=60.0, lease=3.0)

        def beats():
            self.begin()
            record, = self.registry.listProcesses()
            return record.beat_at

        first = beats()
        waitUntil(lambda: beats() > first)

    def test_two_runtimes_in_one_process(self):
        with self.assertRaisesRegex(
                RuntimeRefused, 'expected a database without one in this '
                'process, got one that has it; shut that down first'):
            startRuntime(self.db)
        # Each database may have its own.
        other = Database(None)
        self.addCleanup(other.close)
        runtime = startRuntime(other, RuntimeSettings())
        self.addCleanup(runtime.shutdown)
        self.assertIs(switchboard.queryRuntime(other), runtime)
        self.assertIs(switchboard.queryRuntime(self.db), self.runtime)
