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
"""Tests of the gate that lets short jobs run one at a time."""
import threading
import unittest
from unittest import mock

from cipher.background.runtime.executors import gate
from cipher.background.runtime.executors.gate import Gate


class GateTests(unittest.TestCase):

    def setUp(self):
        self.now = 100.0
        patch = mock.patch.object(gate.time, 'monotonic', lambda: self.now)
        patch.start()
        self.addCleanup(patch.stop)
        self.gate = Gate(short_job=0.002)

    def test_turn_ends(self):
        for _ in range(2):
            turn = self.gate.enter()
            self.assertTrue(turn.lock.locked())
            turn.end()
            self.assertFalse(turn.lock.locked())

    def test_thread_may_stay_for_a_while(self):
        turn = self.gate.enter()
        self.now += gate.STAY / 2
        self.assertTrue(self.gate.goOn(turn))
        self.now += gate.STAY
        self.assertFalse(self.gate.goOn(turn))
        turn.end()
        again = self.gate.enter()
        self.assertTrue(self.gate.goOn(again))

    def test_thread_may_stay_longer_for_a_group(self):
        turn = self.gate.enter()
        self.now += gate.STAY * 2
        self.assertFalse(self.gate.goOn(turn))
        self.assertTrue(self.gate.goOn(turn, gate.STAY * 3))
        self.now += gate.STAY
        self.assertFalse(self.gate.goOn(turn, gate.STAY * 3))

    def test_thread_that_was_passed_may_not_stay(self):
        slow = self.gate.enter()
        self.now += 0.003   # longer than a short job
        other = self.gate.enter()
        self.assertIsNot(other, slow)
        self.now -= 0.003
        self.assertFalse(self.gate.goOn(slow))
        self.assertTrue(self.gate.goOn(other))

    def test_each_further_job_gets_the_time_of_a_short_one(self):
        turn = self.gate.enter()
        self.now += 0.0015
        self.assertTrue(self.gate.goOn(turn))
        self.now += 0.0015
        # Nobody passes it: neither job took as long as 0.002 seconds.
        self.assertLess(self.now - turn.since, 0.002)
        self.assertGreater(self.now - 100.0, 0.002)

    def test_busy_machine_gives_more_time(self):
        for late, looks in (0.0, 2), (0.004, 2), (0.1, 1):
            with self.subTest(late):
                self.gate = Gate(short_job=0.002)
                turn = self.gate.enter()
                turn.since += 0.001   # the job began just before the look
                turn.lock = Late(self, late)
                self.gate.enter().end()
                self.assertEqual(turn.lock.looks, looks)

    def test_lateness_is_forgotten(self):
        self.gate._late = gate.STAY
        turn = self.gate.enter()
        turn.lock = Late(self, 0.0, refresh=100)
        self.gate.enter().end()
        self.assertLess(self.gate._late, 0.0001)

    def test_first_one_in_the_queue_looks(self):
        turn = self.gate.enter()
        self.gate._queue.acquire()
        entered = threading.Event()
        thread = threading.Thread(
            target=lambda: (self.gate.enter().end(), entered.set()))
        thread.start()
        turn.end()
        self.assertFalse(entered.is_set())
        self.gate._queue.release()
        thread.join(30.0)
        self.assertTrue(entered.is_set())


class VisitTests(unittest.TestCase):

    def test_turn_goes_on(self):
        with gate.Visit(Gate()) as visit:
            turn = visit._turn
            visit.renew()
            self.assertIs(visit._turn, turn)
            self.assertTrue(visit.goOn())
        self.assertFalse(turn.lock.locked())

    def test_thread_that_was_passed_gets_a_new_turn(self):
        one = Gate(short_job=0.0)
        with gate.Visit(one) as slow:
            old = slow._turn
            with gate.Visit(one) as fast:
                self.assertFalse(slow.goOn())
                self.assertTrue(fast.goOn())
            slow.renew()
            self.assertIsNot(slow._turn, old)
            self.assertFalse(old.lock.locked())
            self.assertTrue(slow.goOn())
        self.assertFalse(slow._turn.lock.locked())


class Late:
    """The lock of a turn that does not end; each look is *late* seconds late.

    At the first *refresh* looks another job has begun.
    """

    def __init__(self, test, late, refresh=0):
        self._test = test
        self._late = late
        self._refresh = refresh
        self.looks = 0

    def acquire(self, timeout):
        self.looks += 1
        self._test.now += timeout + self._late
        if self.looks <= self._refresh:
            self._test.gate._current.since = self._test.now
        return False
