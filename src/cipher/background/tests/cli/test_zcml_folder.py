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
"""Modules of the application are found beside its ZCML."""
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from zope.component import queryUtility
from zope.component import testing

from cipher.background.cli.database import loadZCML
from cipher.background.interfaces import IWorkerType


ZCML = '''
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:background="http://namespaces.zope.org/background"
    i18n_domain="test">
  <include package="cipher.background" file="meta.zcml" />
  <background:worker name="greet" handler="beside_the_zcml.greet" />
</configure>
'''


class FolderTests(unittest.TestCase):

    def setUp(self):
        testing.setUp()
        self.addCleanup(testing.tearDown)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / 'site.zcml').write_text(ZCML)
        (self.folder / 'beside_the_zcml.py').write_text(
            'def greet(worker):\n    pass\n')
        self.addCleanup(sys.modules.pop, 'beside_the_zcml', None)

    def test_modules_are_found_there(self):
        with mock.patch.object(sys, 'path', [*sys.path]):
            before = [*sys.path]
            for _ in range(2):
                testing.setUp()
                loadZCML(str(self.folder / 'site.zcml'))
                # Last, so nothing else is hidden by a module there.
                self.assertEqual(sys.path, [*before, str(self.folder)])
        self.assertIsNotNone(queryUtility(IWorkerType, 'greet'))
