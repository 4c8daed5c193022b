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
"""PROMISES.rst names the tests of each promise that there are."""
import unittest

from cipher.background.tests.support.checkout import requireCheckout
from cipher.background.tests.support.tables import TableMixin


class TableTests(TableMixin, unittest.TestCase):

    page = 'PROMISES.rst'
    word = 'line'
    numbers = range(1, 58)

    def test_docs_keep_every_promise(self):
        text = ' '.join(requireCheckout(
            'docs', 'security.rst').read_text('utf-8').split())
        for promise, _tests in self.table.entries.values():
            self.assertIn('- %s ' % promise, text)
