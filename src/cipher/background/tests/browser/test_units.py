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
"""The small parts of the pages, each by itself."""
import re
import unittest
from pathlib import Path

from zope.i18n.locales import locales
from zope.publisher.browser import TestRequest

import cipher.background.browser
from cipher.background.browser import csrf
from cipher.background.browser.formatting import Formatter
from cipher.background.browser.formatting import plainValue
from cipher.background.browser.text import cleanLine
from cipher.background.browser.text import cleanText
from cipher.background.browser.text import encode


SECRET = b's' * 32


class TestText(unittest.TestCase):

    def test_unfit_characters_are_replaced(self):
        for unfit in '\0\x07\x1b\x7f\x9f\ud800\udfff\u202e\u2066\ufffe':
            self.assertEqual(cleanText('a%sb' % unfit), 'a\ufffdb')

    def test_breaks_are_kept_in_a_text_only(self):
        self.assertEqual(cleanText('a\r\nb\rc\u2028d\te'), 'a\nb\nc\nd\te')
        self.assertEqual(cleanLine('a\r\nb\tc'), 'a b c')

    def test_other_values_are_texts_as_well(self):
        self.assertEqual(cleanText(None), '')
        self.assertEqual(cleanText(b'a\xffb'), 'a\ufffdb')
        self.assertEqual(cleanText(ValueError('x')), 'x')

    def test_long_texts_are_cut(self):
        self.assertEqual(cleanText('abcdef', 4), 'abc…')

    def test_page_is_always_utf_8(self):
        self.assertEqual(encode('ä\ud800').decode(), 'ä\ufffd')


class TestFormatter(unittest.TestCase):

    def setUp(self):
        self.format = Formatter(TestRequest())

    def test_durations_have_two_units_at_most(self):
        for seconds, text in (
                (0, '0 ms'), (0.0042, '4 ms'), (-1, '0 ms'), (4.2, '4.2 s'),
                (59.4, '59 s'), (59.6, '1 min 0 s'), (185, '3 min 5 s'),
                (7265, '2 h 1 min'), (90000, '1 d 1 h'), (None, '')):
            self.assertEqual(self.format.duration(seconds), text)

    def test_rough_times_have_two_digits(self):
        for seconds, text in ((None, ''), (0.0, '0 ms'), (0.0123, '12 ms'),
                              (1.26, '1.3 s'), (138.0, '2 min 20 s')):
            self.assertEqual(self.format.rough(seconds), text)

    def test_multiples(self):
        for value, text in ((None, ''), (1.0, '1 ×'), (0.834, '0.83 ×'),
                            (3.14, '3.1 ×'), (9.96, '10 ×'), (1234.5,
                                                              '1234 ×')):
            self.assertEqual(self.format.multiple(value), text)
        self.assertEqual(self.format.multiple(0.125, digits=4), '0.125 ×')

    def test_iso_times_are_utc(self):
        self.assertEqual(self.format.iso(0), '1970-01-01T00:00:00.000Z')
        self.assertIsNone(self.format.iso(None))

    def test_impossible_times_are_no_error(self):
        self.assertEqual(self.format.dateTime(1e300), '')
        self.assertIsNone(self.format.iso(float('nan')))

    def test_numbers_have_no_needless_decimals(self):
        self.assertEqual(self.format.number(3.0), '3')
        self.assertEqual(self.format.number(3.14159), '3.14')
        self.assertEqual(self.format.number(None), '')

    def test_rates_are_numbers_of_the_language(self):
        for language, texts in (
                ('', ['', '0 %', '2.5 %', '13 %', '100 %']),
                ('de', ['', '0 %', '2,5 %', '13 %', '100 %']),
                ('lt', ['', '0 %', '2,5 %', '13 %', '100 %'])):
            format = Formatter(TestRequest(HTTP_ACCEPT_LANGUAGE=language))
            format.language = language
            format._locale = locales.getLocale(
                language, None, None) if language else None
            self.assertEqual(
                [format.percent(rate)
                 for rate in (None, 0.0, 0.025, 0.13, 1.0)],
                texts)

    def test_values_are_texts_of_bounded_length(self):
        self.assertEqual(plainValue('x'), 'x')
        self.assertEqual(plainValue([1, 'a']), "[1, 'a']")
        self.assertEqual(len(plainValue([1] * 9999)), 10001)


class TestTokens(unittest.TestCase):

    def test_token_holds_for_a_day(self):
        token = csrf.makeToken(SECRET, 'me', 1e6)
        csrf.checkToken(token, SECRET, 'me', 1e6)
        csrf.checkToken(token, SECRET, 'me', 1e6 + 24 * 3600)
        with self.assertRaises(csrf.Forged):
            csrf.checkToken(token, SECRET, 'me', 1e6 + 25 * 3600)

    def test_token_of_the_future_is_refused(self):
        # But for an hour: clocks behind a balancer differ.
        token = csrf.makeToken(SECRET, 'me', 1e6)
        csrf.checkToken(token, SECRET, 'me', 1e6 - 3600)
        with self.assertRaises(csrf.Forged):
            csrf.checkToken(token, SECRET, 'me', 1e6 - 3 * 3600)

    def test_token_belongs_to_one_principal(self):
        with self.assertRaises(csrf.Forged):
            csrf.checkToken(csrf.makeToken(SECRET, 'me'), SECRET, 'you')

    def test_any_principal_id_has_a_token(self):
        for id in ('ä', '\ud800', 'a\0b', ''):
            csrf.checkToken(csrf.makeToken(SECRET, id), SECRET, id)


class TestZCML(unittest.TestCase):

    def test_both_sets_of_error_pages_are_the_same(self):
        folder = Path(cipher.background.browser.__file__).parent
        ours, all = ((folder / name).read_text().partition('-->')[2]
                     for name in ('errors.zcml', 'exceptions.zcml'))
        self.assertEqual(re.sub('layer="[^"]*"', '', ours),
                         re.sub('layer="[^"]*"', '', all))
