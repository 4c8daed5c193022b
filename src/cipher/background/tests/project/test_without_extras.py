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
"""What works with the core alone: see also README.rst and directives.rst."""
import contextlib
import io
import unittest
from importlib.util import find_spec

from zope.component import queryUtility
from zope.component import testing
from zope.configuration import xmlconfig

import cipher.background
from cipher.background.cli.main import main
from cipher.background.interfaces import IMonitor


class WithoutExtrasTests(unittest.TestCase):

    def test_the_configuration_loads(self):
        testing.setUp()
        self.addCleanup(testing.tearDown)
        xmlconfig.file('configure.zcml', cipher.background)
        self.assertIsNotNone(queryUtility(IMonitor))

    @unittest.skipIf(find_spec('waitress'), 'the extra [demo] is installed')
    def test_the_demo_names_its_extra(self):
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            self.assertEqual(1, main(['demo']))
        self.assertIn('run: pip install "cipher.background[demo]"',
                      errors.getvalue())
