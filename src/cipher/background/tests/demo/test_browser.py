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
"""The demo in a real browser, without reloading a page by hand."""
import os
import re
import shutil
import signal
import tempfile
import unittest
from contextlib import ExitStack
from pathlib import Path

from cipher.background.tests.demo.test_server import LIMIT
from cipher.background.tests.demo.test_server import Demo


try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None


BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
ARGUMENTS = ('--no-sandbox', '--disable-gpu', '--disable-quic',
             '--no-first-run', '--disable-background-networking',
             '--disable-component-update', '--disable-sync')
TEXTS = 8


def find_browser():
    """Return the path of a browser; raise LookupError with the reason."""
    if sync_playwright is None:
        raise LookupError('playwright is not installed')
    for name in BROWSERS:
        path = shutil.which(name)
        if path:
            return path
    raise LookupError('none of %s is installed' % ', '.join(BROWSERS))


class BrowserLayer:
    """A demo with some texts to import, and a browser."""

    missing = None   # why there is no browser

    @classmethod
    def setUp(cls):
        cls.stack = ExitStack()
        try:
            path = find_browser()
        except LookupError as error:
            cls.missing = str(error)
            return
        with ExitStack() as stack:
            cls.demo = cls._start_demo(stack)
            playwright = sync_playwright().start()
            stack.callback(playwright.stop)
            cls.browser = playwright.chromium.launch(
                executable_path=path, args=ARGUMENTS)
            stack.callback(cls.browser.close)
            cls.stack = stack.pop_all()

    @classmethod
    def _start_demo(cls, stack):
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        base = Path(folder, 'texts')
        base.mkdir()
        for n in range(1, TEXTS + 1):
            Path(base, 'text-%d.rst' % n).write_text(
                'Text %d\n======\n\nThis is *text* %d.\n\n' % (n, n)
                + 'Part\n----\n\nmore\n\nPart\n----\n\nmore\n')
        demo = Demo(folder, '--db', 'memory://', '--import-base', str(base))
        stack.callback(demo.end, signal.SIGKILL)
        demo.waitForURL()
        return demo

    @classmethod
    def tearDown(cls):
        cls.stack.close()


def openPage(context, complaints):
    """Return a page of that context that adds its errors to *complaints*."""
    context.set_default_timeout(LIMIT * 1000)
    page = context.new_page()
    page.on('pageerror', lambda error: complaints.append(str(error)))
    page.on('console', lambda message: complaints.append(message.text)
            if message.type == 'error' else None)
    return page


class BrowserTestCase(unittest.TestCase):
    """A page of the demo's administrator; no error may come to its console."""

    layer = BrowserLayer
    options = {}   # of the browser's context

    def setUp(self):
        if self.layer.missing:
            # Where everything is expected to be there, it is no excuse.
            if os.environ.get('CI'):
                self.fail(self.layer.missing)
            self.skipTest(self.layer.missing)
        context = self.layer.browser.new_context(
            locale='en', viewport={'width': 1200, 'height': 800},
            http_credentials={'username': 'admin', 'password': 'admin'},
            **self.options)
        self.addCleanup(context.close)
        self.complaints = []
        self.page = openPage(context, self.complaints)

    def tearDown(self):
        self.assertEqual([], self.complaints)

    def go(self, path):
        self.page.goto(self.layer.demo.url + path)


class BrowserTests(BrowserTestCase):

    def start(self, title, **input):
        """Start a worker as a person does."""
        self.go('/')
        self.page.get_by_role('link', name='Background').first.click()
        self.page.get_by_role('link', name='Worker types').click()
        self.page.get_by_role('row').filter(has_text=title).get_by_role(
            'link', name='Start').click()
        for name, value in input.items():
            self.page.fill('[name="form.widgets.%s"]' % name, value)
        self.page.get_by_role('button', name='Start').click()
        self.page.wait_for_selector('.cb-heading .cb-state')
        # Is gone when the page is loaded anew.
        self.page.evaluate('window.notReloaded = true')

    def waitForText(self, selector, text):
        self.page.wait_for_function(
            '([selector, text]) => document.querySelector(selector)'
            '?.textContent.trim() === text', arg=[selector, text])

    def waitForState(self, state):
        self.waitForText('.cb-heading .cb-state', state)
        self.assertTrue(self.page.evaluate('window.notReloaded'))

    def importTexts(self, pause='0'):
        self.start('Import texts', folder='.', pause=pause)

    def test_the_progress_of_an_import_moves(self):
        self.importTexts('1.2')   # long enough for a slow browser
        self.waitForState('running')
        shown = set()
        for _n in range(2):
            before = self.page.text_content('.cb-progress-text')
            shown.add(before)
            self.page.wait_for_function(
                '(before) => document.querySelector(".cb-progress-text")'
                '.textContent !== before', arg=before)
        shown.add(self.page.text_content('.cb-progress-text'))
        self.assertGreaterEqual(len(shown), 3, shown)
        for text in shown - {''}:
            self.assertRegex(text, '^[0-9] of %d$' % TEXTS)
        self.waitForState('succeeded')
        self.assertIn('%d texts' % TEXTS,
                      self.page.text_content('#cb-content'))
        self.go('/documents')
        self.assertEqual(TEXTS, self.page.locator('a.cb-title').count())

    def test_a_document_becomes_published(self):
        self.importTexts()
        self.waitForState('succeeded')
        self.go('/documents/text-1.rst')
        self.assertEqual('DRAFT', self.page.text_content('#wf-state'))
        self.page.get_by_role('button', name='Publish').click()
        self.page.evaluate('window.notReloaded = true')
        self.waitForText('#wf-state', 'PUBLISHED')
        self.assertTrue(self.page.evaluate('window.notReloaded'))
        self.page.get_by_role('link', name='Show the current version').click()
        self.page.wait_for_selector('.demo-document em:text("text")')
        self.assertEqual(1, self.page.locator('.demo-document').count())
        self.page.get_by_role('link', name='Publish a document').click()
        self.assertEqual('succeeded', self.page.text_content(
            '.cb-heading .cb-state').strip())

    def test_what_is_saved_is_found_and_what_is_published_is_news(self):
        self.importTexts()
        self.waitForState('succeeded')
        self.go('/documents/text-2.rst/edit.html')
        for n in range(3):
            self.page.fill('textarea', 'version%d' % n)
            self.page.get_by_role('button', name='Save').click()
            self.page.get_by_role('link', name='Edit').click()
        self.go('/documents/text-2.rst')
        # The newest first; the import may have led to one before.
        self.page.wait_for_selector(
            'tr:has-text("Index a document") .cb-state:has-text("succeeded")')
        self.page.wait_for_function(
            '() => ![...document.querySelectorAll("tr .cb-state")]'
            '.some((state) => /pending|running/.test(state.textContent))')
        self.page.get_by_role('button', name='Publish').click()
        self.page.wait_for_selector(
            'tr:has-text("Announce a") .cb-state:has-text("succeeded")')
        self.go('/')
        self.assertIn('was published', self.page.inner_text('.demo-news'))
        self.page.fill('[name=q]', 'version2')
        self.page.get_by_role('button', name='Search').click()
        self.page.wait_for_selector('h2:text("version2")')
        self.assertEqual(1, self.page.locator('a.cb-title').count())

    def test_a_page_without_news_gets_no_bytes(self):
        self.go('/')
        self.page.get_by_role('link', name='Background').first.click()
        # No run of this demo ends like this.
        self.page.goto(self.page.url.partition('++background++')[0]
                       + '++background++/runs.html?state=interrupted')
        with self.page.expect_response(
                lambda response: response.status == 304) as found:
            pass
        request = found.value.request
        self.assertIn('runs.json', request.url)
        self.assertIn('if-none-match', request.headers)

    def test_a_selection_in_a_growing_log_stays(self):
        self.importTexts('1.2')
        log = '[data-lines]'
        self.page.wait_for_function(
            '(log) => document.querySelector(log).textContent.length > 3',
            arg=log)
        before = self.page.evaluate("""(log) => {
            const element = document.querySelector(log);
            getSelection().setBaseAndExtent(
                element.querySelector('li span').firstChild, 0,
                element.querySelector('li span').firstChild, 3);
            return element.textContent; }""", log)
        self.page.wait_for_function(
            '([log, length]) => document.querySelector(log)'
            '.textContent.length > length', arg=[log, len(before)])
        text = self.page.text_content(log)
        self.assertTrue(text.startswith(before), text)
        first = self.page.text_content(log + ' li span')
        self.assertEqual(first[:3], self.page.evaluate(
            'getSelection().toString()'))
        self.waitForState('succeeded')
        lines = self.page.locator(log + ' li').all_text_contents()
        self.assertEqual(len(lines), len(set(lines)), lines)

    def test_a_stubborn_worker_is_stopped(self):
        self.start('Stubborn', seconds='3')
        self.waitForState('running')
        self.page.get_by_role('link', name='Stop').click()
        self.page.get_by_role('button', name=re.compile('Stop')).click()
        self.page.wait_for_selector('.cb-heading .cb-state')
        self.page.evaluate('window.notReloaded = true')
        self.waitForState('stopped')

    def test_the_error_of_a_flaky_one_is_shown(self):
        self.start('Flaky', chance='1')
        self.waitForState('failed')
        self.waitForText('[data-text=attempts]', '3')
        text = self.page.inner_text('#cb-content')
        self.assertIn('JSONDecodeError', text)
        self.assertIn('_parse_weather', text)
