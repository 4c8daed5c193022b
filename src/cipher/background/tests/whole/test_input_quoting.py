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
"""No error quotes an input: each way to give one, times what is wrong.

Passwords are quoted to nobody; anything else to nobody but the one who gave
it, and then only in the application's own words.
"""
import logging
import traceback
from io import StringIO

import transaction
from zope.component import getGlobalSiteManager
from zope.interface import Interface
from zope.interface import Invalid
from zope.interface import invariant
from zope.schema import Dict
from zope.schema import Int
from zope.schema import List
from zope.schema import Object
from zope.schema import Password
from zope.schema import Set
from zope.schema import TextLine
from zope.schema import Tuple
from zope.schema.interfaces import ValidationError

from cipher.background.declarations.workertype import WorkerType
from cipher.background.interfaces import InvalidInput
from cipher.background.interfaces import IWorkerType
from cipher.background.interfaces import RunNotRetryable
from cipher.background.registry.installation import getRegistry
from cipher.background.registry.unattended import startAutomatically
from cipher.background.testing import runPending
from cipher.background.tests.support.browser import BASE
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.browserworld import publish


SECRET = 'sesame&"open"'
#: A part of it, in whatever way it is quoted.
PART = 'sesame'
VALUE = 'geheim'


class Picky(ValidationError):
    """It is not liked."""

    def doc(self):
        return 'not liked: %r' % (self.args,)


def dislike(value):
    if value:
        raise Picky(value)
    return True


def doubt(value):
    if value:
        raise ValueError('in doubt about %r' % (value,))
    return True


class ILogin(Interface):
    user = TextLine(title='User')
    password = Password(title='Password')


def schemaOf(**fields):
    """Return a schema with these fields and one that is no password."""
    class ISchema(Interface):
        note = TextLine(title='Note', required=False)

    for name, field in fields.items():
        field.__name__, field.interface, field.order = name, ISchema, 999
        ISchema._InterfaceClass__attrs[name] = field
    ISchema.changed(ISchema)
    return ISchema


class IAgainst(Interface):
    note = TextLine(title='Note', required=False)
    passwords = List(title='Passwords', value_type=Password(title='One'))

    @invariant
    def notLiked(self):
        raise Invalid('%r and %s are not liked' % (self.passwords, self.note))


class IDoubting(Interface):
    note = TextLine(title='Note', required=False)
    password = Password(title='Password')

    @invariant
    def inDoubt(self):
        raise ValueError('%s: in doubt' % self.password)


PASSWORD = Password(title='Password')

#: What is wrong -> (schema, input).
CASES = {
    'too long': (schemaOf(password=Password(title='x', max_length=3)),
                 {'password': SECRET}),
    'of a wrong type': (schemaOf(password=Password(title='x')),
                        {'password': [SECRET]}),
    'in bytes': (schemaOf(password=Password(title='x')),
                 {'password': SECRET.encode()}),
    'too many': (schemaOf(many=List(title='x', value_type=PASSWORD,
                                    max_length=1)),
                 {'many': [SECRET, SECRET]}),
    'in a list that holds another': (
        schemaOf(many=List(title='x', value_type=PASSWORD)),
        {'many': [SECRET, 5]}),
    'in a tuple with another, for a list': (
        schemaOf(many=List(title='x', value_type=PASSWORD)),
        {'many': (SECRET, 5)}),
    'in a list with another, for a tuple': (
        schemaOf(many=Tuple(title='x', value_type=PASSWORD)),
        {'many': [SECRET, 5]}),
    'in a set that holds another': (
        schemaOf(many=Set(title='x', value_type=PASSWORD)),
        {'many': {SECRET, 5}}),
    'a value of a dict': (
        schemaOf(table=Dict(title='x', key_type=TextLine(),
                            value_type=Password(max_length=3))),
        {'table': {'user': SECRET}}),
    'a key of a dict': (
        schemaOf(table=Dict(title='x', key_type=Password(max_length=3),
                            value_type=TextLine())),
        {'table': {SECRET: VALUE}}),
    'a key that leads to an object': (
        schemaOf(table=Dict(title='x', key_type=PASSWORD)),
        {'table': {SECRET: object()}}),
    'a key where a list was expected': (
        schemaOf(many=List(title='x', value_type=PASSWORD)),
        {'many': {SECRET: [object()]}}),
    'in a dict for an object': (
        schemaOf(login=Object(title='x', schema=ILogin)),
        {'login': {'user': VALUE, 'password': SECRET}}),
    'in a list of dicts for objects': (
        schemaOf(logins=List(title='x', value_type=Object(schema=ILogin))),
        {'logins': [{'user': VALUE, 'password': SECRET}]}),
    'refused by a constraint': (
        schemaOf(password=Password(title='x', constraint=dislike)),
        {'password': SECRET}),
    'refused by a constraint with a ValueError': (
        schemaOf(password=Password(title='x', constraint=doubt)),
        {'password': SECRET}),
    'refused by an invariant': (IAgainst, {'passwords': [SECRET]}),
    'refused by an invariant with a ValueError': (
        IDoubting, {'password': SECRET}),
    'beside something of a wrong type': (
        schemaOf(password=Password(title='x'), count=Int(title='Count')),
        {'password': SECRET, 'count': VALUE}),
    'beside something unknown': (
        schemaOf(password=Password(title='x')),
        {'password': SECRET, 'other': VALUE, '%s!' % VALUE: 1}),
    'beside an object': (
        schemaOf(password=Password(title='x'), table=Dict(title='x')),
        {'password': SECRET, 'table': {VALUE: object()}}),
}


class QuotingTests(BrowserTests):
    """Declares a type ``picky`` and listens to the server's log."""

    def setUp(self):
        super().setUp()
        self.stream = StringIO()
        handler = logging.StreamHandler(self.stream)
        log = logging.getLogger('cipher.background')
        log.addHandler(handler)
        self.addCleanup(log.removeHandler, handler)

    def declare(self, schema, name='picky', handler=publish):
        worker_type = WorkerType(name, handler=handler, schema=schema)
        components = getGlobalSiteManager()
        components.registerUtility(worker_type, IWorkerType, name)
        self.addCleanup(components.unregisterUtility, worker_type,
                        IWorkerType, name)
        return worker_type

    def cases(self, but=()):
        """Yield the input of each case *but* those; its type is declared."""
        for name, (schema, input) in CASES.items():
            if name in but:
                continue
            with self.subTest(name):
                self.declare(schema)
                # Another field of the same input.
                yield dict(input, note=VALUE) if 'note' in schema else input

    def assertQuotesNoSecret(self, text):
        self.assertNotIn(PART, text)

    def assertQuotesNothing(self, text):
        self.assertNotIn(PART, text)
        self.assertNotIn(VALUE, text)


class StartTests(QuotingTests):

    def test_refusal_of_a_start_quotes_no_secret(self):
        for input in self.cases():
            with self.assertRaises(InvalidInput) as caught:
                self.registry.submit('picky', None, input)
            error = caught.exception
            self.assertQuotesNothing(error.public)
            for text in (str(error), repr(error), ''.join(
                    traceback.format_exception(error))):
                self.assertQuotesNoSecret(text)

    def test_application_may_say_what_it_refuses(self):
        self.declare(IAgainst)
        with self.assertRaisesRegex(InvalidInput, '\u2022.* and geheim are'):
            self.registry.start('picky', passwords=[SECRET], note=VALUE)

    def test_start_that_fails_unseen_quotes_nothing(self):
        for number, input in enumerate(self.cases(), 1):
            self.assertIsNone(startAutomatically(
                self.registry, 'a trigger', 'picky', None, lambda: input))
            transaction.commit()
            run, = self.registry.listRuns(limit=1).items
            self.assertEqual(run.state, 'failed')
            self.assertQuotesNothing(str(run))
            details = self.registry.getDetails(run.id)
            self.assertIn('InvalidInput', details.traceback)
            self.assertQuotesNoSecret(str(details))
            self.assertQuotesNoSecret(self.stream.getvalue())
            for path in ('runs.csv', 'runs.json', 'index.html',
                         run.id + '/index.json'):
                answer = self.get(path, 'viewer')
                self.assertEqual(answer.status_int, 200)
                self.assertQuotesNothing(answer.text)
        self.assertEqual(number, len(CASES))
        self.assertIn('could not be started', self.stream.getvalue())

    def test_worker_whose_own_start_is_refused_quotes_nothing(self):
        self.declare(IAgainst)
        self.declare(None, 'starts', lambda worker: getRegistry().start(
            'picky', passwords=[SECRET], note=VALUE))
        run = self.makeRun('starts')
        with self.assertRaises(InvalidInput):
            runPending(self.root)
        transaction.begin()
        self.assertEqual(run.error[0], 'InvalidInput')
        self.assertQuotesNothing(run.error[1])
        self.assertQuotesNoSecret(run.details.traceback)
        self.assertQuotesNoSecret(run.details.log)
        self.assertQuotesNoSecret(self.stream.getvalue())

    def test_input_that_is_none_is_not_quoted(self):
        self.declare(CASES['too long'][0])
        for input in SECRET, [SECRET], (SECRET,), {SECRET}, SECRET.encode():
            with self.assertRaises(InvalidInput) as caught:
                self.registry.submit('picky', None, input)
            self.assertQuotesNoSecret(str(caught.exception))

    def test_function_that_fails_with_a_secret_is_not_quoted(self):
        def fail():
            raise KeyError(SECRET)

        # Nobody knows what in such an error is a secret.
        self.declare(CASES['too long'][0])
        self.declare(None, 'open')
        for name in 'picky', 'open':
            startAutomatically(self.registry, 'a trigger', name, None, fail)
            run, = self.registry.listRuns(limit=1).items
            details = self.registry.getDetails(run.id)
            self.assertEqual(run.error_type, 'KeyError')
            self.assertIn('in fail', details.traceback)
            for text in (str(run), details.traceback,
                         self.stream.getvalue()):
                self.assertIn('KeyError', text)
                if name == 'picky':
                    self.assertQuotesNoSecret(text)
                else:
                    self.assertIn(PART, text)

    def test_refused_retry_quotes_nothing(self):
        token = self.get('token.json').json['csrf_token']
        form = None
        # A retry leaves out what is unknown.
        for input in self.cases(but={'beside something unknown'}):
            run = self.makeFailed(type='picky')
            # An object cannot have been stored.
            run.input = {name: value for name, value in input.items()
                         if 'object object' not in repr(value)}
            transaction.commit()
            with self.assertRaises(RunNotRetryable) as caught:
                self.registry.retry(run.id)
            transaction.abort()
            self.assertQuotesNothing(str(caught.exception))
            answer = self.app('admin').post_json(
                '%s/%s/retry.json' % (BASE, run.id), {},
                headers={'X-CSRF-Token': token}, expect_errors=True)
            self.assertEqual(answer.status_int, 409)
            self.assertQuotesNothing(answer.text)
            form = self.post(run.id + '/retry.html', csrf_token=token,
                             retry='1')
            self.assertQuotesNothing(form.text)
        self.assertIsNotNone(form)

    def test_refused_json_quotes_no_secret(self):
        token = self.get('token.json', 'editor').json['csrf_token']
        refused = 0
        for input in self.cases():
            try:
                answer = self.app('editor').post_json(
                    BASE + '/start.json', {'type': 'picky', 'input': input},
                    headers={'X-CSRF-Token': token}, expect_errors=True)
            except TypeError:
                continue   # JSON cannot say it
            self.assertEqual(answer.status_int, 400)
            self.assertQuotesNoSecret(answer.text)
            refused += 1
        self.assertGreater(refused, len(CASES) / 2)


class FormTests(QuotingTests):
    """The start form shows what was posted again, but no password."""

    def test_start_form_repeats_no_password(self):
        posts = {
            'too long': {'password': SECRET},
            'refused by a constraint': {'password': SECRET},
            'refused by a constraint with a ValueError': {'password': SECRET},
            'refused by an invariant with a ValueError': {'password': SECRET},
            'beside something of a wrong type': {
                'password': SECRET, 'count': 'x'},
            'in a list that holds another': {
                'many.0': SECRET, 'many.count': '1', 'note': 'a\nb'},
            'too many': {'many.0': SECRET, 'many.1': SECRET,
                         'many.count': '2'},
            'refused by an invariant': {
                'passwords.0': SECRET, 'passwords.count': '1'},
        }
        token = self.get('token.json').json['csrf_token']
        for name, form in posts.items():
            with self.subTest(name):
                self.declare(CASES[name][0])
                fields = {'form.widgets.' + field: value
                          for field, value in form.items()}
                answer = self.post(
                    'start.html?type=picky', csrf_token=token, type='picky',
                    form__buttons__start='1', **fields)
                self.assertEqual(answer.status_int, 200)
                self.assertIn('start.html', answer.text)
                self.assertQuotesNoSecret(answer.text)
