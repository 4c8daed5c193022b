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
"""The floors hold: each module imports only what it may."""
import inspect
import subprocess
import sys
import textwrap
import unittest
from pathlib import Path

import cipher.background
from cipher.background.store.lane import Lane
from cipher.background.tests.support.checkout import requireCheckout
from cipher.background.tests.support.extras import CORE
from cipher.background.tests.support.extras import findModules
from cipher.background.tests.support.layers import Live


PACKAGE = Path(cipher.background.__file__).parent

#: What only the extras need.
WEB = ('celery', 'docutils', 'kombu', 'prometheus_client', 'waitress',
       'z3c.form', 'zodburi', 'zope.app', 'zope.browserpage',
       'zope.browserresource', 'zope.publisher')


def modules():
    """Return the paths of our own modules, without tests."""
    return sorted(path for path in PACKAGE.rglob('*.py')
                  if 'tests' not in path.parts)


def run(code):
    """Run *code* in a process of its own; return its CompletedProcess."""
    code = 'import sys\nsys.path[:] = %r\n%s' % (
        sys.path, textwrap.dedent(code))
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True,
        timeout=120)


class ModuleTests(unittest.TestCase):

    def test_modules_are_found(self):
        self.assertIn(PACKAGE / 'interfaces.py', modules())
        self.assertIn(Path(inspect.getfile(Lane)), modules())

    def test_every_module_tells_its_license(self):
        for path in PACKAGE.rglob('*.py'):
            with self.subTest(module=str(path.relative_to(PACKAGE))):
                head = path.read_text(encoding='utf-8')[:800]
                self.assertIn('Zope Public License', head)
                self.assertIn('Version 2.1 (ZPL)', head)

    def test_every_module_tells_what_it_is_for(self):
        for path in modules():
            with self.subTest(module=str(path.relative_to(PACKAGE))):
                code = compile(
                    path.read_text(encoding='utf-8'), str(path), 'exec')
                self.assertTrue(code.co_consts[0])

    def test_namespace_is_native(self):
        self.assertFalse((PACKAGE.parent / '__init__.py').exists())


class ImportTests(unittest.TestCase):

    layer = Live

    def test_core_needs_no_web(self):
        names = list(findModules(CORE))
        self.assertGreater(len(names), 80)
        result = run('''
            import importlib

            class Blocker:
                def find_spec(self, name, path=None, target=None):
                    for blocked in %r:
                        if name == blocked or name.startswith(blocked + '.'):
                            raise ModuleNotFoundError('blocked: ' + name)

            sys.meta_path.insert(0, Blocker())
            for name in %r:
                importlib.import_module(name)
            try:
                import zope.publisher
            except ModuleNotFoundError:
                print('done')
            ''' % (WEB, names))
        self.assertEqual((result.stdout, result.stderr), ('done\n', ''))

    def test_contracts_of_the_floors_are_kept(self):
        try:
            import importlinter  # noqa: F401
        except ImportError:
            self.skipTest('import-linter is not installed')
        settings = requireCheckout('pyproject.toml')
        result = run('''
            from importlinter.cli import lint_imports
            sys.exit(lint_imports(config_filename=%r, no_cache=True))
            ''' % str(settings))
        self.assertEqual(
            result.returncode, 0, result.stdout + result.stderr)
        self.assertRegex(result.stdout, r'[1-9]\d* kept, 0 broken')
