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
"""Runs that wait for their time: near in memory, far in the database."""
from datetime import timedelta
from unittest import mock

import transaction
from ZODB.Connection import Connection

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.interfaces import BY_INPUT
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import RERUN
from cipher.background.interfaces import InvalidInput
from cipher.background.runtime.maintenance import bookmarks
from cipher.background.runtime.queue.backlog import NEAR
from cipher.background.runtime.runtime import Runtime
from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.store.bookmark import FOR_TIME
from cipher.background.store.lifecycle import LONGEST_DELAY
from cipher.background.store.run import WorkerRun
from cipher.background.tests.support.layers import Long
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil


FAR = 3600.0


class DueTests(LiveTests):

    def setUp(self):
        super().setUp()
        self.clock = self.setClock()
        self.calls = []
        self.declare()

    def declare(self, **values):
        declareWorker('work', lambda worker: self.calls.append(
            worker.run_id), **values)

    def submit(self, delay, **values):
        """Start a run and commit; return its id."""
        self.begin()
        run = self.registry.submit('work', delay=delay, **values)
        transaction.commit()
        return run.id

    def due(self):
        """Return {serial: due_at} of what waits in the database."""
        self.begin()
        return {serial: key / 1000000 for lane in self.registry.lanes.values()
                for key, serial in lane.waiting.serials(FOR_TIME)}

    def submitFar(self):
        """Start one that waits in the database; return its id.

        The bookmark of its lane has passed it, so that only Due tells of it.
        """
        run_id = self.submit(FAR)
        waitUntil(lambda: len(self.due()) == 1, 'the entry of the run')
        lane, serial = map(int, run_id.split('-'))
        waitUntil(lambda: self.runtime.backlog.position(
            (self.registry._p_oid, lane)) == (serial + 1, ()))
        return run_id

    def restart(self, in_good_order=True):
        """End the runtime, then begin another."""
        if not in_good_order:
            # As if it were killed: it writes nothing at its end.
            self.runtime._leave = lambda: None
        self.runtime.shutdown()
        self.runtime = self.startRuntime()

    def assertForgotten(self):
        """Assert that no entry is left over."""
        waitUntil(lambda: not self.due(), 'the end of the entries')
        for lane in self.registry.lanes.values():
            self.assertEqual(list(lane.waiting.places), [])

    def test_run_begins_when_it_is_due_and_not_before(self):
        self.clock.__exit__()
        run_id = self.submit(0.2)
        run = self.registry.get(run_id)
        status = self.waitFinished(run_id)
        self.assertEqual(status.state, 'succeeded')
        self.assertAlmostEqual(run.due_at, run.created_at + 0.2, delta=0.1)
        self.assertGreaterEqual(status.started_at, run.due_at)

    def test_near_waits_in_memory(self):
        run_id = self.submit(NEAR - 1.0)
        waitUntil(lambda: self.runtime.backlog.counts()[1])
        self.waitTurn()
        self.assertEqual(self.due(), {})
        self.assertEqual(self.status(run_id).state, 'pending')

    def test_far_waits_in_the_database_and_holds_no_bookmark_back(self):
        run_id = self.submitFar()
        self.assertEqual(sum(self.runtime.backlog.counts()), 0)
        due_at, = self.due().values()
        self.assertAlmostEqual(due_at, self.status(run_id).due_at, 5)
        self.writeBookmarksNow()   # it writes the bookmark
        self.begin()
        lane, serial = map(int, run_id.split('-'))
        self.assertEqual(
            self.registry.lanes[lane].bookmark.low, serial + 1)

    def test_far_runs_when_its_time_has_come(self):
        run_id = self.submitFar()
        self.clock.advance(FAR - 1.0)
        self.waitTurn()
        self.assertEqual(self.calls, [])
        self.clock.advance(1.0)
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertForgotten()
        self.assertEqual(self.calls, [run_id])

    def test_far_run_that_is_put_off_again(self):
        def work(worker):
            self.calls.append(worker.run_id)
            if len(self.calls) == 1:
                raise ValueError

        declareWorker('work', work, max_attempts=2, retry_delay=4 * NEAR)
        run_id = self.submitFar()
        self.clock.advance(FAR)
        waitUntil(lambda: self.status(run_id).attempts == 1)
        waitUntil(lambda: not self.runtime.allLive())
        due_at = self.status(run_id).due_at
        waitUntil(lambda: [round(at, 3) for at in self.due().values()]
                  == [round(due_at, 3)], 'the new entry alone')
        self.assertEqual(
            [s.id for s in self.registry.listRuns(states=['pending']).items],
            [run_id])
        self.clock.now = due_at
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertForgotten()

    def test_delayed_runs_survive_a_restart(self):
        for in_good_order in True, False:
            with self.subTest(in_good_order=in_good_order):
                del self.calls[:]
                far, near = self.submitFar(), self.submit(NEAR - 1.0)
                new = self.submit(FAR)   # perhaps nowhere noted yet
                self.restart(in_good_order)
                self.waitTurn()
                self.assertEqual(self.calls, [])
                self.restart(in_good_order)
                self.clock.advance(FAR + 1.0)
                # What waits in memory goes by another clock.
                self.restart(in_good_order)
                for run_id in near, far, new:
                    self.assertEqual(self.waitFinished(run_id).state,
                                     'succeeded')
                self.assertForgotten()
                self.assertEqual(sorted(self.calls),
                                 sorted([near, far, new]))

    def test_far_run_whose_process_died_before_the_bookmark_was_written(self):
        # The bookmark is beyond the run: the entry in Due finds it.
        for on_interrupt, state, calls in (
                (RERUN, 'succeeded', 1), (FAIL, 'interrupted', 0)):
            with self.subTest(on_interrupt):
                del self.calls[:]
                self.declare(on_interrupt=on_interrupt)
                run_id = self.submitFar()
                self.runtime.shutdown()
                self.begin()
                self.registry.get(run_id).claim(
                    'host:1:dead', 1.0, on_interrupt == FAIL)
                transaction.commit()
                self.clock.advance(FAR)
                self.runtime = self.startRuntime()
                status = self.waitFinished(run_id)
                self.assertEqual((status.state, status.interruptions),
                                 (state, 1))
                self.assertEqual(len(self.calls), calls)
                self.assertForgotten()

    def test_stop_of_a_delayed_run(self):
        far, near = self.submitFar(), self.submit(0.5)
        for run_id in near, far:
            self.assertEqual(self.requestStop(run_id), 'stopped')
        self.assertEqual(
            self.registry.listRuns(states=['pending']).items, [])
        self.clock.advance(FAR)
        self.assertForgotten()
        waitUntil(lambda: not sum(self.runtime.backlog.counts()))
        self.assertEqual(self.calls, [])
        self.assertEqual(self.status(far).state, 'stopped')

    def test_delay_that_cannot_be_kept_is_refused(self):
        for delay in (float('nan'), float('inf'), 2 * LONGEST_DELAY, -1.0,
                      -0.001, '5', True, None, [1], timedelta(1), 10 ** 5000):
            with self.assertRaisesRegex(ValueError, 'delay: expected'):
                self.registry.submit('work', delay=delay)
        transaction.abort()
        self.submit(LONGEST_DELAY)
        self.assertEqual(self.carryOut('work').state, 'succeeded')
        self.assertIsNone(
            self.registry.get(self.submit(0)).due_at)
        self.assertNotIn('Turn of the runtime failed',
                         self.logged.getvalue())

    def test_priority_that_is_none_is_refused(self):
        for priority in ('5', 5.0, True, 1001, -1001, 10 ** 5000, [], {},
                         float('nan'), b'5'):
            with self.assertRaisesRegex(
                    ValueError, 'priority: expected a whole number from '
                    '-1000 to 1000, got .*; leave it out'):
                self.registry.submit('work', priority=priority)
        transaction.abort()
        for priority in (1000, -1000, 0):
            run_id = self.submit(0, priority=priority)
            self.assertEqual(self.registry.get(run_id).priority, priority)

    def test_unique_that_is_none_is_refused(self):
        for unique in 'contxt', '', True, 0, [], {}, b'type', ('type',):
            with self.assertRaisesRegex(
                    ValueError, 'unique: expected one of no, type, context, '
                    'input, got .*; leave it out'):
                self.registry.submit('work', unique=unique)

    def test_input_that_is_no_dict_is_refused(self):
        for input in ([], [1], 'text', '', 5, 0, (), (('a', 1),), {1}, object,
                      False):
            with self.assertRaisesRegex(
                    InvalidInput, "worker 'work': expected the input as a "
                    'dict, got .*; give one'):
                self.registry.submit('work', input=input)
            with self.assertRaises(InvalidInput):
                self.registry.submit('work', input={'x': input})
        for key in (1, None, b'x', ('x',)):
            with self.assertRaisesRegex(InvalidInput, 'without any field'):
                self.registry.submit('work', input={key: 1})
        self.assertEqual(self.registry.getCounts(), {})
        self.registry.submit('work', input=None)

    def test_what_is_no_name_or_id_at_all_is_not_found(self):
        class Odd:
            def __repr__(self):
                raise RuntimeError('no repr')

        registry = self.registry
        for odd in Odd(), [], {}, None, 5, 10 ** 5000, b'work', '':
            for call in (registry.submit, registry.start, registry.getStatus,
                         registry.getDetails, registry.requestStop,
                         registry.retry, registry.remove, registry.pauseType,
                         registry.quietProcess, registry.drainProcess,
                         registry.pauseSchedule, registry.runSchedule):
                with self.subTest(call=call.__name__), self.assertRaisesRegex(
                        LookupError, 'expected'):
                    call(odd)

    def test_refused_options_store_nothing(self):
        for options in ({'priority': '5'}, {'delay': 'soon'}, {'unique': 'x'},
                        {'input': []}):
            with self.assertRaises(ValueError):
                self.registry.submit('work', **options)
        transaction.commit()
        self.assertEqual(self.registry.getCounts(), {})

    def test_pending_list_shows_those_that_the_bookmark_passed(self):
        far = self.submitFar()
        self.writeBookmarksNow()
        for _ in range(40):
            self.carryOut('work')
        self.writeBookmarksNow()
        near = self.submit(NEAR - 1.0)
        self.begin()
        page = self.registry.listRuns(states=['pending'])
        self.assertEqual([s.id for s in page.items], [near, far])
        self.assertIsNone(page.older)
        # Page by page as well.
        page = self.registry.listRuns(states=['pending'], limit=1)
        self.assertEqual([s.id for s in page.items], [near])
        page = self.registry.listRuns(states=['pending'], limit=1,
                                      before=page.older)
        self.assertEqual([s.id for s in page.items], [far])


class ManyDueTests(FileSiteTests):
    """A great many wait; what that costs is counted in objects loaded."""

    layer = Long

    def setUp(self):
        super().setUp()
        self.runtime = Runtime(self.db, RuntimeSettings(threads=2))
        self.maintenance = self.runtime._maintenance
        self.addCleanup(self.runtime._leave)
        self.clock = self.setClock(1000000.0)
        declareWorker('work', lambda worker: None)

    def loads(self, function, *args):
        """Return how many objects *function* loads with an empty cache."""
        self.db.cacheMinimize()
        loaded = []
        setstate = Connection.setstate

        def counting(connection, obj):
            loaded.append(obj)
            setstate(connection, obj)

        with mock.patch.object(Connection, 'setstate', counting):
            function(*args)
        return loaded

    def add(self, lane, size):
        """Let *size* more runs wait in *lane*, as if all were started."""
        self.begin()
        births = lane.births
        for number in range(size):
            # Not in the order of their births.
            due_at = 2000000.0 + births.next_serial * 7919 % 100000
            births.add(WorkerRun('work', lane.number, births.next_serial,
                                 1000.0 + births.next_serial,
                                 due_at=due_at))
        transaction.commit()

    def test_a_poll_costs_the_same_whatever_waits(self):
        self.maintenance.turn(True)
        self.begin()
        lane = self.registry.lanes[1]
        costs, lists = [], []
        total = 0
        for size in 1000, 100000:
            self.add(lane, size - total)
            total = size
            while self.maintenance.turn(
                    False) or not self.runtime.backlog.isIdle():
                pass
            self.writeBookmarks()
            self.begin()
            self.assertEqual(lane.bookmark.low, total + 1)
            self.assertEqual(len(lane.waiting.places), total)
            self.assertEqual(sum(self.runtime.backlog.counts()), 0)
            loaded = self.loads(self.maintenance.turn, True)
            self.assertFalse(
                [obj for obj in loaded if isinstance(obj, WorkerRun)])
            costs.append(len(loaded))
            self.begin()
            loaded = self.loads(self.list)
            self.assertLessEqual(sum(
                isinstance(obj, WorkerRun) for obj in loaded), 51)
            lists.append(len(loaded))
        # A tree grows by a level: some objects more, whatever the number.
        self.assertLessEqual(costs[1] - costs[0], 5)
        self.assertLessEqual(lists[1] - lists[0], 10)
        self.assertLess(costs[1], 150)
        # What is due among them is found without the rest.
        self.clock.now = lane.waiting.trees[FOR_TIME].minKey() / 1000000
        due = sum(1 for _ in lane.waiting.upTo(self.clock.now))
        loaded = self.loads(self.maintenance.turn, True)
        self.assertEqual(self.runtime.backlog.counts(), (due, 0, 0))
        self.assertLessEqual(len(loaded), costs[1] + 3 * due + 3)

    def writeBookmarks(self):
        with ZodbConnection(self.db) as connection:
            self.maintenance.writeBookmarks(connection)

    def list(self):
        page = self.registry.listRuns(states=['pending'])
        self.assertEqual(len(page.items), 50)
        self.assertTrue(page.older)

    def test_claims_are_looked_at_few_at_a_time(self):
        declareWorker('work', lambda worker: None, unique=BY_INPUT)
        for number in range(1000):
            self.registry.unique_keys['work', b'%d' % number] = 1, number + 1
        self.add(self.registry.lanes[1], 1000)
        self.maintenance.turn(True)
        with ZodbConnection(self.db) as connection:
            loaded = self.loads(self.maintenance._pruner.prune, connection)
        self.assertLessEqual(sum(
            isinstance(obj, WorkerRun) for obj in loaded), 500)

    def test_written_in_small_commits_without_a_pause(self):
        self.maintenance.turn(True)
        self.add(self.registry.lanes[1], 3 * bookmarks.BATCH)
        lane = self.registry.lanes[1]
        for turn in range(3):
            self.assertTrue(self.maintenance.turn(False))
            self.begin()
            self.assertEqual(len(lane.waiting.places),
                             (turn + 1) * bookmarks.BATCH)
        self.assertFalse(self.maintenance.turn(False))
