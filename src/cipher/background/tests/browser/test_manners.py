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
"""How the pages look and behave in a browser: theme, shortcuts, widths."""
import re

from cipher.background.tests.demo.test_browser import BrowserTestCase
from cipher.background.tests.support import axe


BASE = '/++background++/'
PAGES = ('index.html', 'runs.html', 'types.html', 'schedules.html',
         'processes.html', 'journal.html')
SCHEME = 'getComputedStyle(document.documentElement).colorScheme'
#: Pixels.  The narrow and the wide side of each step of the stylesheet.
WIDTHS = (320, 360, 480, 520, 768, 860, 900, 980, 1030, 1110, 1160, 1280)


class TestManners(BrowserTestCase):

    def test_theme_is_kept_in_the_browser(self):
        self.go(BASE + 'index.html')
        self.assertEqual('light dark', self.page.evaluate(SCHEME))
        self.page.locator('.cb-menu summary').click()
        self.page.get_by_label('Dark').check()
        self.assertEqual('dark', self.page.evaluate(SCHEME))
        self.go(BASE + 'runs.html')
        # The server wrote it: no script had to.
        self.assertEqual('dark', self.page.evaluate(
            'document.documentElement.dataset.theme'))
        self.page.locator('.cb-menu summary').click()
        self.assertTrue(self.page.get_by_label('Dark').is_checked())
        self.page.get_by_label('As the system').check()
        self.go(BASE + 'index.html')
        self.assertEqual('light dark', self.page.evaluate(SCHEME))

    def test_a_theme_that_does_not_exist_is_ignored(self):
        self.page.context.add_cookies([{
            'name': 'cb_theme', 'value': '"><b>', 'url': self.layer.demo.url}])
        self.go(BASE + 'index.html')
        self.assertIsNone(self.page.evaluate(
            'document.documentElement.getAttribute("data-theme")'))

    def test_shortcuts(self):
        self.go(BASE + 'index.html')
        self.page.keyboard.press('?')
        listed = self.page.locator('#cb-keys dt').all_inner_texts()
        self.assertEqual(['/', '?'], [listed[0], listed[-1]])
        targets = self.page.locator('#cb-keys dd a').evaluate_all(
            'links => links.map(link => [link.dataset.go, link.href])')
        self.assertGreater(len(targets), 5)
        self.assertEqual(len(targets), len(dict(targets)))
        for key, url in targets:
            # The first one leads to the page that is open.
            with self.page.expect_navigation(url=url):
                self.page.keyboard.press('g')
                self.page.keyboard.press(key)
        with self.page.expect_navigation(url='**/runs.html'):
            self.page.keyboard.press('/')
        self.page.keyboard.press('/')
        self.page.keyboard.type('g s?/')
        self.assertEqual('g s?/', self.page.input_value('#cb-q'))

    def test_shortcuts_are_turned_off(self):
        self.go(BASE + 'index.html')
        self.page.keyboard.press('?')
        self.page.get_by_label('Use these shortcuts').uncheck()
        self.go(BASE + 'runs.html')
        self.page.keyboard.press('/')
        self.assertNotEqual('cb-q', self.page.evaluate(
            'document.activeElement.id'))

    def test_live_is_paused_and_resumed(self):
        self.go(BASE + 'index.html')
        switch = self.page.get_by_role('switch', name='Live')
        switch.uncheck()
        asked = []
        self.page.on('request', lambda request: asked.append(request.url))
        with self.page.expect_request('**/index.json'):
            self.assertEqual([], asked)
            switch.check()
        self.page.locator('[data-live-age]').get_by_text(
            re.compile('ago')).wait_for()

    def test_bar_of_a_selection(self):
        self.layer.demo.start('flaky', chance='0')
        self.layer.demo.waitForRun(lambda run: run['state'] == 'succeeded')
        self.go(BASE + 'runs.html?state=succeeded')
        bar = self.page.get_by_role('group', name='Selected runs')
        self.assertEqual(0, bar.count())
        self.page.get_by_role('checkbox', name='Select Flaky').first.check()
        self.assertEqual(
            ['Retry…', 'Remove…', 'Select none'],
            [name for name in bar.get_by_role('button').all_inner_texts()
             if name])
        self.assertIn('1 selected', bar.inner_text())
        bar.get_by_role('button', name='Select none').click()
        self.assertEqual(0, bar.count())

    def test_rows_are_of_one_line(self):
        self.layer.demo.start('flaky', chance='0')
        self.layer.demo.waitForRun(lambda run: run['state'] == 'succeeded')
        self.page.set_viewport_size(axe.WIDE)
        self.go(BASE + 'runs.html')
        heights = self.page.locator('[data-list=items] > tr').evaluate_all(
            'rows => rows.map(row => row.getBoundingClientRect().height)')
        self.assertTrue(heights)
        self.assertLessEqual(max(heights), 33)

    def test_nothing_overflows_at_any_width(self):
        for language in 'en', 'de', 'lt':
            context = self.layer.browser.new_context(
                locale=language, http_credentials={
                    'username': 'admin', 'password': 'admin'})
            self.addCleanup(context.close)
            self.page = context.new_page()
            for name in PAGES:
                self.go(BASE + name)
                for width in WIDTHS:
                    with self.subTest(name, language=language, width=width):
                        self.page.set_viewport_size(
                            {'width': width, 'height': 800})
                        self.assertEqual(
                            [], axe.findSidewaysScrolling(self.page))
