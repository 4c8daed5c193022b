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
"""health.json and metrics: who gets what."""
import logging
import threading
from dataclasses import replace
from unittest import mock

import transaction
import webtest
from prometheus_client.parser import text_string_to_metric_families
from ZODB.DB import DB
from ZODB.POSException import StorageError
from zope.app.wsgi import WSGIPublisherApplication
from zope.component import getGlobalSiteManager
from zope.component import getUtility
from zope.processlifetime import DatabaseOpenedWithRoot

from cipher.background.browser.page import HEADERS
from cipher.background.browser.wsgi import answerErrors
from cipher.background.declarations.settings import MonitoringSettings
from cipher.background.interfaces import IMonitor
from cipher.background.interfaces import IMonitoringSettings
from cipher.background.interfaces import IWorkerType
from cipher.background.monitoring import health
from cipher.background.monitoring import monitor
from cipher.background.subscribers import startRuntimeOfDatabase
from cipher.background.tests.support.browser import PATH
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.sites import LIMIT
from cipher.background.util import forks


TOKEN = 'Sesame-0123456789'
BEARER = 'Bearer ' + TOKEN
HEALTH = PATH + '/health.json'
METRICS = PATH + '/metrics'


class MonitoringTests(BrowserTests):

    def setUp(self):
        super().setUp()
        self.db = self.registry._p_jar.db()
        self.addProcess()
        transaction.commit()

    def switch(self, **settings):
        """Declare settings for the time of a test."""
        manager = getGlobalSiteManager()
        settings = MonitoringSettings(**settings)
        manager.registerUtility(settings, IMonitoringSettings)
        self.addCleanup(
            manager.unregisterUtility, settings, IMonitoringSettings)

    def ask(self, path, authorization=None, method='GET', user=None):
        environ = {}
        if authorization is not None:
            environ['HTTP_AUTHORIZATION'] = authorization
        return self.app(user, **environ).request(
            path, method=method, expect_errors=True)

    def pause(self):
        """Make a problem; return its kind."""
        self.registry.start('plain')
        self.registry.pauseType('plain')
        transaction.commit()
        return 'paused-type'

    def endProcesses(self):
        """Make the health as bad as it can be."""
        self.registry._p_jar.root()['cipher.background'].processes.clear()
        transaction.commit()


def shape(answer):
    return answer.status_int, answer.text, sorted(answer.headers.items())


class ReaderTests(MonitoringTests):

    def test_switched_off_they_answer_as_an_unknown_address(self):
        for name, unknown in ('health.json', 'nothing.json'), (
                'metrics', 'nothing'):
            for user in None, 'stranger':
                for method in 'GET', 'HEAD', 'POST', 'PUT':
                    for header in None, BEARER, 'Bearer', 'x':
                        if user and header:
                            continue
                        expected = shape(self.ask(
                            '%s/%s' % (PATH, unknown), header, method, user))
                        self.assertIn(expected[0], (
                            404,) if method == 'PUT' else (401, 403))
                        for prefix in '', '@@':
                            self.assertEqual(expected, shape(self.ask(
                                '%s/%s%s' % (PATH, prefix, name), header,
                                method, user)), (name, user, method, header))

    def test_viewer_gets_them_without_any_setting(self):
        kind = self.pause()
        data = self.get('health.json', 'viewer').json
        self.assertEqual((data['ok'], data['code'], data['error']),
                         (False, 1, None))
        self.assertEqual([one['kind'] for one in data['problems']], [kind])
        process, = data['processes']
        self.assertEqual((process['threads'], process['is_silent']),
                         (4, False))
        self.assertRegex(process['beat_at'], '^20.*Z$')
        self.assertIn('cipher_background_runs{',
                      self.get('metrics', 'viewer').text)

    def test_switched_on_everybody_gets_the_health_and_nothing_else(self):
        self.switch(public_health=True)
        for user in None, 'stranger':
            answer = self.ask(HEALTH, user=user)
            self.assertEqual((answer.status_int, answer.text),
                             (200, '{"ok": true}'))
            self.assertEqual(answer.content_type, 'application/json')
            for name, value in HEADERS:
                self.assertEqual(answer.headers[name], value)
            self.assertIn(self.ask(METRICS, user=user).status_int,
                          (401, 403))
            self.assertIn(self.ask(PATH + '/index.json',
                                   user=user).status_int, (401, 403))
        self.pause()
        answer = self.ask(HEALTH)
        self.assertEqual((answer.status_int, answer.text),
                         (503, '{"ok": false}'))
        self.assertEqual(answer.headers['Cache-Control'], 'no-store')
        self.assertEqual(self.get('health.json', 'viewer').status_int, 503)

    def test_head_and_no_other_method_is_answered(self):
        self.switch(public_health=True, token=TOKEN)
        for path, header in (HEALTH, None), (HEALTH, BEARER), (
                METRICS, BEARER):
            answer = self.ask(path, header, 'HEAD')
            self.assertEqual((answer.status_int, answer.body), (200, b''))
            answer = self.ask(path, header, 'POST')
            self.assertEqual(answer.status_int, 405)
            self.assertEqual(answer.headers['Allow'], 'GET, HEAD')
        self.endProcesses()
        self.assertEqual(self.ask(HEALTH, None, 'HEAD').status_int, 503)

    def test_problems_may_be_ignored_for_load_balancers(self):
        self.switch(public_health=True, ignore_problems=True)
        self.pause()
        answer = self.ask(HEALTH)
        self.assertEqual((answer.status_int, answer.text),
                         (200, '{"ok": true}'))
        data = self.get('health.json', 'viewer').json
        self.assertEqual((data['ok'], data['code']), (True, 1))
        self.endProcesses()
        answer = self.ask(HEALTH)
        self.assertEqual((answer.status_int, answer.text),
                         (503, '{"ok": false}'))

    def test_a_subsite_has_the_health_of_its_nearest_registry(self):
        self.switch(public_health=True)
        self.assertEqual(self.ask('/other' + HEALTH).text, '{"ok": true}')
        self.assertEqual(self.ask('/report' + HEALTH).status_int, 404)

    def test_newer_database_is_no_more_than_unwell(self):
        self.switch(public_health=True)
        self.registry.structure_version = 99
        transaction.commit()
        answer = self.ask(HEALTH)
        self.assertEqual((answer.status_int, answer.text),
                         (503, '{"ok": false}'))


class TokenTests(MonitoringTests):

    def setUp(self):
        super().setUp()
        self.switch(token=TOKEN)

    def test_token_opens_both_and_nothing_else(self):
        kind = self.pause()
        for scheme in 'Bearer', 'bearer', 'BEARER', ' Bearer ':
            answer = self.ask(HEALTH, '%s %s ' % (scheme, TOKEN))
            self.assertEqual(answer.status_int, 503)
            self.assertEqual(answer.json['problems'][0]['kind'], kind)
        answer = self.ask(METRICS, BEARER)
        self.assertEqual(answer.status_int, 200)
        self.assertEqual(answer.headers['Content-Type'],
                         'text/plain; version=0.0.4; charset=utf-8')
        self.assertEqual(answer.headers['Cache-Control'], 'no-store')
        families = list(text_string_to_metric_families(answer.text))
        self.assertGreater(len(families), 10)
        for name in 'index.json', 'runs.json', 'token.json', 'index.html':
            self.assertEqual(
                self.ask('%s/%s' % (PATH, name), BEARER).status_int, 401)

    def test_wrong_token_is_refused_in_words(self):
        for header in (BEARER + 'x', BEARER[:-1], 'Bearer', 'Bearer ',
                       'Bearer x y', 'Bearer \xff', 'Bearer ' + 'x' * 10000,
                       'Bearer Basic ' + TOKEN, BEARER.replace('S', 's')):
            for path in HEALTH, METRICS:
                answer = self.ask(path, header)
                self.assertEqual(answer.status_int, 401, header)
                self.assertEqual(answer.headers['WWW-Authenticate'], 'Bearer')
                self.assertIn('This is not the token of this server.',
                              answer.text)
                self.assertNotIn(TOKEN, answer.text)

    def test_token_over_another_scheme_is_none(self):
        for header in ('Token ' + TOKEN, TOKEN, 'Digest ' + TOKEN,
                       'Bearer' + TOKEN, 'BearerX ' + TOKEN, ''):
            for path in HEALTH, METRICS:
                answer = self.ask(path, header)
                self.assertEqual(answer.status_int, 401, header)
                self.assertNotIn('This is not the token', answer.text)

    def test_token_in_the_address_is_none(self):
        for query in '?token=', '?Authorization=Bearer+', '?access_token=':
            self.assertEqual(
                self.ask(METRICS + query + TOKEN).status_int, 401)

    def test_permission_counts_whatever_the_header_bears(self):
        # An application may have tokens of its own.
        self.assertEqual(self.get('metrics', 'viewer').status_int, 200)

    def test_token_sees_all_types_and_a_viewer_only_theirs(self):
        self.makeRun('plain')
        manager = getGlobalSiteManager()
        plain = getUtility(IWorkerType, 'plain')
        manager.registerUtility(replace(
            plain, view_permission='cipher.background.ManageWorkers'),
            IWorkerType, 'plain')
        self.addCleanup(manager.registerUtility, plain, IWorkerType, 'plain')
        for user, header, seen in (
                ('viewer', None, False), ('admin', None, True),
                (None, BEARER, True)):
            text = self.ask(METRICS, header, user=user).text
            self.assertEqual('type="plain"' in text, seen, user)

    def test_wrong_token_is_refused_though_the_health_is_public(self):
        self.switch(public_health=True, token=TOKEN)
        self.assertEqual(self.ask(HEALTH, 'Bearer x').status_int, 401)
        self.assertEqual(self.ask(HEALTH).text, '{"ok": true}')
        self.assertEqual(self.ask(HEALTH, 'Token x').text, '{"ok": true}')

    def test_token_is_nowhere_to_be_read(self):
        settings = getUtility(IMonitoringSettings)
        self.assertNotIn(TOKEN, repr(settings))
        self.assertNotIn(TOKEN, repr(vars(settings)))
        with self.assertLogs(level=logging.DEBUG) as logged:
            logging.getLogger().debug('so that there is one')
            for path in HEALTH, METRICS, PATH + '/nothing':
                for header in BEARER, 'Bearer x', 'Token ' + TOKEN:
                    self.ask(path, header)
        self.assertNotIn(TOKEN, '\n'.join(logged.output))

    def test_metrics_without_their_extra_say_so(self):
        name = 'cipher.background.monitoring.metrics'
        with mock.patch.dict('sys.modules', {name: None}):
            answer = self.ask(METRICS, BEARER)
        self.assertEqual(answer.status_int, 503)
        self.assertIn('pip install "cipher.background[metrics]"',
                      answer.text)


class MiddlewareTests(MonitoringTests):

    def setUp(self):
        super().setUp()
        self.switch(public_health=True, token=TOKEN)
        # The databases of other tests may be open still.
        patcher = mock.patch.object(monitor, 'listDatabases',
                                    lambda: self.databases)
        patcher.start()
        self.addCleanup(patcher.stop)
        self.databases = [self.db]
        self.application = WSGIPublisherApplication(self.db)

    def ask(self, path, authorization=None, method='GET', user=None):
        environ = {'wsgi.handleErrors': True}
        if authorization is not None:
            environ['HTTP_AUTHORIZATION'] = authorization
        application = webtest.TestApp(answerErrors(
            lambda *request: self.application(*request)),
            extra_environ=environ, cookiejar=None, lint=False)
        return application.request(path, method=method, expect_errors=True)

    def assertUnwell(self, answer, method='GET'):
        self.assertEqual(answer.status_int, 503)
        self.assertEqual(
            answer.text, '{"ok": false}' if method == 'GET' else '')
        self.assertEqual(answer.content_type, 'application/json')
        for name, value in HEADERS:
            self.assertEqual(answer.headers[name], value)

    def test_answers_of_the_view_pass(self):
        self.assertEqual(shape(self.ask(HEALTH))[:2], (200, '{"ok": true}'))
        kind = self.pause()
        self.assertUnwell(self.ask(HEALTH))
        answer = self.ask(HEALTH, BEARER)
        self.assertEqual(answer.status_int, 503)
        self.assertEqual(answer.json['problems'][0]['kind'], kind)
        self.assertEqual(self.ask(HEALTH, 'Bearer x').status_int, 401)
        self.assertEqual(self.ask('/nothing' + HEALTH).status_int, 404)
        self.assertEqual(self.ask(HEALTH, None, 'POST').status_int, 405)

    def test_database_that_is_away_is_unwell_without_the_publisher(self):
        def application(*request):
            raise AssertionError('it would wait for the database')

        self.application = application
        self.db.storage.is_connected = lambda: False
        self.addCleanup(delattr, self.db.storage, 'is_connected')
        for method in 'GET', 'HEAD':
            for path in HEALTH, PATH + '/@@health.json', '/other' + HEALTH:
                self.assertUnwell(self.ask(path, None, method), method)
                self.assertUnwell(self.ask(path, BEARER, method), method)

    def test_other_requests_are_not_answered_for_it(self):
        self.db.storage.is_connected = lambda: False
        self.addCleanup(delattr, self.db.storage, 'is_connected')
        for path, method in ((METRICS, 'GET'), (HEALTH, 'POST'),
                             (HEALTH + '/x', 'GET'),
                             ('/health.json', 'GET')):
            answer = self.ask(path, None, method)
            self.assertIn(answer.status_int, (401, 404, 405), path)

    def test_one_that_hangs_is_unwell_in_time(self):
        goes_on = threading.Event()
        self.addCleanup(goes_on.set)
        with mock.patch.object(monitor, 'isReachable',
                               lambda db: health.isReachable(db, 0.01)):
            with mock.patch.object(health._answers, '_ask',
                                   lambda db: goes_on.wait(LIMIT)):
                self.assertUnwell(self.ask(HEALTH))
            goes_on.set()
        with mock.patch.object(monitor, 'isReachable',
                               lambda db: health.isReachable(db, LIMIT)):
            self.assertEqual(self.ask(HEALTH).status_int, 200)

    def test_error_of_the_publisher_is_unwell(self):
        def fail(environ, start_response):
            raise StorageError('away')

        def answer500(environ, start_response):
            start_response('500 Internal Server Error', [])
            return [b'{"status": 500, "error": "Something went wrong"}']

        def answer503(environ, start_response):
            start_response('503 Service Unavailable', [])
            yield b'{"status": 503, '
            yield b'"error": "The database is newer than this server"}'

        for application in fail, answer500, answer503:
            self.application = application
            self.assertUnwell(self.ask(HEALTH))
            self.assertUnwell(self.ask(HEALTH, None, 'HEAD'), 'HEAD')

    def test_database_of_another_application_that_was_closed_is_none(self):
        closed = DB(None)
        self.databases.append(closed)
        self.assertEqual(self.ask(HEALTH).status_int, 200)
        closed.close()
        self.assertEqual(self.ask(HEALTH).status_int, 200)

    def test_databases_are_those_that_were_opened_with_an_event(self):
        db = DB(None)
        self.addCleanup(db.close)
        self.assertNotIn(db, forks.listDatabases())
        startRuntimeOfDatabase(DatabaseOpenedWithRoot(db))
        self.assertIn(db, forks.listDatabases())
        self.assertIs(type(getUtility(IMonitor)), monitor.Monitor)

    def test_switched_off_the_publisher_alone_answers(self):
        self.switch()
        self.db.storage.is_connected = lambda: False
        self.addCleanup(delattr, self.db.storage, 'is_connected')
        self.assertEqual(self.ask(HEALTH).status_int, 401)
