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
"""Each module, and each page that can be carried out, is tried somewhere."""
import re
import unittest
from pathlib import Path

import cipher.background.tests
from cipher.background.tests.support.checkout import CHECKOUT
from cipher.background.tests.support.checkout import needsCheckout
from cipher.background.tests.support.extras import CORE
from cipher.background.tests.support.extras import PARTS
from cipher.background.tests.support.extras import TESTS
from cipher.background.tests.support.extras import findModules
from cipher.background.tests.support.extras import loadTests


TESTS_FOLDER = Path(cipher.background.tests.__file__).resolve().parent

#: How a path would lead out of the package.
OUTSIDE = r'parents\[[3-9]|pardir'


def walk(suite):
    """Yield the single tests of a suite."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from walk(test)
        else:
            yield test


class ExtrasTests(unittest.TestCase):

    def test_the_parts_are_there(self):
        for extra, parts in PARTS.items():
            names = set(findModules(extra))
            for part in parts:
                self.assertIn('cipher.background.' + part, names)

    def test_a_module_is_of_one_part(self):
        names = [name for extra in (CORE, *PARTS)
                 for name in findModules(extra)]
        self.assertEqual(len(names), len(set(names)))
        for name in ('registry', 'browser.page', 'demo.server', 'tests'):
            self.assertIn('cipher.background.' + name, names)

    def test_each_extra_has_tests(self):
        self.assertEqual({CORE, *PARTS}, set(TESTS))
        for extra in {CORE, *PARTS} - {'test'}:
            self.assertTrue(list(walk(loadTests(extra))), extra)

    @needsCheckout('README.rst')
    def test_each_page_with_examples_is_carried_out(self):
        pages = [CHECKOUT / 'README.rst', *CHECKOUT.glob('docs/**/*.rst')]
        expected = {str(page) for page in pages
                    if '\n    >>> ' in page.read_text('utf-8')}
        self.assertGreaterEqual(len(expected), 3)
        self.assertEqual(expected, {
            test._dt_test.filename
            for extra in TESTS for test in walk(loadTests(extra))
            if hasattr(test, '_dt_test')})

    def test_one_module_alone_looks_for_the_checkout(self):
        for path in TESTS_FOLDER.rglob('*.py'):
            if path.name not in ('checkout.py', Path(__file__).name):
                self.assertNotRegex(path.read_text('utf-8'), OUTSIDE, path)

    @needsCheckout('.ci', 'wheels.py')
    def test_what_needs_the_checkout_is_tried_when_installed(self):
        installed = re.search(
            r'(?s)\nINSTALLED = \((.*?)\)',
            CHECKOUT.joinpath('.ci', 'wheels.py').read_text('utf-8'))[1]
        found = {'.'.join(path.relative_to(
                     TESTS_FOLDER).with_suffix('').parts)
                 for path in TESTS_FOLDER.rglob('test_*.py')
                 if re.search(r'import (requireCheckout|needsCheckout|'
                              r'makePageSuite|listPages|requirePage)\n',
                              path.read_text('utf-8'))}
        self.assertGreater(len(found), 5)
        self.assertEqual(
            set(), found - set(re.findall(r"'([\w.]+)'", installed)))
