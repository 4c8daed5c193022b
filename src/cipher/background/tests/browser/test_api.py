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
"""A script starts, stops, retries and removes runs by JSON."""
import json
import time

from cipher.background.browser.api import BODY_LIMIT
from cipher.background.browser.api import TOKEN_HEADER
from cipher.background.tests.support.browser import PATH
from cipher.background.tests.support.browser import BrowserTests


class ApiTests(BrowserTests):

    def send(self, path, body=None, user='admin', token=None, **headers):
        """POST *body* as JSON, whatever comes of it."""
        if token is None:
            token = self.get('token.json', user).json['csrf_token']
        headers = {name.replace('_', '-'): value
                   for name, value in headers.items()}
        return self.app(user).post(
            '/++background++/' + path,
            body if isinstance(body, bytes) else json.dumps(body or {}),
            headers={TOKEN_HEADER: token, **headers},
            content_type='application/json', expect_errors=True)

    def state(self, run_id):
        self.sync()
        return self.registry.get(run_id).state

    def list(self):
        self.sync()
        return self.registry.listRuns().items


class TestStart(ApiTests):

    def test_start_answers_with_a_status_url_to_wait_at(self):
        answer = self.send('start.json', {
            'type': 'publish', 'context': 'report',
            'input': {'title': 'Sesame', 'notify': True}})
        self.assertEqual(answer.status_int, 202)
        run, = self.list()
        self.assertEqual(answer.json, {
            'id': run.id, 'state': 'pending',
            'url': '%s/%s/index.html' % (PATH, run.id),
            'status_url': '%s/%s/index.json' % (PATH, run.id)})
        self.assertEqual(answer.headers['Location'],
                         answer.json['status_url'])
        self.assertEqual(run.starter, 'test.admin')
        self.assertEqual(self.note(), (
            'test.admin', 'Start background worker publish as run ' + run.id))
        status = self.get(run.id + '/index.json').json
        self.assertEqual(status['state'], 'pending')
        self.assertIs(status['is_finished'], False)
        self.assertEqual(status['context']['path'], 'report')

    def test_bad_input_is_told_and_nothing_is_stored(self):
        for body, status, said in (
                ({}, 404, 'no such worker type'),
                ({'type': 'nonsense'}, 404, 'no such worker type'),
                ({'type': 7}, 400, '"type" must be a string'),
                ({'type': 'plain', 'when': 'now'}, 400, 'when'),
                ({'type': 'plain', 'input': []}, 202, None),
                ({'type': 'plain', 'input': [1]}, 400, 'must be an object'),
                ({'type': 'plain', 'input': {'x': 1}}, 400, 'leave that out'),
                ({'type': 'plain', 'context': 'nowhere'}, 400, 'not lead to'),
                ({'type': 'plain', 'context': 'report/@@x'}, 400,
                 'not lead to'),
                ({'type': 'publish', 'input': {'title': 5}}, 400, 'title')):
            with self.subTest(body):
                before = len(self.list())
                answer = self.send('start.json', body)
                self.assertEqual(answer.status_int, status, answer.text)
                if said is not None:
                    self.assertIn(said, answer.json['error'])
                    self.assertEqual(answer.json['status'], status)
                self.assertEqual(
                    len(self.list()) - before, status == 202)

    def test_body_has_to_be_json_of_a_bearable_size(self):
        for body, status in ((b'{', 400), (b'[]', 400), (b'"x"', 400),
                             (b'\xff', 400), (b'[' * 200000, 400),
                             (b' ' * (BODY_LIMIT + 1), 413)):
            answer = self.send('start.json', body)
            self.assertEqual(answer.status_int, status, body[:10])
            self.assertEqual(answer.json['status'], status)

    def test_form_of_another_site_is_no_json(self):
        answer = self.post('start.json', type='plain',
                           csrf_token=self.get('token.json').json[
                               'csrf_token'])
        self.assertEqual(answer.status_int, 415)
        self.assertEqual(self.list(), [])

    def test_missing_or_wrong_token_is_refused(self):
        others = self.get('token.json', 'editor').json['csrf_token']
        for token in ('', 'x', others):
            answer = self.send('start.json', {'type': 'plain'}, token=token)
            self.assertEqual(answer.status_int, 403)
        self.assertEqual(self.list(), [])

    def test_request_of_another_site_is_refused(self):
        answer = self.send('start.json', {'type': 'plain'},
                           Sec_Fetch_Site='cross-site')
        self.assertEqual(answer.status_int, 403)
        answer = self.send('start.json', {'type': 'plain'},
                           Origin='http://evil.example')
        self.assertEqual(answer.status_int, 403)
        self.assertEqual(self.list(), [])

    def test_permissions_are_those_of_the_pages(self):
        token = self.get('token.json', 'viewer').json['csrf_token']
        for user, status in (('viewer', 403), ('stranger', 403)):
            answer = self.send('start.json', {'type': 'plain'}, user, token)
            self.assertEqual(answer.status_int, status)
            self.assertEqual(answer.json['status'], status)
        # The worker type asks a permission of its own.
        answer = self.send(
            'start.json', {'type': 'publish', 'input': {'title': 'x'}},
            'editor')
        self.assertEqual(answer.status_int, 403)
        self.assertEqual(self.list(), [])

    def test_GET_does_not_act(self):
        answer = self.get('start.json')
        self.assertEqual(answer.status_int, 405)
        self.assertEqual(answer.headers['Allow'], 'POST')


class TestRun(ApiTests):

    def test_stop(self):
        run = self.makeRun()
        answer = self.send(run.id + '/stop.json', {'reason': 'Enough'})
        self.assertEqual(answer.status_int, 202)
        self.assertEqual(answer.json['state'], 'stopped')
        self.assertEqual(self.state(run.id), 'stopped')
        self.assertEqual(self.registry.getStatus(run.id).stop.reason,
                         'Enough')
        again = self.send(run.id + '/stop.json')
        self.assertEqual(again.status_int, 409)
        self.assertIn('nothing is left to stop', again.json['error'])

    def test_retry(self):
        run = self.makeFailed()
        answer = self.send(run.id + '/retry.json', {'reason': 'Again'})
        self.assertEqual(answer.status_int, 202)
        self.sync()
        retry = self.registry.getStatus(answer.json['id'])
        self.assertEqual(retry.retry.run_id, run.id)
        self.assertEqual(retry.retry.reason, 'Again')
        waiting = self.send(answer.json['id'] + '/retry.json')
        self.assertEqual(waiting.status_int, 409)

    def test_remove(self):
        run = self.makeFailed()
        self.assertEqual(
            self.send(run.id + '/remove.json').json, {'id': run.id})
        self.sync()
        self.assertIsNone(self.registry.get(run.id))
        self.assertEqual(
            self.send(run.id + '/remove.json').status_int, 404)

    def test_waiting_run_is_not_removed(self):
        run = self.makeRun()
        answer = self.send(run.id + '/remove.json')
        self.assertEqual(answer.status_int, 409)
        self.assertEqual(self.state(run.id), 'pending')

    def test_reason_has_to_be_a_text(self):
        run = self.makeRun()
        answer = self.send(run.id + '/stop.json', {'reason': ['x']})
        self.assertEqual(answer.status_int, 400)
        self.assertEqual(self.state(run.id), 'pending')

    def test_delayed_run_is_begun_now(self):
        run = self.makeDelayed()
        data = self.get(run.id + '/index.json').json
        self.assertTrue(data['is_beginnable'] and data['can_begin'])
        answer = self.send(run.id + '/begin.json', {'reason': 'now'})
        self.assertEqual((answer.status_int, answer.json['state']),
                         (202, 'pending'))
        self.assertLessEqual(run.due_at, time.time())
        answer = self.send(run.id + '/begin.json')
        self.assertEqual(answer.status_int, 409)
        self.assertIn('as soon as a thread is free', answer.json['error'])
        data = self.get(run.id + '/index.json').json
        self.assertEqual((data['is_beginnable'], data['begin_obstacle']),
                         (False, 'already due'))

    def test_verbs_ask_their_permissions(self):
        run = self.makeFailed()
        for verb in ('begin', 'stop', 'retry', 'remove'):
            for user in ('editor', 'viewer', 'stranger'):
                token = self.registry and self.get(
                    'token.json', 'viewer').json['csrf_token']
                answer = self.send(
                    '%s/%s.json' % (run.id, verb), {}, user, token)
                self.assertEqual(answer.status_int, 403, (verb, user))
        self.assertEqual(self.state(run.id), 'failed')
        self.assertIsNone(self.registry.getStatus(run.id).retried_as)
