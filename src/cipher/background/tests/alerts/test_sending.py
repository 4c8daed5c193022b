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
"""Alerts and real servers: mails by SMTP, posts by HTTP."""
import json
import smtplib
import unittest
import urllib.error

from cipher.background.alerts.sending import Mail
from cipher.background.alerts.sending import Webhook
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.mailserver import HookServer
from cipher.background.tests.support.mailserver import MailServer


MESSAGE = {
    'id': '0f', 'at': 1800000000.0, 'subject': '1 problem: Größe',
    'text': 'Line – one\n.two\n' + 'x' * 2000 + '\n', 'problems': [],
    'gone': [], 'failures': [], 'more': 0}


class SendingTests(unittest.TestCase):

    layer = Live

    factory = None

    def setUp(self):
        self.server = self.factory()
        self.addCleanup(self.server.close)


class MailTests(SendingTests):

    factory = MailServer

    def send(self, to=('a@example.org', 'b@example.org'), **options):
        options.setdefault('timeout', 30.0)
        return Mail(to, 'from@example.org', '127.0.0.1', self.server.port,
                    **options).send(MESSAGE)

    def test_mail(self):
        self.assertEqual(self.send(), {})
        mail, = self.server.got
        self.assertEqual(mail['Subject'], MESSAGE['subject'])
        self.assertEqual(mail['From'], 'from@example.org')
        self.assertEqual(mail['To'], 'a@example.org, b@example.org')
        self.assertEqual(mail['Message-ID'], '<0f@example.org>')
        self.assertEqual(mail['Date'], 'Fri, 15 Jan 2027 08:00:00 -0000')
        self.assertEqual(mail['Auto-Submitted'], 'auto-generated')
        self.assertEqual(mail.get_content().splitlines(),
                         MESSAGE['text'].splitlines())
        self.assertEqual(self.server.logins, [])

    def test_login(self):
        self.send(user='me', password='secret')
        self.assertEqual(len(self.server.logins), 1)
        self.assertEqual(len(self.server.got), 1)
        self.server.behaviour['AUTH'] = '535 no'
        with self.assertRaises(smtplib.SMTPAuthenticationError) as caught:
            self.send(user='me', password='secret')
        self.assertNotIn('secret', str(caught.exception))

    def test_one_refused_address_of_two_is_returned(self):
        self.server.behaviour['RCPT TO:<B@EXAMPLE.ORG>'] = '550 nobody'
        self.assertEqual(self.send(), {'b@example.org': (550, b'nobody')})
        self.assertEqual(len(self.server.got), 1)

    def test_failures_of_the_server(self):
        for step, reply in (
                ('EHLO', None), ('MAIL', '451 later'), ('RCPT', '550 no'),
                ('RCPT', None), ('DATA', '554 no'), ('.', '451 later'),
                ('.', None)):
            with self.subTest(step=step, reply=reply):
                self.server.behaviour = {step: reply}
                if step == 'EHLO':
                    self.server.behaviour['HELO'] = reply
                with self.assertRaises((smtplib.SMTPException, OSError)):
                    self.send()
                self.assertEqual(self.server.got, [])

    def test_server_without_the_encryption_gets_no_mail(self):
        with self.assertRaises(smtplib.SMTPNotSupportedError):
            self.send(security='starttls')
        with self.assertRaises(OSError):
            self.send(security='tls')
        self.assertEqual(self.server.got, [])

    def test_silent_server(self):
        self.server.behaviour['EHLO'] = lambda: (
            self.server.released.wait(), False)[1]
        with self.assertRaises(OSError):
            self.send(timeout=1.0)

    def test_no_server(self):
        self.server.close()
        with self.assertRaises(OSError):
            self.send()


class WebhookTests(SendingTests):

    factory = HookServer

    def send(self, **options):
        options.setdefault('timeout', 30.0)
        return Webhook('http://127.0.0.1:%d/hook' % self.server.port,
                       **options).send(MESSAGE)

    def test_post(self):
        self.assertEqual(self.send(token='t0ken'), {})
        (headers, body), = self.server.got
        self.assertEqual(json.loads(body), MESSAGE)
        self.assertEqual(headers['Content-Type'], 'application/json')
        self.assertEqual(headers['Authorization'], 'Bearer t0ken')
        self.assertEqual(headers['Idempotency-Key'], '0f')

    def test_other_answers_are_errors(self):
        for status in 301, 302, 307, 400, 404, 500, 503:
            with self.subTest(status):
                self.server.got.clear()
                self.server.behaviour = {
                    'status': status, 'headers': {'Location': '/other'}}
                with self.assertRaises(urllib.error.HTTPError) as caught:
                    self.send()
                caught.exception.close()
                self.assertEqual(caught.exception.code, status)
                self.assertEqual(len(self.server.got), 1)

    def test_silent_server(self):
        self.server.behaviour['wait'] = True
        with self.assertRaises(OSError):
            self.send(timeout=1.0)

    def test_no_server(self):
        self.server.close()
        with self.assertRaises(OSError):
            self.send()
