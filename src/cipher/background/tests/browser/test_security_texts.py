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
"""Texts of others, in every place where one is shown."""
import csv
import io
import json
import re
import time
from pathlib import Path
from urllib.parse import quote

import transaction
from zope.component import getGlobalSiteManager
from zope.principalregistry.principalregistry import principalRegistry

import cipher.background.browser
from cipher.background.browser.text import encode
from cipher.background.declarations.schedule import Schedule
from cipher.background.declarations.workertype import WorkerType
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STATES
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import IWorkerType
from cipher.background.store.journal import Action
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.store.run import RunDetails
from cipher.background.tests.support.browser import BASE
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.browserworld import Document


PAYLOADS = (
    '"><svg onload=alert(1)>', "'", '{{7*7}}', '{{7777*7777}}',
    'javascript:alert(1)',
    '</script>', 'a lone \ud800 surrogate', 'a NUL \0 here',
    'right \u202e to left', 'CR\r\nLF', 'ESC \x1b[31m')
PAYLOAD = ' '.join(PAYLOADS)
UNFIT = '\0\u202e\x1b\r'
#: What of it the address of a page can say.
QUOTED = quote(PAYLOAD.replace('\ud800', ''), safe='')
SOURCES = Path(cipher.background.browser.__file__).parent


class PayloadTests(BrowserTests):
    """A registry in which all that anybody can name is the payload."""

    def setUp(self):
        super().setUp()
        admin = principalRegistry.getPrincipal('test.admin')
        self.addCleanup(setattr, admin, 'title', admin.title)
        admin.title = PAYLOAD
        self.root['payload'] = Document(PAYLOAD)
        transaction.commit()
        self.declare()
        running = self.makeRunning(
            title=PAYLOAD, starter='test.admin', progress=(1, 2, PAYLOAD))
        self.registry.stops[running.id] = (PAYLOAD, 1000.0, PAYLOAD)
        self.process = self.makeProcess(running)
        failed = self.makeFailed(
            (PAYLOAD, PAYLOAD), PAYLOAD, PAYLOAD, title=PAYLOAD,
            result=PAYLOAD)
        failed.details.history = ((time.time(), time.time(), PAYLOAD,
                                   PAYLOAD, PAYLOAD, PAYLOAD, PAYLOAD,
                                   PAYLOAD),)
        retried = self.makeFailed((PAYLOAD, PAYLOAD))
        retry = self.registry.retry(retried.id)
        retry.retry_of = retry.retry_of[:2] + (PAYLOAD, 1000.0, PAYLOAD)
        odd = self.registry.addRun(
            PAYLOAD, input={PAYLOAD: PAYLOAD}, starter=PAYLOAD)
        about = self.registry.start('plain', self.root['payload'])
        result = self.makeFailed(result={PAYLOAD: [PAYLOAD]})
        rows = self.registry.journal.recent
        rows[1] = 'pause type', PAYLOAD, PAYLOAD, 1000.0, PAYLOAD
        rows[2] = PAYLOAD, PAYLOAD, None, 1000.0, None
        rows[3] = Action(
            PAYLOAD, None, PAYLOAD, 1000.0, PAYLOAD, (PAYLOAD,), 2, 1000.0,
            number=2, filter=PAYLOAD).toRow()
        self.registry.pauses[PAYLOAD] = PAYLOAD, 1000.0, PAYLOAD
        self.registry.pauseSchedule(PAYLOAD)
        self.registry.schedules[PAYLOAD].paused = PAYLOAD, 1000.0, PAYLOAD
        transaction.commit()
        self.failed = failed
        self.runs = [running, failed, retried, retry, odd, about, result]

    def declare(self):
        components = getGlobalSiteManager()
        for utility, provided, name in (
                (Schedule(PAYLOAD, PAYLOAD, every=60.0), ISchedule, PAYLOAD),
                (Schedule('late', PAYLOAD, every=60.0), ISchedule, 'late'),
                (WorkerType('told', handler=print, title=PAYLOAD,
                            description=PAYLOAD), IWorkerType, 'told')):
            components.registerUtility(utility, provided, name)
            self.addCleanup(
                components.unregisterUtility, utility, provided, name)

    def makeProcess(self, run):
        """Note a process whose host is the payload; it carries out *run*."""
        record = ProcessRecord('%s:1:0123456789abcdef' % PAYLOAD, PAYLOAD, 1,
                               None, None, 4, 90.0, time.time())
        record.request.is_quiet = True
        record.request.asked = PAYLOAD, 1000.0, PAYLOAD
        directory = getDirectory(self.registry._p_jar)
        directory.processes[record.id] = record
        silent = ProcessRecord('%s:2:0' % PAYLOAD, PAYLOAD, 2, None, None, 4,
                               90.0, 1000.0)
        directory.processes[silent.id] = silent
        run.owner = record.id
        self.assertEqual(run.state, RUNNING)
        record.live.runs[self.registry._p_oid, run.id] = (
            run.started_at, (1, 2, PAYLOAD), PAYLOAD, PAYLOAD)
        return record

    def paths(self):
        """Yield the path of each page."""
        yield from ('index.html', 'runs.html', 'types.html', 'schedules.html',
                    'processes.html', 'journal.html', 'start.html?type=told',
                    'type.html?name=told', 'errors.html',
                    'start.html?type=plain&context.path=' + QUOTED,
                    'bulk.html?all=stop&q=' + QUOTED[:150],
                    'runs.html?q=' + QUOTED[:150],
                    'runs.html?did=stop&done=1&skipped=' + QUOTED)
        for name in 'user', 'context', 'type', 'since', 'state', 'order':
            yield 'runs.html?%s=%s' % (name, QUOTED)
            yield 'runs.html?%s=%s' % (name, QUOTED[:30])
        for run in self.runs:
            yield run.id
            for verb in 'begin', 'stop', 'retry', 'remove':
                yield '%s/%s.html?reason=%s' % (run.id, verb, QUOTED)
        for name in 'runs.html', 'journal.html':
            yield '%s?before=%s' % (name, QUOTED)


class TestPages(PayloadTests):

    def check(self, answer):
        self.assertIn(answer.status_int, (200, 400))
        text = answer.body.decode('utf-8')
        self.assertNotIn('<svg onload', text)
        self.assertEqual(text.count('</script>'), 1)
        self.assertNotRegex(text, r'(href|src|action)="\s*javascript:')
        self.assertNotIn("'>", re.sub('="[^"]*"', '', text))
        self.assertNotIn(str(7777 * 7777), text)
        for unfit in UNFIT:
            self.assertNotIn(unfit, text)
        return text

    def test_pages_show_texts_as_texts(self):
        shown = 0
        for path in self.paths():
            with self.subTest(path):
                shown += 'svg onload=alert(1)' in self.check(self.get(path))
        self.assertGreater(shown, 30)

    def test_each_place_shows_its_text(self):
        # Were one of them left out, the test above would prove nothing.
        running, failed, retried, retry, odd, about, result = (
            run.id for run in self.runs)
        for path, number in (
                ('index.html', 10), ('types.html', 5), ('schedules.html', 4),
                ('processes.html', 3), ('journal.html', 4), (running, 8),
                (failed, 7), (retry, 1), (odd, 4), (about, 2), (result, 2),
                ('start.html?type=told', 3)):
            text = self.get(path).text
            with self.subTest(path):
                self.assertGreaterEqual(
                    text.count('svg onload=alert(1)&gt;'), number)

    def test_answers_to_forms_show_texts_as_texts(self):
        token = self.get('token.json').json['csrf_token']
        for path, form in (
                (self.runs[1].id + '/stop.html', {'stop': '1'}),
                (self.runs[0].id + '/retry.html', {'retry': '1'}),
                (self.runs[0].id + '/remove.html', {'remove': '1'}),
                ('types.html', {'pause': '1'}),
                ('schedules.html', {'run': '1'}),
                ('processes.html', {'drain': '1'}),
                ('bulk.html', {'all': PAYLOADS[0]}),
                ('start.html?type=publish', {
                    'type': 'publish', 'form__buttons__start': '1',
                    'form__widgets__title': PAYLOADS[0],
                    'form__widgets__count': PAYLOADS[0],
                    'form__widgets__context__path': PAYLOADS[0]})):
            with self.subTest(path):
                answer = self.post(path, csrf_token=token, name=PAYLOADS[0],
                                   reason=PAYLOADS[0], **form)
                text = answer.body.decode('utf-8')
                self.assertGreaterEqual(answer.status_int, 200)
                self.assertNotIn('<svg onload', text)

    def test_reasons_are_kept_and_shown_clean(self):
        token = self.get('token.json').json['csrf_token']
        reason = PAYLOAD.replace('\ud800', '')
        self.post('processes.html', csrf_token=token, drain='1', reason=reason,
                  name=self.process.id.replace('\ud800', '\ufffd'))
        self.post('types.html', csrf_token=token, pause='1', reason=reason,
                  name='plain')
        self.post(self.runs[5].id + '/stop.html', csrf_token=token, stop='1',
                  reason=reason)
        for path in 'types.html', 'journal.html', self.runs[5].id:
            self.assertIn('svg onload=alert(1)', self.check(self.get(path)))
        for action in self.registry.listActions()[0]:
            if action.principal == 'test.admin' and action.reason:
                self.assertNotRegex(action.reason, '[%s\n]' % UNFIT)


class TestOtherForms(PayloadTests):

    def clean(self, text):
        text.encode('utf-8')
        for unfit in UNFIT:
            self.assertNotIn(unfit, text)

    def test_json_holds_clean_texts(self):
        paths = ['index.json', 'runs.json', 'types.json', 'processes.json',
                 'type.json?name=told',
                 'runs.json?type=' + QUOTED]
        for run in self.runs:
            paths.append(run.id + '/index.json')
        for path in paths:
            with self.subTest(path):
                answer = self.get(path)
                data = json.loads(answer.body.decode('ascii'))
                text = json.dumps(data, ensure_ascii=False)
                self.clean(text)
                self.assertIn('<svg onload=alert(1)>', text)

    def test_json_answers_hold_clean_texts(self):
        token = self.get('token.json').json['csrf_token']
        for body in ({PAYLOAD: 1}, {'type': PAYLOAD}, {
                'type': 'plain', 'input': {PAYLOAD: PAYLOAD}}, {
                'type': 'publish', 'input': {'title': PAYLOAD, 'count': 'x',
                                             'parts': [PAYLOAD]}},
                {'type': 'plain', 'context': PAYLOAD},
                {'type': 'plain', 'input': {'context': PAYLOAD}}):
            answer = self.app('admin').post_json(
                BASE + '/start.json', body, headers={'X-CSRF-Token': token},
                expect_errors=True)
            self.assertIn(answer.status_int, (400, 404))
            self.clean(json.dumps(answer.json, ensure_ascii=False))

    def test_log_is_downloaded_without_control_characters(self):
        answer = self.get(self.failed.id + '/log.txt')
        text = answer.body.decode('utf-8')
        self.assertIn('<svg onload=alert(1)>', text)
        self.clean(text)
        self.assertEqual(answer.headers['Content-Type'],
                         'text/plain;charset=utf-8')

    def test_csv_holds_clean_cells_and_no_formula(self):
        for n, sign in enumerate('=+-@'):
            self.makeFailed((sign + 'cmd()', ' ' + sign + '1'),
                            title=sign + PAYLOAD)
        text = self.get('runs.csv').body.decode('utf-8-sig')
        self.clean(text.replace('\r\n', ''))
        rows = list(csv.reader(io.StringIO(text)))
        self.assertEqual(len(rows), 1 + len(self.runs) + 4)
        self.assertEqual({len(row) for row in rows}, {15})
        for row in rows:
            for cell in row:
                self.assertNotRegex(cell, r'^\s*[=+@-]')


class TestDetails(BrowserTests):

    def test_stack_and_paths_need_the_details_permission(self):
        run = self.makeRunning()
        record, = getDirectory(self.registry._p_jar).processes.values()
        record.live.runs[self.registry._p_oid, run.id] = (
            run.started_at, None, 'the log', 'File "/srv/app/secret.py"')
        record.live._p_changed = True
        failed = self.makeFailed(traceback='File "/srv/app/secret.py"')
        failed.details = RunDetails('File "/srv/app/secret.py"', 'the log')
        transaction.commit()
        for path in (run.id, run.id + '/index.json', failed.id,
                     failed.id + '/index.json'):
            self.assertIn('secret.py', self.get(path).text)
            answer = self.get(path, 'viewer')
            self.assertEqual(answer.status_int, 200)
            self.assertNotIn('secret.py', answer.text)
            self.assertNotIn('the log', answer.text)
        # The kind of the error and a short message are for everybody.
        self.assertIn('ValueError', self.get(failed.id, 'viewer').text)

    def test_secret_at_the_cut_of_the_log_is_masked(self):
        run = self.makeFailed(
            type='publish', input={'secret': 'hush-hush', 'title': 'x'},
            log='said hush-hush' + 'x' * (100000 - 4))
        for path in run.id, run.id + '/index.json', run.id + '/log.txt':
            text = self.get(path).text
            self.assertNotIn('hush', text)

    def test_refused_secret_is_not_in_the_answer(self):
        token = self.get('token.json').json['csrf_token']
        answer = self.post(
            'start.html?type=publish', csrf_token=token, type='publish',
            form__buttons__start='1', form__widgets__secret='hush-hush',
            form__widgets__title='')
        self.assertEqual(answer.status_int, 200)
        self.assertNotIn('hush-hush', answer.text)
        for input in ({'secret': 'hush-hush', 'title': 5},
                      {'secret': ['hush-hush'], 'title': 'x'}):
            answer = self.app('admin').post_json(
                BASE + '/start.json', {'type': 'publish', 'input': input},
                headers={'X-CSRF-Token': token}, expect_errors=True)
            self.assertEqual(answer.status_int, 400)
            self.assertNotIn('hush-hush', answer.text)


class TestTemplates(BrowserTests):

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

    def test_no_data_is_in_a_script(self):
        self.makeRun()
        for path in 'index.html', 'runs.html', 'processes.html':
            self.assertEqual(re.findall(
                r'<script[^>]*>([^<]*)<', self.get(path).text), [''])

    def test_pages_have_all_states(self):
        css = (SOURCES / 'static' / 'background.css').read_text()
        for state in STATES:
            self.assertIn('[data-state=%s]::before' % state, css)

    def test_last_resort_of_a_page(self):
        self.assertEqual(encode('\ud800').decode(), '\ufffd')
