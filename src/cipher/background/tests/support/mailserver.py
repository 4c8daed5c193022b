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
"""Servers on loopback that get alerts: one for mails, one for webhooks."""
import http.server
import socketserver
import sys
import threading
from email import message_from_bytes
from email.policy import default

from cipher.background.tests.support.sites import LIMIT


class _Server:

    def __init__(self, *args):
        super().__init__(*args)
        self.got = []         # what was accepted
        self.behaviour = {}   # {step: what to do there instead}
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def port(self):
        return self.server_address[1]

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)
        # Otherwise the client hung up.

    def close(self):
        self.released.set()
        self.shutdown()
        self.server_close()
        self._thread.join(LIMIT)


class MailServer(_Server, socketserver.ThreadingTCPServer):
    """A mail server that keeps the mails in `got`, parsed.

    `behaviour` maps a verb, or a line in capitals, to a reply, to None (hang
    up) or to a function that is called before the usual reply.  The verb of
    the end of a mail is ``.``.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self):
        self.released = threading.Event()
        self.logins = []
        super().__init__(('127.0.0.1', 0), _MailHandler)


class _MailHandler(socketserver.StreamRequestHandler):

    def handle(self):
        self._say('220 test')
        recipients = []
        while True:
            line = self.rfile.readline().decode('latin-1').rstrip('\r\n')
            verb = line.partition(' ')[0].upper()
            if not line:
                return
            if verb == 'AUTH':
                self.server.logins.append(line)
            done = self.server.behaviour.get(
                line.upper(), self.server.behaviour.get(verb, ''))
            if not self._answer(done, {
                    'EHLO': '250-test\r\n250 AUTH PLAIN', 'QUIT': '221 bye',
                    'DATA': '354 go on', 'AUTH': '235 welcome'}.get(
                        verb, '250 fine')):
                return
            if verb == 'RCPT':
                recipients.append(line)
            elif verb == 'DATA' and not done:
                if not self._take_mail(recipients):
                    return
            elif verb == 'QUIT':
                return

    def _take_mail(self, recipients):
        lines = []
        for line in iter(self.rfile.readline, b'.\r\n'):
            lines.append(line[1:] if line.startswith(b'..') else line)
        done = self.server.behaviour.get('.', '')
        if done == '' or callable(done):
            mail = message_from_bytes(b''.join(lines), policy=default)
            self.server.got.append(mail)
        return self._answer(done, '250 accepted')

    def _answer(self, done, usual):
        """Reply; return False if the connection ends here."""
        if done is None:
            return False
        if callable(done):
            if done() is False:
                return False
            done = ''
        self._say(done or usual)
        return True

    def _say(self, text):
        self.wfile.write(text.encode('ascii') + b'\r\n')


class HookServer(_Server, http.server.ThreadingHTTPServer):
    """An HTTP server that keeps (headers, body) of each POST in `got`.

    `behaviour` may have a ``status``, ``headers``, and ``wait``: do not answer
    until the server is closed.
    """

    daemon_threads = True

    def __init__(self):
        self.released = threading.Event()
        super().__init__(('127.0.0.1', 0), _HookHandler)


class _HookHandler(http.server.BaseHTTPRequestHandler):

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        self.server.got.append((self.headers, body))
        behaviour = self.server.behaviour
        if behaviour.get('wait'):
            self.server.released.wait(LIMIT)
            return
        self.send_response(behaviour.get('status', 204))
        for name, value in behaviour.get('headers', {}).items():
            self.send_header(name, value)
        self.send_header('Content-Length', '0')
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *args):
        pass
