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
"""Passwords of an input do not come to light."""
import transaction
from zope.interface import Interface
from zope.interface import invariant
from zope.schema import Dict
from zope.schema import List
from zope.schema import Object
from zope.schema import Password
from zope.schema import TextLine

from cipher.background import testing
from cipher.background.interfaces import InvalidInput
from cipher.background.masking import MASK
from cipher.background.masking import makeMasker
from cipher.background.masking import maskInput
from cipher.background.tests.live_support import declareWorker
from cipher.background.tests.support import SiteTests


SECRET = 'sesame-open'


class ILogin(Interface):
    """Where to go, and how to get in."""

    host = TextLine(title='Host', default='localhost')
    password = Password(title='Password', min_length=5)

    @invariant
    def hostIsKnown(self):
        if self.host == 'nowhere':
            raise ValueError('unknown')


class SecretTests(SiteTests):

    def shown(self, run):
        status = self.registry.getStatus(run.id)
        details = self.registry.getDetails(run.id)
        return (str(status) + details.log + details.traceback
                + str(details.history))

    def carry_out(self, work, raises=()):
        declareWorker('log-in', work, schema=ILogin)
        run = self.registry.start('log-in', password=SECRET)
        transaction.commit()
        try:
            testing.runPending(self.site)
        except raises:
            pass
        transaction.begin()
        self.assertTrue(run.isFinished())
        return run

    def test_work_gets_the_secret_itself(self):
        seen = []
        self.carry_out(lambda worker, host, password: seen.append(password))
        self.assertEqual(seen, [SECRET])

    def test_line_31_secret_is_masked_in_result_message_and_log(self):
        def work(worker, host, password):
            worker.setProgress(1, 2, 'with %s' % password)
            worker.log.info('I say %s', password)
            return {'answer': [password]}

        shown = self.shown(self.carry_out(work))
        self.assertNotIn(SECRET, shown)
        self.assertEqual(shown.count(MASK), 3)

    def test_line_31_secret_is_masked_in_error_traceback_and_history(self):
        def work(worker, host, password):
            raise KeyError(password)

        run = self.carry_out(work, KeyError)
        self.assertEqual(run.state, 'failed')
        shown = self.shown(run)
        self.assertNotIn(SECRET, shown)
        self.assertIn(MASK, run.error[1])

    def test_line_32_refused_secret_is_not_quoted(self):
        declareWorker('log-in', lambda worker, host, password: None,
                      schema=ILogin)
        with self.assertRaises(InvalidInput) as caught:
            self.registry.start('log-in', password='abcd')
        self.assertNotIn('abcd', str(caught.exception))

    def test_line_31_secrets_are_found_at_any_depth(self):
        class IDeep(Interface):
            host = TextLine(title='Host')
            keys = List(title='Keys', value_type=Password(title='Key'))
            logins = Dict(title='Logins', key_type=TextLine(title='Host'),
                          value_type=Object(title='Login', schema=ILogin))

        masker = makeMasker(IDeep, {
            'host': 'localhost', 'keys': ['first', 'second'],
            'logins': {'one': {'host': 'here', 'password': SECRET}}})
        for secret in 'first', 'second', 'here', SECRET:
            self.assertEqual(masker.text('is %s.' % secret),
                             'is %s.' % MASK)
        text = 'one localhost'
        self.assertEqual(masker.text(text), text)
        self.assertEqual(makeMasker(IDeep, {'keys': None}).text(text), text)

    def test_line_31_input_is_masked_at_any_depth(self):
        class IDeep(Interface):
            host = TextLine(title='Host')
            object = Object(title='Login', schema=ILogin)
            keys = List(title='Keys', value_type=Password(title='Key'))
            logins = Dict(title='Logins', key_type=TextLine(title='Host'),
                          value_type=Object(title='Login', schema=ILogin))

        self.assertEqual(list(maskInput(IDeep, {
            'unknown': 'x', 'logins': {'one': {'password': SECRET}},
            'keys': ['first'], 'object': {'password': SECRET},
            'host': 'localhost'}).items()), [
                ('host', 'localhost'), ('object', MASK), ('keys', MASK),
                ('logins', MASK), ('unknown', MASK)])
        self.assertEqual(maskInput(IDeep, {'keys': None}), {'keys': None})

    def test_line_31_input_of_an_undeclared_type_is_all_masked(self):
        self.assertEqual(maskInput(None, {'a': 1}), {'a': MASK})

    def test_line_31_secret_that_was_kept_unmasked_is_masked(self):
        # The field was no password when the run was carried out.
        class IOld(Interface):
            host = TextLine(title='Host')
            password = TextLine(title='Password')

        def work(worker, host, password):
            worker.log.info('I say %s', password)
            raise KeyError(password)

        declareWorker('log-in', work, schema=IOld, max_attempts=2,
                      retry_delay=0.0)
        run = self.registry.start('log-in', host='here', password=SECRET)
        transaction.commit()
        with self.assertRaises(KeyError):
            testing.runPending(self.site)
        transaction.begin()

        def shown():
            details = self.registry.getDetails(run.id)
            self.assertEqual(list(details.input), ['host', 'password'])
            return [repr(part) for part in (
                details.input, details.log, details.traceback,
                details.history)]

        for text in shown():
            self.assertIn(SECRET, text)
        declareWorker('log-in', work, schema=ILogin)
        for text in shown():
            self.assertNotIn(SECRET, text)
            self.assertIn(MASK, text)

    def test_longest_secret_is_masked_first(self):
        class ITwo(Interface):
            one = Password(title='One')
            two = Password(title='Two')

        masker = makeMasker(ITwo, {'one': 'abc', 'two': 'abcdef'})
        self.assertEqual(masker.text('abcdef abc'), MASK + ' ' + MASK)
