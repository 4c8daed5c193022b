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
"""Which lane a transaction writes: nobody conflicts within a process."""
import gc
import os
import tempfile
import threading
from unittest import mock

import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from cipher.background.store import lanepool
from cipher.background.store import writers
from cipher.background.store.lane import Lane
from cipher.background.store.lanepool import getPool
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import declare
from cipher.background.util import clock


def work(worker):
    """Does nothing."""


class View:
    """The registry, seen through a connection of its own."""

    def __init__(self, db):
        self.manager = transaction.TransactionManager()
        self.connection = db.open(transaction_manager=self.manager)

    @property
    def registry(self):
        site = self.connection.root()['Application']
        return site.getSiteManager()['background']

    def begin(self):
        self.manager.begin()
        self.registry._p_activate()
        return self

    def start(self):
        return self.registry.start('work')

    def lane(self):
        return self.start().lane

    def commit(self):
        self.manager.commit()

    def close(self):
        self.manager.abort()
        self.connection.close()


class PoolCase(SiteTests):

    OWN = (11, 12, 13)

    def setUp(self):
        super().setUp()
        declare('<background:worker name="work" handler="%s.work" />'
                % __name__)
        me = writers.identify(self.connection)[0]
        for number in self.OWN:
            lane = self.registry.lanes[number] = Lane(number)
            lane.writer.become(me)
        del self.registry.lanes[1]
        transaction.commit()
        self.pool = getPool(self.db, self.registry._p_oid)

    def view(self):
        view = View(self.db)
        self.addCleanup(view.close)
        return view.begin()


class PoolTests(PoolCase):

    def test_pool_is_one_for_each_registry_and_database(self):
        self.assertIs(getPool(self.db, self.registry._p_oid), self.pool)
        self.assertIsNot(getPool(self.db, b'other'), self.pool)
        other = DB(None)
        self.addCleanup(other.close)
        self.assertIsNot(getPool(other, self.registry._p_oid), self.pool)

    def test_pool_that_another_thread_begins_to_make(self):
        lanepool._pools[self.db] = {}
        pool = getPool(self.db, self.registry._p_oid)
        self.assertIsInstance(pool, lanepool.LanePool)
        self.assertIs(getPool(self.db, self.registry._p_oid), pool)

    def test_transaction_keeps_its_lane_to_its_end(self):
        view = self.view()
        self.assertEqual({view.lane() for _ in range(40)}, {11})

    def test_lane_is_taken_again_by_the_next_transaction(self):
        view = self.view()
        lanes = set()
        for _ in range(5):
            lanes.add(view.lane())
            view.commit()
            view.begin()
        self.assertEqual(lanes, {11})

    def test_interleaved_transactions_do_not_conflict(self):
        views = [self.view() for _ in self.OWN]
        lanes = [view.lane() for view in views]
        for view in views:
            view.commit()
        self.assertEqual(sorted(lanes), sorted(self.OWN))

    def test_transaction_that_does_not_see_a_commit_gets_another_lane(self):
        early, late = self.view(), self.view()
        taken = late.lane()
        late.commit()
        other = early.lane()
        self.assertNotEqual(other, taken)
        early.commit()
        self.assertIsNotNone(self.view().registry.getRun(other, 1))

    def test_transaction_that_sees_the_commit_may_take_the_lane(self):
        first = self.view()
        taken = first.lane()
        first.commit()
        self.assertEqual(self.view().lane(), taken)

    def test_finish_by_another_thread_is_a_change_of_the_lane(self):
        run = self.view()
        run.start()
        run.commit()
        early, late = self.view(), self.view()
        late.registry.requestStop('11-1')
        late.commit()
        self.assertNotEqual(early.lane(), 11)
        early.commit()

    def test_abort_frees_the_lane(self):
        view = self.view()
        view.lane()
        self.assertNotEqual(self.view().lane(), 11)
        # Whoever still holds the transaction does not hold the lane.
        txn = view.manager.get()
        view.manager.abort()
        self.assertEqual(self.view().lane(), 11)
        del txn

    def test_failed_commit_frees_the_lane(self):
        view = self.view()
        view.start()
        view.connection.root()['unfit'] = open(os.devnull)
        self.addCleanup(view.connection.root()['unfit'].close)
        with self.assertRaises(TypeError):
            view.commit()
        view.manager.abort()
        self.assertEqual(self.view().lane(), 11)

    def test_abort_that_closes_the_connection_first_frees_the_lane(self):
        view = View(self.db).begin()
        view.manager.get().addAfterAbortHook(view.connection.close)
        self.assertEqual(view.start().lane, 11)
        view.connection.cacheMinimize()
        view.manager.abort()
        self.assertEqual(self.view().lane(), 11)

    def test_dead_transaction_frees_the_lane(self):
        view = View(self.db).begin()
        self.assertEqual(view.lane(), 11)
        del view
        gc.collect()
        self.assertEqual(self.view().lane(), 11)

    def test_savepoint_rollback_takes_the_run_back_and_keeps_the_lane(self):
        view = self.view()
        first = view.start()
        savepoint = view.manager.savepoint()
        second = view.start()
        savepoint.rollback()
        self.assertEqual((first.lane, second.lane), (11, 11))
        third = view.start()
        view.commit()
        self.assertEqual((first.id, third.id), ('11-1', '11-2'))
        registry = self.view().registry
        self.assertEqual([run.id for run in registry.listRuns().items],
                         ['11-2', '11-1'])

    def test_run_of_a_whole_rolled_back_savepoint_is_not_there(self):
        view = self.view()
        savepoint = view.manager.savepoint()
        view.start()
        savepoint.rollback()
        view.commit()
        self.assertIsNone(self.view().registry.get('11-1'))
        self.assertEqual(self.view().lane(), 11)

    def test_conflict_elsewhere_leaves_the_lanes_usable(self):
        views = [self.view(), self.view()]
        for view in views:
            view.start()
            view.connection.root()['contended'] = view.start().id
        views[0].commit()
        with self.assertRaises(transaction.interfaces.TransientError):
            views[1].commit()
        views[1].manager.abort()
        views[1].begin().start()
        views[1].commit()
        self.assertEqual(len(self.view().registry.listRuns().items), 3)

    def test_lane_of_another_process_is_left_alone(self):
        lane = self.registry.lanes[11]
        lane.writer.become(writers.Identity(
            'other:1:x', machine='elsewhere', pid=1, began_at=0.0))
        lane.births.last_at = clock.now()
        transaction.commit()
        self.assertEqual(self.view().lane(), 12)

    def test_lane_that_another_process_pruned_is_taken_again(self):
        view = self.view()
        run = view.start()
        view.commit()
        # What another process commits passes no pool of this one.
        other = self.view()
        births = other.registry.lanes[11].births
        births.drop(run.serial, from_recent=True)
        other.commit()
        self.assertEqual(self.view().lane(), 11)

    def test_load_that_takes_long_blocks_no_commit(self):
        """Its end takes a lock, which is not held while lanes are loaded."""
        views = [self.view() for _ in range(4)]
        for view in views[:3]:
            view.start()
        is_loading, may_go_on = threading.Event(), threading.Event()

        def load(*args):
            is_loading.set()
            may_go_on.wait(LIMIT)
            return iter(())

        self.addCleanup(may_go_on.set)
        with mock.patch('cipher.background.store.writers.freeLanes', load):
            thread = threading.Thread(target=views[3].start)
            thread.start()
            self.assertTrue(is_loading.wait(LIMIT))
            for view in views[:3]:
                committing = threading.Thread(target=view.commit)
                committing.start()
                committing.join(LIMIT)
                self.assertFalse(committing.is_alive())
            may_go_on.set()
            thread.join(LIMIT)

    def test_small_cache_does_not_spoil_the_lanes(self):
        self.db.setCacheSize(1)
        for _ in range(5):
            view = self.view()
            self.assertEqual(view.lane(), 11)
            view.commit()


class ReserveTests(PoolCase):

    def setUp(self):
        super().setUp()
        self.may_end = threading.Event()
        self.pool._know(self.OWN)

    def reserve(self):
        """Let a thread reserve; return it and what it got."""
        is_done = threading.Event()
        got = []

        def run():
            got.append(self.pool.reserve())
            is_done.set()
            self.may_end.wait(LIMIT)

        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join, LIMIT)
        self.addCleanup(self.may_end.set)
        self.assertTrue(is_done.wait(LIMIT))
        return thread, got[0]

    def test_reserved_lane_is_left_to_its_thread(self):
        thread, got = self.reserve()
        self.assertTrue(got)
        self.assertEqual([self.view().lane() for _ in range(2)], [11, 12])
        self.assertNotEqual(self.view().lane(), 13)
        self.may_end.set()
        thread.join(LIMIT)
        self.assertEqual(self.view().lane(), 13)

    def test_thread_gets_the_lane_that_it_reserved(self):
        self.reserve()
        self.assertTrue(self.pool.reserve())
        self.assertEqual(self.view().lane(), 12)

    def test_second_reserve_of_a_thread_takes_no_second_lane(self):
        self.assertTrue(self.pool.reserve())
        self.assertTrue(self.pool.reserve())
        self.assertEqual(len(self.pool._reserved), 1)

    def test_reserve_reports_when_there_is_nothing_to_give(self):
        for _ in self.OWN:
            self.assertTrue(self.reserve()[1])
        self.assertFalse(self.pool.reserve())
        self.assertNotIn(self.view().lane(), self.OWN)

    def test_thread_whose_lane_was_lost_reserves_another_one(self):
        self.assertTrue(self.pool.reserve())
        self.assertEqual(self.view().lane(), 13)
        self.registry.lanes[13].writer.become(writers.Identity(
            'other:1:x', has_runtime=True))
        transaction.commit()
        self.assertEqual(self.view().lane(), 11)
        self.assertTrue(self.pool.reserve())
        self.assertEqual(self.view().lane(), 12)


class FileStorageTests(PoolCase):
    """On a storage that resolves conflicts: new lanes do not conflict."""

    def makeDatabase(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return DB(FileStorage(os.path.join(folder.name, 'Data.fs')))

    def test_each_transaction_has_a_lane_however_many_there_are(self):
        views = [self.view() for _ in range(9)]
        lanes = [view.lane() for view in views]
        for view in views:
            view.commit()
        self.assertEqual(lanes[:3], list(self.OWN))
        self.assertEqual(len(set(lanes)), 9)
        # All of them are ours now, and used again.
        views = [self.view() for _ in range(9)]
        self.assertEqual({view.lane() for view in views}, set(lanes))

    def test_threads_of_one_process_never_conflict(self):
        conflicts = []
        begin = threading.Barrier(3)

        def run():
            view = View(self.db)
            begin.wait(LIMIT)
            for _ in range(60):
                view.begin().start()
                try:
                    view.commit()
                except transaction.interfaces.TransientError as error:
                    conflicts.append(error)
                    view.manager.abort()
            view.close()

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10 * LIMIT)
        self.assertEqual(conflicts, [])
        transaction.begin()
        self.assertEqual(self.registry.getCounts(),
                         {'work': {'pending': 180}})
        self.assertEqual(
            len(self.registry.listRuns(limit=1000).items), 180)
