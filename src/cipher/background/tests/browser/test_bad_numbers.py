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
"""Values that no field can compare: refused by form, JSON and code."""
import datetime
import decimal
import json
import math
import unittest

from zope.component import getGlobalSiteManager
from zope.component import provideUtility
from zope.interface import Interface
from zope.interface import Invalid
from zope.interface import invariant
from zope.schema import ASCIILine
from zope.schema import Bool
from zope.schema import Choice
from zope.schema import Complex
from zope.schema import Date
from zope.schema import Datetime
from zope.schema import Decimal
from zope.schema import Dict
from zope.schema import Float
from zope.schema import Int
from zope.schema import List
from zope.schema import Rational
from zope.schema import Set
from zope.schema import TextLine
from zope.schema import Time
from zope.schema import Tuple

from cipher.background.declarations.workertype import WorkerType
from cipher.background.interfaces import InvalidInput
from cipher.background.interfaces import IWorkerType
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.browserworld import publish


class IForm(Interface):
    """Fields that a form can show."""

    number = Float(required=False, min=0.0, max=10.0)
    money = Decimal(required=False, min=decimal.Decimal(0),
                    max=decimal.Decimal(10))
    count = Int(required=False, min=0, max=10)
    day = Date(required=False, min=datetime.date(2000, 1, 1))
    moment = Datetime(required=False, min=datetime.datetime(2000, 1, 1))
    kind = Choice(required=False, values=(1, 2))
    kinds = Set(required=False, value_type=Choice(values=(1, 2)))
    yes = Bool(required=False)
    line = TextLine(required=False, max_length=10)
    ascii = ASCIILine(required=False)


class IAll(IForm):
    """Those and the ones that JSON alone can say."""

    ratio = Rational(required=False, min=0, max=10)
    point = Complex(required=False)
    hour = Time(required=False, min=datetime.time(1))
    numbers = List(required=False, value_type=Float(min=0.0))
    pair = Tuple(required=False, value_type=Decimal(min=decimal.Decimal(0)))
    named = Dict(required=False, key_type=TextLine(),
                 value_type=Float(min=0.0, max=10.0))

    @invariant
    def isInOrder(input):
        # As such invariants are written: who thinks of None, or of NaN?
        if input.number is not None and input.line is not None:
            if input.number < float(input.line):
                raise Invalid('order')
        if input.moment is not None and input.day is not None:
            if input.moment < input.day:
                raise Invalid('order')


TEXTS = ('nan', 'NaN', '-nan', 'sNaN', 'snan123', 'inf', '-Infinity', '∞',
         '1e999', '-1e999', '1e-999', '1e99999999999999999999', '9' * 5000,
         '1/0', '0/0', '1_0', '٣', '-1', '11', '', ' ', '\x00', '\ud800',
         '2020-01-01T00:00:00+00:00', '2020-01-01T00:00:00', '2020-01-01',
         '9999-12-31T23:59:59-23:59', '0000-00-00', '24:00', '01:00+01:00',
         'true', '[]', '{}', 'nan+nanj', '1e400j')
#: As JSON writes them.
VALUES = ('NaN', 'Infinity', '-Infinity', '1e999', '-1e999', '9' * 5000,
          '9' * 400, '-0.0', 'true', 'null', '[]', '{}', '[[]]', '[NaN]',
          '[1e999]', '["nan"]', '["sNaN"]', '{"a": NaN}', '{"a": 1e999}',
          '{"a": "inf"}', '{"nan": 1}', '[{}]', '[[1], [1]]', '[' * 900 + (
              ']' * 900), '1.5', '3')


def isFinite(value):
    """Return whether no number in *value* is without a place."""
    if isinstance(value, dict):
        return isFinite(list(value)) and isFinite(list(value.values()))
    if isinstance(value, (list, tuple, set)):
        return all(map(isFinite, value))
    if isinstance(value, complex):
        return math.isfinite(value.real) and math.isfinite(value.imag)
    if isinstance(value, decimal.Decimal):
        return value.is_finite()
    return not isinstance(value, float) or math.isfinite(value)


class TestPages(BrowserTests):

    def setUp(self):
        super().setUp()
        for name, schema in ('form', IForm), ('all', IAll):
            worker_type = WorkerType(name, handler=publish, schema=schema)
            provideUtility(worker_type, IWorkerType, name)
            self.addCleanup(getGlobalSiteManager().unregisterUtility,
                            worker_type, IWorkerType, name)
        self.csrf_token = self.get('token.json').json['csrf_token']

    def start(self, body):
        return self.app('admin').post(
            '/++background++/start.json', body, expect_errors=True,
            content_type='application/json',
            headers={'X-CSRF-Token': self.csrf_token})

    def check(self, statuses, allowed):
        """All is refused or stored, and what is stored has a place."""
        for what, status in statuses.items():
            self.assertIn(status, allowed, what)
        self.sync()
        runs = self.registry.listRuns(limit=1000).items
        for status in runs:
            self.assertTrue(isFinite(self.registry.get(status.id).input))
        return len(runs)

    def test_json_stores_no_number_without_a_place(self):
        statuses = {}
        for name in IAll.names(all=True):
            if name == 'isInOrder':
                continue
            for value in (*map(json.dumps, TEXTS), *VALUES):
                body = '{"type": "all", "input": {"%s": %s}}' % (name, value)
                statuses[body[:200]] = self.start(body).status_int
        self.assertGreater(len(statuses), 800)
        self.assertGreater(self.check(statuses, (202, 400)), 50)
        for value in ('NaN', '1e999', '"NaN"', '"sNaN"', '"-Infinity"'):
            for name in 'number', 'money':
                self.assertEqual(400, self.start(
                    '{"type": "all", "input": {"%s": %s}}' % (name, value)
                ).status_int, (name, value))

    def test_invariants_that_fail_refuse(self):
        for input in ('{"number": 1, "line": "x"}',
                      '{"moment": "2020-01-01T00:00:00", '
                      '"day": "2020-01-01"}'):
            answer = self.start('{"type": "all", "input": %s}' % input)
            self.assertEqual(400, answer.status_int)

    def test_form_stores_no_number_without_a_place(self):
        statuses = {}
        for name in IForm:
            for text in TEXTS:
                if text == '\ud800':
                    continue
                for suffix in '', ':list', '-empty-marker', '.x':
                    statuses[name + suffix, text[:100]] = self.app(
                        'admin').post('/++background++/start.html?type=form', {
                            'csrf_token': self.csrf_token, 'type': 'form',
                            'form.buttons.start': '1',
                            'form.widgets.%s%s' % (name, suffix): text},
                        expect_errors=True).status_int
        self.assertGreater(len(statuses), 800)
        self.check(statuses, (200, 303, 400))


class TestCode(unittest.TestCase):

    def test_code_stores_no_number_without_a_place(self):
        worker_type = WorkerType('all', handler=publish, schema=IAll)
        nan, inf = float('nan'), float('inf')
        for input in ({'number': nan}, {'number': inf}, {'number': -inf},
                      {'money': decimal.Decimal('NaN')},
                      {'money': decimal.Decimal('sNaN')},
                      {'money': decimal.Decimal('Infinity')},
                      {'point': complex(nan, 0)}, {'point': complex(0, inf)},
                      {'numbers': [1.0, nan]}, {'named': {'a': inf}},
                      {'pair': (decimal.Decimal('sNaN'),)},
                      {'moment': datetime.datetime(
                          2020, 1, 1, tzinfo=datetime.timezone.utc)}):
            with self.subTest(input), self.assertRaises(InvalidInput):
                worker_type.cleanInput(input)
        self.assertEqual(1.5, worker_type.cleanInput(
            {'number': 1.5})['number'])
