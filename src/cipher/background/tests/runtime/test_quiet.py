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
"""Processes that are to begin nothing new, or to end their work."""
import threading
import time
from unittest import mock

import transaction
from zope.component import provideAdapter
from zope.component import provideUtility
from zope.component import queryUtility
from zope.component.hooks import getSite
from zope.processlifetime import DatabaseOpenedWithRoot

from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import RuntimeRefused
from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.runtime.runtime import startRuntime
from cipher.background.runtime.standalone import StandaloneRecorder
from cipher.background.subscribers import startRuntimeOfDatabase
from cipher.background.tests.support.cluster import LONG
from cipher.background.tests.support.cluster import ZEOTests
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import login
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util import switchboard


def add(worker):
    getSite()['counter'].value += 1


class Loop(BackgroundWorkerThread):
    """Runs until it is stopped."""

    def scheduleNextWork(self):
        return not self.wait(0.01)


class QuietTests(LiveTests):

    def process(self):
        """Return the status of this process."""
        self.begin()
        process, = self.registry.listProcesses()
        return process

    def ask(self, is_quiet=True):
        """Ask for it as an administrator, and wait until it is so."""
        self.begin()
        self.registry.quietProcess(self.runtime.id, is_quiet, 'deploy')
        transaction.commit()
        waitUntil(lambda: self.runtime.is_quiet == is_quiet)

    def test_it_begins_nothing_and_goes_on(self):
        declareWorker('add', add)
        declareWorker('work', lambda worker: self.gate.stop())
        running = self.start('work')
        self.gate.waitReached()
        login('admin')
        self.ask()
        waiting = [self.start('add') for _ in range(3)]
        delayed = self.registry.submit('add', delay=0.05).id
        transaction.commit()
        for _ in range(3):
            self.waitTurn()
        self.assertTrue(self.process().is_quiet)
        self.assertEqual(self.process().asked_by, 'admin')
        self.gate.open()
        self.assertEqual(self.waitFinished(running).state, 'succeeded')
        for run_id in waiting:
            self.assertEqual(self.status(run_id).state, 'pending')
        self.ask(False)
        for run_id in [*waiting, delayed]:
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertEqual(self.value(), 4)
        self.assertFalse(self.process().is_quiet)

    def test_process_asks_for_itself(self):
        declareWorker('add', add)
        self.runtime.quiet()
        run_id = self.start('add')
        waitUntil(lambda: self.process().is_quiet, 'that all see it')
        self.assertIsNone(self.process().asked_by)
        self.assertEqual(self.status(run_id).state, 'pending')
        # What was asked last counts.
        self.ask(False)
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.ask()
        self.runtime.quiet(False)
        waitUntil(lambda: not self.process().is_quiet)
        self.assertEqual(self.carryOut('add').state, 'succeeded')

    def test_what_it_asks_for_while_its_record_is_written_counts(self):
        commit = transaction.Transaction.commit
        asked = []

        def ask(txn):
            commit(txn)
            if not asked and txn.description.endswith(': begins'):
                asked.append(txn)
                self.runtime.quiet()

        self.patch('transaction._transaction.Transaction.commit', ask)
        waitUntil(lambda: asked, 'that it asks')
        waitUntil(lambda: self.process().is_quiet, 'that all see it')
        self.assertTrue(self.runtime.is_quiet)

    def test_services_wait(self):
        self.runtime.quiet()
        declareWorker('service', factory=Loop, is_loop=True, autostart=True)
        for _ in range(3):
            self.waitTurn()
        self.begin()
        self.assertEqual(self.registry.listRuns().items, [])
        self.runtime.quiet(False)
        waitUntil(lambda: self.runtime.allLive(), 'the service')

    def test_it_stays_quiet_though_others_took_it_for_dead(self):
        self.ask()
        self.begin()
        processes = self.connection.root()['cipher.background'].processes
        del processes[self.runtime.id]
        transaction.commit()
        waitUntil(lambda: self.registry.listProcesses() or self.begin(),
                  'that it is known again')
        self.assertTrue(self.process().is_quiet)
        self.assertTrue(self.runtime.is_quiet)


class DrainTests(LiveTests):

    def drain(self):
        """Ask for it as an administrator, and wait until it has begun."""
        self.begin()
        self.registry.drainProcess(self.runtime.id)
        transaction.commit()
        waitUntil(lambda: self.runtime.is_draining)

    def waitGone(self):
        waitUntil(lambda: switchboard.queryRuntime(self.db) is None, 'its end')
        self.begin()
        self.assertEqual(self.registry.listProcesses(), [])

    def test_drain_ends_the_runtime(self):
        declareWorker('add', add)
        declareWorker('work', lambda worker: self.gate.stop())
        running = self.start('work')
        self.gate.waitReached()
        self.drain()
        waiting = self.start('add')
        waitUntil(lambda: self.processes()[0].is_draining)
        self.gate.open()
        self.waitGone()
        self.assertEqual(self.status(running).state, 'succeeded')
        self.assertEqual(self.status(waiting).state, 'pending')
        # The process goes on, and may have another one.
        self.runtime = self.startRuntime()
        self.assertEqual(self.waitFinished(waiting).state, 'succeeded')

    def processes(self):
        self.begin()
        return self.registry.listProcesses()

    def test_shutdown_waits_for_a_drain(self):
        declareWorker('work', lambda worker: self.gate.stop())
        run_id = self.start('work')
        self.gate.waitReached()
        self.drain()
        threads = [threading.Thread(target=self.runtime.shutdown)
                   for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(0.05)
            self.assertTrue(thread.is_alive(), 'it did not wait')
        self.gate.open()
        for thread in threads:
            thread.join(LIMIT)
            self.assertFalse(thread.is_alive())
        self.waitGone()
        self.assertEqual(self.status(run_id).state, 'succeeded')

    def test_worker_that_shuts_down_does_not_wait_for_itself(self):
        def work(worker):
            self.runtime.shutdown(0.1)
            ended.set()

        ended = threading.Event()
        declareWorker('work', work)
        self.start('work')
        self.assertTrue(ended.wait(LIMIT))
        self.waitGone()

    def test_job_that_asks_has_its_time(self):
        # It would stop at once, if it were asked.
        def work(worker):
            self.gate.stop()
            worker.checkStop()
            getSite()['counter'].value += 1

        for on_interrupt in 'rerun', 'fail':
            with self.subTest(on_interrupt):
                self.gate.__init__()
                declareWorker('work', work, on_interrupt=on_interrupt)
                run_id = self.start('work')
                self.gate.waitReached()
                self.drain()
                self.gate.open()
                self.waitGone()
                self.assertEqual(self.status(run_id).state, 'succeeded')
                self.runtime = self.startRuntime()
        self.assertEqual(self.value(), 2)

    def test_loop_is_asked_at_once(self):
        declareWorker('loop', factory=Loop, is_loop=True)
        run_id = self.start('loop')
        self.waitState(run_id, 'running')
        began_at = time.monotonic()
        self.runtime.shutdown(60.0)
        self.assertLess(time.monotonic() - began_at, LIMIT)
        self.assertEqual(self.status(run_id).state, 'pending')


class ImplicitTests(FileSiteTests):
    """A runtime that a thread made by hand needed."""

    layer = Live

    def setUp(self):
        super().setUp()
        provideAdapter(StandaloneRecorder)
        self.stop = threading.Event()
        self.addCleanup(self.stop.set)
        stop = self.stop

        class Worker(BackgroundWorkerThread):
            def scheduleNextWork(self):
                return not stop.wait(0.01)

            def doWork(self):
                getSite()['counter'].value += 1

        self.worker = Worker.forSite(self.site, '')
        self.worker.start()
        self.runtime = waitUntil(lambda: switchboard.queryRuntime(self.db))
        waitUntil(self.isRunning, 'its record')
        self.addCleanup(self.runtime.shutdown)

    def isRunning(self):
        self.begin()
        return [run for run in self.registry.listRuns().items
                if run.state == 'running']

    def test_later_runtime_takes_its_place(self):
        declareWorker('add', add)
        run, = self.isRunning()
        settings = RuntimeSettings(threads=2, poll=0.05, lease=20.0)
        runtime = startRuntime(self.db, settings)
        self.assertIs(runtime, self.runtime)
        added = self.registry.start('add')
        transaction.commit()
        waitUntil(lambda: self.begin() or added.isFinished(), 'its work')

        def process():
            self.begin()
            process, = self.registry.listProcesses()
            return process.id, process.threads

        waitUntil(lambda: process() == (self.runtime.id, 2), 'its threads')
        # The thread still is recorded, and ends as if nothing had been.
        self.assertEqual(self.registry.getStatus(run.id).state, 'running')
        self.stop.set()
        self.worker.join(LIMIT)
        self.begin()
        self.assertEqual(self.registry.getStatus(run.id).state, 'succeeded')
        with self.assertRaisesRegex(RuntimeRefused, 'shut that down first'):
            startRuntime(self.db, settings)

    def test_declared_runtime_takes_its_place(self):
        provideUtility(RuntimeSettings(threads=1), IRuntimeSettings)
        startRuntimeOfDatabase(DatabaseOpenedWithRoot(self.db))
        self.assertEqual(self.runtime.threads,
                         queryUtility(IRuntimeSettings).threads)
        self.assertIs(switchboard.queryRuntime(self.db), self.runtime)

    def test_closed_database_ends_it(self):
        self.stop.set()
        self.worker.join(LIMIT)
        control = self.runtime._control
        turn, lock, turns = control._turn, threading.Lock(), []

        def locked():
            with lock:
                turns.append(1)
                return turn()

        control._turn = locked
        waitUntil(lambda: control.wake() or turns, 'a turn of the runtime')
        transaction.abort()
        with lock:   # between two turns
            self.connection.close()
            self.db.close()
        control.wake()
        control.join(LIMIT)
        self.assertFalse(control.is_alive())
        self.assertIsNone(switchboard.queryRuntime(self.db))
        self.runtime.shutdown()   # nothing is left to do
        self.assertIn('closed before a shutdown', self.logged.getvalue())
        self.assertNotIn('Traceback', self.logged.getvalue())

    def test_database_that_is_closed_in_the_middle_of_a_turn(self):
        self.stop.set()
        self.worker.join(LIMIT)
        control = self.runtime._control
        closing, closed = threading.Event(), threading.Event()

        def turn():
            closing.set()
            raise AttributeError('sync')   # its connections go first

        def pause(*args, **options):
            closed.wait(LIMIT)
            return 0.0

        with mock.patch('cipher.background.runtime.control.backOff', pause):
            control._turn = turn
            control.wake()
            self.assertTrue(closing.wait(LIMIT))
            transaction.abort()
            self.connection.close()
            self.db.close()
            closed.set()
            control.join(LIMIT)
        self.assertFalse(control.is_alive())
        self.assertIn('closed before a shutdown', self.logged.getvalue())
        self.assertNotIn('Traceback', self.logged.getvalue())


class RollingRestartTests(ZEOTests):

    def test_nothing_is_lost_nor_done_twice(self):
        self.runtime.shutdown()   # a web process, from now on
        actors = [self.act(), self.act()]
        ids = []
        for n in range(2):
            old = actors.pop(0)
            ids += self.startSome()
            self.begin()
            self.registry.quietProcess(old.id)
            transaction.commit()
            ids += self.startSome()
            waitUntil(lambda: not old.live(), 'that it is idle', LONG)
            ids += self.startSome()
            self.begin()
            self.registry.drainProcess(old.id)
            transaction.commit()
            self.waitProcesses(*(actor.id for actor in actors))
            old.kill()
            ids += self.startSome()
            actors.append(self.act())
            ids += self.startSome()
        self.assertEqual(self.waitAll(), len(ids))
        self.assertToldHardlyTwice(ids)   # a take may meet the home
        self.begin()
        for run_id in ids:
            run = self.registry.get(run_id)
            self.assertEqual((run.attempts, run.interruptions), (1, 0))

    def startSome(self):
        """Start runs that begin at once; return their ids."""
        ids = []
        for _ in range(15):
            self.begin()
            ids.append(self.registry.start('tell').id)
            transaction.commit()
        return ids
