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
"""The reference lists all names that an application imports, no others."""
import re
import unittest

import cipher.background
from cipher.background.tests.support.checkout import requirePage


class PublicNamesTests(unittest.TestCase):

    def test_reference_lists_them(self):
        text = requirePage('api.rst').read_text('utf-8')
        block, = re.findall(
            r'^    from cipher\.background import \(([^)]+)\)', text,
            re.MULTILINE)
        self.assertEqual(
            sorted(cipher.background.__all__),
            sorted(name for name in re.split(r'[,\s]+', block) if name))
