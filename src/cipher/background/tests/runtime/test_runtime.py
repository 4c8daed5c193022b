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
"""The runtime: from the caller's commit to the commit of the work."""
import re
import threading
import time

import transaction
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError
from zope.component import getGlobalSiteManager
from zope.component.hooks import getSite
from zope.interface.verify import verifyObject

from cipher.background.interfaces import IExecutor
from cipher.background.interfaces import IRuntime
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import IWorkerType
from cipher.background.interfaces import IWorkObserver
from cipher.background.interfaces import RuntimeRefused
from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.runtime.runtime import startRuntime
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import makeSite
from cipher.background.util import switchboard
from cipher.background.work.liverun import LiveRun
from cipher.background.work.liverun import Ticket
from cipher.background.work.recorder import JobRecorder
from cipher.background.work.recorder import LoopRecorder


def increment(worker):
    getSite()['counter'].value += 1


class StartTests(LiveTests):

    def test_interfaces(self):
        verifyObject(IRuntime, self.runtime)
        verifyObject(IRuntimeSettings, self.runtime.settings)
        verifyObject(IExecutor, self.runtime.executor)
        live = LiveRun(self.runtime, Ticket(b'', 1, 1))
        verifyObject(IWorkObserver, LoopRecorder(live, 1, True))
        verifyObject(IWorkObserver, JobRecorder(live, 1, True, None))

    def test_work_begins_as_soon_as_the_start_is_committed(self):
        # With a poll that does not find it.
        self.runtime.shutdown()
        self.runtime = self.startRuntime(poll=60.0)
        has_begun = threading.Event()

        def work(worker):
            has_begun.set()

        declareWorker('work', work)
        took = []
        for _ in range(5):
            has_begun.clear()
            self.begin()
            self.registry.start('work')
            began_at = time.perf_counter()
            transaction.commit()
            self.assertTrue(has_begun.wait(LIMIT))
            took.append(time.perf_counter() - began_at)
        self.assertLess(min(took), 1.0)

    def test_aborted_start_leaves_no_run_and_no_work(self):
        declareWorker('work', increment)
        self.begin()
        run_id = self.registry.start('work').id
        transaction.abort()
        self.assertIsNone(self.registry.get(run_id))
        self.carryOut('work')
        self.assertEqual(self.value(), 1)

    def test_look_and_job_share_a_connection(self):
        declareWorker('work', increment)
        self.carryOut('work')
        opened = []
        original = self.db.open

        def counting(*args, **options):
            name = threading.current_thread().name
            if re.fullmatch('background-[0-9]+', name):
                opened.append(name)
            return original(*args, **options)

        self.db.open = counting
        self.addCleanup(vars(self.db).pop, 'open')
        for _ in range(11):
            self.carryOut('work')
        # Now and then another thread is there sooner for what was found.
        self.assertLess(len(opened), 17, opened)

    def test_start_rolled_back_by_a_savepoint(self):
        declareWorker('work', increment)
        for _ in range(3):
            self.begin()
            savepoint = transaction.savepoint()
            rolled_back = self.registry.start('work').id
            transaction.savepoint()
            savepoint.rollback()
            transaction.commit()
            # The serial is given out again: that run is carried out.
            runs = [self.start('work') for _ in range(8)]
            self.assertIn(rolled_back, runs)
            for run_id in runs:
                self.assertEqual(
                    self.waitFinished(run_id).state, 'succeeded')
        self.assertEqual(self.value(), 24)
        self.assertNotIn('Error', self.logged.getvalue())

    def test_start_behind_a_savepoint(self):
        declareWorker('work', increment)
        for _ in range(20):
            self.begin()
            self.registry.start('work')
            transaction.savepoint()
            run_id = self.registry.start('work').id
            transaction.commit()
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        waitUntil(lambda: self.value() == 40)
        self.begin()
        self.assertLess(len(self.registry.lanes), 20)

    def test_effect_and_result(self):
        def work(worker):
            increment(worker)
            return 'done it'

        declareWorker('work', work)
        status = self.carryOut('work')
        self.assertEqual(status.state, 'succeeded')
        self.assertEqual(status.result, 'done it')
        self.assertEqual(status.attempts, 1)
        self.assertEqual(status.interruptions, 0)
        self.assertEqual(status.owner, self.runtime.name)
        self.assertLessEqual(status.created_at, status.started_at)
        self.assertLessEqual(status.started_at, status.finished_at)
        self.assertEqual(self.value(), 1)
        self.assertEqual(self.registry.getCounts(),
                         {'work': {'succeeded': 1}})

    def test_effect_and_succeeded_are_one_commit(self):
        declareWorker('work', increment)
        run_id = self.start('work')
        self.waitFinished(run_id)
        run = self.registry.get(run_id)
        run._p_activate()
        self.counter._p_activate()
        self.assertEqual(run._p_serial, self.counter._p_serial)

    def test_data_manager_that_fails_at_its_vote(self):
        class Refusing:
            # Votes after all others.
            transaction_manager = transaction.manager

            def sortKey(self):
                return '~~~~'

            def tpc_vote(self, txn):
                raise OSError('disk full')

            def nothing(self, txn):
                """Do nothing."""

            abort = tpc_begin = commit = tpc_finish = tpc_abort = nothing

        def work(worker):
            increment(worker)
            transaction.get().join(Refusing())

        declareWorker('work', work)
        status = self.carryOut('work')
        self.assertEqual(status.state, 'failed')
        self.assertEqual(status.error_type, 'OSError')
        self.assertEqual(self.value(), 0)

    def test_server_commits_and_the_reply_is_lost(self):
        calls = []
        storage = type(self.db.storage)
        tpc_finish = storage.tpc_finish

        def finish(storage, txn, *args, **kwargs):
            tid = tpc_finish(storage, txn, *args, **kwargs)
            is_work = txn.description.startswith(b'work')
            if is_work and calls == ['work']:
                calls.append('lost')
                raise TransientError('the reply is lost')
            return tid

        def work(worker):
            calls.append('work')
            increment(worker)

        declareWorker('work', work)
        self.patchFinish(finish)
        status = self.carryOut('work')
        self.assertEqual(status.state, 'succeeded')
        self.assertEqual(calls, ['work', 'lost'])
        self.assertEqual(self.value(), 1)

    def test_conflicts_are_retried_and_the_effect_is_once(self):
        errors = [ConflictError(), ConflictError()]
        contexts = []

        def work(worker):
            contexts.append(worker.context)
            worker.context.value += 1
            if errors:
                raise errors.pop()

        declareWorker('work', work)
        status = self.carryOut('work', self.counter)
        self.assertEqual(status.state, 'succeeded')
        self.assertEqual(status.attempts, 1)
        self.assertEqual(self.value(), 1)
        self.assertEqual(len(contexts), 3)

    def test_storm_on_one_object(self):
        self.runtime.shutdown()
        declareWorker('work', increment)
        self.begin()
        runs = [self.registry.start('work').id for _ in range(40)]
        transaction.commit()
        self.runtime = self.startRuntime(threads=8)
        for run_id in runs:
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertEqual(self.value(), 40)

    def test_run_that_always_conflicts_fails(self):
        def work(worker):
            raise ConflictError('for ever')

        declareWorker('work', work)
        self.patch(
            'cipher.background.work.loop.WorkLoop.max_tries', 3)
        status = self.carryOut('work')
        self.assertEqual(status.state, 'failed')
        self.assertEqual(status.error_type, 'ConflictError')

    def test_thousands_of_waiting_runs(self):
        self.runtime.shutdown()
        self.patch('cipher.background.runtime.queue.backlog.CAPACITY', 100)
        declareWorker('work', lambda worker: None)
        self.begin()
        for _ in range(2000):
            self.registry.start('work')
        transaction.commit()
        self.runtime = self.startRuntime()

        def counts():
            self.begin()
            return self.registry.getCounts() == {'work': {'succeeded': 2000}}

        waitUntil(counts, limit=LIMIT * 3)

    def test_runs_stored_before_the_runtime_began(self):
        self.runtime.shutdown()
        declareWorker('work', increment)
        runs = [self.start('work') for _ in range(10)]
        self.assertEqual({self.status(run_id).state for run_id in runs},
                         {'pending'})
        self.runtime = self.startRuntime()
        for run_id in runs:
            status = self.waitFinished(run_id)
            self.assertEqual(status.state, 'succeeded')
            self.assertEqual(status.interruptions, 0)
        self.assertEqual(self.value(), 10)

    def test_registry_that_is_added_later(self):
        manager = transaction.TransactionManager()
        connection, site, registry = makeSite(self.db, 'Other', manager)
        self.addCleanup(connection.close)
        called = threading.Event()
        declareWorker('work', lambda worker: called.set())
        manager.begin()
        registry.start('work')
        manager.commit()
        self.assertTrue(called.wait(LIMIT))
        manager.abort()

    def test_type_that_nobody_declares_waits(self):
        self.patch(
            'cipher.background.runtime.executors.threads.RETRY_DELAY', 0.02)
        worker_type = declareWorker('work', increment)
        self.begin()
        run_id = self.registry.start('work').id
        getGlobalSiteManager().unregisterUtility(
            worker_type, IWorkerType, 'work')
        transaction.commit()
        waitUntil(lambda: 'no ZCML declares' in self.logged.getvalue())
        self.assertEqual(self.status(run_id).state, 'pending')
        declareWorker('work', increment)
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def test_runtime_without_threads_carries_nothing_out(self):
        self.runtime.shutdown()
        self.runtime = self.startRuntime(threads=0)
        declareWorker('work', increment)
        run_id = self.start('work')
        self.waitTurn()
        self.assertEqual(self.status(run_id).state, 'pending')
        self.assertEqual(self.value(), 0)

    def test_process_beats_though_its_turns_fail(self):
        def turn(with_adoption):
            raise ValueError('whatever')

        self.patch(
            'cipher.background.runtime.maintenance.heartbeat.BEATS_PER_LEASE',
            10000)
        self.runtime.shutdown()
        self.runtime = self.startRuntime()
        self.runtime._maintenance.turn = turn

        def count():
            self.begin()
            record, = getDirectory(self.connection).processes.values()
            return record.heartbeat.count

        seen = count()
        waitUntil(lambda: count() > seen + 1, 'a beat')

    def test_second_runtime_of_a_database_is_refused(self):
        with self.assertRaisesRegex(RuntimeRefused, 'shut that down first'):
            startRuntime(self.db, RuntimeSettings())
        self.assertIs(switchboard.queryRuntime(self.db), self.runtime)

    def test_unknown_setting_is_refused(self):
        with self.assertRaisesRegex(TypeError, 'thread'):
            RuntimeSettings(thread=1)
