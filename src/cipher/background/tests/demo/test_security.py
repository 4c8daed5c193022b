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
"""Who may do what in the demo, and what may not be done at all."""
from pathlib import Path

import cipher.background.demo
from cipher.background.tests.demo.test_pages import DemoPagesTestCase


class SecurityTests(DemoPagesTestCase):

    paths = ('/', '/documents', '/documents/add.html', '/documents/doc',
             '/documents/doc/edit.html', '/documents/doc/runs.json')

    def status(self, browser):
        return int(browser.headers['Status'].split()[0])

    def test_anonymous_is_asked_to_log_in(self):
        url = self.addDocument('doc', 'A secret', 'The secret')
        browser = self.login(None)
        for path in self.paths:
            browser.open(self.url + path)
            self.assertEqual(401, self.status(browser), path)
            self.assertIn('basic', browser.headers['WWW-Authenticate'])
            # That of JSON is bytes.
            self.assertNotIn('secret', str(browser.contents))
        browser.post(url + '/publish.html', '')
        self.assertEqual(401, self.status(browser))

    def test_a_viewer_only_looks(self):
        url = self.addDocument()
        browser = self.login('viewer')
        browser.open(url)
        for word in ('Edit', '>Publish<'):
            self.assertNotIn(word, browser.contents)
        browser.open(self.url)
        self.assertNotIn('Add a document', browser.contents)
        for path in ('/documents/add.html', '/documents/doc/edit.html'):
            browser.open(self.url + path)
            self.assertEqual(403, self.status(browser))
        browser.post(url + '/publish.html', '')
        self.assertEqual(403, self.status(browser))

    def test_nothing_changes_by_get(self):
        url = self.addDocument()
        browser = self.login()
        form = ('?document.widgets.title=x&document.widgets.body=y'
                '&document.buttons.save=1&csrf_token='
                + self.token(browser, url + '/edit.html'))
        browser.open(url + '/edit.html' + form)
        browser.open(self.url + '/documents/add.html' + form)
        browser.open(url + '/publish.html' + form)
        self.assertEqual(405, self.status(browser))
        with self.site() as site:
            self.assertEqual(['Title'], [
                document.title for document in site['documents'].values()])
        self.assertEqual([], self.waitForRuns())

    def test_nothing_changes_without_a_token(self):
        url = self.addDocument()
        browser = self.login()
        others = self.token(self.login('admin'), url)
        form = ('document.widgets.title=x&document.widgets.body=y'
                '&document.buttons.save=1&csrf_token=')
        for token in ('', 'x', '1.x', others):
            for path in ('/documents/doc/edit.html', '/documents/add.html',
                         '/documents/doc/publish.html'):
                browser.post(self.url + path, form + token)
                self.assertEqual(403, self.status(browser), path)
        with self.site() as site:
            self.assertEqual(['Title'], [
                document.title for document in site['documents'].values()])
        self.assertEqual([], self.waitForRuns())

    def test_nothing_changes_for_another_site(self):
        url = self.addDocument()
        browser = self.login()
        token = self.token(browser, url)
        for header, value in (('Origin', 'http://evil.example'),
                              ('Sec-Fetch-Site', 'cross-site')):
            browser = self.login()
            browser.addHeader(header, value)
            browser.post(url + '/publish.html', 'csrf_token=' + token)
            self.assertEqual(403, self.status(browser))
        self.assertEqual([], self.waitForRuns())

    def test_headers(self):
        self.addDocument()
        browser = self.login()
        for path in self.paths[1:]:
            browser.open(self.url + path)
            self.assertEqual(200, self.status(browser), path)
            self.assertIn("default-src 'self'",
                          browser.headers['Content-Security-Policy'])
            self.assertEqual('no-store', browser.headers['Cache-Control'])
            self.assertEqual('nosniff',
                             browser.headers['X-Content-Type-Options'])

    def test_structure_is_for_what_is_sanitised(self):
        folder = Path(cipher.background.demo.__file__).parent / 'templates'
        found = [line.strip() for path in sorted(folder.glob('*.pt'))
                 for line in path.read_text().splitlines()
                 if 'structure' in line]
        self.assertEqual(
            ['tal:content="structure view/rendered_html">'
             'Rendered and sanitised</article>'], found)
