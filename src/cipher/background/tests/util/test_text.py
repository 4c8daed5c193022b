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
"""Texts made fit: what is hostile, broken or huge."""
import unicodedata
import unittest

from cipher.background.browser.text import cleanText
from cipher.background.util.text import CUT
from cipher.background.util.text import MESSAGE_LIMIT
from cipher.background.util.text import TRACEBACK_LIMIT
from cipher.background.util.text import clean
from cipher.background.util.text import cleanLine
from cipher.background.util.text import describeError
from cipher.background.util.text import formatTraceback
from cipher.background.util.text import safeRepr
from cipher.background.util.text import safeStr


BIDIRECTIONAL = ('LRE', 'RLE', 'LRO', 'RLO', 'PDF', 'LRI', 'RLI', 'FSI', 'PDI')
#: By what Unicode says of them; the last ones only bear on what is beside.
UNFIT = [sign for sign in map(chr, range(0x10000)) if sign not in '\t\n' and (
    unicodedata.category(sign) in ('Cc', 'Cs')
    or unicodedata.bidirectional(sign) in BIDIRECTIONAL
    or sign in '\ufffe\uffff')]
MEGABYTE = 1024 * 1024


class Unprintable(Exception):

    def __str__(self):
        raise ValueError('no text')

    __repr__ = __str__


class NotEvenText(Exception):

    def __str__(self):
        return 42


class Unending(Exception):

    def __str__(self):
        return str(self)


def caught(error):
    try:
        raise error
    except type(error) as found:
        return found


class Liar(str):
    """An application's text."""

    def isprintable(self):
        return True


class CleanTests(unittest.TestCase):

    def test_text_that_says_it_is_printable(self):
        self.assertEqual(clean(Liar('a\0b'), 50), 'a\ufffdb')
        self.assertEqual(cleanLine(Liar('a\nb')), 'a b')

    def test_good_text_stays(self):
        text = 'Žodis,\ttab\nline — 日本 \U0001f600'
        self.assertEqual(clean(text, 100), text)

    def test_line_break_of_the_network_stays_one(self):
        self.assertEqual(clean('550 No\r\n551 Nor\r\n', 50),
                         '550 No\n551 Nor\n')
        self.assertEqual(cleanLine('550 No\r\n551 Nor'), '550 No 551 Nor')
        self.assertEqual(clean('a\r\r\nb', 50), 'a\ufffd\nb')

    def test_marks_of_hebrew_and_arabic_texts_stay(self):
        text = 'a\u200eb\u200fc\u061cd'
        self.assertEqual(clean(text, 50), text)
        self.assertEqual(cleanLine(text), text)

    def test_any_value_is_said(self):
        class Unprintable:
            def __repr__(self):
                raise ValueError

        self.assertEqual(safeRepr('a'), "'a'")
        self.assertEqual(safeRepr(Unprintable()),
                         '<unprintable Unprintable: ValueError>')
        self.assertEqual(safeRepr(10 ** 5000),
                         '<unprintable int: ValueError>')
        self.assertEqual(len(safeRepr('a' * 100, 10)), 11)

    def test_unfit_characters_are_replaced(self):
        for character in UNFIT:
            with self.subTest(character=ascii(character)):
                self.assertEqual(clean('a%sb' % character, 10), 'a\ufffdb')

    def test_stored_and_shown_texts_lack_the_same(self):
        for replace in lambda text: clean(text, 10), cleanText:
            self.assertEqual(
                [sign for sign in map(chr, range(0x10000))
                 if '\ufffd' in replace(sign)],
                [sign for sign in sorted({*UNFIT, '\ufffd'})
                 if replace is not cleanText or sign not in '\r\x85'])

    def test_what_is_clean_can_be_stored(self):
        text = clean(''.join(map(chr, range(0x3000))) + '\ud800', MEGABYTE)
        self.assertEqual(text.encode('utf-8').decode('utf-8'), text)

    def test_long_text_is_cut_and_says_so(self):
        text = clean('x' * MEGABYTE, 100)
        self.assertEqual(len(text), 100)
        self.assertTrue(text.endswith('x' + CUT))

    def test_text_of_just_the_limit_stays(self):
        self.assertEqual(clean('x' * 100, 100), 'x' * 100)


class CleanLineTests(unittest.TestCase):

    def test_line_has_no_breaks(self):
        text = cleanLine('a\r\nb\nc\u2028d\u2029e\x85f\x0bg\x0ch\ti')
        self.assertEqual(len(text.splitlines()), 1)
        self.assertNotIn('\t', text)

    def test_forged_log_line_stays_in_its_line(self):
        text = cleanLine('done\n2026-01-01 00:00:00 ERROR root forged')
        self.assertNotIn('\n', text)

    def test_line_is_cut(self):
        self.assertEqual(len(cleanLine('x' * MEGABYTE)), MESSAGE_LIMIT)


class SafeStrTests(unittest.TestCase):

    def test_text_of_what_has_one(self):
        self.assertEqual(safeStr(42), '42')
        self.assertEqual(safeStr('\ud800'), '\ud800')

    def test_value_that_cannot_be_printed_is_named(self):
        self.assertEqual(
            safeStr(Unprintable()), '<unprintable Unprintable: ValueError>')
        self.assertEqual(
            safeStr(NotEvenText()), '<unprintable NotEvenText: TypeError>')
        self.assertEqual(
            safeStr(Unending()), '<unprintable Unending: RecursionError>')

    def test_value_that_recurs_too_deep_is_named(self):
        value = []
        for _ in range(100000):
            value = [value]
        self.assertEqual(
            safeStr(value), '<unprintable list: RecursionError>')

    def test_number_that_is_too_big_for_a_text_is_named(self):
        self.assertEqual(
            safeStr(10 ** 5000), '<unprintable int: ValueError>')


class DescribeErrorTests(unittest.TestCase):

    def test_error_is_named_and_told_in_one_line(self):
        self.assertEqual(
            describeError(ValueError('a\nb\x00')), ('ValueError', 'a b\ufffd'))

    def test_unprintable_error_is_named(self):
        self.assertEqual(
            describeError(Unprintable()),
            ('Unprintable', '<unprintable Unprintable: ValueError>'))

    def test_name_of_a_type_is_fit_too(self):
        kind = type('Bad\n' + 'x' * MEGABYTE, (Exception,), {})
        name, text = describeError(kind('boom'))
        self.assertNotIn('\n', name)
        self.assertLessEqual(len(name), MESSAGE_LIMIT)


class Group(Exception):
    """As the backport of ExceptionGroup."""

    def __init__(self, message, *exceptions):
        super().__init__(message)
        self.exceptions = exceptions


class GroupTests(unittest.TestCase):

    def test_text_names_what_is_in_the_group(self):
        error = Group('two of them', ValueError('a\nb'), Group(
            'inner', KeyError('c'), OSError()))
        self.assertEqual(describeError(error), (
            'Group', "two of them: ValueError: a b; KeyError: 'c'; OSError"))

    def test_group_of_this_python(self):
        try:
            kind = ExceptionGroup
        except NameError:
            self.skipTest('only from Python 3.11 on')
        name, text = describeError(kind('two', [ValueError('a')]))
        self.assertEqual(name, 'ExceptionGroup')
        self.assertTrue(text.endswith(': ValueError: a'), text)

    def test_very_many_and_very_deep(self):
        error = Group('many', *[ValueError(n) for n in range(5000)])
        text = describeError(error)[1]
        self.assertIn('ValueError: 9; …', text)
        self.assertNotIn('ValueError: 10', text)
        for _ in range(5000):
            error = Group('deep', error)
        describeError(error)
        error.exceptions = (error,)
        describeError(error)

    def test_what_only_looks_like_a_group(self):
        for exceptions in (), ('a',), (1, ValueError()), None, 'abc':
            error = ValueError('plain')
            error.exceptions = exceptions
            self.assertEqual(describeError(error), ('ValueError', 'plain'))


class FormatTracebackTests(unittest.TestCase):

    def test_traceback_tells_where_and_what(self):
        text = formatTraceback(caught(KeyError('missing')))
        self.assertIn("KeyError: 'missing'", text)
        self.assertIn('in caught', text)
        self.assertIn('raise error', text)

    def test_traceback_tells_the_cause(self):
        error = RuntimeError('outer')
        error.__cause__ = KeyError('inner')
        text = formatTraceback(error)
        self.assertIn("KeyError: 'inner'", text)
        self.assertIn('RuntimeError: outer', text)

    def test_traceback_has_no_local_variables(self):
        def secretive():
            password = 's3cret'
            return password.missing
        try:
            secretive()
        except AttributeError as error:
            text = formatTraceback(error)
        self.assertIn('in secretive', text)
        self.assertNotIn("= 's3cret'\n    ~", text)
        self.assertEqual(text.count('s3cret'), 0)

    def test_traceback_of_what_cannot_be_printed(self):
        for error in Unprintable(), NotEvenText(), Unending():
            with self.subTest(error=type(error)):
                self.assertIn(
                    type(error).__name__, formatTraceback(caught(error)))

    def test_traceback_of_too_deep_a_recursion(self):
        def deeper():
            deeper()
        try:
            deeper()
        except RecursionError as error:
            text = formatTraceback(error)
        self.assertIn('RecursionError', text)
        self.assertLessEqual(len(text), TRACEBACK_LIMIT)

    def test_long_traceback_keeps_its_begin_and_its_end(self):
        text = formatTraceback(caught(ValueError('x' * MEGABYTE + ' end')))
        self.assertLessEqual(len(text), TRACEBACK_LIMIT)
        self.assertTrue(text.startswith('Traceback'))
        self.assertIn(CUT, text)
        self.assertTrue(text.endswith(' end\n'))

    def test_traceback_is_fit_to_be_stored(self):
        text = formatTraceback(caught(ValueError(''.join(UNFIT))))
        for character in UNFIT:
            self.assertNotIn(character, text)
