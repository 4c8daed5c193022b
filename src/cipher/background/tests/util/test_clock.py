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
"""What a clock that was wrong for a while leaves behind: nothing."""
import time
from types import SimpleNamespace
from unittest import TestCase
from unittest import mock

import transaction
from zope.component import provideUtility

from cipher.background.declarations.schedule import Schedule
from cipher.background.events import RunFailedEvent
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import CLOCK_JUMP
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import ISchedule
from cipher.background.registry import schedules as timetable
from cipher.background.registry import services
from cipher.background.runtime.maintenance.clockwatch import DOUBT
from cipher.background.runtime.maintenance.clockwatch import ClockWatch
from cipher.background.runtime.maintenance.pruner import Pruner
from cipher.background.testing import SetClock
from cipher.background.tests.support.layers import Long
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.thread import BackgroundWorkerThread


NOW = 1000000000.0
DAY = 86400.0
YEARS = 10 * 366 * DAY


class StoredTests(FileSiteTests):
    """Without a runtime: one lane, written by hand."""

    layer = Long

    def setUp(self):
        super().setUp()
        self.clock = self.setClock(NOW)
        declareWorker('work', lambda worker: None)

    def makeRun(self, state=SUCCEEDED):
        """Start and finish a run; return it."""
        run = self.registry.addRun('work')
        self.clock.advance(0.25)
        if state is not None:
            self.registry.finish(
                run, state, {SUCCEEDED: RunSucceededEvent,
                             FAILED: RunFailedEvent}[state],
                started_at=run.created_at)
        transaction.commit()
        self.clock.advance(1.0)
        return run

    def makeMany(self, number, *states):
        return [self.makeRun(states[n % len(states)] if states else SUCCEEDED)
                for n in range(number)]

    def aLeap(self, number=40):
        """Make runs while the clock is years ahead; return them."""
        before = self.clock.now
        self.clock.now += YEARS
        runs = self.makeMany(number, SUCCEEDED, FAILED)
        self.clock.now = before + 60
        return runs

    def prune(self):
        pruner = Pruner(SimpleNamespace(note=str), lambda connection: [
            ((self.registry._p_oid, number), lane)
            for number, lane in self.registry.lanes.items()])
        transaction.abort()
        while pruner.prune(self.connection):
            pass
        self.begin()

    def ids(self, **criteria):
        return [status.id for status in self.registry.listRuns(
            limit=1000, **criteria).items]

    def test_later_runs_are_of_their_own_time(self):
        self.makeMany(20)
        self.aLeap()
        for run in self.makeMany(200):
            self.assertLessEqual(run.created_at, self.clock.now)
        for lane in self.registry.lanes.values():
            self.assertLess(lane.finishes.last_key / 1e6,
                            self.clock.now + 60)

    def test_small_steps_back_keep_the_order(self):
        self.makeMany(20)
        self.clock.advance(-600)
        self.makeMany(100)
        for lane in self.registry.lanes.values():
            times = [run.created_at for run in lane.births.walkUp()]
            self.assertEqual(times, sorted(times))

    def test_lists_by_time_and_state_find_all(self):
        before = self.makeMany(50, SUCCEEDED, FAILED)
        leap = self.aLeap()
        after = self.makeMany(200, SUCCEEDED, FAILED)
        self.registry._p_jar.cacheMinimize()
        self.assertEqual(
            set(self.ids(until=self.clock.now)),
            {run.id for run in before + after})
        self.assertEqual(
            set(self.ids(states=[FAILED])),
            {run.id for run in (before[1::2] + leap[1::2] + after[1::2])})
        self.assertEqual(len(self.ids(states=[SUCCEEDED])), 25 + 20 + 100)
        self.assertEqual(
            self.registry.getCounts()['work'],
            {SUCCEEDED: 145, FAILED: 145})

    def test_hours_and_last_runs_are_of_now(self):
        self.makeMany(50)
        self.aLeap()
        last = self.makeMany(100)[-1]
        self.assertGreater(
            sum(self.registry.getActivity().day.counts.values()), 100)
        status, = [status for status in self.registry.listTypes()
                   if status.name == 'work']
        self.assertEqual(status.last_run, last.id)

    def test_runs_of_the_leap_grow_old_as_all_others(self):
        runs = self.aLeap()
        self.makeMany(40)
        self.clock.advance(15 * DAY)
        self.makeMany(40)
        self.prune()
        left = [run for run in runs if self.registry.get(run.id) is not None]
        # But for what is in recent.
        self.assertLess(len(left), 16 * len(self.registry.lanes))
        self.assertLess(len(left), 40)

    def test_runs_of_the_leap_do_not_grow_old_at_once(self):
        # In a lane that has nothing of before, or nothing of late.
        self.registry.keep_days = 2
        for before in 0, 20:
            with self.subTest(before=before):
                self.makeMany(before)
                self.clock.advance(DAY * 1.5)
                leap = self.aLeap()
                after = self.makeRun()
                self.clock.advance(DAY)
                self.prune()
                for run in (*leap, after):
                    self.assertIsNotNone(self.registry.get(run.id), run.id)
                keys = [entry.key for lane in self.registry.lanes.values()
                        for entry in lane.finishes.walk()]
                self.assertEqual(keys, sorted(set(keys), reverse=True))
                self.clock.advance(DAY * 1.5)
                self.makeMany(16)   # nothing goes from a head
                self.prune()
                for run in leap:
                    self.assertIsNone(self.registry.get(run.id), run.id)

    def test_journal_goes_on(self):
        declareWorker('other', lambda worker: None)
        self.registry.pauseType('work')
        self.clock.now += YEARS
        self.registry.pauseType('work', False)
        self.clock.now -= YEARS - 60
        self.registry.pauseType('other')
        self.clock.advance(1)
        self.registry.pauseType('other', False)
        self.assertEqual(
            [action.verb for action in self.registry.listActions()[0]],
            ['resume type', 'pause type'] * 2)
        rows = self.registry.journal.recent
        self.assertEqual(len(rows), 4)
        self.assertLess(rows.maxKey() / 1e6, self.clock.now + 60)

    # What waits for its time

    def test_schedule_ticks_by_its_own_interval(self):
        for name, values in (('every', {'every': 60.0}),
                             ('cron', {'cron': '*/5 * * * *'})):
            with self.subTest(name):
                schedule = Schedule(name, 'work', **values)
                provideUtility(schedule, ISchedule, name)
                self.clock.now = NOW
                timetable.tick(self.registry, schedule)
                self.clock.now += YEARS
                timetable.tick(self.registry, schedule)
                self.clock.now = NOW + 30
                self.assertTrue(timetable.isDue(self.registry, schedule))
                timetable.tick(self.registry, schedule)
                self.assertFalse(timetable.isDue(self.registry, schedule))
                self.clock.advance(301)
                self.assertTrue(timetable.isDue(self.registry, schedule))

    def test_service_is_started_again(self):
        service = declareWorker('mail', factory=BackgroundWorkerThread,
                                is_loop=True, autostart=True)
        self.clock.now += YEARS
        services.keepRunning(self.registry, service)
        run, = [self.registry.get(run_id) for run_id in self.ids(
            types=['mail'])]
        self.registry.finish(run, FAILED, RunFailedEvent)
        self.clock.now = NOW + 60
        self.assertTrue(services.isMissing(self.registry, service))


class WatchTests(TestCase):

    def setUp(self):
        clock = SetClock()
        clock.__enter__()
        self.addCleanup(clock.__exit__)
        self.clock = clock

    def test_clock_that_goes_its_way_is_believed(self):
        watch = ClockWatch()
        for _ in range(1000):
            watch.look()
            self.clock.advance(30)   # it is corrected, little by little
        self.assertTrue(watch.isSteady())
        self.assertIsNone(watch.trouble())

    def test_jump_is_a_trouble_for_an_hour(self):
        for seconds in YEARS, -7200:
            with self.subTest(seconds):
                watch = ClockWatch()
                watch.look()
                self.clock.advance(seconds)
                watch.look()
                self.assertFalse(watch.isSteady())
                trouble = watch.trouble()
                self.assertEqual(trouble.kind, CLOCK_JUMP)
                self.assertAlmostEqual(int(trouble.subject), seconds, delta=9)
                at, *rest = watch._jump
                watch._jump = (at - DOUBT - 1, *rest)
                self.assertTrue(watch.isSteady())
                self.assertIsNone(watch.trouble())

    def test_storage_that_is_away_leaves_it_in_doubt(self):
        from ZEO.Exceptions import ClientDisconnected  # it may be missing
        db = mock.Mock()
        db.lastTransaction.side_effect = ClientDisconnected('no server')
        watch = ClockWatch(db)
        self.assertFalse(watch.isSteady())
        self.assertIsNone(watch.trouble())


class LiveClockTests(LiveTests):

    def test_nothing_is_pruned_by_a_clock_that_jumped(self):
        self.patch(
            'cipher.background.runtime.maintenance.pruner.INTERVAL', 0.0)
        declareWorker('work', lambda worker: None, keep_days=14.0)
        ids = [self.start('work') for _ in range(40)]
        for run_id in ids:
            self.waitFinished(run_id)
        self.runtime._maintenance._pruner._next = 0.0
        clock = self.setClock()
        self.waitTurn()
        clock.now = time.time() + YEARS
        for _ in range(5):
            self.waitTurn()
        self.begin()
        self.assertEqual(len(self.registry.listRuns(limit=99).items), 40)
        waitUntil(lambda: [
            problem for problem in self.registry.listProblems()
            if problem.kind == CLOCK_JUMP])

    def test_nothing_is_pruned_by_a_jump_within_the_turn(self):
        self.patch(
            'cipher.background.runtime.maintenance.pruner.INTERVAL', 0.0)
        maintenance = self.runtime._maintenance
        clock = self.setClock()
        self.waitTurn()
        called = []
        maintenance._pruner.turn = called.append
        waitUntil(lambda: called)
        # Behind the step that looks at the clock, before the one that prunes.
        schedules = maintenance._scheduler.startSchedules

        def jump(connection):
            maintenance._scheduler.startSchedules = schedules
            clock.now = time.time() + YEARS
            del called[:]
            return schedules(connection)

        maintenance._scheduler.startSchedules = jump
        waitUntil(lambda: maintenance.clock_watch.trouble())
        self.waitTurn()
        self.assertEqual(called, [])

    def test_runtime_that_begins_with_a_clock_ahead_prunes_nothing(self):
        self.patch(
            'cipher.background.runtime.maintenance.pruner.INTERVAL', 0.0)
        declareWorker('work', lambda worker: None, keep_days=14.0)
        ids = [self.start('work') for _ in range(40)]
        for run_id in ids:
            self.waitFinished(run_id)
        self.runtime.shutdown()
        clock = self.setClock()
        clock.now = time.time() + YEARS
        self.runtime = self.startRuntime()
        for _ in range(3):
            self.waitTurn()
        self.begin()
        self.assertEqual(len(self.registry.listRuns(limit=99).items), 40)
        # It may as well be right: nothing is reported.
        self.assertIsNone(self.runtime._maintenance.clock_watch.trouble())
        # An hour later it is believed.
        self.runtime._maintenance.clock_watch._trusts_at = 0.0
        waitUntil(lambda: self.runtime._maintenance.clock_watch.isSteady())
        self.runtime._maintenance._pruner._next = 0.0

        def left():
            self.begin()
            return len(self.registry.listRuns(limit=99).items)

        waitUntil(lambda: left() == 0)
