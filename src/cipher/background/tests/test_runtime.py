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
import threading
import time

import transaction
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError
from zope.component import getUtility
from zope.component.hooks import getSite
from zope.interface.verify import verifyObject
from zope.security.management import endInteraction
from zope.security.management import queryInteraction

from cipher.background import switchboard
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import IExecutor
from cipher.background.interfaces import IRuntime
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import IWorker
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkObserver
from cipher.background.interfaces import RunLost
from cipher.background.interfaces import RuntimeRefused
from cipher.background.live import LiveRun
from cipher.background.live import Ticket
from cipher.background.recorder import JobRecorder
from cipher.background.recorder import LoopRecorder
from cipher.background.runtime import RuntimeSettings
from cipher.background.runtime import startRuntime
from cipher.background.tests.live_support import LiveTests
from cipher.background.tests.live_support import declareWorker
from cipher.background.tests.live_support import waitUntil
from cipher.background.tests.support import LIMIT
from cipher.background.tests.support import login
from cipher.background.thread import BackgroundJob
from cipher.background.thread import BackgroundWorkerThread


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
        self.assertLess(min(took), 0.2)

    def test_fault_39_aborted_start_leaves_no_run_and_no_work(self):
        declareWorker('work', increment)
        self.begin()
        run_id = self.registry.start('work').id
        transaction.abort()
        self.assertIsNone(self.registry.get(run_id))
        self.carryOut('work')
        self.assertEqual(self.value(), 1)

    def test_fault_40_start_rolled_back_by_a_savepoint(self):
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

    def test_commit_that_fails_stores_neither(self):
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

    def test_fault_05_server_commits_and_the_reply_is_lost(self):
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
        self.patch(
            'ZODB.FileStorage.FileStorage.FileStorage.tpc_finish', finish)
        status = self.carryOut('work')
        self.assertEqual(status.state, 'succeeded')
        self.assertEqual(calls, ['work', 'lost'])
        self.assertEqual(self.value(), 1)

    def test_fault_18_conflicts_are_retried_and_the_effect_is_once(self):
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

    def test_fault_18_storm_on_one_object(self):
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
            'cipher.background.thread.BackgroundWorkerThread.max_tries', 3)
        status = self.carryOut('work')
        self.assertEqual(status.state, 'failed')
        self.assertEqual(status.error_type, 'ConflictError')

    def test_thousands_of_waiting_runs(self):
        self.runtime.shutdown()
        self.patch('cipher.background.backlog.CAPACITY', 100)
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
        from cipher.background.tests.support import makeSite
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
        self.patch('cipher.background.executors.threads.RETRY_DELAY', 0.02)
        worker_type = declareWorker('work', increment)
        self.begin()
        run_id = self.registry.start('work').id
        from zope.component import getGlobalSiteManager

        from cipher.background.interfaces import IWorkerType
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
        self.runtime._keeper.turn(True)
        self.assertEqual(self.status(run_id).state, 'pending')
        self.assertEqual(self.value(), 0)

    def test_second_runtime_of_a_database_is_refused(self):
        with self.assertRaisesRegex(RuntimeRefused, 'shut that down first'):
            startRuntime(self.db, RuntimeSettings())
        self.assertIs(switchboard.getRuntime(self.db), self.runtime)

    def test_unknown_setting_is_refused(self):
        with self.assertRaisesRegex(TypeError, 'thread'):
            RuntimeSettings(thread=1)


class WorkerTests(LiveTests):
    """What a worker sees."""

    def test_handler_sees_its_world(self):
        seen = {}

        def work(worker):
            verifyObject(IWorker, worker)
            seen.update(
                run_id=worker.run_id, site=getSite()._p_oid,
                registry=getUtility(IWorkerRegistry)._p_oid,
                context=worker.context._p_oid, input=worker.input,
                thread=threading.current_thread().name)

        declareWorker('work', work)
        run_id = self.start('work', self.counter)
        self.waitFinished(run_id)
        self.assertEqual(seen.pop('thread')[:11], 'background-')
        self.assertEqual(seen, {
            'run_id': run_id, 'site': self.site._p_oid, 'input': {},
            'registry': self.registry._p_oid,
            'context': self.counter._p_oid})

    def test_starter_works_in_its_own_name(self):
        seen = []

        def work(worker):
            participation, = queryInteraction().participations
            seen.append(participation.principal.id)

        declareWorker('work', work)
        login('bob')
        run_id = self.start('work')
        endInteraction()
        self.assertEqual(self.waitFinished(run_id).starter, 'bob')
        self.assertEqual(self.carryOut('work').starter, None)
        self.assertEqual(seen, ['bob', 'zope.security.management.system_user'])

    def test_worker_starts_another(self):
        def first(worker):
            return getUtility(IWorkerRegistry).start('second').id

        declareWorker('first', first)
        declareWorker('second', increment)
        login('bob')
        run_id = self.start('first')
        endInteraction()
        second = self.waitFinished(self.waitFinished(run_id).result)
        self.assertEqual((second.state, second.starter), ('succeeded', 'bob'))
        self.assertEqual(self.value(), 1)

    def test_other_run_of_a_failing_worker_is_not_started(self):
        def first(worker):
            getUtility(IWorkerRegistry).start('second')
            raise ValueError

        declareWorker('first', first)
        declareWorker('second', increment)
        self.carryOut('first')
        self.assertEqual(self.registry.getCounts(),
                         {'first': {'failed': 1}})

    def test_progress_is_seen_while_it_runs(self):
        def work(worker):
            worker.setProgress(3, 10, 'third')
            self.gate.stop()

        declareWorker('work', work)
        run_id = self.start('work')
        self.gate.waitReached()
        status = self.status(run_id)
        self.assertEqual(status.state, 'running')
        self.assertEqual(
            (status.progress_done, status.progress_total, status.message),
            (3, 10, 'third'))
        self.assertEqual(self.registry.getCounts(), {'work': {'running': 1}})
        self.assertEqual(self.registry.get(run_id).state, 'pending')
        self.gate.open()
        status = self.waitFinished(run_id)
        self.assertEqual(status.message, 'third')

    def test_log_is_kept_for_each_run(self):
        self.addCleanup(self.runtime.shutdown)

        def work(worker, gates=[threading.Barrier(2)]):
            gates[0].wait(LIMIT)
            worker.log.info('I am %s', worker.run_id)
            worker.log.debug('too small to keep')

        declareWorker('work', work)
        self.begin()
        runs = [self.registry.start('work').id for _ in range(2)]
        transaction.commit()
        for run_id in runs:
            self.waitFinished(run_id)
            log = self.registry.getDetails(run_id).log
            self.assertEqual(log.count('I am'), 1, log)
            self.assertIn('I am %s' % run_id, log)
            self.assertNotIn('too small', log)

    def test_log_is_seen_while_it_runs(self):
        def work(worker):
            worker.log.warning('so far')
            self.gate.stop()

        declareWorker('work', work)
        run_id = self.start('work')
        self.gate.waitReached()
        self.assertIn('so far', self.registry.getDetails(run_id).log)

    def test_fault_47_log_is_capped(self):
        from cipher.background.runlog import LOG_LIMIT

        def work(worker):
            worker.log.info('the first line')
            for _ in range(30):
                worker.log.info('x' * 20000)
            worker.log.info('the last line')

        declareWorker('work', work)
        run_id = self.start('work')
        self.waitFinished(run_id)
        log = self.registry.getDetails(run_id).log
        self.assertLess(len(log), LOG_LIMIT + 1000)
        self.assertIn('the first line', log)
        self.assertIn('the last line', log)
        self.assertIn('cut here', log)

    def test_input_is_a_fresh_copy_at_each_try(self):
        from zope.interface import Interface
        from zope.schema import List

        class IInput(Interface):
            items = List(title='Items')

        errors = [ConflictError()]
        seen = []

        def work(worker, items):
            seen.append(list(items))
            items.pop()
            if errors:
                raise errors.pop()

        declareWorker('work', work, schema=IInput)
        run_id = self.start('work', items=[1, 2])
        self.waitFinished(run_id)
        self.assertEqual(seen, [[1, 2], [1, 2]])
        self.assertEqual(self.registry.getDetails(run_id).input,
                         {'items': [1, 2]})

    def test_job_class(self):
        from zope.interface import Interface
        from zope.schema import Int

        class IInput(Interface):
            number = Int(title='Number')

        class Job(BackgroundJob):

            def doWork(self):
                getSite()['counter'].value += self.input['number']
                return self.input['number']

            def doCleanup(self):
                getSite()['counter'].value += 100

        declareWorker('work', factory=Job, schema=IInput)
        status = self.carryOut('work', number=5)
        self.assertEqual((status.state, status.result), ('succeeded', 5))
        self.assertEqual(self.value(), 105)

    def test_loop_class_gets_its_input_as_keywords(self):
        from zope.interface import Interface
        from zope.schema import Int

        class IInput(Interface):
            rounds = Int(title='Rounds')

        inputs = []

        class Loop(BackgroundWorkerThread):

            def __init__(self, *args, rounds, **kwargs):
                super().__init__(*args, **kwargs)
                self.rounds = rounds

            def scheduleNextWork(self):
                self.rounds -= 1
                return self.rounds >= 0

            def doWork(self):
                inputs.append(self.input)
                getSite()['counter'].value += 1

        declareWorker('loop', factory=Loop, schema=IInput, is_loop=True)
        status = self.carryOut('loop', rounds=3)
        self.assertEqual((status.state, status.attempts), ('succeeded', 1))
        self.assertEqual(self.value(), 3)
        self.assertEqual(inputs, [{'rounds': 3}] * 3)

    def test_fail_type_is_claimed_by_a_commit_before_its_work(self):
        def work(worker):
            self.gate.stop()

        declareWorker('work', work, on_interrupt=FAIL)
        run_id = self.start('work')
        self.gate.waitReached()
        self.begin()
        run = self.registry.get(run_id)
        self.assertEqual(run.state, 'running')
        self.assertEqual(run.owner, self.runtime.id)
        self.assertEqual(run.attempts, 1)
        self.gate.open()
        status = self.waitFinished(run_id)
        self.assertEqual((status.state, status.attempts), ('succeeded', 1))

    def test_worker_that_lost_its_run_does_not_commit(self):
        def work(worker):
            increment(worker)
            self.gate.stop()

        for on_interrupt in 'rerun', 'fail':
            with self.subTest(on_interrupt):
                self.gate.__init__()
                declareWorker('work', work, on_interrupt=on_interrupt)
                run_id = self.start('work')
                self.gate.waitReached()
                self.begin()
                self.registry.get(run_id).putBack()
                transaction.commit()
                self.gate.open()
                waitUntil(lambda: not self.runtime.allLive())
                self.assertEqual(self.status(run_id).state, 'pending')
                self.assertEqual(self.value(), 0)
                self.assertNotIn(RunLost.__name__, self.logged.getvalue())
