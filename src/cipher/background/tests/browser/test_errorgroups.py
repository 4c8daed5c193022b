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
"""The page of the errors, and acts on all runs of one."""
import html

from cipher.background.browser import errorgroups
from cipher.background.tests.support.browser import BASE
from cipher.background.tests.support.browser import BrowserTests


class TestErrors(BrowserTests):

    def setUp(self):
        super().setUp()
        self.runs = [self.makeFailed(('TimeoutError', 'after %d s' % number))
                     for number in (30, 60)]
        self.other = self.makeFailed(('KeyError', "'<a>'"))

    def test_page_and_json(self):
        page = html.unescape(self.get('errors.html').text)
        for expected in ('TimeoutError', 'after ‹number› s', '2 of 2',
                         'KeyError', '‹text›', 'Retry 2…', 'data-part',
                         self.runs[1].id):
            self.assertIn(expected, page)
        self.assertNotIn('<a>', page)
        data = self.get('errors.json').json
        self.assertEqual([group['number'] for group in data['items']], [1, 2])
        self.assertEqual(data['looked_at'], 3)

    def test_links_lead_to_the_runs_of_one_error(self):
        _key, timeout = self.get('errors.json').json['items']
        runs = self.get(timeout['runs_url'].replace('.html', '.json')).json
        self.assertEqual({run['id'] for run in runs['items']},
                         {run.id for run in self.runs})

    def test_retry_of_one_error(self):
        _key, timeout = self.get('errors.json').json['items']
        browser = self.browser()
        browser.open(BASE + timeout['retry_url'][len('/++background++'):])
        self.assertIn('2 runs can be retried', browser.contents)
        browser.getControl('Retry them').click()
        self.sync()
        for run in self.runs:
            self.assertIsNotNone(run.retried_as)
        self.assertIsNone(self.other.retried_as)
        _key, timeout = self.get('errors.json').json['items']
        self.assertEqual((timeout['number'], timeout['unresolved'],
                          timeout['retry_url']), (2, 0, None))

    def test_viewers_are_offered_no_retry(self):
        for group in self.get('errors.json', 'viewer').json['items']:
            self.assertIsNone(group['retry_url'])
        self.assertNotIn('bulk.html', self.get('errors.html', 'viewer').text)

    def test_bad_input(self):
        for query in '?type=none', '?type=%ed%a0%80', '?type=a&type=b':
            with self.subTest(query):
                answer = self.get('errors.html' + query)
                self.assertEqual(answer.status_int, 200)
                self.assertIn('No run failed.', answer.text)
        for key in 'x', '%22', '0' * 17, 'A' * 16:
            for path in 'runs.html', 'runs.json', 'bulk.html':
                answer = self.get('%s?error=%s&all=retry' % (path, key))
                self.assertEqual(answer.status_int, 400)
                self.assertIn('This error is not known', answer.text)
        self.assertEqual(self.get('runs.json?error=' + '0' * 16).json[
            'items'], [])

    def test_many_are_cut_and_not_live(self):
        self.addCleanup(setattr, errorgroups, 'LIMIT', errorgroups.LIMIT)
        self.addCleanup(
            setattr, errorgroups, 'LIVE_LIMIT', errorgroups.LIVE_LIMIT)
        errorgroups.LIMIT, errorgroups.LIVE_LIMIT = 1, 2
        page = self.get('errors.html').text
        self.assertIn('Only the first 1 errors are shown.', page)
        self.assertNotIn('data-part', page)
