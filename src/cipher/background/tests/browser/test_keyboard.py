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
"""An administrator's day with the keyboard alone, in a real browser.

The first address is typed; from there on only keys are pressed.
"""
import re

from cipher.background.tests.browser.test_administrators_day import BASE
from cipher.background.tests.browser.test_administrators_day import DayTestCase


#: Presses of Tab.  No page has more stops.
STOPS = 150

FOCUSED = '''() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  const label = element.labels && element.labels[0];
  const row = element.closest('tr');
  return {
    tag: element.tagName,
    name: [element.getAttribute('aria-label'), label && label.innerText,
           element.textContent].filter(Boolean).join(' ')
      .replace(/\\s+/g, ' ').trim(),
    row: row ? row.innerText : '',
    isMarked: style.outlineStyle === 'auto' || style.outlineStyle !== 'none'
      && parseFloat(style.outlineWidth) >= 2,
    isInView: box.bottom > 0 && box.top < innerHeight && box.width > 0
  };
}'''


class KeyboardTests(DayTestCase):

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text):
        self.page.keyboard.type(text)

    def stop(self, run_id):
        """Stop a run elsewhere, whether or not it is finished."""
        demo = self.layer.demo
        demo.readStatus('%s%s/stop.html' % (BASE, run_id), data={
            'csrf_token': demo.readToken(BASE + 'thresholds.html'),
            'stop': '1'})

    def getFocus(self):
        """Return what has the focus; it must be seen."""
        focus = self.page.evaluate(FOCUSED)
        self.assertTrue(focus['isMarked'] and focus['isInView'], focus)
        return focus

    def tabTo(self, name, row='', back=False):
        """Press Tab until something of that name has the focus.

        *row*: a text in its row of a table.
        """
        seen = []
        for _ in range(STOPS):
            self.press('Shift+Tab' if back else 'Tab')
            focus = self.getFocus()
            seen.append(focus['name'])
            if re.match(name, focus['name']) and row in focus['row']:
                return
        self.fail('%s is not reached, only %s' % (name, seen))

    def follow(self, name, url, row='', back=False):
        """Go to a link or button by Tab, and press Enter."""
        self.tabTo(name, row, back)
        with self.page.expect_navigation(url=url):
            self.press('Enter')

    def test_a_day(self):
        demo = self.layer.demo
        self.begin('flaky', chance='1')
        demo.waitForRun(lambda run: run['type'] == 'flaky'
                        and run['state'] == 'failed')
        self.post('thresholds.html', stalled_after='1', stalled_factor='0')
        self.addCleanup(self.post, 'thresholds.html', stalled_after='600',
                        stalled_factor='3')
        stuck = self.begin('import', folder='.', pause='60')
        self.addCleanup(self.stop, stuck)

        # A problem; the run that is stuck; its stop, with a reason.
        self.go(BASE + 'index.html')
        self.page.locator('.cb-problems').get_by_text(
            'Run %s has made no progress' % stuck).wait_for()
        self.follow('Show the run', '**/%s/index.html' % stuck)
        self.page.get_by_text(re.compile('No progress for')).wait_for()
        self.follow('Stop…', '**/stop.html')
        self.page.wait_for_function(
            '() => document.activeElement.name === "reason"')
        self.assertIn('Reason', self.getFocus()['name'])
        self.type('It holds the archive')
        self.follow('Stop the run', '**/index.html')
        self.waitForState('stopped')
        self.page.locator('.cb-timeline').get_by_text(
            'It holds the archive').wait_for()

        # A run that failed; its traceback; another try with other input.
        with self.page.expect_navigation(url='**/runs.html'):
            self.press('g', 'r')
        self.press('/')
        self.assertIn('Search', self.getFocus()['name'])
        self.type('type:flaky state:failed')
        with self.page.expect_navigation():
            self.press('Enter')
        self.follow('Flaky', '**/index.html', row='failed')
        self.assertIn('_parse_weather', self.page.inner_text('main'))
        self.follow('Start again with changes', '**/start.html**')
        self.tabTo('Probability of failure')
        self.press('Control+a')
        self.type('0')
        with self.page.expect_navigation(url='**/index.html'):
            self.press('Enter')
        self.waitForState('succeeded')

        # A type is paused, with a reason, and resumed.
        with self.page.expect_navigation(url='**/types.html'):
            self.press('g', 't')
        self.tabTo('Pause…', 'Flaky')
        self.addCleanup(self.post, 'types.html', resume='1', name='flaky')
        self.press('Enter')
        self.tabTo('Reason', 'Flaky')
        self.type('The weather service is down')
        with self.page.expect_navigation():
            self.press('Enter')
        self.row('Flaky').get_by_text(
            re.compile('paused by.*The weather service is down')).wait_for()
        self.tabTo('Resume', 'Flaky')
        with self.page.expect_navigation():
            self.press('Enter')
        self.row('Flaky').get_by_text(
            re.compile('^Pause…')).first.wait_for()

        # The theme, and what keys there are.
        self.tabTo('Administrator')
        self.press('Enter')
        self.tabTo('As the system')
        self.press('ArrowDown', 'ArrowDown')
        self.assertIn('Dark', self.getFocus()['name'])
        self.assertEqual('dark', self.page.evaluate(
            'getComputedStyle(document.documentElement).colorScheme'))
        self.press('ArrowUp', 'ArrowUp')
        self.press('?')
        self.assertTrue(self.page.locator('#cb-keys').is_visible())
        self.assertIn('Keyboard shortcuts', self.getFocus()['name'])
        self.follow('Errors', '**/errors.html')

    def test_focus_stays_when_rows_go(self):
        ids = [self.begin('stubborn', seconds='0') for _ in range(2)]
        for run_id in ids:
            self.addCleanup(self.stop, run_id)
        self.go(BASE + 'index.html')
        rows = self.page.locator('[data-list=running] tr[data-key]')
        for run_id in ids:
            rows.filter(has_text=run_id).wait_for()
        self.tabTo('Stop…', row=ids[1])
        self.stop(ids[1])
        rows.filter(has_text=ids[1]).wait_for(state='detached')
        # On another row, which is marked; or on the list, with no row left.
        self.assertNotEqual('BODY', self.getFocus()['tag'])
        self.press('Tab')
        self.assertNotIn('Skip', self.getFocus()['name'])
