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
"""Lists of runs: every filter, every order, and what they cost."""
import itertools
import unicodedata
from unittest import mock

import transaction
from zope.authentication.interfaces import IAuthentication
from zope.component import getGlobalSiteManager
from zope.component import provideUtility
from zope.interface.verify import verifyObject
from zope.principalregistry.principalregistry import PrincipalRegistry

from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import NEWEST
from cipher.background.interfaces import OLDEST
from cipher.background.interfaces import ORDERS
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import SLOWEST
from cipher.background.interfaces import STATES
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import WAITED
from cipher.background.interfaces import IRunPage
from cipher.background.interfaces import IRunStatus
from cipher.background.queries import paging
from cipher.background.store.finishes import SPILL
from cipher.background.tests.support.finishedruns import NOW
from cipher.background.tests.support.finishedruns import LookTests
from cipher.background.tests.support.layers import Long
from cipher.background.tests.support.sites import declare


def idsOf(runs):
    return [run.id for run in runs]


class FilterTests(LookTests):

    def test_page_and_its_items_provide_their_interfaces(self):
        self.makeRuns(2)
        page = self.registry.listRuns(limit=1)
        verifyObject(IRunPage, page)
        verifyObject(IRunStatus, page.items[0])
        self.assertEqual((page.looked_at, page.is_cut), (1, False))

    def test_starters_restrict(self):
        runs = {name: self.makeRuns(20, starter=name)
                for name in (None, 'u.anna', 'u.ben')}
        self.assertEqual(set(self.ids(starters=['u.anna'])),
                         set(idsOf(runs['u.anna'])))
        self.assertEqual(len(self.ids(starters=['u.anna', 'u.ben'])), 40)
        self.assertEqual(self.ids(starters=['u.an']), [])

    def provide(self, authentication):
        provideUtility(authentication, IAuthentication)
        self.addCleanup(getGlobalSiteManager().unregisterUtility,
                        authentication, IAuthentication)

    def test_starters_are_found_by_their_titles(self):
        principals = PrincipalRegistry()
        for id, title in (('u.anna', 'Zo\N{LATIN SMALL LETTER E WITH ACUTE} '
                           'Anna'), ('u.ben', 'Ben, not u.anna'),
                          ('Zo', 'Somebody else')):
            principals.definePrincipal(id, title, login=id)
        self.provide(principals)
        runs = {name: self.makeRun(starter=name).id
                for name in ('u.anna', 'u.ben', 'u.gone', 'Zo', None)}
        for word, expected in (
                # What is an id stands for that one alone.
                ('u.anna', ['u.anna']), ('Zo', ['Zo']),
                ('anna', ['u.anna', 'u.ben']), ('ZOE\u0301', ['u.anna']),
                ('somebody', ['Zo']), ('u.gone', ['u.gone']),
                ('gone', []), ('nobody', [])):
            with self.subTest(word):
                self.assertEqual(set(self.ids(starters=[word])),
                                 {runs[name] for name in expected})

    def test_authentication_that_is_out_of_order_takes_no_list_away(self):
        class Broken:
            def getPrincipal(self, id):
                raise RuntimeError(id)

        self.provide(Broken())
        run = self.makeRun(starter='u.anna')
        self.assertEqual(self.ids(starters=['u.anna']), [run.id])
        self.assertEqual(self.ids(starters=['anna']), [])

    def test_text_is_found_composed_or_not(self):
        title = 'R\xe9indexer \u1e9b\u0323 \uac00'
        for stored, sought in itertools.product(
                ('NFC', 'NFD'), repeat=2):
            with self.subTest(stored=stored, sought=sought):
                run = self.makeRun(
                    title=unicodedata.normalize(stored, title))
                self.assertIn(run.id, self.ids(
                    text=unicodedata.normalize(sought, title).upper()))

    def test_contexts_restrict_without_a_load_of_any(self):
        one, two = self.addDocument('one'), self.addDocument('two')
        runs = []
        for document in one, two, None:
            for _ in range(SPILL):
                runs.append(self.registry.start('work', document))
        transaction.commit()
        with self.countLoads() as loaded:
            self.assertEqual(set(self.ids(contexts=[one])),
                             set(idsOf(runs[:SPILL])))
        self.assertNotIn(one, loaded)
        self.assertNotIn(two, loaded)
        status, = self.registry.listRuns(contexts=[two], limit=1).items
        self.assertEqual(status.context_oid, two._p_oid)

    def test_object_that_is_not_stored_is_context_of_nothing(self):
        self.makeRuns(3)
        self.assertEqual(self.ids(contexts=[type(self.addDocument())()]), [])

    def test_text_is_sought_in_all_that_the_list_shows(self):
        declared = self.makeRun('work')
        titled = self.makeRun('other', title='Straße nach Žirmūnai')
        told = self.makeRun('other', values={
            'progress': (1, 2, 'Rendering page one')})
        failed = self.makeRun('other', FAILED, values={
            'error': ('ZeroDivisionError', 'no such Printer')})
        self.makeRun('other', None, starter='printer')
        for text, expected in (
                ('WORK', [declared]), ('žIRMŪNAI', [titled]),
                ('STRASSE', [titled]), ('page ONE', [told]),
                ('such printer', [failed]), ('zerodivision', [failed]),
                ('  work ', [declared]), ('one two', [])):
            with self.subTest(text=text):
                self.assertEqual(self.ids(text=text), idsOf(expected))

    def test_text_finds_the_title_that_the_type_was_declared_with(self):
        declare('<background:worker name="pub" title="Veröffentlichen" '
                'handler="builtins.print" />')
        run = self.makeRun('pub')
        self.assertEqual(self.ids(text='VERÖFFENT'), [run.id])

    def test_empty_text_is_no_filter(self):
        runs = self.makeRuns(2)
        for text in None, '', '  ':
            self.assertEqual(self.ids(text=text), idsOf(runs[::-1]))

    def test_bounds_hold_for_the_creation_and_for_the_finish(self):
        # Each finishes 100 s after its creation.
        runs = []
        for n in range(3 * SPILL):
            self.clock.now = NOW + n
            run = self.registry.addRun('work')
            self.clock.now = NOW + n + 100
            self.registry.finish(run, SUCCEEDED, RunSucceededEvent,
                                 started_at=NOW + n)
            runs.append(run)
        transaction.commit()
        for order in NEWEST, OLDEST:
            for states, shift in ((), 0), (FINISHED_STATES, 100):
                with self.subTest(order=order, states=states):
                    found = self.ids(
                        states=states, order=order, since=NOW + shift + 5,
                        until=NOW + shift + 40, limit=7)
                    expected = idsOf(runs[5:40])
                    self.assertEqual(found, expected if order == OLDEST
                                     else expected[::-1])
        self.assertEqual(
            sorted(self.ids(order=SLOWEST, since=NOW + 105, until=NOW + 140)),
            sorted(idsOf(runs[5:40])))

    def test_what_makes_no_sense_is_refused(self):
        for options in ({'order': 'random'}, {'order': None},
                        {'since': float('nan')}, {'until': float('inf')}):
            with self.subTest(options):
                with self.assertRaises(ValueError) as caught:
                    self.registry.listRuns(**options)
                self.assertIn('expected', str(caught.exception))

    def test_key_of_another_order_is_refused(self):
        self.makeRuns(30)
        keys = {order: self.registry.listRuns(
            states=FINISHED_STATES, order=order, limit=5).older
            for order in ORDERS}
        for order in ORDERS:
            for other in ORDERS:
                if other != order:
                    with self.assertRaises(ValueError):
                        self.registry.listRuns(
                            states=FINISHED_STATES, order=order,
                            before=keys[other])

    def test_limit_is_one_at_the_least(self):
        self.makeRuns(3)
        for limit in 0, -5:
            self.assertEqual(
                len(self.registry.listRuns(limit=limit).items), 1)

    def test_every_combination_agrees_with_a_look_at_all(self):
        runs = []
        for n in range(150):
            self.clock.advance(0.5)
            runs.append(self.makeRun(
                'work' if n % 7 else 'other',
                (None, *FINISHED_STATES)[n % 5], took=n * 37 % 41,
                starter='u%d' % (n % 3),
                values={'waited': float(n * 17 % 43)} if n % 5 else ()))
        transaction.commit()
        for states in (), (PENDING,), (FAILED,), (FAILED, PENDING), (
                FAILED, STOPPED), STATES:
            for types in (), ('other',), ('none',):
                for starters in (), ('u1',):
                    for order in ORDERS:
                        self.check(runs, states, types, starters, order)

    def check(self, runs, states, types, starters, order):
        is_finish = order in (SLOWEST, WAITED) or (
            states and not set(states) - set(FINISHED_STATES))
        expected = [
            run for run in runs
            if (not states or run.state in states)
            and (not types or run.type in types)
            and (not starters or run.starter in starters)
            and (order not in (SLOWEST, WAITED) or run.isFinished())]

        def key(run):
            at = run.finished_at if is_finish else run.created_at
            if order == SLOWEST:
                return run.finished_at - run.started_at, at
            if order == WAITED:
                return run.waited, at
            return at

        with self.subTest(states=states, types=types, starters=starters,
                          order=order):
            self.assertEqual(
                self.ids(states=states, types=types, starters=starters,
                         order=order, limit=7),
                idsOf(sorted(expected, key=key, reverse=order != OLDEST)))


class CostTests(LookTests):
    """A few thousand runs, and how many objects are loaded."""

    layer = Long

    NUMBER = 200 * SPILL
    RARE = 3

    def setUp(self):
        super().setUp()
        self.runs = []
        for n in range(self.NUMBER):
            self.clock.advance(1.0)
            is_rare = n % (self.NUMBER // self.RARE) == 100
            self.runs.append(self.makeRun(
                'rare' if is_rare else 'work',
                FAILED if n % 500 == 250 else SUCCEEDED, took=n % 100,
                starter='u%d' % (n % 10)))
            if not n % 5:
                # So that lanes are changed now and then.
                transaction.commit()
        self.waiting = self.makeRuns(20, state=None)
        for lane in self.registry.lanes.values():
            waiting = [run.serial for run in self.waiting
                       if run.lane == lane.number]
            lane.bookmark.low = min(
                waiting, default=lane.births.next_serial)
        transaction.commit()

    def assertLoads(self, limit, number=None, **options):
        """Assert that a page loads at most *limit* objects; return it."""
        with self.countLoads() as loaded:
            page = self.registry.listRuns(limit=20, **options)
        self.assertLessEqual(len(loaded), limit)
        if number is not None:
            self.assertEqual(len(page.items), number)
        return page

    def test_no_page_scans(self):
        middle = NOW + self.NUMBER // 2
        for limit, number, options in (
                (100, 20, {}),
                (100, 20, {'order': OLDEST}),
                (100, 20, {'states': [PENDING]}),
                (100, 20, {'states': [PENDING], 'order': OLDEST}),
                (100, 0, {'states': [RUNNING]}),
                (120, 20, {'states': [SUCCEEDED]}),
                (120, 20, {'states': [SUCCEEDED], 'order': OLDEST}),
                (250, 6, {'states': [FAILED]}),
                (250, 6, {'states': [FAILED], 'order': OLDEST}),
                (200, 20, {'types': ['work']}),
                (250, self.RARE, {'types': ['rare']}),
                (250, self.RARE, {'types': ['rare'], 'order': OLDEST}),
                (200, self.RARE, {'types': ['rare'], 'states': [SUCCEEDED]}),
                (100, 0, {'types': ['rare'], 'states': [STOPPED]}),
                (100, 0, {'types': ['unknown']}),
                (200, 20, {'since': middle, 'order': OLDEST}),
                (200, 20, {'until': middle}),
                (200, 20, {'until': middle, 'states': [SUCCEEDED]}),
                (100, 0, {'until': NOW}), (150, 0, {'since': NOW * 2})):
            with self.subTest(options):
                page = self.assertLoads(limit, number, **options)
                self.assertFalse(page.is_cut)

    def test_next_pages_cost_as_much_as_the_first(self):
        for options in ({}, {'order': OLDEST}, {'states': [SUCCEEDED]},
                        {'states': [SUCCEEDED], 'order': OLDEST}):
            before = None
            for _ in range(10):
                page = self.assertLoads(250, before=before, **options)
                before = page.older

    def test_slowest_loads_the_runs_that_it_shows(self):
        with self.countLoads() as loaded:
            page = self.registry.listRuns(order=SLOWEST, limit=20)
        self.assertEqual(len(page.items), 20)
        self.assertEqual({status.took for status in page.items}, {99.0})
        self.assertLessEqual(len([obj for obj in loaded if type(obj) is type(
            self.runs[0])]), 20)

    def test_slowest_looks_at_the_last_finishes_only(self):
        with mock.patch.object(paging, 'SCAN_LIMIT', 50):
            page = self.registry.listRuns(order=SLOWEST, limit=20)
            self.assertTrue(page.is_cut)
            shown = self.ids(order=SLOWEST, limit=20)
        self.assertEqual(sorted(shown), sorted(idsOf(self.runs[-50:])))

    def test_slowest_of_some_reads_no_more_than_slowest_of_all(self):
        for options in {'types': ['work']}, {'states': [FAILED]}:
            with self.subTest(options), mock.patch.object(
                    paging, 'SCAN_LIMIT', 50), self.countLoads() as loaded:
                page = self.registry.listRuns(
                    order=SLOWEST, limit=20, **options)
                self.assertTrue(page.is_cut)
                # The runs of the page, and chunks of each lane.
                self.assertLessEqual(len(loaded), 100)

    def test_slowest_of_a_rare_type_finds_all(self):
        with mock.patch.object(paging, 'SCAN_LIMIT', SPILL * self.RARE * 2):
            page = self.registry.listRuns(order=SLOWEST, types=['rare'])
        self.assertEqual((len(page.items), page.is_cut), (self.RARE, False))

    def test_slowest_looks_for_a_limited_time_only(self):
        with mock.patch.object(paging, 'TIME_LIMIT', 0.0):
            page = self.registry.listRuns(order=SLOWEST)
        self.assertTrue(page.is_cut)
        self.assertLess(page.looked_at, 100)

    def test_search_is_cut_by_the_number_and_goes_on(self):
        with mock.patch.object(paging, 'SCAN_LIMIT', 300):
            page = self.registry.listRuns(text='no such text')
            self.assertEqual((page.items, page.is_cut), ([], True))
            # The runs of a chunk are passed over together.
            self.assertIn(page.looked_at, range(300 - SPILL + 1, 301))
            self.assertIsNotNone(page.older)
            self.assertEqual(self.ids(starters=['u3'], limit=50),
                             idsOf(self.runs[3::10][::-1]))

    def test_search_is_cut_by_the_time_and_comes_forward_all_the_same(self):
        with mock.patch.object(paging, 'TIME_LIMIT', 0.0):
            first = self.registry.listRuns(text='no such text')
            self.assertEqual((first.looked_at, first.is_cut), (1, True))
            second = self.registry.listRuns(text='no such text',
                                            before=first.older)
            self.assertTrue(second.is_cut)
            self.assertNotEqual(second.older, first.older)

    def test_search_that_ends_is_not_cut(self):
        page = self.registry.listRuns(text='no such text')
        self.assertEqual((page.items, page.older, page.is_cut),
                         ([], None, False))
        self.assertEqual(page.looked_at, self.NUMBER + 20)

    def test_search_leaves_the_cache_as_it_was(self):
        with self.countLoads():
            self.registry.listRuns()
            before = self.connection._cache.cache_non_ghost_count
            page = self.registry.listRuns(text='no such text')
            self.assertEqual(page.looked_at, self.NUMBER + 20)
            after = self.connection._cache.cache_non_ghost_count
        # Trees, and some chunks of each lane; 3,200 runs were loaded.
        self.assertLess(after - before, 150)

    def test_search_does_not_ghost_what_was_loaded_or_changed_before(self):
        loaded, changed = self.runs[5], self.runs[6]
        loaded.type, changed.title
        changed.title = 'changed'
        self.assertEqual(self.ids(text='no such text'), [])
        self.assertIs(loaded._p_changed, False)
        self.assertIs(changed._p_changed, True)

    def test_storage_behind_a_network_is_asked_by_the_chunk(self):
        asked = []
        self.connection.cacheMinimize()
        self.connection.prefetch = asked.append
        self.addCleanup(delattr, self.connection, 'prefetch')
        self.registry.listRuns(text='no such text')
        self.assertGreater(len(asked), 150)
        self.assertGreater(sum(map(len, asked)), self.NUMBER * 0.9)
        del asked[:]
        self.connection.cacheMinimize()
        self.registry.listRuns(text='no such text', states=FINISHED_STATES)
        self.assertGreater(sum(map(len, asked)), self.NUMBER * 0.9)
