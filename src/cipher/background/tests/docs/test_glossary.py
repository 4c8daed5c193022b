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
"""The glossary defines words that are in use, in alphabetical order."""
import re
import unittest
from pathlib import Path

import cipher.background
from cipher.background.tests.support.checkout import listPages
from cipher.background.tests.support.checkout import requirePage


PACKAGE = Path(cipher.background.__file__).parent

#: A term, and its definition.
_ENTRY = re.compile(r'^(\S.*)\n((?:    .+\n)+)', re.MULTILINE)


def readCode():
    """Return the code and the templates of the package, without its tests."""
    return '\n'.join(
        path.read_text('utf-8')
        for path in sorted(PACKAGE.rglob('*'))
        if path.suffix in ('.py', '.pt')
        and path.relative_to(PACKAGE).parts[0] != 'tests')


class GlossaryTests(unittest.TestCase):

    def setUp(self):
        page = requirePage('glossary.rst')
        found = _ENTRY.findall(page.read_text('utf-8'))
        self.terms = [term for term, _ in found]
        self.pages = {str(path): path.read_text('utf-8')
                      for path in listPages() if path != page}

    def test_terms_are_in_alphabetical_order_and_defined_once(self):
        self.assertGreater(len(self.terms), 50)
        self.assertEqual(self.terms, sorted(set(self.terms)))

    def test_each_term_is_used_in_a_document_or_in_the_code(self):
        used = ' '.join([*self.pages.values(), readCode()]).lower()
        used = ' '.join(used.split())
        for term in self.terms:
            with self.subTest(term):
                self.assertRegex(used, r'\b%ss?\b' % re.escape(term))

    def test_each_document_leads_to_it(self):
        for name, text in self.pages.items():
            with self.subTest(name):
                self.assertRegex(text, r'reference/glossary(\.rst)?[>`]')
