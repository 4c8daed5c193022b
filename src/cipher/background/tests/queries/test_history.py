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
"""How long the runs of a type took and waited: getHistory."""
from unittest import mock

from zope.interface.verify import verifyObject

from cipher.background.interfaces import FAILED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import ITypeHistory
from cipher.background.interfaces import ITypePeriod
from cipher.background.queries import history
from cipher.background.queries.history import within
from cipher.background.store.chunks import SPILL
from cipher.background.store.stats import HOUR
from cipher.background.tests.store.test_stats import NOW
from cipher.background.tests.support.finishedruns import LookTests


DAY = 24 * HOUR


class HistoryTests(LookTests):

    def test_periods_without_runs(self):
        found = self.registry.getHistory('work')
        verifyObject(ITypeHistory, found)
        for period in (*found.hours, *found.days, found.day, found.fortnight):
            verifyObject(ITypePeriod, period)
            self.assertEqual(period.counts, {})
            self.assertIsNone(period.took_half)
        self.assertEqual([one.begins_at for one in found.hours],
                         [NOW + n * HOUR for n in range(-23, 1)])
        self.assertEqual([one.ends_at for one in found.days],
                         [NOW + HOUR + n * DAY for n in range(-13, 1)])
        self.assertEqual(found.fortnight.begins_at, found.days[0].begins_at)

    def test_times_of_each_period(self):
        for took in 1.0, 2.0, 3.0, 90.0:
            self.makeRun(took=took)
        self.makeRun(took=50.0, type='other')
        self.clock.advance(2 * HOUR)
        self.makeRun(took=8.0, state=FAILED)
        found = self.registry.getHistory('work')
        before, last = found.hours[-3], found.hours[-1]
        self.assertEqual((before.took_half, before.took_most), (2.0, 90.0))
        self.assertEqual(before.counts, {SUCCEEDED: 4})
        self.assertEqual((last.took_half, last.counts), (8.0, {FAILED: 1}))
        self.assertEqual(found.hours[-2].counts, {})
        self.assertEqual(found.day.counts, {SUCCEEDED: 4, FAILED: 1})
        self.assertEqual(found.day.took_half, 3.0)
        self.assertEqual(
            {seconds: number for seconds, number in found.buckets if number},
            {1: 1, 2: 1, 5: 1, 10: 1, 100: 1})
        self.clock.advance(DAY)
        found = self.registry.getHistory('work')
        self.assertEqual(found.day.counts, {})
        self.assertEqual(found.fortnight.counts, {SUCCEEDED: 4, FAILED: 1})
        self.clock.advance(14 * DAY)
        self.assertEqual(
            self.registry.getHistory('work').fortnight.counts, {})

    def test_recent_finishes_and_spilled_ones(self):
        self.makeRuns(3 * SPILL + 5)
        found = self.registry.getHistory('work')
        self.assertEqual(found.day.counts, {SUCCEEDED: 3 * SPILL + 5})
        self.assertFalse(found.is_cut)

    def test_too_many_are_cut_and_said(self):
        self.makeRuns(20)
        with mock.patch.object(history, 'LOOKS', 15):
            found = self.registry.getHistory('work')
        self.assertEqual((found.day.counts, found.is_cut),
                         ({SUCCEEDED: 15}, True))

    def test_no_run_is_loaded(self):
        self.makeRuns(3 * SPILL)
        with self.countLoads() as loaded:
            self.registry.getHistory('work')
        self.assertEqual([], [ob for ob in loaded
                              if type(ob).__name__ == 'WorkerRun'])

    def test_clock_that_was_set_back(self):
        self.makeRun()
        self.clock.advance(-3 * HOUR)
        found = self.registry.getHistory('work')
        self.assertEqual(found.hours[-1].counts, {SUCCEEDED: 1})

    def test_within(self):
        values = list(range(1, 101))
        self.assertEqual(within(values, 0.5), 50)
        self.assertEqual(within(values, 0.95), 95)
        self.assertEqual(within([7], 0.5), 7)
        self.assertIsNone(within([], 0.5))
