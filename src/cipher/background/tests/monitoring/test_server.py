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
"""The server of a worker process, and the health around a kill."""
import http.client
import json
import logging
import socket
import threading
import time
from unittest import mock

import transaction
from prometheus_client.parser import text_string_to_metric_families
from zope.component import provideUtility

from cipher.background.declarations.settings import MonitoringSettings
from cipher.background.interfaces import SILENT_PROCESS
from cipher.background.interfaces import IMonitoringSettings
from cipher.background.interfaces import MetricsUnavailable
from cipher.background.monitoring import server
from cipher.background.monitoring.health import DOWN
from cipher.background.monitoring.health import WELL
from cipher.background.monitoring.health import checkDatabase
from cipher.background.monitoring.server import serveMetrics
from cipher.background.tests.queries.test_problems import WatchTests
from cipher.background.tests.support.cluster import LONG
from cipher.background.tests.support.cluster import ZEOTests
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT


TOKEN = 'Sesame-0123456789'


class Answer:
    """The answer of a server at *port* to one request."""

    def __init__(self, port, path, method='GET', address='127.0.0.1',
                 **headers):
        connection = http.client.HTTPConnection(address, port, timeout=LIMIT)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            self.status = response.status
            self.headers = response.headers
            self.text = response.read().decode('utf-8')
        finally:
            connection.close()

    @property
    def json(self):
        return json.loads(self.text)


class ServerTests(WatchTests):

    layer = Live

    def serve(self, port=0, **options):
        """Serve for the time of the test; return the server."""
        options.setdefault('limit', LIMIT)   # for a busy machine
        served = serveMetrics(self.db, port, **options)
        self.addCleanup(served.close)
        return served

    def connections(self):
        """Return how many connections of the database are open."""
        return sum(one['opened'] is not None
                   for one in self.db.connectionDebugInfo())

    def test_metrics_can_be_parsed(self):
        self.addProcess()
        self.makeRuns(3)
        answer = Answer(self.serve().port, '/metrics')
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers['Content-Type'],
                         'text/plain; version=0.0.4; charset=utf-8')
        families = {family.name: family for family
                    in text_string_to_metric_families(answer.text)}
        self.assertEqual(
            sum(sample.value for sample in families[
                'cipher_background_runs_finished'].samples), 3)

    def test_health_is_that_of_the_database(self):
        port = self.serve().port
        answer = Answer(port, '/health')
        self.assertEqual((answer.status, answer.json['code']), (503, 2))
        self.addProcess()
        answer = Answer(port, '/health')
        self.assertEqual((answer.status, answer.json['ok']), (200, True))
        self.assertEqual(len(answer.json['processes']), 1)
        self.assertEqual(answer.headers['Cache-Control'], 'no-store')

    def test_each_request_sees_what_is_committed_and_leaves_nothing_open(self):
        before = self.connections()
        port = self.serve().port
        for number in range(5):
            self.addProcess('p%d' % number)
            for path in '/health', '/metrics':
                text = Answer(port, path).text
                self.assertIn('p%d' % number, text)
                self.assertNotIn('p%d' % (number + 1), text)
        self.assertEqual(self.connections(), before)

    def test_token_opens_all_and_without_it_there_is_one_word(self):
        self.addProcess()
        port = self.serve(token=TOKEN).port
        self.assertEqual(Answer(port, '/health').json, {'ok': True})
        self.assertEqual(Answer(port, '/metrics').status, 401)
        right = {'Authorization': 'bearer  %s' % TOKEN}
        self.assertIn('processes', Answer(port, '/health', **right).json)
        self.assertIn('cipher_background_health 0',
                      Answer(port, '/metrics', **right).text)
        for wrong in ('Bearer', 'Bearer x', 'Bearer %sx' % TOKEN,
                      'Bearer ' + TOKEN[:-1]):
            for path in '/health', '/metrics', '/x':
                answer = Answer(port, path, Authorization=wrong)
                if path == '/x':
                    self.assertEqual(answer.status, 404)
                    continue
                self.assertEqual(answer.status, 401)
                self.assertEqual(answer.headers['WWW-Authenticate'], 'Bearer')
                self.assertIn('expected the header "Authorization: Bearer '
                              'TOKEN"', answer.text)
                self.assertNotIn(TOKEN, answer.text)
        for other in 'Basic ' + TOKEN, 'Token ' + TOKEN, TOKEN:
            self.assertEqual(Answer(
                port, '/metrics', Authorization=other).status, 401)
            self.assertEqual(Answer(
                port, '/health', Authorization=other).json, {'ok': True})

    def test_declared_settings_hold(self):
        provideUtility(MonitoringSettings(
            ignore_problems=True, token=TOKEN), IMonitoringSettings)
        self.addProcess()
        self.registry.addRun('work')
        self.registry.pauseType('work')
        transaction.commit()
        port = self.serve().port
        self.assertEqual(Answer(port, '/metrics').status, 401)
        answer = Answer(port, '/health', Authorization='Bearer ' + TOKEN)
        self.assertEqual((answer.status, answer.json['ok'],
                          answer.json['code']), (200, True, 1))
        port = self.serve(token='another').port
        self.assertEqual(Answer(
            port, '/metrics', Authorization='Bearer another').status, 200)
        self.assertEqual(Answer(
            port, '/metrics', Authorization='Bearer ' + TOKEN).status, 401)

    def test_other_requests_are_refused_in_words(self):
        port = self.serve().port
        for path in '/', '/metrics/', '/health/x', '/../health':
            answer = Answer(port, path)
            self.assertEqual((answer.status, answer.text),
                             (404, 'expected /metrics or /health\n'))
        for method in 'POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'X':
            answer = Answer(port, '/metrics', method)
            self.assertEqual(answer.status, 405)
            self.assertEqual(answer.headers['Allow'], 'GET, HEAD')
        for path in '/metrics', '/health?x=1':
            answer = Answer(port, path, 'HEAD')
            self.assertEqual(answer.text, '')
            self.assertGreater(int(answer.headers['Content-Length']), 10)

    def test_request_that_is_none_gets_an_answer(self):
        port = self.serve().port
        for sent in (b'x\r\n\r\n', b'GET\r\n\r\n', b'\xff\xfe\r\n\r\n',
                     b'GET / HTTP/9.9\r\n\r\n',
                     b'GET /' + b'a' * 70000 + b' HTTP/1.0\r\n\r\n'):
            with socket.create_connection(
                    ('127.0.0.1', port), timeout=LIMIT) as client:
                client.sendall(sent)
                try:
                    answer = client.makefile('rb').read()
                except ConnectionResetError:
                    continue   # it did not read to the end
            self.assertNotIn(b'Traceback', answer)
            self.assertNotIn(b'Python', answer)
        self.assertEqual(Answer(port, '/health').status, 503)

    def test_host_is_this_machine_unless_there_is_a_token(self):
        # A page of another site may lead a browser here by a name of its own.
        port = self.serve().port
        for host, status in (('localhost', 503), ('127.0.0.1:80', 503),
                             ('LOCALHOST:1', 503), ('[::1]:8', 503),
                             ('evil.example', 403), ('127.0.0.1.evil', 403),
                             ('localhost.evil:80', 403), ('', 503)):
            self.assertEqual(
                Answer(port, '/health', Host=host).status, status, host)
        port = self.serve(token=TOKEN).port
        self.assertEqual(
            Answer(port, '/health', Host='worker-1').status, 503)

    def test_other_machines_need_a_token(self):
        for host in '0.0.0.0', '::':
            with self.assertRaisesRegex(
                    MetricsUnavailable, 'expected a token for .*, got none; '
                    'declare one by <background:monitoring token_variable'):
                self.serve(host=host)
        port = self.serve(host='0.0.0.0', token=TOKEN).port
        self.assertEqual(Answer(port, '/health').status, 503)

    def test_port_in_use_is_said(self):
        port = self.serve().port
        with self.assertRaises(MetricsUnavailable) as caught:
            self.serve(port)
        self.assertEqual(
            str(caught.exception),
            'metrics: expected to listen at 127.0.0.1, port %d, got "Address '
            'already in use"; is another process there? choose another port'
            % port)

    def test_address_that_is_none_is_said(self):
        with mock.patch.object(
                socket, 'getaddrinfo',
                side_effect=socket.gaierror(-2, 'Name or service not known')):
            with self.assertRaisesRegex(
                    MetricsUnavailable, 'expected to listen at nowhere, port '
                    '0, got "Name or service not known"'):
                self.serve(host='nowhere')
        with self.assertRaisesRegex(
                MetricsUnavailable, 'expected to listen at 127.0.0.1, port '
                '70000, got "no port"'):
            self.serve(70000)

    def test_token_that_cannot_be_sent_is_refused(self):
        for token in '', ' ', 'a b', 'ä', 'a\n', '=', b'x', 7:
            with self.assertRaises(ValueError) as caught:
                self.serve(token=token)
            self.assertIn('expected a token of letters', str(caught.exception))

    def test_missing_extra_is_said(self):
        name = 'cipher.background.monitoring.metrics'
        with mock.patch.dict('sys.modules', {name: None}):
            with self.assertRaisesRegex(
                    MetricsUnavailable,
                    r'run: pip install "cipher.background\[metrics\]"'):
                self.serve()

    def test_closed_server_frees_its_port_and_ends_its_threads(self):
        before = {thread.ident for thread in threading.enumerate()}
        served = self.serve()
        self.assertEqual(Answer(served.port, '/health').status, 503)
        served.close()
        served.close()
        with self.assertRaises(ConnectionRefusedError):
            Answer(served.port, '/health')
        waitUntil(lambda: before.issuperset(
            thread.ident for thread in threading.enumerate()),
            'the end of the threads')
        again = self.serve(served.port)
        self.assertEqual(Answer(again.port, '/health').status, 503)

    def test_close_waits_for_the_requests_under_way(self):
        reached, goes_on = threading.Event(), threading.Event()
        self.addCleanup(goes_on.set)

        def check(db, limit):
            reached.set()
            goes_on.wait(LIMIT)
            return checkDatabase(db, limit)

        served, answers = self.serve(), []
        with mock.patch.object(server, 'checkDatabase', check):
            client = threading.Thread(target=lambda: answers.append(
                Answer(served.port, '/health')))
            client.start()
            self.assertTrue(reached.wait(LIMIT))
            closer = threading.Thread(target=served.close)
            closer.start()
            goes_on.set()
            closer.join(LIMIT)
            client.join(LIMIT)
        self.assertFalse(closer.is_alive())
        self.assertEqual([answer.status for answer in answers], [503])

    def test_slow_clients_do_not_hold_up_others(self):
        port = self.serve().port
        clients = [socket.create_connection(('127.0.0.1', port))
                   for _ in range(server.REQUESTS - 1)]
        try:
            self.assertEqual(Answer(port, '/health').status, 503)
        finally:
            for client in clients:
                client.close()

    def test_error_of_the_database_is_503_and_no_more(self):
        port = self.serve().port
        with mock.patch.object(self.db, 'open', side_effect=OSError('where')):
            for path in '/health', '/metrics':
                answer = Answer(port, path)
                self.assertEqual(answer.status, 503)
                self.assertNotIn('where', answer.text)
        self.addProcess()
        self.assertEqual(Answer(port, '/metrics').status, 200)

    def test_no_log_has_the_token(self):
        port = self.serve(token=TOKEN).port
        with self.assertLogs(level=logging.DEBUG) as logged:
            logging.getLogger().debug('so that there is one')
            for path in '/metrics?token=' + TOKEN, '/health', '/x' + TOKEN:
                for header in 'Bearer ' + TOKEN, 'Bearer x' + TOKEN:
                    Answer(port, path, Authorization=header)
        self.assertNotIn(TOKEN, '\n'.join(logged.output))


class KilledTests(ZEOTests):
    """Real processes and a real server, which go away."""

    def setUp(self):
        super().setUp()
        # Only the actors carry out runs, so nobody rescues in between.
        self.runtime.shutdown(0.0)
        served = serveMetrics(self.db, 0, limit=2.0)
        self.addCleanup(served.close)
        self.port = served.port

    def look(self):
        """Return (status, code) of the server, and its data."""
        answer = Answer(self.port, '/health')
        return (answer.status, answer.json['code']), answer.json

    def waitLook(self, *expected):
        waitUntil(lambda: self.look()[0] == expected,
                  'the health %r' % (expected,), LONG)
        return self.look()[1]

    def test_health_before_during_and_after_a_kill(self):
        first = self.act()
        self.waitLook(200, WELL)
        first.kill()
        data = self.waitLook(503, DOWN)
        self.assertEqual([(one['kind'], one['subject'])
                          for one in data['problems']],
                         [(SILENT_PROCESS, first.id)])
        self.assertEqual([one['is_silent'] for one in data['processes']],
                         [True])
        self.assertEqual(checkDatabase(self.db).code, DOWN)
        self.assertIn('cipher_background_health 2.0',
                      Answer(self.port, '/metrics').text)
        second = self.act()
        data = self.waitLook(200, WELL)
        self.assertEqual([one['id'] for one in data['processes']],
                         [second.id])

    def test_server_that_is_away_or_hangs_is_down_soon(self):
        self.act()
        self.waitLook(200, WELL)
        for leave, come in ((self.server.pause, self.server.resume),
                            (self.server.kill, self.server.start)):
            leave()
            began = time.monotonic()
            (status, code), data = self.look()
            self.assertEqual((status, code), (503, DOWN))
            self.assertIn(data['error'], (
                'TimeoutError', 'StorageError', 'ClientDisconnected'))
            # The server gives up after some seconds; the others are for a
            # busy machine.
            self.assertLess(time.monotonic() - began, LONG - 5)
            self.assertEqual(Answer(self.port, '/metrics').status, 503)
            come()
            self.waitLook(200, WELL)
