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
"""What goes with every answer, and which requests may act."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

from cipher.background.browser import csrf
from cipher.background.tests.support.browser import BASE
from cipher.background.tests.support.browser import BrowserTests


HEADERS = {
    'Content-Security-Policy':
        "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'self'",
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'same-origin',
    'Cache-Control': 'no-store',
}
LINES = {'Content-Security-Policy': 24, 'X-Content-Type-Options': 23,
         'X-Frame-Options': 25, 'Referrer-Policy': 25, 'Cache-Control': 26}

#: Makes a token as another process does, which has but the database.
MAKE = ('import sys; from cipher.background.browser import csrf; '
        'print(csrf.makeToken(bytes.fromhex(sys.argv[1]), "test.admin"))')


class TestHeaders(BrowserTests):

    def answers(self):
        """Yield (path, answer) of all kinds of answers."""
        run_id, failed = self.makeRun().id, self.makeFailed(log='x').id
        for path in ('index.html', 'index.json', 'runs.html', 'runs.json',
                     'runs.csv', 'runs.html?state=x', 'runs.csv?state=x',
                     'types.html', 'types.json', 'schedules.html',
                     'processes.html', 'processes.json', 'journal.html',
                     'journal.html?before=x', 'bulk.html?all=stop',
                     'bulk.html', 'start.html?type=plain',
                     'start.html?type=x', 'start.json', 'token.json', run_id,
                     run_id + '/index.json', run_id + '/stop.html',
                     run_id + '/stop.json', failed + '/retry.html',
                     failed + '/remove.html', failed + '/log.txt', 'nothing',
                     'nothing.json'):
            for user in ('admin', 'viewer', 'stranger', None):
                yield path, self.get(path, user)
        yield 'site', self.get('/other/@@background.html')
        for path in 'index.html', 'start.json', 'types.html':
            yield path, self.post(path, pause='1')

    def check(self, *numbers):
        for path, answer in self.answers():
            for name, value in HEADERS.items():
                if LINES[name] in numbers:
                    with self.subTest(path, status=answer.status, name=name):
                        self.assertEqual(answer.headers.get(name), value)

    def test_every_answer_carries_the_policy(self):
        self.check(24)

    def test_every_answer_carries_the_other_headers(self):
        self.check(25, 26)

    def test_every_answer_is_of_the_kind_that_it_says(self):
        self.check(23)
        for path, kind in (('index.json', 'application/json'),
                           ('runs.json?state=x', 'application/json'),
                           ('nothing.json', 'application/json'),
                           ('start.json', 'application/json'),
                           ('runs.csv', 'text/csv;charset=utf-8'),
                           ('index.html', 'text/html;charset=utf-8'),
                           (self.makeFailed(log='x').id + '/log.txt',
                            'text/plain;charset=utf-8')):
            self.assertEqual(self.get(path).headers['Content-Type'], kind)

    def test_no_answer_lets_other_sites_read(self):
        for path in 'index.json', 'token.json', 'start.json', 'index.html':
            for method in 'GET', 'POST', 'OPTIONS':
                answer = self.app('admin').request(
                    BASE + '/' + path, method=method, expect_errors=True,
                    headers={'Origin': 'http://evil.example',
                             'Access-Control-Request-Method': 'POST'})
                self.assertEqual([name for name in answer.headers
                                  if name.lower().startswith('access-')], [])

    def test_names_of_downloads_are_made_of_ids(self):
        run_id = self.makeFailed(log='x').id
        self.assertRegex(run_id, '^[0-9]+-[0-9]+$')
        self.assertEqual(
            self.get(run_id + '/log.txt').headers['Content-Disposition'],
            'attachment; filename="run-%s.log.txt"' % run_id)
        for path in ('runs.csv', 'runs.csv?q=%22%0d%0aX-Evil:%201'):
            answer = self.get(path)
            self.assertEqual(answer.headers['Content-Disposition'],
                             'attachment; filename="runs.csv"')
            self.assertNotIn('X-Evil', answer.headers)
        for path in '%22x/log.txt', '9-99/log.txt':
            self.assertNotIn('Content-Disposition', self.get(path).headers)

    def test_redirects_lead_to_addresses_of_our_own(self):
        evil = 'http://evil.example/'
        token = self.get('token.json').json['csrf_token']
        for path, form in (
                (self.makeRun().id + '/stop.html', {'stop': '1'}),
                (self.makeFailed().id + '/retry.html', {'retry': '1'}),
                (self.makeFailed().id + '/remove.html', {'remove': '1'}),
                ('types.html', {'pause': '1', 'name': 'plain'}),
                ('schedules.html', {'run': '1', 'name': 'nightly'}),
                ('bulk.html', {'all': 'stop', 'q': evil}),
                ('start.html?type=plain', {
                    'form__buttons__start': '1', 'type': 'plain'})):
            with self.subTest(path):
                answer = self.post(
                    path, csrf_token=token, came_from=evil, next=evil,
                    camefrom=evil, url=evil, headers={'Referer': evil},
                    **form)
                self.assertEqual(answer.status_int, 303)
                # A path: not even a virtual host leads to another server.
                self.assertTrue(answer.headers['Location'].startswith(
                    '/++background++/'))

    def test_error_pages_do_not_echo_the_address(self):
        run_id = self.makeRun().id
        for path in ('%3Csvg%20onload=alert(1)%3E', 'Sesame', 'Sesame.json',
                     run_id + '/Sesame', 'Sesame/alert(1)'):
            for user in 'admin', 'stranger', None:
                answer = self.get(path + '?Sesame=alert(1)', user)
                self.assertGreaterEqual(answer.status_int, 400)
                self.assertNotRegex(answer.text, r'alert\(|onload')
                self.assertNotIn('Sesame', answer.text)

    def test_broken_page_tells_nothing_of_the_error(self):
        with mock.patch('cipher.background.browser.overview.Overview.collect',
                        side_effect=RuntimeError('Sesame')):
            for path in 'index.html', 'index.json':
                answer = self.get(path)
                self.assertEqual(answer.status_int, 500)
                self.assertNotIn('Sesame', answer.text)
                self.assertNotIn('RuntimeError', answer.text)
                self.assertNotIn('overview.py', answer.text)

    def test_errors_are_json_where_json_was_asked(self):
        for path, user, status in (
                ('nothing.json', 'admin', 404), ('index.json', None, 401),
                ('index.json', 'stranger', 403)):
            answer = self.get(path, user)
            self.assertEqual(answer.status_int, status)
            self.assertEqual(answer.json['status'], status)

    def test_head_is_answered_as_get_without_a_body(self):
        failed = self.makeFailed(log='x').id
        for path in ('index.html', 'index.json', 'runs.csv', 'types.html',
                     'token.json', failed, failed + '/log.txt',
                     failed + '/index.json', failed + '/retry.html'):
            answer = self.app('admin').head('/++background++/' + path)
            self.assertEqual(answer.status_int, 200, path)
            self.assertEqual(answer.body, b'', path)


class TestForgery(BrowserTests):

    #: (path, form) of all that acts by a form.
    def forms(self):
        yield self.makeRun().id + '/stop.html', {'stop': '1'}
        yield self.makeFailed().id + '/retry.html', {'retry': '1'}
        yield self.makeFailed().id + '/remove.html', {'remove': '1'}
        yield 'types.html', {'pause': '1', 'name': 'plain'}
        yield 'schedules.html', {'run': '1', 'name': 'nightly'}
        yield 'processes.html', {'drain': '1', 'name': self.process}
        yield 'bulk.html', {'all': 'stop'}
        yield 'start.html?type=plain', {
            'form__buttons__start': '1', 'type': 'plain'}
        yield '/other/@@addBackground', {}

    def setUp(self):
        super().setUp()
        self.process = self.addProcess().id

    def actions(self):
        self.sync()
        return (self.registry.listActions()[0],
                len(self.registry.listRuns().items))

    def test_no_form_acts_without_a_token(self):
        others = self.get('token.json', 'viewer').json['csrf_token']
        for path, form in list(self.forms()):
            before = self.actions()
            for token in '', 'x', others:
                with self.subTest(path, token=token):
                    answer = self.post(path, csrf_token=token, **form)
                    self.assertEqual(answer.status_int, 403)
            self.assertEqual(self.actions(), before)

    def test_no_form_acts_for_another_site(self):
        token = self.get('token.json').json['csrf_token']
        for path, form in list(self.forms()):
            before = self.actions()
            for headers in ({'Sec-Fetch-Site': 'cross-site'},
                            {'Origin': 'http://evil.example'},
                            {'Origin': 'http://['}, {'Origin': ''},
                            {'Origin': '//'}):
                with self.subTest(path, headers=headers):
                    answer = self.post(path, headers=headers,
                                       csrf_token=token, **form)
                    self.assertEqual(answer.status_int, 403)
            self.assertEqual(self.actions(), before)

    def test_no_form_acts_by_GET_or_HEAD(self):
        token = self.get('token.json').json['csrf_token']
        for path, form in list(self.forms()):
            before = self.actions()
            query = '&'.join('%s=%s' % (name.replace('__', '.'), value)
                             for name, value in form.items()
                             if name + '=' not in path)
            for method in 'GET', 'HEAD':
                url = path if path[:1] == '/' else '/++background++/' + path
                answer = self.app('admin').request(
                    '%s%s%s&csrf_token=%s' % (
                        url, '&' if '?' in url else '?', query, token),
                    method=method, expect_errors=True)
                self.assertIn(answer.status_int,
                              (200,) if 'bulk' in path else (405,))
            self.assertEqual(self.actions(), before)

    def test_tokens_are_compared_in_constant_time(self):
        source = Path(csrf.__file__).read_text()
        self.assertEqual(source.count('compare_digest'), 1)
        self.assertNotRegex(
            source, r'(token|signature|cookie)\s*[!=]=\s')
        token = self.get('token.json').json['csrf_token']
        with mock.patch('hmac.compare_digest', return_value=True) as compare:
            self.post('types.html', csrf_token=token.replace('.', '.x'))
        self.assertEqual(compare.call_count, 1)

    def test_token_of_another_process_holds(self):
        token = subprocess.run(
            [sys.executable, '-c', MAKE, self.registry.secret.hex()],
            stdout=subprocess.PIPE, check=True, text=True, timeout=60,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
        ).stdout.strip()
        run_id = self.makeRun().id
        answer = self.post(run_id + '/stop.html', stop='1', csrf_token=token)
        self.assertEqual(answer.status_int, 303)

    def test_secret_is_in_the_database_and_shown_to_nobody(self):
        connection = self.registry._p_jar.db().open()
        self.addCleanup(connection.close)
        other = connection.get(self.registry._p_oid)
        self.assertEqual(other.secret, self.registry.secret)
        self.assertEqual(len(other.secret), 32)
        for path in 'index.json', 'token.json', 'index.html', 'journal.html':
            self.assertNotIn(other.secret.hex(), self.get(path).text)

    def test_addition_of_a_registry_needs_the_cookie_as_well(self):
        page = self.get('/other/@@background.html')
        cookie = re.search(r'%s=([0-9a-f]+)' % re.escape(csrf.COOKIE),
                           page.headers['Set-Cookie'])
        self.assertRegex(page.headers['Set-Cookie'],
                         r'(?i)httponly.*samesite=strict|'
                         r'samesite=strict.*httponly')
        for token, sent in ((cookie[1], None), ('', ''), ('x', 'x'),
                            (cookie[1], 'x' * 64)):
            answer = self.app('admin').post(
                '/other/@@addBackground', {'csrf_token': token},
                headers={} if sent is None else {
                    'Cookie': '%s=%s' % (csrf.COOKIE, sent)},
                expect_errors=True)
            self.assertEqual(answer.status_int, 403)

    def test_bodies_of_other_types_are_refused(self):
        token = self.get('token.json').json['csrf_token']
        run_id = self.makeRun().id
        for path in 'start.json', run_id + '/stop.json':
            for kind in ('text/plain', 'application/x-www-form-urlencoded',
                         'multipart/form-data', 'application/jsonx',
                         'text/plain; application/json'):
                answer = self.app('admin').post(
                    '/++background++/' + path, json.dumps({'type': 'plain'}),
                    headers={'X-CSRF-Token': token}, content_type=kind,
                    expect_errors=True)
                self.assertEqual(answer.status_int, 415, kind)
        self.sync()
        self.assertEqual([run.state for run in
                          self.registry.listRuns().items], ['pending'])
