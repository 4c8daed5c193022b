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
import transaction
from zope.component import provideUtility
from zope.interface.verify import verifyObject

from cipher.background.interfaces import FAILED
from cipher.background.interfaces import LATE_SCHEDULE
from cipher.background.interfaces import NO_RUNTIME
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import SILENT_PROCESS
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import UNDECLARED_TYPE
from cipher.background.interfaces import UNRESPONSIVE_RUN
from cipher.background.interfaces import IProblem
from cipher.background.interfaces import IProcessStatus
from cipher.background.interfaces import IRunStatus
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import RunFailedEvent
from cipher.background.process import Directory
from cipher.background.process import ProcessRecord
from cipher.background.process import getDirectory
from cipher.background.schedule import Schedule
from cipher.background.tests.live_support import declareWorker
from cipher.background.tests.look_support import NOW
from cipher.background.tests.look_support import LookTests


LEASE = 90.0


class WatchTests(LookTests):
    """With processes that are there as records only."""

    def addProcess(self, name='p', threads=4, **wish):
        """Store the record of a process that has just beaten; return it."""
        process_id = '%s:1:x' % name
        record = ProcessRecord(process_id, name, 1, None, None, threads,
                               LEASE, self.clock.now)
        getDirectory(self.connection).processes[process_id] = record
        for key, value in wish.items():
            setattr(record.wish, key, value)
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
