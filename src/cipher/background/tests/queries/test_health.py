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
"""The health of one run."""
import threading
import unittest
from unittest import mock

import transaction
from zope.interface.verify import verifyObject

from cipher.background.interfaces import IRunHealth
from cipher.background.queries.health import quantile
from cipher.background.store.histogram import Histogram
from cipher.background.testing import SetClock
from cipher.background.testing import runPending
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import SiteTests
from cipher.background.work.stack import getPosition


class QuantileTests(unittest.TestCase):

    def test_few_values_are_not_usual(self):
        self.assertIsNone(quantile(Histogram().plus([1.0] * 4), 0.5))

    def test_it_lies_in_the_bucket_of_its_value(self):
        values = [0.3] * 60 + [40.0] * 30 + [1000.0] * 10
        histogram = Histogram().plus(values)
        self.assertTrue(0.2 <= quantile(histogram, 0.5) <= 0.5)
        self.assertTrue(20.0 <= quantile(histogram, 0.7) <= 50.0)
        self.assertTrue(500.0 <= quantile(histogram, 0.95) <= 1000.0)

    def test_it_grows_with_the_share(self):
        histogram = Histogram().plus(
            [0.0, 0.001, 0.01, 3.0, 3.0, 70.0, 10 ** 6])
        found = [quantile(histogram, share / 100) for share in range(1, 101)]
        self.assertEqual(found, sorted(found))


class HealthTests(SiteTests):

    def setUp(self):
        super().setUp()
        declareWorker('work', lambda worker: self.work(worker))

    def carryOut(self, work, number=1):
        """Carry out runs; return the results of *work* in them."""
        found = []
        self.work = lambda worker: found.append(work(worker))
        for _ in range(number):
            self.registry.start('work')
        transaction.commit()
        runPending(self.site)
        return found

    def look(self, worker):
        health = self.registry.getHealth(worker.run_id)
        verifyObject(IRunHealth, health)
        return health

    def test_usual_duration_comes_from_the_runs_of_the_type(self):
        with SetClock() as clock:
            self.carryOut(lambda worker: clock.advance(100.0), 6)
        health, = self.carryOut(self.look)
        self.assertTrue(50.0 <= health.usual <= 100.0, health)
        self.assertTrue(health.usual <= health.usual_most <= 100.0)

    def test_nothing_is_known_of_the_first_run(self):
        run = self.registry.start('work')
        health = vars(self.registry.getHealth(run.id))
        self.assertEqual(health.pop('neighbours'), [])
        self.assertEqual(set(health.values()), {None})


class PositionTests(unittest.TestCase):

    def test_position_is_the_same_while_a_thread_waits(self):
        event, first, second = (threading.Event() for _ in range(3))

        def work():
            first.set()
            event.wait(60)
            second.set()
            other.wait(60)

        other = threading.Event()
        thread = threading.Thread(target=work)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(other.set)
        self.addCleanup(event.set)
        self.assertTrue(first.wait(60))
        seen = None
        for _ in range(100000):
            position = getPosition(thread.ident)
            if position == seen:
                break
            seen = position
        self.assertEqual(getPosition(thread.ident), seen)
        event.set()
        self.assertTrue(second.wait(60))
        self.assertNotEqual(getPosition(thread.ident), seen)

    def test_thread_that_ended_has_none(self):
        with mock.patch('sys._current_frames', return_value={}):
            self.assertIsNone(getPosition(1))
