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
"""What a registry knows of its schedules: ticks, each of them once."""
import os
import tempfile

import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError
from zope.component import provideUtility
from zope.interface import Interface
from zope.interface.verify import verifyObject
from zope.schema import Int

from cipher.background.declarations.schedule import Schedule
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import ITick
from cipher.background.interfaces import ScheduleNotFound
from cipher.background.queries import timetable
from cipher.background.registry import schedules
from cipher.background.testing import setUpLogging
from cipher.background.testing import tearDownLogging
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import SiteTests


BEGIN = 1000000.0


class INumber(Interface):
    """The input of a worker."""

    number = Int(title="Number")


def schedule(name='report', worker='report', **values):
    """Declare a schedule, as ZCML does; return it."""
    if 'cron' not in values:
        values.setdefault('every', 60.0)
    schedule = Schedule(name, worker, **values)
    provideUtility(schedule, ISchedule, name)
    return schedule


class TimetableTests(SiteTests):

    def setUp(self):
        super().setUp()
        self.clock = self.setClock(BEGIN)
        declareWorker('report', lambda worker: None)
        self.schedule = schedule()

    def tick(self, schedule=None):
        written = schedules.tick(self.registry, schedule or self.schedule)
        transaction.commit()
        return written

    def isDue(self):
        return schedules.isDue(self.registry, self.schedule)

    def begin(self):
        """Let a runtime see the schedule for the first time."""
        self.assertTrue(self.isDue())
        self.assertTrue(self.tick())

    def number(self):
        """Return the number of runs."""
        transaction.begin()
        return len(self.registry.listRuns(limit=1000).items)

    def status(self, name='report'):
        status, = [status for status in self.registry.listSchedules()
                   if status.name == name]
        return status


class TickTests(TimetableTests):

    def test_tick_that_is_later_than_the_misfire_starts_nothing(self):
        self.schedule = schedule(every=60.0, misfire=20.0)
        self.begin()
        self.clock.advance(60 + 15)
        self.tick()
        self.assertEqual(self.number(), 1)
        self.clock.advance(95)   # the tick at 120 is late by 50
        self.assertTrue(self.tick())
        self.assertEqual(self.number(), 1)
        # It goes on with the next one.
        self.assertFalse(self.tick())
        self.clock.advance(11)
        self.tick()
        self.assertEqual(self.number(), 2)

    def test_first_sight_starts_nothing(self):
        self.begin()
        self.assertEqual(self.number(), 0)
        self.assertEqual(self.status().next_at, BEGIN + 60)
        self.assertIsNone(self.status().last_at)
        self.assertIsNone(self.status().last_run)

    def test_nothing_is_written_before_the_tick(self):
        self.begin()
        self.clock.advance(59.9)
        self.assertFalse(self.isDue())
        self.assertFalse(self.tick())
        self.assertEqual(self.number(), 0)

    def test_tick_starts_one_run(self):
        self.begin()
        self.clock.advance(60)
        self.assertTrue(self.isDue())
        self.assertTrue(self.tick())
        self.assertFalse(self.isDue())
        self.assertFalse(self.tick())
        self.assertEqual(self.number(), 1)
        status = self.status()
        run = self.registry.get(status.last_run)
        self.assertEqual((run.type, run.state, run.depth),
                         ('report', 'pending', 0))
        self.assertEqual((status.last_at, status.next_at),
                         (BEGIN + 60, BEGIN + 120))

    def test_each_tick_starts_one_run(self):
        self.begin()
        for _ in range(600):
            self.clock.advance(1)
            self.tick()
        self.assertEqual(self.number(), 10)

    def test_ticks_missed_while_everything_was_down_are_one(self):
        self.begin()
        self.clock.advance(100 * 60 + 5)
        self.tick()
        self.tick()
        self.assertEqual(self.number(), 1)
        self.assertEqual(self.status().next_at, self.clock.now + 60)

    def test_cron_ticks_missed_are_one(self):
        nightly = schedule('nightly', cron='0 3 * * *')
        self.tick(nightly)
        first = self.status('nightly').next_at
        self.clock.now = first + 10 * 86400 + 7200
        self.tick(nightly)
        self.tick(nightly)
        self.assertEqual(self.number(), 1)
        self.assertEqual(self.status('nightly').next_at, first + 11 * 86400)

    def test_hour_that_comes_twice_starts_one_run(self):
        # 2026-10-25 in Vilnius, where a process first looks in the second
        # of the two hours, when the tick of the first one is over.
        night = schedule('night', cron='30 3 * * *',
                         timezone='Europe/Vilnius')
        self.clock.now = 1792886400.0   # 03:00 summer time
        self.tick(night)
        self.clock.advance(4000)        # 03:06 winter time
        for _ in range(100):
            self.tick(night)
            self.clock.advance(60)
        self.assertEqual(self.number(), 1)

    def test_clock_that_goes_back_starts_nothing(self):
        self.begin()
        self.clock.advance(60)
        self.tick()
        self.clock.advance(-3600)
        self.assertFalse(self.tick())
        self.assertEqual(self.number(), 1)

    def test_late_looks_do_not_shift_the_ticks(self):
        self.begin()
        for n in range(1, 6):
            self.clock.now = BEGIN + 60 * n + 7.5
            self.assertTrue(self.tick())
            self.assertEqual(self.status().next_at, BEGIN + 60 * (n + 1))
        self.assertEqual(self.number(), 5)

    def test_two_processes_declare_it_differently(self):
        # As during a deploy: neither begins the ticks of the other anew.
        hourly = schedule(every=3600.0)
        minutely = schedule(every=60.0)
        for declared in hourly, minutely:
            self.assertTrue(self.tick(declared))
        self.assertEqual(self.number(), 0)
        written = 0
        for _ in range(240):
            self.clock.advance(30)
            for declared in hourly, minutely:
                if schedules.isDue(self.registry, declared):
                    written += self.tick(declared)
        self.assertEqual(self.number(), 120 + 2)
        self.assertEqual(written, self.number())

    def test_expression_that_comes_back_has_missed_nothing(self):
        old, new = schedule(every=60.0), schedule(every=3600.0)
        self.tick(old)
        self.tick(new)
        self.clock.advance(2 * schedules.STALE_AFTER)
        self.tick(old)
        self.assertEqual(self.number(), 0)
        self.clock.advance(60)
        self.tick(old)
        self.assertEqual(self.number(), 1)

    def test_expressions_kept_are_few(self):
        for n in range(1, 20):
            self.tick(schedule(every=60.0 + n))
        state = self.registry.schedules['report']
        self.assertEqual(len(state.others), schedules.OTHERS_LIMIT)
        self.assertEqual(state.expression, 'every 79 s')

    def test_changed_expression_is_computed_anew(self):
        self.begin()
        changed = schedule(every=3600.0)
        self.clock.advance(60)
        self.assertTrue(schedules.isDue(self.registry, changed))
        self.assertTrue(self.tick(changed))
        self.assertEqual(self.number(), 0)
        self.assertEqual(self.status().next_at, BEGIN + 60 + 3600)
        self.assertEqual(self.status().expression, 'every 3600 s')

    def test_changed_zone_is_a_changed_expression(self):
        first = schedule(cron='0 3 * * *')
        self.tick(first)
        before = self.status().next_at
        self.tick(schedule(cron='0 3 * * *', timezone='Asia/Tokyo'))
        self.assertNotEqual(self.status().next_at, before)

    def test_input_is_called_at_the_tick(self):
        numbers = iter([1, 2])
        declareWorker('numbered', lambda worker, number: None,
                      schema=INumber)
        numbered = schedule('numbered', 'numbered',
                            input=lambda: {'number': next(numbers)})
        self.tick(numbered)
        for number in 1, 2:
            self.clock.advance(60)
            self.tick(numbered)
            run = self.registry.get(self.status('numbered').last_run)
            self.assertEqual(run.input, {'number': number})

    def test_input_that_raises_is_kept_and_the_schedule_goes_on(self):
        def fail():
            raise ValueError('no data')

        logger = schedules.startAutomatically.__globals__['log']
        setUpLogging(logger)
        self.addCleanup(tearDownLogging, logger)
        failing = schedule(input=fail)
        self.begin()
        self.clock.advance(60)
        self.tick(failing)
        run, = self.registry.listRuns(states=[FAILED]).items
        self.assertEqual((run.type, run.error_type, run.error_text),
                         ('report', 'ValueError', 'no data'))
        self.assertEqual(run.title, "report, by schedule 'report'")
        self.assertIsNone(self.status().last_run)
        self.assertEqual(self.status().last_at, self.clock.now)
        self.assertEqual(self.status().next_at, self.clock.now + 60)

    def test_unique_worker_whose_last_run_waits_is_not_piled_up(self):
        declareWorker('report', lambda worker: None, unique='type')
        self.begin()
        for _ in range(5):
            self.clock.advance(60)
            self.tick()
        self.assertEqual(self.number(), 1)


class ByHandTests(TimetableTests):

    def test_before_a_runtime_has_seen_it_nothing_is_known(self):
        status = self.status()
        self.assertEqual(
            (status.name, status.worker, status.expression, status.next_at,
             status.last_at, status.last_run, status.is_paused),
            ('report', 'report', 'every 60 s', None, None, None, False))

    def test_paused_schedule_starts_nothing(self):
        self.begin()
        self.registry.pauseSchedule('report')
        for _ in range(3):
            self.clock.advance(60)
            self.tick()
        self.assertEqual(self.number(), 0)
        self.assertTrue(self.status().is_paused)
        self.assertIsNone(self.status().last_at)
        self.assertEqual(self.status().next_at, self.clock.now + 60)

    def test_schedule_that_goes_on_makes_up_for_nothing(self):
        self.begin()
        self.registry.pauseSchedule('report')
        self.clock.advance(600)
        self.tick()
        self.registry.pauseSchedule('report', False)
        self.assertFalse(self.tick())
        self.clock.advance(60)
        self.tick()
        self.assertEqual(self.number(), 1)

    def test_schedule_paused_before_its_first_sight(self):
        self.registry.pauseSchedule('report')
        self.begin()
        self.clock.advance(60)
        self.tick()
        self.assertEqual(self.number(), 0)

    def test_run_now_leaves_the_next_tick_alone(self):
        self.begin()
        self.clock.advance(10)
        run = self.registry.runSchedule('report')
        transaction.commit()
        status = self.status()
        self.assertEqual(
            (status.last_run, status.last_at, status.next_at),
            (run.id, BEGIN + 10, BEGIN + 60))
        self.clock.advance(50)
        self.tick()
        self.assertEqual(self.number(), 2)

    def test_run_now_though_paused_or_unseen(self):
        self.registry.pauseSchedule('report')
        self.assertEqual(self.registry.runSchedule('report').type, 'report')
        self.assertTrue(self.isDue())

    def test_unknown_schedule_is_refused(self):
        for call in self.registry.runSchedule, self.registry.pauseSchedule:
            with self.assertRaises(ScheduleNotFound) as caught:
                call('weekly')
            self.assertIn("schedule 'weekly': expected the name of a declared"
                          ' schedule', str(caught.exception))
        self.assertEqual(len(self.registry.schedules), 0)

    def test_last_ticks_are_kept(self):
        self.schedule = schedule(misfire=20.0)
        self.begin()
        self.assertEqual(self.status().recent, ())
        self.clock.advance(60)
        self.tick()
        self.clock.advance(90)
        self.tick()   # too late
        first, missed = self.status().recent
        for tick in first, missed:
            verifyObject(ITick, tick)
        self.assertEqual(
            (first.at, first.state, first.run_id, first.is_missed),
            (BEGIN + 60, 'pending', self.status().last_run, False))
        self.assertEqual(
            (missed.at, missed.state, missed.run_id, missed.is_missed),
            (BEGIN + 120, None, None, True))
        for _ in range(schedules.RECENT_LIMIT + 3):
            run = self.registry.runSchedule('report')
        ticks = self.status().recent
        self.assertEqual(len(ticks), schedules.RECENT_LIMIT)
        self.assertEqual(ticks[-1].run_id, run.id)
        self.registry.lanes[run.lane].births.drop(
            run.serial, from_recent=True)
        self.assertEqual(
            (self.status().recent[-1].run_id,
             self.status().recent[-1].is_missed), (None, False))

    def test_problems_need_no_ticks(self):
        self.registry.runSchedule('report')
        for status in timetable.listSchedules(self.registry):
            self.assertEqual(status.recent, ())

    def test_last_run_that_was_removed(self):
        run = self.registry.runSchedule('report')
        lane = self.registry.lanes[run.lane]
        lane.births.drop(run.serial, from_recent=True)
        self.assertIsNone(self.status().last_run)
        self.assertEqual(self.status().last_at, BEGIN)


class TwoProcessesTests(TimetableTests):
    """Two connections stand for two processes that see one tick.

    Of a FileStorage: it would resolve conflicts where it can.
    """

    def makeDatabase(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return DB(FileStorage(os.path.join(folder.name, 'Data.fs')))

    def setUp(self):
        super().setUp()
        self.managers = []
        self.registries = []
        for _ in range(2):
            manager = transaction.TransactionManager()
            manager.begin()
            connection = self.db.open(transaction_manager=manager)
            self.addCleanup(connection.close)
            self.addCleanup(manager.abort)
            self.managers.append(manager)
            self.registries.append(connection.get(self.registry._p_oid))

    def race(self, winner):
        """Let both do the tick at a time, and *winner* commit first."""
        for manager, registry in zip(self.managers, self.registries):
            manager.begin()
            self.assertTrue(schedules.tick(registry, self.schedule))
        loser = 1 - winner
        self.managers[winner].commit()
        with self.assertRaises(ConflictError):
            self.managers[loser].commit()
        self.managers[loser].begin()
        self.assertFalse(
            schedules.tick(self.registries[loser], self.schedule))
        self.managers[loser].commit()

    def test_tick_starts_one_run_whoever_wins(self):
        for number, winner in enumerate((0, 1, 1, 0), 1):
            if number == 1:
                self.begin()
                for manager in self.managers:
                    manager.begin()
            self.clock.advance(60)
            self.race(winner)
            self.assertEqual(self.number(), number)

    def test_first_sight_of_both_is_one(self):
        for winner in 0, 1:
            self.race(winner)
            self.schedule = schedule('other')
        self.assertEqual(self.number(), 0)

    def test_tick_and_run_now_are_two_runs(self):
        self.begin()
        self.clock.advance(60)
        for manager in self.managers:
            manager.begin()
        schedules.tick(self.registries[0], self.schedule)
        self.registries[1].runSchedule('report')
        self.managers[0].commit()
        with self.assertRaises(ConflictError):
            self.managers[1].commit()
        self.managers[1].begin()
        self.registries[1].runSchedule('report')
        self.managers[1].commit()
        self.assertEqual(self.number(), 2)
