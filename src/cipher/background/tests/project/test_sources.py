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
"""What the code promises of itself: interactions, limits, names, sources."""
import ast
import inspect
import re
import unittest
from pathlib import Path
from unittest import mock

import transaction
from zope.security.interfaces import NoInteraction
from zope.security.management import endInteraction
from zope.security.management import queryInteraction

import cipher.background
from cipher.background.browser import api
from cipher.background.browser import bulk
from cipher.background.browser import filters
from cipher.background.browser import runpage
from cipher.background.browser import runs
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.registry import verbs
from cipher.background.tests.support.browser import BASE
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import SiteTests
from cipher.background.work import runlog


PACKAGE = Path(cipher.background.__file__).parent
SCRIPT = PACKAGE / 'browser' / 'static' / 'background.js'


def sources():
    """Yield (path from the package, source) of our modules, without tests."""
    for path in sorted(PACKAGE.rglob('*.py')):
        if 'tests' not in path.parts and 'demo' not in path.parts:
            yield (path.relative_to(PACKAGE).as_posix(),
                   path.read_text('utf-8'))


def calls(source):
    """Yield (name, node) of the calls in *source*."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func
            yield getattr(name, 'attr', getattr(name, 'id', '')), node


class TestSources(unittest.TestCase):

    def test_interactions_have_a_participation(self):
        # That of the context managers is given theirs by the observer of a
        # worker: None for `system` alone; and bare threads have none to give.
        found = [(path, ast.unparse(node)) for path, source in sources()
                 for name, node in calls(source)
                 if name in ('newInteraction', 'beginInteraction')]
        self.assertEqual(found, [
            ('contextmanagers.py',
             'getHost().beginInteraction(*self._participations)'),
            ('hosts/plone/host.py',
             'super().beginInteraction(*participations)'),
            ('hosts/zope/host.py',
             'super().beginInteraction(*participations)'),
            ('util/host.py',
             'self.beginInteraction(*self._get_people(run))'),
            ('util/host.py', 'newInteraction(*participations)')])

    def test_nothing_imports_or_evaluates_what_a_form_says(self):
        for path, source in sources():
            if not path.startswith('browser/'):
                continue
            names = {name for name, _node in calls(source)}
            self.assertEqual(names & {
                'import_module', '__import__', 'resolve', 'eval', 'exec',
                'loads_pickle', 'literal_eval'}, set(), path)
            self.assertNotIn('pickle', source)
            self.assertNotIn('importlib', source)

    def test_no_shell_and_no_pattern_or_path_of_a_parameter(self):
        for path, source in sources():
            if not path.startswith('browser/'):
                continue
            for name, node in calls(source):
                self.assertNotIn(name, (
                    'system', 'popen', 'Popen', 'check_output', 'open'), path)
                owner = getattr(getattr(node.func, 'value', None), 'id', None)
                if owner == 're':
                    # The pattern stands in the code.
                    self.assertIsInstance(node.args[0], (
                        ast.Constant, ast.BinOp), (path, name))
        self.assertNotIn('RegExp', SCRIPT.read_text())

    def test_script_makes_no_markup(self):
        text = SCRIPT.read_text()
        self.assertIn('textContent', text)
        self.assertNotRegex(
            text, r'innerHTML|outerHTML|insertAdjacent|document\.write|eval|'
                  r'Function\(|setTimeout\([\'"]')

    def test_script_asks_every_two_seconds_at_most(self):
        interval = re.search(r'INTERVAL = ([0-9]+)', SCRIPT.read_text())
        self.assertGreaterEqual(int(interval[1]), 2000)

    def test_limits(self):
        self.assertLessEqual(runs.PAGE_SIZE, 50)
        self.assertLessEqual(runs.CSV_LIMIT, 10000)
        self.assertLessEqual(bulk.BULK_LIMIT, 1000)
        self.assertLessEqual(filters.VALUE_LIMIT, 200)
        self.assertLessEqual(runpage.LOG_LIMIT, 100000)
        self.assertLessEqual(runlog.LOG_LIMIT, 262144)
        self.assertLessEqual(api.BODY_LIMIT, 1000000)

    def test_no_form_and_no_JSON_says_who_starts(self):
        for name in 'startByPrincipal', 'startOnce', 'requestStop', 'retry':
            parameters = inspect.signature(getattr(
                cipher.background.registry.registry.WorkerRegistry,
                name)).parameters
            self.assertEqual(set(parameters) & {
                'starter', 'principal', 'user', 'site'}, set())
            self.assertIn(name, IWorkerRegistry)


class TestTemplates(unittest.TestCase):

    def test_no_path_names_a_method_of_a_dict(self):
        # Zope finds the method first.  An attribute of a view is no problem.
        names = '|'.join(name for name in dir(dict) if name[0] != '_')
        found = []
        for path in sorted(PACKAGE.rglob('*.pt')):
            found += re.findall(r'(?<![/@.])\b(?!view/\w+["\s;]|context/@@)'
                                r'\w+(?:/\w+)*/(?:%s)\b[^"]*' % names,
                                path.read_text('utf-8'))
        self.assertEqual([], found)
        self.assertTrue(re.search(r'/(?:%s)\b' % names, 'view/data/items'))


class TestInteractions(SiteTests):

    def test_administration_without_anybody_is_of_the_system(self):
        endInteraction()
        self.assertIsNone(queryInteraction())
        declareWorker('work', lambda worker: None)
        run = self.registry.start('work')
        transaction.commit()
        with self.assertRaises(NoInteraction):
            self.registry.startOnce(0.0, 'work')
        self.registry.requestStop(run.id)
        self.assertIsNone(self.registry.getStatus(run.id).stop.principal)


class TestLimits(BrowserTests):

    def start(self, user='admin', **environ):
        token = self.get('token.json', user).json['csrf_token']
        return self.app(user, **environ).post(
            BASE + '/start.html?type=plain',
            {'csrf_token': token, 'type': 'plain', 'form.buttons.start': '1'},
            expect_errors=True)

    def startByJSON(self, user='admin', **environ):
        token = self.get('token.json', user).json['csrf_token']
        return self.app(user, **environ).post_json(
            BASE + '/start.json', {'type': 'plain'},
            headers={'X-CSRF-Token': token}, expect_errors=True)

    def test_too_many_waiting_runs_refuse_another_start(self):
        self.makeRun()
        self.makeRun('odd/name & co')
        with mock.patch.object(verbs, 'WAITING_LIMIT', 2):
            self.assertEqual(self.start().status_int, 303)
            for answer in self.start(), self.startByJSON():
                self.assertEqual(answer.status_int, 429)
                self.assertIn('are waiting', answer.text)
            # An application is not refused; nor is another type.
            self.makeRun()
        self.sync()
        self.assertEqual(
            self.registry.getCounts()['plain'], {'pending': 3})
        self.assertEqual(self.start().status_int, 303)
        self.assertEqual(self.startByJSON().status_int, 202)

    def test_starter_of_too_many_waiting_runs_gets_a_429(self):
        self.registry.waiting_per_starter = 2
        self.makeRun()
        self.assertEqual(self.start().status_int, 303)
        self.assertEqual(self.startByJSON().status_int, 202)
        for language, text in (
                ('en', 'Too many of your runs are waiting.'),
                ('de', 'Es warten zu viele Ihrer Läufe.'),
                ('lt', 'Laukia per daug Jūsų vykdymų.')):
            for start in self.start, self.startByJSON:
                with self.subTest(language, start=start):
                    answer = start(HTTP_ACCEPT_LANGUAGE=language)
                    self.assertEqual(answer.status_int, 429)
                    shown = (answer.json['error'] if start == self.startByJSON
                             else answer.text)
                    self.assertIn(text, shown)
        # Nobody else is refused; nor is an application.
        self.assertEqual(self.start(user='editor').status_int, 303)
        self.assertEqual(self.startByJSON(user='editor').status_int, 202)
        self.makeRun()
        self.sync()
        self.assertEqual(
            self.registry.getCounts()['plain'], {'pending': 6})
        # It is open again when they are done.
        for run in self.registry.listRuns().items:
            self.registry.requestStop(run.id)
        transaction.commit()
        self.assertEqual(self.start().status_int, 303)
        self.assertEqual(self.startByJSON().status_int, 202)

    def test_starter_is_who_sends_the_form(self):
        token = self.token('start.html?type=plain', 'editor')
        self.post('start.html?type=plain', 'editor', csrf_token=token,
                  type='plain', form__buttons__start='1',
                  starter='test.admin', principal='test.admin',
                  user_name='test.admin')
        self.sync()
        run, = self.registry.listRuns().items
        self.assertEqual(run.starter, 'test.editor')

    def test_names_of_types_are_only_looked_up(self):
        for name in (
                'os.system',
                'cipher.background.tests.support.browserworld'
                '.publish', '../plain', 'plain\0', '.publish'):
            with self.subTest(name):
                for path in 'start.html?type=', 'runs.json?type=':
                    answer = self.app('admin').get(
                        BASE + '/' + path + name.replace('\0', '%00'),
                        expect_errors=True)
                    if path.startswith('start'):
                        self.assertEqual(answer.status_int, 404)
                    else:
                        self.assertEqual(answer.json['items'], [])

    def test_search_is_no_pattern(self):
        self.makeFailed(('ValueError', 'a.*b (c'))
        self.makeFailed(('ValueError', 'axxb c'))
        for box, number in (('.*', 1), ('a.*b', 1), ('(c', 1), ('[', 0),
                            ('\\', 0), ('^', 0)):
            items = self.app('admin').get(
                BASE + '/runs.json', {'q': box}).json['items']
            self.assertEqual(len(items), number, box)

    def test_a_page_has_its_size_whatever_is_asked(self):
        for _n in range(60):
            self.registry.start('plain')
        transaction.commit()
        for name in 'limit', 'size', 'b_size':
            answer = self.get('runs.json?%s=1000' % name)
            self.assertEqual(len(answer.json['items']), 50)

    def test_logs_are_cut_on_the_page_and_kept_to_download(self):
        run_id = self.makeFailed(log='first\n' + 'x' * 150000 + '\nlast').id
        log = self.get(run_id + '/index.json').json['details']['log']
        self.assertEqual(len(log), runpage.LOG_LIMIT)
        self.assertTrue(log.endswith('last'))
        self.assertTrue(log.startswith('…x'))
        text = self.get(run_id + '/log.txt').text
        self.assertTrue(text.startswith('first'))
        self.assertTrue(text.endswith('last'))
