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
"""The idempotency key that outlives retries: `worker.origin_id`."""
import transaction

from cipher.background.events import RunFailedEvent
from cipher.background.testing import runPending
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import SiteTests
from cipher.background.thread import BackgroundJob
from cipher.background.thread import BackgroundWorkerThread


class OriginTests(SiteTests):

    def setUp(self):
        super().setUp()
        self.keys = []
        declareWorker('work', self.work, max_attempts=2, retry_delay=0.0)

    def work(self, worker):
        self.keys.append((worker.run_id, worker.origin_id))
        raise ValueError('wrong')

    def carryOut(self):
        transaction.commit()
        try:
            runPending(self.site)
        except ValueError:
            pass   # that of the work

    def test_it_is_the_first_of_the_chain_at_each_attempt(self):
        first = run = self.registry.start('work')
        self.carryOut()
        chain = [first.id]
        for _ in range(3):
            if not run.isFinished():
                self.registry.finish(run, 'failed', RunFailedEvent)
            run = self.registry.retry(run.id)
            chain.append(run.id)
            self.carryOut()
        self.assertEqual(len(set(chain)), 4)
        self.assertEqual({key for key, _ in self.keys}, set(chain))
        self.assertEqual({origin for _, origin in self.keys}, {first.id})

    def test_it_stays_where_the_first_was_removed(self):
        first = self.registry.start('work')
        self.registry.finish(first, 'failed', RunFailedEvent)
        second = self.registry.retry(first.id)
        self.registry.finish(second, 'failed', RunFailedEvent)
        transaction.commit()
        for run in first, second:
            self.registry.remove(run.id)
        self.assertEqual(second.origin_id, first.id)
        transaction.abort()
        third = self.registry.retry(second.id)
        transaction.commit()
        third._p_deactivate()   # it is stored
        self.assertEqual(third.origin_id, first.id)

    def test_another_start_begins_a_chain_of_its_own(self):
        runs = [self.registry.start('work') for _ in range(2)]
        self.assertEqual([run.origin_id for run in runs],
                         [run.id for run in runs])

    def test_odd_one_is_its_own(self):
        run = self.registry.start('work')
        for odd in 1, 'odd', (1,), ('a', 'b'), (1, 2, 3), {}, 1.5:
            run.origin = odd
            self.assertEqual(run.origin_id, run.id)

    def test_nothing_records_it_without_a_registry(self):
        worker = BackgroundJob(None, None, 'site', '')
        self.assertIsNone(worker.origin_id)


class LiveOriginTests(LiveTests):

    def test_jobs_and_loops_of_a_runtime(self):
        keys = []

        class Job(BackgroundJob):
            def doWork(self):
                keys.append(self.origin_id)
                raise ValueError('wrong')

        class Loop(BackgroundWorkerThread):
            def scheduleNextWork(self):
                return not keys

            def doWork(self):
                keys.append(self.origin_id)
                raise SystemExit

        for values in {'factory': Job}, {'factory': Loop, 'is_loop': True}:
            declareWorker('work', **values)
            del keys[:]
            first = self.carryOut('work').id
            self.assertEqual(keys, [first])
            del keys[:]
            retry = self.change(lambda: self.registry.retry(first)).id
            self.waitFinished(retry)
            self.assertEqual(keys, [first])
