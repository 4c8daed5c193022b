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
"""How many runs of a type run at a time, and which goes first."""
import threading

import transaction
from ZODB.POSException import ConflictError

from cipher.background.interfaces import FAIL
from cipher.background.interfaces import RERUN
from cipher.background.runtime.executors.threads import ThreadsExecutor
from cipher.background.store import slots
from cipher.background.store.process import getDirectory
from cipher.background.store.slots import takeSlot
from cipher.background.tests.registry.test_unique import Other
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT


class SlotTests(LiveTests):
    """Claims of several processes, without any runtime."""

    def setUp(self):
        super().setUp()
        self.runtime.shutdown()
        self.worker_type = declareWorker(
            'work', lambda worker: None, max_running=2)
        self.runs = [self.start('work') for _ in range(6)]

    def claim(self, process, run_id):
        """Let *process* (an `Other`) claim a run; return whether it may."""
        run = process.registry.get(run_id)
        if not takeSlot(process.connection, self.worker_type,
                        (process.registry._p_oid, run.lane, run.serial)):
            return False
        run.claim('a process', 1.0, False)
        return True

    def test_two_that_take_the_last_slot_conflict(self):
        one, two = Other(self), Other(self)
        # The first slot ever; then the last one.
        for first, second in (0, 1), (2, 3):
            with self.subTest(first):
                one.manager.begin()
                two.manager.begin()
                self.assertTrue(self.claim(one, self.runs[first]))
                self.assertTrue(self.claim(two, self.runs[second]))
                one.manager.commit()
                with self.assertRaises(ConflictError):
                    two.manager.commit()
                two.manager.abort()
        self.assertFalse(self.claim(two, self.runs[4]))
        two.manager.abort()

    def test_slot_is_free_as_soon_as_its_run_does_not_run(self):
        one = Other(self)
        for run_id in self.runs[:2]:
            self.assertTrue(self.claim(one, run_id))
            one.manager.commit()
        self.assertFalse(self.claim(one, self.runs[2]))
        # Rescued, or put off.
        one.registry.get(self.runs[0]).putBack()
        self.assertTrue(self.claim(one, self.runs[2]))
        self.assertFalse(self.claim(one, self.runs[3]))
        # Removed, with its registry or alone.
        run = one.registry.get(self.runs[1])
        one.registry.lanes[run.lane].births.drop(run.serial, True)
        self.assertTrue(self.claim(one, self.runs[3]))
        taken = getDirectory(one.connection).slots['work']
        self.assertEqual(len(taken.taken), 2)
        taken.slots[1].place = b'\x7f' * 8, 1, 1
        self.assertTrue(self.claim(one, self.runs[4]))
        self.assertEqual(len(taken.taken), 2)

    def test_run_that_is_claimed_again_keeps_its_slot(self):
        one = Other(self)
        for run_id in self.runs[0], self.runs[1]:
            self.assertTrue(self.claim(one, run_id))
        one.registry.get(self.runs[0]).putBack()
        self.assertTrue(self.claim(one, self.runs[0]))
        self.assertFalse(self.claim(one, self.runs[2]))


class LimitTests(LiveTests):
    """Real threads on a FileStorage."""

    settings = {'threads': 4, 'poll': 0.05, 'drain': 5.0}

    def setUp(self):
        super().setUp()
        self.lock = threading.Lock()
        self.running = self.most = self.wanted = 0
        self.order = []

    def work(self, worker):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.order.append(worker.run_id)
        # Until so many did run at a time, and some time for one too many.
        waitUntil(lambda: self.most >= self.wanted, 'that others run')
        worker.wait(0.01)
        with self.lock:
            self.running -= 1

    def slow(self, worker):
        self.order.append(worker.run_id)
        if len(self.order) == 1:
            self.gate.stop()

    def waitParked(self, number):
        """Wait until so many runs wait for room, and no thread is busy."""
        waitUntil(lambda: self.runtime.backlog.counts()[2] == number,
                  'the parked runs')

    def restart(self, **settings):
        """Go on with another runtime."""
        self.runtime.shutdown()
        self.runtime = self.startRuntime(**settings)

    def test_never_more_than_may(self):
        for limit in 1, 2:
            for on_interrupt in RERUN, FAIL:
                with self.subTest(limit=limit, on_interrupt=on_interrupt):
                    self.most = 0
                    self.wanted = limit
                    declareWorker('work', self.work, max_running=limit,
                                  on_interrupt=on_interrupt)
                    runs = [self.start('work') for _ in range(12)]
                    for run_id in runs:
                        self.assertEqual(self.waitFinished(run_id).state,
                                         'succeeded')
                    self.assertEqual(self.most, limit)

    def test_other_types_are_not_held_up(self):
        declareWorker('work', self.slow, max_running=1)
        declareWorker('other', lambda worker: None)
        runs = [self.start('work') for _ in range(9)]
        self.gate.waitReached()
        self.assertEqual(self.carryOut('other').state, 'succeeded')
        self.gate.open()
        for run_id in runs:
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def test_parked_run_goes_on_as_soon_as_there_is_room(self):
        # Long before the poll.
        self.restart(poll=60.0)
        declareWorker('work', self.slow, max_running=1)
        runs = [self.start('work') for _ in range(4)]
        self.gate.waitReached()
        self.waitParked(3)
        self.gate.open()
        for run_id in runs:
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertEqual(len(self.order), 4)

    def test_room_that_another_process_makes_is_seen_by_the_poll(self):
        is_running = slots._is_running
        held = [True]
        declareWorker('work', lambda worker: None, max_running=1)
        first = self.start('work')
        self.waitFinished(first)
        # The slot of that run stands for one of another process.
        self.patch('cipher.background.store.slots._is_running',
                   lambda *args: bool(held) or is_running(*args))
        run_id = self.start('work')
        self.waitParked(1)
        self.assertEqual(self.status(run_id).state, 'pending')
        del held[:]
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def test_crashed_holder_frees_its_slot(self):
        for on_interrupt, state in (RERUN, 'succeeded'), (
                FAIL, 'interrupted'):
            with self.subTest(on_interrupt):
                self.runtime.shutdown()
                worker_type = declareWorker(
                    'work', self.work, max_running=1,
                    on_interrupt=on_interrupt)
                holder, waiting = self.start('work'), self.start('work')
                self.begin()
                run = self.registry.get(holder)
                self.assertTrue(takeSlot(
                    self.connection, worker_type,
                    (self.registry._p_oid, run.lane, run.serial)))
                run.claim('host:1:dead', 1.0, on_interrupt == FAIL)
                transaction.commit()
                self.runtime = self.startRuntime()
                status = self.waitFinished(holder)
                self.assertEqual((status.state, status.interruptions),
                                 (state, 1))
                self.assertEqual(self.waitFinished(waiting).state,
                                 'succeeded')
                self.assertEqual(self.most, 1)

    def test_stop_of_a_parked_run(self):
        declareWorker('work', self.slow, max_running=1)
        first = self.start('work')
        self.gate.waitReached()
        second = self.start('work')
        self.waitParked(1)
        self.assertEqual(self.requestStop(second), 'stopped')
        self.gate.open()
        self.waitFinished(first)
        waitUntil(lambda: not sum(self.runtime.backlog.counts()))
        self.assertEqual(self.order, [first])

    def startSome(self):
        """Start runs; return their ids in the order they are to go."""
        ids = {}
        for priority in 1, 5, 3, 5, -2:
            self.begin()
            run = self.registry.submit('work', priority=priority)
            transaction.commit()
            ids.setdefault(priority, []).append(run.id)
        return [run_id for priority in sorted(ids, reverse=True)
                for run_id in ids[priority]]

    def test_of_those_that_wait_for_a_thread_the_urgent_go_first(self):
        self.restart(threads=1)
        declareWorker('work', self.slow)
        first = self.start('work')
        self.gate.waitReached()
        order = self.startSome()
        self.gate.open()
        for run_id in order:
            self.waitFinished(run_id)
        self.assertEqual(self.order, [first, *order])

    def test_of_those_that_wait_for_room_the_urgent_go_first(self):
        self.restart(poll=60.0)
        declareWorker('work', self.slow, max_running=1)
        first = self.start('work')
        self.gate.waitReached()
        order = self.startSome()
        self.waitParked(len(order))
        self.gate.open()
        for run_id in order:
            self.waitFinished(run_id)
        self.begin()
        self.assertEqual(
            [self.registry.get(run_id).priority for run_id in self.order],
            [0, 5, 5, 3, 1, -2])
        self.assertEqual(self.order[0], first)

    def test_urgent_runs_go_first_after_a_restart(self):
        self.runtime.shutdown()
        declareWorker('work', self.work, priority=2)
        order = [self.start('work'), *self.startSome()]
        order = order[1:3] + [order[3]] + order[:1] + order[4:]
        begun = threading.Event()
        main = ThreadsExecutor._main

        def later(executor):
            begun.wait(LIMIT)
            main(executor)

        self.patch(
            'cipher.background.runtime.executors.threads.ThreadsExecutor'
            '._main', later)
        self.runtime = self.startRuntime(threads=1)
        waitUntil(lambda: sum(self.runtime.backlog.counts()) == 6)
        begun.set()
        for run_id in order:
            self.waitFinished(run_id)
        self.assertEqual(self.order, order)
