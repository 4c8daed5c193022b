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
import time
from unittest import mock

import transaction
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite
from zope.security.checker import NamesChecker
from zope.security.checker import ProxyFactory

from cipher.background.interfaces import FAIL
from cipher.background.store.run import WorkerRun
from cipher.background.tests.support.live import FailingTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import Document
from cipher.background.thread import BackgroundJob
from cipher.background.thread import BackgroundWorkerThread


class FailureTests(FailingTests):

    def test_failing_work(self):
        def work(worker):
            getSite()['counter'].value = 5
            worker.log.info('so far so good')
            raise ValueError('broken')

        status, details = self.failIn(work, error_type='ValueError')
        self.assertEqual(status.error_text, 'broken')
        self.assertIn("raise ValueError('broken')", details.traceback)
        self.assertIn('so far so good', details.log)
        self.assertEqual(self.value(), 0)

    def test_exits(self):
        for exit in SystemExit, KeyboardInterrupt, GeneratorExit:
            with self.subTest(exit.__name__):
                def work(worker, exit=exit):
                    getSite()['counter'].value = 5
                    raise exit

                self.failIn(work, exit.__name__, exit.__name__)
                self.failIn(work, exit.__name__ + ' claimed', exit.__name__,
                            on_interrupt=FAIL)
        self.assertEqual(self.value(), 0)

    def test_exit_of_a_loop(self):
        class Loop(BackgroundWorkerThread):
            def scheduleNextWork(self):
                return True

            def doWork(self):
                raise SystemExit

        self.failIn(None, factory=Loop, is_loop=True, error_type='SystemExit')

    def test_no_memory_and_endless_recursion(self):
        def no_memory(worker):
            bytearray(2 ** 62)

        def recurse(worker):
            recurse(worker)

        self.failIn(no_memory, error_type='MemoryError')
        _, details = self.failIn(recurse, 'recurse', 'RecursionError')
        self.assertLess(len(details.traceback), 70000)

    def assertUnstorable(self, text, work, name, **values):
        """Assert that *work* fails with a message that begins with *text*."""
        status, _ = self.failIn(work, name, **values)
        self.assertEqual(status.error_text[:len(text)], text)
        self.assertEqual(self.value(), 0)
        return status

    def test_object_that_cannot_be_stored(self):
        def attribute(worker):
            counter = getSite()['counter']
            counter.value = 5
            counter.lock = threading.Lock()

        def deep(worker):
            getSite()['counter'].value = 5
            getSite()['holder'] = Holder([{'a': (1, lambda: None)}])

        def item(worker):
            getSite()['counter'].value = 5
            getSite()['counter'].tree = tree = OOBTree()
            tree.update({str(n): n for n in range(100)})
            tree['secret door'] = Plain()
            tree['secret door'].lock = threading.Lock()

        def checkpoint(worker):
            getSite()['counter'].lock = threading.Lock()
            worker.checkpoint()

        expected = ': expected what can be stored, got a '
        status = self.assertUnstorable(
            'Counter.lock%slock' % expected, attribute, 'attribute')
        self.assertIn('pickle', status.error_text)
        self.assertUnstorable(
            "Holder.held[0]['a'][1]%sfunction" % expected, deep, 'deep')
        self.assertUnstorable(
            "OOBucket['secret door'].lock%slock" % expected, item, 'item')
        self.assertUnstorable(
            'Counter.lock%slock' % expected, checkpoint, 'checkpoint')
        # At each attempt.
        status, details = self.failIn(attribute, 'again', max_attempts=2,
                                      retry_delay=0.0)
        self.assertEqual([attempt[3].partition(':')[0]
                          for attempt in details.history],
                         ['Counter.lock'] * 2)

    def test_object_of_another_connection(self):
        foreign = self.counter

        def held(worker):
            getSite()['other'] = Holder(foreign)

        def attribute(worker):
            getSite()['counter'].held = [foreign]

        for work, path in (held, 'Holder.held'), (
                attribute, 'Counter.held[0]'):
            status = self.assertUnstorable(
                path + ': expected what can be stored, got a Counter of '
                'another connection', work, work.__name__,
                error_type='InvalidObjectReference')
            self.assertLessEqual(len(status.error_text), 500)

    def test_object_in_a_security_proxy(self):
        for of in Document, Plain:
            def work(worker, of=of):
                getSite()['counter'].value = 5
                getSite()['counter'].held = ProxyFactory(
                    of(), NamesChecker(['title']))

            with self.subTest(of.__name__):
                self.assertUnstorable(
                    'Counter.held: expected what can be stored, got a %s in '
                    'a security proxy' % of.__name__, work, of.__name__)

    def test_doomed_transaction(self):
        def work(worker):
            getSite()['counter'].value = 5
            transaction.doom()

        status, _ = self.failIn(work, error_type='DoomedTransaction')
        self.assertIn('doomed', status.error_text)
        self.assertEqual(self.value(), 0)

    def test_work_that_commits_and_fails(self):
        def work(worker):
            getSite()['counter'].value += 1
            transaction.commit()
            getSite()['counter'].value += 10
            raise ValueError

        self.failIn(work)
        self.assertEqual(self.value(), 1)

    def test_work_that_commits(self):
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

    def test_work_that_aborts(self):
        def work(worker):
            getSite()['counter'].value += 1
            transaction.abort()
            getSite()['counter'].value += 10

        declareWorker('work', work)
        self.assertEqual(self.carryOut('work').state, 'succeeded')
        self.assertEqual(self.value(), 10)
        self.assertGoesOn()

    def test_conflict_that_the_work_swallows(self):
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

        self.failIn(work, error_type='TransactionFailedError')
        self.assertEqual(self.value(), 1)

    def test_exceptions_that_cannot_be_told(self):
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

        status, details = self.failIn(evil, error_type='Evil')
        self.assertIn('Evil', details.traceback)
        status, details = self.failIn(surrogate, 'surrogate', 'Surrogate')
        self.assertNotIn('\ud800', status.error_text)
        self.assertLess(len(status.error_text), 1000)

    def test_errors_of_work_and_cleanup_are_both_recorded(self):
        class Job(BackgroundJob):
            def doWork(self):
                raise ValueError('broken')

            def doCleanup(self):
                raise KeyError('dirty')

        status, details = self.failIn(None, factory=Job,
                                      error_type='ValueError')
        self.assertIn('ValueError: broken', details.traceback)
        self.assertIn("KeyError: 'dirty'", details.traceback)

    def test_error_of_the_cleanup_alone(self):
        class Job(BackgroundJob):
            def doWork(self):
                getSite()['counter'].value += 1

            def doCleanup(self):
                raise KeyError('dirty')

        declareWorker('work', factory=Job)
        status = self.carryOut('work')
        self.assertEqual(status.state, 'succeeded')
        self.begin()   # it is written behind the end of the work
        self.assertIn("KeyError: 'dirty'",
                      self.registry.getDetails(status.id).traceback)
        self.assertEqual(self.value(), 1)

    def test_cleanup_of_who_lost_its_run_is_not_committed(self):
        cleaned = []

        def do_work(worker):
            getSite()['counter'].value += 1
            self.gate.stop()
            if worker.run_id in fails:
                raise ValueError('broken')

        def clean_up(worker):
            getSite()['counter'].value += 10
            cleaned.append(worker.run_id)

        class Job(BackgroundJob):
            doWork, doCleanup = do_work, clean_up

        class Loop(BackgroundWorkerThread):
            doWork, doCleanup = do_work, clean_up

            def scheduleNextWork(self):
                return True

        declareWorker('job', factory=Job)
        declareWorker('loop', factory=Loop, is_loop=True)
        runs, fails = [], []
        for name in 'job', 'loop':
            for has_failed in False, True:
                self.gate.__init__()
                run_id = self.start(name)
                self.gate.waitReached()
                runs.append(run_id)
                fails.extend([run_id] * has_failed)
                self.begin()
                self.registry.get(run_id).putBack(
                    due_at=time.time() + 3600)
                transaction.commit()
                self.gate.open()
                waitUntil(lambda: not self.runtime.allLive())
                self.assertEqual(self.value(), 0)
        # It is called all the same, for what is outside of the database.
        self.assertEqual(cleaned, runs)

    def test_loop_tells_the_error_of_its_work(self):
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

        status, details = self.failIn(None, factory=Loop, is_loop=True,
                                      error_type='ValueError')
        self.assertIn("KeyError: 'dirty'", details.log)

    def test_constructor_that_raises(self):
        for base in BackgroundJob, BackgroundWorkerThread:
            for error in ValueError, SystemExit:
                with self.subTest('%s %s' % (base, error)):
                    class Worker(base):
                        def __init__(self, *args, error=error, **kwargs):
                            raise error('broken')

                    self.failIn(None, '%s %s' % (base, error), error.__name__,
                                factory=Worker, is_loop=not issubclass(
                                  base, BackgroundJob))

    def test_schedule_that_raises(self):
        for base in BackgroundJob, BackgroundWorkerThread:
            with self.subTest(base.__name__):
                class Worker(base):
                    def scheduleNextWork(self):
                        raise ValueError('broken')

                self.failIn(None, base.__name__, 'ValueError', factory=Worker,
                            is_loop=not issubclass(base, BackgroundJob))

    def test_job_that_schedules_nothing_is_done(self):
        class Job(BackgroundJob):
            def scheduleNextWork(self):
                return False

        declareWorker('work', factory=Job)
        self.assertEqual(self.carryOut('work').state, 'succeeded')

    def test_no_thread_to_be_had_for_a_loop(self):
        self.check_loop_without_thread()

    def test_and_what_puts_the_run_back_conflicts(self):
        conflicts = [ConflictError(), ConflictError()]

        def putBack(run, **values):
            if conflicts:
                raise conflicts.pop()
            put_back(run, **values)

        put_back = WorkerRun.putBack
        self._start(mock.patch.object(WorkerRun, 'putBack', putBack))
        self.check_loop_without_thread()
        self.assertEqual(conflicts, [])

    def check_loop_without_thread(self):
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


class Plain:
    """Not persistent."""


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
