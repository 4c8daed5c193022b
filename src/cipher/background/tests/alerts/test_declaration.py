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
"""<background:alerts>: what it registers and what it refuses."""
import os
import unittest
from unittest import mock

from zope.component import getUtility
from zope.component import queryUtility

from cipher.background.alerts.sending import Mail
from cipher.background.alerts.sending import Webhook
from cipher.background.interfaces import AS_SYSTEM
from cipher.background.interfaces import MANAGE_WORKERS
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import IWorkerType
from cipher.background.tests.support.sites import checkDefaults
from cipher.background.tests.support.sites import declare
from cipher.background.tests.test_zcml_starts import DirectiveTests
from cipher.background.zcml import IAlertsDirective
from cipher.background.zcml import alerts


MAIL = 'mail_to="a@example.org" mail_from="b@example.org"'
HOOK = 'webhook="https://example.org/hook"'


class DeclarationTests(DirectiveTests):

    def test_defaults(self):
        checkDefaults(self, IAlertsDirective, alerts)

    def test_nothing_is_declared_by_itself(self):
        declare('')
        self.assertIsNone(queryUtility(IWorkerType, 'alerts'))

    def test_worker_type(self):
        declare('<background:alerts %s />' % MAIL)
        worker_type = getUtility(IWorkerType, 'alerts')
        self.assertEqual(
            (worker_type.run_as, worker_type.permission, worker_type.share,
             worker_type.max_running),
            (AS_SYSTEM, MANAGE_WORKERS, False, 1))
        self.assertIsInstance(worker_type.handler.channel, Mail)

    def test_several_with_a_schedule(self):
        declare('<background:alerts name="mail" %s />'
                '<background:alerts name="chat" %s interval="60"'
                ' failures="no" language="de" url="https://example.org/x" />'
                '<background:schedule worker="chat" every="60" />'
                % (MAIL, HOOK))
        chat = getUtility(IWorkerType, 'chat').handler
        self.assertIsInstance(chat.channel, Webhook)
        self.assertEqual(
            (chat.name, chat.interval, chat.failures, chat.language,
             chat.url),
            ('chat', 60.0, False, 'de', 'https://example.org/x'))
        self.assertIsNotNone(queryUtility(ISchedule, 'chat'))

    def test_secrets_come_from_variables_and_no_error_shows_them(self):
        with mock.patch.dict(os.environ, {
                'PASSWORD': 's3cret', 'HOOK': 'https://example.org/s3cret',
                'TOKEN': 's3cret', 'WRONG': 'ftp://s3cret',
                'LINES': 's3cret\nx', 'EMPTY': ''}):
            declare('<background:alerts %s smtp_user="me" '
                    'password_variable="PASSWORD" />' % MAIL)
            declare('<background:alerts name="chat" webhook_variable="HOOK"'
                    ' token_variable="TOKEN" />')
            for options, expected in (
                    ('webhook_variable="WRONG"', 'expected webhook to be'),
                    ('webhook_variable="EMPTY"', 'to have a URL, got an emp'),
                    ('webhook_variable="NONE"', 'to have a URL, got none'),
                    (HOOK + ' token_variable="LINES"', 'expected the token'),
                    (MAIL + ' smtp_user="me" password_variable="NONE"',
                     'to have a password, got none')):
                text = self.refuse('<background:alerts %s />' % options)
                self.assertIn(expected, text)
                self.assertNotIn('s3cret', text)

    def test_refused(self):
        for options, expected in (
                ('', "expected one of 'mail_to', 'webhook'"),
                (MAIL + ' ' + HOOK, "got 'mail_to' and 'webhook'"),
                ('mail_to="a@example.org"', "expected 'mail_from'"),
                ('mail_to="" mail_from="b@example.org"', 'mail_to'),
                ('mail_to="a" mail_from="b@example.org"',
                 "expected mail_to to be addresses"),
                ('mail_to="a@b a@b,c@d" mail_from="b@example.org"',
                 "got 'a@b,c@d'"),
                ('mail_to="ä@example.org" mail_from="b@example.org"',
                 'expected mail_to'),
                ('mail_to="a@example.org" mail_from="Me"',
                 'expected mail_from'),
                (MAIL + ' smtp_host="mail:25"', 'expected smtp_host'),
                (MAIL + ' smtp_host=""', 'expected smtp_host'),
                (MAIL + ' smtp_port="0"', 'smtp_port'),
                (MAIL + ' smtp_port="65536"', 'smtp_port'),
                (MAIL + ' smtp_port="x"', 'smtp_port'),
                (MAIL + ' smtp_security="ssl"', 'smtp_security'),
                (MAIL + ' smtp_user="me"', 'expected smtp_user and password'),
                (MAIL + ' token_variable="PATH"', "no 'token_variable'"),
                (MAIL + ' smtp_host="mail" smtp_user="me" '
                 'password_variable="PATH"', 'expected smtp_security'),
                (HOOK + ' mail_from="a@example.org"', "no 'mail_from'"),
                (HOOK + ' smtp_user="me"', "no 'smtp_user'"),
                (HOOK + ' interval="-1"', 'interval'),
                (HOOK + ' interval="nan"', 'interval'),
                (HOOK + ' interval="inf"', 'interval'),
                (HOOK + ' timeout="0"', 'timeout'),
                (HOOK + ' timeout="inf"', 'timeout'),
                (HOOK + ' timeout="nan"', 'timeout'),
                (HOOK + ' name=""', 'name'),
                (HOOK + ' language=""', 'language'),
                (HOOK + ' permission="zope.Public"', 'permission'),
                (HOOK + ' url="example.org"', 'expected url'),
                (HOOK + ' url="https://example.org?x"', 'expected url'),
                ('webhook="file:///etc/passwd"', 'expected webhook'),
                ('webhook="ftp://example.org"', 'expected webhook'),
                ('webhook="javascript:alert(1)"', 'expected webhook'),
                ('webhook="//example.org/x"', 'expected webhook'),
                ('webhook="https://"', 'expected webhook'),
                ('webhook="https://a:b@example.org"', 'expected webhook'),
                ('webhook="https://example.org:99999/"', 'expected webhook'),
                ('webhook="https://example.org/a b"', 'expected webhook'),
                ('webhook="https://exämple.org/"', 'expected webhook')):
            with self.subTest(options):
                self.assertIn(expected, self.refuse(
                    '<background:alerts %s />' % options))


class ChannelTests(unittest.TestCase):

    def test_address_has_one_line(self):
        for text in 'a@b\nBcc: c@d', 'a@b\r', 'a@b\x00', '<a@b>', 5, None:
            with self.subTest(text), self.assertRaises(ValueError):
                Mail((text,), 'a@b')

    def test_default_ports(self):
        self.assertEqual(
            [Mail(('a@b',), 'a@b', security=security)._port
             for security in ('none', 'starttls', 'tls')], [25, 587, 465])
