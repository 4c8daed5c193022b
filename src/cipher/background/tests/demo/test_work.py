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
"""The demo's workers, started and watched by its pages."""
import re
import time

from zope.event import notify
from zope.processlifetime import DatabaseOpened

from cipher.background.demo import settings
from cipher.background.registry.installation import getRegistry
from cipher.background.tests.demo.test_pages import LIMIT
from cipher.background.tests.demo.test_pages import DemoPagesTestCase


class WorkerTests(DemoPagesTestCase):

    def start(self, type, user='admin', **values):
        browser = self.login(user)
        browser.open('%s/++background++/start.html?type=%s'
                     % (self.url, type))
        for name, value in values.items():
            browser.getControl(name='form.widgets.' + name).value = value
        browser.getControl('Start').click()
        return browser

    def waitForText(self, browser, text):
        """Load the page anew until it shows that."""
        self.waitFor(lambda: text in browser.contents, browser)

    def waitFor(self, condition, browser):
        """Load the page anew until it is so."""
        deadline = time.monotonic() + LIMIT
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            browser.reload()

    def test_import_of_the_samples(self):
        browser = self.start(
            'import', 'editor', pause='0',
            folder=str(settings.SAMPLES.relative_to(settings.import_base())))
        self.assertEqual(['succeeded'], self.waitForRuns('import'))
        browser.open(self.url + '/documents')
        self.assertIn('Writing documents', browser.contents)

    def test_import_of_what_is_outside_fails(self):
        browser = self.start('import', pause='0', folder='/etc')
        self.assertEqual(['failed'], self.waitForRuns('import'))
        browser.reload()
        self.assertIn('ImportRefused', browser.contents)

    def test_a_failure_and_who_may_see_its_traceback(self):
        browser = self.start('publish', pause='0')   # without a document
        self.assertEqual(['failed'], self.waitForRuns('publish'))
        browser.reload()
        self.assertIn('expected a run about a document', browser.contents)
        self.assertIn('get_document', browser.contents)
        viewer = self.login('viewer')
        viewer.open(browser.url)
        self.assertIn('expected a run about a document', viewer.contents)
        self.assertNotIn('get_document', viewer.contents)

    def test_a_flaky_one_waits_for_its_next_attempt(self):
        browser = self.start('flaky', chance='1.0')
        self.waitFor(lambda: re.search(
            'data-state="pending".*data-text="attempts">[1-9]<',
            browser.contents, re.DOTALL), browser)
        self.assertIn('JSONDecodeError', browser.contents)

    def test_a_stubborn_one_is_stopped(self):
        browser = self.start('stubborn', seconds='0.2')
        self.waitForText(browser, 'Busy until')
        browser.getLink('Stop…').click()
        browser.getControl('Stop').click()
        self.assertEqual(['stopped'], self.waitForRuns('stubborn'))

    def test_housekeeping_begins_by_itself_and_runs_once(self):
        self.waitForHousekeeping()
        notify(DatabaseOpened(self.layer.db))
        self.waitForHousekeeping()

    def waitForHousekeeping(self):
        deadline = time.monotonic() + LIMIT
        states = []
        while states != ['running']:
            self.assertLess(time.monotonic(), deadline, states)
            with self.site() as site:
                states = [run.state for run in getRegistry(site).listRuns(
                    types=('housekeeping',)).items]
            self.assertLessEqual(len(states), 1)
            time.sleep(0.02)
