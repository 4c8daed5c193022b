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
"""FAULTS.rst names a test for each fault, and each of these tests is there."""
import re
import unittest

from cipher.background.tests.support.tables import HERE


_ENTRY = re.compile(
    r'^   \* - ([0-9]+b?)\n     - (.*?)\n     - (.*?)(?=\n   \*|\Z)',
    re.MULTILINE | re.DOTALL)

#: There is no fault 30.
NUMBERS = sorted({'%02d' % number for number in range(1, 34)} - {'30'}
                 | {'08b', '10b', '13b', '14b'})


class TableTests(unittest.TestCase):

    def setUp(self):
        super().setUp()
        text = (HERE / 'FAULTS.rst').read_text('utf-8')
        self.entries = {number: (promise, ' '.join(tests.split()))
                        for number, promise, tests in _ENTRY.findall(text)}

    def test_every_fault_is_there(self):
        self.assertEqual(len(NUMBERS), 36)
        self.assertEqual(sorted(self.entries), NUMBERS)

    def test_every_test_is_there(self):
        for number, (_, tests) in self.entries.items():
            for part in tests.split('; '):
                module, _, names = part.partition(': ')
                path = HERE / (module.strip('`') + '.py')
                with self.subTest(number, module=module):
                    found = re.findall(r'^    def (test_\w+)\(self',
                                       path.read_text('utf-8'), re.MULTILINE)
                    self.assertLessEqual(set(names.split(', ')), set(found))

    def test_tests_that_name_a_fault_are_in_its_row(self):
        for path in HERE.rglob('test_*.py'):
            for name, number in re.findall(
                    r'^    def (test_(?:row_[0-9]+_)?fault_([0-9]+b?)_\w+)\(',
                    path.read_text('utf-8'), re.MULTILINE):
                self.assertIn(name, self.entries[number][1])
