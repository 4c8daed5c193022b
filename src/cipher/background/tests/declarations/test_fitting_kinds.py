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
"""Each kind of field that zope.schema exports, and what JSON says for it."""
import inspect
import json
from datetime import date
from datetime import datetime
from datetime import time
from datetime import timedelta
from datetime import timezone
from decimal import Decimal
from fractions import Fraction
from unittest import TestCase

import zope.schema
from zope.interface import Interface

from cipher.background.declarations.fitting import Unfit
from cipher.background.declarations.fitting import fit


#: Values of each kind, and what JSON may say for them: pairs (value, said).
SAMPLES = {
    'ASCII': [('a\nb', 'a\nb')],
    'ASCIILine': [('a', 'a')],
    'Bool': [(True, True), (False, 0)],
    'Bytes': [(b'a', 'a')],
    'BytesLine': [(b'a', 'a')],
    'Collection': [([1], [1])],
    'Complex': [(1 + 2j, '1+2j'), (0.5, 0.5), (2, 2)],
    'Container': [([1], [1]), ('ab', 'ab')],
    'Date': [(date(2026, 1, 31), '2026-01-31')],
    'Datetime': [(datetime(2026, 1, 31, 10, 30), '2026-01-31T10:30:00'),
                 (datetime(2026, 1, 31, tzinfo=timezone.utc),
                  '2026-01-31T00:00:00Z')],
    'Decimal': [(Decimal('0.1'), 0.1), (Decimal(2), 2),
                (Decimal('12.50'), '12.50')],
    'Dict': [({'a': 1}, {'a': 1})],
    'DottedName': [('a.b', 'a.b')],
    'Field': [([1, {'a': None}], [1, {'a': None}])],
    'Float': [(2.0, 2), (0.5, 0.5)],
    'FrozenSet': [(frozenset([1]), [1])],
    'Id': [('a.b', 'a.b'), ('http://example.org/', 'http://example.org/')],
    'Int': [(2, 2)],
    'Integral': [(2, 2)],
    'Iterable': [([1], [1])],
    'List': [([1], [1])],
    'Mapping': [({'a': 1}, {'a': 1})],
    'MutableMapping': [({'a': 1}, {'a': 1})],
    'MutableSequence': [([1], [1])],
    'NativeString': [('a', 'a')],
    'NativeStringLine': [('a', 'a')],
    'Number': [(2, 2), (0.5, 0.5), (1 + 2j, '1+2j')],
    'Password': [('a', 'a')],
    'PythonIdentifier': [('a', 'a')],
    'Rational': [(Fraction(1, 3), '1/3'), (Fraction(1, 10), 0.1), (2, 2),
                 (2, 2.0)],
    'Real': [(0.5, 0.5), (Fraction(1, 3), '1/3')],
    'Sequence': [([1], [1])],
    'Set': [({1}, [1])],
    'SourceText': [('a', 'a')],
    'Text': [('a\nb', 'a\nb')],
    'TextLine': [('a', 'a')],
    'Time': [(time(10, 30), '10:30:00')],
    'Timedelta': [(timedelta(seconds=90), 90),
                  (timedelta(seconds=1.5), 1.5)] + [
        (span, str(span)) for span in (
            timedelta(0), timedelta(hours=1, minutes=30), timedelta(days=1),
            timedelta(days=400, seconds=1, microseconds=5),
            timedelta(days=-1, hours=2))],
    'Tuple': [((1, 'a'), [1, 'a'])],
    'URI': [('http://example.org/', 'http://example.org/')],
}

#: No plain data is a value of these: they cannot be given.
NOT_PLAIN = {'InterfaceField', 'Object'}

#: Its values are those of its vocabulary: see `test_fitting`.
OTHERS = {'Choice'}


def isField(kind):
    return inspect.isclass(kind) and issubclass(kind, zope.schema.Field)


def fitOne(field, value):
    field.__name__ = 'value'
    schema = type(Interface)('ISchema', (Interface,), {'value': field})
    return fit(schema, {'value': value})['value']


class KindTests(TestCase):

    def assertSame(self, one, other):
        self.assertEqual(one, other)
        if not isinstance(other, (int, Fraction)):
            self.assertIs(type(one), type(other))

    def test_each_kind_that_is_exported_has_its_samples(self):
        exported = {name for name, kind in inspect.getmembers(
            zope.schema, isField)}
        known = set(SAMPLES) | NOT_PLAIN | OTHERS
        # Abstract ones, and names that a later release adds.
        for name in exported - known:
            with self.assertRaises(Exception, msg=name):
                getattr(zope.schema, name)(title='Value')
        self.assertEqual(set(SAMPLES) - exported, set())

    def test_value_and_what_JSON_says_for_it(self):
        for name, samples in SAMPLES.items():
            for value, said in samples:
                with self.subTest(name, value=value, said=said):
                    said = json.loads(json.dumps(said))
                    field = getattr(zope.schema, name)
                    self.assertSame(fitOne(field(title='V'), said), value)
                    self.assertSame(fitOne(field(title='V'), value), value)
                    # At any depth.
                    self.assertEqual(fitOne(zope.schema.List(
                        title='V', value_type=field(title='I')), [said]),
                        [value])
                    self.assertEqual(fitOne(zope.schema.Dict(
                        title='V', key_type=zope.schema.TextLine(title='K'),
                        value_type=field(title='I')), {'k': said}),
                        {'k': value})

    def test_what_is_no_span_and_no_fraction(self):
        for name, values in (
                ('Timedelta', ['', '1', 'PT1H', '1:60:00', '1:00', 'a day',
                               '1 day', '9999999999 days, 0:00:00',
                               '999999999 days, 99:59:59', '1:00:00\n',
                               True, [1], 1e300, 10 ** 400]),
                ('Rational', ['1/0', '1/x', '', 'nan', '1e5000', [1]]),
                ('Complex', ['1+', 'i', '1e999j', [1, 2]])):
            for value in values:
                with self.subTest(name, value=value), self.assertRaises(
                        Unfit):
                    fitOne(getattr(zope.schema, name)(title='V'), value)
