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
