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
"""Everybody can use every page in every state, in every language and size.

`test_axe` walks through the pages of a demo as it is.
"""
import re
import unittest
from importlib.resources import files

from cipher.background.tests.support import axe
from cipher.background.tests.support.states import StatesTestCase


#: Pixels.  640 is 1280 at a zoom of 200 %.
WIDTHS = 320, 360, 480, 640, 768, 900, 1030, 1160, 1280

#: Of these there is another with the same parts.
ALIKE = ('start-unknown', 'type-unknown', 'forbidden', 'not-found', 'delayed',
         'waiting', 'viewer', 'own', 'own-stop', 'own-runs', 'retry', 'remove',
         'type-new', 'runs-none', 'thresholds-wrong')

#: What a translator may make longer by 40 %.
LENGTHEN = r'''() => {
  const longer = (text) => text.replace(/\p{L}{3,}/gu, (word) =>
    word + word.slice(0, Math.ceil(word.length * .4)));
  const all = document.querySelectorAll(
    'h1, h2, h3, th, dt, label, legend, summary, button, option, .cb-button, '
    + '.cb-state, .cb-tabs a, .cb-nav a, .cb-chips a, .cb-filters a, '
    + '.cb-presets a, .cb-crumbs a, .cb-footer, .cb-hint, .cb-lead, .cb-live');
  for (const element of all) {
    for (const child of element.childNodes) {
      if (child.nodeType === 3) { child.data = longer(child.data); }
    }
  }
  for (const element of document.querySelectorAll('[data-label]')) {
    element.dataset.label = longer(element.dataset.label);
  }
}'''

#: Nothing of the frame is on paper, nor a control.
ON_PAPER = '''() => [...document.querySelectorAll(
    'nav, button, input:not([type=hidden]), select, .cb-button, .cb-bar')]
  .filter((element) => element.checkVisibility())
  .map((element) => element.outerHTML.slice(0, 120))'''

#: Facts without a value.
BLANK = '''() => [...document.querySelectorAll('dl > div')]
  .filter((row) => row.checkVisibility()
    && [...row.querySelectorAll('dd')].every((value) =>
      !value.innerText.trim() && !value.querySelector('progress')))
  .map((row) => 'blank: ' + row.innerText)'''

#: Ends of classes that a template puts together.
ENDS = {'cb-${bar/kind}': ('bad',),
        'cb-${rect/kind}': ('good', 'bad', 'wait', 'run', 'stop'),
        'cb-verb-${verb/name}': ('begin', 'stop', 'retry', 'remove')}


class TestStates(StatesTestCase):

    maxDiff = None

    def setUp(self):
        super().setUp()
        self.found = []

    def inspect(self, states):
        for state in states:
            with self.shown(state) as page:
                self.found += ['%s: %s' % (state.name, text)
                               for text in axe.inspect(page)
                               + page.evaluate(BLANK)]
        self.assertEqual([], self.found)

    def test_no_barriers(self):
        self.inspect(self.makeStates())

    def test_no_barriers_before_anything_has_happened(self):
        self.inspect(self.makeEmptyStates())

    def test_focus_goes_to_what_is_wrong(self):
        states = {state.name: state for state in self.makeStates()}
        for name in 'start-wrong', 'start-rows', 'thresholds-wrong':
            with self.subTest(name), self.shown(states[name]) as page:
                self.assertTrue(page.evaluate(
                    'document.activeElement.matches(".cb-note-error")'))
                links = page.locator('.cb-note-error a')
                self.assertTrue(links.count())
                for link in links.all():
                    link.click()
                    self.assertTrue(page.evaluate(
                        'document.activeElement.closest(".cb-field-error, '
                        '.row:has(> .error)") !== null'), link.inner_text())

    def test_rows_have_names(self):
        states = {state.name: state for state in self.makeStates()}
        with self.shown(states['start-rows']) as page:
            for role, name in (('checkbox', 'Select Numbers 2'),
                               ('textbox', 'Numbers 2')):
                self.assertEqual(1, page.get_by_role(
                    role, name=name, exact=True).count())

    def test_nothing_overflows(self):
        states = self.makeStates()
        for language in 'en', 'de', 'lt':
            for state in states:
                # What prepares a page knows it by its English words.
                if state.name in ALIKE or language != 'en' and (
                        state.name in ('start-wrong', 'start-rows')):
                    continue
                with self.shown(state, locale=language) as page:
                    page.evaluate(LENGTHEN)
                    for width in WIDTHS:
                        page.set_viewport_size(
                            {'width': width, 'height': 800})
                        self.found += [
                            '%s, %s, %d px: %s' % (
                                state.name, language, width, text)
                            for text in axe.findSidewaysScrolling(page)]
        self.assertEqual([], self.found)

    def test_paper_has_no_navigation(self):
        for state in self.makeStates():
            with self.shown(state) as page:
                page.emulate_media(media='print')
                # Of a form one prints what is in it.
                self.found += [
                    '%s: %s' % (state.name, text)
                    for text in page.evaluate(ON_PAPER)
                    if not page.locator('main .cb-field').count()]
                self.assertTrue(page.locator('h1').is_visible())
        self.assertEqual([], self.found)


class TestStylesheet(unittest.TestCase):

    def test_each_class_is_used(self):
        folder = files('cipher.background') / 'browser'
        css = re.sub(r'(?s)/\*.*?\*/', '', (
            folder / 'static' / 'background.css').read_text())
        text = '\n'.join(
            path.read_text() for place in (
                folder, folder / 'templates', folder / 'static',
                folder.parent / 'demo' / 'templates')
            for path in place.iterdir()
            if path.name.endswith(('.py', '.pt', '.js')))
        used = set(re.findall(r'cb-[a-z0-9-]+(?![a-z0-9-]|\$)', text))
        for pattern, ends in ENDS.items():
            self.assertIn(pattern, text)
            used |= {pattern.partition('$')[0] + end for end in ends}
        self.assertEqual(set(), set(
            re.findall(r'\.(cb-[a-z0-9-]+)', css)) - used)


class TestMotion(unittest.TestCase):

    def test_nothing_moves_against_the_wish_of_the_reader(self):
        for path in 'browser/static/background.css', 'demo/static/demo.css':
            text = files('cipher.background').joinpath(path).read_text()
            wished = re.compile(
                r'@media \(prefers-reduced-motion: no-preference\) \{\n'
                r'(?:  .*\n)+\}\n')
            moves = re.compile(r'\b(transition|animation|scroll-behavior)\b')
            self.assertNotRegex(wished.sub('', text), moves)
            if path.startswith('browser/'):
                self.assertRegex(text, moves)
