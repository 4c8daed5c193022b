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
"""Threads that an application makes and starts by hand, recorded."""
import threading

import transaction
from ZEO.Exceptions import ClientDisconnected
from ZODB.Connection import Connection
from ZODB.mvccadapter import MVCCAdapterInstance
from zope.component import provideAdapter
from zope.component import provideHandler
from zope.component.hooks import getSite
from zope.interface.verify import verifyObject

from cipher.background.interfaces import IRunCreatedEvent
from cipher.background.interfaces import IWorkObserver
from cipher.background.runtime.standalone import StandaloneRecorder
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import Gate
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util import switchboard


class Once(BackgroundWorkerThread):
    """Adds to the counter, once."""

    rounds = 1
    gate = None

    def scheduleNextWork(self):
        self.rounds -= 1
        return self.rounds >= 0

    def doWork(self):
        if self.gate is not None:
            self.gate.stop()
        getSite()['counter'].value += 1


class PoliteLoop(Once):
    """Works again and again until it is asked to stop."""

    def scheduleNextWork(self):
        return not self.wait(0.01)


class HandMadeMixin:

    def make(self, class_=Once, **values):
        worker = class_.forSite(self.site, 'bob')
        vars(worker).update(values)
        return worker

    def carry_out(self, worker):
        worker.start()
        worker.join(LIMIT)
        self.assertFalse(worker.is_alive())

    def runs(self):
        """Return the statuses of all runs, newest first."""
        self.begin()
        return self.registry.listRuns().items

    def value(self):
        self.begin()
        return self.counter.value


class RecordedTests(HandMadeMixin, LiveTests):

    def setUp(self):
        super().setUp()
        provideAdapter(StandaloneRecorder)

    def test_interface(self):
        verifyObject(IWorkObserver, StandaloneRecorder(self.make()))

    def test_run_is_recorded(self):
        self.carry_out(self.make())
        status, = self.runs()
        self.assertEqual(status.state, 'succeeded')
        self.assertEqual(status.type, '%s.Once' % __name__)
        self.assertEqual(status.starter, 'bob')
        self.assertEqual(status.title, self.make().name)
        self.assertEqual((status.attempts, status.interruptions), (1, 0))
        self.assertFalse(status.is_declared)
        self.assertEqual(self.value(), 1)
        self.assertEqual(self.runtime.allLive(), [])

    def test_run_is_running_meanwhile(self):
        worker = self.make(gate=self.gate)
        worker.start()
        self.gate.waitReached()
        status, = self.runs()
        self.assertEqual((status.state, status.owner),
                         ('running', self.runtime.name))
        self.assertEqual(worker.run_id, status.id)
        self.gate.open()
        worker.join(LIMIT)
        self.assertEqual(self.runs()[0].state, 'succeeded')

    def test_many_iterations_are_one_run(self):
        self.carry_out(self.make(rounds=5))
        self.assertEqual(len(self.runs()), 1)
        self.assertEqual(self.value(), 5)

    def test_thread_that_never_works_is_not_recorded(self):
        self.carry_out(self.make(rounds=0))
        self.assertEqual(self.runs(), [])

    def test_error_of_the_last_iteration_fails_the_run(self):
        class Failing(Once):
            def doWork(self):
                raise ValueError('broken')

            def wait(self, seconds):
                """Do not wait."""

        self.carry_out(self.make(Failing, rounds=2))
        status, = self.runs()
        self.assertEqual((status.state, status.error_type),
                         ('failed', 'ValueError'))
        log = self.registry.getDetails(status.id).log
        self.assertEqual(log.count('Exception in'), 2)

    def test_exit_is_recorded(self):
        class Exiting(Once):
            def doWork(self):
                raise SystemExit

        self.carry_out(self.make(Exiting, rounds=100))
        status, = self.runs()
        self.assertEqual((status.state, status.error_type),
                         ('failed', 'SystemExit'))

    def test_error_of_schedule_is_recorded(self):
        class Failing(Once):
            def scheduleNextWork(self):
                if not super().scheduleNextWork():
                    raise ValueError('broken')
                return True

        self.carry_out(self.make(Failing))
        status, = self.runs()
        self.assertEqual((status.state, status.error_type),
                         ('failed', 'ValueError'))

    def test_it_is_stopped_through_its_run(self):
        worker = self.make(PoliteLoop)
        worker.start()
        waitUntil(lambda: self.value() > 1)
        self.requestStop(worker.run_id, 'enough')
        worker.join(LIMIT)
        self.assertFalse(worker.is_alive())
        status, = self.runs()
        self.assertEqual((status.state, status.stop.reason),
                         ('stopped', 'enough'))

    def test_shutdown_interrupts_it_for_good(self):
        worker = self.make(PoliteLoop)
        worker.start()
        waitUntil(lambda: self.value() > 0)
        self.runtime.shutdown()
        worker.join(LIMIT)
        self.assertFalse(worker.is_alive())
        self.assertEqual(self.runs()[0].state, 'interrupted')

    def lose_reply(self, number=1, error=ClientDisconnected):
        """Let replies to commits of the worker's thread be lost."""
        lost = []
        finish = MVCCAdapterInstance.tpc_finish

        def lose(instance, txn, *args):
            result = finish(instance, txn, *args)
            if (threading.current_thread().name.startswith(Once.__name__)
                    and len(lost) < number):
                lost.append(1)
                raise error('the reply was lost')
            return result

        self.patch('ZODB.mvccadapter.MVCCAdapterInstance.tpc_finish', lose)
        return lost

    def test_reply_to_the_first_commit_is_lost(self):
        lost = self.lose_reply()
        worker = self.make()
        worker.name = 'Once'
        self.carry_out(worker)
        self.assertTrue(lost)
        self.assertEqual([s.state for s in self.runs()], ['succeeded'])
        self.assertEqual(self.runtime.allLive(), [])
        self.assertEqual(self.value(), 1)

    def test_begin_that_nobody_confirms_has_an_end(self):
        self.patch('cipher.background.runtime.standalone.ENTRY_TRIES', 1)
        lost = self.lose_reply()
        worker = self.make()
        worker.name = 'Once'
        self.carry_out(worker)
        self.assertTrue(lost)
        self.assertEqual([s.state for s in self.runs()], ['succeeded'])
        self.assertEqual(self.runtime.allLive(), [])

    def test_begin_that_was_not_committed_is_tried_again(self):
        failed = []
        vote = Connection.tpc_vote

        def fail(instance, *args):
            if (threading.current_thread().name == 'Once'
                    and len(failed) < 3):
                failed.append(1)
                raise ClientDisconnected('before the commit')
            return vote(instance, *args)

        self.patch('ZODB.Connection.Connection.tpc_vote', fail)
        worker = self.make()
        worker.name = 'Once'
        self.carry_out(worker)
        self.assertEqual(len(failed), 3)
        self.assertEqual([s.state for s in self.runs()], ['succeeded'])
        self.assertEqual(self.runtime.allLive(), [])

    def test_many_at_once(self):
        workers = [self.make() for _ in range(20)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(LIMIT)
        self.assertEqual(self.value(), 20)
        self.assertEqual([s.state for s in self.runs()], ['succeeded'] * 20)
        self.assertEqual(self.runtime.allLive(), [])

    def test_executor_that_is_faster_to_look_at_the_run(self):
        # The commit tells the executor of the run; it looks and leaves.
        backlog = self.runtime.backlog
        mark = backlog.mark
        looked = []

        def mark_and_let_it_look(places, **options):
            mark(places, **options)
            waitUntil(backlog.isIdle, 'the look')
            looked.append(places)

        backlog.mark = mark_and_let_it_look
        for _ in range(3):
            self.carry_out(self.make())
        self.assertGreaterEqual(len(looked), 3)
        self.assertEqual([s.state for s in self.runs()], ['succeeded'] * 3)

    def test_record_that_cannot_be_made_does_not_hinder_the_work(self):
        def refuse(event):
            raise ValueError('no records here')

        provideHandler(refuse, [IRunCreatedEvent])
        self.carry_out(self.make())
        self.assertEqual(self.value(), 1)
        self.assertEqual(self.runs(), [])
        self.assertIn('could not be recorded', self.logged.getvalue())
        self.assertEqual(self.runtime.allLive(), [])

    def test_name_that_no_commit_would_take(self):
        self.carry_out(self.make(_name='x' * 70000 + '\ud800',
                                 user_name='\ud800'))
        self.assertEqual(self.value(), 1)
        self.assertEqual(self.runs()[0].state, 'succeeded')
        self.assertEqual(self.logged.getvalue(), '')

    def test_thread_started_during_the_drain_is_not_recorded(self):
        first = self.make(gate=self.gate)
        first.start()
        self.gate.waitReached()
        drain = threading.Thread(target=self.runtime.shutdown)
        drain.start()
        waitUntil(lambda: first.stop_requested)
        second = self.make()
        self.carry_out(second)
        self.assertEqual(self.value(), 1)
        self.gate.open()
        drain.join(LIMIT)
        first.join(LIMIT)
        self.assertEqual(len(self.runs()), 1)
        self.assertNotIn('running', [s.state for s in self.runs()])

    def test_it_is_recorded_where_a_guest_lane_is_all_there_is(self):
        self.runtime.shutdown()
        self.runtime = self.startRuntime(threads=0)
        workers = [self.make() for _ in range(10)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(LIMIT)
        self.assertEqual(self.value(), 10)
        self.assertEqual([s.state for s in self.runs()], ['succeeded'] * 10)


class WithoutRuntimeTests(HandMadeMixin, FileSiteTests):

    layer = Live

    def setUp(self):
        super().setUp()
        provideAdapter(StandaloneRecorder)
        self.addCleanup(self.shut_down)

    def shut_down(self):
        runtime = switchboard.queryRuntime(self.db)
        if runtime is not None:
            runtime.shutdown()

    def test_runtime_that_only_keeps_records_is_made(self):
        gate = Gate()
        self.addCleanup(gate.open)
        worker = self.make(gate=gate)
        worker.start()
        gate.waitReached()
        runtime = switchboard.queryRuntime(self.db)
        self.assertEqual(runtime.threads, 0)
        self.assertEqual(self.runs()[0].state, 'running')
        gate.open()
        worker.join(LIMIT)
        self.assertEqual(self.runs()[0].state, 'succeeded')

    def test_without_registry_nothing_is_recorded_or_begun(self):
        self.site.getSiteManager().unregisterUtility(
            self.registry, next(iter(
                r.provided for r in
                self.site.getSiteManager().registeredUtilities()
                if r.component is self.registry)))
        transaction.commit()
        self.carry_out(self.make())
        self.assertEqual(self.value(), 1)
        self.assertIsNone(switchboard.queryRuntime(self.db))
        self.assertEqual(self.runs(), [])
