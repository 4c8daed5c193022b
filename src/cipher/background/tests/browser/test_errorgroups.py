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
import re

import transaction

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
        self.assertNotIn('data-part="errors"', page)


class TestError(BrowserTests):

    def setUp(self):
        super().setUp()
        self.runs = [self.makeFailed(('TimeoutError', 'after %d s' % number),
                                     type='publish') for number in (30, 60)]
        for run in self.runs:
            run.input = {'title': 'x'}
        transaction.commit()
        self.other = self.makeFailed(('KeyError', "'<a>'"))
        _key, timeout = self.get('errors.json').json['items']
        self.path = timeout['url'][len('/++background++/'):]

    def page(self, user='admin', more=''):
        return html.unescape(self.get(self.path + more, user).text)

    def test_what_failed_and_when(self):
        page = self.page()
        for expected in ('TimeoutError: after ‹number› s', 'Not resolved',
                         'TimeoutError: after 30 s', 'after 60 s',
                         'type.html?name=publish', 'data-part="error"',
                         *[run.id for run in self.runs]):
            self.assertIn(expected, page)
        for other in 'KeyError', '/%s/' % self.other.id:
            self.assertNotIn(other, page)
        self.assertRegex(page, r'<title>[^<]*TimeoutError')
        self.assertEqual(page.count('class="cb-slot"'), 24)
        self.assertEqual(
            self.page(more='&days=14').count('class="cb-slot"'), 14)

    def test_lists_lead_to_it(self):
        for name in 'errors.html', 'index.html':
            self.assertIn(self.path, html.unescape(self.get(name).text))

    def test_retry_of_all_and_start_of_one_again(self):
        page = self.page()
        self.assertRegex(page, r'bulk.html\?all=retry&[^"]*">Retry 2…')
        again = re.search(
            r'href="[^"]*/(start.html\?[^"]*)">Start again with changes…',
            page)[1]
        self.assertIn('like=' + self.runs[-1].id, again)
        self.assertEqual(self.get(again).status_int, 200)

    def test_one_traceback(self):
        run = self.runs[-1]
        run.details.traceback = 'Traceback\n  here <b>'
        transaction.commit()
        self.assertIn('Traceback\n  here <b>', self.page())
        self.assertNotIn('here <b>', self.get(self.path).text)

    def test_viewers_see_neither_input_nor_traceback_nor_verbs(self):
        run = self.runs[-1]
        run.details.traceback = 'Traceback\n  here'
        transaction.commit()
        page = self.page('viewer')
        self.assertIn('after 60 s', page)
        for hidden in ('here', 'Start again', 'Retry 2…', 'bulk.html',
                       'Retry…'):
            self.assertNotIn(hidden, page)

    def test_unknown_error_is_a_message_in_place(self):
        for query in ('', '?error=', '?error=x', '?error=' + '0' * 16,
                      '?error=a&error=b', '?error=%ed%a0%80',
                      '?error=%22%3E%3Csvg+onload=alert(1)%3E',
                      self.path[len('error.html'):] + '&type=plain',
                      self.path[len('error.html'):] + '&type=none'):
            with self.subTest(query):
                answer = self.get('error.html' + query)
                self.assertEqual(answer.status_int, 404)
                self.assertIn('There is no such error', answer.text)
                self.assertNotIn('<svg onload', answer.text)

    def test_runs_that_vanish(self):
        self.registry.remove(self.runs[-1].id)
        transaction.commit()
        page = self.page()
        self.assertNotIn('/%s/' % self.runs[-1].id, page)
        self.assertIn('/%s/' % self.runs[0].id, page)
        self.registry.remove(self.runs[0].id)
        transaction.commit()
        self.assertEqual(self.get(self.path).status_int, 404)
