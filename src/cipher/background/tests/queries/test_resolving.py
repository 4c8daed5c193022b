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
"""Failures that nobody resolved."""
import itertools
import random
import sys
from types import SimpleNamespace
from unittest import mock

import transaction
from zope.component import getGlobalSiteManager
from zope.component import provideUtility

from cipher.background.declarations.workertype import nameToday
from cipher.background.declaring import makeWorkerType
from cipher.background.events import RunFailedEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import OLDEST
from cipher.background.interfaces import ORDERS
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import IWorkerType
from cipher.background.queries import digests
from cipher.background.queries import resolving
from cipher.background.queries.digests import Digests
from cipher.background.queries.digests import getDigests
from cipher.background.runtime.maintenance.pruner import Pruner
from cipher.background.store.finishes import SPILL
from cipher.background.store.lane import Lane
from cipher.background.store.run import WorkerRun
from cipher.background.tests.support.finishedruns import NOW
from cipher.background.tests.support.finishedruns import LookTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import makeSite
from cipher.background.util.reference import oidOf


def _work(worker, **input):
    """Declared; nothing carries it out."""


class FailureTests(LookTests):

    def setUp(self):
        super().setUp()
        self.documents = [self.addDocument('one'), self.addDocument('two')]

    def make(self, state, type='work', document=None, **input):
        """Return a run that ended a second later than all before."""
        self.clock.advance(1.0)
        reference = self.registry._refer(document)
        return self.makeRun(type, state, reference=reference,
                            input=input or None)

    def unresolved(self, **options):
        transaction.commit()
        return self.ids(unresolved=True, **options)

    def declareRenamed(self, **options):
        """Declare that the type ``new`` was called ``old`` once."""
        for worker_type in makeWorkerType('new', handler=_work,
                                          former=['old'], **options):
            provideUtility(worker_type, IWorkerType, worker_type.name)


class UnresolvedTests(FailureTests):

    def test_failed_and_interrupted_runs_are_listed(self):
        runs = [self.make(state) for state in FINISHED_STATES[1:]
                + FINISHED_STATES[1:]]
        self.assertEqual(
            [run.id for run in reversed(runs) if run.state != STOPPED],
            self.unresolved())

    def test_other_states_that_are_asked_for_have_none(self):
        self.make(FAILED)
        interrupted = self.make(INTERRUPTED)
        self.assertEqual([interrupted.id],
                         self.unresolved(states=[INTERRUPTED]))
        self.assertEqual([], self.unresolved(states=[STOPPED]))

    def test_retry_resolves_as_long_as_it_is_kept(self):
        run = self.make(FAILED)
        again = self.registry.retry(run.id)
        self.assertEqual([], self.unresolved())
        self.registry.requestStop(again.id)
        self.registry.remove(again.id)
        self.assertEqual([run.id], self.unresolved())

    def test_retry_that_fails_stands_for_the_first(self):
        run = self.make(FAILED)
        again = self.registry.retry(run.id)
        self.registry.finish(again, FAILED, RunFailedEvent)
        self.assertEqual([again.id], self.unresolved())

    def test_later_success_of_the_same_resolves(self):
        one, two = self.documents
        for n, (other, is_resolved) in enumerate((
                (dict(document=one, n=1), True),
                (dict(document=two, n=1), False),
                (dict(n=1), False),
                (dict(document=one, n=2), False),
                (dict(document=one), False),
                (dict(type='other', document=one, n=1), False))):
            with self.subTest(n):
                run = self.make(FAILED, document=one, n=1)
                self.make(SUCCEEDED, **other)
                self.assertEqual(run.id not in self.unresolved(), is_resolved)
                self.registry.remove(run.id)

    def test_success_under_a_new_name_of_the_type_resolves(self):
        document = self.documents[0]
        for first, second in ('old', 'new'), ('new', 'old'):
            with self.subTest(first):
                run = self.make(FAILED, first, document, n=1)
                self.make(SUCCEEDED, second, document, n=1)
                self.assertEqual([run.id], self.unresolved())
                self.declareRenamed()
                self.make(SUCCEEDED, second, document, n=2)
                self.assertEqual([], self.unresolved())
                other = self.make(FAILED, first, document, n=3)
                self.assertEqual([other.id], self.unresolved())
                self.assertEqual([other.id], self.unresolved(types=[first]))
                for each in run, other:
                    self.registry.remove(each.id)
                for name in 'old', 'new':
                    getGlobalSiteManager().unregisterUtility(
                        provided=IWorkerType, name=name)

    def test_earlier_success_before_the_clock_was_set_back_does_not(self):
        self.clock.advance(1000.0)
        self.make(STOPPED)
        self.clock.advance(-1000.0)
        self.make(SUCCEEDED)
        run = self.make(FAILED)
        self.assertEqual([run.id], self.unresolved())
        self.make(SUCCEEDED)
        self.assertEqual([], self.unresolved())

    def test_earlier_success_does_not(self):
        self.make(SUCCEEDED)
        run = self.make(FAILED)
        self.assertEqual([run.id], self.unresolved())

    def test_every_order_and_page_agrees_with_a_look_at_all(self):
        chance = random.Random(7)
        runs = [self.make(chance.choice(FINISHED_STATES),
                          chance.choice(['work', 'other']),
                          chance.choice(self.documents),
                          n=chance.randrange(8)) for _ in range(120)]
        expected = set()
        for n, run in enumerate(runs):
            is_same = any(
                later.state == SUCCEEDED and later.type == run.type
                and later.input == run.input
                and later.reference[0].oid == run.reference[0].oid
                for later in runs[n:])
            if run.state in (FAILED, INTERRUPTED) and not is_same:
                expected.add(run.id)
        self.assertTrue(5 < len(expected) < 50, len(expected))
        for order, limit in itertools.product(ORDERS, (3, 1000)):
            with self.subTest(order=order, limit=limit):
                found = self.unresolved(order=order, limit=limit)
                self.assertEqual(len(found), len(set(found)))
                self.assertEqual(set(found), expected)

    def test_what_is_not_found_out_in_time_is_listed(self):
        run = self.make(FAILED)
        self.make(SUCCEEDED)
        with mock.patch.object(resolving, 'TIME_LIMIT', 0.0):
            self.assertEqual([run.id], self.unresolved())
        self.assertEqual([], self.unresolved())

    def test_only_successes_of_types_that_failed_are_loaded(self):
        for _ in range(50):
            self.make(SUCCEEDED, 'other')
        run = self.make(FAILED)
        for _ in range(50):
            self.make(SUCCEEDED, 'other')
        with self.countLoads() as loaded:
            self.assertEqual([run.id], self.unresolved())
        self.assertEqual(1, sum(
            type(obj).__name__ == 'WorkerRun' for obj in loaded))


class KeptWorksTests(FailureTests):
    """What is kept in memory changes no answer."""

    def setUp(self):
        super().setUp()
        self.random = random.Random(11)
        self.runs = []

    def cold(self):
        """Return what a process finds that has just begun."""
        with mock.patch.object(resolving, 'getDigests',
                               lambda jar: Digests()):
            return self.ids(unresolved=True)

    def plain(self):
        """Return what a look at all runs that are left finds."""
        left = [run for run in self.runs if self.registry.getRun(
            run.lane, run.serial) is not None]
        done = {self.workOf(run): run.finished_at for run in sorted(
            left, key=lambda run: run.finished_at) if run.state == SUCCEEDED}
        return {run.id for run in left
                if run.state in (FAILED, INTERRUPTED)
                and run.retried_as is None
                and done.get(self.workOf(run), 0) <= run.finished_at}

    def workOf(self, run):
        return (nameToday(run.type), oidOf(run.reference),
                (run.input or {}).get('n'))

    def settle(self):
        """Fill the last chunk, and let time pass."""
        for _ in range(20):
            self.make(STOPPED)
        self.clock.advance(digests.SETTLED * 2)
        transaction.commit()

    def prune(self):
        pruner = Pruner(SimpleNamespace(note=str), lambda connection: [
            ((self.registry._p_oid, number), lane)
            for number, lane in self.registry.lanes.items()])
        transaction.commit()
        while pruner.prune(self.connection):
            pass
        transaction.begin()

    def countRuns(self):
        """Return the number of runs that the list of unresolved ones loads.
        """
        with self.countLoads() as loaded:
            self.registry.listErrors()
        return sum(isinstance(obj, WorkerRun) for obj in loaded)

    # Generated runs

    def bear(self, rand):
        """Finish one more run; its lanes are picked by chance."""
        self.clock.advance(rand.random() + 0.5)
        lane = self.registry.lanes[rand.choice([1, 2, 3])]
        run = WorkerRun(
            rand.choice(['work', 'other', 'old', 'new']), lane.number,
            lane.births.next_serial, self.clock.now,
            reference=self.registry._refer(
                rand.choice([None, *self.documents])),
            input=rand.choice([None, {'n': rand.randrange(12)}]))
        lane.births.add(run)
        run.change('running')
        run.change(rand.choice([FAILED, INTERRUPTED, STOPPED]
                               if rand.random() < 0.2 else [SUCCEEDED]),
                   finished_at=self.clock.now)
        self.registry.lanes[rand.choice([3, 4])].finishes.add(run)
        self.runs.append(run)

    def actOn(self, rand, run):
        """Remove or retry *run* unless that was done before."""
        if self.registry.get(run.id) is None:
            return
        if rand.random() < 0.5:
            self.registry.remove(run.id)
        elif run.state == FAILED and run.retried_as is None:
            again = self.registry.retry(run.id)
            self.clock.advance(1.0)
            self.registry.finish(
                again, rand.choice([SUCCEEDED, FAILED]), RunFailedEvent)
            self.runs.append(again)

    def test_cold_and_warm_answers_agree(self):
        rand = self.random
        for name in 'old', 'new':
            declareWorker(name, print)
        for number in range(2, 5):
            self.registry.lanes[number] = Lane(number)
        for step in range(14):
            for _ in range(40):
                self.bear(rand)
            for run in rand.sample(self.runs[-200:], 12):
                self.actOn(rand, run)
            if step == 6:
                self.declareRenamed(keep=100)
            if step in (7, 10, 12):
                self.prune()
            if step % 3:
                self.clock.advance(digests.SETTLED * 2)
            transaction.commit()
            with self.subTest(step):
                expected = self.plain()
                self.assertEqual(set(self.ids(unresolved=True)), expected)
                self.assertEqual(set(self.ids(unresolved=True)), expected)
                self.assertEqual(set(self.cold()), expected)
                self.assertEqual(len(expected), sum(
                    group.unresolved
                    for group in self.registry.listErrors().groups))
        self.assertGreater(len(expected), 5)
        self.assertGreater(len(getDigests(self.connection)._works), 10)
        # Some were pruned.
        self.assertLess(self.registry.lanes[3].finishes.chunks.minKey(),
                        max(self.registry.lanes[3].pruned.marks))

    # What is loaded and kept

    def test_successes_are_loaded_once(self):
        failures = [self.make(FAILED, n=n) for n in range(3)]
        for n in range(400):
            self.make(SUCCEEDED, n=n + 2)
        self.settle()
        self.assertGreaterEqual(self.countRuns(), 400)
        self.assertLessEqual(self.countRuns(), len(failures) + 16)
        self.assertEqual(2, sum(group.unresolved for group
                                in self.registry.listErrors().groups))

    def test_a_type_that_fails_later_is_loaded_then(self):
        self.make(FAILED)
        for n in range(100):
            self.make(SUCCEEDED, 'other', n=n)
        self.settle()
        self.assertLess(self.countRuns(), 20)
        failure = self.make(FAILED, 'other', n=7)
        self.make(SUCCEEDED, 'other', n=7)
        self.assertNotIn(failure.id, self.unresolved())

    def test_a_few_chunks_are_kept(self):
        with mock.patch.object(digests, 'MOST_WORKS', 6):
            first = self.make(FAILED, n=5)
            self.make(FAILED)
            for n in range(300):
                self.make(SUCCEEDED, n=n)
            self.settle()
            for _ in range(3):
                self.assertNotIn(first.id, self.unresolved())
                self.assertEqual(1, len(self.unresolved()))
            kept = getDigests(self.connection)._works
            self.assertTrue(0 < len(kept) <= 6, len(kept))

    def test_one_chunk_takes_a_kilobyte(self):
        self.make(FAILED)
        self.make(FAILED, 'other')
        for n in range(200):
            self.make(SUCCEEDED, self.random.choice(['work', 'other']), n=n)
        self.settle()
        self.unresolved()
        kept = getDigests(self.connection)._works
        size = sum(
            sum(map(sys.getsizeof, (oid, value, *value[1:],
                                    *value[2].values())))
            for oid, value in kept.items())
        self.assertGreater(len(kept), 10)
        self.assertLess(size / len(kept), 1000)

    def test_recent_runs_are_not_kept(self):
        self.make(FAILED)
        for n in range(2 * SPILL - 1):
            self.make(SUCCEEDED, n=n)
        self.unresolved()
        kept = getDigests(self.connection)._works
        self.assertEqual(1, len(kept))
        self.clock.advance(digests.SETTLED * 2)
        self.unresolved()
        self.assertEqual(2, len(kept))

    # Removals

    def test_removed_success_does_not_count(self):
        for n in range(3):
            self.runs.append(self.make(FAILED, n=n))
            self.runs.append(self.make(SUCCEEDED, n=n))
        self.settle()
        self.assertEqual([], self.unresolved())
        for n in 2, 3, 5:   # one failure, two successes
            self.registry.remove(self.runs[n].id)
            self.assertEqual(set(self.unresolved()), self.plain())
        self.assertEqual([self.runs[4].id], self.unresolved())

    def test_removal_that_is_aborted_is_forgotten(self):
        failure = self.make(FAILED)
        success = self.make(SUCCEEDED)
        other = self.make(SUCCEEDED, n=1)
        self.settle()
        self.registry.remove(success.id)
        self.assertEqual([failure.id], self.ids(unresolved=True))
        transaction.abort()
        # There are as many removals now as there were then.
        self.registry.remove(other.id)
        for _ in range(2):
            self.assertEqual([], self.unresolved())

    def test_pruning_that_is_aborted_is_forgotten(self):
        self.make(FAILED)
        failure = self.make(FAILED, 'other')
        self.make(SUCCEEDED, 'other')
        self.make(SUCCEEDED)
        self.settle()
        self.assertEqual([], self.unresolved(types=['work']))
        finishes = self.registry.lanes[1].finishes
        [entry] = finishes.walk(types=['other'], states=[SUCCEEDED])
        finishes.drop({entry.key})
        self.assertEqual([failure.id], self.ids(unresolved=True))
        transaction.abort()
        self.assertEqual([], self.unresolved())

    def test_pruned_success_does_not_count(self):
        """Each name of a type has its own number of runs to keep."""
        failure = self.make(FAILED, 'old', n=1)
        for n in range(100):
            self.make(SUCCEEDED, 'new', n=n)
        self.settle()
        self.declareRenamed(keep=40)
        self.assertEqual([], self.unresolved())
        self.prune()
        self.assertEqual([failure.id], self.cold())
        self.assertEqual([failure.id], self.unresolved())

    def test_view_before_a_removal_has_its_own_answer(self):
        failure = self.make(FAILED)
        success = self.make(SUCCEEDED)
        self.settle()
        manager = transaction.TransactionManager()
        connection = self.db.open(transaction_manager=manager)
        self.addCleanup(connection.close)
        self.addCleanup(manager.abort)
        before = connection.get(self.registry._p_oid)
        self.registry.remove(success.id)
        transaction.commit()
        for _ in range(2):
            self.assertEqual([failure.id], self.ids(unresolved=True))
            self.assertEqual((), tuple(before.listRuns(
                unresolved=True).items))

    # Other members of the kind

    def test_registries_have_works_of_their_own(self):
        other = makeSite(self.db, 'Other')[2]
        other = self.connection.get(other._p_oid)
        registries = self.registry, other
        for self.registry in registries:
            self.make(FAILED, n=1)
            self.make(SUCCEEDED, n=int(self.registry is other))
            self.settle()
        for _ in range(2):
            self.assertEqual([1, 0], [
                len(registry.listRuns(unresolved=True).items)
                for registry in registries])

    def makeAhead(self, *first):
        """Make runs while the clock is years ahead; return the first ones.
        """
        self.clock.advance(10 * 366 * 86400.0)
        runs = [self.make(state, n=50) for state in first]
        for n in range(40):
            self.make(SUCCEEDED, n=n)
        self.clock.advance(digests.SETTLED * 2)
        return runs

    def test_finish_of_a_clock_far_ahead_is_of_the_past_again(self):
        before = self.make(FAILED, n=99)
        [ahead] = self.makeAhead(FAILED)
        self.assertEqual([ahead.id, before.id], self.unresolved())
        self.assertTrue(getDigests(self.connection)._works)
        self.clock.now = NOW + 100
        failure = self.make(FAILED, n=3)
        self.settle()
        for _ in range(2):
            self.assertEqual(
                {before.id, ahead.id, failure.id},
                set(self.unresolved(order=OLDEST)))   # reads all at once
        self.make(SUCCEEDED, n=3)
        self.assertNotIn(failure.id, self.unresolved())

    def test_mark_of_a_clock_far_ahead_hides_no_success(self):
        declareWorker('work', print, keep=20)
        self.makeAhead()
        self.prune()
        lane = self.registry.lanes[1]
        self.assertGreater(lane.pruned.markOf('work') / 1e6, NOW + 1000)
        self.clock.now = NOW + 100
        self.make(FAILED, n=3)
        self.make(SUCCEEDED, n=3)
        self.assertEqual([], self.unresolved())
