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
"""A page of an application that shows the progress of a run of its reader.

It has the markup of docs/reference/json.rst.  Its reader, who started the run,
has no permission of this package.
"""
import transaction
from zope.component import getGlobalSiteManager
from zope.interface import Interface
from zope.publisher.browser import BrowserPage
from zope.publisher.interfaces.browser import IDefaultBrowserLayer
from zope.security.checker import NamesChecker
from zope.security.checker import defineChecker
from zope.security.checker import undefineChecker

from cipher.background.events import RunFailedEvent
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.store.process import getDirectory
from cipher.background.tests.demo.test_browser import ARGUMENTS
from cipher.background.tests.demo.test_browser import find_browser
from cipher.background.tests.demo.test_browser import openPage
from cipher.background.tests.demo.test_browser import sync_playwright
from cipher.background.tests.support import axe
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.browser import serve
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.pages import listBlocks
from cipher.background.tests.support.sites import LIMIT


PAGE = '''<!DOCTYPE html>
<html lang="en"><head><title>Your import</title>
<link rel="icon" href="data:,"></head>
<body><main><h1>Your import</h1>%s</main></body></html>'''


class ImportPage(BrowserPage):
    """The page of the application."""

    text = ''

    def __call__(self):
        self.request.response.setHeader('Content-Type', 'text/html')
        return PAGE % self.text


class OwnPageTests(BrowserTests):

    def setUp(self):
        super().setUp()
        try:
            path = find_browser()
        except LookupError as error:
            self.skipTest(str(error))
        snippet, = [block.text for block in listBlocks(
            requirePage('json.rst')) if 'own.json?run=7-41' in block.text]
        self.run_ = self.makeRunning(starter='test.stranger')
        ImportPage.text = snippet.replace('7-41', self.run_.id)
        self.addCleanup(setattr, ImportPage, 'text', '')
        defineChecker(ImportPage, NamesChecker(['__call__', 'browserDefault']))
        self.addCleanup(undefineChecker, ImportPage)
        page = ImportPage, (Interface, IDefaultBrowserLayer), Interface
        manager = getGlobalSiteManager()
        manager.registerAdapter(*page, name='import.html')
        self.addCleanup(
            manager.unregisterAdapter, *page, name='import.html')
        self.url = serve(self, self.layer.make_wsgi_app(), 4, LIMIT)
        playwright = sync_playwright().start()
        self.addCleanup(playwright.stop)
        browser = playwright.chromium.launch(
            executable_path=path, args=ARGUMENTS)
        self.addCleanup(browser.close)
        context = browser.new_context(
            locale='en', http_credentials={
                'username': 'stranger', 'password': 'stranger'})
        self.complaints = []
        self.page = openPage(context, self.complaints)

    def report(self, done):
        """Let the process of the run report its progress."""
        self.sync()
        record, = getDirectory(self.registry._p_jar).processes.values()
        record.live.runs = {(self.registry._p_oid, self.run_.id): (
            self.run_.started_at, (done, 100, None), '', None)}
        transaction.commit()

    def finish(self, state, event, **values):
        self.sync()
        self.registry.finish(self.run_, state, event, **values)
        transaction.commit()

    def waitFor(self, text):
        self.page.locator('section').get_by_text(text).first.wait_for()

    def test_progress_and_end(self):
        self.report(40)
        self.page.goto(self.url + '/import.html')
        self.waitFor('running')
        self.waitFor('40 of 100')
        bar = self.page.get_by_role('progressbar', name='Your import')
        self.assertEqual(40, bar.evaluate('bar => bar.value'))
        for look in axe.LOOKS:
            axe.look(self.page, *look)
            self.assertEqual([], axe.findViolations(self.page))
            self.assertEqual([], axe.findSidewaysScrolling(self.page))
        self.report(60)
        self.waitFor('60 of 100')
        self.assertEqual(60, bar.evaluate('bar => bar.value'))
        self.finish(SUCCEEDED, RunSucceededEvent)
        self.waitFor('succeeded')
        self.assertEqual([], self.complaints)

    def test_failure_is_said(self):
        self.page.goto(self.url + '/import.html')
        self.waitFor('running')
        self.finish(FAILED, RunFailedEvent,
                    error=('ValueError', '<b>no</b> such file'))
        self.waitFor('failed')
        self.assertIn('<b>no</b> such file', self.page.locator(
            '[role=status]').inner_text())
        self.assertEqual([], self.complaints)

    def test_run_of_another_shows_nothing(self):
        self.sync()
        self.run_.starter = 'test.editor'
        transaction.commit()
        with self.page.expect_response('**/own.json*') as answer:
            self.page.goto(self.url + '/import.html')
        self.assertEqual(403, answer.value.status)
        self.assertEqual('pending', self.page.locator(
            '[data-text="text.state"]').inner_text())
