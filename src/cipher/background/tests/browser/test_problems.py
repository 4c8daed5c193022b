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
"""What is wrong, and why a run waits, seen in a real browser."""
import re

from cipher.background.tests.demo.test_browser import BrowserTestCase


PAGES = '/++background++/'
THREADS = 4   # of the demo


class ProblemTests(BrowserTestCase):

    def post(self, path, **data):
        """Send the form of a page with what *data* says."""
        demo = self.layer.demo
        token = demo.readToken(PAGES + 'start.html?type=flaky')
        return demo.read(PAGES + path, data={**data, 'csrf_token': token})

    def seeText(self, selector, text):
        """Wait until that is shown; the page is not loaded anew."""
        self.page.locator(selector).filter(
            has_text=re.compile(text)).first.wait_for()
        self.assertTrue(self.page.evaluate('window.notReloaded'))

    def goTo(self, path):
        self.go(PAGES + path)
        self.page.evaluate('window.notReloaded = true')

    def hold(self):
        """Let all threads of the demo be at work until the end of the test.
        """
        demo = self.layer.demo
        held = set()
        for _ in range(THREADS):
            demo.start('stubborn', seconds='0')
            run = demo.waitForRun(
                lambda run: run['type'] == 'stubborn'
                and run['state'] == 'running' and run['id'] not in held)
            held.add(run['id'])
            self.addCleanup(self.post, run['id'] + '/stop.html', stop='1')

    def startWaiting(self):
        """Return the id of a run that cannot begin."""
        demo = self.layer.demo
        demo.start('flaky', chance='0')
        return demo.waitForRun(lambda run: run['type'] == 'flaky'
                               and run['state'] == 'pending')['id']

    def test_reason_and_problem_come_and_go(self):
        self.goTo('index.html')
        self.hold()
        run_id = self.startWaiting()
        self.post('thresholds.html', busy_after='1')
        self.addCleanup(self.post, 'thresholds.html', busy_after='900')
        # Of other tests a run may wait for longer.
        self.seeText('.cb-problems li', 'All threads are busy: run [-0-9]+ '
                     'has waited ')
        self.post('types.html', pause='1', name='flaky')
        self.addCleanup(self.post, 'types.html', resume='1', name='flaky')
        self.seeText('.cb-problems li',
                     '"flaky" has been paused for .*: [0-9]+ run')
        self.goTo('runs.html?type=flaky&state=pending')
        self.seeText('.cb-row-note', 'Waits: its worker type is paused.')
        self.goTo(run_id + '/index.html')
        self.seeText('.cb-note', 'Waits: its worker type is paused.')
        self.post('types.html', resume='1', name='flaky')
        self.seeText('.cb-note', 'Waits: all threads are busy.')

    def test_thresholds_are_set_by_a_person(self):
        self.goTo('index.html')
        self.page.get_by_role('link', name='Problem thresholds').click()
        self.page.get_by_label('All threads busy, in seconds').fill('77.5')
        self.addCleanup(self.post, 'thresholds.html', busy_after='900')
        self.page.get_by_role('button', name='Save').click()
        self.page.wait_for_url('**/index.html')
        self.page.get_by_role('link', name='Problem thresholds').click()
        self.assertEqual('77.5', self.page.get_by_label(
            'All threads busy, in seconds').input_value())
