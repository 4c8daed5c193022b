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
"""Worker types that an administrator paused."""
import threading

import transaction

from cipher.background.interfaces import Snooze
from cipher.background.testing import runPending
from cipher.background.tests.runtime.test_waiting import LiveWaitingTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.thread import BackgroundWorkerThread


class Service(BackgroundWorkerThread):
    """Runs until it is stopped."""

    def scheduleNextWork(self):
        return not self.wait(10)


class PauseTests(LiveWaitingTests):

    def setUp(self):
        super().setUp()
        declareWorker('work', self.work)

    def work(self, worker):
        self.order.append(worker.run_id)

    def pause(self, is_paused=True, name='work'):
        self.begin()
        self.registry.pauseType(name, is_paused, 'because')
        transaction.commit()

    def test_nothing_begins_until_it_is_resumed(self):
        # Long before the poll.
        self.restart(poll=60.0)
        self.pause()
        runs = [self.start('work') for _ in range(3)]
        self.assertEqual(self.carryOut('other').state, 'succeeded')
        self.runtime.wake()
        self.waitWaiting(work=3)
        self.assertEqual(self.order, [])
        status = self.status(runs[0])
        self.assertEqual((status.state, status.is_paused), ('pending', True))
        self.pause(False)
        self.waitCounts(succeeded=3)
        self.assertEqual(sorted(self.order), sorted(runs))

    def test_what_runs_goes_on(self):
        declareWorker('work', self.slow)
        run_id = self.start('work')
        self.gate.waitReached()
        self.pause()
        self.gate.open()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def test_run_of_a_thread_that_was_about_to_begin(self):
        # The pause is committed after the start, before the look at the run.
        about, go_on = threading.Event(), threading.Event()
        carry_out = self.runtime.executor.carryOut

        def waiting(ticket, door):
            door.close()   # as if an earlier look had found the run
            about.set()
            go_on.wait(10)
            carry_out(ticket, door)

        self.runtime.executor.carryOut = waiting
        run_id = self.start('work')
        self.assertTrue(about.wait(10))
        self.pause()
        go_on.set()
        self.waitWaiting(work=1)
        self.assertEqual(self.order, [])
        self.pause(False)
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def test_many_starve_nobody_and_the_urgent_go_first(self):
        self.restart(threads=1)
        self.pause()
        runs = self.startMany('work', 300)
        urgent = self.startMany('work', 2, priority=5)
        self.waitWaiting(work=302)
        self.assertEqual(sum(self.runtime.backlog.counts()), 0)
        self.assertEqual(self.carryOut('other').state, 'succeeded')
        self.pause(False)
        self.waitCounts(succeeded=302)
        self.assertEqual(self.order, urgent + runs)
        self.assertForgotten()

    def test_retries_snoozes_and_delayed_ones_wait_as_well(self):
        def work(worker):
            self.order.append(worker.run_id)
            if self.order.count(worker.run_id) == 1:
                self.gate.stop()
                raise Snooze(0.01)

        declareWorker('work', work)
        snoozed = self.start('work')
        self.gate.waitReached()
        self.pause()   # before the other one is due
        delayed, = self.startMany('work', 1, delay=0.05)
        self.gate.open()
        self.waitWaiting(work=2)
        self.assertEqual(self.order, [snoozed])
        self.pause(False)
        for run_id in snoozed, delayed:
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertForgotten()

    def test_those_that_wait_for_room_are_paused_as_well(self):
        declareWorker('work', self.slow, max_running=1)
        self.startMany('work', 30)
        self.gate.waitReached()
        self.waitWaiting(work=29)
        self.pause()
        self.gate.open()
        self.waitWaiting(work=29)
        self.assertEqual(len(self.order), 1)
        self.pause(False)
        self.waitCounts(succeeded=30)
        self.assertForgotten()

    def test_stop_of_a_paused_run(self):
        self.pause()
        run_id = self.start('work')
        self.waitWaiting(work=1)
        self.assertEqual(self.requestStop(run_id), 'stopped')
        self.assertForgotten()
        self.assertEqual(self.order, [])

    def test_restart(self):
        self.pause()
        runs = self.startMany('work', 30)
        self.waitWaiting(work=30)
        self.writeBookmarksNow()   # it writes the bookmark
        for in_good_order in True, False:
            self.restart(in_good_order)
            self.waitTurn()
            self.assertEqual(self.order, [])
        self.pause(False)
        self.waitCounts(succeeded=30)
        self.assertEqual(sorted(self.order), sorted(runs))
        self.assertForgotten()

    def test_services_are_not_started(self):
        self.pause(name='work')
        declareWorker('work', factory=Service, is_loop=True, autostart=True)
        self.waitTurn()
        self.begin()
        self.assertEqual(self.registry.getCounts(), {})
        self.pause(False)
        self.waitCounts(running=1)
        # It goes on, but is not started again.
        self.pause()
        service, = self.registry.listRuns(states=['running']).items

        def worker():
            live = self.runtime.findLive(self.registry._p_oid, service.id)
            return live and live.worker

        waitUntil(worker).requestStop()
        self.waitFinished(service.id)
        self.registry.services['work'].not_before = 0.0
        transaction.commit()
        self.waitTurn()
        self.begin()
        self.assertEqual(len(self.registry.listRuns().items), 1)

    def test_runPending_leaves_it_waiting(self):
        self.runtime.shutdown()
        self.pause()
        run_id = self.start('work')
        self.assertEqual(runPending(self.site), [])
        self.pause(False)
        self.assertEqual([run.id for run in runPending(self.site)], [run_id])
