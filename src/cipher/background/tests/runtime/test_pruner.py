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
"""Retention: what is removed, what stays, and that it disturbs nobody."""
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from unittest import mock

import transaction
from ZODB.POSException import ConflictError

from cipher.background.events import RunFailedEvent
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import SUCCEEDED
from cipher.background.registry.uniqueness import BUCKETS
from cipher.background.registry.uniqueness import STALE_FOR
from cipher.background.runtime.maintenance import pruner
from cipher.background.runtime.maintenance.bookmarks import ownLanes
from cipher.background.runtime.maintenance.pruner import BATCH
from cipher.background.runtime.maintenance.pruner import Pruner
from cipher.background.runtime.runtime import Runtime
from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.store.finishes import SPILL
from cipher.background.store.lane import Lane
from cipher.background.store.lanepool import getPool
from cipher.background.store.runstore import KEY_BUCKETS
from cipher.background.tests.support.layers import Long
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import declareWorker


BEGIN = 1000000000.0
DAY = 86400.0


class PrunerTests(FileSiteTests):
    """With a clock that is set by hand, and a runtime that does nothing."""

    def setUp(self):
        super().setUp()
        self.clock = self.setClock(BEGIN)
        self.registry.lanes[2] = Lane(2)
        transaction.commit()
        self.pruner = self.makePruner(self.registry.lanes)
        for name in 'work', 'other':
            declareWorker(name, lambda worker: None)

    def makePruner(self, numbers):
        """Return a pruner of a runtime that is the home of these lanes."""
        runtime = Runtime(self.db, RuntimeSettings(threads=0))
        for number in numbers:
            runtime.backlog.addLane((self.registry._p_oid, number), 1, ())
            self.registry.lanes[number].bookmark.home = runtime.id
        transaction.commit()
        return Pruner(
            runtime.own, partial(ownLanes, runtime.own, runtime.backlog))

    def makeRuns(self, number, type='work', apart=0.0, state=SUCCEEDED):
        """Return the ids of finished runs, *apart* seconds each.

        They fill chunks of one lane, none is left in recent.
        """
        self.assertEqual(number % SPILL, 0)
        ids = []
        with self.oneLane():
            for _ in range(number):
                ids.append(self.makeRun(type, state))
                self.clock.advance(apart)
            transaction.commit()
        return ids

    def oneLane(self):
        return mock.patch('cipher.background.store.lanepool.LanePool._choose',
                          lambda pool, registry, txn: registry.lanes[1])

    def makeRun(self, type='work', state=SUCCEEDED):
        run = self.registry.addRun(type)
        if state is not None:
            self.registry.finish(
                run, state, RunSucceededEvent if state == SUCCEEDED
                else RunFailedEvent)
        return run.id

    def prune(self):
        """Prune until there is no more; return the number of commits."""
        transaction.commit()
        commits = 1
        while self.pruner.prune(self.connection):
            commits += 1
            self.assertLess(commits, 100)
        transaction.begin()
        return commits

    def pruneClaims(self):
        """Prune until each claim was looked at."""
        for _ in range(KEY_BUCKETS // BUCKETS):
            self.prune()

    def left(self, ids):
        return [run_id for run_id in ids
                if self.registry.get(run_id) is not None]

    def listed(self, **filters):
        """Return the ids of all pages, the oldest first."""
        ids, before = [], None
        while True:
            page = self.registry.listRuns(limit=100, before=before, **filters)
            ids[:0] = [status.id for status in reversed(page.items)]
            before = page.older
            if before is None:
                return ids

    def assertConsistent(self):
        """Assert that counts and lists tell what is there."""
        counts = {}
        for lane in self.registry.lanes.values():
            for run in lane.births.walk():
                # No process tells that it runs.
                state = PENDING if run.state == RUNNING else run.state
                counts.setdefault(run.type, Counter())[state] += 1
        self.assertEqual(self.registry.getCounts(), counts)
        everything = self.listed()
        self.assertEqual(len(everything), sum(
            sum(states.values()) for states in counts.values()))
        for state in SUCCEEDED, FAILED:
            self.assertEqual(
                len(self.listed(states=[state])),
                sum(states[state] for states in counts.values()))


class RulesTests(PrunerTests):

    def test_nothing_is_pruned_that_is_young_and_few(self):
        ids = self.makeRuns(10 * SPILL)
        self.clock.advance(13 * DAY)
        self.prune()
        self.assertEqual(self.left(ids), ids)
        self.assertConsistent()

    def test_what_the_registry_says_holds_without_a_word_of_the_type(self):
        old = self.makeRuns(2 * SPILL)
        self.clock.advance(10 * DAY)
        young = self.makeRuns(2 * SPILL)
        self.clock.advance(5 * DAY)
        self.prune()
        self.assertEqual(self.left(old + young), young)
        self.registry.keep_days = 4.0
        self.prune()
        self.assertEqual(self.left(young), [])
        self.assertConsistent()

    def test_registry_wide_number(self):
        ids = self.makeRuns(10 * SPILL, apart=1.0)
        self.registry.keep = 3 * SPILL + 5
        self.prune()
        self.assertEqual(self.left(ids), ids[-self.registry.keep:])
        self.assertConsistent()

    def test_what_the_type_says_goes_before_that(self):
        declareWorker('work', lambda worker: None, keep_days=1.0, keep=20)
        declareWorker('other', lambda worker: None, keep_days=100.0,
                      keep=100000)
        self.registry.keep = 10
        work = self.makeRuns(2 * SPILL)
        other = self.makeRuns(2 * SPILL, 'other')
        self.prune()
        self.assertEqual(self.left(work + other), work[-20:] + other)
        self.clock.advance(1.5 * DAY)
        self.prune()
        self.assertEqual(self.left(work + other), other)
        self.clock.advance(50 * DAY)
        self.prune()
        self.assertEqual(self.left(work + other), other)
        self.assertConsistent()

    def test_nothing_may_be_kept_at_all(self):
        declareWorker('work', lambda worker: None, keep=0)
        ids = self.makeRuns(3 * SPILL)
        self.prune()
        self.assertEqual(self.left(ids), [])
        declareWorker('other', lambda worker: None, keep_days=0.0)
        ids = self.makeRuns(3 * SPILL, 'other')
        self.clock.advance(0.001)
        self.prune()
        self.assertEqual(self.left(ids), [])
        self.assertEqual(self.registry.getCounts(), {})

    def test_types_that_nobody_declares_are_pruned_as_the_registry_says(self):
        ids = self.makeRuns(2 * SPILL, 'unknown')
        self.clock.advance(15 * DAY)
        self.prune()
        self.assertEqual(self.left(ids), [])

    def test_every_finished_state_counts(self):
        declareWorker('work', lambda worker: None, keep=SPILL)
        failed = self.makeRuns(SPILL, state=FAILED, apart=1.0)
        good = self.makeRuns(SPILL, apart=1.0)
        self.prune()
        self.assertEqual(self.left(failed + good), good)
        self.assertConsistent()

    def test_age_is_that_of_the_finish(self):
        with self.oneLane():
            runs = [self.registry.addRun('work') for _ in range(SPILL)]
            transaction.commit()
            self.clock.advance(20 * DAY)
            for run in runs:
                self.registry.finish(run, SUCCEEDED, RunSucceededEvent)
            transaction.commit()
        ids = [run.id for run in runs]
        self.prune()
        self.assertEqual(self.left(ids), ids)

    def test_unfinished_runs_are_never_pruned(self):
        declareWorker('work', lambda worker: None, keep=0, keep_days=0.0)
        with self.oneLane():
            ids = []
            for number in range(4 * SPILL):
                ids.append(self.makeRun(
                    state=None if number % 3 == 0 else SUCCEEDED))
            transaction.commit()
        waiting = ids[::3]
        self.registry.get(waiting[0]).claim('process', BEGIN, False)
        self.clock.advance(1000 * DAY)
        self.prune()
        self.assertEqual(set(waiting) - set(self.left(ids)), set())
        # What stands in the head of the finishes stays as well.
        self.assertLess(len(self.left(ids)), len(waiting) + SPILL)
        self.assertConsistent()

    def test_what_stands_in_a_head_is_left_to_a_later_turn(self):
        declareWorker('work', lambda worker: None, keep=0)
        with self.oneLane():
            ids = [self.makeRun() for _ in range(SPILL + 5)]
            transaction.commit()
        self.prune()
        self.assertEqual(self.left(ids), ids[SPILL:])
        with self.oneLane():
            ids += [self.makeRun() for _ in range(SPILL - 5)]
            transaction.commit()
        self.prune()
        self.assertEqual(self.left(ids), [])
        self.assertConsistent()

    def test_head_that_nobody_writes_any_more_is_pruned_too(self):
        with self.oneLane():
            ids = [self.makeRun() for _ in range(SPILL + 5)]
            transaction.commit()
        self.clock.advance(13.9 * DAY)
        self.prune()
        self.assertEqual(self.left(ids), ids)
        self.clock.advance(0.2 * DAY)
        self.prune()
        self.assertEqual(self.left(ids), [])
        self.assertConsistent()

    def test_of_too_many_those_in_an_idle_head_go_first(self):
        declareWorker('work', lambda worker: None, keep=2 * SPILL)
        with self.oneLane():
            old = [self.makeRun() for _ in range(5)]
            transaction.commit()
        self.clock.advance(pruner.IDLE + 1)
        with mock.patch('cipher.background.store.lanepool.LanePool._choose',
                        lambda pool, registry, txn: registry.lanes[2]):
            young = [self.makeRun() for _ in range(2 * SPILL)]
            transaction.commit()
        self.prune()
        self.assertEqual((self.left(old), self.left(young)), ([], young))
        self.assertConsistent()

    def test_last_run_of_a_service_stays(self):
        # It tells whether a person stopped it.
        ids = self.makeRuns(2 * SPILL)
        state = mock.Mock(run=(1, int(ids[3].split('-')[1])))
        self.clock.advance(100 * DAY)
        with mock.patch.object(
                type(self.registry), 'services', {'work': state},
                create=True):
            self.registry.__dict__.pop('services')
            self.prune()
            self.assertEqual(self.left(ids), [ids[3]])
        self.registry._p_invalidate()


class BatchTests(PrunerTests):

    def test_one_commit_removes_at_most_a_batch(self):
        declareWorker('work', lambda worker: None, keep=0)
        number = BATCH * 2 + 6 * SPILL
        ids = self.makeRuns(number - number % SPILL)
        before = len(ids)
        commits = 0
        while self.left(ids):
            self.pruner.prune(self.connection)
            transaction.begin()
            left = len(self.left(ids))
            self.assertLessEqual(before - left, BATCH)
            before = left
            commits += 1
            self.assertConsistent()
            self.assertLess(commits, 10)
        self.assertEqual(commits, 3)
        self.assertFalse(self.pruner.prune(self.connection))

    def test_pages_go_on_where_they_were(self):
        ids = self.makeRuns(10 * SPILL, apart=1.0)
        for states in (), (SUCCEEDED,):
            page = self.registry.listRuns(states=states, limit=SPILL)
            self.registry.keep -= 1
            rest = self.registry.listRuns(
                states=states, limit=1000, before=page.older)
            self.assertEqual([status.id for status in rest.items],
                             ids[:-SPILL][::-1])
        self.registry.keep = 5 * SPILL
        self.prune()
        for states in (), (SUCCEEDED,):
            page = self.registry.listRuns(states=states, limit=SPILL)
            rest = self.registry.listRuns(
                states=states, limit=1000, before=page.older)
            self.assertEqual([status.id for status in rest.items],
                             ids[5 * SPILL:-SPILL][::-1])

    def test_what_is_pruned_leaves_nothing_in_the_database(self):
        declareWorker('work', lambda worker: None, keep=0)
        self.makeRuns(SPILL)
        self.prune()
        self.db.pack()
        few = len(self.db.storage)
        self.makeRuns(50 * SPILL)
        self.prune()
        self.prune()   # the places of empty chunks go at the next look
        self.db.pack()
        self.assertLess(len(self.db.storage), few + 10)

    def test_claims_of_runs_that_are_over_are_dropped(self):
        for number in range(3):
            self.registry.submit(
                'work', input=None, unique='type')
            self.registry.submit('other', unique='type')
        transaction.commit()
        self.assertEqual(len(self.registry.unique_keys), 2)
        run, = [self.registry.get(status.id) for status
                in self.registry.listRuns(types=['work']).items]
        self.registry.finish(run, SUCCEEDED, RunSucceededEvent)
        self.pruneClaims()
        # A start may claim the same at this very moment.
        self.assertEqual(len(self.registry.unique_keys), 2)
        self.clock.advance(STALE_FOR)
        self.pruneClaims()
        self.assertEqual(list(self.registry.unique_keys), [('other', b'')])

    def test_claim_of_a_run_that_is_gone_is_dropped(self):
        self.registry.unique_keys['work', b''] = 1, 999
        self.pruneClaims()
        self.clock.advance(STALE_FOR)
        self.pruneClaims()
        self.assertEqual(len(self.registry.unique_keys), 0)

    def test_two_processes_do_not_remove_twice_the_excess(self):
        self.registry.keep = 3 * SPILL
        self.makeRuns(3 * SPILL, apart=1.0)
        with mock.patch('cipher.background.store.lanepool.LanePool._choose',
                        lambda pool, registry, txn: registry.lanes[2]):
            for _ in range(3 * SPILL):
                self.makeRun()
                self.clock.advance(1.0)
            transaction.commit()
        other = self.makePruner([2])
        own = self.makePruner([1])
        manager = transaction.TransactionManager()
        connection = self.db.open(transaction_manager=manager)
        self.addCleanup(connection.close)
        # The other one has counted when the first one commits.
        manager.begin()
        registry = connection.get(self.registry._p_oid)
        pruner._prune_registry(registry, [registry.lanes[2]], BATCH)
        own.prune(self.connection)
        with self.assertRaises(ConflictError):
            manager.commit()
        manager.abort()
        other.prune(self.connection)
        transaction.begin()
        self.assertEqual(self.registry.getCounts(),
                         {'work': {SUCCEEDED: 3 * SPILL}})

    def test_lanes_of_others_are_left_alone(self):
        declareWorker('work', lambda worker: None, keep=0)
        ids = self.makeRuns(3 * SPILL)
        self.pruner = self.makePruner([2])
        self.prune()
        self.assertEqual(self.left(ids), ids)

    def test_turn_waits_for_its_time(self):
        declareWorker('work', lambda worker: None, keep=0)
        ids = self.makeRuns(SPILL)
        with mock.patch(
                'cipher.background.runtime.maintenance.pruner.time'
                '.monotonic') as now:
            now.return_value = 0.0
            self.pruner = self.makePruner([1])
            self.pruner.turn(self.connection)
            transaction.begin()
            self.assertEqual(self.left(ids), ids)
            now.return_value = pruner.INTERVAL
            self.assertFalse(self.pruner.turn(self.connection))
            transaction.begin()
            self.assertEqual(self.left(ids), [])


class DisturbingTests(PrunerTests):
    """The pruner at the same moment as work and starts."""

    layer = Long

    def setUp(self):
        super().setUp()
        del self.registry.lanes[2]
        transaction.commit()
        self.manager = transaction.TransactionManager()
        self.elsewhere = self.db.open(self.manager)
        self.addCleanup(self.elsewhere.close)
        self.addCleanup(self.manager.abort)

    def begin(self):
        """Begin a transaction elsewhere; return the registry there."""
        self.manager.begin()
        return self.elsewhere.get(self.registry._p_oid)

    def count(self):
        """Return (what is in the head of births, of finishes) of lane 1."""
        lane = self.registry.lanes[1]
        return len(lane.births.recent), len(list(lane.finishes.inRecent()))

    def fill(self, births, finishes):
        """Let so many entries of lane 1 be recent."""
        while self.count() != (births, finishes):
            run = self.registry.addRun('work')
            self.assertEqual(run.lane, 1)
            if self.count()[1] != finishes:
                self.registry.finish(run, SUCCEEDED, RunSucceededEvent)
        transaction.commit()

    def pruneNow(self):
        """Prune, seeing all."""
        transaction.begin()
        self.pruner.prune(self.connection)
        transaction.begin()

    def test_start_that_spills(self):
        declareWorker('work', lambda worker: None, keep=10)
        self.makeRuns(6 * SPILL)
        self.fill(SPILL - 1, 3)
        there = self.begin()
        # A user's request: it has begun, and commits after the pruner.
        self.assertEqual(there.start('work').lane, 1)
        for _ in range(3):
            self.pruneNow()
        self.assertEqual(self.registry.getCounts()['work'][SUCCEEDED], 10)
        self.manager.commit()

    def test_job_that_spills_as_it_ends(self):
        declareWorker('work', lambda worker: None, keep=10)
        self.makeRuns(6 * SPILL)
        self.fill(3, SPILL - 1)
        there = self.begin()
        run = next(run for run in there.lanes[1].births.walk()
                   if run.state == PENDING)
        there.finish(run, SUCCEEDED, RunSucceededEvent)
        self.assertEqual(there.checkOut().lane.number, 1)
        for _ in range(3):
            self.pruneNow()
        self.manager.commit()

    def test_request_that_began_before_the_lane_was_tidied_up(self):
        """It writes another lane, whose last change it sees."""
        declareWorker('work', lambda worker: None, keep=10)
        self.makeRuns(6 * SPILL)
        self.fill(SPILL - 1, SPILL - 1)
        there = self.begin()
        there.getCounts()   # its snapshot is that of now
        for _ in range(3):
            self.pruneNow()
        self.assertEqual(len(self.registry.lanes[1].births.chunks),
                         len([run for run in self.registry.lanes[1]
                              .births.chunks.values() if run.entries]))
        there.start('work')
        self.manager.commit()

    def test_job_of_more_than_an_hour(self):
        """Its lane looks as if nobody wrote it."""
        pool = getPool(self.db, self.registry._p_oid)
        number = pool.becomeWriter(self.registry, 1)[0]
        self.registry.keep = 2
        transaction.commit()
        self.assertTrue(pool.reserve())   # as a thread of the executor does
        for _ in range(9):
            self.assertEqual(self.makeRun().partition('-')[0], str(number))
            transaction.commit()
        run_id = self.makeRun(state=None)
        transaction.commit()
        there = self.begin()
        there.lanes[number].finishes._p_activate()
        self.clock.advance(pruner.IDLE + 100)
        self.registry.keep_days = 0.0
        transaction.commit()
        in_another_thread(self.pruneNow)
        there.finish(there.findRun(run_id), SUCCEEDED, RunSucceededEvent)
        self.manager.commit()

    def test_removal_by_an_administrator(self):
        """It writes no head that starts write."""
        ids = self.makeRuns(SPILL)
        ids.append(self.makeRun())
        transaction.commit()
        for run_id in ids[0], ids[-1]:
            there = self.begin()
            self.assertEqual(there.start('work').lane, 1)
            self.registry.remove(run_id)
            transaction.commit()
            self.manager.commit()
        transaction.begin()
        self.assertEqual(self.left(ids), ids[1:-1])

    def test_it_loads_little_of_types_with_nothing_to_prune(self):
        declareWorker('work', lambda worker: None, keep=10 ** 9,
                      keep_days=365.0)
        declareWorker('other', lambda worker: None, keep_days=1.0)
        self.makeRuns(300 * SPILL)
        with self.oneLane():
            self.makeRun('other')
            transaction.commit()
        for _ in range(2):
            self.connection.cacheMinimize()
            loaded = []
            load = type(self.connection._storage).load
            with mock.patch.object(
                    type(self.connection._storage), 'load',
                    lambda storage, oid: (loaded.append(oid),
                                          load(storage, oid))[1]):
                self.pruneNow()
            self.assertLess(len(loaded), 100)

    def test_it_goes_on_where_it_ended_among_others_that_stay(self):
        declareWorker('work', lambda worker: None, keep=10 ** 9)
        declareWorker('other', lambda worker: None, keep=5)
        number = 100
        with self.oneLane():
            for _ in range(number * SPILL):
                self.makeRun()
                self.makeRun('other')
            transaction.commit()
        self.prune()
        self.assertEqual(self.registry.getCounts()['other'][SUCCEEDED], 5)
        with self.oneLane():
            for _ in range(2 * SPILL):
                self.makeRun('other')
            transaction.commit()
        chunks_seen = []
        unpack = type(self.registry.lanes[1].finishes)._unpack

        def counted(finishes, *args):
            chunks_seen.append(1)
            return unpack(finishes, *args)

        self.pruner = self.makePruner(self.registry.lanes)   # knows nothing
        with mock.patch.object(
                type(self.registry.lanes[1].finishes), '_unpack', counted):
            self.pruneNow()
        self.assertLess(len(chunks_seen), 20)

    def test_what_stands_in_a_head_is_not_passed_for_ever(self):
        """Though older than where the walk stopped, in another lane."""
        declareWorker('work', lambda worker: None, keep=3 * SPILL)
        self.registry.lanes[2] = Lane(2)
        transaction.commit()
        self.makeRuns(SPILL, apart=1.0)
        with self.oneLane():
            old = [self.makeRun() for _ in range(5)]   # in its head
            transaction.commit()
        self.clock.advance(100.0)
        with mock.patch('cipher.background.store.lanepool.LanePool._choose',
                        lambda pool, registry, txn: registry.lanes[2]):
            for _ in range(4 * SPILL):
                self.makeRun()
                self.clock.advance(1.0)
            transaction.commit()
        self.prune()
        self.assertEqual(self.left(old), old)
        with self.oneLane():
            for _ in range(SPILL - 5):
                self.makeRun()
            transaction.commit()
        self.prune()
        self.assertEqual(self.left(old), [])

    def test_it_keeps_up_with_many(self):
        """Between two full looks it removes what is far too much."""
        declareWorker('work', lambda worker: None, keep=1000)
        most = 0
        with mock.patch(
                'cipher.background.runtime.maintenance.pruner.time') as time:
            time.monotonic.return_value = 0.0
            self.pruner = self.makePruner(self.registry.lanes)
            for second in range(0, 60, 4):
                time.monotonic.return_value = float(second)
                self.clock.advance(4.0)
                self.makeRuns(27 * SPILL)   # 108 a second
                transaction.begin()
                while self.pruner.turn(self.connection):
                    pass
                transaction.begin()
                most = max(most, self.registry.getCounts()['work'][SUCCEEDED])
        self.assertLessEqual(most, 1000 + pruner.SLACK + 2 * 27 * SPILL)


def in_another_thread(function):
    """Call *function* in a thread of its own; raise what it raises."""
    with ThreadPoolExecutor(1) as executor:
        executor.submit(function).result(60)
