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
"""What is wrong, and what other processes tell: problems, status, watch."""
import random
from unittest import mock

import transaction
from zope.component import provideUtility
from zope.interface.verify import verifyObject
from zope.security.management import endInteraction
from zope.site.folder import Folder
from zope.site.site import LocalSiteManager

from cipher.background.declarations.schedule import Schedule
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.declaring import makeWorkerType
from cipher.background.events import RunFailedEvent
from cipher.background.events import RunStoppedEvent
from cipher.background.interfaces import BROKEN_RUN
from cipher.background.interfaces import BUSY_THREADS
from cipher.background.interfaces import CLOCK_JUMP
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FAILING_RESCUE
from cipher.background.interfaces import FAILING_SUBSCRIBER
from cipher.background.interfaces import FAILING_TYPE
from cipher.background.interfaces import LATE_SCHEDULE
from cipher.background.interfaces import NO_RUNTIME
from cipher.background.interfaces import PAUSED_TYPE
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import SCHEDULE_ELSEWHERE
from cipher.background.interfaces import SILENT_PROCESS
from cipher.background.interfaces import STALLED_RUN
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import UNDECLARED_TYPE
from cipher.background.interfaces import UNRESPONSIVE_RUN
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.interfaces import IProblem
from cipher.background.interfaces import IProcessStatus
from cipher.background.interfaces import IRunStatus
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import IWorkerType
from cipher.background.queries import failures
from cipher.background.queries.failures import failedLately
from cipher.background.registry.installation import addRegistry
from cipher.background.runtime.maintenance.pruner import _prune_registry
from cipher.background.store.bookmark import PAUSE
from cipher.background.store.bookmark import orderOf
from cipher.background.store.process import Directory
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import Trouble
from cipher.background.store.process import getDirectory
from cipher.background.store.slots import takeSlot
from cipher.background.store.states import ScheduleState
from cipher.background.tests.support.finishedruns import NOW
from cipher.background.tests.support.finishedruns import LookTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import Grants
from cipher.background.tests.support.sites import login


LEASE = 90.0


def _work(worker):
    """Declared; nothing carries it out."""


class WatchTests(LookTests):
    """With processes that are there as records only."""

    def addProcess(self, name='p', threads=4, **wish):
        """Store the record of a process that has just beaten; return it."""
        process_id = '%s:1:x' % name
        record = ProcessRecord(process_id, name, 1, None, None, threads,
                               LEASE, self.clock.now)
        getDirectory(self.connection).processes[process_id] = record
        for key, value in wish.items():
            setattr(record.request, key, value)
        transaction.commit()
        return record

    def tell(self, record, *runs):
        """Let a process tell that it carries these runs out."""
        record.live.runs = {
            (self.registry._p_oid, run.id): (
                self.clock.now, None, '', None)
            for run in runs}
        transaction.commit()

    def claim(self, record, type='work'):
        """Return a run that is claimed by a process."""
        run = self.registry.addRun(type)
        run.claim(record.id, self.clock.now, must_not_rerun=True)
        transaction.commit()
        return run

    def status(self, run):
        """Return the status of a run, verified."""
        status = self.registry.getStatus(run.id)
        verifyObject(IRunStatus, status)
        return status


class ProblemTests(WatchTests):

    def problems(self):
        """Return (kind, subject, since, number) of each."""
        found = self.registry.listProblems()
        for problem in found:
            verifyObject(IProblem, problem)
        return [(problem.kind, problem.subject, problem.since, problem.number)
                for problem in found]

    def test_registry_where_nothing_waits_has_none(self):
        self.makeRuns(3)
        self.assertEqual(self.problems(), [])

    def test_run_that_waits_for_nobody_is_one(self):
        runs = self.makeRuns(3, state=None)
        expected = [(NO_RUNTIME, None, runs[0].created_at, 3)]
        self.assertEqual(self.problems(), expected)
        self.addProcess('web', threads=0)
        self.addProcess('quiet', is_quiet=True)
        self.addProcess('drains', is_draining=True)
        self.assertEqual(self.problems(), expected)
        self.addProcess('worker')
        self.assertEqual(self.problems(), [])

    def test_process_that_is_silent_is_one_and_no_runtime(self):
        record = self.addProcess()
        self.tell(record, *self.makeRuns(2, state=None))
        waits, = self.makeRuns(1, state=None)
        self.clock.advance(LEASE + 1)
        self.assertEqual(self.problems(), [
            (NO_RUNTIME, None, NOW + 1, 3),
            (SILENT_PROCESS, 'p:1:x', NOW, 2)])

    def test_run_that_ignores_a_stop_is_one_after_its_time(self):
        declareWorker('deaf', print, stop_timeout=10.0)
        record = self.addProcess()
        runs = [self.claim(record, name) for name in ('work', 'deaf')]
        self.tell(record, *runs)
        for run in runs:
            self.registry.requestStop(run.id)
        transaction.commit()
        asked_at = self.clock.now
        self.clock.advance(10.5)
        self.assertEqual(self.problems(), [
            (UNRESPONSIVE_RUN, runs[1].id, asked_at, 0)])
        self.assertTrue(self.status(runs[1]).is_unresponsive)
        self.assertFalse(self.status(runs[0]).is_unresponsive)
        self.clock.advance(50)
        self.assertEqual(len(self.problems()), 2)
        self.registry.finish(runs[1], FAILED, RunFailedEvent)
        self.assertEqual([problem[1] for problem in self.problems()],
                         [runs[0].id])

    def test_schedule_whose_tick_is_over_is_one(self):
        provideUtility(Schedule('hourly', 'work', every=3600.0), ISchedule,
                       'hourly')
        self.assertEqual(self.problems(), [])
        self.registry.runSchedule('hourly')
        state = self.registry.schedules['hourly']
        state.expression, state.next_at = 'every hour', NOW + 5
        self.addProcess('worker')
        self.clock.advance(64)
        self.assertEqual(self.problems(), [])
        self.clock.advance(2)
        self.assertEqual(self.problems(),
                         [(LATE_SCHEDULE, 'hourly', NOW + 5, 0)])
        self.registry.pauseSchedule('hourly')
        self.assertEqual(self.problems(), [])

    def test_type_that_nobody_declares_is_one_while_runs_wait_for_it(self):
        self.addProcess('worker')
        self.makeRuns(2, 'gone')
        self.assertEqual(self.problems(), [])
        self.makeRuns(2, 'gone', state=None)
        self.assertEqual(self.problems(), [(UNDECLARED_TYPE, 'gone', None, 2)])

    def test_database_without_a_directory_is_borne(self):
        self.connection.root()['cipher.background'] = Directory()
        self.makeRuns(1, state=None)
        self.assertEqual([problem[0] for problem in self.problems()],
                         [NO_RUNTIME])
        del self.connection.root()['cipher.background']
        self.assertEqual([problem[0] for problem in self.problems()],
                         [NO_RUNTIME])

    def test_cost_is_bounded(self):
        self.makeRuns(300, state=None)
        self.makeRuns(2000)
        with self.countLoads() as loaded:
            self.registry.listProblems()
        self.assertLess(len(loaded), 150)

    def test_cost_of_every_kind_at_once_is_bounded(self):
        found = []
        for number in 2000, 2000:
            record = self.addProcess(threads=1)
            self.makeRuns(number)
            waits, = self.makeRuns(1, state=None)
            self.registry.lanes[waits.lane].bookmark.low = waits.serial
            self.makeRuns(300, 'parked', state=None)
            self.registry.pauseType('parked')
            self.tell(record, self.claim(record))
            self.makeRuns(number // 2, state=FAILED)
            record.heartbeat.beat_at = self.clock.now
            with self.countLoads() as loaded:
                found.append({problem[0] for problem in self.problems()})
            self.assertLess(len(loaded), 400)
        self.assertEqual([{STALLED_RUN, BUSY_THREADS, PAUSED_TYPE,
                           UNDECLARED_TYPE}] * 2, found)


def just(value):
    """Return what is just below and just above *value*."""
    return value - 0.5, value + 0.5


class ThresholdTests(WatchTests):
    """Each kind just below and just above its threshold."""

    def setUp(self):
        super().setUp()
        self.process = self.addProcess(threads=2)

    def problems(self, *kinds):
        found = self.registry.listProblems()
        for problem in found:
            verifyObject(IProblem, problem)
        return [(problem.kind, problem.subject) for problem in found
                if not kinds or problem.kind in kinds]

    def change(self, **values):
        self.registry.changeThresholds(values)

    def keepAlive(self):
        self.process.heartbeat.beat_at = self.clock.now

    def advance(self, seconds):
        self.clock.advance(seconds)
        self.keepAlive()

    # A run without progress

    def tellProgress(self, run, started_at, progressed_at):
        self.process.live.runs = {(self.registry._p_oid, run.id): (
            started_at, (1, 2, ''), '', None, progressed_at)}
        transaction.commit()

    def stalled(self, ran, silent, name='work'):
        """Return whether a run of that kind is reported."""
        run = self.claim(self.process, name)
        now = self.clock.now
        self.tellProgress(run, now - ran, now - silent)
        found = self.problems(STALLED_RUN)
        self.assertIn(found, ([], [(STALLED_RUN, run.id)]))
        self.registry.finish(run, STOPPED, RunStoppedEvent)
        transaction.commit()
        return bool(found)

    def test_run_without_progress(self):
        for seconds, expected in zip(just(600.0), (False, True)):
            with self.subTest(seconds):
                self.assertEqual(expected, self.stalled(seconds, seconds))
                self.assertEqual(expected, self.stalled(9999.0, seconds))
        self.change(stalled_after=50)
        self.assertFalse(self.stalled(9999.0, 49.5))
        self.assertTrue(self.stalled(9999.0, 50.5))
        self.change(stalled_after=None)
        self.assertFalse(self.stalled(9999.0, 9999.0))

    def test_run_that_takes_no_longer_than_usual(self):
        self.makeRun(took=1000.0)
        self.makeRun('other', took=5000.0)
        for factor in 3.0, 1.5:
            self.change(stalled_factor=factor)
            for ran, expected in zip(just(1000.0 * factor), (False, True)):
                with self.subTest(ran):
                    self.assertEqual(expected, self.stalled(ran, 700.0))
        self.assertFalse(self.stalled(5000.0, 700.0, 'other'))

    def test_usual_is_what_was_of_late(self):
        self.makeRun(took=4000.0)
        self.advance(86400.0)
        # Nothing else since: the longest ever.
        self.assertFalse(self.stalled(12000.0, 700.0))
        self.advance(1.0)
        run = self.makeRun(took=1000.0)
        self.assertTrue(self.stalled(3000.5, 700.0))
        run = self.claim(self.process)
        began_at = self.clock.now - 5000.0
        self.tellProgress(run, began_at, None)
        problem, = self.registry.listProblems()
        self.assertEqual((1000.0, began_at), (problem.usual, problem.since))

    def test_look_for_the_longest_is_bounded(self):
        self.makeRun(took=5000.0)
        self.makeRuns(40, took=1000.0)
        self.patch_looks(20)
        self.assertTrue(self.stalled(3001.0, 700.0))
        self.assertFalse(self.stalled(3000.0, 700.0))
        self.patch_looks(100)
        self.assertFalse(self.stalled(3001.0, 700.0))

    def patch_looks(self, number):
        patcher = mock.patch.object(failures, 'LOOKS', number)
        patcher.start()
        self.addCleanup(patcher.stop)

    def test_runs_under_a_former_name_are_of_the_type(self):
        self.makeRun('old', took=1000.0)
        for worker_type in makeWorkerType('new', handler=_work,
                                          former=['old']):
            provideUtility(worker_type, IWorkerType, worker_type.name)
        for ran, expected in zip(just(3000.0), (False, True)):
            self.assertEqual(expected, self.stalled(ran, 700.0, 'new'))

    def test_run_that_was_asked_to_stop_and_loops_are_left_out(self):
        declareWorker('loop', print, is_loop=True)
        self.assertFalse(self.stalled(9999.0, 9999.0, 'loop'))
        run = self.claim(self.process)
        self.tellProgress(run, NOW - 9999.0, None)
        self.assertEqual([(STALLED_RUN, run.id)], self.problems())
        self.registry.requestStop(run.id)
        self.assertEqual([], self.problems())

    def test_odd_times_that_are_told_are_borne(self):
        run = self.claim(self.process)
        for odd in None, 'soon', float('nan'), []:
            self.tellProgress(run, NOW - 9999.0, odd)
            self.assertEqual([(STALLED_RUN, run.id)], self.problems())
        self.tellProgress(run, None, None)
        self.assertEqual([], self.problems())

    # All threads busy

    def test_threads_that_are_busy_while_runs_wait(self):
        busy = self.makeRuns(2, state=None)
        self.tell(self.process, *busy)
        waits, = self.makeRuns(1, state=None)
        for after in 900.0, 60.0:
            self.change(busy_after=after)
            for seconds, expected in zip(
                    just(after), ([], [(BUSY_THREADS, waits.id)])):
                self.clock.now = waits.created_at + seconds
                self.keepAlive()
                self.assertEqual(expected, self.problems(BUSY_THREADS))
        problem, = [problem for problem in self.registry.listProblems()
                    if problem.kind == BUSY_THREADS]
        self.assertEqual(waits.created_at, problem.since)
        self.tell(self.process, busy[0])
        self.assertEqual([], self.problems(BUSY_THREADS))
        self.tell(self.process, *busy)
        self.change(busy_after=None)
        self.assertEqual([], self.problems(BUSY_THREADS))

    def test_what_waits_for_something_else_is_no_sign_of_busy_threads(self):
        declareWorker('one', print, max_running=1)
        declareWorker('paused', print)
        ahead = self.claim(self.process, 'one')
        takeSlot(self.connection, queryWorkerType('one'), (
            self.registry._p_oid, ahead.lane, ahead.serial))
        busy, = self.makeRuns(1, state=None)
        self.tell(self.process, ahead, busy)
        self.makeRun('one', None)
        self.makeRun('paused', None)
        self.makeRun('gone', None)
        self.makeRun('work', None, due_at=NOW + 5000)
        self.registry.pauseType('paused')
        self.makeRuns(1)
        self.advance(2000.0)
        self.assertEqual([], self.problems(BUSY_THREADS))
        # Since it is due, not since it was created, it waits for a thread.
        self.clock.now = NOW + 5000 + 899.5
        self.keepAlive()
        self.assertEqual([], self.problems(BUSY_THREADS))
        self.advance(1.0)
        self.assertEqual(1, len(self.problems(BUSY_THREADS)))

    def test_busy_threads_are_found_behind_what_is_parked(self):
        self.registry.pauseType('work')
        parked = self.makeRuns(300, state=None)
        for run in parked:
            lane = self.registry.lanes[run.lane]
            lane.waiting.add((PAUSE, 'work'), orderOf(0, run.serial),
                             run.serial)
        busy = self.makeRuns(2, 'other', state=None)
        self.tell(self.process, *busy)
        waits, = self.makeRuns(1, 'other', state=None)
        self.advance(901.0)
        self.assertEqual([(BUSY_THREADS, waits.id)],
                         self.problems(BUSY_THREADS))

    # A type that fails

    def failing(self):
        return [(problem.subject, problem.number, problem.total)
                for problem in self.registry.listProblems()
                if problem.kind == FAILING_TYPE]

    def failRuns(self, failed, succeeded=0, name='work'):
        for _ in range(failed):
            self.makeRun(name, FAILED)
        for _ in range(succeeded):
            self.makeRun(name, SUCCEEDED)
        transaction.commit()

    def test_number_of_failures(self):
        self.failRuns(4)
        self.assertEqual([], self.failing())
        self.failRuns(1)
        self.assertEqual([('work', 5, 5)], self.failing())
        self.change(failing_number=6)
        self.assertEqual([], self.failing())
        self.failRuns(1)
        self.assertEqual([('work', 6, 6)], self.failing())
        self.change(failing_number=None)
        self.assertEqual([], self.failing())

    def test_part_of_those_finished(self):
        self.failRuns(20, 21)
        self.failRuns(0, 30, 'other')
        self.assertEqual([], self.failing())
        self.failRuns(1)
        self.assertEqual([('work', 21, 42)], self.failing())
        self.change(failing_percent=51)
        self.assertEqual([], self.failing())
        self.failRuns(1)
        self.assertEqual([('work', 22, 43)], self.failing())

    def test_part_compared_with_the_day(self):
        self.failRuns(20, 80)   # 20 of 100
        self.advance(2 * 3600.0)
        self.failRuns(17, 13)   # 56.7 %
        self.assertEqual([], self.failing())
        self.failRuns(3)        # 60.6 %
        self.assertEqual([('work', 20, 33)], self.failing())
        self.change(failing_factor=3.1)
        self.assertEqual([], self.failing())
        self.failRuns(7)        # 67.5 %
        self.assertEqual([('work', 27, 40)], self.failing())
        problem, = self.registry.listProblems()
        self.assertEqual(0.2, problem.usual)

    def test_type_that_fails_half_the_day_is_no_news(self):
        for _ in range(10):
            self.failRuns(5, 4)
            self.advance(3600.0)
        self.failRuns(5, 4)
        self.assertEqual([], self.failing())

    def test_hour_and_day_end_where_they_end(self):
        self.failRuns(5)
        self.advance(3600.0 - 0.5)
        self.assertEqual([('work', 5, 5)], self.failing())
        self.advance(1.0)
        self.assertEqual([], self.failing())
        self.advance(86400.0 - 3600.0 - 1.0)
        self.failRuns(5, 2)
        self.assertEqual([], self.failing())
        self.advance(1.0)
        self.assertEqual([('work', 5, 7)], self.failing())

    def test_numbers_agree_with_a_look_at_all(self):
        chance = random.Random(11)
        runs = []
        for _ in range(400):
            self.clock.advance(chance.choice([1.0, 60.0, 700.0]))
            runs.append(self.makeRun(
                chance.choice(['work', 'other']),
                chance.choice([SUCCEEDED, FAILED, STOPPED])))
        for later in (0.0, 100.0, 3000.0, 40000.0, 80000.0):
            now = self.clock.now + later
            found = failedLately(self.registry, now)
            for name in 'work', 'other':
                def count(state, oldest, newest):
                    return sum(
                        run.type == name and state in (None, run.state)
                        and now - oldest <= run.finished_at < now - newest
                        for run in runs)
                expected = (count(FAILED, 3600, -1), count(None, 3600, -1),
                            count(FAILED, 86400, 3600),
                            count(None, 86400, 3600))
                one = found.get(name)
                self.assertEqual(expected if expected[0] else None, one and (
                    one.failed, one.total, one.failed_before,
                    one.total_before))

    def test_what_was_removed_counts_still(self):
        self.failRuns(40)
        self.registry.keep = 0
        self.registry.keep_days = 0.0
        self.clock.advance(60.0)
        self.keepAlive()
        for lane in self.registry.lanes.values():
            self.assertTrue(list(lane.finishes.chunks))
        _prune_registry(self.registry, list(self.registry.lanes.values()),
                        500)
        transaction.commit()
        self.registry.addRun('work')   # so that the type is listed
        number, = [number for _, number, _ in self.failing()]
        self.assertGreaterEqual(number, 8)

    def test_former_name_is_the_same_type(self):
        self.failRuns(3, name='old')
        self.failRuns(2, name='new')
        self.assertEqual([], self.failing())
        for worker_type in makeWorkerType('new', handler=_work,
                                          former=['old']):
            provideUtility(worker_type, IWorkerType, worker_type.name)
        self.assertEqual([('new', 5, 5)], self.failing())

    # A paused type

    def test_paused_type_with_runs_that_wait(self):
        self.registry.pauseType('work')
        self.assertEqual([], self.problems())
        self.makeRuns(1, state=None)
        self.assertEqual([(PAUSED_TYPE, 'work')], self.problems())
        self.change(paused_waiting=3)
        self.makeRuns(1, state=None)
        self.assertEqual([], self.problems())
        self.makeRuns(1, state=None)
        problem, = self.registry.listProblems()
        self.assertEqual((PAUSED_TYPE, 'work', NOW, 3), (
            problem.kind, problem.subject, problem.since, problem.number))
        self.change(paused_waiting=None)
        self.assertEqual([], self.problems())

    def test_paused_type_with_a_schedule_that_ticks(self):
        self.schedule(next_at=NOW + 3600)
        self.assertEqual([], self.problems())
        self.registry.pauseType('work')
        self.assertEqual([(PAUSED_TYPE, 'work')], self.problems())
        self.registry.pauseSchedule('hourly')
        self.assertEqual([], self.problems())

    # Schedules

    def schedule(self, next_at=None):
        schedule = Schedule('hourly', 'work', every=3600.0)
        provideUtility(schedule, ISchedule, 'hourly')
        if next_at is not None:
            state = self.registry.schedules['hourly'] = ScheduleState()
            state.expression, state.next_at = schedule.expression, next_at
        transaction.commit()

    def test_late_schedule(self):
        self.schedule(NOW + 5)
        for after in 60.0, 600.0:
            self.change(late_after=after)
            for seconds, expected in zip(
                    just(after), ([], [(LATE_SCHEDULE, 'hourly')])):
                self.clock.now = NOW + 5 + seconds
                self.keepAlive()
                self.assertEqual(expected, self.problems())
        self.change(late_after=None)
        self.assertEqual([], self.problems())

    def test_schedule_that_no_process_starts_here(self):
        self.schedule()
        for after in 60.0, 600.0:
            self.change(elsewhere_after=after)
            for seconds, expected in zip(
                    just(after), ([], [(SCHEDULE_ELSEWHERE, 'hourly')])):
                self.clock.now = NOW + seconds
                self.keepAlive()
                self.assertEqual(expected, self.problems())
        self.registry.pauseSchedule('hourly')
        self.assertEqual([], self.problems())
        self.registry.pauseSchedule('hourly', False)
        self.change(elsewhere_after=None)
        self.assertEqual([], self.problems())

    def test_schedule_that_runs_in_another_site(self):
        self.schedule(NOW + 3600)
        self.site['sub'] = sub = Folder()
        sub.setSiteManager(LocalSiteManager(sub))
        transaction.commit()
        other = addRegistry(sub)
        transaction.commit()
        self.advance(61.0)
        self.assertEqual([], self.problems())
        self.assertEqual(
            [(SCHEDULE_ELSEWHERE, 'hourly')],
            [(problem.kind, problem.subject)
             for problem in other.listProblems()])
        # One that began to run elsewhere is not called late.
        state = other.schedules['hourly'] = ScheduleState()
        state.next_at = NOW - 1.0
        self.assertEqual(
            [(SCHEDULE_ELSEWHERE, 'hourly')],
            [(problem.kind, problem.subject)
             for problem in other.listProblems()])

    # What a process tells

    def trouble(self, *trouble):
        self.process.heartbeat.troubles = (tuple(Trouble(*trouble)),)
        transaction.commit()

    def test_jump_of_a_clock(self):
        for above in 60.0, 300.0:
            self.change(jump_above=above)
            for seconds in -above, above:
                self.trouble(CLOCK_JUMP, '%+d' % seconds, NOW, '')
                self.assertEqual(
                    [(CLOCK_JUMP, '%+d' % seconds)], self.problems())
            self.trouble(CLOCK_JUMP, '%+d' % (above - 1), NOW, '')
            self.assertEqual([], self.problems())
        self.change(jump_above=None)
        self.trouble(CLOCK_JUMP, '+9999', NOW, '')
        self.assertEqual([], self.problems())

    def test_run_that_cannot_be_handled_is_named(self):
        run, = self.makeRuns(1)
        for kind in BROKEN_RUN, FAILING_RESCUE, FAILING_SUBSCRIBER:
            self.trouble(kind, run.id, NOW, 'POSKeyError',
                         self.registry._p_oid)
            self.assertEqual([(kind, run.id)], self.problems())

    # Who may know

    def test_nothing_is_said_of_hidden_types(self):
        for name in 'secret', 'paused':
            declareWorker(name, print, view_permission='test.Secret')
        schedule = Schedule('nightly', 'paused', every=3600.0)
        provideUtility(schedule, ISchedule, 'nightly')
        self.registry.pauseType('paused')
        self.failRuns(5, name='secret')
        stalled, busy = [self.claim(self.process, 'secret')
                         for _ in range(2)]
        self.makeRuns(1, 'paused', state=None)
        waits, = self.makeRuns(1, 'secret', state=None)
        visible, = self.makeRuns(1, state=None)
        self.tell(self.process, stalled, busy)
        self.advance(3000.0)
        grant = Grants(self)
        self.addCleanup(endInteraction)
        grant('all', self.site, VIEW_WORKERS, 'test.Secret')
        grant('some', self.site, VIEW_WORKERS)
        login('all')
        self.assertEqual(
            [(STALLED_RUN, stalled.id), (STALLED_RUN, busy.id),
             (BUSY_THREADS, waits.id), (FAILING_TYPE, 'secret'),
             (SCHEDULE_ELSEWHERE, 'nightly'), (PAUSED_TYPE, 'paused')],
            self.problems())
        login('some')
        self.assertEqual([], self.problems())


class LiveProblemTests(LiveTests):
    """With a runtime of two threads that is at work."""

    def setUp(self):
        super().setUp()
        declareWorker('hold', lambda worker: self.gate.stop())
        self.change(lambda: self.registry.changeThresholds({
            'stalled_after': 1.0, 'busy_after': 1.0}))

    def waitProblems(self, kind, *subjects):
        """Wait until that is reported, and nothing else of its kind."""
        waitUntil(lambda: self.begin() or sorted(
            problem.subject for problem in self.registry.listProblems()
            if problem.kind == kind) == sorted(subjects), kind)

    def test_what_stalls_is_reported_until_it_is_over(self):
        runs = [self.start('hold') for _ in range(3)]
        self.waitProblems(STALLED_RUN, *runs[:2])
        self.waitProblems(BUSY_THREADS, runs[2])
        self.gate.open()
        for run_id in runs:
            self.waitFinished(run_id)
        self.waitProblems(STALLED_RUN)
        self.waitProblems(BUSY_THREADS)


class ProcessTests(WatchTests):

    def process(self):
        status, = self.registry.listProcesses()
        verifyObject(IProcessStatus, status)
        return status

    def test_process_tells_how_busy_it_is(self):
        record = self.addProcess()
        self.assertEqual(self.process().busy, 0)
        self.tell(record, *self.makeRuns(3, state=None))
        self.assertEqual(self.process().busy, 3)

    def test_wish_of_an_administrator_is_told(self):
        self.addProcess()
        status = self.process()
        self.assertEqual(
            (status.is_quiet, status.is_draining, status.asked_by),
            (False, False, None))
        self.registry.quietProcess('p:1:x')
        self.assertTrue(self.process().is_quiet)
        self.registry.drainProcess('p:1:x')
        self.assertTrue(self.process().is_draining)


class StatusTests(WatchTests):

    def test_run_that_is_told_of_runs(self):
        run, = self.makeRuns(1, state=None)
        self.assertEqual(self.status(run).state, PENDING)
        self.tell(self.addProcess(), run)
        self.assertEqual(self.status(run).state, RUNNING)
        self.assertEqual(self.ids(states=[RUNNING]), [run.id])
        self.assertEqual(self.ids(states=[PENDING]), [])

    def test_run_whose_process_is_silent_is_not_shown_as_running(self):
        record = self.addProcess()
        run = self.claim(record)
        self.tell(record, run)
        self.assertEqual(self.status(run).state, RUNNING)
        self.assertFalse(self.status(run).is_orphaned)
        self.clock.advance(LEASE + 1)
        status = self.status(run)
        self.assertEqual((status.state, status.is_orphaned),
                         (PENDING, True))
        self.assertIsNone(status.took)
        self.assertEqual(status.owner, 'p:1')
        self.assertEqual(self.ids(states=[RUNNING]), [])
        self.assertEqual(self.ids(states=[PENDING]), [run.id])
        self.assertEqual(self.registry.getCounts(), {'work': {PENDING: 1}})

    def test_run_whose_process_is_gone_is_not_shown_as_running(self):
        record = self.addProcess()
        run = self.claim(record)
        del getDirectory(self.connection).processes[record.id]
        self.assertTrue(self.status(run).is_orphaned)

    def test_claimed_run_that_was_not_told_yet_runs(self):
        run = self.claim(self.addProcess())
        self.assertEqual(self.status(run).state, RUNNING)

    def test_run_of_a_silent_process_is_asked_to_stop_not_called_stopped(
            self):
        # It may be paused only, and go on.
        run = self.claim(self.addProcess())
        self.clock.advance(LEASE + 1)
        self.assertEqual(self.registry.requestStop(run.id), RUNNING)
        self.assertEqual(run.state, RUNNING)
        self.assertIn(run.id, self.registry.stops)

    def test_finished_run_can_be_retried_once_and_removed(self):
        run, = self.makeRuns(1, state=FAILED)
        status = self.status(run)
        self.assertTrue(status.is_retryable and status.is_removable)
        self.assertFalse(status.is_stoppable)
        again = self.registry.retry(run.id, reason='better luck')
        status = self.status(run)
        self.assertFalse(status.is_retryable)
        self.assertEqual(status.retried_as, again.id)
        status = self.status(again)
        self.assertEqual((status.retry.run_id, status.retry.reason),
                         (run.id, 'better luck'))
        self.assertFalse(status.is_retryable or status.is_removable)
        self.registry.finish(again, FAILED, RunFailedEvent)
        self.registry.remove(again.id)
        self.assertTrue(self.status(run).is_retryable)
        self.assertIsNone(self.status(run).retried_as)

    def test_page_tells_what_was_retried(self):
        run, = self.makeRuns(1, state=FAILED)
        again = self.registry.retry(run.id)
        transaction.commit()
        self.connection.cacheMinimize()
        status, = self.registry.listRuns(states=[FAILED]).items
        self.assertEqual(status.retried_as, again.id)

    def test_what_has_no_declared_type_or_is_a_service_is_not_retried(self):
        declareWorker('service', print, autostart=True)
        for name in 'gone', 'service':
            run, = self.makeRuns(1, name)
            self.assertFalse(self.status(run).is_retryable)

    def test_pause_shows_on_what_waits(self):
        waits, = self.makeRuns(1, state=None)
        done, = self.makeRuns(1, state=SUCCEEDED)
        self.registry.pauseType('work')
        self.assertTrue(self.status(waits).is_paused)
        self.assertFalse(self.status(done).is_paused)
        self.registry.pauseType('work', False)
        self.assertFalse(self.status(waits).is_paused)
