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
"""How long runs took and waited over time: getHistory, getActivity."""
import os
import random
import tempfile
from collections import Counter

import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.interface.verify import verifyObject

from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import ITypeHistory
from cipher.background.interfaces import ITypePeriod
from cipher.background.queries.history import PACE_FLOOR
from cipher.background.queries.history import within
from cipher.background.runtime.maintenance.pruner import BATCH
from cipher.background.runtime.maintenance.pruner import _prune_registry
from cipher.background.store.chunks import SPILL
from cipher.background.store.hours import HOUR
from cipher.background.store.lane import Lane
from cipher.background.tests.support.finishedruns import NOW
from cipher.background.tests.support.finishedruns import LookTests
from cipher.background.tests.support.sites import makeSite


DAY = 24 * HOUR
#: The greatest error of a time: half a bucket of a fourth of a factor of two,
#: and half a millisecond for short times.
ERROR, LEAST = 0.0906, 0.0005


def exactly(values, share):
    """Return the least of *values* that *share* of them do not exceed."""
    values = sorted(value for value in values if value is not None)
    return values[max(0, -int(-share * len(values) // 1) - 1)] if (
        values) else None


class HistoryTests(LookTests):

    def assertTime(self, found, expected):
        if expected is None:
            self.assertIsNone(found)
        else:
            self.assertAlmostEqual(
                found, expected, delta=ERROR * expected + LEAST)

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
        self.assertTime(before.took_half, 2.0)
        self.assertTime(before.took_most, 90.0)
        self.assertEqual(before.counts, {SUCCEEDED: 4})
        self.assertTime(last.took_half, 8.0)
        self.assertEqual(last.counts, {FAILED: 1})
        self.assertEqual(found.hours[-2].counts, {})
        self.assertEqual(found.day.counts, {SUCCEEDED: 4, FAILED: 1})
        self.assertTime(found.day.took_half, 3.0)
        self.assertEqual(
            {round(seconds): number for seconds, number in found.buckets
             if number}, {1: 1, 2: 1, 4: 1, 8: 1, 131: 1})
        self.assertEqual(found.buckets[-1], (None, 0))
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

    def fill(self, days):
        """Make some runs each hour, in several lanes; return nothing."""
        rand = random.Random(16)
        for number in range(1, 5):
            self.registry.lanes[number] = Lane(number)
        for _ in range(days * 24):
            for _ in range(rand.choice((0, 1, 3, 12))):
                self.clock.advance(rand.uniform(1.0, HOUR / 15))
                name = rand.choice(('work', 'work', 'other'))
                run = self.registry.addRun(
                    name, due_at=self.clock.now - 5000.0)
                took = rand.lognormvariate(0.0, 2.0)
                run.change(
                    rand.choice(FINISHED_STATES),
                    finished_at=self.clock.now, attempts=1,
                    started_at=(None if rand.random() < 0.1
                                else self.clock.now - took))
                self.registry.lanes[rand.randrange(1, 5)].finishes.add(run)
            self.clock.now = (self.clock.now // HOUR + 1) * HOUR
        transaction.commit()

    def read(self, begin, end, name=None):
        """Return the entries of all finishes in a time."""
        return [entry for lane in self.registry.lanes.values()
                for entry in lane.finishes.walk(types=(name,) if name else ())
                if begin <= entry.key / 1000000 < end]

    def assertPeriod(self, period, entries):
        self.assertEqual(period.counts, Counter(
            entry.state for entry in entries))
        for name, share in ('half', 0.5), ('most', 0.95):
            for kind in 'took', 'waited':
                if hasattr(period, '%s_%s' % (kind, name)):
                    self.assertTime(
                        getattr(period, '%s_%s' % (kind, name)), exactly(
                            [getattr(entry, kind) for entry in entries],
                            share))

    def test_it_is_what_a_reading_of_all_finishes_says(self):
        self.fill(17)
        activity = self.registry.getActivity()
        usual = {}
        for name in 'work', 'other':
            found = self.registry.getHistory(name)
            usual[name] = found.fortnight.took_half
            for period in (*found.hours, *found.days, found.day,
                           found.fortnight):
                self.assertPeriod(period, self.read(
                    period.begins_at, period.ends_at, name))
            self.assertEqual(
                sum(number for _seconds, number in found.buckets),
                sum(entry.took is not None for entry in self.read(
                    found.fortnight.begins_at, found.fortnight.ends_at,
                    name)))
        for period in (*activity.hours, *activity.days, activity.day,
                       activity.fortnight):
            entries = self.read(period.begins_at, period.ends_at)
            self.assertPeriod(period, entries)
            paces = [max(PACE_FLOOR, entry.took) / usual[entry.type]
                     for entry in entries if entry.took is not None]
            for found, share in ((period.pace_half, 0.5),
                                 (period.pace_most, 0.95)):
                if paces:
                    # Both the duration and the usual one are of a bucket.
                    self.assertAlmostEqual(
                        found / exactly(paces, share), 1.0, delta=0.25)
                else:
                    self.assertIsNone(found)

    def test_pace_is_of_each_type(self):
        for _ in range(30):
            self.makeRun(took=0.1)
            self.makeRun('other', took=600.0)
        self.clock.advance(2 * DAY)
        for _ in range(10):
            self.makeRun(took=0.1)
            self.makeRun('other', took=1200.0)
        activity = self.registry.getActivity()
        self.assertEqual(activity.days[-3].pace_most, 1.0)
        self.assertEqual(activity.hours[-1].pace_half, 1.0)
        self.assertAlmostEqual(activity.day.pace_most, 2.0, delta=0.1)
        self.assertEqual(activity.paces['work'], 1.0)
        self.assertAlmostEqual(activity.paces['other'], 2.0, delta=0.1)

    def test_shortest_durations_are_no_multiples(self):
        for took in (0.0001,) * 9 + (0.009,):
            self.makeRun(took=took)
        self.assertEqual(self.registry.getActivity().day.pace_most, 1.0)

    def test_removed_and_pruned_runs_count(self):
        self.makeRuns(3 * SPILL + 2)
        before = (self.registry.getHistory('work'),
                  self.registry.getActivity())
        self.registry.keep = 1
        for status in self.registry.listRuns(limit=2).items:
            self.registry.remove(status.id)
        transaction.commit()
        _prune_registry(self.registry, list(self.registry.lanes.values()),
                        BATCH)
        transaction.commit()
        self.assertEqual(
            sum(self.registry.getCounts()['work'].values()), 1)
        self.assertEqual((self.registry.getHistory('work'),
                          self.registry.getActivity()), before)

    def test_an_undone_finish_does_not_count(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        db = DB(FileStorage(os.path.join(folder.name, 'Data.fs')))
        self.addCleanup(db.close)
        connection, _site, registry = makeSite(db)
        self.addCleanup(connection.close)
        self.addCleanup(transaction.abort)
        for number in range(3 * SPILL + 1):
            self.clock.advance(1.0)
            run = registry.addRun('work')
            registry.finish(run, SUCCEEDED, RunSucceededEvent,
                            started_at=self.clock.now)
            transaction.get().note('finish %d' % number)
            transaction.commit()
            counts = registry.getHistory('work').day.counts
            self.assertEqual(counts, {SUCCEEDED: number + 1})
            if number % 16 in (0, 14, 15):   # around each spill
                db.undo(db.undoInfo(0, 1)[0]['id'])
                transaction.commit()
                counts = registry.getHistory('work').day.counts
                self.assertEqual(counts.get(SUCCEEDED, 0), number)
                db.undo(db.undoInfo(0, 1)[0]['id'])   # redo
                transaction.commit()
        self.assertEqual(registry.getActivity().day.counts,
                         {SUCCEEDED: number + 1})

    def test_no_run_is_loaded(self):
        self.makeRuns(3 * SPILL)
        with self.countLoads() as loaded:
            self.registry.getHistory('work')
            self.registry.getActivity()
        self.assertEqual([], [ob for ob in loaded
                              if type(ob).__name__ in ('WorkerRun', 'Chunk')])

    def test_a_new_hour_rewrites_little(self):
        self.fill(5)
        lane = self.registry.lanes[1]
        days = lane.finishes.stats.hours.past.days
        self.assertGreater(len(days), 3)
        for day in days:
            day._p_activate()
        before = [day._p_serial for day in days]
        self.clock.advance(HOUR)
        for _ in range(2 * SPILL):
            run = self.registry.addRun('work')
            run.change(SUCCEEDED, finished_at=self.clock.now)
            lane.finishes.add(run)
        transaction.commit()
        self.assertEqual([day._p_serial for day in days[:-1]], before[:-1])
        # Four buckets of a factor of two, and the numbers.
        for day in days:
            for packed in day.packed.values():
                self.assertLess(len(packed), 24 * 80)

    def test_clock_that_was_set_back(self):
        self.makeRun()
        self.clock.advance(-3 * HOUR)
        found = self.registry.getHistory('work')
        self.assertEqual(found.hours[-1].counts, {SUCCEEDED: 1})

    def test_clock_that_was_far_ahead(self):
        self.makeRuns(SPILL)
        self.clock.advance(40 * DAY)
        self.makeRuns(SPILL)
        self.clock.advance(HOUR)
        self.makeRuns(SPILL)
        self.clock.now = NOW + 2 * HOUR
        self.makeRuns(2 * SPILL)
        found = self.registry.getHistory('work')
        self.assertEqual(found.day.counts[SUCCEEDED], 5 * SPILL)
        self.clock.advance(DAY)
        self.makeRuns(SPILL)
        self.assertEqual(self.registry.getHistory('work').day.counts,
                         {SUCCEEDED: SPILL})

    def test_within(self):
        self.assertEqual(within(dict.fromkeys(range(1, 101), 1), 0.5), 50)
        self.assertEqual(within({1: 94, 2: 1, 9: 5}, 0.95), 2)
        self.assertEqual(within({7: 1}, 0.5), 7)
        self.assertIsNone(within({}, 0.5))
