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
"""The page of one worker type."""
import html

import transaction
from zope.component import getGlobalSiteManager

from cipher.background.events import RunInterruptedEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import IRunFailedEvent
from cipher.background.interfaces import ITrigger
from cipher.background.registry.triggers import Trigger
from cipher.background.tests.support.browser import BASE
from cipher.background.tests.support.browser import BrowserTests


PAGE = 'type.html?name=plain'


class TestTypePage(BrowserTests):

    def test_figures_charts_and_runs(self):
        self.makeFailed()
        waiting = self.makeRun()
        running = self.makeRunning(progress=(3, 7, 'Printing'))
        page = html.unescape(self.get(PAGE).text)
        for expected in ('1 of 1', '100 %', waiting.id, running.id, '3 of 7',
                         'Duration', 'Durations of 14 days', '<polyline',
                         'Attempts', 'Pause…', 'start.html?type=plain',
                         'data-poll="/++background++/type.json?name=plain"'):
            self.assertIn(expected, page)
        data = self.get('type.json?name=plain').json
        self.assertEqual(len(data['hours']), 24)
        self.assertEqual(len(data['days']), 14)
        self.assertEqual(data['day']['counts'], {FAILED: 1})
        self.assertAlmostEqual(data['day']['took_half'], 5.0, 0)
        self.assertEqual({run['id'] for run in data['runs']},
                         {waiting.id, running.id})
        self.assertEqual((data['running'], data['waiting']), ('1', '1'))

    def test_a_type_without_runs(self):
        page = self.get(PAGE).text
        self.assertIn('Nothing runs or waits.', page)
        self.assertNotIn('<polyline', page)

    def test_interrupted_runs_did_not_fail(self):
        self.makeFailed()
        run = self.makeRunning()
        self.registry.finish(run, INTERRUPTED, RunInterruptedEvent)
        transaction.commit()
        self.assertEqual(
            self.get('type.json?name=plain').json['day']['text']['failed'],
            '1 of 2')
        kind, = [one for one in self.get('types.json').json['items']
                 if one['name'] == 'plain']
        self.assertIn('50', kind['text']['failure_rate'])

    def test_span_of_the_charts(self):
        self.makeFailed()
        self.assertIn('runs an hour', self.get(PAGE).text)
        page = self.get(PAGE + '&days=14').text
        self.assertIn('runs in 24 hours', page)
        self.assertRegex(page, r'aria-current="true" href="[^"]*days=14"')
        # Anything else is the usual span.
        for days in 'x', '-1', '1e9', '%00':
            self.assertIn('runs an hour', self.get(
                PAGE + '&days=' + days).text)

    def test_unknown_type_is_a_message_in_place(self):
        for name in '?name=none', '', '?name=', '?name=a&name=b', (
                '?name=%22%3E%3Csvg+onload=alert(1)%3E'), '?name=%ed%a0%80':
            for path in 'type.html', 'type.json':
                with self.subTest(path + name):
                    answer = self.get(path + name)
                    self.assertEqual(answer.status_int, 404)
                    self.assertIn('There is no worker type', answer.text)
                    if path == 'type.html':
                        self.assertNotIn('<svg onload', answer.text)

    def test_pause_and_resume_lead_back(self):
        browser = self.browser()
        browser.open(BASE + '/' + PAGE)
        browser.getControl(name='reason').value = 'too loud'
        browser.getControl(name='pause').click()
        self.assertEqual(browser.url, BASE + '/' + PAGE)
        self.assertIn('too loud', browser.contents)
        browser.getControl(name='resume').click()
        self.assertEqual(browser.url, BASE + '/' + PAGE)
        self.assertNotIn('too loud', browser.contents)

    def test_viewers_see_no_buttons(self):
        page = self.get(PAGE, 'viewer').text
        self.assertNotIn('csrf_token', page)
        self.assertNotIn('start.html', page)

    def test_links_lead_to_it(self):
        run = self.makeFailed()
        self.assertIn('type.html?name=plain', self.get('types.html').text)
        self.assertIn('type.html?name=plain', self.get(run.id).text)

    def test_triggers_are_listed(self):
        trigger = Trigger('plain')
        self.assertTrue(ITrigger.providedBy(trigger))
        getGlobalSiteManager().registerHandler(trigger, (IRunFailedEvent,))
        self.addCleanup(getGlobalSiteManager().unregisterHandler, trigger,
                        (IRunFailedEvent,))
        self.assertIn('IRunFailedEvent', self.get(PAGE).text)
