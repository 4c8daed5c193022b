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
"""How a run does and what belongs to it: `condition`, without a page."""
import unittest
from types import SimpleNamespace

from zope.publisher.browser import TestRequest

from cipher.background.browser.condition import describeFamily
from cipher.background.browser.condition import describeFigures
from cipher.background.browser.condition import describeTrouble
from cipher.background.browser.condition import sayUnmoved
from cipher.background.browser.presentation import Presenter
from cipher.background.interfaces import BY_SCHEDULE
from cipher.background.interfaces import BY_SERVICE
from cipher.background.interfaces import BY_TRIGGER
from cipher.background.interfaces import ELSEWHERE
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.queries.family import Family
from cipher.background.queries.health import Health


NOW = 10000.0


class ConditionTests(unittest.TestCase):

    def setUp(self):
        self.presenter = Presenter('/r', TestRequest())
        self.presenter.now = NOW
        self.data = {
            'state': RUNNING, 'is_finished': False, 'is_unresponsive': False,
            'last_progress': None, 'asked_at': None, 'stop': None,
            'took': 90.0, 'progress_total': None, 'owner': 'app-1:7',
            'text': {'took': '1 min 30 s'}}

    def figures(self, health=None, **data):
        """Return {id: (value, more, health)}."""
        return {one['id']: (one['value'], one['more'], one['health'])
                for one in describeFigures(
                    self.presenter, {**self.data, **data},
                    health or Health())}

    def trouble(self, health=None, **data):
        return describeTrouble(self.presenter, {**self.data, **data},
                               health or Health())


class FiguresTests(ConditionTests):

    def test_only_a_running_run_has_some(self):
        for state in (PENDING, *FINISHED_STATES):
            self.assertEqual(self.figures(state=state), {})

    def test_what_is_unknown_is_left_out(self):
        self.assertEqual(self.figures(), {'took': ('1 min 30 s', '', '')})

    def test_last_progress_and_rate(self):
        self.assertEqual(
            self.figures(Health(rate=0.5), last_progress=NOW - 3)['progress'],
            ('3.0 s ago', '30 a minute', ''))
        self.assertEqual(self.figures(
            Health(stalled_since=NOW - 720),
            last_progress=NOW - 720)['progress'],
            ('12 min 0 s ago', '', 'bad'))

    def test_a_clock_that_is_behind_gives_no_negative_span(self):
        self.assertEqual(
            self.figures(last_progress=NOW + 5)['progress'][0], '0 ms ago')

    def test_duration_beside_what_is_usual(self):
        for most, kind in (100.0, ''), (60.0, 'bad'):
            self.assertEqual(
                self.figures(Health(usual=30.0, usual_most=most))['took'],
                ('1 min 30 s', 'usually 30 s', kind))

    def test_time_left_is_known_or_said_to_be_unknown(self):
        for left, text in (None, 'not known'), (0.0, '0 ms'), (61.0,
                                                               '1 min 1 s'):
            self.assertEqual(self.figures(
                Health(left=left), progress_total=7)['left'], (text, '', ''))

    def test_stop_that_was_requested(self):
        for is_unresponsive, kind in (False, ''), (True, 'bad'):
            for principal, who in ('bob', 'bob'), (None, 'the system'):
                self.assertEqual(
                    self.figures(stop={'principal': principal},
                                 asked_at=NOW - 60,
                                 is_unresponsive=is_unresponsive)['stop'],
                    ('1 min 0 s ago', 'by ' + who, kind))

    def test_last_heartbeat_with_its_process(self):
        self.assertEqual(self.figures(Health(beat_at=NOW - 2))['beat'],
                         ('2.0 s ago', 'app-1:7', ''))
        self.assertEqual(self.figures(
            Health(beat_at=NOW - 2), owner=None)['beat'], ('2.0 s ago', '',
                                                           ''))


class TroubleTests(ConditionTests):

    def test_a_run_that_goes_on_or_has_ended_has_none(self):
        self.assertIsNone(self.trouble())
        self.assertIsNone(self.trouble(
            Health(stalled_since=NOW - 9), is_finished=True,
            is_unresponsive=True))

    def test_a_run_without_progress(self):
        found = self.trouble(Health(stalled_since=NOW - 720))
        self.assertEqual(found['title'], 'No progress for 12 min 0 s.')
        self.assertIn('ask it to stop', found['wait'])
        self.assertIn('app-1:7', found['drain'])
        self.assertEqual(
            (found['beside'], found['others']),
            ('You see no other run in this process.', []))

    def test_a_run_that_does_not_react_is_the_worse_news(self):
        found = self.trouble(Health(stalled_since=NOW - 720),
                             is_unresponsive=True, asked_at=NOW - 60)
        self.assertIn('requested 1 min 0 s ago', found['title'])
        self.assertNotIn('ask it to stop', found['wait'])

    def test_price_of_a_drain(self):
        others = [SimpleNamespace(id='1-%d' % number, title='<b>\n%d' % number)
                  for number in (2, 3)]
        found = self.trouble(Health(
            stalled_since=NOW - 9, neighbours=others[:1]))
        self.assertEqual(found['beside'], '1 other run is in this process:')
        found = self.trouble(Health(stalled_since=NOW - 9, neighbours=others),
                             owner=None)
        self.assertEqual(found['beside'],
                         '2 other runs are in this process:')
        self.assertEqual(found['others'][0], {
            'id': '1-2', 'url': '/r/1-2/index.html', 'title': '<b> 2 1-2'})
        self.assertIn('?', found['drain'])

    def test_position_is_unmoved_after_some_seconds(self):
        for since, said in ((None, ''), (NOW - 4, ''), (NOW + 9, ''),
                            (NOW - 240, 'Position unchanged for 4 min 0 s')):
            self.assertEqual(sayUnmoved(
                self.presenter, Health(unmoved_since=since)), said)


class FamilyTests(ConditionTests):

    def cause(self, kind, name=None, run_id=None):
        family = Family(SimpleNamespace(kind=kind, name=name, run_id=run_id))
        return describeFamily(self.presenter, family)['cause']

    def test_each_cause_has_words_and_links(self):
        for kind, name, run_id, text, url in (
                (BY_SCHEDULE, 'night\nly', None, 'Schedule night ly',
                 '/r/schedules.html'),
                (BY_TRIGGER, 'IAdded', None,
                 'Trigger, at the event IAdded', None),
                (BY_SERVICE, None, None, 'Service: it is kept running', None),
                (ELSEWHERE, None, None, 'A run of another registry', None),
                (None, None, '1-7', 'The work of a run', None),
                (None, None, None, 'A run that is no longer shown', None)):
            self.assertEqual(self.cause(kind, name, run_id), {
                'text': text, 'url': url, 'run_id': run_id,
                'run_url': run_id and '/r/1-7/index.html'})

    def test_a_run_that_somebody_started_has_no_cause(self):
        self.assertEqual(describeFamily(self.presenter, Family()), {
            'cause': None, 'children': [], 'started': '', 'retries': []})

    def test_children_that_are_not_shown_are_counted(self):
        self.presenter.describeRun = lambda status: {
            **dict.fromkeys(('id', 'url', 'title', 'state', 'created_at',
                             'text', 'result'), status)}
        for started, said in (2, ''), (12, '12 runs in all'):
            found = describeFamily(self.presenter, Family(
                children=['a', 'b'], started=started, retries=['c']))
            self.assertEqual(found['started'], said)
            self.assertEqual([one['id'] for one in found['children']],
                             ['a', 'b'])
            # A relative shows no more than its row needs.
            self.assertNotIn('result', found['retries'][0])
