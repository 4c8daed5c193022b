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
"""What once stranded runs, or began them wrongly: each was seen to fail.

One kind of fault after the other, each by its promise: whatever fails for a
moment, what was committed begins, when it is due, and once.
"""
import threading
import time
from unittest import mock

import transaction
from ZODB.mvccadapter import MVCCAdapterInstance
from ZODB.POSException import POSKeyError

from cipher.background.contextmanagers import Door
from cipher.background.contextmanagers import ZodbConnection
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.flakystorage import FailOnce
from cipher.background.tests.support.flakystorage import Flaky
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.util import switchboard


class StrandedTests(LiveTests):
    """Runs that never began."""

    settings = dict(LiveTests.settings, poll=0.05)

    def setUp(self):
        super().setUp()
        self.called = []
        self.at = {}
        declareWorker('work', self.work)

    def work(self, worker):
        self.at.setdefault(worker.run_id, time.monotonic())
        self.called.append(worker.run_id)

    def startMany(self, number):
        """Start runs, each in a transaction of its own; return the ids."""
        return [self.start('work') for _ in range(number)]

    def waitAll(self, ids):
        """Wait until all have begun, once."""
        waitUntil(lambda: set(ids) <= set(self.called), 'that all begin')
        for run_id in ids:
            self.waitFinished(run_id)
        self.assertEqual(sorted(set(self.called)), sorted(set(ids)))

    def restart(self, **settings):
        self.runtime.shutdown()
        self.runtime = self.startRuntime(**settings)

    def test_any_load_fails_once_at_the_begin(self):
        self.runtime.shutdown()
        ids = self.startMany(20)
        self.db.cacheMinimize()
        # Where it fails: all along the first looks.
        for number in range(1, 120, 7):
            with self.subTest(number):
                with Flaky(FailOnce(number)) as flaky:
                    self.runtime = self.startRuntime()
                    more = self.startMany(3)
                    ids += more
                    self.waitAll(ids)
                self.runtime.shutdown()
                if not flaky.failures:
                    break   # so many loads there were not

                waiting = self.startMany(2)
                ids += waiting
                self.db.cacheMinimize()
        self.assertGreater(number, 80)

    def test_any_load_fails_once_after_a_pause(self):
        ids = []
        for number in range(1, 90, 9):
            with self.subTest(number):
                self.change(lambda: self.registry.pauseType('work'))
                ids += self.startMany(6)
                waitUntil(lambda: self.waiting() == 6, 'their entries')
                self.db.cacheMinimize()
                with Flaky(FailOnce(number)):
                    self.change(
                        lambda: self.registry.pauseType('work', False))
                    self.waitAll(ids)
                waitUntil(lambda: not self.waiting(), 'the end of entries')

    def waiting(self):
        self.begin()
        return sum(len(lane.waiting.places)
                   for lane in self.registry.lanes.values())

    def test_rolled_back_and_one_with_its_id(self):
        for _ in range(5):
            self.begin()
            savepoint = transaction.savepoint()
            first = self.registry.start('work').id
            savepoint.rollback()
            self.connection.root()['x'] = len(self.called)
            transaction.commit()
            ids = self.startMany(8)
            self.assertIn(first, ids)
            waitUntil(lambda: set(ids) <= set(self.called), 'that all begin')

    def test_delayed_start_that_is_rolled_back(self):
        self.begin()
        savepoint = transaction.savepoint()
        first = self.registry.submit('work', delay=3600).id
        savepoint.rollback()
        self.connection.root()['x'] = 1
        transaction.commit()
        self.waitTurn()
        ids = self.startMany(8)
        self.assertIn(first, ids)
        self.waitAll(ids)

    def test_unique_and_urgent_starts_that_are_rolled_back(self):
        for values in (dict(unique='type'), dict(priority=9),
                       dict(unique='type', priority=9, delay=3600)):
            with self.subTest(**values):
                self.begin()
                savepoint = transaction.savepoint()
                self.registry.submit('work', **values)
                savepoint.rollback()
                # It is another run, with nothing of the one before.
                run = self.registry.submit('work', unique='type')
                self.assertEqual((run.priority, run.due_at), (0, None))
                transaction.commit()
                ids = [run.id, *self.startMany(4)]
                waitUntil(lambda: set(ids) <= set(self.called),
                          'that all begin')
                self.waitFinished(run.id)

    def test_hooks_in_the_wrong_order_delay_nothing(self):
        self.restart(threads=1, poll=60.0)
        self.waitFinished(self.start('work'))
        reached, go_on = threading.Event(), threading.Event()
        wake = switchboard.wake

        def paused(db, places=(), only=None):
            if threading.current_thread().name == 'first':
                reached.set()
                go_on.wait(LIMIT)
            wake(db, places, only)

        self.patch('cipher.background.util.switchboard.wake', paused)
        ids = []

        def first():
            manager = transaction.TransactionManager()
            connection = self.db.open(manager)
            manager.begin()
            ids.append(connection.get(
                self.registry._p_oid).start('work').id)
            manager.commit()
            connection.close()

        thread = threading.Thread(target=first, name='first')
        thread.start()
        self.assertTrue(reached.wait(LIMIT))
        ids.append(self.start('work'))
        began = time.monotonic()
        go_on.set()
        thread.join(LIMIT)
        for run_id in ids:
            self.waitFinished(run_id)
            # Long before the poll.
            self.assertLess(self.at[run_id] - began, LIMIT)

    def test_run_that_is_committed_during_a_look(self):
        self.restart(threads=1, poll=60.0)
        self.check_commit_during_look('takeOnly')

    def test_run_that_is_committed_during_a_look_at_all_births(self):
        self.restart(threads=1, poll=60.0)
        self.runtime.backlog.takeOnly = lambda place: None
        self.check_commit_during_look('toLook')

    def check_commit_during_look(self, name):
        """Commit a run when a look has called the method *name*."""
        self.waitFinished(self.start('work'))
        backlog = self.runtime.backlog
        method = getattr(backlog, name)
        reached, go_on = threading.Event(), threading.Event()

        def paused(*args):
            found = method(*args)
            if not reached.is_set():
                reached.set()
                go_on.wait(LIMIT)
            return found

        setattr(backlog, name, paused)
        first = self.start('work')
        self.assertTrue(reached.wait(LIMIT))
        late = self.start('work')
        go_on.set()
        for run_id in first, late:
            self.waitFinished(run_id)

    def test_priority_that_is_no_number_is_refused(self):
        for priority in '9', 1.5, None.__class__, [1]:
            with self.assertRaisesRegex(ValueError, 'priority: expected'):
                self.registry.submit('work', priority=priority)
        transaction.abort()

    def test_stored_rubbish_strands_nobody(self):
        self.runtime.shutdown()
        ids = self.startMany(12)
        self.begin()
        # As it may come by an import, or from an older version.
        self.registry.get(ids[3]).priority = '9'
        self.registry.get(ids[5]).created_at = None
        transaction.commit()
        self.runtime = self.startRuntime()
        good = [run_id for run_id in ids if run_id != ids[5]]
        waitUntil(lambda: set(good) <= set(self.called), 'that all begin')
        more = self.startMany(2)
        waitUntil(lambda: set(more) <= set(self.called), 'that all begin')

    def test_delayed_rubbish_ends_no_thread(self):
        self.begin()
        run = self.registry.submit('work', delay=0.1)
        run.priority = '9'
        transaction.commit()
        self.waitFinished(run.id)
        self.waitTurn()
        self.assertTrue(self.runtime._control.is_alive())

    def test_lanes_that_others_adopted_after_the_shutdown(self):
        before = self.startMany(2)
        self.waitAll(before)
        self.runtime.shutdown()

        def adopt():
            getDirectory(self.connection).processes['another'] = (
                ProcessRecord('another', 'elsewhere', 1, None, None, 1, 90.0,
                              time.time()))
            for lane in self.registry.lanes.values():
                lane.writer.id = 'another'
            return {number: lane.births.next_serial
                    for number, lane in self.registry.lanes.items()}

        adopted = self.change(adopt)
        self.startMany(3)
        self.begin()
        for number, next_serial in adopted.items():
            lane = self.registry.lanes[number]
            self.assertEqual((lane.writer.id, lane.births.next_serial),
                             ('another', next_serial))

    def test_chunk_that_is_missing_for_a_moment(self):
        self.change(lambda: self.registry.pauseType('work'))
        self.begin()
        ids = [self.registry.start('work').id for _ in range(16)]
        transaction.commit()
        waitUntil(lambda: self.waiting() == 16, 'their entries')
        lane = self.registry.lanes[int(ids[0].partition('-')[0])]
        chunk, = {c._p_oid for c in lane.births.chunks.values()}
        failed = []
        load = MVCCAdapterInstance.load

        def missing(storage, oid, *args):
            if (oid == chunk and not failed and threading.current_thread()
                    .name.startswith('background')):
                failed.append(oid)
                raise POSKeyError(oid)
            return load(storage, oid, *args)

        self.restart(threads=1)
        self.db.cacheMinimize()
        with mock.patch.object(MVCCAdapterInstance, 'load', missing):
            self.change(lambda: self.registry.pauseType('work', False))
            self.waitAll(ids)
        self.assertTrue(failed)

    def test_lock_is_free_while_a_lane_is_loaded(self):
        """Fault 07: a hook waited for another thread's load."""
        self.restart(poll=60.0)
        run_id = self.start('work')
        self.waitFinished(run_id)
        loading, go_on = threading.Event(), threading.Event()
        is_armed = [True]

        def stand(name, number):
            if name == 'load' and is_armed and threading.current_thread(
                    ).name == 'slow':
                loading.set()
                go_on.wait(LIMIT)
            return False

        def look():
            with ZodbConnection(self.db) as connection:
                connection.cacheMinimize()
                self.runtime.backlog.mark(self.runtime.backlog.lanes())
                self.runtime.poller.next(Door(self.db))

        with Flaky(stand):
            thread = threading.Thread(target=look, name='slow')
            thread.start()
            if loading.wait(1.0):
                ended = threading.Event()

                def mark():
                    self.runtime.wake(self.runtime.backlog.lanes())
                    ended.set()

                threading.Thread(target=mark, daemon=True).start()
                self.assertTrue(ended.wait(LIMIT), 'a hook waits for a load')
            go_on.set()
            thread.join(LIMIT)
