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
"""What an application imports: `cipher.background` and little else."""
import ast
import importlib
import logging
import pkgutil
import re
import subprocess
import sys
import textwrap
import unittest
from pathlib import Path

import cipher.background
from cipher.background.tests.support.checkout import listPages
from cipher.background.tests.support.layers import Live


#: The modules that README, docs and demo import from.
FACES = {
    'cipher.background',
    'cipher.background.interfaces',
    'cipher.background.testing',
    # What needs an extra.
    'cipher.background.browser',
    'cipher.background.celery',
    'cipher.background.hosts.plone.testing',
    'cipher.background.hosts.pyramid',
    'cipher.background.hosts.ztk',
    'cipher.background.monitoring',
}

#: The modules of 2.0.0a1, for the page about them.
UPSTREAM = {
    'cipher.background.contextmanagers',
    'cipher.background.thread',
}

PACKAGE = Path(cipher.background.__file__).parent

_IMPORT = re.compile(r'^[ >.]*(?:from +(cipher[\w.]*) +import +(.+)'
                     r'|import +(cipher[\w.]*).*)$', re.MULTILINE)


def importsOf(text):
    """Yield (module, names) of what a text imports of the package."""
    for match in _IMPORT.finditer(text):
        module, names, whole = match.groups()
        yield module or whole, [
            name.split()[0] for name in re.split('[,() ]+', names or '')
            if name.strip()]


def run(code):
    """Run *code* in a fresh interpreter; return what it prints."""
    code = 'import sys\nsys.path[:] = %r\n%s' % (
        sys.path, textwrap.dedent(code))
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True,
        check=True, timeout=120).stdout


class ImportTests(unittest.TestCase):

    def check(self, where, text, own=None, also=()):
        found = list(importsOf(text))
        for module, names in found:
            if own and (module == own or module.startswith(own + '.')):
                continue
            with self.subTest(where, module=module):
                self.assertIn(module, {*FACES, *also})
                if module in ('cipher.background',
                              'cipher.background.browser',
                              'cipher.background.celery',
                              'cipher.background.monitoring'):
                    face = importlib.import_module(module)
                    self.assertLessEqual(set(names), set(face.__all__))
        return len(found)

    def test_README_and_docs(self):
        number = 0
        for path in listPages():
            number += self.check(
                path.name, path.read_text(encoding='utf-8'),
                also=UPSTREAM if path.name == 'coming-from-2.rst' else ())
        self.assertGreater(number, 10)

    def test_demo(self):
        number = 0
        for path in (PACKAGE / 'demo').rglob('*.py'):
            number += self.check(
                path.name, path.read_text(encoding='utf-8'),
                'cipher.background.demo')
        self.assertGreater(number, 40)

    def test_imports_are_found(self):
        self.assertEqual(list(importsOf(textwrap.dedent("""
            from cipher.background import a, b as c
                >>> from cipher.background.store.run import WorkerRun
            import cipher.background.store.lane
            importing cipher.background
            """))), [
            ('cipher.background', ['a', 'b', 'as', 'c']),
            ('cipher.background.store.run', ['WorkerRun']),
            ('cipher.background.store.lane', [])])


class FaceTests(unittest.TestCase):

    layer = Live

    def faces(self):
        for name in 'cipher.background', 'cipher.background.browser':
            with self.subTest(name):
                yield importlib.import_module(name)

    def test_each_name_is_there_and_documented(self):
        for face in self.faces():
            self.assertEqual(face.__all__, sorted(face.__all__))
            for name in face.__all__:
                with self.subTest(name):
                    value = getattr(face, name)
                    self.assertIs(getattr(face, name), value)
                    self.assertTrue(
                        isinstance(value, str) or value.__doc__)

    def test_all_is_what_can_be_asked_for(self):
        for face in self.faces():
            names = vars(face)
            homes = face.__getattr__.__closure__
            homes, = (cell.cell_contents for cell in homes
                      if isinstance(cell.cell_contents, dict))
            self.assertEqual(sorted(homes), face.__all__)
            self.assertLessEqual(set(face.__all__), set(dir(face)))
            self.assertIn('__doc__', dir(face))
            self.assertNotIn('typing', names)

    def test_checkers_of_types_see_the_same(self):
        for face in self.faces():
            tree = ast.parse(Path(face.__file__).read_text())
            block, = (node for node in tree.body if isinstance(node, ast.If))
            self.assertEqual(block.test.id, 'TYPE_CHECKING')
            found = {}
            for node in block.body:
                for alias in node.names:
                    found[alias.name] = node.module
            homes, = (cell.cell_contents
                      for cell in face.__getattr__.__closure__
                      if isinstance(cell.cell_contents, dict))
            self.assertEqual(found, homes)

    def test_no_module_has_a_name_of_the_face(self):
        # Else its import would hide the name.
        for face in self.faces():
            modules = {info.name for info in pkgutil.iter_modules(
                face.__path__)}
            self.assertFalse(modules.intersection(face.__all__))

    def test_unknown_name(self):
        with self.assertRaisesRegex(
                AttributeError, "module 'cipher.background' has no attribute "
                "'nobody'"):
            cipher.background.nobody
        with self.assertRaises(ImportError):
            from cipher.background import nobody  # noqa: F401

    def test_star(self):
        self.assertEqual(run("""
            from cipher.background import *
            print(ItemsJob.__name__, startRuntime.__name__, Cancel.__name__)
            """), 'ItemsJob startRuntime Cancel\n')

    def test_package_loads_no_other_module(self):
        self.assertEqual(run("""
            before = set(sys.modules)
            import cipher.background
            print(sorted(set(sys.modules) - before))
            """), "['cipher', 'cipher.background']\n")

    def test_contextmanagers_load_what_they_import_only(self):
        # As with a package that has nothing in it.
        bare, whole = (run("""
            import types
            if %r:
                package = types.ModuleType('cipher.background')
                package.__path__ = [%r]
                sys.modules['cipher.background'] = package
            import cipher.background.contextmanagers
            print(*sorted(sys.modules))
            """ % (is_bare, str(PACKAGE))) for is_bare in (True, False))
        self.assertIn('cipher.background.contextmanagers', whole)
        self.assertNotIn('cipher.background.thread', whole)
        self.assertEqual(bare.replace(' types ', ' '),
                         whole.replace(' types ', ' '))

    def test_asking_for_a_name_loads_no_web(self):
        self.assertEqual(run("""
            from cipher.background import *
            print('zope.publisher' in sys.modules, 'celery' in sys.modules)
            """), 'False False\n')

    def test_log_of_a_worker_is_that_of_its_module(self):
        from cipher.background import BackgroundWorkerThread
        from cipher.background import thread
        self.assertIs(BackgroundWorkerThread.log, thread.log)
        self.assertEqual(thread.log, logging.getLogger(thread.__name__))
