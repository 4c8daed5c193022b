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
"""Carries docs/howto/testing.rst out: each of its blocks."""
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

from cipher.background.tests.project.test_types import requireMypy
from cipher.background.tests.project.test_types import runMypy
from cipher.background.tests.pytestplugin.test_fixtures import requirePytest
from cipher.background.tests.support.checkout import CHECKOUT
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.layers import Live


# "::" at the end of a paragraph, with the last name of a file in it, and the
# indented block below.
_BLOCK = re.compile(r'((?:^.+\n)*^.*)::\n\n((?:    .*\n|\n)+)', re.MULTILINE)
_NAME = re.compile(r'``([\w/]+\.\w+)``')


def readBlocks(page):
    """Return [(name of the file, or None; text)] of the blocks of *page*."""
    found = []
    for before, block in _BLOCK.findall(page):
        # ``configure.zcml`` is that of the reader.
        names = [name for name in _NAME.findall(before.split('\n\n')[-1])
                 if name != 'configure.zcml']
        found.append((names[-1] if names else None,
                      textwrap.dedent(block).strip() + '\n'))
    return found


class TestingPageTests(unittest.TestCase):

    layer = Live
    maxDiff = None

    def setUp(self):
        page = requirePage('testing.rst').read_text('utf-8')
        self.blocks = readBlocks(page)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.folder.joinpath('shop').mkdir()
        self.write('shop/__init__.py', '')
        self.write('shop/orders.py', self.find('def order('))
        self.write('shop/ftesting.zcml', self.find('<configure'))

    def find(self, text):
        """Return the one block with *text* in it."""
        found, = (block for _name, block in self.blocks if text in block)
        return found

    def write(self, name, text):
        self.folder.joinpath(name).write_text(text, 'utf-8')

    def run_python(self, *arguments):
        """Run Python in the folder; return (exit code, output)."""
        result = subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(
                [str(self.folder), *sys.path])))
        return result.returncode, result.stdout

    def test_the_files_have_these_names(self):
        self.assertEqual(
            ['shop/orders.py', 'shop/ftesting.zcml', 'shop/tests.py', None,
             'pytest.ini', 'test_orders.py', None, None, None, 'mypy.ini',
             None], [name for name, _block in self.blocks])

    def test_zope_testrunner(self):
        self.write('shop/tests.py', self.find('LAYER = BackgroundLayer('))
        command = self.find('zope-testrunner').split()
        self.assertEqual('zope-testrunner', command[0])
        code, output = self.run_python(
            '-m', 'zope.testrunner',
            *(argument.replace('"', '') for argument in command[1:]))
        self.assertIn('Ran 4 tests with 0 failures, 0 errors', output)
        self.assertEqual(0, code)

    def test_pytest(self):
        requirePytest()
        self.write('pytest.ini', self.find('[pytest]'))
        self.write('test_orders.py', self.find('def test_an_order_starts_a_m'
                                               'ail(background_site)'))
        command = self.find('python -m pytest').split()[1:]
        code, output = self.run_python(*command)
        self.assertRegex(output, r'\b4 passed in')
        self.assertEqual(0, code)

    def test_layer_of_a_module(self):
        requirePytest()
        self.write('pytest.ini', self.find('[pytest]'))
        self.write('other.zcml', self.find('<configure').replace(
            'name="mail"', 'name="other"'))
        self.write('test_other.py', self.find('def background_layer') + (
            'from cipher.background import getRegistry\n'
            'def test(background_site):\n'
            '    getRegistry().start("other", to="ann")\n'))
        code, output = self.run_python('-m', 'pytest')
        self.assertRegex(output, r'\b1 passed in')

    def test_error_of_the_assertion(self):
        requirePytest()
        self.write('pytest.ini', self.find('[pytest]'))
        self.write('test_error.py', (
            'from cipher.background import getRegistry\n'
            'from cipher.background.testing import assertStarted\n'
            'def test(background_site):\n'
            '    getRegistry().start("mail", to="ann@example.com")\n'
            '    assertStarted(background_site, "mail",\n'
            '                  input={"to": "bob@example.com"})\n'))
        code, output = self.run_python('-m', 'pytest')
        self.assertEqual(1, code)
        self.assertIn(
            ' '.join(self.find('AssertionError:').split()),
            ' '.join(re.sub('(?m)^E', '', output).split()))

    def test_types(self):
        requireMypy()
        self.write('mypy.ini', self.find('[mypy]'))
        # The package is an installed one for mypy.
        arguments, environ = [], {}
        if CHECKOUT in Path(__file__).parents:
            arguments = ['--follow-imports=silent']
            environ = {'MYPYPATH': str(CHECKOUT / 'src')}
        good = self.find('def mail(worker: IWorker')
        bad = good.replace('setProgress(1, 1)', 'setProgress("all")')
        for text, expected in (good, 0), (bad, 1):
            self.write('typed.py', text)
            code, output = runMypy(
                self.folder, '--strict', *arguments, 'typed.py', **environ)
            self.assertEqual(expected, code, output)
        self.assertIn('[arg-type]', output)
