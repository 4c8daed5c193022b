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
"""Pages and JSON of a worker type that only some may see."""
from zope.component import getGlobalSiteManager

from cipher.background.declarations.workertype import WorkerType
from cipher.background.interfaces import IWorkerType
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.browserworld import publish


class SightTests(BrowserTests):
    """The administrator sees the type ``audit``, nobody else does."""

    def setUp(self):
        super().setUp()
        components = getGlobalSiteManager()
        audit = WorkerType('audit', handler=publish, title='Audit of Bob',
                           view_permission='browser.Secret')
        components.registerUtility(audit, IWorkerType, 'audit')
        self.addCleanup(
            components.unregisterUtility, audit, IWorkerType, 'audit')
        self.hidden = [self.makeFailed(type='audit').id for _ in range(3)]
        self.seen = [self.makeFailed().id for _ in range(2)]
        self.hidden.append(self.makeRun('audit').id)
        self.seen.append(self.makeRun().id)

    def assertUnseen(self, text):
        for name in 'audit', 'Audit':
            self.assertNotIn(name, text)
        for run_id in self.hidden:
            self.assertNotRegex(text, r'\b%s\b' % run_id)

    def test_no_page_tells_of_it(self):
        for path in ('index.html', 'index.json', 'runs.html', 'runs.json',
                     'runs.csv', 'types.html', 'types.json',
                     'schedules.html', 'processes.html', 'journal.html',
                     'type.html?name=plain', 'type.json?name=plain',
                     'errors.html', 'errors.json', 'errors.json?type=audit',
                     'bulk.html?all=stop', 'runs.html?q=bob'):
            with self.subTest(path):
                answer = self.get(path, 'stopper')
                self.assertEqual(answer.status_int, 200)
                self.assertUnseen(answer.text)
        self.assertIn('Audit of Bob', self.get('types.html').text)
        self.assertIn('Audit of Bob', self.get('runs.html').text)

    def test_page_of_the_type_is_that_of_an_unknown_one(self):
        self.assertEqual(self.get('type.html?name=audit').status_int, 200)
        for path in 'type.html', 'type.json':
            hidden = self.get(path + '?name=audit', 'viewer')
            other = self.get(path + '?name=bogus', 'viewer')
            self.assertEqual(hidden.status_int, 404)
            self.assertEqual(hidden.text.replace('audit', 'bogus'),
                             other.text)

    def test_counts_are_those_of_what_is_seen(self):
        for user, failed in ('viewer', 2), ('admin', 5):
            counts = self.get('index.json', user).json['counts']
            self.assertEqual(counts['failed'], failed)
            data = self.get('runs.json?state=failed', user).json
            self.assertEqual(len(data['items']), failed)
            self.assertIn('%d matching run' % failed, data['text']['all'])
            rows = self.get('runs.csv?state=failed', user).text.splitlines()
            self.assertEqual(len(rows), failed + 1)
        for query in 'type=audit', 'q=id:' + self.hidden[0]:
            self.assertEqual(
                self.get('runs.json?' + query, 'viewer').json['items'], [])
            self.assertTrue(self.get('runs.json?' + query).json['items'])

    def test_pages_say_how_far_they_looked_without_it(self):
        for query in '', '?q=nothing', '?state=failed', '?type=plain':
            with self.subTest(query):
                page = self.get('runs.json' + query, 'viewer').json
                self.assertLessEqual(page['looked_at'], len(self.seen))

    def test_filters_answer_as_with_an_unknown_type(self):
        for query in ('type=%s', 'type=%s&before=x', 'q=type:%s&before=x',
                      'type=%s&order=slowest', 'type=%s&since=x'):
            for view in 'runs.html', 'runs.json', 'runs.csv':
                with self.subTest(view + '?' + query):
                    known, unknown = (
                        self.get('%s?%s' % (view, query % name), 'viewer')
                        for name in ('audit', 'tidua'))
                    self.assertEqual(known.status, unknown.status)
                    self.assertEqual(known.text.replace('audit', 'tidua'),
                                     unknown.text)

    def test_chart_counts_all_types_so_it_is_left_out(self):
        page = self.get('index.html').text
        self.assertIn('<svg', page)
        self.assertNotIn('chart of the last 24 hours is not shown', page)
        page = self.get('index.html', 'viewer').text
        self.assertNotIn('<svg', page)
        self.assertIn('chart of the last 24 hours is not shown', page)

    def test_its_runs_answer_as_unknown_ones(self):
        for view in ('', '/index.html', '/index.json', '/stop.html',
                     '/retry.html', '/nothing'):
            unknown = self.get('9-99' + view, 'stopper')
            self.assertEqual(unknown.status_int, 404)
            for run_id in self.hidden:
                with self.subTest(run_id + view):
                    answer = self.get(run_id + view, 'stopper')
                    self.assertEqual(answer.status, unknown.status)
                    self.assertEqual(answer.text, unknown.text)
                    self.assertEqual(list(answer.headers.items()),
                                     list(unknown.headers.items()))

    def test_it_is_not_stopped_by_whoever_does_not_see_it(self):
        token = self.get('token.json', 'stopper').json['csrf_token']
        waiting = self.hidden[-1]
        answer = self.post(waiting + '/stop.html', 'stopper', stop='1',
                           csrf_token=token)
        self.assertEqual(answer.status_int, 404)
        answer = self.post(
            'bulk.html', 'stopper', csrf_token=token, verb='stop', do='1',
            all='stop')
        self.assertUnseen(answer.text)
        self.sync()
        self.assertEqual(self.registry.get(waiting).state, 'pending')

    def test_it_is_not_started_by_whoever_does_not_see_it(self):
        known, unknown = (self.get(
            'start.html?type=' + name, 'editor') for name in (
                'audit', 'tidua'))
        self.assertEqual(known.status_int, 404)
        self.assertEqual(known.text.replace('audit', 'tidua'), unknown.text)
        token = self.get('token.json', 'editor').json['csrf_token']
        answers = [self.app('editor').post_json(
            '/++background++/start.json', {'type': name},
            headers={'X-CSRF-Token': token}, expect_errors=True)
            for name in ('audit', 'tidua')]
        self.assertEqual([answer.status_int for answer in answers],
                         [404, 404])
        self.assertEqual(answers[0].json, answers[1].json)
        self.assertEqual(self.get('start.html?type=audit').status_int, 200)
