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
"""What becomes of a run when its work, or the world around it, fails."""
import threading

import transaction
from persistent import Persistent
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite

from cipher.background.interfaces import FAIL
from cipher.background.tests.live_support import FailingTests
from cipher.background.tests.live_support import declareWorker
from cipher.background.tests.support import LIMIT
from cipher.background.thread import BackgroundJob
from cipher.background.thread import BackgroundWorkerThread


class FailureTests(FailingTests):

    def test_fault_21_failing_work(self):
        def work(worker):
            getSite()['counter'].value = 5
            worker.log.info('so far so good')
            raise ValueError('broken')

        status, details = self.fail(work, error_type='ValueError')
        self.assertEqual(status.error_text, 'broken')
        self.assertIn("raise ValueError('broken')", details.traceback)
        self.assertIn('so far so good', details.log)
        self.assertEqual(self.value(), 0)

    def test_fault_23_exits(self):
        for exit in SystemExit, KeyboardInterrupt, GeneratorExit:
            with self.subTest(exit.__name__):
                def work(worker, exit=exit):
                    getSite()['counter'].value = 5
                    raise exit

                self.fail(work, exit.__name__, exit.__name__)
                self.fail(work, exit.__name__ + ' claimed', exit.__name__,
                          on_interrupt=FAIL)
        self.assertEqual(self.value(), 0)

    def test_fault_23_exit_of_a_loop(self):
        class Loop(BackgroundWorkerThread):
            def scheduleNextWork(self):
                return True

            def doWork(self):
                raise SystemExit

        self.fail(None, factory=Loop, is_loop=True, error_type='SystemExit')

    def test_fault_24_no_memory_and_endless_recursion(self):
        def no_memory(worker):
            raise MemoryError

        def recurse(worker):
            recurse(worker)

        self.fail(no_memory, error_type='MemoryError')
        _, details = self.fail(recurse, 'recurse', 'RecursionError')
        self.assertLess(len(details.traceback), 70000)

    def test_fault_25_object_that_cannot_be_stored(self):
        def work(worker):
            getSite()['counter'].lock = threading.Lock()
            getSite()['counter'].value = 5

        status, details = self.fail(work)
        self.assertIn('lock', status.error_text)
        self.assertEqual(self.value(), 0)

    def test_fault_25_object_of_another_connection(self):
        foreign = self.counter

        def work(worker):
            getSite()['other'] = Holder(foreign)

        self.fail(work, error_type='InvalidObjectReference')

    def test_fault_29_doomed_transaction(self):
        def work(worker):
            getSite()['counter'].value = 5
            transaction.doom()

        self.fail(work, error_type='DoomedTransaction')
        self.assertEqual(self.value(), 0)

    def test_fault_28_work_that_commits_and_fails(self):
        def work(worker):
            getSite()['counter'].value += 1
            transaction.commit()
            getSite()['counter'].value += 10
            raise ValueError

        self.fail(work)
        self.assertEqual(self.value(), 1)

    def test_fault_28_work_that_commits(self):
        def work(worker):
            getSite()['counter'].value += 1
            transaction.commit()
            self.gate.stop()
            getSite()['counter'].value += 1
            transaction.commit()

        declareWorker('work', work)
        run_id = self.start('work')
        self.gate.waitReached()
        # Half of the work is there, the run is not half-marked.
        self.assertEqual(self.value(), 1)
        self.assertEqual(self.registry.get(run_id).state, 'pending')
        self.assertEqual(self.registry.getCounts(), {'work': {'running': 1}})
        self.gate.open()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertEqual(self.value(), 2)

    def test_fault_28_work_that_aborts(self):
        def work(worker):
            getSite()['counter'].value += 1
            transaction.abort()
            getSite()['counter'].value += 10

        declareWorker('work', work)
        self.assertEqual(self.carryOut('work').state, 'succeeded')
        self.assertEqual(self.value(), 10)
        self.assertGoesOn()

    def test_fault_19_conflict_that_the_work_swallows(self):
        def work(worker):
            counter = getSite()['counter']
            counter.value += 10
            other = threading.Thread(target=increment_apart, args=(self.db,))
            other.start()
            other.join(LIMIT)
            try:
                transaction.commit()
            except ConflictError:
                pass

        self.fail(work, error_type='TransactionFailedError')
        self.assertEqual(self.value(), 1)

    def test_fault_49_exceptions_that_cannot_be_told(self):
        class Evil(Exception):
            def __str__(self):
                raise ValueError('no')

            __repr__ = __str__

        class Surrogate(Exception):
            pass

        def evil(worker):
            raise Evil

        def surrogate(worker):
            raise Surrogate('\ud800\0\r\n' + 'x' * 100000)

        status, details = self.fail(evil, error_type='Evil')
        self.assertIn('Evil', details.traceback)
        status, details = self.fail(surrogate, 'surrogate', 'Surrogate')
        self.assertNotIn('\ud800', status.error_text)
        self.assertLess(len(status.error_text), 1000)

    def test_fault_22_errors_of_work_and_cleanup_are_both_recorded(self):
        class Job(BackgroundJob):
            def doWork(self):
                raise ValueError('broken')

            def doCleanup(self):
                raise KeyError('dirty')

        status, details = self.fail(None, factory=Job,
                                    error_type='ValueError')
        self.assertIn('ValueError: broken', details.traceback)
        self.assertIn("KeyError: 'dirty'", details.traceback)

    def test_fault_22_error_of_the_cleanup_alone(self):
        class Job(BackgroundJob):
            def doWork(self):
                getSite()['counter'].value += 1

            def doCleanup(self):
                raise KeyError('dirty')

        declareWorker('work', factory=Job)
        status = self.carryOut('work')
        self.assertEqual(status.state, 'succeeded')
        self.assertIn("KeyError: 'dirty'",
                      self.registry.getDetails(status.id).traceback)
        self.assertEqual(self.value(), 1)

    def test_fault_22_loop_tells_the_error_of_its_work(self):
        class Loop(BackgroundWorkerThread):
            rounds = 1

            def scheduleNextWork(self):
                self.rounds -= 1
                return self.rounds >= 0

            def wait(self, seconds):
                return self.stop_requested

            def doWork(self):
                raise ValueError('broken')

            def doCleanup(self):
                raise KeyError('dirty')

        status, details = self.fail(None, factory=Loop, is_loop=True,
                                    error_type='ValueError')
        self.assertIn("KeyError: 'dirty'", details.log)

    def test_constructor_that_raises(self):
        for base in BackgroundJob, BackgroundWorkerThread:
            for error in ValueError, SystemExit:
                with self.subTest('%s %s' % (base, error)):
                    class Worker(base):
                        def __init__(self, *args, error=error, **kwargs):
                            raise error('broken')

                    self.fail(None, '%s %s' % (base, error), error.__name__,
                              factory=Worker, is_loop=not issubclass(
                                  base, BackgroundJob))

    def test_schedule_that_raises(self):
        for base in BackgroundJob, BackgroundWorkerThread:
            with self.subTest(base.__name__):
                class Worker(base):
                    def scheduleNextWork(self):
                        raise ValueError('broken')

                self.fail(None, base.__name__, 'ValueError', factory=Worker,
                          is_loop=not issubclass(base, BackgroundJob))

    def test_job_that_schedules_nothing_is_done(self):
        class Job(BackgroundJob):
            def scheduleNextWork(self):
                return False

        declareWorker('work', factory=Job)
        self.assertEqual(self.carryOut('work').state, 'succeeded')

    def test_fault_42_no_thread_to_be_had_for_a_loop(self):
        called = threading.Event()

        class Loop(BackgroundWorkerThread):
            refusals = 2

            def scheduleNextWork(self):
                called.set()
                return False

            def start(self):
                if Loop.refusals:
                    Loop.refusals -= 1
                    raise RuntimeError("can't start new thread")
                super().start()

        declareWorker('loop', factory=Loop, is_loop=True)
        status = self.carryOut('loop')
        self.assertTrue(called.is_set())
        self.assertEqual(
            (status.state, status.attempts, status.interruptions),
            ('succeeded', 1, 0))


class Holder(Persistent):
    """Refers to something."""

    def __init__(self, held):
        self.held = held


def increment_apart(db):
    """Add to the counter, in the calling thread's own connection."""
    connection = db.open()
    connection.root()['Application']['counter'].value += 1
    transaction.commit()
    connection.close()
