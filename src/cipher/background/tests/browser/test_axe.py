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
"""Everybody can use every page: a walk through the demo with axe-core.

The walk follows links, so a new page needs no line here.  Of the pages that
differ only in an id or in what is asked for it looks at one, of the runs at
one in each state.
"""
import re
from urllib.error import HTTPError
from urllib.parse import parse_qsl
from urllib.parse import urljoin
from urllib.parse import urlsplit

from cipher.background.tests.demo.test_browser import BrowserTestCase
from cipher.background.tests.support import axe


RUN = re.compile(r'/\d+-\d+(?=/|$)')
BACKGROUND = '/++background++/'
LINKS = '''() => [...document.querySelectorAll('a[href]')].filter(
  (link) => !link.hasAttribute('download')).map((link) => link.href)'''


def get_shape(url):
    """Return what is the same for pages that need only one look."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query)
    if not parts.path.endswith('start.html'):
        # Each worker type has a form of its own; lists look alike.
        query = sorted({name for name, _value in query})
    path = re.sub(r'/documents/[^/]+(?=\.rst)', '/documents/*', parts.path)
    return path, tuple(query)


class TestEveryPage(BrowserTestCase):

    maxDiff = None

    def setUp(self):
        super().setUp()
        self.found = []

    def inspect(self, name):
        """Look at the page that is shown."""
        self.found += ['%s: %s' % (name, complaint)
                       for complaint in axe.inspect(self.page)]

    def visit(self, path, status=200):
        """Go to a page that answers with *status*, and look at it."""
        response = self.page.goto(urljoin(self.layer.demo.url, path))
        self.assertEqual(status, response.status, path)
        self.inspect(path)
        if status != 200:
            # The browser's own word on the status.
            self.complaints = [text for text in self.complaints
                               if 'Failed to load resource' not in text]

    def makeRuns(self):
        """Have a run in each state that a demo can show at once."""
        demo = self.layer.demo
        demo.start('import', folder='.', pause='0')
        demo.start('stubborn', seconds='0')
        for state in ('succeeded', 'running'):
            demo.waitForRun(lambda run: run['state'] == state)
        # It is pending now and then only, between its attempts.
        demo.start('flaky', chance='1')
        pending = demo.waitForRun(lambda run: run['state'] == 'pending')
        runs = {}
        for run in [pending, *demo.listRuns()]:
            runs.setdefault(run['state'], run['id'])
        return runs

    def walk(self, begin, chosen):
        """Look at what links lead to; return the paths."""
        origin = self.layer.demo.url
        waiting = [origin + path for path in begin]
        shapes = set()
        while waiting:
            url = waiting.pop(0).partition('#')[0]
            path = url[len(origin):]
            shape = get_shape(url)
            run = RUN.search(urlsplit(url).path)
            if (not url.startswith(origin + '/') or shape in shapes
                    or run and run[0][1:] not in chosen
                    or not self.isPage(path)):
                continue
            shapes.add(shape)
            self.visit(path)
            waiting += self.page.evaluate(LINKS)
        return {path for path, _query in shapes}

    def isPage(self, path):
        """Whether it is a page, and nothing to keep; complain of no answer."""
        try:
            with self.layer.demo.open(path) as response:
                return response.headers['content-type'].startswith(
                    'text/html')
        except HTTPError as error:
            error.close()
            self.found.append('%s: a link leads to an error %d' % (
                path, error.code))
            return False

    def test_every_page(self):
        runs = self.makeRuns()
        paths = self.walk(
            ['/', BACKGROUND + 'index.html']
            + [BACKGROUND + run + '/index.html' for run in runs.values()],
            runs.values())
        self.assertEqual([], self.found)
        self.assertLessEqual({'running', 'succeeded', 'pending'}, set(runs))
        # It did get about.
        self.assertLessEqual(
            {BACKGROUND + name for name in (
                'index.html', 'runs.html', 'types.html', 'type.html',
                'errors.html',
                'schedules.html', 'start.html')}, paths)
        self.assertIn('stop.html', {path.rpartition('/')[2]
                                    for path in paths})

    def test_forms_of_the_application(self):
        self.visit('/documents/add.html')
        self.page.get_by_role('button', name='Save').click()
        self.page.wait_for_selector('.cb-field-error [aria-invalid=true]')
        self.page.wait_for_function(
            '() => document.activeElement.matches(".cb-note-error")')
        self.page.locator('.cb-note-error a').first.click()
        self.page.wait_for_function(
            '() => document.activeElement.closest(".cb-field-error")')
        self.inspect('a form of the application with an error')
        self.visit('/?q=no+such+word')
        self.assertEqual([], self.found)

    def test_who_may_only_look(self):
        context = self.layer.browser.new_context(
            locale='en', http_credentials={
                'username': 'viewer', 'password': 'viewer'})
        self.addCleanup(context.close)
        self.page = context.new_page()
        for path, status in (('index.html', 200), ('types.html', 200),
                             ('start.html?type=flaky', 403)):
            self.visit(BACKGROUND + path, status)
        self.assertEqual([], self.found)


class TestTheTools(BrowserTestCase):
    """What nobody can use is complained about."""

    def inspect(self, body, style=''):
        self.page.set_content(
            '<!DOCTYPE html><html lang="en"><title>Page</title>'
            '<meta name="viewport" content="width=device-width">'
            '<style>%s</style>'
            '<main><h1>Page</h1>%s</main>' % (style, body))
        return axe.inspect(self.page)

    def assertComplains(self, expected, body, style=''):
        self.assertIn(expected, '\n'.join(self.inspect(body, style)))

    def test_a_good_page(self):
        self.assertEqual([], self.inspect(
            '<p>Text</p><a href="#a">One</a> <button>Two</button>'))

    def test_what_axe_finds(self):
        self.assertComplains('image-alt', '<img src="data:,">')

    def test_what_only_the_dark_has(self):
        found = self.inspect('<p>Text</p>', (
            '@media (prefers-color-scheme: dark) '
            '{ p { color: #333; background: #222 } }'))
        self.assertEqual(['dark, 360 px: color-contrast'],
                         [text.rpartition(': Elem')[0] for text in found])

    def test_what_scrolls_sideways(self):
        found = self.inspect('<p>Text</p>', 'p { width: 500px }')
        self.assertEqual(['dark, 360 px: scrolls sideways',
                          'forced colours, 360 px: scrolls sideways'],
                         [text.rpartition(': 5')[0] for text in found])

    def test_focus_that_is_not_seen(self):
        self.assertComplains('focus is not to be seen: <a',
                             '<a href="#a">One</a>', 'a { outline: none }')

    def test_focus_in_another_order(self):
        self.assertComplains(
            'Tab reaches', '<button>One</button>'
            '<button tabindex="1">Two</button>')
