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
"""Where things live: what is stored, and what stands at the top."""
import importlib
import inspect
import subprocess
import sys
import unittest
from pathlib import Path

from persistent import Persistent

import cipher.background
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.tests.support.extras import HOSTS
from cipher.background.tests.support.extras import PARTS
from cipher.background.tests.support.extras import findModules
from cipher.background.tests.support.layers import Live


PACKAGE = Path(cipher.background.__file__).parent

#: Modules at the top, at most.
TOP = 12

#: Packages whose persistent classes are not those of the framework.
OTHERS = ('cipher.background.demo.', 'cipher.background.tests')


def findPersistent():
    """Return the persistent classes that the package defines."""
    found = set()
    for extra in {'core', *PARTS}.difference(HOSTS):
        for name in findModules(extra):
            if name.startswith(OTHERS):
                continue
            found |= {
                kind for kind in vars(importlib.import_module(name)).values()
                if inspect.isclass(kind) and issubclass(kind, Persistent)
                and kind.__module__ == name}
    return found


class LayoutTests(unittest.TestCase):

    def test_what_is_stored_lives_in_the_store(self):
        found = findPersistent()
        self.assertGreater(len(found), 15)
        self.assertEqual(set(), {
            kind for kind in found
            if not kind.__module__.startswith('cipher.background.store.')
            and not IWorkerRegistry.implementedBy(kind)})

    def test_few_modules_stand_at_the_top(self):
        found = sorted(path.name for path in PACKAGE.glob('*.py'))
        self.assertIn('interfaces.py', found)
        self.assertLessEqual(len(found), TOP, found)


class LoadingTests(unittest.TestCase):

    layer = Live

    def test_context_managers_load_little(self):
        code = ('import sys; import cipher.background.contextmanagers; '
                'print(*sorted(name for name in sys.modules '
                'if name.startswith("cipher.background.")))')
        found = subprocess.run(
            [sys.executable, '-c', 'import sys; sys.path[:] = %r; %s' % (
                sys.path, code)],
            capture_output=True, text=True, timeout=60, check=True).stdout
        self.assertEqual(found.split(), [
            'cipher.background.' + name for name in (
                'contextmanagers', 'i18n', 'interfaces', 'util',
                'util.host', 'util.spoiled', 'util.text')])
