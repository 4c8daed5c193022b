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
"""What the pages answer to what makes no sense, or not any more."""
import transaction
from zope.component import getGlobalSiteManager

from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerType
from cipher.background.tests.support.browser import BASE
from cipher.background.tests.support.browser import BrowserTests


RUN_VIEWS = ('index.html', 'index.json', 'stop.html', 'retry.html',
             'remove.html', 'begin.html', 'log.txt')
VERBS = ('begin', 'stop', 'retry', 'remove')


class BadInputTests(BrowserTests):

    def setUp(self):
        super().setUp()
        self.csrf_token = self.get('token.json').json['csrf_token']

    def act(self, path, **form):
        form.setdefault('csrf_token', self.csrf_token)
        return self.post(path, **form)

    def send(self, path, body=None):
        return self.app('admin').post_json(
            BASE + '/' + path, body or {},
            headers={'X-CSRF-Token': self.csrf_token}, expect_errors=True)

    def list(self):
        self.sync()
        return self.registry.listRuns().items


class TestFilters(BadInputTests):

    def check(self, query, said=''):
        for page in ('runs.html', 'runs.json', 'runs.csv',
                     'bulk.html?all=remove'):
            with self.subTest(query, page=page):
                answer = self.get('%s%s%s' % (
                    page, '&' if '?' in page else '?', query))
                self.assertEqual(answer.status_int, 400)
                self.assertIn(said, answer.text)
                self.assertNotIn('Traceback', answer.text)

    def test_dates_out_of_range(self):
        for query in ('until=9999-12-31', 'since=0000-00-00', 'since=1e99',
                      'until=99999-01-01', 'since=2026-02-30',
                      'since=-2026-01-01', 'until=%00'):
            self.check(query, 'is not a date')
        for query in ('since=0001-01-01T00:00%2B14:00', 'until=9999-12-30',
                      'since=9999-12-31T23:59:59-14:00'):
            self.assertEqual(self.get('runs.html?' + query).status_int, 200)

    def test_what_may_stand_there_once(self):
        # Were it left out, more runs would be acted upon than were meant.
        for name in 'q', 'since', 'until', 'context', 'order', 'before':
            self.check('%s=2026-01-01&%s=2026-01-02' % (name, name),
                       'not valid')

    def test_what_is_converted(self):
        for query in ('state:int=1', 'type.x:record=1', 'since:int=5',
                      'q.x:records=1', 'before:float=1.5', 'user:boolean=1'):
            self.check(query, '')

    def test_too_many_and_too_long(self):
        for query in ('&'.join('type=%d' % n for n in range(51)),
                      'q=' + 'x' * 201, 'user=' + 'x' * 201,
                      'context=' + 'x' * 201):
            self.check(query, 'too long')

    def test_keys_of_pages(self):
        for key in ('x', 'c', 'c1-1', 'c1-1-x', 'c%s-1-1' % ('9' * 40),
                    'f1-1-1', 'c-1-1-1', '%D9%A3', 'c1-1-1-1', '1e5'):
            self.check('before=' + key, 'Start again')
        for key in ('x', '-1', '9' * 40, '1e5', '%D9%A3', '1.5'):
            self.assertEqual(
                self.get('journal.html?before=' + key).status_int, 400)
        for key in '0', '9' * 18:
            self.assertEqual(
                self.get('journal.html?before=' + key).status_int, 200)

    def test_ids_go_with_what_a_run_can_tell(self):
        run, failed = self.makeRun().id, self.makeFailed().id
        for query in ('since=2026-01-01', 'until=2099-01-01',
                      'context=report'):
            self.check('q=id:%s&%s' % (run, query), 'state, type and user')
        self.check('q=word+id:' + run, 'state, type and user')
        for query, found in (('', {run, failed}), ('&state=failed', {failed}),
                             ('&type=plain', {run, failed}),
                             ('&user=test.admin', {failed}),
                             ('&type=other', set())):
            items = self.get('runs.json?q=id:%s+id:%s%s' % (
                run, failed, query)).json['items']
            self.assertEqual({item['id'] for item in items}, found, query)

    def test_many_ids_and_strange_ones(self):
        for box in ('id:9999999999999-1', 'id:x', 'id:""', 'id:',
                    'id:1-%s' % ('9' * 150), 'id:../1-1'):
            answer = self.get('runs.json?q=' + box)
            self.assertEqual(answer.status_int, 200, box)
            self.assertEqual(answer.json['items'], [])

    def test_too_many_selected(self):
        answer = self.act('bulk.html', selected='stop',
                          run=['1-%d' % n for n in range(1001)])
        self.assertEqual(answer.status_int, 400)
        self.assertIn('Too many runs', answer.text)


class TestTwice(BadInputTests):

    def test_stop(self):
        path = self.makeRun().id + '/stop.html'
        self.assertEqual(self.act(path, stop='1').status_int, 303)
        again = self.act(path, stop='1')
        self.assertEqual(again.status_int, 409)
        self.assertIn('there is nothing to stop', again.text)
        self.assertEqual(len(self.registry.listActions()[0]), 1)

    def test_retry(self):
        path = self.makeFailed().id + '/retry.html'
        first, second = (self.act(path, retry='1') for _n in range(2))
        self.assertEqual(first.status_int, 303)
        self.assertEqual(second.headers['Location'],
                         first.headers['Location'])
        self.assertEqual(len(self.list()), 2)
        self.assertEqual(len(self.registry.listActions()[0]), 1)

    def test_remove(self):
        path = self.makeFailed().id + '/remove.html'
        self.assertEqual(self.act(path, remove='1').status_int, 303)
        again = self.act(path, remove='1')
        self.assertEqual(again.status_int, 404)
        self.assertEqual(len(self.registry.listActions()[0]), 1)

    def test_bulk(self):
        runs = [self.makeRun().id for _n in range(3)]
        for done, skipped in (3, 0), (0, 3):
            answer = self.act('bulk.html', selected='stop', run=runs)
            self.assertEqual(answer.status_int, 303)
            self.assertIn('done=%d&skipped=%d' % (done, skipped),
                          answer.headers['Location'])
        # One id twice is one run.
        failed = self.makeFailed().id
        answer = self.act('bulk.html', selected='remove', run=[failed] * 3)
        self.assertIn('done=1&skipped=0', answer.headers['Location'])

    def test_pause(self):
        for _n in range(2):
            answer = self.act('types.html', pause='1', name='plain')
            self.assertEqual(answer.status_int, 303)
        self.sync()
        self.assertEqual(len(self.registry.listActions()[0]), 1)


class TestGone(BadInputTests):

    def test_run_that_vanished_since_the_list_was_made(self):
        run_id = self.makeFailed(log='x').id
        self.registry.remove(run_id)
        transaction.commit()
        texts = set()
        for view in RUN_VIEWS:
            answer = self.get('%s/%s' % (run_id, view))
            self.assertEqual(answer.status_int, 404)
            texts.add(answer.text)
        self.assertEqual(len(texts), 2)   # one is JSON
        for verb in VERBS:
            answer = self.act('%s/%s.html' % (run_id, verb), **{verb: '1'})
            self.assertEqual(answer.status_int, 404)
            self.assertIn('nothing at this address', answer.text)
            answer = self.send('%s/%s.json' % (run_id, verb))
            self.assertEqual(answer.status_int, 404)
            self.assertEqual(answer.json['status'], 404)
        for verb in VERBS:
            self.assertEqual(self.act('bulk.html', selected=verb,
                                      run=run_id).status_int, 303)
        self.assertEqual(
            self.get('runs.json?q=id:' + run_id).json['items'], [])

    def test_type_that_is_gone(self):
        components = getGlobalSiteManager()
        odd = components.getUtility(IWorkerType, 'odd/name & co')
        run = self.makeRun(odd.name)
        failed = self.makeFailed(type=odd.name)
        components.unregisterUtility(odd, IWorkerType, odd.name)
        self.addCleanup(components.registerUtility, odd, IWorkerType,
                        odd.name)
        path = 'start.html?type=odd/name+%26+co'
        self.assertEqual(self.get(path).status_int, 404)
        answer = self.act(path, type=odd.name, form__buttons__start='1')
        self.assertEqual(answer.status_int, 404)
        self.assertEqual(
            self.send('start.json', {'type': odd.name}).status_int, 404)
        self.assertIn('no longer declared', self.get(run.id).text)
        for path in 'runs.html', 'types.html', 'index.html', 'runs.csv':
            self.assertEqual(self.get(path).status_int, 200)
        self.assertEqual(self.act(failed.id + '/retry.html',
                                  retry='1').status_int, 409)
        self.assertEqual(
            self.send(failed.id + '/retry.json').status_int, 409)
        # What is left of it can still be paused, stopped and removed.
        for path, verb in (('types.html', 'pause'),
                           (run.id + '/stop.html', 'stop'),
                           (failed.id + '/remove.html', 'remove')):
            self.assertEqual(self.act(
                path, name=odd.name, **{verb: '1'}).status_int, 303)

    def test_registry_that_is_gone(self):
        run_id = self.makeRun().id
        manager = self.root.getSiteManager()
        manager.unregisterUtility(self.registry, IWorkerRegistry)
        del manager[self.registry.__name__]
        transaction.commit()
        for path in ('', 'index.html', 'runs.html', 'start.html?type=plain',
                     run_id, run_id + '/index.json', 'index.json',
                     'token.json'):
            self.assertEqual(self.get(path).status_int, 404, path)
        for path in ('types.html', 'bulk.html', run_id + '/stop.html'):
            self.assertEqual(self.act(path, stop='1').status_int, 404, path)
        self.assertEqual(self.send('start.json').status_int, 404)
        self.assertEqual(
            self.get('/@@background.html').status_int, 200)

    def test_rows_that_are_gone(self):
        for path, verbs, said in (
                ('types.html', ('pause', 'resume'), 'no such worker type'),
                ('schedules.html', ('pause', 'resume', 'run'),
                 'no longer exists'),
                ('processes.html', ('quiet', 'unquiet', 'drain'),
                 'no longer exists')):
            for verb in verbs:
                for name in ('gone', '', 'x' * 5000, '\0', '\u202e'):
                    answer = self.act(path, name=name, **{verb: '1'})
                    self.assertEqual(answer.status_int, 404)
                    self.assertIn(said, answer.text)
                self.assertEqual(self.act(path, **{
                    verb: '1', 'name:int': '5'}).status_int, 404)
        self.sync()
        self.assertEqual(self.registry.listActions()[0], [])


class TestJSON(BadInputTests):

    def test_input_named_like_an_argument(self):
        for name in 'context', 'name', 'self', 'delay', 'starter', 'unique':
            answer = self.send('start.json', {
                'type': 'plain', 'input': {name: 'report'}})
            self.assertEqual(answer.status_int, 400, name)
            self.assertIn(name, answer.json['error'])
        self.assertEqual(self.list(), [])

    def test_values_that_no_form_would_send(self):
        for value in (float('nan'), 10 ** 400, '\ud800', 'x' * 100000,
                      {'a': {'b': 1}}, [[]] * 100, True, None):
            answer = self.send('start.json', {
                'type': 'publish', 'input': {'title': 'x', 'count': value}})
            self.assertIn(answer.status_int, (202, 400), value)
            self.assertLess(len(answer.text), 2000)
        self.assertLess(len(self.list()), 3)

    def test_context_that_is_no_object(self):
        for path in ('report/title', 'report/__class__', '++etc++site',
                     '\0', 'x' * 2000, '/../report'):
            answer = self.send('start.json',
                               {'type': 'plain', 'context': path})
            self.assertEqual(answer.status_int, 400, path)
        self.assertEqual(self.list(), [])
