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
"""The storage says no: conflicts, a full disk, no write at all."""
import threading

import transaction
from persistent import Persistent
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ReadConflictError
from zope.component.hooks import getSite

from cipher.background.interfaces import FAIL
from cipher.background.tests.support.live import FailingTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.thread import BackgroundJob


class Heap(Persistent):
    """Something big."""

    def __init__(self, size):
        self.data = b'x' * size


class ConflictTests(LiveTests):

    def test_storm_of_twenty_workers(self):
        self.runtime.shutdown()
        self.runtime = self.startRuntime(threads=20)
        barrier = threading.Barrier(20)
        first = threading.local()

        def work(worker):
            value = getSite()['counter'].value
            if not hasattr(first, 'is_over'):
                # All have read the same value: nineteen have to conflict.
                first.is_over = True
                barrier.wait(LIMIT)
            getSite()['counter'].value = value + 1

        declareWorker('work', work)
        self.begin()
        runs = [self.registry.start('work').id for _ in range(20)]
        transaction.commit()
        for run_id in runs:
            status = self.waitFinished(run_id)
            self.assertEqual((status.state, status.attempts),
                             ('succeeded', 1))
        self.assertEqual(self.value(), 20)
        self.assertGreaterEqual(self.runtime.conflicts, 19)
        self.assertLess(self.runtime.conflicts, 20 * 20)
        self.assertEqual(self.registry.getCounts(),
                         {'work': {'succeeded': 20}})

    def test_read_conflict(self):
        self.site['copy'] = Heap(1)
        transaction.commit()
        errors = []

        def work(worker):
            site = getSite()
            site['copy'].data = worker.context.value * 10
            worker.context._p_jar.readCurrent(worker.context)
            if not errors:
                other = threading.Thread(target=self.increment_apart)
                other.start()
                other.join(LIMIT)
                errors.append(None)

        declareWorker('work', work)
        conflicted = []
        self.patch('cipher.background.work.recorder.RunRecorder.conflicted',
                   lambda recorder, worker, error: conflicted.append(error))
        status = self.carryOut('work', self.counter)
        self.assertEqual((status.state, status.attempts), ('succeeded', 1))
        self.assertEqual([type(error) for error in conflicted],
                         [ReadConflictError])
        self.begin()
        self.assertEqual((self.counter.value, self.site['copy'].data),
                         (1, 10))

    def increment_apart(self):
        connection = self.db.open()
        connection.root()['Application']['counter'].value += 1
        transaction.commit()
        connection.close()


class FullDiskTests(FailingTests):

    def work(self, worker):
        self.calls.append(worker.run_id)
        getSite()['counter'].value += 1

    def setUp(self):
        self.calls = []
        self.before = self.after = None   # (step of a commit, error)
        # Now, since a connection keeps the methods of its storage.
        for step in 'tpc_vote', 'tpc_finish':
            original = getattr(FileStorage, step)
            self.addCleanup(setattr, FileStorage, step, original)
            setattr(FileStorage, step, self.stepped(step, original))
        super().setUp()

    def stepped(self, step, original):
        """Return a step of a commit that fails at the work's as told."""
        def take(storage, txn, *args):
            # Of the work, not of its cleanup.
            is_work = self.isWork(txn.description.decode())
            for when in self.before, self.after:
                if is_work and when is not None and when[0] == step:
                    if when is self.after:
                        original(storage, txn, *args)
                    raise when[1]
            return original(storage, txn, *args)

        return take

    def isWork(self, note):
        return (note.startswith(('work', 'background worker thread'))
                and not note.endswith('cleanup'))

    def test_no_space_for_the_work(self):
        def work(worker):
            getSite()['heap'] = Heap(2000000)
            getSite()['counter'].value = 5

        self.db.storage._quota = self.db.storage.getSize() + 1000000
        self.failIn(work, error_type='FileStorageQuotaError')
        self.assertEqual(self.value(), 0)

    def test_error_at_the_vote(self):
        self.before = 'tpc_vote', OSError(28, 'disk full')
        status, _ = self.failIn(self.work, error_type='OSError')
        self.assertIn('disk full', status.error_text)
        self.assertEqual((self.value(), len(self.calls)), (0, 1))

    def test_error_before_the_finish(self):
        self.before = 'tpc_finish', OSError(5, 'no more')
        self.failIn(self.work, error_type='OSError')
        self.assertEqual((self.value(), len(self.calls)), (0, 1))

    def test_error_behind_the_finish(self):
        # The work is committed, whatever the storage tells of it.
        self.after = 'tpc_finish', OSError(5, 'no more')
        test = self

        class Job(BackgroundJob):
            def doWork(self):
                test.work(self)

            def doCleanup(self):
                getSite()['counter'].value += 10

        for on_interrupt in 'rerun', 'fail':
            with self.subTest(on_interrupt):
                self.calls.clear()
                name = 'work that may ' + on_interrupt
                declareWorker(name, factory=Job, on_interrupt=on_interrupt)
                before = self.value()
                status = self.carryOut(name)
                self.assertEqual((status.state, status.error_type),
                                 ('succeeded', None))
                # And cleaned up as after any work.
                self.assertEqual((self.value(), len(self.calls)),
                                 (before + 11, 1))
        self.assertGoesOn()


class UnrecordedTests(FailingTests):
    """The end of a run cannot be written."""

    settings = dict(LiveTests.settings, lease=3.0)

    def setUp(self):
        super().setUp()
        self.patch('cipher.background.work.recorder.RECORDING_TRIES', 3)

    def work(self, worker):
        self.gate.stop()
        if self.db.storage._quota:
            raise ValueError('broken')
        getSite()['counter'].value += 1

    def carry_out_on_full_disk(self, **values):
        declareWorker('work', self.work, **values)
        run_id = self.start('work')
        self.gate.waitReached()
        self.db.storage._quota = 1   # nothing fits any more
        self.gate.open()
        waitUntil(lambda: 'it will become interrupted'
                  in self.logged.getvalue())
        self.assertIn('after 3 tries', self.logged.getvalue())
        waitUntil(lambda: not self.runtime.allLive())
        self.assertNotIn(self.status(run_id).state, ('succeeded', 'failed'))
        self.db.storage._quota = None
        status = self.waitFinished(run_id)
        self.assertGoesOn()
        return status

    def test_run_that_must_not_be_rerun(self):
        status = self.carry_out_on_full_disk(on_interrupt=FAIL)
        self.assertEqual((status.state, status.interruptions),
                         ('interrupted', 1))
        self.assertEqual(self.value(), 0)

    def test_run_that_may_be_rerun(self):
        status = self.carry_out_on_full_disk()
        self.assertEqual((status.state, status.interruptions),
                         ('succeeded', 1))
        self.assertEqual(self.value(), 1)

    def test_bookmark_stays_before_it(self):
        # So that the next process finds the run if this one cannot help it.
        self.runtime.shutdown()
        self.runtime = self.startRuntime(lease=90.0)
        declareWorker('work', self.work)
        run_id = self.start('work')
        self.gate.waitReached()
        self.db.storage._quota = 1
        self.gate.open()
        waitUntil(lambda: 'it will become interrupted'
                  in self.logged.getvalue())
        waitUntil(lambda: not self.runtime.allLive())
        # Or this one might help it before its end.
        self.runtime.executor.stop()
        self.db.storage._quota = None
        self.runtime.shutdown()
        self.assertEqual(self.status(run_id).state, 'pending')
        self.runtime = self.startRuntime()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
