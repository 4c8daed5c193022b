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
"""Tables that name the tests of each promise; checked by tests.

They are here or in docs/.  Bring one up to date: ``bin/python -m
cipher.background.tests.support.tables reliability.rst row``.
"""
import re
import sys
import textwrap
from pathlib import Path

import cipher.background.tests
from cipher.background.tests.support.checkout import requireCheckout


HERE = Path(cipher.background.tests.__file__).resolve().parent

_ENTRY = re.compile(
    r'^   \* - ([0-9]+)\n     - (.*?)\n     - (.*?)(?=\n   \*|\Z)',
    re.MULTILINE | re.DOTALL)


class Table:
    """The table of *page*, whose tests are called ``test_WORD_NUMBER_…``.

    `tests` is {number: {(path of a module below the tests, name of a test)}},
    of what stands in the files; `entries` is {number: (promise, text of the
    tests)}, of the page.
    """

    def __init__(self, page, word):
        self._name = re.compile(
            'test_%s_([0-9]{2})_(?:and_([0-9]{2})_)?' % word)
        self._def = re.compile(
            r'^ +def (test_%s_[0-9]{2}_\w+)\(' % word, re.MULTILINE)
        self.page = HERE / page
        if not self.page.exists():
            self.page = requireCheckout('docs', page)
        self.tests = self._find()
        self.entries = self._read(self.page)

    def _find(self):
        found = {}
        for path in sorted(HERE.rglob('test_*.py')):
            for name in self._def.findall(path.read_text('utf-8')):
                for number in filter(None, self._name.match(name).groups()):
                    found.setdefault(int(number), set()).add(
                        (path.relative_to(HERE).with_suffix('').as_posix(),
                         name))
        return found

    def _read(self, path):
        text = path.read_text('utf-8')
        table = text[text.index('.. list-table::'):]
        return {int(number): (' '.join(promise.split()),
                              ' '.join(tests.split()))
                for number, promise, tests in _ENTRY.findall(table)}

    def describe(self, number):
        """Return what stands in the table for the tests of *number*."""
        modules = {}
        for module, name in sorted(self.tests.get(number, ())):
            modules.setdefault(module, []).append(
                name[len(self._name.match(name)[0]):])
        return '; '.join('``%s``: %s' % (module, ', '.join(names))
                         for module, names in modules.items()) or '–'

    def write(self):
        """Let the page name the tests that there are."""
        text = self.page.read_text('utf-8')

        def entry(match):
            number = int(match[1])
            tests = textwrap.fill(
                self.describe(number), 85, initial_indent='     - ',
                subsequent_indent=' ' * 7, break_long_words=False,
                break_on_hyphens=False)
            return '   * - %d\n     - %s\n%s' % (number, match[2], tests)

        head, mark, table = text.partition('.. list-table::')
        table = _ENTRY.sub(entry, table)
        self.page.write_text(head + mark + table.rstrip() + '\n', 'utf-8')


class TableMixin:
    """Tests of a `Table`: all entries of it, whose tests are those named."""

    maxDiff = None
    page = None
    word = None
    numbers = ()

    def setUp(self):
        super().setUp()
        self.table = Table(self.page, self.word)

    def test_every_entry_has_a_promise(self):
        self.assertEqual(sorted(self.table.entries), list(self.numbers))
        for number, (promise, _) in self.table.entries.items():
            self.assertTrue(promise, number)

    def test_every_entry_has_tests(self):
        self.assertEqual(sorted(self.table.tests), list(self.numbers))

    def test_every_entry_names_its_tests(self):
        for number in self.numbers:
            with self.subTest(number):
                self.assertEqual(self.table.entries[number][1],
                                 self.table.describe(number))


if __name__ == '__main__':
    # As "reliability.rst row".
    Table(*sys.argv[1:]).write()
