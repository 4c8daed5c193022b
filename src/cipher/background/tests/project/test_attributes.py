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
"""Each class defines the attributes that it uses, or a base of it does."""
import ast
import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from functools import lru_cache
from pathlib import Path

import cipher.background
from cipher.background.tests.support.checkout import CHECKOUT
from cipher.background.tests.support.checkout import requireCheckout
from cipher.background.tests.support.layers import Live


PACKAGE = Path(cipher.background.__file__).parent

#: What is checked; mypy.ini leaves out all else.
CODES = {'attr-defined', 'call-arg', 'name-defined'}

#: The classes that nobody can check: an interface has no instances, and
#: `_Listener` has whatever is asked of it (``__getattr__``).
UNSEEN = re.compile(r'I[A-Z]\w+|_Listener')

#: Nobody knows what the bases of their classes have: Zope and Plone are not
#: installed beside the check.
WITHOUT_BASES = 'hosts/zope', 'hosts/plone'

#: Asked for in each class of a copy, to see whether the check would find it.
PROBE = 'no_such_attribute_of_'

_FINDING = re.compile(
    r'src/(?P<path>\S+)\.py:\d+: error: .*  \[(?P<code>[\w-]+)\]')


def add_probes(path):
    """Let each class of the module use what it has not; return the probes."""
    source = path.read_text(encoding='utf-8')
    lines = source.split('\n')
    classes = [node for node in ast.walk(ast.parse(source))
               if isinstance(node, ast.ClassDef)]
    # The last one first: the others keep their lines.
    for node in sorted(classes, key=lambda node: -node.end_lineno):
        indent = ' ' * node.body[0].col_offset
        lines[node.end_lineno:node.end_lineno] = [
            indent + 'def use_what_is_not_there(self):',
            indent + '    return self.' + PROBE + node.name]
    path.write_text('\n'.join(lines), encoding='utf-8')
    return {PROBE + node.name for node in classes
            if not UNSEEN.fullmatch(node.name)}


def read_settings():
    """Return mypy.ini as a parser."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(requireCheckout('mypy.ini').read_text('utf-8'))
    return parser


def exceptions_of(settings):
    """Return the names of the sections of mypy.ini that allow something.

    The others ask for more; see `test_types`.
    """
    return [name for name in settings.sections()[1:]
            if 'disable_error_code' in settings[name]]


def codes_of(section):
    """Return the codes that a section of mypy.ini switches off."""
    return set(re.findall(r'[\w-]+', section['disable_error_code']))


@lru_cache
def check():
    """Check a copy of the package with probes, without the exceptions.

    Return (the probes, the probes that were found, {(module, code)} of all
    else that was found, the output).
    """
    settings = read_settings()
    stubs = requireCheckout('stubs')
    for name in settings.sections()[1:]:
        settings.remove_section(name)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, 'src', 'cipher', 'background')
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns(
            'tests', '__pycache__'))
        shutil.copytree(stubs, Path(folder, 'stubs'))
        # Types of the interfaces are read from interfaces.pyi.  Under another
        # name its classes are checked as well.
        shutil.copy(copy / 'interfaces.py', copy / 'contracts.py')
        with Path(folder, 'mypy.ini').open('w', encoding='utf-8') as file:
            settings.write(file)
        probes = set().union(*(
            add_probes(path) for path in copy.rglob('*.py')
            if path.parent.relative_to(copy).as_posix() not in WITHOUT_BASES))
        result = subprocess.run(
            [sys.executable, '-m', 'mypy', '--cache-dir', os.devnull],
            cwd=folder, capture_output=True, text=True, timeout=600)
    seen, found = set(), set()
    for line in result.stdout.splitlines():
        probe = re.search(PROBE + r'\w+', line)
        finding = _FINDING.match(line)
        if probe is not None:
            seen.add(probe[0])
        elif finding is not None:
            found.add((finding['path'].replace('/', '.'), finding['code']))
    return probes, seen, found, '\n'.join(
        line for line in (result.stdout + result.stderr).splitlines()
        if PROBE not in line)


class AttributeTests(unittest.TestCase):

    layer = Live
    maxDiff = None

    def setUp(self):
        if CHECKOUT not in PACKAGE.parents:
            self.skipTest('the package of the checkout is checked, with all '
                          'that it imports; this one is installed')
        if importlib.util.find_spec('mypy') is None:
            reason = 'mypy is not installed: it comes with the extra "test"'
            if os.environ.get('CI'):
                self.fail(reason)
            self.skipTest(reason)

    def test_the_check_sees_each_class(self):
        probes, seen, _, output = check()
        self.assertGreater(len(probes), 250)
        self.assertEqual(set(), probes - seen, output)

    def test_what_is_used_is_defined_with_few_exceptions(self):
        settings = read_settings()
        allowed = {(name.removeprefix('mypy-'), code)
                   for name in exceptions_of(settings)
                   for code in codes_of(settings[name])}
        _, _, found, output = check()
        self.assertEqual(set(), found - allowed, output)
        self.assertEqual(set(), allowed - found,
                         'exceptions in mypy.ini that are not needed any more')

    def test_nothing_else_switches_the_check_off(self):
        settings = read_settings()
        self.assertFalse(CODES & codes_of(settings['mypy']))
        self.assertEqual('/tests/', settings['mypy']['exclude'])
        for name in exceptions_of(settings):
            self.assertEqual(
                ['disable_error_code'], list(settings[name]), name)
            self.assertNotIn('*', name)
        for path in PACKAGE.rglob('*.py'):
            if 'tests' not in path.parts:
                self.assertNotRegex(
                    path.read_text('utf-8'), r'#\s*(type|mypy):', str(path))
