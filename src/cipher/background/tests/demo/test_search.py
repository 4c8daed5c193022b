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
"""What the list of documents shows beside them: a search, news, a report."""
import re

from cipher.background.demo.documents import Document
from cipher.background.registry.installation import getRegistry
from cipher.background.tests.demo.test_pages import DemoPagesTestCase


class DocumentListTests(DemoPagesTestCase):

    def test_search(self):
        with self.site() as site:
            for n in range(60):
                site['documents']['d%02d' % n] = Document(
                    'Title %02d' % n, 'even' if n % 2 else 'odd')
            registry = getRegistry(site)
            registry.start('reindex-all')
        self.assertEqual(['succeeded'], self.waitForRuns('reindex-all'))
        browser = self.login('viewer')
        browser.open(self.url)
        browser.getControl('Words').value = 'ODD'
        browser.getControl('Search').click()
        found = re.findall('Title [0-9]+', browser.contents)
        self.assertEqual(['Title %02d' % n for n in range(0, 60, 2)], found)
        self.assertEqual('ODD', browser.getControl('Words').value)
        self.assertIn('<span class="cb-count">30</span>', browser.contents)
        self.assertNotIn('Next »', browser.contents)
        browser.getControl('Words').value = 'title'
        browser.getControl('Search').click()
        self.assertEqual(50, len(re.findall('Title [0-9]+',
                                            browser.contents)))
        self.assertIn('The first 50 are shown', browser.contents)
        browser.getControl('Words').value = 'nosuch <script>alert(1)</script>'
        browser.getControl('Search').click()
        self.assertIn('Nothing was found', browser.contents)
        self.assertNotIn('<script>', browser.contents)
        browser.getLink('Show all').click()
        self.assertIn('Title 00', browser.contents)

    def test_an_edit_is_indexed_a_moment_later(self):
        url = self.addDocument()
        browser = self.login()
        for n in range(3):
            browser.open(url + '/edit.html')
            browser.getControl('Text').value = 'version%d' % n
            browser.getControl('Save').click()
        states = self.waitForRuns('reindex')
        self.assertEqual({'succeeded'}, set(states))
        self.assertIn('Index a document', browser.contents)
        browser.open(self.url + '/documents?q=version2')
        self.assertIn('Title', browser.contents)
        browser.open(self.url + '/documents?q=version1')
        self.assertIn('Nothing was found', browser.contents)
        # To save it as it is changes nothing.
        browser.open(url + '/edit.html')
        browser.getControl('Save').click()
        self.assertEqual(states, self.waitForRuns('reindex'))

    def test_news_and_the_nightly_report(self):
        browser = self.login('viewer')
        browser.open(self.url)
        self.assertIn('Nothing has been published yet', browser.contents)
        self.assertIn('There is no report yet', browser.contents)
        for name in ('a', 'b'):
            self.addDocument(name, '%s <b>"' % name)
            with self.site() as site:
                getRegistry(site).start(
                    'publish', site['documents'][name], pause=0.0)
        self.assertEqual(['succeeded'] * 2, self.waitForRuns())
        self.assertEqual(['succeeded'] * 2, self.waitForRuns('notify'))
        with self.site() as site:
            getRegistry(site).runSchedule('nightly-report')
        self.assertEqual(['succeeded'], self.waitForRuns('nightly-report'))
        with self.site() as site:
            del site['documents']['b']
        browser.open(self.url)
        self.assertEqual(2, browser.contents.count('was published'))
        self.assertIn('2 PUBLISHED', browser.contents)
        self.assertIn('b &lt;b&gt;', browser.contents)
        self.assertNotIn('<b>', browser.contents)
        self.assertNotIn('documents/b/index.html', browser.contents)
        browser.getLink('a <b>"').click()
        self.assertIn('PUBLISHED', browser.contents)
        self.assertIn('Announce a publication', browser.contents)
