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
"""The end of a runtime: drain, interruption, fork; and that nothing leaks."""
import threading
from unittest import mock

import transaction
from zope.component.hooks import getSite

from cipher.background.tests.support.live import CountingLoop
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareKinds
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import inFork
from cipher.background.tests.support.live import noThread
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.util import switchboard


class ShutdownTests(LiveTests):

    def work(self, worker):
        getSite()['counter'].value += 1
        self.gate.stop()

    def shut_down_behind(self, timeout=None):
        """Shut down in another thread; return that, once it drains."""
        thread = threading.Thread(
            target=self.runtime.shutdown, args=(timeout,))
        thread.start()
        waitUntil(lambda: self.runtime.is_draining)
        return thread

    def test_second_one_waits_as_long_as_the_first_may(self):
        declareWorker('work', self.work)
        run_id = self.start('work')
        self.gate.waitReached()
        self.runtime.settings.drain = 0.0
        first = self.shut_down_behind(LIMIT)
        with mock.patch(
                'cipher.background.runtime.runtime.LEAVE_TIMEOUT', 0.0):
            second = threading.Thread(target=self.runtime.shutdown)
            second.start()
            second.join(0.1)
            self.assertTrue(second.is_alive(), 'it did not wait')
        self.gate.open()
        for thread in first, second:
            thread.join(LIMIT)
            self.assertFalse(thread.is_alive())
        self.assertEqual(self.status(run_id).state, 'succeeded')

    def test_work_that_is_done_in_time_succeeds(self):
        declareWorker('work', self.work)
        run_id = self.start('work')
        self.gate.waitReached()
        thread = self.shut_down_behind()
        waiting = self.start('work')   # nothing new is taken
        self.gate.open()
        thread.join(LIMIT)
        self.assertEqual(self.status(run_id).state, 'succeeded')
        self.assertEqual(self.status(waiting).state, 'pending')
        self.assertEqual(self.value(), 1)
        self.assertIsNone(switchboard.queryRuntime(self.db))
        self.assertEqual(self.registry.listProcesses(), [])
        # The next one carries out what is left.
        self.runtime = self.startRuntime()
        status = self.waitFinished(waiting)
        self.assertEqual((status.state, status.interruptions),
                         ('succeeded', 0))

    def test_work_that_asks_is_put_back(self):
        def work(worker):
            getSite()['counter'].value += 1
            if not self.gate._opened.is_set():
                self.gate._reached.set()
                worker.wait(LIMIT)
                worker.checkStop()

        declareWorker('work', work)
        run_id = self.start('work')
        self.gate.waitReached()
        self.runtime.shutdown()
        self.assertNotIn('longer than the drain', self.logged.getvalue())
        status = self.status(run_id)
        self.assertEqual(
            (status.state, status.attempts, status.interruptions),
            ('pending', 0, 0))
        self.gate.open()
        self.runtime = self.startRuntime()
        status = self.waitFinished(run_id)
        self.assertEqual(
            (status.state, status.attempts, status.interruptions),
            ('succeeded', 1, 0))
        self.assertEqual(self.value(), 1)

    def test_stubborn_work_never_commits(self):
        for on_interrupt, state in ('rerun', 'pending'), (
                'fail', 'interrupted'):
            with self.subTest(on_interrupt):
                declareWorker('work', self.work, on_interrupt=on_interrupt)
                self.gate.__init__()
                run_id = self.start('work')
                self.gate.waitReached()
                worker = self.runtime.allLive()[0].worker
                thread = self.runtime.allLive()[0].thread_id
                self.runtime.shutdown(0.05)
                self.assertEqual(self.status(run_id).state, state)
                self.gate.open()
                waitUntil(lambda: thread not in [
                    t.ident for t in threading.enumerate()])
                self.assertTrue(worker.stop_requested)
                self.assertEqual(self.status(run_id).state, state)
                self.assertEqual(self.value(), 0)
                if state == 'pending':
                    self.assertEqual(self.status(run_id).attempts, 0)
                    self.registry.requestStop(run_id)
                    transaction.commit()
                self.assertNotIn('Error', self.logged.getvalue())
                self.runtime = self.startRuntime()

    def test_stubborn_work_outlives_its_database(self):
        declareWorker('work', self.work)
        self.start('work')
        self.gate.waitReached()
        thread = self.runtime.allLive()[0].thread_id
        self.runtime.shutdown(0.05)
        transaction.abort()
        self.connection.close()
        self.db.close()
        self.gate.open()
        waitUntil(lambda: thread not in [
            t.ident for t in threading.enumerate()])
        self.assertNotIn('could not be written', self.logged.getvalue())
        db = self.makeDatabase()
        self.addCleanup(db.close)
        connection = db.open()
        self.addCleanup(connection.close)
        site = connection.root()['Application']
        self.assertEqual(site['counter'].value, 0)

    def test_shutdown_before_the_work_begins_puts_back(self):
        enter = self.runtime.enter

        def enter_and_stop(live):
            entered = enter(live)
            if entered:
                self.gate.stop()
            return entered

        called = declareKinds()
        for name in 'rerun', 'fail', 'loop':
            with self.subTest(name):
                self.runtime.enter = enter_and_stop
                self.gate.__init__()
                run_id = self.start(name)
                self.gate.waitReached()
                thread = self.shut_down_behind()
                waitUntil(lambda: self.runtime.allLive()[0].is_shutdown)
                self.gate.open()
                thread.join(LIMIT)
                status = self.status(run_id)
                self.assertEqual((status.state, status.attempts),
                                 ('pending', 0))
                self.assertEqual(called, [])
                self.registry.requestStop(run_id)
                transaction.commit()
                self.runtime = self.startRuntime()
                enter = self.runtime.enter

    def test_loop_is_put_back(self):
        declareWorker('loop', factory=CountingLoop, is_loop=True)
        run_id = self.start('loop')
        waitUntil(lambda: self.value() > 0)
        self.runtime.shutdown()
        status = self.status(run_id)
        self.assertEqual((status.state, status.attempts), ('pending', 0))
        self.runtime = self.startRuntime()
        self.assertEqual(self.waitState(run_id, 'running').attempts, 1)

    def test_shutdown_may_be_called_twice(self):
        self.runtime.shutdown()
        self.runtime.shutdown()
        self.assertIsNone(switchboard.queryRuntime(self.db))

    def test_shutdown_where_no_thread_can_be_started(self):
        with noThread('background-end'):
            self.runtime.shutdown()
        self.begin()
        self.assertEqual(self.registry.listProcesses(), [])

    def test_fork_resets(self):
        declareWorker('work', lambda worker: self.gate.stop())
        self.start('work')
        self.gate.waitReached()

        def check():
            self.runtime.shutdown()
            switchboard.wake(self.db, [(b'', 1, 1)])
            self.assertIsNone(switchboard.queryRuntime(self.db))

        self.assertEqual(inFork(check), 0)
        self.assertIs(switchboard.queryRuntime(self.db), self.runtime)
