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
"""A small HTTP server for the metrics and the health of a worker process.

It has ``/metrics`` and ``/health``.  A request reads the database by a
connection of its own, and waits for it only for some seconds.
"""
import json
import re
import socket
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from socketserver import TCPServer
from socketserver import ThreadingMixIn

from zope.component import queryUtility

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.declarations.settings import MonitoringSettings
from cipher.background.interfaces import IMonitoringSettings
from cipher.background.interfaces import MetricsUnavailable
from cipher.background.monitoring.health import LIMIT
from cipher.background.monitoring.health import Questions
from cipher.background.monitoring.health import checkDatabase
from cipher.background.monitoring.monitor import importMetrics
from cipher.background.util.logs import getLogger


log = getLogger('cipher.background.monitoring')

#: Seconds that a client may take to send its request or to read the answer.
CLIENT_LIMIT = 10
#: Requests at a time.  The connections of more are closed.
REQUESTS = 16

# The header Host of a request to an address of this machine.
_HOST = re.compile(r'(localhost|127(\.[0-9]+){3}|\[::1\])(:[0-9]+)?',
                   re.IGNORECASE | re.ASCII)
_PLAIN = 'text/plain; charset=utf-8'
_HEADERS = (
    ('Cache-Control', 'no-store'),
    ('X-Content-Type-Options', 'nosniff'),
    ('Content-Security-Policy', "default-src 'none'"),
)


def serveMetrics(db, port, host='127.0.0.1', token=None, limit=LIMIT):
    """Serve the metrics and the health of *db* in a thread of its own.

    Return a `monitoring.server.MetricsServer`, which the caller closes.
    *port* 0 takes a free one.  *token* is the one to send; by default it is
    the one that ``<background:monitoring>`` declares.  Without any token
    everybody who reaches the port sees all, so *host* must be one that only
    this machine reaches.  A database that does not answer within *limit*
    seconds is down.

    Raise `MetricsUnavailable` if the extra [metrics] is missing, if the
    address cannot be had, or for lack of a token; and ``ValueError`` for a
    token that cannot be sent.
    """
    importMetrics()
    settings = queryUtility(IMonitoringSettings) or MonitoringSettings()
    if token is not None:
        settings = MonitoringSettings(
            settings.public_health, settings.ignore_problems, token)
    family, address = _resolve(host, port)
    if not settings.has_token and not ip_address(
            address[0].partition('%')[0]).is_loopback:
        raise MetricsUnavailable(
            'metrics: expected a token for %s, which other machines may '
            'reach, got none; declare one by <background:monitoring '
            'token_variable="…" />, or listen at 127.0.0.1' % host)
    try:
        server = _Server(family, address, db, settings, limit)
    except OSError as error:
        raise _cannot_listen(host, port, error) from None
    return MetricsServer(server, host)


def _resolve(host, port):
    try:
        if not 0 <= port <= 65535:
            raise OverflowError('no port')   # some systems take the rest
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE)[0]
    except (OSError, OverflowError, UnicodeError) as error:
        raise _cannot_listen(host, port, error) from None
    return family, address


def _cannot_listen(host, port, error):
    return MetricsUnavailable(
        'metrics: expected to listen at %s, port %s, got "%s"; is another '
        'process there? choose another port' % (
            host, port, getattr(error, 'strerror', None) or error))


class MetricsServer:
    """A server that answers until it is closed."""

    def __init__(self, server, host):
        self._server = server
        self.host = host
        self.port = server.server_address[1]
        self._thread = threading.Thread(
            target=server.serve_forever, kwargs={'poll_interval': 0.1},
            name='cipher.background metrics', daemon=True)
        self._thread.start()
        log.info('Metrics and health at http://%s:%d/metrics and /health',
                 '[%s]' % host if ':' in host else host, self.port)

    def close(self):
        """Stop listening, and wait for the requests under way.  Idempotent.
        """
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server.waitForRequests()


class _Server(ThreadingMixIn, TCPServer):
    """Serves at most `REQUESTS` requests at a time."""

    allow_reuse_address = True
    daemon_threads = True   # none delays the end of the process
    request_queue_size = 20

    def __init__(self, family, address, db, settings, limit):
        self.address_family = family
        self.db = db
        self.settings = settings
        self.limit = limit
        self._room = threading.BoundedSemaphore(REQUESTS)
        super().__init__(address, _Handler)

    def process_request(self, request, client_address):
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request, client_address):
        """Log an error; a client that went away is none."""
        log.debug('Metrics: a request failed', exc_info=True)

    def waitForRequests(self):
        """Wait until no request is under way, for some seconds at most."""
        end = time.monotonic() + 2 * self.limit
        taken = [self._room.acquire(
            timeout=max(0.0, end - time.monotonic()))
            for _ in range(REQUESTS)]
        for _ in range(sum(taken)):
            self._room.release()


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server_version = 'cipher.background'
    sys_version = ''
    timeout = CLIENT_LIMIT
    server: _Server

    def do_GET(self):
        path = self.path.partition('?')[0]
        answer = _ANSWERS.get(path)
        if answer is None:
            self._send(404, 'expected /metrics or /health\n')
        elif not self._is_local():
            self._send(403, 'expected the address of this machine as Host; '
                       'declare a token to use another name\n')
        elif self.server.settings.refuses(self.headers['Authorization']):
            self._refuse()
        else:
            answer(self)

    do_HEAD = do_GET

    def answerHealth(self):
        health = checkDatabase(self.server.db, self.server.limit)
        settings = self.server.settings
        served = health.isServed(settings.ignore_problems)
        data = {'ok': served}
        if self._sees_all():
            data = {**health.describe(), **data}
        self._send(200 if served else 503, json.dumps(data) + '\n',
                   'application/json')

    def answerMetrics(self):
        if not self._sees_all():
            self._refuse()
            return
        made = _texts.ask(self.server.db, self.server.limit)
        if made is None:
            self._send(503, 'expected an answer of the database, got none\n')
        else:
            self._send(200, made, importMetrics().CONTENT_TYPE)

    def _sees_all(self):
        settings = self.server.settings
        return not settings.has_token or settings.accepts(
            self.headers['Authorization'])

    def _is_local(self):
        # Without a token, a page of another site must not reach the server
        # by a name that leads to this machine.
        if self.server.settings.has_token:
            return True
        host = self.headers['Host'] or 'localhost'
        return _HOST.fullmatch(host) is not None

    def _refuse(self):
        self._send(401, 'expected the header "Authorization: Bearer TOKEN" '
                   'with the token of this server\n',
                   headers=[('WWW-Authenticate', 'Bearer')])

    def _send(self, status, body, content_type=_PLAIN, headers=()):
        if isinstance(body, str):
            body = body.encode('utf-8')
        self.send_response(status)
        for name, value in (('Content-Type', content_type),
                            ('Content-Length', str(len(body))),
                            *_HEADERS, *headers):
            self.send_header(name, value)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def send_error(self, code, message=None, explain=None):
        """Answer a request that is not for `do_GET`."""
        # The base answers 501 for a method without a function.
        is_method = code == HTTPStatus.NOT_IMPLEMENTED
        self.close_connection = True
        self._send(405 if is_method else code,
                   'expected GET or HEAD\n' if is_method
                   else 'expected a request of HTTP\n',
                   headers=[('Allow', 'GET, HEAD')] * is_method)

    def log_message(self, format, *args):
        """Log nothing: a query or a header may have the token."""


_ANSWERS = {
    '/metrics': _Handler.answerMetrics,
    '/health': _Handler.answerHealth,
}


def _make_text(db):
    try:
        with ZodbConnection(db) as connection:
            return importMetrics().makeText(connection)
    except Exception as error:
        log.warning('Metrics: %s', type(error).__name__)
        return None


_texts = Questions(_make_text)
