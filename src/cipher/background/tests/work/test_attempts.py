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
"""What follows an attempt that failed: another, later, or none."""
import threading

import transaction
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite

from cipher.background.interfaces import FAIL
from cipher.background.interfaces import RERUN
from cipher.background.interfaces import Cancel
from cipher.background.interfaces import Snooze
from cipher.background.store.lifecycle import LONGEST_DELAY
from cipher.background.store.lifecycle import cleanDelay
from cipher.background.testing import SetClock
from cipher.background.testing import runPending
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.thread import BackgroundJob


class Failing:
    """A handler that raises these errors, one after the other."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, worker):
        self.calls += 1
        getSite()['counter'].value += 1
        if self.errors:
            raise self.errors.pop(0)
        return 'done'


class AttemptTests(FileSiteTests):
    """In this thread, by a clock of our own."""

    def setUp(self):
        super().setUp()
        self.clock = self.setClock(1000000.0)

    def start(self, work=None, **values):
        declareWorker('work', work, **values)
        run = self.registry.start('work')
        transaction.commit()
        return run

    def attempt(self, run):
        """Make one attempt; return the seconds to the next, or None."""
        calls = len(runPending(self.site))
        self.assertEqual(calls, 1)
        self.begin()
        if run.state != 'pending':
            return None
        delay = run.due_at - self.clock.now
        # Not before its time.
        self.clock.now = run.due_at - 0.001
        self.assertEqual(runPending(self.site), [])
        self.clock.now = run.due_at
        return delay

    def each(self):
        """Yield what ``on_interrupt`` may say: unclaimed and claimed."""
        for on_interrupt in RERUN, FAIL:
            self.begin()
            self.counter.value = 0
            transaction.commit()
            yield on_interrupt

    def test_without_max_attempts_the_first_error_fails_the_run(self):
        for on_interrupt in self.each():
            run = self.start(Failing(ValueError()), on_interrupt=on_interrupt)
            with self.assertRaises(ValueError):
                runPending(self.site)
            self.assertEqual((run.state, run.attempts), ('failed', 1))

    def test_attempts_go_on_until_one_succeeds_and_its_effect_is_once(self):
        for on_interrupt in self.each():
            run = self.start(Failing(ValueError(), KeyError()),
                             max_attempts=3, on_interrupt=on_interrupt)
            for number in 1, 2:
                self.assertIsNotNone(self.attempt(run))
                self.assertEqual(
                    (run.attempts, run.owner, run.started_at),
                    (number, None, None))
            self.assertIsNone(self.attempt(run))
            self.assertEqual((run.state, run.attempts, run.result),
                             ('succeeded', 3, 'done'))
            self.assertEqual(self.counter.value, 1)

    def test_the_last_attempt_fails_the_run(self):
        for on_interrupt in self.each():
            work = Failing(*[ValueError(n) for n in range(9)])
            run = self.start(work, max_attempts=3, on_interrupt=on_interrupt)
            self.attempt(run)
            self.attempt(run)
            with self.assertRaises(ValueError):
                runPending(self.site)
            self.assertEqual((run.state, run.attempts, work.calls),
                             ('failed', 3, 3))
            self.assertEqual(run.error, ('ValueError', '2'))
            self.assertEqual(self.counter.value, 0)

    def test_delay_doubles_up_to_an_hour_less_up_to_a_half_by_chance(self):
        seen = set()
        for _ in range(3):
            run = self.start(Failing(*[ValueError()] * 5), max_attempts=6,
                             retry_delay=1000.0)
            for longest in 1000, 2000, 3600, 3600, 3600:
                delay = self.attempt(run)
                self.assertLessEqual(delay, longest)
                self.assertGreaterEqual(delay, longest / 2 - 1e-6)
                seen.add(round(delay, 6))
            self.attempt(run)
        self.assertGreater(len(seen), 5)

    def test_history_tells_of_each_attempt_that_failed(self):
        for on_interrupt in self.each():
            clock = self.clock

            class Slow(Failing):
                def __call__(self, worker):
                    clock.advance(2.5)
                    super().__call__(worker)

            run = self.start(
                Slow(ValueError('one'), KeyError('two')), max_attempts=3,
                on_interrupt=on_interrupt)
            began = [clock.now]
            self.attempt(run)
            began.append(clock.now)
            self.attempt(run)
            self.attempt(run)
            self.assertEqual(run.state, 'succeeded')
            history = self.registry.getDetails(run.id).history
            self.assertEqual(
                [attempt[2:] for attempt in history],
                [('ValueError', 'one'), ('KeyError', "'two'")])
            for attempt, begin in zip(history, began):
                self.assertAlmostEqual(attempt[0], begin, 3)
                self.assertAlmostEqual(attempt[1], 2.5, 3)

    def test_history_keeps_the_first_attempt_and_the_last_ones(self):
        run = self.start(Failing(*[ValueError(n) for n in range(25)]),
                         max_attempts=30)
        for _ in range(25):
            self.attempt(run)
        details = self.registry.getDetails(run.id)
        self.assertEqual([attempt[3] for attempt in details.history],
                         ['0', *[str(n) for n in range(6, 25)]])
        self.assertEqual(details.left_out, 5)

    def test_conflicts_are_no_attempts(self):
        for on_interrupt in self.each():
            run = self.start(
                Failing(ConflictError(), ValueError(), ConflictError()),
                max_attempts=2, on_interrupt=on_interrupt)
            self.attempt(run)
            self.assertEqual(run.attempts, 1)
            self.attempt(run)
            self.assertEqual((run.state, run.attempts), ('succeeded', 2))
            self.assertEqual(self.counter.value, 1)
            self.assertEqual(
                len(self.registry.getDetails(run.id).history), 1)

    def test_cancel_fails_the_run_without_another_attempt(self):
        for on_interrupt in self.each():
            run = self.start(Failing(Cancel('no use')), max_attempts=5,
                             on_interrupt=on_interrupt)
            with self.assertRaises(Cancel):
                runPending(self.site)
            self.assertEqual((run.state, run.attempts, run.error),
                             ('failed', 1, ('Cancel', 'no use')))
            self.assertEqual(self.counter.value, 0)

    def test_snooze_puts_it_off_and_counts_no_attempt(self):
        for on_interrupt in self.each():
            run = self.start(Failing(Snooze(30), Snooze(7.5), ValueError()),
                             max_attempts=2, on_interrupt=on_interrupt)
            self.assertEqual(self.attempt(run), 30)
            self.assertEqual(self.attempt(run), 7.5)
            self.assertEqual((run.attempts, run.interruptions), (0, 0))
            self.assertEqual(self.registry.getDetails(run.id).history, [])
            self.attempt(run)
            self.attempt(run)
            self.assertEqual((run.state, run.attempts), ('succeeded', 2))
            self.assertEqual(self.counter.value, 1)

    def test_snooze_needs_a_number_and_none_is_too_big(self):
        with self.assertRaises(ValueError):
            Snooze('a while')
        for seconds, kept in (-1, 0), (1e300, LONGEST_DELAY):
            run = self.start(Failing(Snooze(seconds)))
            runPending(self.site, limit=1)
            self.begin()
            self.assertEqual(run.due_at - self.clock.now, kept)
            runPending(self.site)
        self.assertEqual(cleanDelay(float('nan')), 0.0)

    def startJob(self, delay):
        asked = []

        class Job(BackgroundJob):
            def doWork(self):
                raise ValueError('no')

            def retryDelay(self, attempt, error):
                asked.append((attempt, str(error)))
                return delay()

        run = self.start(factory=Job, max_attempts=3, retry_delay=100.0)
        return run, asked

    def test_hook_tells_the_delay(self):
        run, asked = self.startJob(lambda: 7.0)
        self.assertEqual(self.attempt(run), 7.0)
        self.assertEqual(self.attempt(run), 7.0)
        with self.assertRaises(ValueError):
            runPending(self.site)
        # Not where there is no next attempt.
        self.assertEqual(asked, [(1, 'no'), (2, 'no')])

    def test_hook_may_leave_it_to_the_type(self):
        run, asked = self.startJob(lambda: None)
        self.assertGreaterEqual(self.attempt(run), 50.0)
        self.assertEqual(len(asked), 1)

    def test_hook_that_fails_leaves_it_to_the_type(self):
        for delay in (lambda: 1 / 0), (lambda: 'soon'):
            with self.subTest(delay):
                run, asked = self.startJob(delay)
                self.assertGreaterEqual(self.attempt(run), 50.0)
                self.assertEqual(len(asked), 1)
                self.assertIn('retryDelay failed', self.logged.getvalue())
                self.registry.requestStop(run.id)
                transaction.commit()

    def test_hook_gives_no_delay_that_cannot_be_kept(self):
        run, _ = self.startJob(lambda: 1e300)
        runPending(self.site, limit=1)
        self.begin()
        self.assertEqual(run.due_at, self.clock.now + LONGEST_DELAY)


class LiveRetryTests(LiveTests):
    """With real threads, stops and restarts."""

    def test_retry_in_a_thread(self):
        for on_interrupt in RERUN, FAIL:
            with self.subTest(on_interrupt):
                work = Failing(ValueError(), ValueError())
                declareWorker('work', work, max_attempts=3,
                              retry_delay=0.02, on_interrupt=on_interrupt)
                status = self.carryOut('work')
                self.assertEqual((status.state, status.attempts),
                                 ('succeeded', 3))
                self.assertEqual(work.calls, 3)
        self.assertEqual(self.value(), 2)

    def assertStopIsLast(self, error, state, is_told):
        calls = []

        def work(worker):
            calls.append(worker.stop_requested)
            self.gate.stop()
            raise error

        for on_interrupt in RERUN, FAIL:
            with self.subTest(on_interrupt):
                del calls[:]
                self.gate.__init__()
                declareWorker('work', work, max_attempts=9, retry_delay=0.0,
                              on_interrupt=on_interrupt)
                run_id = self.start('work')
                self.gate.waitReached()
                read = self.runtime._maintenance._stops.read
                if not is_told:
                    self.runtime._maintenance._stops.read = (
                        lambda connection: None)
                self.requestStop(run_id, 'enough')
                live, = self.runtime.allLive()
                if is_told:
                    waitUntil(lambda: live.stop is not None)
                self.gate.open()
                status = self.waitFinished(run_id)
                self.runtime._maintenance._stops.read = read
                self.assertEqual(status.state, state)
                self.assertEqual(status.stop.reason, 'enough')
                self.assertEqual(calls, [False])
                self.runtime.wake()

    def test_stop_that_was_asked_for_is_not_followed_by_a_retry(self):
        self.assertStopIsLast(ValueError(), 'failed', is_told=True)

    def test_nor_is_one_that_nobody_told_the_worker_of_yet(self):
        self.assertStopIsLast(ValueError(), 'failed', is_told=False)

    def test_nor_by_what_was_put_off(self):
        self.assertStopIsLast(Snooze(0), 'stopped', is_told=True)
        self.assertStopIsLast(Snooze(0), 'stopped', is_told=False)

    def test_stop_of_a_run_that_waits_for_its_next_attempt(self):
        work = Failing(ValueError(), ValueError())
        declareWorker('work', work, max_attempts=2, retry_delay=20.0)
        run_id = self.start('work')
        waitUntil(lambda: self.status(run_id).attempts == 1)
        waitUntil(lambda: not self.runtime.allLive())
        self.assertEqual(self.requestStop(run_id), 'stopped')
        self.assertEqual(work.calls, 1)

    def test_person_who_asks_during_a_shutdown_is_heard(self):
        # Else the next runtime would begin it again.
        def work(worker):
            worker.wait(LIMIT)
            self.gate.stop()
            worker.checkStop()

        declareWorker('work', work)
        run_id = self.start('work')
        live, = waitUntil(self.runtime.allLive)
        ending = threading.Thread(target=self.runtime.shutdown)
        ending.start()
        self.gate.waitReached()
        self.requestStop(run_id, 'me too')
        self.gate.open()
        ending.join(LIMIT)
        status = self.status(run_id)
        self.assertEqual((status.state, status.stop.reason),
                         ('stopped', 'me too'))

    def test_run_that_waits_for_its_next_attempt_survives_a_restart(self):
        for on_interrupt in RERUN, FAIL:
            for delay in 20.0, 300.0:   # in memory, in the database
                with self.subTest(on_interrupt=on_interrupt, delay=delay):
                    self._restart(on_interrupt, delay)

    def _restart(self, on_interrupt, delay):
        work = Failing(ValueError('first'))
        declareWorker('work', work, max_attempts=2, retry_delay=delay,
                      on_interrupt=on_interrupt)
        run_id = self.start('work')
        waitUntil(lambda: self.status(run_id).attempts == 1)
        waitUntil(lambda: not self.runtime.allLive())
        due_at = self.status(run_id).due_at
        self.runtime.shutdown()
        status = self.status(run_id)
        self.assertEqual((status.state, status.due_at), ('pending', due_at))
        with SetClock() as clock:
            self.runtime = self.startRuntime()
            self.waitTurn()
            self.assertEqual(self.status(run_id).state, 'pending')
            self.assertEqual(work.calls, 1)
            self.runtime.shutdown()
            clock.advance(delay)
            self.runtime = self.startRuntime()
            status = self.waitFinished(run_id)
        self.assertEqual((status.state, status.attempts), ('succeeded', 2))
        self.assertEqual(work.calls, 2)
        self.assertEqual(status.interruptions, 0)
