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
"""Searches with digests find what a look at each run finds."""
import itertools
import random
from unittest import mock

import transaction
from persistent.mapping import PersistentMapping
from zope.interface import Interface
from zope.schema import Password
from zope.schema import Text

from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import NEWEST
from cipher.background.interfaces import OLDEST
from cipher.background.interfaces import ORDERS
from cipher.background.interfaces import SLOWEST
from cipher.background.interfaces import WAITED
from cipher.background.queries import digests
from cipher.background.queries import paging
from cipher.background.queries import visibility
from cipher.background.queries.digests import getDigests
from cipher.background.queries.filtering import Filter
from cipher.background.queries.snapshot import Snapshot
from cipher.background.store.lane import Lane
from cipher.background.store.lane import momentOf
from cipher.background.store.run import WorkerRun
from cipher.background.tests.support.finishedruns import NOW
from cipher.background.tests.support.finishedruns import LookTests
from cipher.background.tests.support.layers import Long
from cipher.background.tests.support.live import declareWorker
from cipher.background.util.reference import refer


class IInput(Interface):
    path = Text(title='Path', required=False)
    key = Password(title='Key', required=False)


class DigestTests(LookTests):

    layer = Long

    number = 300
    texts = [None, 'zebra', 'Straße 9', 'no such text', 'Special',
             'giraffe 4 17', 'lion', 'a\ntext', 'other']
    starters = [(), ('anna',), ('anna', 'bert'), ('nobody',)]
    bounds = [{}, {'since': NOW - 200}, {'until': NOW - 100},
              {'since': NOW - 250.5, 'until': NOW - 50.5}]

    def setUp(self):
        super().setUp()
        declareWorker('titled', print, title='A special type', schema=IInput)
        self.random = random.Random(7)
        self.documents = [PersistentMapping() for _ in range(3)]
        self.connection.root()['documents'] = self.documents
        for document in self.documents:
            self.connection.add(document)
        self.references = [refer(document, self.connection)
                           for document in self.documents[:2]]
        for number in range(2, 5):
            self.registry.lanes[number] = Lane(number)
        self.runs = []
        for position in range(self.number):
            self.bear(NOW - self.number + position)
        transaction.commit()
        self.clock.advance(digests.SETTLED * 2)

    def bear(self, at):
        """Make a run that was created *at*, and finish most of them."""
        rand = self.random
        lane = self.registry.lanes[rand.choice([1, 2, 3])]
        run = WorkerRun(
            rand.choice(['work', 'other', 'titled']), lane.number,
            lane.births.next_serial, at,
            starter=rand.choice([None, 'anna', 'bert', 'carl']),
            input=rand.choice([None, {
                'path': ['Giraffe 4', 17], 'key': 'lion', 'odd': 'tiger'}]),
            title=rand.choice([None, None, 'Zebra crossing', 'Horse']),
            reference=rand.choice([None, *self.references]))
        lane.births.add(run)
        self.runs.append(run)
        if rand.random() < 0.97:
            state = rand.choice(FINISHED_STATES)
            took = rand.choice([None, 0.5, rand.random() * 9])
            run.change('running')
            run.change(
                state, finished_at=at + 1,
                waited=rand.choice([None, 0.25, rand.random() * 99]),
                started_at=None if took is None else at + 1 - took,
                progress=rand.choice([None, (1, 2, 'STRASSE 9'),
                                      (1, 2, 'a\ntext')]),
                error=rand.choice([None, ('ValueError', 'a zebra')]))
            self.registry.lanes[rand.choice([3, 4])].finishes.add(run)
        return run

    def filters(self):
        """Yield the arguments of `listRuns`, without the order."""
        for text, starters, bounds, types, states, contexts in (
                itertools.product(
                    self.texts, self.starters, self.bounds,
                    [(), ('work',), ('titled', 'gone')],
                    [(), ('failed', 'pending'), ('failed',)],
                    [(), self.documents[:1], self.documents[2:]])):
            if self.random.random() < 0.05:
                yield dict(text=text, starters=starters, types=types,
                           states=states, contexts=contexts, **bounds)

    def plain(self, order=NEWEST, **options):
        """Return the ids that a look at each run finds, in order."""
        search = Filter(
            Snapshot(self.registry), **{
                'states': (), 'types': (), 'contexts': (), 'starters': (),
                'text': None, 'since': None, 'until': None, **options},
            order=order)
        finished = search.wanted.is_finished
        found = []
        entries = {(entry.lane, entry.serial): entry
                   for lane in self.registry.lanes.values()
                   for entry in lane.finishes.walk()}
        for run in self.runs:
            key = run.lane, run.serial
            entry = entries.get(key)
            if finished and entry is None:
                continue
            moment = entry.key if finished else momentOf(run)
            span = {SLOWEST: entry and entry.took,
                    WAITED: entry and entry.waited}.get(order, 0)
            if span is None:
                continue
            if (search.wanted.hasMoment(moment) and not run.is_removed
                    and search.matches(run)):
                found.append(((span, moment, *key), run.id))
        return [run_id for _, run_id in sorted(
            found, reverse=order != OLDEST)]

    def checkAll(self):
        for number, (options, order) in enumerate(
                itertools.product(self.filters(), ORDERS)):
            with self.subTest(order=order, **options):
                limit = (7, 50, 1000)[number % 3]
                self.assertEqual(
                    self.ids(order=order, limit=limit, **options),
                    self.plain(order, **options))

    def test_all_filters_in_all_orders(self):
        self.checkAll()
        self.assertTrue(getDigests(self.connection)._digests)
        self.assertTrue(getDigests(self.connection)._packed)

    def test_after_removals_and_new_runs(self):
        self.ids(text='nowhere')
        self.ids(text='nowhere', order=SLOWEST)
        for run in self.random.sample(self.runs, 60):
            if run.isFinished():
                run.remove()
        for position in range(40):
            self.bear(self.clock.now + position)
        transaction.commit()
        self.checkAll()

    def test_a_few_digests_are_kept(self):
        with mock.patch.object(digests, 'MOST', 8), mock.patch.object(
                digests, 'MOST_PACKED', 6):
            self.checkAll()
            kept = getDigests(self.connection)
            self.assertLessEqual(len(kept._digests), 8)
            self.assertLessEqual(len(kept._packed), 6)

    def test_a_known_chunk_is_not_loaded(self):
        for order, options in itertools.product(
                (NEWEST, OLDEST), ({'text': 'nowhere'},
                                   {'starters': ['nobody']},
                                   {'contexts': self.documents[2:]},
                                   {'text': 'nowhere', 'types': ['work']})):
            with self.subTest(order=order, **options):
                first = self.registry.listRuns(order=order, **options)
                unfinished = [run for run in self.runs
                              if not run.isFinished()]
                with self.countLoads() as loaded:
                    again = self.registry.listRuns(order=order, **options)
                self.assertEqual(again.looked_at, first.looked_at)
                runs = [ob for ob in loaded if isinstance(ob, WorkerRun)]
                # Only chunks with unfinished runs and the recent ones.
                self.assertLess(len(runs), 16 * (len(unfinished) + 4))
                self.assertLess(len(runs), self.number * 0.8)

    def test_the_key_is_not_that_of_a_run_of_another_type(self):
        self.registry.listRuns(text='nowhere')
        for order in NEWEST, OLDEST:
            with mock.patch.object(paging, 'SCAN_LIMIT', 60):
                page = self.registry.listRuns(
                    text='nowhere', types=['work'], order=order)
            moment = int(page.older[1:].split('-')[0])
            self.assertEqual({run.type for run in self.runs
                              if momentOf(run) == moment}, {'work'})

    def test_longest_loads_only_what_is_on_the_page(self):
        self.registry.listRuns(order=SLOWEST, limit=5)
        with self.countLoads() as loaded:
            self.registry.listRuns(order=SLOWEST, limit=5)
        runs = [ob for ob in loaded if isinstance(ob, WorkerRun)]
        self.assertLessEqual(len(runs), 22)

    def test_a_run_that_is_finished_now_has_no_digest_yet(self):
        self.clock.now = NOW - self.number
        self.ids(text='nowhere')
        self.assertFalse(getDigests(self.connection)._digests)

    def test_a_finish_that_is_aborted_leaves_no_digest(self):
        with mock.patch.object(digests, 'SETTLED', -1e9):
            for run in self.runs:
                if not run.isFinished():
                    run.change('running')
                    run.change('failed', finished_at=self.clock.now,
                               error=('ValueError', 'aborted'))
            self.ids(text='aborted')
            transaction.abort()
            self.checkAll()

    def test_a_title_that_is_declared_later_is_found(self):
        self.assertEqual(self.ids(text='renamed'), [])
        declareWorker('titled', print, title='Renamed')
        self.assertEqual(self.ids(text='renamed', limit=20),
                         self.plain(text='renamed'))
        self.assertNotEqual(self.plain(text='renamed'), [])

    def test_inputs_are_searched_but_not_what_is_masked(self):
        found = self.ids(text='GIRAFFE')
        self.assertEqual(found, [
            run.id for run in reversed(self.runs)
            if run.input and run.type == 'titled'])
        self.assertNotEqual(found, [])
        for _ in range(2):
            self.assertEqual(self.ids(text='lion'), [])
            self.assertEqual(self.ids(text='tiger'), [])
        kept = getDigests(self.connection)._digests.values()
        self.assertTrue(any('giraffe' in digest.inputs for digest in kept))
        self.assertFalse(any('lion' in digest.inputs for digest in kept))

    def test_inputs_are_not_searched_without_the_permission(self):
        self.ids(text='giraffe')
        with mock.patch.object(visibility, 'maySeeDetails',
                               lambda registry: False):
            self.assertEqual(self.ids(text='giraffe'), [])
            self.assertNotEqual(self.ids(text='zebra'), [])

    def test_a_long_text_has_no_digest(self):
        with mock.patch.object(digests, 'TEXT_LIMIT', 10):
            self.ids(text='nowhere')
        self.assertFalse(getDigests(self.connection)._digests)
