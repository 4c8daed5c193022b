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
"""Wake-ups: what another client of the storage commits is seen at once."""
import time
from unittest import TestCase
from unittest import mock

import transaction
from BTrees.OOBTree import OOBTree
from ZODB.DB import DB
from ZODB.interfaces import IStorageDB
from ZODB.MappingStorage import MappingStorage

from cipher.background.runtime.maintenance import invalidations
from cipher.background.store.lane import Lane
from cipher.background.store.run import WorkerRun
from cipher.background.tests.support.cluster import LONG
from cipher.background.tests.support.cluster import ZEOTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.servers import openDatabase
from cipher.background.tests.support.sites import LIMIT


class Storage(MappingStorage):
    """Tells of the commits of others when the test says so."""

    _db = None

    def registerDB(self, db):
        self._db = db

    def tell(self, *oids):
        self._db.invalidate(b'\0' * 8, oids)


class ListenTests(TestCase):

    def setUp(self):
        self.storage = Storage()
        self.db = DB(self.storage)
        self.addCleanup(lambda: self.is_closed or self.db.close())
        self.adapter = self.storage._db
        self.heard = []

    is_closed = False

    def listen(self):
        invalidations.listen(self.db, self.heard.append)

    def test_oids_are_heard_after_the_database_heard_them(self):
        order = []
        self.adapter.invalidate = lambda tid, oids: order.append('database')
        invalidations.listen(self.db, lambda oids: order.append(oids))
        self.storage.tell(b'1', b'2')
        self.assertEqual(order, ['database', [b'1', b'2']])

    def test_listener_is_what_a_storage_expects(self):
        self.listen()
        for name in IStorageDB:   # ZODB's own takes other arguments
            self.assertTrue(callable(getattr(self.storage._db, name)), name)
        self.assertEqual(self.storage._db.references, self.adapter.references)

    def test_cache_that_is_void_is_heard_as_perhaps_all(self):
        self.listen()
        self.storage._db.invalidateCache()
        self.assertEqual(self.heard, [None])

    def test_nobody_listens_after_the_end(self):
        self.listen()
        invalidations.unlisten(self.db)
        self.assertIs(self.storage._db, self.adapter)
        self.storage.tell(b'1')
        invalidations.unlisten(self.db)
        self.assertEqual(self.heard, [])

    def test_who_came_after_us_stays(self):
        self.listen()
        ours = self.storage._db
        behind = mock.Mock(wraps=ours)
        self.storage.registerDB(behind)
        invalidations.unlisten(self.db)
        self.assertIs(self.storage._db, behind)
        self.storage.tell(b'1')
        behind.invalidate.assert_called_once()
        self.assertEqual(self.heard, [])
        # And we are still in the chain, once, when we listen again.
        self.listen()
        self.assertIs(self.storage._db, behind)
        self.storage.tell(b'2')
        self.assertEqual(self.heard, [[b'2']])

    def test_who_came_before_us_goes_on_to_hear(self):
        before = mock.Mock(wraps=self.adapter)
        self.storage.registerDB(before)
        self.listen()
        self.storage.tell(b'1')
        before.invalidate.assert_called_once()
        invalidations.unlisten(self.db)
        self.assertIs(self.storage._db, before)

    def test_error_of_a_wake_up_is_not_the_storages(self):
        def fail(oids):
            raise ValueError('whatever')

        invalidations.listen(self.db, fail)
        with self.assertLogs(
                'cipher.background.runtime.maintenance.invalidations'):
            self.storage.tell(b'1')

    def test_storage_that_tells_nobody(self):
        class Silent(MappingStorage):
            registerDB = property()   # has none

        db = DB(Silent())
        invalidations.listen(db, self.heard.append)
        invalidations.unlisten(db)
        db.close()

    def test_database_that_was_closed(self):
        self.listen()
        self.db.close()
        self.is_closed = True
        invalidations.unlisten(self.db)
        invalidations.listen(self.db, self.heard.append)


class WatchTests(TestCase):

    def test_each_bucket_of_a_tree_is_watched(self):
        db = DB(MappingStorage())
        self.addCleanup(db.close)
        connection = db.open()
        self.addCleanup(connection.close)
        self.addCleanup(transaction.abort)
        tree = connection.root()['tree'] = OOBTree()
        for n in range(200):
            tree[n] = n
        transaction.commit()
        oids = set(invalidations._oids(tree))
        for n in range(200):
            tree[n] = -n
            changed = {obj._p_oid for obj in connection._registered_objects}
            self.assertTrue(changed & oids, n)
            transaction.abort()


class WakeTests(ZEOTests):
    """Two clients of a ZEO server; nobody polls."""

    # Seconds.  A poll, or a beat, would come too late for each test.
    settings = dict(ZEOTests.settings, poll=3600.0, lease=36000.0)

    def setUp(self):
        super().setUp()
        self.other = openDatabase(self.uri)
        self.addCleanup(self.other.close)

    def elsewhere(self, change):
        """Commit what *change* does to the registry, as another process."""
        manager = transaction.TransactionManager()
        connection = self.other.open(transaction_manager=manager)
        try:
            with manager:
                return change(connection.get(self.registry._p_oid))
        finally:
            connection.close()

    def startElsewhere(self, name):
        return self.elsewhere(lambda registry: registry.start(name).id)

    def test_run_that_others_started_begins_at_once(self):
        times = []
        declareWorker('note', lambda worker: times.append(time.monotonic()))
        for n in range(20):
            self.startElsewhere('note')
            waitUntil(lambda: len(times) > n, 'the begin', LIMIT)

    def test_lane_that_others_make_is_watched_at_once(self):
        called = []
        declareWorker('work', lambda worker: called.append(worker.run_id))

        def make(registry):
            number = registry.lanes.maxKey() + 1
            registry.lanes[number] = Lane(number)
            return number

        for _ in range(3):
            number = self.elsewhere(make)
            self.elsewhere(lambda registry: registry.lanes[number].births.add(
                WorkerRun('work', number, 1, time.time())))
            run_id = '%d-1' % number
            waitUntil(lambda: run_id in called, 'the run in the new lane')

    def test_run_hears_at_once_that_others_stop_it(self):
        def work(worker):
            self.gate.stop()
            while True:
                worker.wait(0.01)
                worker.checkStop()

        declareWorker('patient', work)
        for is_told in False, True:
            with self.subTest(is_told):
                self.gate.__init__()
                run_id = self.startElsewhere('patient')
                self.gate.waitReached()
                if is_told:
                    live, = self.runtime.allLive()
                    live.started_at -= 60
                    self.runtime._maintenance.steps.makeDue('live runs')
                    self.runtime.wake()
                    waitUntil(
                        lambda: self.runtime._maintenance._reports._reported)
                self.gate.open()
                self.elsewhere(lambda registry: registry.requestStop(run_id))
                self.assertEqual(
                    self.waitFinal(run_id, 'stopped').state, 'stopped')
                waitUntil(lambda: not self.runtime.allLive(), 'its end', LONG)

    def test_pause_that_ends_is_seen_at_once(self):
        called = []
        declareWorker('work', called.append)
        self.elsewhere(lambda registry: registry.pauseType('work'))
        run_id = self.startElsewhere('work')

        def is_put_away():
            self.begin()
            return (self.registry.get(run_id) is not None
                    and self.status(run_id).state == 'pending'
                    and not self.runtime.allLive())

        waitUntil(is_put_away, 'the look at the run')
        self.assertEqual(called, [])
        self.elsewhere(lambda registry: registry.pauseType('work', False))
        self.waitFinal(run_id, 'succeeded')

    def test_process_hears_at_once_what_is_wanted_of_it(self):
        self.elsewhere(lambda registry: registry.quietProcess(
            self.runtime.id))
        waitUntil(lambda: self.runtime.is_quiet, 'that it is quiet')

    def test_restart_of_the_server_wakes_it(self):
        called = []
        declareWorker('work', called.append)
        self.server.stop()
        self.server.start()
        self.waitBack()
        run_id = self.start('work')
        self.waitFinal(run_id, 'succeeded')

    def test_nobody_listens_after_a_shutdown(self):
        storage = self.db.storage
        self.assertIsInstance(storage._db, invalidations._Listener)
        self.runtime.shutdown()
        self.assertIs(storage._db, self.db._mvcc_storage)
