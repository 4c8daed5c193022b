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
"""Jobs over many items: batches, each of them one commit."""
import transaction
from BTrees.LOBTree import LOBTree
from persistent import Persistent
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite

from cipher.background.job import ItemsJob
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import SiteTests
from cipher.background.thread import BackgroundJob


class Part(Persistent):
    """Something with an effect."""

    effects = 0


class Parts(ItemsJob):
    """Each part gets one effect; *hook* sees each of them."""

    hook = None
    batch_size = 10
    batch_seconds = 1000.0

    def items(self, cursor):
        if cursor is not None and type(self).starts is not None:
            self.starts.append(cursor)
        return ((number, (number, part)) for number, part
                in getSite().parts.items(min=cursor,
                                         excludemin=cursor is not None))

    starts = None   # list of the cursors

    def processItem(self, item):
        number, part = item
        part.effects += 1
        if type(self).hook is not None:
            type(self).hook(self, number)


class ItemsTests(LiveTests):

    def setUp(self):
        super().setUp()
        self.begin()
        self.site.parts = LOBTree()
        transaction.commit()

    def fill(self, size):
        """Make so many parts."""
        self.begin()
        self.site.parts.update({n: Part() for n in range(size)})
        transaction.commit()

    def declare(self, hook=None, **values):
        """Declare a job of a class of its own; return the class."""
        values.setdefault('starts', [])
        job = type('Job', (Parts,), dict(values, hook=hook))
        declareWorker('parts', factory=job, max_attempts=2, retry_delay=0.01)
        return job

    def commits(self, run):
        """Return how many transactions wrote *run*."""
        return len(self.db.history(run._p_oid, 10000))

    def assertOnce(self):
        """Assert that each part has its effect once."""
        self.begin()
        self.assertEqual(
            {part.effects for part in self.site.parts.values()}, {1})

    def test_commits_every_so_many_items(self):
        for size, commits in (0, 1), (9, 1), (10, 2), (35, 4):
            with self.subTest(size):
                self.begin()
                self.site.parts.clear()
                self.fill(size)
                self.declare()
                status = self.carryOut('parts')
                self.assertEqual(
                    (status.state, status.result),
                    ('succeeded', '%d items' % size))
                self.assertEqual(status.progress_done, size)
                run = self.registry.get(status.id)
                self.assertEqual(self.commits(run), 1 + commits)
                if size:
                    self.assertOnce()

    def test_commits_every_so_many_seconds(self):
        self.fill(5)
        job = self.declare(batch_seconds=0.0)
        status = self.carryOut('parts')
        self.assertEqual(job.starts, [0, 1, 2, 3, 4])
        self.assertEqual(status.result, '5 items')
        self.assertOnce()

    def test_progress_total_and_result_are_the_jobs_to_tell(self):
        self.fill(35)
        seen = []

        def hook(job, number):
            seen.append(job.progress)

        self.declare(
            hook, countItems=lambda job: len(getSite().parts),
            getResult=lambda job, done: {'done': done})
        status = self.carryOut('parts')
        self.assertEqual(status.result, {'done': 35})
        self.assertEqual((status.progress_done, status.progress_total),
                         (35, 35))
        self.assertEqual([p[:2] for p in seen[::10]],
                         [(0, 35), (10, 35), (20, 35), (30, 35)])

    def test_only_the_batch_that_conflicted_is_done_again(self):
        self.fill(35)
        done = []

        def hook(job, number):
            done.append(number)
            if done.count(25) == 1 and number == 25:
                raise ConflictError()

        self.declare(hook)
        status = self.carryOut('parts')
        self.assertEqual((status.state, status.result, status.attempts),
                         ('succeeded', '35 items', 1))
        self.assertEqual(done, [*range(26), *range(20, 35)])
        self.assertOnce()

    def test_batch_whose_commit_conflicts_is_done_again(self):
        self.fill(35)
        done = []

        def hook(job, number):
            done.append(number)
            if number == 25 and done.count(25) == 1:
                self.gate.stop()

        self.declare(hook)
        run_id = self.start('parts')
        self.gate.waitReached()
        self.begin()
        self.site.parts[22].other = 1
        transaction.commit()
        self.gate.open()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertEqual(done, [*range(30), *range(20, 35)])
        self.assertOnce()

    def test_error_goes_on_behind_the_last_batch(self):
        self.fill(35)
        done = []

        def hook(job, number):
            done.append(number)
            if number == 25 and done.count(25) == 1:
                raise ValueError('once')

        self.declare(hook)
        status = self.carryOut('parts')
        self.assertEqual(
            (status.state, status.attempts, status.result,
             status.progress_done), ('succeeded', 2, '35 items', 35))
        self.assertEqual(done, [*range(26), *range(20, 35)])
        self.assertOnce()

    def test_stop_is_seen_at_the_next_item(self):
        self.fill(35)

        def hook(job, number):
            if number == 15:
                self.gate.stop()

        self.declare(hook)
        run_id = self.start('parts')
        self.gate.waitReached()
        self.requestStop(run_id)
        waitUntil(lambda: self.runtime.allLive()[0].stop)
        self.gate.open()
        self.assertEqual(self.waitFinished(run_id).state, 'stopped')
        self.begin()
        self.assertEqual(
            [part.effects for part in self.site.parts.values()],
            [1] * 10 + [0] * 25)

    def test_memory_stays_flat(self):
        self.fill(3000)
        self.connection.cacheMinimize()
        self.db.setCacheSize(50)
        sizes = []

        def hook(job, number):
            cache = getSite()._p_jar._cache
            sizes.append(cache.cache_non_ghost_count)

        self.declare(hook)
        self.assertEqual(self.carryOut('parts').state, 'succeeded')
        self.assertEqual(len(sizes), 3000)
        # What one batch touches beside what the cache is to hold.
        self.assertLess(max(sizes), 50 + 100)
        self.assertOnce()


class BareTests(SiteTests):

    def test_what_is_to_be_overridden_says_so(self):
        job = ItemsJob.forSite(self.site, 'somebody')
        self.assertIsInstance(job, BackgroundJob)
        with self.assertRaisesRegex(
                TypeError, 'ItemsJob: expected a context with the items, got '
                'none; start it with a context, or override getCollection'):
            job.items(None)
        with self.assertRaisesRegex(NotImplementedError, 'processItem'):
            job.processItem(None)
        self.assertIsNone(job.countItems())
