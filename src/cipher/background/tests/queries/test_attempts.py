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
"""Attempts: each with begin, end, process, error and log; and their wait."""
import time
import unittest

import transaction
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from zope.interface import Interface
from zope.schema import Password
from zope.schema import TextLine

from cipher.background.interfaces import FAIL
from cipher.background.interfaces import RERUN
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import Snooze
from cipher.background.runtime.runtime import Runtime
from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.store import attempts
from cipher.background.store.attempts import LOG_LIMIT
from cipher.background.store.attempts import Attempt
from cipher.background.store.attempts import shorten
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.store.process import machineId
from cipher.background.store.run import WorkerRun
from cipher.background.testing import runPending
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import login
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util.text import CUT


class Saying:
    """A handler that logs a line, and raises these errors in turn."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, worker):
        self.calls += 1
        worker.log.info('line of call %d', self.calls)
        if self.errors:
            raise self.errors.pop(0)


class Loop(BackgroundWorkerThread):
    """Runs until it is stopped."""

    def scheduleNextWork(self):
        self.log.info('looping')
        return not self.wait(30)


class AttemptTests(FileSiteTests):
    """In this thread, by a clock of our own."""

    def setUp(self):
        super().setUp()
        self.clock = self.setClock(1000000.0)

    def start(self, work, delay=0.0, **values):
        declareWorker('work', work, **values)
        run = self.registry.submit('work', delay=delay)
        transaction.commit()
        return run

    def attempt(self, run):
        """Make one attempt; go to where the next one is due."""
        runPending(self.site)
        self.begin()
        if run.state == 'pending':
            self.clock.now = run.due_at

    def details(self, run):
        self.begin()
        return self.registry.getDetails(run.id)

    def lines(self, run):
        """Return the lines of the log but for tracebacks."""
        return [line for line in self.details(run).log.split('\n')
                if ' ERROR ' not in line and not line.startswith('    ')]

    def outcomes(self, run):
        return [one.outcome for one in self.details(run).attempts]

    def test_run_that_succeeds_at_once_stores_nothing_of_attempts(self):
        run = self.start(lambda worker: None)
        self.attempt(run)
        self.assertIsNone(run.details)
        names = [name for name in WorkerRun.__getstate__.__globals__[
            '_FIELDS']]
        self.assertLess(len(run.__getstate__()), names.index('waited'))
        attempt, = self.details(run).attempts
        self.assertEqual(
            (attempt.began_at, attempt.ended_at, attempt.outcome),
            (run.started_at, run.finished_at, 'succeeded'))

    def test_failed_attempt_is_there_while_the_next_one_is_waited_for(self):
        for on_interrupt in RERUN, FAIL:
            with self.subTest(on_interrupt):
                run = self.start(Saying(ValueError('one')), max_attempts=2,
                                 on_interrupt=on_interrupt)
                began = self.clock.now
                self.attempt(run)
                self.assertEqual(run.state, 'pending')
                details = self.details(run)
                attempt, = details.attempts
                self.assertEqual(attempt, Attempt(
                    began, began, attempt.process, 'failed', 'ValueError',
                    'one'))
                self.assertRegex(attempt.process, r'\A\S+:\d+\Z')
                self.assertIn('line of call 1', details.log)
                self.assertNotIn('===', details.log)
                self.attempt(run)
                self.assertEqual(
                    self.outcomes(run), ['failed', 'succeeded'])

    def test_log_keeps_the_lines_of_each_attempt_below_its_heading(self):
        run = self.start(Saying(ValueError(), KeyError()), max_attempts=3)
        for _ in range(3):
            self.attempt(run)
        lines = self.lines(run)
        self.assertEqual(len(lines), 6)
        for number in 1, 2, 3:
            heading, line = lines[2 * number - 2:2 * number]
            self.assertRegex(
                heading, r'\A=== Execution %d, \d{4}-\d\d-\d\d '
                r'\d\d:\d\d:\d\d, process \S+:\d+ ===\Z' % number)
            self.assertIn('line of call %d' % number, line)

    def test_no_text_of_a_worker_looks_like_a_heading(self):
        heading = '=== Execution 2, process host:1 ==='

        def work(worker):
            worker.log.info('%s', 'x\n%s\r%s\N{LINE SEPARATOR}%s' % (
                (heading,) * 3))
            raise ValueError()

        run = self.start(work, max_attempts=3)
        self.attempt(run)
        self.attempt(run)
        lines = self.details(run).log.split('\n')
        self.assertEqual(
            sum(line.startswith('===') for line in lines), 2, lines)

    def test_snooze_is_an_attempt_that_keeps_its_log(self):
        run = self.start(Saying(Snooze(30, 'no disk yet')), max_attempts=1)
        self.attempt(run)
        attempt, = self.details(run).attempts
        self.assertEqual((attempt.outcome, attempt.error_text),
                         ('put off', 'no disk yet'))
        self.assertEqual(run.attempts, 0)
        self.attempt(run)
        self.assertEqual(self.outcomes(run), ['put off', 'succeeded'])
        log = self.details(run).log
        self.assertIn('line of call 1', log)
        self.assertIn('line of call 2', log)

    def test_wait_is_from_the_creation_to_the_first_begin(self):
        run = self.start(Saying(ValueError()), max_attempts=2)
        self.clock.advance(7.0)
        self.attempt(run)
        self.assertEqual(self.registry.getStatus(run.id).waited, 7.0)
        self.clock.advance(100.0)
        self.attempt(run)
        self.assertEqual(run.state, 'succeeded')
        self.assertEqual(self.registry.getStatus(run.id).waited, 7.0)

    def test_wait_of_a_run_with_a_delay_is_from_when_it_is_due(self):
        for errors in (), (ValueError(),):
            run = self.start(Saying(*errors), delay=50.0, max_attempts=2)
            self.assertIsNone(self.registry.getStatus(run.id).waited)
            self.clock.advance(53.0)
            self.attempt(run)
            self.assertEqual(self.registry.getStatus(run.id).waited, 3.0)
            self.attempt(run)
            self.assertEqual(run.state, 'succeeded')
            self.assertEqual(self.registry.getStatus(run.id).waited, 3.0)

    def test_wait_is_never_negative(self):
        run = self.start(lambda worker: None)
        self.clock.advance(-100.0)
        self.attempt(run)
        self.assertEqual(self.registry.getStatus(run.id).waited, 0.0)

    def test_first_attempt_stays_and_what_is_left_out_is_counted(self):
        run = self.start(Saying(*map(ValueError, range(30))),
                         max_attempts=40)
        for _ in range(31):
            self.attempt(run)
        details = self.details(run)
        self.assertEqual(details.left_out, 10)
        self.assertEqual(
            [one.error_text for one in details.attempts],
            ['0', *[str(number) for number in range(11, 30)], None])
        lines = self.lines(run)
        self.assertIn('line of call 1', lines[1])
        self.assertEqual(lines[2], '%s 10 begins' % CUT)
        self.assertTrue(lines[3].startswith('=== Execution 12, '), lines[3])
        self.assertIn('line of call 12', lines[4])

    def test_logs_of_all_attempts_are_bounded_and_each_keeps_its_ends(self):
        def work(worker):
            for number in range(3000):
                worker.log.info('line %d %s', number, 'x' * 100)
            if run.attempts < 4:
                raise ValueError()

        run = self.start(work, max_attempts=5)
        for _ in range(5):
            self.attempt(run)
        log = self.details(run).log
        self.assertLess(len(log), 2 * LOG_LIMIT + 1000)
        parts = log.split('=== Execution ')[1:]
        self.assertEqual(len(parts), 5)
        for part in parts:
            lines = part.strip('\n').split('\n')
            self.assertIn(' line 0 x', lines[1])
            self.assertTrue(any(' line 2999 x' in line for line in lines))
            self.assertIn(CUT, lines)

    def test_secret_of_a_later_attempt_is_hidden_in_the_former_ones(self):
        class IOpen(Interface):
            key = TextLine(title='Key')

        class ISecret(Interface):
            key = Password(title='Key')

        def work(worker, key):
            worker.log.info('the key is %s', key)
            raise ValueError('wrong: %s' % key)

        declareWorker('work', work, schema=IOpen, max_attempts=3)
        run = self.registry.start('work', key='sesame-open')
        transaction.commit()
        self.attempt(run)
        self.assertIn('sesame-open', str(run.details.history))
        declareWorker('work', work, schema=ISecret, max_attempts=3)
        self.assertNotIn('sesame-open', str(self.details(run)))
        self.attempt(run)
        self.assertNotIn('sesame-open', str(vars(run.details)))
        self.assertNotIn('sesame-open', str(self.details(run)))


class DeathTests(FileSiteTests):
    """What a process that dies leaves."""

    def setUp(self):
        super().setUp()
        self.work = Saying()
        declareWorker('work', self.work)
        declareWorker('once', self.work, on_interrupt=FAIL)
        self.runtime = Runtime(self.db, RuntimeSettings(threads=1))
        self.runtime._maintenance.turn(True)

    def die(self, *runs, id='host:1:dead', log='said at last', **values):
        """Let a process die that worked on *runs*, as it said."""
        dead = ProcessRecord(id, 'host', 1, machineId(), 'never', 1, 90.0,
                             time.time() - 100)
        dead.live.runs = {(self.registry._p_oid, run.id): (
            time.time() - 50, None, log, None) for run in runs}
        getDirectory(self.connection).processes[dead.id] = dead
        transaction.commit()
        for _ in range(3):
            self.runtime._maintenance.turn(True)
        self.begin()

    def start(self, type='work', owner=None):
        run = self.registry.start(type)
        if owner:
            run.change(RUNNING, owner=owner, started_at=time.time() - 60,
                       must_not_rerun=type == 'once')
        transaction.commit()
        return run

    def test_death_is_an_attempt_with_the_end_of_its_log(self):
        run = self.start()
        self.die(run)
        self.assertEqual((run.state, run.interruptions), ('pending', 1))
        details = self.registry.getDetails(run.id)
        attempt, = details.attempts
        self.assertEqual((attempt.outcome, attempt.process),
                         ('gone', 'host:1'))
        self.assertLess(attempt.began_at, attempt.ended_at)
        self.assertEqual(details.log, 'said at last')
        self.assertEqual(self.registry.getStatus(run.id).waited, 0.0)

    def test_each_death_is_one_and_the_last_one_fails_the_run(self):
        run = self.start()
        for number in range(3):
            ticket = self.runtime.backlog.poll()
            if ticket is not None:
                # Others took it, as it seems.
                self.runtime.backlog.isAway(ticket)
            self.die(run, id='host:1:dead%d' % number, log='life %d' % number)
        self.assertEqual(run.state, 'failed')
        details = self.registry.getDetails(run.id)
        self.assertEqual([one.outcome for one in details.attempts],
                         ['gone'] * 3)
        for number in range(3):
            self.assertIn('life %d' % number, details.log)

    def test_end_of_a_log_that_was_told_in_part_says_so(self):
        run = self.start()
        self.die(run, log='x' * attempts.LOG_TAIL)
        self.assertTrue(
            self.registry.getDetails(run.id).log.startswith(CUT + '\n'))

    def test_interruption_for_good_has_its_reason(self):
        run = self.start('once', owner='host:1:dead')
        self.die()
        self.assertEqual(run.state, 'interrupted')
        attempt, = self.registry.getDetails(run.id).attempts
        self.assertEqual(
            (attempt.outcome, attempt.process, attempt.began_at),
            ('gone', 'host:1', run.started_at))

    def test_process_that_was_silent_is_not_said_to_be_gone(self):
        liveness = self.runtime._maintenance._liveness
        self.addCleanup(setattr, liveness, '_is_exclusive', True)
        run = self.start()
        liveness.findDead = lambda directory: [
            record for record in directory.processes.values()
            if record.id.startswith('host')]
        liveness._is_exclusive = False
        dead = ProcessRecord('host:1:x', 'host', 1, None, None, 1, 90.0, 0.0)
        dead.live.runs = {(self.registry._p_oid, run.id): (
            time.time(), None, '', None)}
        getDirectory(self.connection).processes[dead.id] = dead
        transaction.commit()
        for _ in range(3):
            self.runtime._maintenance.turn(True)
        self.begin()
        self.assertEqual(
            [one.outcome for one in
             self.registry.getDetails(run.id).attempts], ['silent'])
        ended, = self.registry.listEndedProcesses()
        self.assertEqual(ended.how, 'silent')

    def test_run_that_was_taken_and_not_begun_has_no_attempt(self):
        run = self.start()
        run.owner = 'host:1:dead'
        transaction.commit()
        self.die()
        self.assertEqual(self.registry.getDetails(run.id).attempts, [])
        self.assertEqual(
            [one.taken_over for one in self.registry.listEndedProcesses()],
            [0])

    def test_dead_process_is_kept_with_the_runs_that_others_took_over(self):
        told, claimed = self.start(), self.start(owner='host:1:dead')
        over = self.start()
        self.registry.requestStop(over.id)
        transaction.commit()
        self.die(told, over)
        ended, = self.registry.listEndedProcesses()
        self.assertEqual(
            (ended.id, ended.how, ended.asked_by, ended.taken_over),
            ('host:1:dead', 'gone', None, 2))
        self.assertEqual(sorted(ended.run_ids), sorted([told.id, claimed.id]))
        self.assertLessEqual(ended.beat_at, ended.ended_at)
        self.assertNotIn('host:1:dead', [
            one.id for one in self.registry.listProcesses()])

    def test_ended_processes_are_forgotten_after_a_day(self):
        clock = self.setClock()
        self.die()
        pruner = self.runtime._maintenance._pruner
        clock.advance(86000.0)
        pruner.prune(self.connection)
        self.begin()
        self.assertEqual(len(self.registry.listEndedProcesses()), 1)
        clock.advance(500.0)
        pruner.prune(self.connection)
        self.begin()
        self.assertEqual(self.registry.listEndedProcesses(), [])

    def test_only_so_many_ended_processes_are_kept_the_last_ones(self):
        directory = getDirectory(self.connection)
        clock = self.setClock()
        for number in range(203):
            clock.advance(1.0)
            record = ProcessRecord('host:%d:x' % number, 'host', number, None,
                                   None, 1, 90.0, clock.now)
            directory.processes[record.id] = record
            directory.end(record, 'gone')
        self.assertEqual(
            [one.pid for one in self.registry.listEndedProcesses()],
            list(range(202, 2, -1)))


class ShutdownTests(LiveTests):
    """What a process that ends in good order leaves."""

    settings = {'threads': 2, 'poll': 0.05, 'drain': 0.2}

    def work(self, worker):
        worker.log.info('at work')
        self.gate.stop()

    def begin_work(self, **values):
        declareWorker('work', self.work, **values)
        run_id = self.start('work')
        self.gate.waitReached()
        return run_id

    def log(self, run_id):
        self.begin()
        return self.registry.getDetails(run_id).log

    def attempts(self, run_id):
        self.begin()
        return self.registry.getDetails(run_id).attempts

    def test_interruption_by_a_shutdown_has_its_reason_and_log(self):
        for on_interrupt, state in ('rerun', 'pending'), (
                'fail', 'interrupted'):
            with self.subTest(on_interrupt):
                self.gate.__init__()
                name = self.runtime.name
                run_id = self.begin_work(on_interrupt=on_interrupt)
                self.runtime.shutdown()
                self.gate.open()
                self.assertEqual(self.status(run_id).state, state)
                attempt, = self.attempts(run_id)
                self.assertEqual((attempt.outcome, attempt.process),
                                 ('shut down', name))
                self.assertIn(
                    'at work', self.registry.getDetails(run_id).log)
                ended = self.registry.listEndedProcesses()[0]
                self.assertEqual(
                    (ended.how, ended.asked_by, ended.run_ids),
                    ('shut down', None,
                     [run_id] if state == 'pending' else []))
                self.registry.requestStop(run_id) if (
                    state == 'pending') else None
                transaction.commit()
                self.runtime = self.startRuntime()

    def test_drain_says_who_and_why(self):
        run_id = self.begin_work()
        login('admin')
        self.change(lambda: self.registry.drainProcess(
            self.runtime.id, 'an update'))
        waitUntil(lambda: self.attempts(run_id)[0].outcome)
        self.gate.open()
        self.runtime.shutdown()   # waits for the end
        attempt, = self.attempts(run_id)
        self.assertEqual(
            (attempt.outcome, attempt.principal, attempt.error_text),
            ('drained', 'admin', 'an update'))
        ended, = self.registry.listEndedProcesses()
        self.assertEqual((ended.how, ended.asked_by, ended.reason),
                         ('drained', 'admin', 'an update'))

    def test_loop_keeps_its_log_over_a_restart(self):
        declareWorker('loop', factory=Loop, is_loop=True)
        run_id = self.start('loop')
        self.waitState(run_id, 'running')
        waitUntil(lambda: self.log(run_id).count('looping') == 1)
        self.runtime.shutdown()
        self.runtime = self.startRuntime()
        self.waitState(run_id, 'running')
        waitUntil(lambda: self.log(run_id).count('looping') == 2)
        self.assertEqual([one.outcome for one in self.attempts(run_id)],
                         ['shut down', None])

    def test_who_made_it_quiet_did_not_drain_it(self):
        login('admin')
        self.change(lambda: self.registry.quietProcess(self.runtime.id))
        waitUntil(lambda: self.runtime.is_quiet)
        self.runtime.shutdown()
        self.begin()
        ended, = self.registry.listEndedProcesses()
        self.assertEqual((ended.how, ended.asked_by), ('shut down', None))


class ShortenTests(unittest.TestCase):

    # Its time and that of the machine are no matter.
    @settings(deadline=None, derandomize=True,
              suppress_health_check=list(HealthCheck))
    @given(st.lists(st.text('ab\n', max_size=80), max_size=5),
           st.integers(0, 400))
    def test_any_texts_fit_and_keep_whole_lines(self, texts, limit):
        shown = shorten(texts, limit)
        self.assertEqual(len(shown), len(texts))
        self.assertLessEqual(
            sum(map(len, shown)), limit + len(texts) * (len(CUT) + 2))
        for text, short in zip(texts, shown):
            if short != text:
                head, tail = [part.split('\n') if part else []
                              for part in short.split(CUT)]
                lines = text.split('\n')
                head, tail = head[:-1], tail[1:]
                self.assertEqual(head, lines[:len(head)])
                self.assertEqual(tail, lines[len(lines) - len(tail):])
                self.assertLess(len(head) + len(tail), len(lines))
        if sum(map(len, texts)) <= limit:
            self.assertEqual(shown, texts)
