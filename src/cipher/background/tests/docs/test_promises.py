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
"""PROMISES.rst and FAULTS.rst name a test for each promise."""
import re
import unittest

from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.promises import FOLDER
from cipher.background.tests.support.promises import findTest
from cipher.background.tests.support.promises import readPromises


#: The sections of each file, and the number of their promises.
EXPECTED = {
    'PROMISES.rst': {'Security': 58, 'Reliability': 71,
                     'Commands': 9},
    'FAULTS.rst': {'Faults': 43},
}


class PromisesTests(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.files = {name: readPromises(name) for name in EXPECTED}

    def walk(self):
        for sections in self.files.values():
            for promises in sections.values():
                yield from promises

    def test_every_promise_is_there(self):
        for name, expected in EXPECTED.items():
            self.assertEqual(
                {section: [promise.number for promise in promises]
                 for section, promises in self.files[name].items()},
                {section: list(range(1, count + 1))
                 for section, count in expected.items()})

    def test_every_line_of_a_test_is_read(self):
        for name, sections in self.files.items():
            text = (FOLDER / name).read_text('utf-8')
            self.assertEqual(
                re.findall(r'(?m)^ +- (.*)$', text),
                ['``%s``' % test for promises in sections.values()
                 for promise in promises for test in promise.tests])

    def test_every_promise_has_a_test(self):
        for promise in self.walk():
            self.assertTrue(promise.text)
            self.assertTrue(promise.tests, promise.text)
            self.assertEqual(
                sorted(set(promise.tests)), list(promise.tests))

    def test_every_test_is_there(self):
        for promise in self.walk():
            for name in promise.tests:
                with self.subTest(name):
                    findTest(name)

    def test_what_is_not_there_is_found_out(self):
        this = 'docs.test_promises.PromisesTests.'
        self.assertEqual(findTest(this + 'test_every_test_is_there').id(),
                         'cipher.background.tests.%stest_every_test_is_there'
                         % this)
        for name in (
                'docs.test_nothing.PromisesTests.test_every_test_is_there',
                'docs.test_promises.Nothing.test_every_test_is_there',
                'docs.test_promises.unittest.test_every_test_is_there',
                this + 'test_nothing', this + 'walk'):
            with self.assertRaises(LookupError):
                findTest(name)

    def test_no_test_is_called_by_a_number(self):
        for path in FOLDER.rglob('test_*.py'):
            self.assertEqual([], re.findall(
                r'def (test_(?:row|line|fault)_[0-9]\w*)',
                path.read_text('utf-8')), path)

    def test_docs_keep_every_promise_of_security(self):
        text = ' '.join(requirePage('security.rst').read_text('utf-8').split())
        for promise in self.files['PROMISES.rst']['Security']:
            self.assertIn('- %s ' % promise.text, text)
