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
"""What the script does on its own: title, icon, announcements, pieces."""
import base64
import json

from cipher.background.tests.demo.test_browser import BrowserTestCase


BASE = '/++background++/'
LOGIN = 'Basic ' + base64.b64encode(b'admin:admin').decode()
PROBLEM = {'kind': 'stalled', 'text': 'Run 1-1 stands <still>.', 'url': '',
           'label': '', 'stack': '', 'process': '', 'can_adopt': False,
           'can_decide': False}


class ScriptTests(BrowserTestCase):

    def setUp(self):
        super().setUp()
        self.problems = []
        # The answers of the demo, with problems of ours.
        self.page.route('**/index.json', self.answer)

    def fetch(self, route):
        """Return the answer of the demo to the request, whole."""
        answer = route.fetch(headers={'Authorization': LOGIN})
        self.assertEqual(200, answer.status)
        return answer

    def answer(self, route):
        data = self.fetch(route).json()
        data['problems'] = self.problems
        route.fulfill(status=200, content_type='application/json',
                      body=json.dumps(data))

    def poll(self, *problems):
        """Let the page ask at once; it gets these problems."""
        self.problems = [{**PROBLEM, 'id': name, 'text': text}
                         for name, text in problems]
        switch = self.page.get_by_role('switch', name='Live')
        switch.uncheck()
        with self.page.expect_response('**/index.json'):
            switch.check()
        self.page.wait_for_function(
            'number => document.querySelectorAll('
            '"[data-list=problems] > li").length === number',
            arg=len(problems))

    def icon(self):
        return self.page.locator('link[rel=icon]').get_attribute('href')

    def test_title_and_icon_have_the_number_of_problems(self):
        self.go(BASE + 'index.html')
        self.poll()
        calm, title = self.icon(), self.page.title()
        self.assertNotIn('(', title)
        self.poll(('a', 'One'), ('b', 'Two'))
        self.assertEqual('(2) ' + title, self.page.title())
        self.assertIn('alert', self.icon())
        self.poll(('a', 'One'))
        self.assertEqual('(1) ' + title, self.page.title())
        self.poll()
        self.assertEqual((calm, title), (self.icon(), self.page.title()))

    def test_a_new_problem_is_announced_once(self):
        self.go(BASE + 'index.html')
        region = self.page.locator('#cb-new-problems')
        self.assertEqual('status', region.get_attribute('role'))
        self.poll(('a', 'Run 1-1 stands <still>.'))
        self.assertEqual('Run 1-1 stands <still>.', region.text_content())
        # What only changes stays silent; what is new is said alone.
        self.poll(('a', 'Run 1-1 stands still for a minute.'))
        self.assertEqual('Run 1-1 stands <still>.', region.text_content())
        self.poll(('a', 'Run 1-1 stands still.'), ('b', 'Two'), ('c', 'Three'))
        self.assertEqual('Two Three', region.text_content())

    def test_a_piece_is_renewed_unless_somebody_is_at_it(self):
        self.layer.demo.start('flaky', chance='1')
        self.layer.demo.waitForRun(lambda run: run['state'] == 'failed')
        self.page.clock.install()
        self.go(BASE + 'errors.html')
        self.page.evaluate('window.notReloaded = true')
        number = 0

        def renew(route):
            nonlocal number
            number += 1
            text = self.fetch(route).text()
            self.assertIn('>Not resolved<', text)
            route.fulfill(content_type='text/html;charset=utf-8',
                          body=text.replace('>Not resolved<',
                                            '>Open %d<' % number))

        self.page.route('**/errors.html', renew)
        part = self.page.locator('[data-part=errors]')
        heading = part.locator('th').nth(5)

        def wait():
            with self.page.expect_response('**/errors.html'):
                self.page.clock.run_for(10500)

        wait()
        heading.get_by_text('Open 1').wait_for()
        part.get_by_role('link').first.focus()
        wait()
        self.page.clock.run_for(100)
        self.assertEqual('Open 1', heading.text_content())
        self.page.get_by_role('switch', name='Live').focus()
        wait()
        heading.get_by_text('Open 3').wait_for()
        self.assertTrue(self.page.evaluate('window.notReloaded'))
        # A page that is paused asks for nothing.
        self.page.get_by_role('switch', name='Live').uncheck()
        self.page.clock.run_for(60000)
        self.assertEqual(3, number)

    def test_a_table_that_is_open_stays_so(self):
        self.layer.demo.start('flaky', chance='0')
        self.layer.demo.waitForRun(lambda run: run['state'] == 'succeeded')
        self.page.clock.install()
        self.go(BASE + 'index.html')
        table = self.page.locator('[data-part=charts] details').first
        table.locator('summary').click()
        table.locator('summary').blur()
        table.evaluate('details => { details.id = "old"; }')
        self.page.mouse.move(0, 0)
        with self.page.expect_response('**/index.html'):
            self.page.clock.run_for(60500)
        self.page.wait_for_function(
            '() => !document.getElementById("old")')
        self.assertTrue(table.evaluate('details => details.open'))

    def test_values_of_a_chart_under_the_pointer(self):
        self.layer.demo.start('flaky', chance='0')
        self.layer.demo.waitForRun(lambda run: run['state'] == 'succeeded')
        self.go(BASE + 'index.html')
        panels = self.page.locator('[data-part=charts] .cb-panel')
        self.assertEqual(3, panels.count())
        for index in range(3):
            panel = panels.nth(index)
            slots = panel.locator('svg g')
            slots.last.hover()
            readout = panel.locator('.cb-readout')
            self.assertEqual(slots.last.locator('title').text_content(),
                             readout.text_content())
            self.assertRegex(readout.text_content(), '[0-9]')
            panel.locator('h3').hover()
            self.assertEqual('', readout.text_content())
