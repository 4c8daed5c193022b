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
"""Ends in good order that were none: signals, races, failed starts, forks."""
import functools
import os
import signal
import threading
import time
from unittest import mock

import transaction
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from zope.component.hooks import getSite

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.interfaces import RuntimeRefused
from cipher.background.runtime.runtime import Runtime
from cipher.background.runtime.runtime import startRuntime
from cipher.background.store.lanepool import getPool
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import inFork
from cipher.background.tests.support.live import noThread
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util import switchboard
from cipher.background.work.liverun import LiveRun
from cipher.background.work.liverun import Ticket
from cipher.background.work.stack import isInSignalHandler


def newThreads(before):
    return [thread.name for thread in threading.enumerate()
            if thread not in before and thread.is_alive()]


class GiveUpTests(LiveTests):
    """A drain without any time left."""

    def test_loop_that_ends_while_it_is_given_up_did_not_die(self):
        runtime = self.runtime
        inside = threading.Event()

        class Loop(BackgroundWorkerThread):

            def scheduleNextWork(self):
                return True

            def doWork(self):
                inside.set()
                live = [live for live in runtime.allLive()
                        if live.worker is self]
                waitUntil(lambda: live[0].is_abandoned)

        declareWorker('loop', factory=Loop, is_loop=True)
        run_id = self.start('loop')
        self.assertTrue(inside.wait(LIMIT))
        leave = runtime._leave

        def leave_later(*args):
            waitUntil(lambda: not runtime.allLive(), 'the end of the loop')
            leave(*args)

        runtime._leave = leave_later
        for _ in range(3):
            runtime.shutdown(0.0)
            self.assertEqual(self.status(run_id).state, 'pending')
            self.assertEqual(self.status(run_id).attempts, 0)
            inside.clear()
            self.runtime = runtime = self.startRuntime(drain=0.0)
            runtime._leave, leave = leave_later, runtime._leave
            self.assertTrue(inside.wait(LIMIT))
            status = self.status(run_id)
            self.assertEqual((status.attempts, status.interruptions), (1, 0))

    def test_claim_that_races_with_the_leave_did_not_die(self):
        class Loop(BackgroundWorkerThread):

            def scheduleNextWork(self):
                return False

        declareWorker('loop', factory=Loop, is_loop=True)
        executor = self.runtime.executor
        claim = executor._claim_once
        for is_before in True, False:
            with self.subTest(is_before):
                claimed, goes_on = threading.Event(), threading.Event()

                def slow(*args):
                    if is_before:
                        claimed.set()
                        goes_on.wait(LIMIT)
                        return claim(*args)
                    epoch = claim(*args)
                    claimed.set()
                    goes_on.wait(LIMIT)
                    return epoch

                self.runtime.executor._claim_once = slow
                claim = type(executor)._claim_once.__get__(
                    self.runtime.executor)
                run_id = self.start('loop')
                self.assertTrue(claimed.wait(LIMIT))
                self.runtime.shutdown(0.0)
                goes_on.set()
                waitUntil(lambda: not self.runtime.allLive())
                status = self.status(run_id)
                self.assertEqual(
                    (status.state, status.attempts, status.interruptions),
                    ('pending', 0, 0))
                self.runtime = self.startRuntime()
                status = self.waitFinished(run_id)
                self.assertEqual((status.state, status.interruptions),
                                 ('succeeded', 0))

    def test_run_that_another_has_by_now_is_left_alone(self):
        declareWorker('work', lambda worker: self.gate.stop())
        run_id = self.start('work')
        self.gate.waitReached()
        self.begin()
        run = self.registry.get(run_id)
        run.claim('other:1:x', time.time(), must_not_rerun=False)
        transaction.commit()
        self.runtime.shutdown(0.0)
        self.begin()
        self.assertEqual((run.state, run.owner), ('running', 'other:1:x'))
        self.gate.open()


class StartTests(FileSiteTests):
    """A start that fails, and what is to be done after it."""

    layer = Live

    def test_failed_start_leaves_nothing(self):
        before = threading.enumerate()
        for name in ('background-1', 'background-2', 'background-control',
                     'background-heartbeat'):
            with self.subTest(name):
                runtime = Runtime(self.db, RuntimeSettings(threads=2))
                with noThread(name), self.assertRaises(RuntimeError):
                    runtime.start()
                self.assertIsNone(switchboard.queryRuntime(self.db))
                runtime.shutdown()
                waitUntil(lambda: not newThreads(before), 'no thread')
        runtime = startRuntime(self.db, RuntimeSettings(threads=1))
        runtime.shutdown()

    def test_refused_start_can_be_shut_down(self):
        first = startRuntime(self.db, RuntimeSettings(threads=1))
        self.addCleanup(first.shutdown)
        second = Runtime(self.db, RuntimeSettings(threads=1))
        with self.assertRaises(RuntimeRefused):
            second.start()
        second.shutdown()
        self.assertIs(switchboard.queryRuntime(self.db), first)

    def test_runtime_that_never_began_can_be_shut_down(self):
        Runtime(self.db, RuntimeSettings(threads=1)).shutdown()


class SignalTests(LiveTests):
    """In a handler of a signal, whatever the main thread is at."""

    def catch(self, handler):
        old = signal.signal(signal.SIGUSR2, handler)
        self.addCleanup(signal.signal, signal.SIGUSR2, old)

    def kill(self):
        os.kill(os.getpid(), signal.SIGUSR2)

    def test_shutdown_while_a_lock_is_held(self):
        runtime = self.runtime
        self.catch(lambda *args: runtime.shutdown())
        locks = {
            'of what is live': runtime.running._lock,
            'of the log of the package': self.logger.handlers[0].lock,
            'of the wish': runtime._control._woken._cond}
        for what, lock in locks.items():
            with self.subTest(what):
                with lock:
                    self.kill()
                waitUntil(lambda: switchboard.queryRuntime(self.db) is None)
                # Whoever closes the database now waits for the end.
                runtime.shutdown()
                self.begin()
                self.assertEqual(self.registry.listProcesses(), [])
                self.runtime = runtime = self.startRuntime()

    def test_quiet_while_a_lock_is_held(self):
        runtime = self.runtime
        self.catch(lambda *args: runtime.quiet())
        with runtime.admission._lock:
            self.kill()
        waitUntil(lambda: runtime.is_quiet)

    def test_handlers_of_each_kind_are_known(self):
        seen = []

        def note(*args):
            seen.append(isInSignalHandler())

        class Handler:

            def handle(self, number, frame):
                note()

            def __call__(self, number, frame):
                note()

            @staticmethod
            def static(number, frame):
                note()

        for handler in (note, lambda *args: note(),
                        lambda number, frame: note(), Handler().handle,
                        Handler(), Handler.static,
                        functools.partial(note, 1)):
            with self.subTest(handler):
                self.catch(handler)
                self.kill()
                self.assertEqual(seen, [True])
                # The same function, called by the application itself.
                handler(signal.SIGUSR2, None)
                self.assertEqual(seen, [True, False])
                seen.clear()
        self.assertFalse(isInSignalHandler())

    def test_thread_is_no_handler(self):
        seen = []
        started, goes_on = threading.Event(), threading.Event()

        def other():
            started.set()
            goes_on.wait(LIMIT)
            seen.append(isInSignalHandler())

        def handler(*args):
            goes_on.set()
            thread.join(LIMIT)

        thread = threading.Thread(target=other)
        thread.start()
        started.wait(LIMIT)
        self.catch(handler)
        self.kill()
        thread.join(LIMIT)
        self.assertEqual(seen, [False])


class ForkTests(FileSiteTests):
    """Another thread is inside of something when this one forks."""

    layer = Live

    def assertGoesOn(self, lock, check):
        """Assert that *check* does not wait in a fork for *lock*."""
        held, goes_on = threading.Event(), threading.Event()

        def hold():
            with lock:
                held.set()
                goes_on.wait(LIMIT)

        thread = threading.Thread(target=hold)
        thread.start()
        self.assertTrue(held.wait(LIMIT))
        try:
            self.assertEqual(inFork(check), 0)
        finally:
            goes_on.set()
            thread.join(LIMIT)

    def test_transaction_of_the_fork_ends(self):
        declareWorker('work', lambda worker: None)
        self.registry.start('work')
        pool = getPool(self.db, self.registry._p_oid)
        self.assertGoesOn(pool._lock, transaction.abort)

    def test_run_of_the_fork_may_log_and_be_stopped(self):
        live = LiveRun(mock.Mock(), Ticket(self.registry._p_oid, 1, 1))
        self.assertGoesOn(live.log._lock, lambda: live.log.add('text'))
        self.assertGoesOn(live._lock, live.requestStop)


class MountedTests(LiveTests):
    """A loop whose work changes another database alone."""

    def makeDatabase(self):
        db = super().makeDatabase()
        db.databases.clear()
        db.databases['main'] = db
        db.database_name = 'main'
        other = DB(MappingStorage(), databases=db.databases,
                   database_name='other')
        self.addCleanup(other.close)
        return db

    def test_loop_that_lost_its_run_commits_nowhere(self):
        for where in 'other', 'main':
            with self.subTest(where):
                self.begin()
                root = self.connection.get_connection(where).root()
                root['value'] = 0
                transaction.commit()
                self.gate.__init__()
                gate = self.gate

                class Loop(BackgroundWorkerThread):

                    def scheduleNextWork(self):
                        return not gate._opened.is_set()

                    def doWork(self):
                        connection = getSite()._p_jar
                        connection.get_connection(where).root()['value'] += 1
                        gate.stop()

                declareWorker('loop', factory=Loop, is_loop=True)
                run_id = self.start('loop')
                self.gate.waitReached()
                self.begin()
                self.registry.get(run_id).putBack(interruptions=1)
                self.registry.pauseType('loop')
                transaction.commit()
                live, = self.runtime.allLive()
                self.gate.open()
                waitUntil(lambda: live not in self.runtime.allLive())
                self.begin()
                self.assertEqual(root['value'], 0)
                self.registry.pauseType('loop', False)
                transaction.commit()
                self.waitFinished(run_id)

    def test_loop_that_has_its_run_commits_there(self):
        self.begin()
        root = self.connection.get_connection('other').root()
        root['value'] = 0
        transaction.commit()

        class Loop(BackgroundWorkerThread):
            rounds = 3

            def scheduleNextWork(self):
                self.rounds -= 1
                return self.rounds >= 0

            def doWork(self):
                getSite()._p_jar.get_connection('other').root()['value'] += 1

        declareWorker('loop', factory=Loop, is_loop=True)
        self.assertEqual(self.carryOut('loop').state, 'succeeded')
        self.begin()
        self.assertEqual(root['value'], 3)
