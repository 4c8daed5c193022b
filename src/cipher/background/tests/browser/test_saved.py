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
"""Searches that a reader saves in the browser."""
from cipher.background.tests.demo.test_browser import BrowserTestCase
from cipher.background.tests.support import axe


RUNS = '/++background++/runs.html'


class SavedTests(BrowserTestCase):

    def saved(self):
        return self.page.get_by_role('navigation', name='Saved searches')

    def save(self, name):
        self.page.get_by_text('Save this search…').click()
        self.page.get_by_label('Name').fill(name)
        self.page.get_by_role('button', name='Save', exact=True).click()

    def focused(self):
        return self.page.evaluate('document.activeElement.innerText')

    def test_a_search_is_saved_opened_replaced_and_removed(self):
        self.go(RUNS)
        self.assertEqual(0, self.saved().count())
        self.assertFalse(self.page.get_by_text('Save this search…')
                         .is_visible())
        self.go(RUNS + '?state=failed&type=flaky&q=')
        self.save('  Flaky <b>ones</b> ')
        link = self.saved().get_by_role('link')
        self.assertEqual('Flaky <b>ones</b>', link.inner_text())
        self.assertEqual('true', link.get_attribute('aria-current'))
        self.assertEqual('Save this search…', self.focused())
        self.assertEqual('Saved.', self.page.locator(
            '.cb-saved [role=status]').inner_text())
        self.go(RUNS)
        self.saved().get_by_role('link').click()
        self.page.wait_for_url('**/runs.html?*')
        self.assertIn('state=failed', self.page.url)
        self.assertIn('type=flaky', self.page.url)
        self.assertNotIn('q=', self.page.url)
        self.go(RUNS + '?state=running')
        self.save('Flaky <b>ones</b>')
        self.assertEqual(1, self.saved().get_by_role('link').count())
        self.assertTrue(self.saved().get_by_role('link').get_attribute(
            'href').endswith('?state=running'))
        self.save('Another')
        self.assertEqual(
            ['Another', 'Flaky <b>ones</b>'],
            self.saved().get_by_role('link').all_inner_texts())
        self.saved().get_by_role('button', name='Remove Another').click()
        self.assertIn('Flaky', self.focused())
        self.saved().get_by_role('button').click()
        self.assertEqual('Save this search…', self.focused())
        self.assertFalse(self.saved().is_visible())

    def test_by_keyboard(self):
        self.go(RUNS + '?state=failed')
        self.page.get_by_text('Save this search…').focus()
        self.page.keyboard.press('Enter')
        self.page.keyboard.press('Tab')
        self.page.keyboard.type('Mine')
        self.page.keyboard.press('Enter')
        self.saved().get_by_role('link', name='Mine').wait_for()
        self.page.get_by_role('button', name='Remove Mine').focus()
        self.page.keyboard.press('Space')
        self.saved().wait_for(state='hidden')

    def test_empty_name_is_not_saved(self):
        self.go(RUNS + '?state=failed')
        for name in '', '   ':
            self.page.get_by_label('Name').evaluate(
                'element => element.closest("details").open = true')
            self.page.get_by_label('Name').fill(name)
            self.page.get_by_role('button', name='Save', exact=True).click()
            self.assertFalse(self.saved().is_visible())

    def test_what_is_stored_there_by_others_does_no_harm(self):
        self.go(RUNS)
        place = 'cb-saved ' + self.page.locator('.cb-saved').get_attribute(
            'data-saved')
        for text in ('{', 'null', '7', '[null, 7, {}, {"name": 1}]',
                     '[{"name": "x", "query": "unknown=1"}]',
                     '[{"name": "", "query": "state=failed"}]'):
            self.page.evaluate(
                '([name, value]) => localStorage.setItem(name, value)',
                [place, text])
            self.go(RUNS)
            self.assertFalse(self.saved().is_visible(), text)
        self.page.evaluate(
            '([name, value]) => localStorage.setItem(name, value)',
            [place, '[{"name": "javascript:alert(1)", "query": '
                    '"//evil/?q=x&state=failed&next=1"}]'])
        self.go(RUNS)
        self.assertTrue(self.saved().get_by_role('link').get_attribute(
            'href').endswith('/runs.html?state=failed'))

    def test_page_with_saved_searches_has_no_barrier(self):
        self.go(RUNS + '?state=failed')
        self.save('One with a rather long name of words')
        self.save('Zwei')
        self.page.get_by_text('Save this search…').click()
        self.assertEqual([], axe.inspect(self.page))


class WithoutScriptTests(BrowserTestCase):

    options = {'java_script_enabled': False}

    def test_nothing_is_shown(self):
        self.go(RUNS + '?state=failed')
        self.assertFalse(self.page.locator('.cb-saved').is_visible())
