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
"""Plain data: copies free of proxies, and what is kept of a result."""
import datetime
import decimal
import enum
import fractions
import pickle
import unittest
import uuid

from zope.i18nmessageid import Message
from zope.security.checker import ProxyFactory
from zope.security.proxy import getChecker
from zope.security.proxy import isinstance as proxied_isinstance
from zope.security.proxy import removeSecurityProxy

from cipher.background.tests.support.sites import Document
from cipher.background.util.plaindata import plainCopy
from cipher.background.util.plaindata import shortResult
from cipher.background.util.text import RESULT_LIMIT


ATOMS = (
    None, True, False, 0, -1, 10 ** 30, 1.5, float('inf'), 1j, '', 'text',
    b'', b'\x00\xff', datetime.date(2026, 1, 2), datetime.time(3, 4),
    datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.timezone.utc),
    datetime.timedelta(seconds=5), decimal.Decimal('1.10'),
    fractions.Fraction(1, 3), uuid.UUID(int=7))


class Colour(enum.IntEnum):
    RED = 3


class Shade(str, enum.Enum):
    DARK = 'dark'


class Name(str):

    def __str__(self):
        raise RuntimeError


def isProxied(value):
    try:
        getChecker(value)
    except TypeError:
        return False
    return True


class PlainCopyTests(unittest.TestCase):

    def test_atoms_stay_as_they_are(self):
        for atom in ATOMS:
            with self.subTest(atom=atom):
                copy = plainCopy(atom)
                self.assertEqual(copy, atom)
                self.assertIs(type(copy), type(atom))

    def test_containers_are_copied_at_every_depth(self):
        value = {'a': [1, (2, {'b': {3}}), frozenset('c')]}
        copy = plainCopy(value)
        self.assertEqual(copy, value)
        value['a'][1][1]['b'].add(4)
        value['a'].append(5)
        self.assertEqual(copy, {'a': [1, (2, {'b': {3}}), frozenset('c')]})

    def test_proxies_are_taken_off_at_every_depth(self):
        inner = ProxyFactory({'key': ProxyFactory([1, 2])})
        value = ProxyFactory([inner, (inner,)])
        self.assertTrue(isProxied(value))
        copy = plainCopy(value)
        self.assertFalse(isProxied(copy))
        self.assertFalse(isProxied(copy[0]))
        self.assertFalse(isProxied(copy[0]['key']))
        self.assertFalse(isProxied(copy[1][0]))
        self.assertEqual(
            pickle.loads(pickle.dumps(copy)),
            [{'key': [1, 2]}, ({'key': [1, 2]},)])

    def test_subclasses_of_atoms_become_atoms(self):
        for value, expected in (
                (Colour.RED, 3), (Name('n'), 'n'), (Shade.DARK, 'dark'),
                (Message('m', 'domain'), 'm')):
            copy = plainCopy(value)
            self.assertEqual(copy, expected)
            self.assertIs(type(copy), type(expected))

    def test_subclasses_of_containers_become_containers(self):
        class MyDict(dict):
            pass
        copy = plainCopy([MyDict(a=1)])
        self.assertIs(type(copy[0]), dict)

    def test_anything_else_is_refused_with_its_place(self):
        with self.assertRaises(ValueError) as caught:
            plainCopy({'docs': [1, ProxyFactory(Document())]}, 'input')
        self.assertEqual(
            str(caught.exception),
            "input['docs'][1]: expected plain data (numbers, texts, dates, "
            'lists, dicts), got Document')

    def test_functions_and_classes_are_refused(self):
        for value in (len, Document, object(), iter(()), range(3)):
            with self.assertRaises(ValueError):
                plainCopy(value)

    def test_value_within_itself_is_refused(self):
        value = []
        value.append(value)
        with self.assertRaises(ValueError) as caught:
            plainCopy(value)
        self.assertIn('at most 50 levels', str(caught.exception))
        self.assertLess(len(str(caught.exception)), 1000)

    def test_refusal_bears_a_key_that_cannot_be_printed(self):
        class Key(str):
            def __repr__(self):
                raise RuntimeError
        with self.assertRaises(ValueError):
            plainCopy({Key('k'): object()})

    def test_refusal_is_short_whatever_the_key(self):
        with self.assertRaises(ValueError) as caught:
            plainCopy({'k' * 100000: object()})
        self.assertLess(len(str(caught.exception)), 1000)


class ShortResultTests(unittest.TestCase):

    def test_short_plain_data_stays(self):
        for value in (None, True, 3, 2.5, 'done', [1, 'a'], {'n': (1, 2)}):
            with self.subTest(value=value):
                self.assertEqual(shortResult(value), value)

    def test_truth_is_no_number(self):
        self.assertIs(shortResult(True), True)

    def test_text_is_made_fit(self):
        self.assertEqual(shortResult('a\x00\ud800b'), 'a\ufffd\ufffdb')

    def test_long_text_is_cut(self):
        self.assertEqual(len(shortResult('x' * 1024 ** 2)), RESULT_LIMIT)

    def test_long_data_becomes_a_cut_text(self):
        result = shortResult(list(range(100000)))
        self.assertIsInstance(result, str)
        self.assertEqual(len(result), RESULT_LIMIT)
        self.assertTrue(result.startswith('[0, 1, 2'))

    def test_object_becomes_its_text(self):
        self.assertEqual(shortResult(ValueError('why')), 'why')

    def test_unprintable_object_is_named(self):
        class Bad:
            def __str__(self):
                raise RuntimeError
        self.assertEqual(
            shortResult(Bad()), '<unprintable Bad: RuntimeError>')

    def test_proxies_are_taken_off(self):
        result = shortResult(ProxyFactory([ProxyFactory({'a': 1})]))
        self.assertFalse(isProxied(result))
        self.assertFalse(isProxied(result[0]))
        self.assertEqual(result, [{'a': 1}])

    def test_subclass_of_text_becomes_text(self):
        self.assertIs(type(shortResult(Name('n'))), str)
        self.assertIs(type(shortResult(Message('m', 'domain'))), str)

    def test_subclass_of_number_becomes_number(self):
        # What is kept must not need a class that may go away.
        self.assertIs(type(shortResult(Colour.RED)), int)

    def test_huge_number_is_told_short(self):
        self.assertLessEqual(len(shortResult(10 ** 2000)), RESULT_LIMIT)
        for value in (10 ** 5000, [10 ** 5000]):
            result = shortResult(value)
            self.assertIsInstance(result, str)
            self.assertIn('unprintable', result)

    def test_text_deep_inside_is_made_fit(self):
        result = shortResult({'a': ['\ud800']})
        pickle.dumps(result)
        str(result).encode('utf-8')

    def test_result_can_be_stored_whatever_it_is(self):
        value = []
        value.append(value)
        for result in (value, object(), {object(): 1}, Document, {Name('n')}):
            pickle.dumps(shortResult(result), 3)


class HelperTests(unittest.TestCase):

    def test_proxied_text_is_no_proxy(self):
        # What the tests above build on.
        self.assertFalse(isProxied(ProxyFactory('text')))
        proxied = ProxyFactory({})
        self.assertTrue(isProxied(proxied))
        self.assertTrue(proxied_isinstance(proxied, dict))
        self.assertFalse(isProxied(removeSecurityProxy(proxied)))
