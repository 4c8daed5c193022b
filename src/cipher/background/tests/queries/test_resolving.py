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
from unittest import mock

import transaction
from zope.component import getGlobalSiteManager
from zope.component import provideUtility

from cipher.background.declaring import makeWorkerType
from cipher.background.events import RunFailedEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import ORDERS
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import IWorkerType
from cipher.background.queries import resolving
from cipher.background.tests.support.finishedruns import LookTests


def _work(worker, **input):
    """Declared; nothing carries it out."""


class UnresolvedTests(LookTests):

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

    def declareRenamed(self):
        """Declare that the type ``new`` was called ``old`` once."""
        for worker_type in makeWorkerType('new', handler=_work,
                                          former=['old']):
            provideUtility(worker_type, IWorkerType, worker_type.name)

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
