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
"""The settings of the monitoring, and their directive."""
import hmac
import os
import unittest
from unittest import mock

from zope.component import getUtility
from zope.configuration.config import ConfigurationConflictError
from zope.configuration.exceptions import ConfigurationError
from zope.interface.verify import verifyObject

from cipher.background import zcml
from cipher.background.declarations import settings
from cipher.background.declarations.settings import MonitoringSettings
from cipher.background.interfaces import IMonitoringSettings
from cipher.background.tests.support.sites import ComponentTests
from cipher.background.tests.support.sites import checkDefaults
from cipher.background.tests.support.sites import declare


TOKEN = 'Sesame-0123456789'
#: What cannot be sent as a token.
WRONG = ('', ' ', 'a b', TOKEN + '\n', ' ' + TOKEN, 'Sesäme', '=', 'a=b',
         '"x"', 'a,b', '\x00', 'a\u2028')


class SettingsTests(unittest.TestCase):

    def test_nothing_is_open_by_default(self):
        made = MonitoringSettings()
        verifyObject(IMonitoringSettings, made)
        self.assertEqual(
            (made.public_health, made.ignore_problems, made.has_token),
            (False, False, False))
        for header in None, '', 'Bearer', 'Bearer ', 'Bearer x', 'x':
            self.assertFalse(made.accepts(header))
            self.assertFalse(made.refuses(header))

    def test_token_is_accepted_over_its_scheme_alone(self):
        made = MonitoringSettings(token=TOKEN)
        verifyObject(IMonitoringSettings, made)
        self.assertTrue(made.has_token)
        for header in ('Bearer %s', 'bearer %s', '  BEARER   %s  ',
                       'Bearer\t%s'):
            self.assertTrue(made.accepts(header % TOKEN))
            self.assertFalse(made.refuses(header % TOKEN))
        for header in ('%s', 'Basic %s', 'Token %s', 'Bearer%s', 'Bearer:%s',
                       'Bearers %s', 'x Bearer %s', ''):
            header = header % TOKEN if '%' in header else header
            self.assertFalse(made.accepts(header))
            self.assertFalse(made.refuses(header))
        for header in ('Bearer', 'Bearer ', 'Bearer x', 'Bearer %sx' % TOKEN,
                       'Bearer %s %s' % (TOKEN, TOKEN), 'Bearer \udc80',
                       'Bearer ' + TOKEN.upper(), 'Bearer ' + 'x' * 10 ** 5):
            self.assertFalse(made.accepts(header))
            self.assertTrue(made.refuses(header))

    def test_token_that_cannot_be_sent_is_refused_and_not_quoted(self):
        for token in (*WRONG, b'x', 7, ['x']):
            with self.assertRaises(ValueError) as caught:
                MonitoringSettings(token=token)
            message = str(caught.exception)
            self.assertIn('monitoring: expected a token of letters', message)
            if token and str(token).strip(' =') not in ('', 'x', '7'):
                self.assertNotIn(str(token), message)
        for token in 'x', 'a.b', 'YWJj==', 'a-b_c~d+e/f':
            self.assertTrue(MonitoringSettings(
                token=token).accepts('Bearer ' + token))

    def test_token_is_compared_by_digests_in_constant_time(self):
        made = MonitoringSettings(token=TOKEN)
        self.assertNotIn(TOKEN, repr(vars(made)))
        with mock.patch.object(settings.hmac, 'compare_digest',
                               side_effect=hmac.compare_digest) as compare:
            for given in TOKEN, 'x', 'x' * 1000:
                made.accepts('Bearer ' + given)
        self.assertEqual(
            [tuple(map(len, call.args)) for call in compare.call_args_list],
            [(32, 32)] * 3)


class DirectiveTests(ComponentTests):

    def declare(self, attributes, **environ):
        with mock.patch.dict(os.environ, environ):
            declare('<background:monitoring %s />' % attributes)
        return getUtility(IMonitoringSettings)

    def assertRefused(self, message, attributes, **environ):
        with self.assertRaises(ConfigurationError) as caught:
            self.declare(attributes, **environ)
        self.assertIn(message, str(caught.exception))
        return str(caught.exception)

    def test_defaults_of_schema_and_handler_agree(self):
        checkDefaults(self, zcml.IMonitoringDirective, zcml.monitoring)

    def test_settings_are_a_utility(self):
        made = self.declare('')
        self.assertFalse(made.public_health or made.has_token)
        made = self.declare('public_health="yes" ignore_problems="yes"')
        self.assertTrue(made.public_health and made.ignore_problems)

    def test_token_is_of_the_variable_or_the_directive(self):
        for attributes in 'token_variable="T"', 'token="%s"' % TOKEN:
            made = self.declare(attributes, T=TOKEN)
            self.assertTrue(made.accepts('Bearer ' + TOKEN))
            self.assertFalse(made.accepts('Bearer T'))

    def test_missing_or_empty_token_is_an_error(self):
        self.assertRefused(
            "monitoring: expected the environment variable 'NO_SUCH_ONE' to "
            'have a token, got none; set it, or leave out token_variable',
            'token_variable="NO_SUCH_ONE"')
        self.assertRefused("expected the environment variable 'T' to have a "
                           'token, got an empty text', 'token_variable="T"',
                           T='')
        self.assertRefused('expected the environment variable \'\' to have',
                           'token_variable=""')
        self.assertRefused('got an empty one', 'token=""')
        self.assertRefused("expected 'token' or 'token_variable', got both",
                           'token="x" token_variable="T"', T='x')

    def test_error_does_not_quote_the_variable(self):
        for token in WRONG:
            if token and '\x00' not in token and token.strip():
                message = self.assertRefused(
                    'expected a token of letters', 'token_variable="T"',
                    T=token)
                if token not in ('=',):
                    self.assertNotIn(token, message)

    def test_two_conflict(self):
        with self.assertRaises(ConfigurationConflictError):
            declare('<background:monitoring /><background:monitoring />')
