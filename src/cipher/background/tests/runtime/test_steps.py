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
"""The turn of the control thread: what fails there hurts its culprit only."""
import sys
import threading

import transaction
from ZEO.Exceptions import ClientDisconnected
from ZODB.mvccadapter import MVCCAdapterInstance
from ZODB.POSException import POSKeyError
from zope.component import hooks
from zope.component import provideHandler
from zope.component import provideUtility
from zope.security.management import queryInteraction

from cipher.background.declarations.schedule import Schedule
from cipher.background.events import RunRequeuedEvent
from cipher.background.interfaces import BROKEN_RUN
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import FAILING_RESCUE
from cipher.background.interfaces import FAILING_STEP
from cipher.background.interfaces import FAILING_SUBSCRIBER
from cipher.background.interfaces import STUCK_PROCESS
from cipher.background.interfaces import IRunCreatedEvent
from cipher.background.interfaces import IRunEvent
from cipher.background.interfaces import IRunInterruptedEvent
from cipher.background.interfaces import IRunRequeuedEvent
from cipher.background.interfaces import IRunStoppedEvent
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import Snooze
from cipher.background.interfaces import StopRequested
from cipher.background.job import BackgroundJob
from cipher.background.store import process
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.work.announcing import announce


class Boom(Exception):
    """Nothing that another try would help."""


ERRORS = (Boom, SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError,
          StopIteration)


def raise_(error):
    raise error


class TurnTests(LiveTests):
    """With a runtime whose culprits do not rest for long."""

    def setUp(self):
        super().setUp()
        self.patch(
            'cipher.background.runtime.maintenance.troubles.FAILURE_PAUSE',
            0.05)
        self.patch(
            'cipher.background.runtime.maintenance.heartbeat.SHORTEST_PAUSE',
            0.0)

    def problems(self, *kinds):
        """Return [(kind, subject, error)] of the problems of these kinds."""
        self.begin()
        return [(problem.kind, problem.subject, problem.error)
                for problem in self.registry.listProblems()
                if problem.kind in kinds]

    def stored(self):
        """Return the (kind, subject, error) that others can read."""
        self.begin()
        record, = getDirectory(self.connection).processes.values()
        return [(kind, subject, error) for kind, subject, _, error, *_
                in record.heartbeat.troubles]

    def lose(self, name, **values):
        """Leave a run as a dead process does; return its id."""
        self.begin()
        run = self.registry.addRun(name)
        run.claim('elsewhere:1:dead', 1000000.0, **{
            'must_not_rerun': False, **values})
        transaction.commit()
        self.runtime.wake()
        return run.id


class StepTests(TurnTests):

    def names(self):
        return [step.name for step in self.runtime._maintenance.steps._others]

    def break_(self, name, error):
        """Let a step fail; return a function that mends it."""
        step, = [step for step in self.runtime._maintenance.steps._others
                 if step.name == name]
        do = step.do
        step.do = lambda connection: raise_(error)
        step.next_at = 0.0

        def mend():
            step.do = do
        return mend

    def test_each_step_that_fails_stops_no_other(self):
        declareWorker('work', lambda worker: None)
        names = self.names()
        self.assertGreater(len(names), 10)
        for name in names:
            with self.subTest(name):
                mend = self.break_(name, Boom())
                expected = (FAILING_STEP, name, 'Boom')
                waitUntil(lambda: expected in self.problems(FAILING_STEP))
                waitUntil(lambda: expected in self.stored())
                done = set()
                others = [step
                          for step in self.runtime._maintenance.steps._others
                          if step.name != name]
                for step in others:
                    step.next_at = 0.0
                    step.do = self.noting(step, done)
                waitUntil(lambda: len(done) == len(others),
                          'the steps besides %s' % name)
                mend()
                waitUntil(lambda: not self.problems(FAILING_STEP))
                waitUntil(lambda: not self.stored())
        self.assertEqual(self.carryOut('work').state, 'succeeded')

    def noting(self, step, done):
        do = step.do

        def noted(connection):
            step.do = do
            done.add(step.name)
            return do(connection)
        return noted

    def test_no_error_ends_the_thread(self):
        for error in ERRORS:
            with self.subTest(error):
                mend = self.break_('schedules', error())
                expected = (FAILING_STEP, 'schedules', error.__name__)
                waitUntil(lambda: expected in self.problems(FAILING_STEP))
                mend()
                waitUntil(lambda: not self.problems(FAILING_STEP))
        self.assertTrue(self.runtime._control.is_alive())

    def test_step_that_fails_rests_longer_each_time(self):
        self.patch(
            'cipher.background.runtime.maintenance.troubles.FAILURE_PAUSE',
            1000.0)
        calls = []
        step, = [step for step in self.runtime._maintenance.steps._others
                 if step.name == 'services']

        def fail(connection):
            calls.append(1)
            raise Boom

        step.do = fail
        waitUntil(lambda: len(calls) > 5)
        turns = len(calls)
        for _ in range(50):
            self.runtime.wake()
            self.waitTurn()
        # 50 turns within less than it takes to fail as often.
        self.assertLess(len(calls), turns + 5)
        # Each is logged at the first and at the tenth failure.
        self.assertEqual(self.logged.getvalue().count('step services'),
                         1 + (len(calls) >= 10))

    def test_thread_that_hangs_is_reported_and_the_process_beats(self):
        self.runtime.shutdown()
        self.runtime = self.startRuntime(lease=3.0)
        self.runtime.settings.lease = 0.4
        declareWorker('work', lambda worker: None)
        hangs, goes_on = threading.Event(), threading.Event()
        self.addCleanup(goes_on.set)

        def input():
            hangs.set()
            goes_on.wait(LIMIT)

        provideUtility(Schedule('hangs', 'work', every=0.1, input=input),
                       ISchedule, 'hangs')
        self.assertTrue(hangs.wait(LIMIT))
        expected = (STUCK_PROCESS, 'schedules', '')
        waitUntil(lambda: expected in self.stored())
        self.assertIn(expected, self.problems(STUCK_PROCESS))
        problem, = [problem for problem in self.registry.listProblems()
                    if problem.kind == STUCK_PROCESS]
        self.assertIn('in input', problem.stack)
        self.assertEqual(problem.process, self.runtime.id)
        record, = getDirectory(self.connection).processes.values()
        self.assertFalse(record.isTaking())
        # It beats on, and what it works on goes on.
        count = record.heartbeat.count

        def has_beaten():
            self.begin()
            return record.heartbeat.count > count + 2

        waitUntil(has_beaten, 'a beat')
        goes_on.set()
        waitUntil(lambda: not self.stored())
        self.begin()
        self.assertTrue(record.isTaking())

    def test_broken_record_hurts_itself_only(self):
        called = []
        declareWorker('work', lambda worker: called.append(worker.run_id))
        self.runtime.shutdown()
        self.begin()
        self.registry.pauseType('work')
        ids = [self.start('work') for _ in range(30)]
        self.registry.pauseType('work', False)
        transaction.commit()
        broken = {self.registry.get(ids[n])._p_oid: ids[n] for n in (0, 17)}
        self.connection.cacheMinimize()
        load = MVCCAdapterInstance.load

        def load_all_but_broken(instance, oid):
            if oid in broken:
                raise POSKeyError(oid)
            return load(instance, oid)

        self.patch('ZODB.mvccadapter.MVCCAdapterInstance.load',
                   load_all_but_broken)
        self.runtime = self.startRuntime()
        later = self.start('work')
        expected = {*ids, later} - set(broken.values())
        waitUntil(lambda: set(called) >= expected, 'the others')
        self.assertEqual(set(called), expected)
        names = {(BROKEN_RUN, run_id, 'POSKeyError')
                 for run_id in broken.values()}
        waitUntil(lambda: set(self.problems(BROKEN_RUN)) == names)
        # As when a backup brought it back.
        broken.clear()
        waitUntil(lambda: set(called) == {*ids, later}, 'the broken ones')
        waitUntil(lambda: not self.problems(BROKEN_RUN))

    def test_schedule_that_fails_stops_no_other(self):
        declareWorker('work', lambda worker: None)
        for error in ERRORS:
            with self.subTest(error):
                provideUtility(
                    Schedule('a', 'work', every=0.05,
                             input=lambda: raise_(error())), ISchedule, 'a')
                name = error.__name__
                provideUtility(Schedule(name, 'work', every=0.05),
                               ISchedule, name)

                def is_started():
                    self.begin()
                    return any(status.name == name and status.last_run
                               for status in self.registry.listSchedules())

                waitUntil(is_started, 'schedule %s' % name)
        self.assertTrue(self.runtime._control.is_alive())

    def test_schedule_whose_arithmetic_fails_is_named(self):
        declareWorker('work', lambda worker: None)

        class Bad(Schedule):
            def nextTick(self, after):
                raise Boom

        provideUtility(Bad('bad', 'work', every=0.05), ISchedule, 'bad')
        provideUtility(Schedule('good', 'work', every=0.05), ISchedule, 'good')
        waitUntil(lambda: self.problems(FAILING_STEP) == [
            (FAILING_STEP, 'schedule bad', 'Boom')])

        def is_started():
            self.begin()
            state = self.registry.schedules.get('good')
            return state is not None and state.last_run is not None

        waitUntil(is_started, 'the other schedule')

    def test_service_whose_start_exits_stops_no_other(self):
        provideHandler(
            lambda event: event.object.type == 'bad' and sys.exit(),
            [IRunCreatedEvent])

        class Loop(BackgroundWorkerThread):

            def scheduleNextWork(self):
                return not self.wait(60)

        for name in 'bad', 'good':
            declareWorker(name, factory=Loop, is_loop=True, autostart=True)
        waitUntil(lambda: self.problems(FAILING_STEP) == [
            (FAILING_STEP, 'service bad', 'SystemExit')])
        waitUntil(lambda: [live.worker_type.name for live
                           in self.runtime.allLive() if live.worker_type]
                  == ['good'])


class SubscriberTests(TurnTests):
    """What subscribers of the control thread's events do."""

    def collect(self, error=None, kind=IRunEvent):
        """Return what subscribers are sent: (event, type, site)."""
        events = []

        def collected(event):
            site = hooks.getSite()
            events.append((type(event).__name__, event.object.type,
                           site is not None and site.__name__
                           == self.site.__name__))
            self.assertIsNone(queryInteraction())
            if error is not None:
                site['counter'].value += 1
                raise error()

        provideHandler(collected, [kind])
        return events

    def test_site_is_set(self):
        declareWorker('rerun', lambda worker: None)
        declareWorker('fail', lambda worker: None, on_interrupt=FAIL)
        events = self.collect(kind=IRunInterruptedEvent)
        events2 = self.collect(kind=IRunRequeuedEvent)
        self.waitFinished(self.lose('fail', must_not_rerun=True))
        self.waitFinished(self.lose('rerun'))
        self.assertEqual(events, [('RunInterruptedEvent', 'fail', True)])
        self.assertEqual(events2, [('RunRequeuedEvent', 'rerun', True)])

    def test_site_is_set_whoever_sends_the_event(self):
        kinds = {'raises': lambda worker: raise_(Boom()),
                 'succeeds': lambda worker: None,
                 'snoozes': lambda worker: raise_(Snooze(0.01)),
                 'stops': lambda worker: raise_(StopRequested())}
        for name, work in kinds.items():
            declareWorker(name, work)

            class Loop(BackgroundWorkerThread):
                rounds = 1
                doWork = work

                def scheduleNextWork(self):
                    self.rounds -= 1
                    return self.rounds >= 0

            declareWorker('loop that ' + name, factory=Loop, is_loop=True)
        declareWorker('refused', factory=lambda *args: raise_(Boom()))
        ended = []

        def collected(event):
            if type(event).__name__ == 'RunCreatedEvent':
                return   # the caller's
            site = hooks.getSite()
            ended.append((type(event).__name__, event.object.type,
                          site and site.__name__))
            if type(event).__name__ == 'RunRequeuedEvent':
                event.object.due_at += 3600

        provideHandler(collected, [IRunEvent])
        for name in [*kinds, *['loop that ' + name for name in kinds],
                     'refused']:
            with self.subTest(name):
                run_id = self.start(name)
                waitUntil(lambda: self.status(run_id).finished_at
                          or self.status(run_id).due_at)
                waitUntil(lambda: not self.runtime.allLive())
        self.assertGreater(len({name for name, *_ in ended}), 4)
        for event, name, site in ended:
            self.assertEqual(site, self.site.__name__, (event, name))

    def test_subscriber_that_raises_stops_no_rescue(self):
        declareWorker('rerun', lambda worker: None)
        for error in ERRORS:
            with self.subTest(error):
                self.collect(error, IRunRequeuedEvent)
                ids = [self.lose('rerun') for _ in range(3)]
                for run_id in ids:
                    status = self.waitFinished(run_id)
                    self.assertEqual(status.state, 'succeeded')
                found = self.problems(FAILING_SUBSCRIBER)
                for run_id in ids:
                    self.assertIn(
                        run_id, [subject for _, subject, _ in found])
        # What the subscribers changed was taken back.
        self.assertEqual(self.value(), 0)

    def test_subscriber_that_raises_stops_no_stop(self):
        declareWorker('work', lambda worker: None)
        self.collect(Boom, IRunStoppedEvent)
        self.begin()
        self.registry.pauseType('work')
        run = self.registry.start('work')
        transaction.commit()
        # As of an administrator who took it for running.
        self.registry.stops[run.id] = ('bob', 1.0, None)
        transaction.commit()
        self.runtime.wake()
        self.assertEqual(self.waitFinished(run.id).state, 'stopped')
        self.assertEqual(self.problems(FAILING_SUBSCRIBER), [
            (FAILING_SUBSCRIBER, run.id, 'Boom')])
        self.assertEqual(self.value(), 0)

    def test_subscriber_whose_storage_is_away(self):
        declareWorker('rerun', lambda worker: None)
        bad = []

        def away(event):
            if event.object.id in bad:
                raise ClientDisconnected('of another database')

        self.runtime.shutdown()
        bad += [self.lose('rerun')]
        ids = [self.lose('rerun') for _ in range(3)]
        provideHandler(away, [IRunRequeuedEvent])
        self.runtime = self.startRuntime()
        for run_id in ids:
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertEqual(self.status(bad[0]).finished_at, None)
        waitUntil(lambda: (FAILING_RESCUE, bad[0], 'ClientDisconnected')
                  in self.problems(FAILING_RESCUE))
        run_id, = bad
        bad.clear()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def test_events_at_the_end_of_the_process(self):
        def work(worker):
            self.gate.stop()

        declareWorker('work', work)
        events = self.collect(Boom, IRunRequeuedEvent)
        run_id = self.start('work')
        self.gate.waitReached()
        self.runtime.shutdown(0.1)
        self.assertEqual(events, [('RunRequeuedEvent', 'work', True)])
        self.assertEqual(self.status(run_id).state, 'pending')
        self.assertEqual(self.registry.listProcesses(), [])
        self.gate.open()

    def test_change_made_before_the_event_stays(self):
        self.runtime.shutdown()
        self.collect(Boom, IRunRequeuedEvent)
        self.begin()
        run = self.registry.addRun('work')
        transaction.commit()
        run.putBack(interruptions=7)
        announce(RunRequeuedEvent(run, self.registry), self.runtime.troubles)
        transaction.commit()
        self.begin()
        self.assertEqual(run.interruptions, 7)
        self.assertEqual(self.value(), 0)


class ReportTests(TurnTests):

    def test_progress_of_an_odd_class_hurts_no_report(self):
        class Odd(BackgroundJob):

            @property
            def progress(self):
                raise Boom

            @progress.setter
            def progress(self, value):
                """Nobody's."""

            def doWork(self):
                gate.stop()

        gate = self.gate
        declareWorker('odd', factory=Odd)
        declareWorker('good', lambda worker: gate.stop())
        ids = {self.start('odd'), self.start('good')}
        waitUntil(lambda: len(self.runtime.allLive()) == 2)
        for live in self.runtime.allLive():
            live.started_at -= 60

        def told():
            self.begin()
            record, = getDirectory(self.connection).processes.values()
            return {run_id for _, run_id in record.live.runs}

        waitUntil(lambda: told() == ids, 'the report')
        self.gate.open()
        waitUntil(lambda: not self.runtime.allLive())


class ProcessRecordTests(TurnTests):

    def test_process_is_taking_unless_it_says_otherwise(self):
        self.begin()
        record, = getDirectory(self.connection).processes.values()
        self.assertTrue(record.isTaking())
        for name in 'is_quiet', 'is_draining':
            setattr(record.request, name, True)
            self.assertFalse(record.isTaking())
            setattr(record.request, name, False)
        record.threads = 0
        self.assertFalse(record.isTaking())
        transaction.abort()

    def test_registry_that_is_gone_is_no_broken_one(self):
        self.begin()
        oid = self.registry._p_oid
        find = process.findRegistry
        self.assertIs(find(self.connection, oid), self.registry)
        self.assertIsNone(find(self.connection, b'\0\0\0\1\0\0\0\0'))
