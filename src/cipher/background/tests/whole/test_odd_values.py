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
"""Whatever is stored in a run: each page and each list shows it."""
import json
from fractions import Fraction

import transaction
from zope.component.interfaces import ISite

from cipher.background.events import RunFailedEvent
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerRun
from cipher.background.store.run import _FIELDS
from cipher.background.store.run import RunDetails
from cipher.background.store.run import _RunState
from cipher.background.tests.support.addresses import findPages
from cipher.background.tests.support.browser import PATH
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.sites import SiteTests


#: What may stand in the place of anything, by an accident.
ODD = [
    0, 50, -1, 1.5, float('nan'), float('inf'), 1e300, -1e300,
    10 ** 300, 10 ** 5000, True, '', 'odd',
    'a\0\ud800', b'bytes', (), (1,), (1, 2), (1, 2, 3), ('a', 'b'),
    ('a', 'b', 'c'), (None, None, None), (None,) * 5, ('a',) * 5, [], [1, 2],
    {}, {'a': 1}, {1: 2, None: 3, 'a': object}, {1, 2}, object, 1j,
    ((1, 2), (3, 4)), Fraction(1, 3), ValueError('odd')]

#: Where a run is, what it is and what its process does with it: written by
#: the framework, and never with a value of anybody else.
PLACE = {
    'lane', 'serial', 'stored_state', 'type', 'is_removed', 'merged_starts'}

#: What pages may be asked beside nothing, by name.
_LISTS = ['q=nobody', 'order=slowest', 'order=oldest', 'state=failed',
          'state=pending', 'state=unresolved', 'type=plain', 'by=test.admin']
QUERIES = {
    'runs.html': _LISTS, 'runs.json': _LISTS, 'runs.csv': _LISTS,
    'start.html': ['type=publish', 'type=odd', 'type=plain'],
    'bulk.html': ['all=stop', 'all=retry', 'all=remove']}

#: Answers to a GET that are not a page: it leads on, asks for more, or there
#: is nothing there; it is for POST only; a run is in the wrong state.
OTHERWISE = 303, 400, 404, 405, 409


def findPaths(*run_ids):
    """Return the path of each page that is registered, from the root."""
    paths = ['/@@' + name for name in findPages(ISite)]
    below = [(PATH, IWorkerRegistry)] + [
        ('%s/%s' % (PATH, run_id), IWorkerRun) for run_id in run_ids]
    for path, kind in below:
        for name in findPages(kind):
            paths.append('%s/%s' % (path, name))
            paths += ['%s/%s?%s' % (path, name, query)
                      for query in QUERIES.get(name, ())
                      if kind is IWorkerRegistry]
    return paths


def assertAllPagesWork(test, hint, *run_ids):
    """Assert that no page of *test* fails, and that most are shown."""
    shown = set()
    for path in findPaths(*run_ids):
        response = test.get(path)
        if path.endswith('/health.json') and response.status_int == 503:
            test.assertIs(response.json['ok'], False)   # it shows problems
            continue
        test.assertIn(response.status_int, (200, *OTHERWISE),
                      '%s: %s' % (path, hint))
        if response.status_int == 200:
            shown.add(path.partition('?')[0].rpartition('/')[2])
            if response.content_type.endswith('json'):
                json.loads(response.text, parse_constant=test.fail)
    test.assertLessEqual(
        {'index.html', 'index.json', 'runs.html', 'runs.json', 'runs.csv',
         'types.html', 'types.json', 'schedules.html', 'processes.html',
         'processes.json', 'journal.html', 'journal.json', 'start.html',
         'bulk.html', 'token.json', '@@removeBackground.html',
         *(['log.txt', 'stop.html'] if run_ids else [])}, shown, hint)


class ReaderTests(BrowserTests):

    assertAllPagesWork = assertAllPagesWork

    def makeOdd(self, odd):
        """Return a run that waits and one that is finished, all odd."""
        waits = self.registry.start('plain')
        finished = self.registry.start('plain')
        self.registry.finish(finished, FAILED, RunFailedEvent)
        for run in waits, finished:
            for name in set(_FIELDS) - PLACE:
                setattr(run, name, odd)
        transaction.commit()
        return [waits, finished]

    def forget(self, runs):
        """Let what is odd about *runs* be so no longer."""
        for run in runs:
            for name in set(_FIELDS) - PLACE:
                setattr(run, name, 1.0 if name == 'created_at' else
                        getattr(_RunState, name))
        transaction.commit()

    def test_any_value_in_each_field_of_a_run_is_shown(self):
        for number, odd in enumerate(ODD):
            with self.subTest(number=number):
                runs = self.makeOdd(odd)
                try:
                    self.assertAllPagesWork(
                        'value %d' % number, *[run.id for run in runs])
                finally:
                    transaction.abort()
                    self.forget(runs)

    def test_any_value_in_the_details_is_shown(self):
        for number, odd in enumerate(ODD):
            with self.subTest(number=number):
                run = self.registry.start('publish', title='A')
                details = RunDetails()
                details.traceback = details.log = odd
                details.history = odd
                self.registry.finish(
                    run, SUCCEEDED, RunSucceededEvent, details=details)
                run.input = odd
                transaction.commit()
                self.assertAllPagesWork('value %d' % number, run.id)
                details.history = (odd, (odd,) * 8)
                details.left_out = run.waited = odd
                transaction.commit()
                self.assertAllPagesWork('value %d' % number, run.id)

    def test_any_value_in_what_people_asked_for_is_shown(self):
        run = self.registry.start('plain')
        self.registry.runSchedule('nightly')
        for number, odd in enumerate(ODD):
            with self.subTest(number=number):
                self.registry.stops[run.id] = odd
                self.registry.pauses['plain'] = odd
                state = self.registry.schedules['nightly']
                state.pause = state.last_run = odd
                state.last_at = state.next_at = odd
                transaction.commit()
                self.assertAllPagesWork('value %d' % number, run.id)
                state.pause = None
                transaction.commit()
                self.assertAllPagesWork('value %d' % number, run.id)

    def test_state_that_is_none_counts_as_failed(self):
        run = self.registry.start('plain')
        for odd in (17, -1, 'odd', None, True):
            run.stored_state = odd
            transaction.commit()
            self.assertEqual(run.state, FAILED)
            self.assertAllPagesWork(repr(odd), run.id)


class ParentTests(SiteTests):

    def test_run_that_is_kept_does_not_lose_its_parent(self):
        run = self.registry.addRun('plain')
        transaction.commit()
        run = self.registry.get(run.id)
        run._p_deactivate()
        self.assertIs(run.__parent__, self.registry)
        self.connection.cacheMinimize()
        run.state
        self.assertIs(run.__parent__, self.registry)

    def test_run_of_no_registry_has_none(self):
        run = self.registry.addRun('plain')
        self.registry.finish(run, SUCCEEDED, RunSucceededEvent)
        transaction.commit()
        self.registry.remove(run.id)
        transaction.commit()
        run._p_deactivate()
        self.assertIsNone(run.__parent__)
