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
"""Who may see and do what in the pages, and what they never show."""
import json
import re
from pathlib import Path

import transaction
from zope.component import getGlobalSiteManager
from zope.security.checker import CheckerPublic
from zope.security.checker import getCheckerForInstancesOf

import cipher.background.browser
from cipher.background.interfaces import STATES
from cipher.background.interfaces import ISchedule
from cipher.background.schedule import Schedule
from cipher.background.tests.browser_support import BrowserTests


PAYLOADS = (
    '"><svg onload=alert(1)>', "'", '{{7*7}}', 'javascript:alert(1)',
    '</script>', 'a lone \ud800 surrogate', 'a NUL \0 here',
    'right \u202e to left', 'CR\r\nLF', 'ESC \x1b[31m')
PAYLOAD = ' '.join(PAYLOADS)

HEADERS = {
    'Content-Security-Policy':
        "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'self'",
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'same-origin',
    'Cache-Control': 'no-store',
}
SOURCES = Path(cipher.background.browser.__file__).parent


class TestPermissions(BrowserTests):

    def setUp(self):
        super().setUp()
        self.run_id = self.makeRun('publish', title='Sesame').id
        self.paths = [
            '/++background++', 'index.html', 'index.json', 'runs.html',
            'runs.json', 'types.html', 'schedules.html',
            'start.html?type=plain', self.run_id, self.run_id + '/index.html',
            self.run_id + '/index.json', self.run_id + '/stop.html',
            'background_macros', '9-99', 'nothing']

    def test_anonymous_is_asked_to_log_in_and_sees_no_data(self):
        for path in self.paths:
            with self.subTest(path):
                answer = self.get(path, None)
                self.assertEqual(answer.status_int, 401)
                self.assertIn('WWW-Authenticate', answer.headers)
                self.assertNotIn('Sesame', answer.text)
                self.assertNotIn('publish', answer.text)

    def test_stranger_is_refused_and_sees_no_data(self):
        for path in self.paths:
            with self.subTest(path):
                answer = self.get(path, 'stranger')
                self.assertEqual(answer.status_int, 403)
                self.assertNotIn('publish', answer.text)

    def test_unknown_and_forbidden_runs_answer_alike(self):
        for user in (None, 'stranger'):
            answers = {
                (answer.status_int, answer.text) for answer in (
                    self.get(path, user)
                    for path in (self.run_id, '9-99', 'x' * 200))}
            self.assertEqual(len(answers), 1)

    def test_unknown_runs_are_not_found(self):
        for path in ('9-99', '0-0', 'x', '1-1-1', '-1-1', '1' * 30 + '-1',
                     '9-99/index.json', '9-99/stop.html', '%00',
                     self.run_id + '/nothing', 'background_macros',
                     'index.html/x', '@@background.html'):
            with self.subTest(path):
                self.assertEqual(self.get(path).status_int, 404)

    def test_viewer_sees_but_cannot_start_or_stop(self):
        for path in ('index.html', 'runs.html', 'types.html',
                     'schedules.html', self.run_id):
            self.assertEqual(self.get(path, 'viewer').status_int, 200)
        for path in ('start.html?type=plain', self.run_id + '/stop.html'):
            self.assertEqual(self.get(path, 'viewer').status_int, 403)
        run_id = self.makeRunning().id
        for path in ('index.html', run_id):
            self.assertIn('stop.html', self.get(path).text)
            self.assertNotIn('stop.html', self.get(path, 'viewer').text)

    def test_editor_cannot_stop(self):
        path = self.run_id + '/stop.html'
        self.assertEqual(self.get(path, 'editor').status_int, 403)
        self.assertEqual(self.post(path, 'editor', stop='1', csrf_token=(
            self.token('start.html?type=plain', 'editor'))).status_int, 403)
        self.sync()
        self.assertEqual(self.registry.get(self.run_id).state, 'pending')

    def test_details_need_a_permission_of_their_own(self):
        run_id = self.makeFailed(traceback='the traceback',
                                 log='the log').id
        for path in (run_id, run_id + '/index.json'):
            for text in ('the traceback', 'the log'):
                self.assertIn(text, self.get(path).text)
                self.assertNotIn(text, self.get(path, 'viewer').text)
        self.assertNotIn('Sesame', self.get(self.run_id, 'viewer').text)

    def test_start_permission_of_the_type_is_needed(self):
        path = 'start.html?type=publish'
        self.assertEqual(self.get(path, 'editor').status_int, 403)
        token = self.token('start.html?type=plain', 'editor')
        answer = self.post(
            path, 'editor', csrf_token=token, type='publish',
            form__buttons__start='1', form__widgets__title='x',
            form__widgets__count='1')
        self.assertEqual(answer.status_int, 403)

    def test_only_managers_add_registries(self):
        path = '/other/@@addBackground'
        for user in ('viewer', 'editor', 'stranger'):
            self.assertIn(self.post(path, user).status_int, (401, 403))
        self.sync()
        self.assertNotIn('background', self.root['other'].getSiteManager())

    def test_nothing_but_static_files_is_public(self):
        found, public = set(), set()
        for registration in getGlobalSiteManager().registeredAdapters():
            factory = registration.factory
            if not (isinstance(factory, type) and any(
                    base.__module__.startswith('cipher.background.browser')
                    for base in factory.__mro__)):
                continue
            checker = getCheckerForInstancesOf(factory)
            if checker is None:
                continue    # traversers and the like publish nothing
            found.add(registration.name)
            if CheckerPublic in checker.get_permissions.values():
                public.add((registration.name, factory))
        self.assertEqual(public, set())
        self.assertEqual(found, {
            'index.html', 'index.json', 'runs.html', 'runs.json', 'runs.csv',
            'bulk.html', 'types.html', 'types.json', 'schedules.html',
            'processes.html', 'processes.json', 'journal.html', 'start.html',
            'stop.html', 'retry.html', 'remove.html', 'log.txt',
            'background.html', 'addBackground', 'background_macros'})

    def test_stylesheet_and_script_are_public(self):
        for name, kind in (('css', 'text/css'), ('js', 'javascript'),
                           ('svg', 'image/svg+xml')):
            answer = self.get('/@@/cipher-background.' + name, None)
            self.assertEqual(answer.status_int, 200)
            self.assertIn(kind, answer.headers['Content-Type'])


class TestHeaders(BrowserTests):

    def test_every_answer_carries_the_headers(self):
        run_id = self.makeRun().id
        for path in ('index.html', 'index.json', 'runs.html', 'runs.json',
                     'runs.html?state=x', 'types.html', 'schedules.html',
                     'start.html?type=plain', 'start.html?type=x', run_id,
                     run_id + '/index.json', run_id + '/stop.html',
                     'nothing', 'nothing.json', '/other/@@background.html'):
            for user in ('admin', 'stranger'):
                if path.startswith('/other') and user != 'admin':
                    continue    # the host's own answer
                with self.subTest(path, user=user):
                    answer = self.get(path, user)
                    for name, value in HEADERS.items():
                        self.assertEqual(answer.headers.get(name), value)

    def test_no_answer_lets_other_sites_read(self):
        self.assertNotIn('Access-Control-Allow-Origin', self.get(
            'index.json', HTTP_ORIGIN='http://evil.example').headers)

    def test_json_is_declared_as_such(self):
        for path in ('index.json', 'runs.json', 'runs.json?state=x',
                     'nothing.json'):
            self.assertEqual(self.get(path).headers['Content-Type'],
                             'application/json;charset=utf-8')

    def test_errors_are_json_where_json_was_asked(self):
        for path, user, status in (
                ('nothing.json', 'admin', 404), ('index.json', None, 401),
                ('index.json', 'stranger', 403)):
            answer = self.get(path, user)
            self.assertEqual(answer.status_int, status)
            self.assertEqual(answer.json['status'], status)

    def test_pages_that_show_refuse_to_act(self):
        for path in ('index.html', 'index.json', 'runs.html', 'runs.json',
                     'types.json', 'journal.html', self.makeRun().id):
            with self.subTest(path):
                answer = self.post(path, x='1')
                self.assertEqual(answer.status_int, 405)
                self.assertEqual(answer.headers['Allow'], 'GET, HEAD')

    def test_head_has_no_body(self):
        answer = self.app('admin').head('/++background++/index.html')
        self.assertEqual(answer.status_int, 200)
        self.assertEqual(answer.body, b'')


class TestTexts(BrowserTests):

    def setUp(self):
        super().setUp()
        running = self.makeRunning(
            title=PAYLOAD, starter=PAYLOAD, progress=(1, 2, PAYLOAD))
        self.registry.stops[running.id] = (PAYLOAD, 1000.0, PAYLOAD)
        failed = self.makeFailed(
            (PAYLOAD, PAYLOAD), PAYLOAD, PAYLOAD, title=PAYLOAD,
            result=PAYLOAD)
        odd = self.registry.addRun(
            PAYLOAD, input={PAYLOAD: PAYLOAD}, starter=PAYLOAD)
        transaction.commit()
        schedule = Schedule(PAYLOAD, PAYLOAD, every=60.0)
        components = getGlobalSiteManager()
        components.registerUtility(schedule, ISchedule, PAYLOAD)
        self.addCleanup(
            components.unregisterUtility, schedule, ISchedule, PAYLOAD)
        self.paths = ['index.html', 'runs.html', 'types.html',
                      'schedules.html']
        self.json_paths = ['index.json', 'runs.json']
        for run in running, failed, odd:
            self.paths.append(run.id)
            self.paths.append(run.id + '/stop.html')
            self.json_paths.append(run.id + '/index.json')

    def test_row_48_pages_show_texts_as_texts(self):
        for path in self.paths:
            with self.subTest(path):
                answer = self.get(path)
                self.assertEqual(answer.status_int, 200)
                text = answer.body.decode('utf-8')
                self.assertIn('alert(1)', text)
                self.assertNotIn('<svg onload', text)
                self.assertEqual(text.count('</script>'), 1)
                self.assertNotRegex(text, 'href="javascript:')
                for unfit in '\0\u202e\x1b\r':
                    self.assertNotIn(unfit, text)

    def test_row_48_json_holds_clean_texts(self):
        for path in self.json_paths:
            with self.subTest(path):
                answer = self.get(path)
                data = json.loads(answer.body.decode('ascii'))
                text = json.dumps(data, ensure_ascii=False)
                text.encode('utf-8')
                for unfit in '\0\u202e\x1b\r':
                    self.assertNotIn(unfit, text)
                self.assertIn('<svg onload=alert(1)>', text)

    def test_error_pages_do_not_echo_the_address(self):
        for path in ('%3Csvg%20onload=alert(1)%3E', 'Sesame', 'Sesame.json'):
            answer = self.get(path + '?Sesame')
            self.assertNotIn('alert', answer.text)
            self.assertNotIn('Sesame', answer.text)

    def test_bad_filter_is_escaped(self):
        text = self.get('runs.html?state=%22%3E%3Csvg%3E').text
        self.assertNotIn('<svg', text)


class TestSources(BrowserTests):

    def test_templates_use_structure_for_widgets_only(self):
        used = {
            line.strip() for path in SOURCES.glob('templates/*.pt')
            for line in path.read_text().splitlines() if 'structure' in line}
        self.assertTrue(used)
        for line in used:
            self.assertRegex(line, 'structure (field/widget/render|'
                             'view/input_view/render)')

    def test_templates_have_no_script_and_no_style_within(self):
        for path in SOURCES.glob('templates/*.pt'):
            text = path.read_text()
            self.assertNotRegex(text, r'<style|style=|\son\w+=')
            self.assertEqual(re.findall(
                r'<script (?!defer tal:attributes="src )', text), [])

    def test_script_makes_no_markup(self):
        text = (SOURCES / 'static' / 'background.js').read_text()
        self.assertNotRegex(
            text, r'innerHTML|outerHTML|insertAdjacent|document\.write|eval')

    def test_pages_have_all_states(self):
        css = (SOURCES / 'static' / 'background.css').read_text()
        for state in STATES:
            self.assertIn('[data-state=%s]::before' % state, css)
