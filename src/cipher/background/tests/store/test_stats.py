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
"""Numbers by worker type and by hour: listTypes, getActivity."""
import pickle
import random
import unittest

import transaction
from zope.interface.verify import verifyObject

from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import IActivity
from cipher.background.interfaces import IActivityPeriod
from cipher.background.interfaces import ITypeStatus
from cipher.background.queries.summary import getSpans
from cipher.background.runtime.maintenance.pruner import BATCH
from cipher.background.runtime.maintenance.pruner import _prune_registry
from cipher.background.store.finishes import SPILL
from cipher.background.store.finishes import Finishes
from cipher.background.store.histogram import Histogram
from cipher.background.store.hours import DAYS_KEPT
from cipher.background.store.hours import HOUR
from cipher.background.store.run import WorkerRun
from cipher.background.store.stats import Spans
from cipher.background.tests.support.finishedruns import NOW
from cipher.background.tests.support.finishedruns import LookTests


# Around the spill of one head, and of some.
SIZES = (1, SPILL - 1, SPILL, SPILL + 1, 5 * SPILL + 3)


class TypesTests(LookTests):

    def types(self):
        return {status.name: status for status in self.registry.listTypes()}

    def test_declared_type_without_runs_has_no_numbers(self):
        status = self.types()['work']
        verifyObject(ITypeStatus, status)
        self.assertTrue(status.is_declared)
        self.assertFalse(status.is_paused)
        self.assertEqual((status.counts, status.timed), ({}, 0))
        self.assertEqual(
            [status.mean, status.maximum, status.failure_rate,
             status.last_run, status.last_at, status.last_state], [None] * 6)

    def test_types_come_by_name_with_those_that_nobody_declares(self):
        for name in 'zeta', 'alpha':
            self.makeRun(name, state=None)
        found = self.registry.listTypes()
        self.assertEqual([status.name for status in found],
                         ['alpha', 'other', 'work', 'zeta'])
        self.assertEqual([status.is_declared for status in found],
                         [False, True, True, False])
        self.assertEqual(found[0].counts, {PENDING: 1})

    def test_durations_count_wherever_the_entries_stand(self):
        for size in SIZES:
            with self.subTest(size=size):
                before = self.types()['work']
                for number in range(size):
                    self.makeRun(took=number)
                transaction.commit()
                status = self.types()['work']
                self.assertEqual(status.timed - before.timed, size)
                total = (status.mean * status.timed
                         - (before.mean or 0) * before.timed)
                self.assertAlmostEqual(total, sum(range(size)))
                self.assertEqual(status.maximum, max(
                    size - 1, before.maximum or 0))

    def test_run_that_never_began_is_not_measured(self):
        for size in SPILL - 2, SPILL + 2:
            for _ in range(size):
                self.makeRun(state=STOPPED, took=None)
        status = self.types()['work']
        self.assertEqual((status.timed, status.mean, status.maximum),
                         (0, None, None))
        self.assertEqual(status.counts, {STOPPED: 2 * SPILL})
        self.makeRun(took=0.0)
        status = self.types()['work']
        self.assertEqual((status.timed, status.mean, status.maximum),
                         (1, 0.0, 0.0))

    def test_clock_set_back_gives_no_negative_duration(self):
        self.makeRun(took=-3600.0)
        self.assertEqual(self.types()['work'].mean, 0.0)

    def test_histograms_count_wherever_the_entries_stand(self):
        took, waited = [], []
        for size in SIZES:
            for number in range(size):
                took.append(number % 7 * 1.0)
                waited.append(number % 5 * 60.0)
                self.makeRun(took=took[-1], due_at=(
                    self.clock.now - took[-1] - waited[-1]))
                self.makeRun('other', STOPPED, took=None)
            transaction.commit()
            spans = getSpans(self.registry)
            with self.subTest(size=size):
                found = spans['work']
                self.assertEqual(found.took, Histogram().plus(took))
                self.assertEqual(found.waited.numbers,
                                 Histogram().plus(waited).numbers)
                self.assertAlmostEqual(found.waited.seconds / (
                    sum(waited) or 1), bool(sum(waited)), places=3)
                self.assertEqual(spans['other'], Spans())

    def test_histograms_do_not_lose_what_is_pruned_or_removed(self):
        for number in range(3 * SPILL + 2):
            self.makeRun(took=1.0)
        transaction.commit()
        before = getSpans(self.registry)
        self.assertEqual(sum(before['work'].took.numbers), 3 * SPILL + 2)
        self.registry.keep = 1
        for status in self.registry.listRuns(limit=2).items:
            self.registry.remove(status.id)
        transaction.commit()
        _prune_registry(self.registry, list(self.registry.lanes.values()),
                        BATCH)
        self.assertEqual(sum(self.types()['work'].counts.values()), 1)
        self.assertEqual(getSpans(self.registry), before)

    def test_wait_of_a_retried_run_is_that_of_its_first_attempt(self):
        run = self.makeRun(state=None)
        run.waited = 5.0
        self.registry.finish(run, SUCCEEDED, RunSucceededEvent,
                             started_at=self.clock.now)
        self.assertEqual(
            getSpans(self.registry)['work'].waited.numbers,
            Histogram().plus([5.0]).numbers)

    def test_types_are_kept_apart(self):
        for number in range(3 * SPILL):
            self.makeRun('work', took=1.0)
            self.makeRun('other', FAILED, took=3.0)
        types = self.types()
        self.assertEqual((types['work'].mean, types['other'].mean),
                         (1.0, 3.0))
        self.assertEqual(
            (types['work'].failure_rate, types['other'].failure_rate),
            (0.0, 1.0))

    def test_failure_rate_counts_what_was_pruned_and_removed(self):
        runs = self.makeRuns(3) + self.makeRuns(1, state=FAILED)
        for run in runs[:2] + runs[3:]:
            self.registry.remove(run.id)
        transaction.commit()
        status = self.types()['work']
        self.assertEqual(status.failure_rate, 0.25)
        self.assertEqual(status.counts, {SUCCEEDED: 1})

    def test_last_run_is_the_one_that_finished_last_in_whatever_lane(self):
        for size in SIZES:
            last, = self.makeRuns(size, state=STOPPED)[-1:]
            status = self.types()['work']
            self.assertEqual((status.last_run, status.last_at,
                              status.last_state),
                             (last.id, self.clock.now, STOPPED))
        self.clock.advance(1)
        last = self.makeRun(state=INTERRUPTED)
        transaction.commit()
        self.assertEqual(self.types()['work'].last_run, last.id)

    def test_last_run_that_is_gone_is_not_named(self):
        run, = self.makeRuns(1)
        self.registry.remove(run.id)
        transaction.commit()
        status = self.types()['work']
        self.assertIsNone(status.last_run)
        self.assertEqual((status.last_at, status.last_state),
                         (NOW + 1, SUCCEEDED))

    def test_pause_of_a_type_is_told(self):
        self.registry.pauseType('work', reason='the printer is on fire')
        status = self.types()['work']
        self.assertEqual(
            (status.is_paused, status.paused_at, status.pause_reason),
            (True, NOW, 'the printer is on fire'))
        self.assertFalse(self.types()['other'].is_paused)

    def test_cost_does_not_grow_with_the_number_of_runs(self):
        loads = []
        for size in 10, 60:
            self.makeRuns(size * SPILL)
            with self.countLoads() as loaded:
                self.registry.listTypes()
                self.registry.getActivity()
            loads.append(len(loaded))
        # A leaf of a tree may have been split.
        self.assertLess(loads[1], loads[0] + 5)


class HoursTests(LookTests):

    def test_there_are_always_24_hours_up_to_this_one(self):
        activity = self.registry.getActivity()
        verifyObject(IActivity, activity)
        hours = activity.hours
        for hour in (*hours, *activity.days, activity.day,
                     activity.fortnight):
            verifyObject(IActivityPeriod, hour)
        self.assertEqual([hour.begins_at for hour in hours],
                         [NOW + n * HOUR for n in range(-23, 1)])
        self.assertEqual({str(hour.counts) for hour in hours}, {'{}'})
        self.assertEqual({(hour.waited_half, hour.pace_half)
                          for hour in hours}, {(None, None)})
        self.assertEqual(activity.paces, {})

    def test_finishes_count_in_their_hour_by_state(self):
        for size in SIZES:
            for state in FINISHED_STATES:
                for _ in range(size):
                    self.makeRun(state=state, took=2.0)
        self.clock.advance(HOUR - 0.001)
        self.makeRun(took=4.0)
        self.clock.advance(0.002)
        self.makeRun(took=8.0)
        transaction.commit()
        *_, last, this = self.registry.getActivity().hours
        number = sum(SIZES)
        self.assertEqual(last.counts, {
            SUCCEEDED: number + 1, FAILED: number, STOPPED: number,
            INTERRUPTED: number})
        self.assertEqual((last.pace_half, last.pace_most), (1.0, 1.0))
        self.assertEqual(this.counts, {SUCCEEDED: 1})
        self.assertAlmostEqual(this.pace_half, 4.0, delta=0.4)

    def test_each_hour_is_kept_for_a_day_and_then_forgotten(self):
        numbers = []
        rand = random.Random(1)
        for _ in range(60):
            numbers.append(rand.choice((0, 1, SPILL, 3 * SPILL + 2)))
            for _ in range(numbers[-1]):
                self.makeRun()
            transaction.commit()
            hours = self.registry.getActivity().hours
            expected = ([0] * 24 + numbers)[-24:]
            self.assertEqual(
                [hour.counts.get(SUCCEEDED, 0) for hour in hours], expected)
            self.clock.advance(HOUR)

    def test_days_that_are_over_stay_few(self):
        for _ in range(4 * DAYS_KEPT):
            self.makeRuns(2 * SPILL)
            self.clock.advance(9 * HOUR)
        for lane in self.registry.lanes.values():
            self.assertLessEqual(
                len(lane.finishes.stats.hours.past.days), DAYS_KEPT)
        self.assertEqual(
            sum(self.registry.getActivity().fortnight.counts.values()),
            2 * SPILL * (14 * 24 // 9))

    def test_clock_set_back_loses_nothing(self):
        self.makeRuns(3 * SPILL)
        self.clock.advance(-5 * HOUR)
        self.makeRuns(2 * SPILL)
        hours = self.registry.getActivity().hours
        self.assertEqual(len(hours), 24)
        self.assertEqual(hours[-1].counts, {SUCCEEDED: 5 * SPILL})
        self.assertLessEqual(hours[-1].begins_at, self.clock.now)

    def test_time_zone_has_no_say(self):
        self.clock.now = NOW + 1234.5
        self.assertEqual(self.registry.getActivity().hours[-1].begins_at, NOW)


class StoredTests(unittest.TestCase):

    def finishes(self, number, types=('count',)):
        finishes = Finishes()
        for n in range(number):
            run = WorkerRun(types[n % len(types)], 1, n + 1, NOW + n)
            run.change(FINISHED_STATES[n % 4], started_at=NOW + n,
                       finished_at=NOW + n * 60.25)
            finishes.add(run)
        return finishes

    def test_whole_state_of_stats_comes_back(self):
        for number in SIZES:
            stats = self.finishes(number, ('count', 'žodis')).stats
            copy = type(stats).__new__(type(stats))
            copy.__setstate__(stats.__getstate__())
            for name in 'types', 'counts', 'times', 'spans':
                self.assertEqual(getattr(copy, name), getattr(stats, name))
            self.assertEqual(copy.hours.number, stats.hours.number)
            self.assertEqual(copy.hours.pack(), stats.hours.pack())
            self.assertIs(copy.hours.past, stats.hours.past)

    def test_head_is_small_whatever_the_number_of_types(self):
        # It is written with each finish.
        few = self.finishes(5 * SPILL + 9)
        many = self.finishes(5 * SPILL + 9,
                             ['type %d' % n for n in range(50)])
        for finishes in few, many:
            key, tail, _ = finishes.__getstate__()
            self.assertLess(len(pickle.dumps((key, tail), 3)), 9 * 28 + 30)

    def test_stats_are_not_touched_by_a_finish_that_does_not_spill(self):
        finishes = self.finishes(SPILL + 1)
        before = finishes.stats.__getstate__()[:5]
        for n in range(SPILL - 2):
            run = WorkerRun('count', 1, 100 + n, NOW)
            run.change(FAILED, finished_at=NOW + 10 ** 5)
            finishes.add(run)
        self.assertEqual(finishes.stats.__getstate__()[:5], before)
