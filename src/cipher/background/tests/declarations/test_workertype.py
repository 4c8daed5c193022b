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
"""Worker types: input made clean."""
import datetime
import pickle
import unittest

from zope.interface import Interface
from zope.interface import Invalid
from zope.interface import invariant
from zope.interface.verify import verifyObject
from zope.schema import Bool
from zope.schema import Choice
from zope.schema import Datetime
from zope.schema import Dict
from zope.schema import Int
from zope.schema import List
from zope.schema import Text
from zope.schema import TextLine
from zope.security.checker import ProxyFactory

from cipher.background.declarations.fitting import INPUT_LIMIT
from cipher.background.declarations.workertype import WorkerType
from cipher.background.declarations.workertype import getWorkerType
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import START_WORKERS
from cipher.background.interfaces import InvalidInput
from cipher.background.interfaces import IWorkerType
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.tests.support.sites import ComponentTests
from cipher.background.tests.support.sites import Document
from cipher.background.tests.support.sites import declare


class IRange(Interface):

    low = Int(title="Low", min=0)
    high = Int(title="High", default=10)

    @invariant
    def in_order(self):
        if self.low > self.high:
            raise Invalid('low is above high')


class IEverything(Interface):

    line = TextLine(title="Line", required=False)
    text = Text(title="Text", required=False)
    numbers = List(title="Numbers", value_type=Int(), required=False)
    names = Dict(title="Names", key_type=TextLine(), value_type=List(),
                 required=False)
    at = Datetime(title="At", required=False)
    colour = Choice(title="Colour", values=('red', 'blue'), required=False)
    is_loud = Bool(title="Loud", default=True)
    tags = List(title="Tags", defaultFactory=lambda: ['new'])

    def method(a):
        """Not a field."""


class IMore(IRange):

    note = TextLine(title="Note")


def work(worker, **input):
    """Does nothing."""


class WorkerTypeTests(unittest.TestCase):

    def make(self, schema=None):
        return WorkerType('count', handler=work, schema=schema)

    def refuse(self, schema, **input):
        """Return why *input* is refused."""
        with self.assertRaises(InvalidInput) as caught:
            self.make(schema).cleanInput(input)
        text = str(caught.exception)
        self.assertTrue(text.startswith("worker 'count': "), text)
        self.assertLess(len(text), 1000)
        return text

    def test_worker_type_provides_its_interface(self):
        verifyObject(IWorkerType, self.make())

    def test_worker_type_is_immutable(self):
        with self.assertRaises(AttributeError):
            self.make().permission = 'zope.Public'

    def test_defaults(self):
        worker_type = self.make()
        self.assertEqual(
            (worker_type.title, worker_type.description, worker_type.schema,
             worker_type.permission, worker_type.on_interrupt,
             worker_type.is_loop),
            ('count', '', None, START_WORKERS, 'rerun', False))

    def test_input_that_fits_is_returned(self):
        at = datetime.datetime(2026, 1, 2)
        given = dict(line='a', text='b\nc', numbers=[1, 2], at=at,
                     names={'x': [1]}, colour='red', is_loud=False, tags=[])
        self.assertEqual(self.make(IEverything).cleanInput(given), given)

    def test_missing_fields_get_their_default(self):
        self.assertEqual(
            self.make(IRange).cleanInput({'low': 3}), {'low': 3, 'high': 10})
        self.assertEqual(
            self.make(IEverything).cleanInput({}),
            {'line': None, 'text': None, 'numbers': None, 'names': None,
             'at': None, 'colour': None, 'is_loud': True, 'tags': ['new']})

    def test_fields_of_a_base_schema_count(self):
        self.assertEqual(
            self.make(IMore).cleanInput({'low': 1, 'note': 'n'}),
            {'low': 1, 'high': 10, 'note': 'n'})

    def test_input_is_a_copy_at_every_depth(self):
        given = {'names': {'x': [1]}, 'tags': ['a']}
        cleaned = self.make(IEverything).cleanInput(given)
        given['names']['x'].append(2)
        given['tags'].append('b')
        self.assertEqual(cleaned['names'], {'x': [1]})
        self.assertEqual(cleaned['tags'], ['a'])

    def test_default_is_not_shared(self):
        worker_type = self.make(IEverything)
        worker_type.cleanInput({})['tags'].append('x')
        self.assertEqual(worker_type.cleanInput({})['tags'], ['new'])

    def test_proxies_are_taken_off_at_every_depth(self):
        given = {'names': ProxyFactory({'x': ProxyFactory([1])}),
                 'numbers': ProxyFactory([1])}
        cleaned = self.make(IEverything).cleanInput(given)
        self.assertIs(type(cleaned['names']), dict)
        self.assertIs(type(cleaned['names']['x']), list)
        self.assertIs(type(cleaned['numbers']), list)
        pickle.dumps(cleaned)

    def test_proxied_input_as_a_whole_is_taken(self):
        cleaned = self.make(IRange).cleanInput(ProxyFactory({'low': 1}))
        self.assertEqual(cleaned, {'low': 1, 'high': 10})

    def test_no_schema_takes_no_input(self):
        self.assertEqual(self.make().cleanInput({}), {})
        self.assertEqual(
            self.refuse(None, low=1),
            "worker 'count': expected input without any field, got 'low'; "
            'leave that out or add it to the schema')

    def test_unknown_input_is_refused_and_the_known_named(self):
        text = self.refuse(IRange, low=1, hight=2)
        self.assertIn("expected input 'low', 'high', got 'hight'", text)

    def test_methods_of_the_schema_are_no_input(self):
        self.assertIn("got 'method'", self.refuse(IEverything, method=1))

    def test_missing_input_is_refused(self):
        text = self.refuse(IRange)
        self.assertIn("input 'low': expected a Int, got none", text)
        self.assertIn('RequiredMissing', text)

    def test_none_for_a_required_field_is_refused(self):
        self.assertIn('got a NoneType', self.refuse(IRange, low=None))

    def test_wrong_type_is_refused(self):
        text = self.refuse(IRange, low='1')
        self.assertIn("input 'low': expected a Int, got a str", text)
        self.assertIn('WrongType', text)

    def test_wrong_type_inside_is_refused(self):
        self.assertIn(
            "input 'numbers'", self.refuse(IEverything, numbers=[1, '2']))

    def test_value_out_of_its_range_is_refused(self):
        self.assertIn('TooSmall', self.refuse(IRange, low=-1))
        text = self.refuse(IEverything, colour='green')
        self.assertIn('ConstraintNotSatisfied', text)
        self.assertNotIn('green', text)

    def test_objects_are_refused_with_their_place(self):
        text = self.refuse(IEverything, names={'x': [Document()]})
        self.assertIn("input names['x'][0]: expected plain data", text)
        self.assertIn('got Document', text)

    def test_input_that_breaks_an_invariant_is_refused(self):
        for schema, extra in (IRange, {}), (IMore, {'note': 'n'}):
            with self.subTest(schema=schema):
                text = self.refuse(schema, low=5, high=4, **extra)
                self.assertIn('invariants of %s' % schema.__name__, text)
                self.assertIn('low is above high', text)

    def test_invariant_sees_the_defaults(self):
        self.assertIn('low is above high', self.refuse(IRange, low=11))

    def test_input_that_is_too_big_is_refused(self):
        text = self.refuse(IEverything, text='x' * 1024 ** 2)
        self.assertIn('at most %d bytes' % INPUT_LIMIT, text)
        self.assertIn('pass that as context', text)

    def test_input_just_below_the_limit_is_taken(self):
        text = 'x' * (INPUT_LIMIT - 1000)
        cleaned = self.make(IEverything).cleanInput({'text': text})
        self.assertEqual(cleaned['text'], text)

    def test_huge_wrong_input_is_told_short(self):
        self.refuse(IRange, low='x' * 1024 ** 2)
        self.refuse(IRange, low=3, high=list(range(10 ** 5)))

    def test_hostile_names_are_told_short(self):
        self.refuse(IRange, **{'x' * 1024 ** 2: 1})
        self.refuse(IRange, **{'x%d' % n: n for n in range(10000)})

    def test_text_that_cannot_be_encoded_is_refused_or_kept(self):
        # A lone surrogate: it must not fail the caller's commit later.
        try:
            cleaned = self.make(IEverything).cleanInput({'text': '\ud800'})
        except InvalidInput:
            return
        pickle.dumps(cleaned, 3)


class LookupTests(ComponentTests):

    def test_worker_type_is_found_by_its_name(self):
        declare('<background:worker name="count" handler="%s.work" />'
                % __name__)
        self.assertEqual(getWorkerType('count').name, 'count')
        self.assertIs(queryWorkerType('count'), getWorkerType('count'))

    def test_unknown_name_is_told_and_what_to_do(self):
        with self.assertRaises(UnknownWorkerType) as caught:
            getWorkerType('nothing')
        self.assertEqual(
            str(caught.exception),
            "worker 'nothing': expected the name of a declared worker type; "
            'declare it with <background:worker name=… />')
        self.assertIsNone(queryWorkerType('nothing'))

    def test_what_is_no_name_is_unknown(self):
        for name in (None, 3, '', b'count', ('count',), [], {}):
            with self.subTest(name=name):
                with self.assertRaises(UnknownWorkerType):
                    getWorkerType(name)
