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
"""The documents name modules and packages that exist."""
import re
import unittest
from pathlib import Path

import cipher.background
from cipher.background.tests.support.checkout import requireCheckout
from cipher.background.tests.support.checkout import requirePage


PACKAGE = Path(cipher.background.__file__).parent

#: A path with a folder, such as ``work/loop.py``, also inside a drawing.
_PATH = re.compile(r'(?<![\w/.])((?:[a-z]+/)+[\w.-]+\.(?:py|txt|gz|zcml))\b')

#: A line of the tree: indentation, then the name of a package or module.
_LINE = re.compile(r'^ {6}( *)([a-z0-9_]+(?:/|\.py))  ', re.MULTILINE)


def readTree(text):
    """Return the paths in the drawing of the package in *text*."""
    found, folders = set(), []
    for indent, name in _LINE.findall(text):
        del folders[len(indent) // 2:]
        found.add('/'.join([*folders, name.rstrip('/')]))
        if name.endswith('/'):
            folders.append(name.rstrip('/'))
    return found


class DesignTests(unittest.TestCase):

    def setUp(self):
        self.text = requirePage('design.rst').read_text('utf-8')

    def test_tree_has_each_module_at_the_top_and_each_package(self):
        tree = self.text[self.text.index('src/cipher/background/'):]
        found = readTree(tree[:tree.index('\n=====')])
        packages = {path.parent.relative_to(PACKAGE).as_posix()
                    for path in PACKAGE.rglob('__init__.py')}
        expected = {path.name for path in PACKAGE.glob('*.py')} | {
            name for name in packages
            if name not in ('.', 'tests') and not name.startswith('tests/')}
        self.assertEqual(found - {'tests'}, expected)

    def test_named_modules_exist(self):
        names = set(_PATH.findall(self.text))
        self.assertGreater(len(names), 40)
        for name in sorted(names):
            with self.subTest(name):
                self.assertTrue((PACKAGE / name).is_file() or
                                requireCheckout().joinpath(name).is_file())

    def test_methods_in_the_drawings_exist(self):
        drawn = re.findall(
            r'^ +([a-z/]+\.py)(?:, \S+)? +([A-Za-z]+)\(\)', self.text,
            re.MULTILINE)
        self.assertGreater(len(drawn), 8)
        for name, method in drawn:
            with self.subTest(name, method=method):
                self.assertIn('def %s(' % method,
                              (PACKAGE / name).read_text('utf-8'))
