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
"""Input is made to fit in one way, wherever it comes from."""
import unittest
from datetime import date
from datetime import datetime
from datetime import time
from datetime import timedelta
from datetime import timezone
from decimal import Decimal as D
from fractions import Fraction

import transaction
from ZODB.POSException import ConflictError
from zope.interface import Interface
from zope.interface import Invalid
from zope.interface import directlyProvides
from zope.interface import invariant
from zope.schema import Bool
from zope.schema import Bytes
from zope.schema import Choice
from zope.schema import Complex
from zope.schema import Date
from zope.schema import Datetime
from zope.schema import Decimal
from zope.schema import Dict
from zope.schema import Float
from zope.schema import FrozenSet
from zope.schema import Int
from zope.schema import List
from zope.schema import Number
from zope.schema import Object
from zope.schema import Password
from zope.schema import Rational
from zope.schema import Real
from zope.schema import Set
from zope.schema import Text
from zope.schema import TextLine
from zope.schema import Time
from zope.schema import Timedelta
from zope.schema import Tuple
from zope.schema.interfaces import IContextSourceBinder
from zope.schema.vocabulary import SimpleTerm
from zope.schema.vocabulary import SimpleVocabulary
from zope.security.management import endInteraction
from zope.security.management import queryInteraction

from cipher.background.declarations.fitting import Unfit
from cipher.background.declarations.fitting import fit
from cipher.background.declarations.fitting import fitAgain
from cipher.background.interfaces import InvalidInput
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import login


UTC = timezone.utc
SIZES = SimpleVocabulary([
    SimpleTerm(1, 'small'), SimpleTerm(2, 'big'),
    SimpleTerm(date(2026, 1, 31), 'end')])


def schemaOf(**fields):
    """Return a schema with these fields."""
    for name, field in fields.items():
        field.__name__ = name
    return type(Interface)('ISchema', (Interface,), fields)


def titles(site):
    """Give a vocabulary of what is in the site."""
    return SimpleVocabulary.fromValues(sorted(site))


directlyProvides(titles, IContextSourceBinder)


class FitTests(unittest.TestCase):

    def fit(self, field, value, site=None):
        return fit(schemaOf(value=field), {'value': value}, site)['value']

    def refuse(self, field, value, site=None):
        """Return why it is refused."""
        with self.assertRaises(Unfit) as caught:
            self.fit(field, value, site)
        self.assertEqual(list(caught.exception.errors), ['value'])
        return str(caught.exception)

    def test_what_JSON_cannot_say_is_converted(self):
        for field, given, made in (
                (Float(), 2, 2.0),
                (Bool(), 1, True),
                (Decimal(), 2, D(2)),
                (Decimal(), 2.5, D('2.5')),
                (Decimal(), '1.50', D('1.50')),
                (Rational(), '1/3', Fraction(1, 3)),
                (Date(), '2026-01-31', date(2026, 1, 31)),
                (Time(), '10:30', time(10, 30)),
                (Datetime(), '2026-01-31T10:30', datetime(2026, 1, 31, 10,
                                                          30)),
                (Datetime(), '2026-01-31T10:30:00.000Z',
                 datetime(2026, 1, 31, 10, 30, tzinfo=UTC)),
                (Timedelta(), 90, timedelta(seconds=90)),
                (Timedelta(), 0.5, timedelta(seconds=0.5)),
                (Bytes(), 'abc', b'abc'),
                (Tuple(value_type=Int()), [1, 2], (1, 2)),
                (Set(value_type=TextLine()), ['a', 'b'], {'a', 'b'}),
                (FrozenSet(value_type=Int()), [1], frozenset([1])),
                (Choice(vocabulary=SIZES), 'big', 2),
                (Choice(vocabulary=SIZES), 2, 2),
                (Choice(vocabulary=SIZES), 'end', date(2026, 1, 31)),
                (Dict(key_type=Int(), value_type=Float()), {'1': 2},
                 {1: 2.0}),
                (Dict(key_type=Date(), value_type=Set(value_type=Decimal())),
                 {'2026-01-31': ['1.5']}, {date(2026, 1, 31): {D('1.5')}}),
                (Dict(key_type=Choice(vocabulary=SIZES)), {'big': 1},
                 {2: 1}),
                (List(value_type=List(value_type=Date())), [['2026-01-31']],
                 [[date(2026, 1, 31)]]),
                (List(value_type=Choice(vocabulary=SIZES)), ['small', 2],
                 [1, 2])):
            with self.subTest(field=field, given=given):
                fitted = self.fit(field, given)
                self.assertEqual(fitted, made)
                self.assertIs(type(fitted), type(made))
                self.assertEqual(self.fit(field, fitted), fitted)

    def test_what_JSON_can_say_is_not_guessed(self):
        for field, given in (
                (Int(), '7'), (Int(), 7.0), (Float(), '7'), (Float(), True),
                (Bool(), 'true'), (Bool(), 'yes'), (Bool(), 2),
                (TextLine(), 7), (List(), 'ab'), (Dict(), []),
                (Date(), 'tomorrow'), (Date(), '31.01.2026'),
                (Timedelta(), 'soon'), (Bytes(), '\xe4'),
                (Decimal(), 'a lot'), (Float(), 2 ** 70 + 1),
                (Choice(vocabulary=SIZES), 'huge'),
                (Choice(vocabulary=SIZES), [1])):
            with self.subTest(field=field, given=given):
                self.assertIn("input 'value': expected a %s, got "
                              % type(field).__name__,
                              self.refuse(field, given))

    def test_numbers_that_are_not_finite_are_refused_everywhere(self):
        nan, inf = float('nan'), float('inf')
        for number in (nan, inf, -inf, D('nan'), D('inf'),
                       complex(0, nan), complex(inf, 0)):
            for field, value in (
                    (Float(), number), (Decimal(min=D(0)), number),
                    (List(), [number]), (Dict(), {'a': [number]}),
                    (Dict(), {number: 1}), (Set(), {number}),
                    (Choice(vocabulary=SIZES), number)):
                with self.subTest(field=field, number=number):
                    self.assertIn('finite', self.refuse(field, value))
        for text in 'nan', 'inf', '-Infinity', 'sNaN':
            self.assertIn('finite', self.refuse(Decimal(), text))
        self.assertIn('finite', self.refuse(List(), [D('snan')]))
        for field in Float(), Decimal(), Timedelta():
            self.refuse(field, 10 ** 400 if field._type is float else inf)

    def test_numbers_of_very_many_digits_are_refused_everywhere(self):
        for number in (10 ** 5000, -10 ** 5000, Fraction(1, 10 ** 5000),
                       D('1e5000'), D('1e-5000')):
            for field, value in ((Int(), number), (List(), [[number]]),
                                 (Dict(), {'a': number}), (Float(), number)):
                with self.subTest(field=field):
                    self.assertIn('fewer digits', self.refuse(field, value))
        self.assertEqual(self.fit(Int(), 10 ** 4000), 10 ** 4000)

    def test_exponent_that_would_be_computed_for_ever_is_refused(self):
        for field in (Rational(), Real(), Complex(), Number(), Decimal(),
                      Dict(key_type=Rational())):
            for text in '1e999999999', '1E+9999_99', '1e-999999999':
                self.refuse(field, {text: 1} if isinstance(
                    field, Dict) else text)

    def test_key_that_comes_twice_is_refused(self):
        field = Dict(key_type=Int())
        for given in {'1': 'a', '01': 'b'}, {1: 'a', '1': 'b'}:
            self.assertIn('each key once', self.refuse(field, given))

    def test_vocabulary_is_that_of_the_site(self):
        for field in Choice(source=titles), Set(
                value_type=Choice(source=titles)):
            value = 'a' if isinstance(field, Choice) else {'a'}
            self.assertEqual(self.fit(field, value, {'a': 1}), value)
            self.refuse(field, value, {'b': 1})
            # Without a site it cannot be made: said, not raised.
            self.assertIn("input 'value'", self.refuse(field, value))

    def test_vocabulary_that_nobody_registered(self):
        self.refuse(Choice(vocabulary='nobody knows it'), 'a')

    def test_default_is_that_of_the_site(self):
        def default(site):
            return sorted(site)

        from zope.schema.interfaces import IContextAwareDefaultFactory
        directlyProvides(default, IContextAwareDefaultFactory)
        schema = schemaOf(value=List(defaultFactory=default))
        self.assertEqual(fit(schema, {}, {'a': 1}), {'value': ['a']})

    def test_missing_value_is_the_default(self):
        marker = object()
        schema = schemaOf(value=Int(missing_value=marker, default=5))
        self.assertEqual(fit(schema, {'value': marker}), {'value': 5})
        self.assertEqual(fit(schema, {}), {'value': 5})

    def test_optional_field_of_each_kind_may_be_left_out(self):
        schema = schemaOf(**{kind.__name__: kind(required=False) for kind in (
            Bool, Bytes, Date, Datetime, Decimal, Dict, Float, Int, List,
            Password, Set, Text, TextLine, Time, Timedelta, Tuple)},
            object=Object(schema=Interface, required=False),
            choice=Choice(values=[1], required=False))
        self.assertEqual(set(fit(schema, {}).values()), {None})
        self.assertEqual(set(fit(schema, dict.fromkeys(schema)).values()),
                         {None})

    def test_each_field_tells_its_error_once(self):
        schema = schemaOf(one=Int(), two=Date(), three=TextLine(),
                          four=Int(default=4))
        with self.assertRaises(Unfit) as caught:
            fit(schema, {'one': 'x', 'two': 'y'})
        errors = caught.exception.errors
        self.assertEqual(sorted(errors), ['one', 'three', 'two'])
        self.assertEqual(sorted(caught.exception.causes), sorted(errors))
        text = str(caught.exception)
        for name in errors:
            self.assertEqual(text.count('input %r:' % name), 1)

    def test_constraint_that_fails_itself_is_an_error_of_its_field(self):
        def constraint(value):
            return value > 0

        self.assertIn('TypeError', self.refuse(
            TextLine(constraint=constraint), 'a'))

        def invariants(obj):
            raise KeyError('a')

        class ISchema(Interface):
            number = Int(default=1)
            invariant(invariants)

        with self.assertRaisesRegex(Unfit, 'invariants of ISchema'):
            fit(ISchema, {})

    def test_conflict_goes_on(self):
        def constraint(value):
            raise ConflictError()

        with self.assertRaises(ConflictError):
            self.fit(TextLine(constraint=constraint), 'a')

    def test_value_of_a_password_is_not_shown(self):
        text = self.refuse(Password(max_length=3), 'sesame')
        self.assertNotIn('sesame', text)

    def test_what_is_no_dict(self):
        for values in [], [1], 'a', 5, None, object(), {1}, ():
            with self.assertRaisesRegex(Unfit, 'expected the input as a dict'):
                fit(schemaOf(one=Int()), values)

    def test_result_shares_nothing_with_what_was_given(self):
        given = {'value': {'a': [1]}}
        fitted = fit(schemaOf(value=Dict()), given)
        given['value']['a'].append(2)
        self.assertEqual(fitted, {'value': {'a': [1]}})


class FitAgainTests(unittest.TestCase):

    def test_new_fields_get_their_default_and_old_ones_are_left_out(self):
        schema = schemaOf(kept=Int(), new=Int(default=7))
        self.assertEqual(
            fitAgain(schema, {'kept': 1, 'gone': 2, 'lost': 3}),
            ({'kept': 1, 'new': 7}, ['gone', 'lost']))
        self.assertEqual(fitAgain(None, {'gone': 1}), ({}, ['gone']))

    def test_what_does_not_fit_is_not_quoted(self):
        class ISchema(Interface):
            size = Choice(values=['small'], required=False)
            low = Int(max=3, default=1)

            @invariant
            def invariants(obj):
                if obj.low == 2:
                    raise Invalid('too low')

        for stored, name in (({'size': 'sesame'}, 'size'),
                             ({'low': 4711}, 'low'), ({'low': 2}, None)):
            with self.assertRaises(Unfit) as caught:
                fitAgain(ISchema, stored)
            self.assertEqual(list(caught.exception.errors), [name])
            text = str(caught.exception)
            for secret in 'sesame', '4711', "'low': 2":
                self.assertNotIn(secret, text)

    def test_value_is_not_taken_for_the_token_of_another(self):
        vocabulary = SimpleVocabulary([
            SimpleTerm('new', 'old'), SimpleTerm('other', 'other')])
        schema = schemaOf(value=Choice(vocabulary=vocabulary))
        self.assertEqual(fit(schema, {'value': 'old'}), {'value': 'new'})
        with self.assertRaises(Unfit):
            fitAgain(schema, {'value': 'old'})


class StartTests(SiteTests):

    def test_each_way_to_start_fits_alike(self):
        declareWorker('work', lambda worker, **input: None,
                      schema=schemaOf(seconds=Float(), day=Date(),
                                      place=Choice(source=titles)))
        self.addDocument('a')
        given = {'seconds': 2, 'day': '2026-01-31', 'place': 'a'}
        fitted = {'seconds': 2.0, 'day': date(2026, 1, 31), 'place': 'a'}
        self.assertEqual(
            self.registry.start('work', **given).input, fitted)
        self.assertEqual(
            self.registry.submit('work', input=given).input, fitted)
        with self.assertRaises(InvalidInput) as caught:
            self.registry.start('work', **dict(given, place='b', day='x'))
        self.assertEqual(sorted(caught.exception.errors), ['day', 'place'])


class DeployTests(LiveTests):
    """The schema changes while runs wait."""

    def setUp(self):
        super().setUp()
        self.seen = []
        self.declare(number=Int(), old=TextLine())
        self.registry.pauseType('work')
        transaction.commit()

    def declare(self, **fields):
        declareWorker('work', lambda worker, **input: self.seen.append(input),
                      schema=schemaOf(**fields))

    def deploy(self, **fields):
        """Start, change the schema, let it begin; return the status."""
        run_id = self.start('work', number=5, old='sesame')
        self.declare(**fields)
        self.change(lambda: self.registry.pauseType('work', False))
        return self.waitFinished(run_id)

    def test_fields_that_came_and_went(self):
        status = self.deploy(number=Int(), new=TextLine(default='d'))
        self.assertEqual(status.state, 'succeeded', status.error_text)
        self.assertEqual(self.seen, [{'number': 5, 'new': 'd'}])
        log = self.registry.getDetails(status.id).log
        self.assertIn("Left out of the input", log)
        self.assertIn("'old'", log)
        self.assertNotIn('sesame', log)

    def test_field_that_changed_its_type(self):
        status = self.deploy(number=Float(), old=TextLine())
        self.assertEqual(self.seen, [{'number': 5.0, 'old': 'sesame'}])
        self.assertEqual(status.state, 'succeeded')

    def test_what_does_not_fit_any_more_fails_with_the_reason(self):
        status = self.deploy(number=Int(max=3), old=TextLine(),
                             new=TextLine())
        self.assertEqual((status.state, status.error_type),
                         ('failed', 'InputOutdated'))
        self.assertIn("input 'number': expected a Int", status.error_text)
        self.assertIn("input 'new': expected a TextLine, got none",
                      status.error_text)
        self.assertEqual(status.attempts, 1)
        self.assertEqual(self.seen, [])

    def test_retry_fits_again_and_says_what_it_left_out(self):
        status = self.deploy(number=Int(max=3), old=TextLine())
        self.assertEqual(status.state, 'failed')
        with self.assertRaisesRegex(ValueError, 'input that fits') as caught:
            self.registry.retry(status.id)
        self.assertNotIn('5', str(caught.exception).partition('expected')[2])
        transaction.abort()
        self.declare(number=Int(), new=TextLine(default='d'))
        run_id = self.change(lambda: self.registry.retry(status.id).id)
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertEqual(self.seen, [{'number': 5, 'new': 'd'}])
        self.assertIn("Left out", self.registry.getDetails(run_id).log)

    def test_vocabulary_that_is_made_for_the_starter(self):
        def mine(site):
            participation, = queryInteraction().participations
            return SimpleVocabulary.fromValues([participation.principal.id])

        directlyProvides(mine, IContextSourceBinder)
        self.declare(number=Int(), old=TextLine(), who=Choice(source=mine))
        login('bob')
        run_id = self.start('work', number=5, old='a', who='bob')
        endInteraction()
        self.change(lambda: self.registry.pauseType('work', False))
        status = self.waitFinished(run_id)
        self.assertEqual(status.state, 'succeeded', status.error_text)
