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
"""Workers where upstream's lose work, loop tightly or cannot be stopped."""
import threading

import transaction
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite

from cipher.background.interfaces import StopRequested
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.test_thread import Worker
from cipher.background.tests.test_thread import WorkerTests
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util.text import MESSAGE_LIMIT
from cipher.background.work import loop
from cipher.background.work.loop import FAILURE_DELAY
from cipher.background.work.loop import FAILURE_DELAY_CAP
from cipher.background.work.worker import WorkState


# As it is, before a test replaces it.
wait = WorkState.wait


class Patient(Worker):
    """Tries four times."""

    max_tries = 4


class Incrementer(Worker):
    """Adds to the counter, with time for others in between."""

    rounds = 20

    def work(self):
        counter = getSite()['counter']
        value = counter.value
        self.wait(0.001)
        counter.value = value + 1


class TransientTests(WorkerTests):

    def test_no_increment_is_lost(self):
        self.patch_wait(
            lambda worker, seconds: wait(worker, seconds))
        workers = [self.make(Incrementer) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(LIMIT * 3)
            self.assertFalse(worker.is_alive())
        transaction.begin()
        self.assertEqual(self.site['counter'].value, 60)
        self.assertEqual(self.logged.getvalue(), '')

    def test_work_is_run_again_from_the_start(self):
        errors = [ConflictError(), TransientError()]

        def work():
            getSite()['counter'].value += 1
            if errors:
                raise errors.pop()

        worker = self.make(work=work)
        self.carry_out(worker)
        self.assertEqual(self.site['counter'].value, 1)
        self.assertEqual(worker.calls, ['schedule', 'work', 'work', 'work',
                                        'cleanup', 'schedule'])
        self.assertEqual(self.logged.getvalue(), '')
        self.assertNothingLeft()

    def test_tries_are_bounded_and_the_last_error_is_raised(self):
        def work():
            raise ConflictError('again')

        worker = self.make(Patient, work=work, _name='Tom')
        self.carry_out(worker)
        self.assertEqual(worker.calls, ['schedule'] + ['work'] * 4
                         + ['cleanup', 'schedule'])
        self.assertEqual(self.logged.getvalue().count('Exception in Tom\n'),
                         1)
        self.assertNothingLeft()

    def test_tries_are_apart_by_the_back_off(self):
        counts = []
        self.addCleanup(setattr, loop, 'backOff', loop.backOff)
        loop.backOff = lambda count: counts.append(count) or 0

        def work():
            raise ConflictError

        self.carry_out(self.make(Patient, work=work))
        self.assertEqual(counts, [1, 2, 3])

    def test_cleanup_is_run_again_as_well(self):
        errors = [ConflictError()]

        def cleanup():
            getSite()['counter'].value += 1
            if errors:
                raise errors.pop()

        worker = self.make(cleanup=cleanup)
        self.carry_out(worker)
        self.assertEqual(self.site['counter'].value, 1)
        self.assertEqual(worker.calls.count('work'), 1)
        self.assertEqual(self.logged.getvalue(), '')

    def test_conflict_at_the_commit_of_the_work(self):
        # Another one commits between the read and the commit, once.
        others = [1]

        def work():
            counter = getSite()['counter']
            value = counter.value
            if others:
                others.pop()
                other = threading.Thread(target=self.increment)
                other.start()
                other.join(LIMIT)
            counter.value = value + 10

        self.carry_out(self.make(work=work))
        self.assertEqual(self.site['counter'].value, 11)

    def increment(self):
        connection = self._open()
        connection.root()['Application']['counter'].value += 1
        transaction.commit()
        connection.close()


class FailureTests(WorkerTests):

    def test_failing_iterations_are_ever_further_apart(self):
        waits = []
        self.patch_wait(lambda worker, seconds: waits.append(seconds))

        def work():
            raise ValueError

        self.carry_out(self.make(work=work, rounds=15))
        self.assertEqual(len(waits), 15)
        for n, seconds in enumerate(waits):
            longest = min(FAILURE_DELAY_CAP, FAILURE_DELAY * 2 ** n)
            self.assertLessEqual(seconds, longest)
            self.assertGreaterEqual(seconds, longest / 2)

    def test_success_ends_the_wait(self):
        waits = []
        self.patch_wait(lambda worker, seconds: waits.append(seconds))
        fates = [ValueError, None, ValueError]

        def work():
            fate = fates.pop()
            if fate:
                raise fate

        self.carry_out(self.make(work=work, rounds=3))
        self.assertEqual(len(waits), 2)
        self.assertLessEqual(max(waits), FAILURE_DELAY)

    def test_failing_cleanup_counts_as_failure(self):
        waits = []
        self.patch_wait(lambda worker, seconds: waits.append(seconds))

        def cleanup():
            raise ValueError

        self.carry_out(self.make(cleanup=cleanup, rounds=2))
        self.assertEqual(len(waits), 2)

    def test_exits_end_the_thread_after_the_cleanup(self):
        for exit in SystemExit, KeyboardInterrupt, GeneratorExit:
            with self.subTest(exit.__name__):
                self.logged.seek(0)
                self.logged.truncate()

                def work(exit=exit):
                    getSite()['counter'].value = 100
                    raise exit

                worker = self.make(work=work, rounds=5, _name='Tom')
                self.carry_out(worker)
                self.assertEqual(worker.calls,
                                 ['schedule', 'work', 'cleanup'])
                self.assertIn('Exception in Tom, thread terminated',
                              self.logged.getvalue())
                self.assertIn(exit.__name__, self.logged.getvalue())
                self.assertEqual(self.site['counter'].value, 0)
                self.assertNothingLeft()

    def test_exit_in_the_cleanup_ends_the_thread(self):
        def cleanup():
            raise SystemExit

        worker = self.make(cleanup=cleanup, rounds=5)
        self.carry_out(worker)
        self.assertEqual(worker.calls, ['schedule', 'work', 'cleanup'])
        self.assertIn('thread terminated', self.logged.getvalue())
        self.assertNothingLeft()

    def test_StopIteration_of_work_is_an_error_like_others(self):
        def work():
            next(iter(()))

        worker = self.make(work=work, rounds=2)
        self.carry_out(worker)
        self.assertEqual(worker.calls.count('cleanup'), 2)
        self.assertIn('StopIteration', self.logged.getvalue())
        self.assertNothingLeft()

    def test_notes_and_names_that_no_commit_would_take(self):
        def work():
            getSite()['counter'].value += 1

        for unfit in 'x' * 70000, 'lone \ud800 surrogate', 'NUL \0 here':
            with self.subTest(unfit[:10]):
                worker = self.make(work=work, cleanup=work, user_name=unfit,
                                   _name=unfit, rounds=1)
                self.carry_out(worker)
                self.assertEqual(self.logged.getvalue(), '')
        self.assertEqual(self.site['counter'].value, 6)


class StopTests(WorkerTests):

    def setUp(self):
        super().setUp()
        self.patch_wait(
            lambda worker, seconds: wait(worker, seconds))

    def test_stop_is_asked_for_once_and_for_all(self):
        worker = self.make()
        self.assertFalse(worker.stop_requested)
        worker.checkStop()
        worker.requestStop()
        worker.requestStop()
        self.assertTrue(worker.stop_requested)
        with self.assertRaises(StopRequested):
            worker.checkStop()

    def test_StopRequested_is_not_caught_by_mistake(self):
        self.assertFalse(issubclass(StopRequested, Exception))

    def test_stop_ends_a_wait_at_once(self):
        waited = []
        is_waiting = threading.Event()

        def work():
            is_waiting.set()
            waited.append(worker.wait(LIMIT * 100))

        worker = self.make(work=work, rounds=1000)
        worker.start()
        self.assertTrue(is_waiting.wait(LIMIT))
        worker.requestStop()
        worker.join(LIMIT)
        self.assertFalse(worker.is_alive())
        self.assertEqual(waited, [True])

    def test_wait_without_stop_returns_False(self):
        self.assertIs(self.make().wait(0), False)

    def test_stop_ends_the_wait_after_a_failure(self):
        has_failed = threading.Event()

        def work():
            has_failed.set()
            raise ValueError

        worker = self.make(work=work, rounds=1000)
        self.addCleanup(setattr, loop, 'FAILURE_DELAY',
                        loop.FAILURE_DELAY)
        loop.FAILURE_DELAY = FAILURE_DELAY_CAP
        worker.start()
        self.assertTrue(has_failed.wait(LIMIT))
        worker.requestStop()
        worker.join(LIMIT)
        self.assertFalse(worker.is_alive())

    def test_checkStop_aborts_the_work_and_is_no_error(self):
        def work():
            getSite()['counter'].value = 100
            worker.requestStop()
            worker.checkStop()

        worker = self.make(work=work, rounds=5)
        self.carry_out(worker)
        self.assertEqual(worker.calls, ['schedule', 'work', 'cleanup'])
        self.assertEqual(self.site['counter'].value, 0)
        self.assertEqual(self.logged.getvalue(), '')
        self.assertNothingLeft()

    def test_work_that_ignores_the_stop_is_committed(self):
        def work():
            getSite()['counter'].value += 1
            worker.requestStop()

        worker = self.make(work=work, rounds=5)
        self.carry_out(worker)
        self.assertEqual(self.site['counter'].value, 1)
        self.assertEqual(worker.calls, ['schedule', 'work', 'cleanup'])

    def test_stopped_before_the_loop_starts(self):
        worker = self.make(rounds=5)
        worker.requestStop()
        self.carry_out(worker)
        self.assertEqual(worker.calls, [])

    def test_stop_while_it_schedules(self):
        worker = self.make()
        worker.scheduleNextWork = lambda: worker.requestStop() or True
        self.carry_out(worker)
        self.assertEqual(worker.calls, [])


class ProgressTests(WorkerTests):

    def test_parts_not_given_stay(self):
        worker = BackgroundWorkerThread(None, b'', 'site', 'user')
        self.assertIsNone(worker.progress)
        worker.setProgress(1)
        self.assertEqual(worker.progress, (1, None, None))
        worker.setProgress(2, 10, 'working')
        worker.setProgress(3)
        self.assertEqual(worker.progress, (3, 10, 'working'))
        worker.setProgress(4, message='nearly')
        self.assertEqual(worker.progress, (4, 10, 'nearly'))

    def test_message_is_cut_and_cleaned(self):
        worker = BackgroundWorkerThread(None, b'', 'site', 'user')
        worker.setProgress(1, message='a\nb\0' + 'x' * 100000)
        message = worker.progress[2]
        self.assertLessEqual(len(message), MESSAGE_LIMIT)
        self.assertTrue(message.startswith('a b'))
        self.assertNotIn('\0', message)

    def test_progress_touches_no_transaction(self):
        def work():
            worker.setProgress(1, 2, 'half')
            self.assertEqual(transaction.get()._resources, [])

        worker = self.make(work=work)
        tid = self.db.lastTransaction()
        self.carry_out(worker)
        self.assertEqual(self.logged.getvalue(), '')
        self.assertEqual(self.db.lastTransaction(), tid)
