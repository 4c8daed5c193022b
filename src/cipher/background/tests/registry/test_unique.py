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
"""Unique starts: a run that is pending stands for further ones."""
import threading

import transaction
from BTrees.OOBTree import OOBTree
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite
from zope.interface import Interface
from zope.schema import TextLine

from cipher.background.events import RunInterruptedEvent
from cipher.background.interfaces import BY_CONTEXT
from cipher.background.interfaces import BY_INPUT
from cipher.background.interfaces import BY_TYPE
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import NOT_UNIQUE
from cipher.background.registry.uniqueness import STALE_FOR
from cipher.background.registry.uniqueness import staleKeys
from cipher.background.testing import runPending
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import SiteTests
from cipher.background.work.worker import stateOf


class IInput(Interface):
    """Input of the work."""

    title = TextLine(title='Title')


class UniqueTests(SiteTests):
    """Which start gives which run; nothing runs."""

    def declare(self, unique=BY_TYPE, handler=lambda worker, **input: None):
        declareWorker('work', handler, unique=unique, schema=IInput)

    def start(self, context=None, title='one', **values):
        run = self.registry.submit('work', context, {'title': title},
                                   **values)
        transaction.commit()
        return run

    def test_not_unique(self):
        self.declare(NOT_UNIQUE)
        self.assertIsNot(self.start(), self.start())
        self.assertEqual(len(self.registry.unique_keys), 0)

    def test_by_type(self):
        self.declare(BY_TYPE)
        run = self.start()
        self.assertIs(self.start(self.addDocument(), 'two'), run)
        declareWorker('other', lambda worker: None, unique=BY_TYPE)
        self.assertIsNot(self.registry.start('other'), run)

    def test_by_context(self):
        self.declare(BY_CONTEXT)
        one, two = self.addDocument('one'), self.addDocument('two')
        run = self.start(one)
        self.assertIs(self.start(one, 'two'), run)
        self.assertIsNot(self.start(two), run)
        without = self.start()
        self.assertIsNot(without, run)
        self.assertIs(self.start(), without)

    def test_by_input(self):
        self.declare(BY_INPUT)
        document = self.addDocument()
        run = self.start(document)
        self.assertIs(self.start(document), run)
        self.assertIsNot(self.start(document, 'two'), run)
        self.assertIsNot(self.start(), run)

    def test_start_may_say_otherwise(self):
        self.declare(BY_TYPE)
        run = self.start()
        self.assertIsNot(self.start(unique=NOT_UNIQUE), run)
        self.declare(NOT_UNIQUE)
        run = self.start(unique=BY_TYPE)
        self.assertIs(self.start(unique=BY_TYPE), run)

    def test_second_start_in_one_transaction(self):
        self.declare()
        run = self.registry.start('work', title='one')
        self.assertIs(self.registry.start('work', title='two'), run)
        transaction.abort()
        self.assertEqual(len(self.registry.unique_keys), 0)
        self.assertEqual(self.registry.getCounts(), {})

    def test_start_that_is_rolled_back_leaves_no_claim(self):
        self.declare()
        savepoint = transaction.savepoint()
        lost = self.registry.start('work', title='one')
        savepoint.rollback()
        run = self.registry.start('work', title='one')
        transaction.commit()
        self.assertIsNot(run, lost)
        self.assertIs(self.start(), run)

    def test_run_that_is_put_off_stands_for_another(self):
        self.declare()
        run = self.start(delay=100.0)
        self.assertIs(self.start(), run)

    def test_claim_does_not_outlive_its_run(self):
        def fail(worker, **input):
            raise ValueError

        def succeed(run):
            self.declare()
            runPending(self.site)

        def break_down(run):
            self.declare(handler=fail)
            with self.assertRaises(ValueError):
                runPending(self.site)

        def stop(run):
            self.registry.requestStop(run.id)

        def interrupt(run):
            self.registry.finish(run, INTERRUPTED, RunInterruptedEvent)

        def claim(run):
            run.claim('a process', 1.0, False)

        def go_on(run):
            run.cursor = 'half of it is done'

        def remove(run):
            self.registry.lanes[run.lane].births.drop(run.serial, True)

        for end in (succeed, break_down, stop, interrupt, claim, go_on,
                    remove):
            with self.subTest(end.__name__):
                self.declare()
                run = self.start()
                self.assertIs(self.start(), run)
                end(run)
                transaction.commit()
                other = self.start()
                self.assertIsNot(other, run)
                self.assertIs(self.start(), other)
                stop(other)
                transaction.commit()

    def test_stale_claims_are_found_few_at_a_time(self):
        self.declare(BY_INPUT)
        runs = [self.start(title='%d' % n) for n in range(7)]
        for run in runs[1:]:
            self.registry.requestStop(run.id)
        seen = {}
        self.setClock(1000.0)
        found, looks = self.findStale(seen)
        self.assertEqual(found, [])
        self.setClock(1000.0 + STALE_FOR)
        found, looks = self.findStale(seen)
        self.assertGreaterEqual(looks, 2)
        self.assertEqual(
            {self.registry.unique_keys[key] for key in found},
            {(run.lane, run.serial) for run in runs[1:]})
        self.assertEqual(seen, {})

    def findStale(self, seen):
        found, bucket, looks = [], 0, 0
        while bucket is not None:
            stale, bucket = staleKeys(self.registry, 3, bucket, seen)
            found += stale
            looks += 1
        return found, looks


class Other:
    """Somebody else with a connection and a transaction of his own."""

    def __init__(self, test):
        self.manager = transaction.TransactionManager()
        self.connection = test.db.open(self.manager)
        test.addCleanup(self.connection.close)
        test.addCleanup(self.manager.abort)
        self.registry = self.connection.get(test.registry._p_oid)
        self.counter = self.connection.get(test.counter._p_oid)
        self.manager.begin()


class RaceTests(LiveTests):
    """Real threads on a FileStorage; each side wins."""

    def setUp(self):
        super().setUp()
        self.seen = []

    def declare(self, **values):
        def work(worker):
            self.seen.append(getSite()['counter'].value)
            if len(self.seen) == 1:
                self.gate.stop()

        declareWorker('work', values.pop('work', work), unique=BY_TYPE,
                      **values)

    def startUnseen(self):
        """Start the run a second time, as if another process did."""
        get_live = self.runtime.getLive
        self.runtime.getLive = lambda oid, run_id: None
        try:
            self.begin()
            run = self.registry.start('work')
            self.counter.value += 1
            return run.id
        finally:
            self.runtime.getLive = get_live

    def test_run_that_is_seen_to_work_stands_for_nothing(self):
        self.declare()
        run_id = self.start('work')
        self.gate.waitReached()
        other = self.start('work')
        self.assertNotEqual(other, run_id)
        self.gate.open()
        self.waitFinished(run_id)
        self.waitFinished(other)

    def checkStartWins(self):
        """Start it again while it works; that start commits first."""
        run_id = self.start('work')
        self.gate.waitReached()
        self.assertEqual(self.startUnseen(), run_id)
        transaction.commit()
        self.gate.open()
        status = self.waitFinished(run_id)
        self.assertEqual((status.state, status.attempts), ('succeeded', 1))
        # The work was done again, with what the starter changed.
        self.assertEqual(self.seen, [0, 1])

    def test_the_start_wins(self):
        self.declare()
        self.checkStartWins()

    def test_the_work_wins(self):
        self.declare()
        run_id = self.start('work')
        self.gate.waitReached()
        self.assertEqual(self.startUnseen(), run_id)
        other = Other(self)
        self.gate.open()

        def is_finished():
            other.manager.begin()
            return other.registry.get(run_id).isFinished()

        waitUntil(is_finished)
        with self.assertRaises(ConflictError):
            transaction.commit()
        transaction.abort()
        second = self.startUnseen()
        transaction.commit()
        self.assertNotEqual(second, run_id)
        self.waitFinished(second)
        self.assertEqual(self.seen, [0, 1])

    def test_the_start_wins_and_the_work_fails(self):
        # Perhaps it would not have, on what the starter changed.
        def work(worker):
            self.seen.append(getSite()['counter'].value)
            if len(self.seen) == 1:
                self.gate.stop()
                raise ValueError('not like that')

        self.declare(work=work)
        self.checkStartWins()

    def test_the_start_wins_over_a_claim(self):
        # The claim commits after the start: it is done again.
        enter = self.runtime.enter

        def enter_and_wait(live):
            entered = enter(live)
            if not self.gate._opened.is_set():
                self.gate.stop()
            return entered

        self.runtime.enter = enter_and_wait
        self.declare(work=lambda worker: self.seen.append(
            getSite()['counter'].value), on_interrupt=FAIL)
        run_id = self.start('work')
        self.gate.waitReached()
        self.assertEqual(self.startUnseen(), run_id)
        transaction.commit()
        self.gate.open()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertEqual(self.seen, [1])

    def test_the_claim_wins(self):
        self.runtime.shutdown()
        self.declare(on_interrupt=FAIL)
        run_id = self.start('work')
        self.begin()
        run = self.registry.start('work')
        self.assertEqual(run.id, run_id)
        other = Other(self)
        other.registry.get(run_id).claim('another', 1.0, True)
        other.manager.commit()
        with self.assertRaises(ConflictError):
            transaction.commit()
        transaction.abort()
        self.assertNotEqual(self.registry.start('work').id, run_id)

    def test_start_between_two_steps_repeats_what_has_no_cursor(self):
        def work(worker):
            self.seen.append(getSite()['counter'].value)
            if len(self.seen) == 1:
                stateOf(worker).commitAndGoOn = go_on
            worker.checkpoint()

        def go_on():
            transaction.commit()
            if len(self.seen) == 1:
                self.gate.stop()
            transaction.begin()

        self.declare(work=work)
        run_id = self.start('work')
        self.gate.waitReached()
        self.assertEqual(self.startUnseen(), run_id)
        transaction.commit()
        self.gate.open()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertEqual(self.seen, [0, 1])

    def commitPairs(self, number, start):
        """Let two start at a time, so often; return how many conflicted."""
        self.runtime.shutdown()
        pair = Other(self), Other(self)
        conflicts = 0
        for index in range(number):
            for which, other in enumerate(pair):
                other.manager.begin()
                start(other, 2 * index + which)
            for other in pair:
                try:
                    other.manager.commit()
                except TransientError:
                    conflicts += 1
                    other.manager.abort()
        return conflicts

    def test_starts_that_get_the_run_that_waits_do_not_conflict(self):
        self.declare()
        self.runtime.shutdown()
        waiting = self.start('work')

        def start(other, number):
            self.assertEqual(other.registry.start('work').id, waiting)

        self.assertEqual(self.commitPairs(20, start), 0)
        self.begin()
        self.assertEqual(self.registry.get(waiting).countMergedStarts(), 40)

    def test_different_keys_do_not_conflict(self):
        declareWorker('work', lambda worker, **input: None, unique=BY_INPUT,
                      schema=IInput)

        def start(other, number):
            other.registry.start('work', title='%d' % number)

        self.assertEqual(self.commitPairs(400, start), 0)
        self.begin()
        self.assertEqual(self.registry.getCounts(),
                         {'work': {'pending': 800}})

    def test_pruner_does_not_conflict_with_other_keys(self):
        declareWorker('work', lambda worker, **input: None, unique=BY_INPUT,
                      schema=IInput)
        self.runtime.shutdown()
        for number in range(60):
            self.start('work', title='old %d' % number)
        keys = list(self.registry.unique_keys)

        def start(other, number):
            if number % 2:
                del other.registry.unique_keys[keys[number // 2]]
            else:
                other.registry.start('work', title='%d' % number)

        self.assertEqual(self.commitPairs(60, start), 0)

    def test_two_starters_at_a_time(self):
        self.runtime.shutdown()
        self.declare()
        for _ in range(2):   # without a claim, and with one that is stale
            one, two = Other(self), Other(self)
            run = one.registry.start('work')
            two.registry.start('work')
            one.manager.commit()
            with self.assertRaises(ConflictError):
                two.manager.commit()
            two.manager.begin()
            self.assertEqual(two.registry.start('work').id, run.id)
            two.manager.commit()
            two.registry.requestStop(run.id)
            two.manager.commit()
        self.begin()
        self.assertEqual(self.registry.getCounts(),
                         {'work': {'stopped': 2}})

    def test_what_any_starter_changed_is_seen_in_the_end(self):
        self.begin()
        self.site.wishes, self.site.granted = OOBTree(), OOBTree()
        for name in 'abcd':
            self.site.wishes[name] = OOBTree({'value': 0})
        transaction.commit()

        def work(worker):
            site = getSite()
            wishes = {name: wish['value']
                      for name, wish in site.wishes.items()}
            worker.wait(0.002)
            site.granted.update(wishes)

        self.declare(work=work)
        ids = set()

        def start(name):
            other = Other(self)
            site = other.registry.getSite()
            for value in range(1, 16):
                while True:
                    other.manager.begin()
                    site.wishes[name]['value'] = value
                    run_id = other.registry.start('work').id
                    try:
                        other.manager.commit()
                        break
                    except TransientError:
                        other.manager.abort()
                ids.add(run_id)

        threads = [threading.Thread(target=start, args=name)
                   for name in 'abcd']
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * LIMIT)
        for run_id in ids:
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.begin()
        self.assertEqual(dict(self.site.granted), dict.fromkeys('abcd', 15))
