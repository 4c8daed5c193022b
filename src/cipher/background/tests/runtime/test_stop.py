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
"""Stop requests, and who wins when they race with the end of the work."""
import threading

import transaction
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite

from cipher.background.interfaces import RunNotStoppable
from cipher.background.tests.support.live import CountingLoop
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareKinds
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import login
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.work.liverun import LiveRun
from cipher.background.work.liverun import Ticket
from cipher.background.work.outcome import writeError


class StopTests(LiveTests):

    def assertForgotten(self):
        """Assert that no stop request is left over."""
        def is_empty():
            self.begin()
            return not self.registry.stops
        waitUntil(is_empty, 'the end of the stop requests')

    def test_pending_run_is_stopped_by_the_callers_commit(self):
        self.runtime.shutdown()
        called = []
        declareWorker('work', called.append)
        run_id = self.start('work')
        self.assertEqual(self.requestStop(run_id, 'no more'), 'stopped')
        status = self.status(run_id)
        self.assertEqual((status.state, status.stop.reason),
                         ('stopped', 'no more'))
        self.runtime = self.startRuntime()
        declareWorker('other', lambda worker: None)
        self.carryOut('other')
        self.assertEqual(called, [])

    def test_run_stopped_in_the_transaction_of_its_start(self):
        called = []
        declareWorker('work', called.append)
        declareWorker('other', lambda worker: None)
        self.begin()
        run_id = self.registry.start('work').id
        self.assertEqual(self.registry.requestStop(run_id), 'stopped')
        transaction.commit()
        self.carryOut('other')
        self.assertEqual(self.status(run_id).state, 'stopped')
        self.assertEqual(called, [])

    def test_running_job_is_told(self):
        def work(worker):
            getSite()['counter'].value += 1
            self.gate._reached.set()
            worker.wait(LIMIT)
            worker.checkStop()

        for on_interrupt in 'rerun', 'fail':
            with self.subTest(on_interrupt):
                self.gate.__init__()
                declareWorker('work', work, on_interrupt=on_interrupt)
                run_id = self.start('work')
                self.gate.waitReached()
                login('admin')
                self.assertEqual(self.requestStop(run_id, 'why'), 'running')
                status = self.waitFinished(run_id)
                self.assertEqual(status.state, 'stopped')
                self.assertEqual(status.stop.principal, 'admin')
                self.assertEqual(status.stop.reason, 'why')
                self.assertEqual(self.value(), 0)
                self.assertForgotten()

    def test_loop_is_stopped_between_its_iterations(self):
        declareWorker('loop', factory=CountingLoop, is_loop=True)
        run_id = self.start('loop')
        waitUntil(lambda: self.value() > 1)
        self.requestStop(run_id)
        self.assertEqual(self.waitFinished(run_id).state, 'stopped')
        self.assertForgotten()

    def test_loop_whose_last_iteration_failed_is_stopped(self):
        class Loop(BackgroundWorkerThread):
            def scheduleNextWork(self):
                return True

            def doWork(self):
                raise ValueError

        for is_shutdown in False, True:
            with self.subTest(is_shutdown=is_shutdown):
                declareWorker('loop', factory=Loop, is_loop=True)
                run_id = self.start('loop')
                waitUntil(lambda: 'ValueError' in self.logged.getvalue())
                if is_shutdown:
                    self.runtime.shutdown()
                    # It is carried out again by the next runtime.
                    self.assertEqual(self.status(run_id).state, 'pending')
                else:
                    self.requestStop(run_id)
                    self.assertEqual(self.waitFinished(run_id).state,
                                     'stopped')

    def test_stop_before_the_loop_starts(self):
        # Between the claim and the begin of the thread.
        enter = self.runtime.enter

        def enter_and_stop(live):
            entered = enter(live)
            if entered and live.stop is None:
                self.gate.stop()
            return entered

        called = declareKinds()
        self.runtime.enter = enter_and_stop
        for name in 'rerun', 'fail', 'loop':
            with self.subTest(name):
                self.gate.__init__()
                run_id = self.start(name)
                self.gate.waitReached()
                self.assertEqual(self.requestStop(run_id), 'running')
                waitUntil(lambda: self.runtime.findLive(
                    self.registry._p_oid, run_id).stop is not None)
                self.gate.open()
                self.assertEqual(self.waitFinished(run_id).state, 'stopped')
                self.assertEqual(called, [])
                self.assertForgotten()

    def test_the_finish_wins(self):
        def work(worker):
            self.gate.stop()

        declareWorker('work', work)
        run_id = self.start('work')
        self.gate.waitReached()
        self.begin()
        self.assertEqual(self.registry.requestStop(run_id), 'running')
        self.gate.open()
        # The work commits before the request does.
        manager = transaction.TransactionManager()
        connection = self.db.open(manager)
        self.addCleanup(connection.close)
        registry = connection.get(self.registry._p_oid)

        def is_finished():
            manager.begin()
            return registry.get(run_id).isFinished()

        waitUntil(is_finished)
        manager.abort()
        transaction.commit()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertForgotten()
        with self.assertRaises(RunNotStoppable):
            self.registry.requestStop(run_id)

    def test_the_stop_wins(self):
        # Another process takes the run, which nobody has claimed, for
        # pending and stops it; the worker is at its end already.
        def work(worker):
            getSite()['counter'].value += 1
            self.gate.stop()

        declareWorker('work', work)
        run_id = self.start('work')
        self.gate.waitReached()
        self.begin()
        get_live = self.runtime.getLive
        self.runtime.getLive = lambda oid, run_id: None
        self.assertEqual(self.registry.requestStop(run_id), 'stopped')
        self.runtime.getLive = get_live
        transaction.commit()
        self.gate.open()
        waitUntil(lambda: not self.runtime.allLive())
        self.assertEqual(self.status(run_id).state, 'stopped')
        self.assertEqual(self.value(), 0)
        self.assertEqual(self.registry.getCounts(), {'work': {'stopped': 1}})

    def test_work_that_is_over_ignores_the_stop(self):
        def work(worker):
            getSite()['counter'].value += 1
            self.gate.stop()

        declareWorker('work', work)
        run_id = self.start('work')
        self.gate.waitReached()
        self.requestStop(run_id)
        waitUntil(lambda: self.runtime.allLive()[0].worker.stop_requested)
        self.gate.open()
        status = self.waitFinished(run_id)
        self.assertEqual(status.state, 'succeeded')
        self.assertIsNotNone(status.stop)
        self.assertEqual(self.value(), 1)
        self.assertForgotten()

    def test_stubborn_work_is_never_claimed_stopped(self):
        declareWorker('work', lambda worker: self.gate.stop())
        run_id = self.start('work')
        self.gate.waitReached()
        self.requestStop(run_id, 'please')
        waitUntil(lambda: self.runtime.allLive()[0].worker.stop_requested)
        self.waitTurn()
        status = self.status(run_id)
        self.assertEqual((status.state, status.stop.reason),
                         ('running', 'please'))
        self.assertFalse(status.is_stoppable)
        # A second request changes nothing.
        self.assertEqual(self.requestStop(run_id, 'now'), 'running')
        self.assertEqual(self.status(run_id).stop.reason, 'please')
        self.gate.open()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def test_stop_of_a_run_that_waits_for_a_thread(self):
        called = []
        declareWorker('busy', lambda worker: self.gate.stop())
        declareWorker('work', called.append)
        busy = [self.start('busy') for _ in range(2)]
        waitUntil(lambda: len(self.runtime.allLive()) == 2)
        run_id = self.start('work')
        self.assertEqual(self.requestStop(run_id), 'stopped')
        self.gate.open()
        for other in busy:
            self.waitFinished(other)
        self.assertEqual(self.status(run_id).state, 'stopped')
        waitUntil(lambda: not sum(self.runtime.backlog.counts()))
        self.assertEqual(called, [])

    def test_request_that_comes_while_an_error_is_written(self):
        declareWorker('work', lambda worker: None)
        self.runtime.shutdown()
        run_id = self.start('work')
        manager = transaction.TransactionManager()
        connection = self.db.open(manager)
        self.addCleanup(connection.close)
        self.addCleanup(manager.abort)
        for is_known in True, False:
            with self.subTest(is_known):
                connection.cacheMinimize()
                manager.begin()
                registry = connection.get(self.registry._p_oid)
                if is_known:
                    len(registry.stops)
                run = registry.get(run_id)
                live = LiveRun(self.runtime, Ticket(
                    registry._p_oid, run.lane, run.serial))
                writeError(live, run, registry, ValueError(),
                           lambda attempts: None)
                self.request_apart('9-%d' % is_known)
                # It may be a request for this run, which it has not seen.
                with self.assertRaises(ConflictError):
                    manager.commit()
                manager.abort()

    def request_apart(self, run_id):
        manager = transaction.TransactionManager()
        connection = self.db.open(manager)
        stops = connection.get(self.registry._p_oid).stops
        stops[run_id] = (None, 1.0, None)
        manager.commit()
        connection.close()

    def test_storm(self):
        # Whoever wins, what is told is what happened.
        def work(worker):
            worker.checkStop()
            getSite()['counter'].value += 1
            worker.wait(0.002)
            worker.checkStop()

        declareWorker('work', work)
        runs = [self.start('work') for _ in range(30)]

        def stop_some():
            connection = self.db.open()
            registry = connection.get(self.registry._p_oid)
            for run_id in runs[::2]:
                transaction.begin()
                try:
                    registry.requestStop(run_id)
                    transaction.commit()
                except (RunNotStoppable, transaction.interfaces
                        .TransientError):
                    transaction.abort()
            connection.close()

        thread = threading.Thread(target=stop_some)
        thread.start()
        thread.join(LIMIT)
        states = [self.waitFinished(run_id).state for run_id in runs]
        self.assertLessEqual(set(states), {'succeeded', 'stopped'})
        self.assertEqual(set(states[1::2]), {'succeeded'})
        self.assertEqual(self.value(), states.count('succeeded'))
        self.assertForgotten()
