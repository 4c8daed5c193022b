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
"""A page that asks for news costs little while there are none."""
import gzip
import json
import unittest
from urllib.parse import urlencode

import transaction
import webob
from zope.publisher.browser import TestRequest

from cipher.background.browser import polling
from cipher.background.browser.compression import acceptsGzip
from cipher.background.browser.resources import CSS
from cipher.background.browser.resources import ICON
from cipher.background.browser.resources import SCRIPT
from cipher.background.tests.support.browser import PATH
from cipher.background.tests.support.browser import BrowserTests


class PollTests(BrowserTests):

    def setUp(self):
        super().setUp()
        self.run = self.makeFailed(log='first line\n')

    def poll(self, path, etag=None, user='admin', encoding=None):
        """GET *path* as the script does; the answer stays compressed."""
        headers = {}
        if etag is not None:
            headers['HTTP_IF_NONE_MATCH'] = etag
        if encoding is not None:
            headers['HTTP_ACCEPT_ENCODING'] = encoding
        app = self.app(user, **headers)
        return webob.Request.blank(
            path if path.startswith('/') else PATH + '/' + path,
            app.extra_environ).get_response(app.app)

    def paths(self):
        """Return the addresses of all JSON that may be read."""
        return ('index.json', 'runs.json', 'runs.json?state=failed',
                'types.json', 'type.json?name=plain', 'errors.json',
                'processes.json',
                'journal.json',
                self.run.id + '/index.json')

    def test_same_news_are_not_sent_again(self):
        for path in self.paths():
            with self.subTest(path):
                first = self.poll(path)
                etag = first.headers['ETag']
                again = self.poll(path, etag)
                self.assertEqual((again.status_int, again.body), (304, b''))
                self.assertEqual(again.headers['ETag'], etag)
                self.assertEqual(again.headers['Cache-Control'], 'no-store')
                # A proxy may take the mark of a weak one off.
                self.assertEqual(self.poll(path, etag[2:]).status_int, 304)
                for other in 'W/"0"', '"', etag + 'x', '', 'W/""':
                    self.assertEqual(
                        self.poll(path, other).status_int,
                        304 if etag in other else 200, other)

    def test_news_are_sent(self):
        etags = {path: self.poll(path).headers['ETag']
                 for path in ('index.json', 'runs.json', 'types.json')}
        self.makeFailed()
        for path, etag in etags.items():
            answer = self.poll(path, etag)
            self.assertEqual(answer.status_int, 200, path)
            self.assertNotEqual(answer.headers['ETag'], etag)

    def test_readers_who_see_different_things_have_different_etags(self):
        path = self.run.id + '/index.json'
        etag = self.poll(path).headers['ETag']
        viewer = self.poll(path, etag, user='viewer')
        self.assertEqual(viewer.status_int, 200)
        self.assertIsNone(viewer.json['details'])
        for user in 'stranger', None:
            answer = self.poll(path, etag, user)
            self.assertNotIn(answer.status_int, (200, 304))
            self.assertNotIn('ETag', answer.headers)

    def test_refusals_and_acts_have_no_etag(self):
        for path in 'runs.json?state=x', '9-9/index.json', 'nothing.json':
            answer = self.poll(path, '*')
            self.assertGreaterEqual(answer.status_int, 400)
            self.assertNotIn('ETag', answer.headers, path)
        self.assertNotIn('ETag', self.post('start.json').headers)

    def test_long_answers_are_compressed_for_clients_that_read_it(self):
        for _ in range(5):
            self.makeFailed()
        for path in 'index.json', 'runs.json':
            plain = self.poll(path)
            packed = self.poll(path, encoding='br, gzip;q=0.5')
            self.assertEqual(packed.headers['Content-Encoding'], 'gzip')
            self.assertEqual(packed.headers['Vary'], 'Accept-Encoding')
            self.assertEqual(json.loads(gzip.decompress(packed.body)),
                             plain.json)
            self.assertLess(len(packed.body), len(plain.body) / 3)
            self.assertEqual(packed.headers['ETag'], plain.headers['ETag'])
            for header in plain.headers, self.poll(
                    path, encoding='gzip;q=0').headers:
                self.assertNotIn('Content-Encoding', header)

    def test_static_files_are_compressed(self):
        for name in CSS, SCRIPT:
            path = '/++resource++' + name
            plain = self.poll(path, user=None)
            packed = self.poll(path, user=None, encoding='gzip')
            self.assertEqual(packed.headers['Content-Encoding'], 'gzip')
            self.assertEqual(gzip.decompress(packed.body), plain.body)
            self.assertIn('max-age', packed.headers['Cache-Control'])
            again = self.poll(path, packed.headers.get('ETag'), user=None,
                              encoding='gzip')
            self.assertEqual((again.status_int, again.body), (304, b''))
        self.assertNotIn('Content-Encoding', self.poll(
            '/++resource++' + ICON, user=None, encoding='gzip').headers)

    def test_no_answer_with_a_token_is_compressed(self):
        paths = ['index.html', 'runs.html', 'types.html', 'schedules.html',
                 'processes.html', 'journal.html', 'token.json', 'runs.csv',
                 'start.html?type=plain', self.run.id,
                 self.run.id + '/retry.html']
        for path in paths:
            answer = self.poll(path, encoding='gzip')
            self.assertEqual(answer.status_int, 200, path)
            self.assertNotIn('Content-Encoding', answer.headers, path)

    def test_server_says_when_to_poll_again(self):
        for path in self.paths():
            answer = self.poll(path)
            for answer in answer, self.poll(path, answer.headers['ETag']):
                self.assertTrue(
                    2 <= int(answer.headers['Poll-After']) <= 10)


class LogTests(BrowserTests):
    """A log that grows is not sent as a whole each time."""

    def poll(self, run, mark=None):
        """Return the `details` of *run*."""
        query = '?' + urlencode({'log_after': mark}) if mark else ''
        return self.get(
            run.id + '/index.json' + query).json['details']

    def write(self, run, log):
        """Store another *log* of *run*."""
        run.details.log = log
        transaction.commit()

    def test_only_new_lines_are_sent(self):
        run = self.makeFailed(log='one\nzwö\n')
        details = self.poll(run)
        self.assertEqual(details['log'], 'one\nzwö\n')
        self.assertNotIn('log_added', details)
        mark = details['log_end']
        details = self.poll(run, mark)
        self.assertEqual((details.get('log'), details['log_added'],
                          details['log_end']), (None, '', mark))
        self.write(run, 'one\nzwö\nthree\n')
        details = self.poll(run, mark)
        self.assertEqual(details['log_added'], 'three\n')
        self.assertNotIn('log', details)
        self.assertEqual(
            self.poll(run, details['log_end'])['log_added'], '')

    def test_log_that_did_not_only_grow_is_sent_whole(self):
        run = self.makeFailed(log='one\nsecret\n')
        mark = self.poll(run)['log_end']
        for log in 'one\n***\n', 'one\n', 'two\nsecret\nthree\n':
            self.write(run, log)
            details = self.poll(run, mark)
            self.assertEqual(details['log'], log)
            self.assertNotIn('log_added', details)

    def test_forged_marks_give_the_whole_log(self):
        run = self.makeFailed(log='one\n')
        for mark in ('x', '4', '4-', '-4-0', '4-0', '99999999999-0', '0-',
                     '٤-0', '4-%s' % ('0' * 16), '\x00', 'é' * 5000):
            details = self.poll(run, mark)
            self.assertEqual(details['log'], 'one\n', mark)

    def test_run_without_a_log(self):
        run = self.makeFailed()
        details = self.poll(run, '0-e3b0c44298fc1c14')
        self.assertIsNone(details['log'])
        self.assertFalse(details['log_end'])


class BudgetTests(unittest.TestCase):
    """All pages of a process together cost at most a part of a processor."""

    def poll(self, pages, cost, seconds=200.0):
        """Let *pages* poll for *seconds*; return (share, last wait)."""
        now = [0.0]
        budget = polling.Budget(0.02, lambda: now[0])
        due = [n * 2.0 / pages for n in range(pages)]
        spent, wait = 0.0, None
        while now[0] < seconds:
            page = min(range(pages), key=due.__getitem__)
            now[0] = due[page]
            wait = budget.spend(cost)
            due[page] += wait
            if now[0] > seconds / 2:
                spent += cost
        return spent / (seconds / 2), wait

    def test_few_pages_poll_often(self):
        for pages, cost in (1, 0.01), (3, 0.01), (30, 0.0005):
            self.assertEqual(self.poll(pages, cost)[1], 2.0)

    def test_many_pages_share_the_budget(self):
        for pages, cost in (30, 0.004), (10, 0.01), (100, 0.001):
            share, wait = self.poll(pages, cost)
            self.assertTrue(0.01 < share < 0.03, (share, wait))
            self.assertTrue(2.0 < wait < 10.0, (share, wait))

    def test_nobody_waits_for_long(self):
        self.assertEqual(self.poll(300, 0.05)[1], 10.0)

    def test_budget_recovers(self):
        now = [0.0]
        budget = polling.Budget(0.02, lambda: now[0])
        for _ in range(1000):
            budget.spend(1.0)
        self.assertEqual(budget.spend(1.0), 10.0)
        now[0] = 1000.0
        self.assertEqual(budget.spend(0.001), 2.0)


class AcceptTests(unittest.TestCase):

    def test_accept_encoding(self):
        for header, expected in (
                ('gzip', True), ('GZIP', True), ('br, gzip', True),
                ('gzip;q=0.5,br', True), ('*', True), ('gzip ; q=1', True),
                ('', False), ('br', False), ('gzip;q=0', False),
                ('gzip;q=0.0', False), ('xgzip', False), ('gzipx', False),
                ('gzip;q=x', False), ('gzip;q=.', False), (None, False)):
            with self.subTest(header):
                environ = {} if header is None else {
                    'HTTP_ACCEPT_ENCODING': header}
                self.assertIs(
                    acceptsGzip(TestRequest(environ=environ)), expected)
