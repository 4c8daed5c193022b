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
"""Collaborators are given what they use, not a runtime to reach through."""
import ast
import re
import unittest
from pathlib import Path

import cipher.background


PACKAGE = Path(cipher.background.__file__).parent

#: Where the objects live that a runtime consists of, or that serve one.
FOLDERS = 'runtime', 'celery'

#: The classes that take, keep or use a whole runtime, each with its reason.
#: This list only shrinks.
EXCEPTIONS = {
    'celery.sender.CeleryExecutor':
        'a ThreadsExecutor, which also makes the sender',
    'celery.sender.Sender':
        'a ThreadsExecutor',
    'runtime.executors.performer.Performer':
        'makes a LiveRun, whose recorder returns the run to the runtime',
    'runtime.executors.threads.ThreadsExecutor':
        'a Performer',
    'runtime.standalone.StandaloneRecorder':
        'finds or starts the runtime of a database; makes a LiveRun',
}

#: The functions that a runtime may give itself to.
KNOW_IT = {
    'connect': 'the switchboard finds the runtime of a database',
    'disconnect': 'the same',
    'makeExecutor': 'makes the classes above',
}

_NAME = re.compile(r'(.*_)?runtime')


def usesRuntime(kind):
    """Return whether the class *kind*, an AST node, has to do with a runtime.

    It takes one as an argument, or has an attribute that is one.
    """
    methods = {node.name for node in kind.body
               if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(kind):
        if isinstance(node, ast.arg):
            if _NAME.fullmatch(node.arg) or 'Runtime' in map(
                    getName, ast.walk(node.annotation or node)):
                return True
        elif isinstance(node, ast.Attribute):
            if _NAME.fullmatch(node.attr) and node.attr not in methods and (
                    getName(node.value) == 'self'):
                return True
    return False


def getName(node):
    """Return the name that *node* is, or None."""
    return node.id if isinstance(node, ast.Name) else None


def findClasses():
    """Yield (dotted name, AST node) of each class in the folders."""
    for folder in FOLDERS:
        for path in sorted(PACKAGE.joinpath(folder).rglob('*.py')):
            module = '.'.join(path.relative_to(PACKAGE).with_suffix('').parts)
            for node in ast.walk(ast.parse(path.read_text('utf-8'))):
                if isinstance(node, ast.ClassDef):
                    yield '%s.%s' % (module, node.name), node


def findReceivers(kind):
    """Return the names of the functions that get the ``self`` of *kind*."""
    found = set()
    for node in ast.walk(kind):
        if isinstance(node, ast.Call):
            given = [*node.args, *[word.value for word in node.keywords]]
            if 'self' in map(getName, given):
                found.add(getattr(node.func, 'attr', getName(node.func)))
    return found


class CollaboratorTests(unittest.TestCase):

    def test_what_is_made_of_parts_takes_no_runtime(self):
        classes = dict(findClasses())
        self.assertGreater(len(classes), 50)
        found = {name for name, kind in classes.items() if usesRuntime(kind)}
        self.assertEqual(set(), found - set(EXCEPTIONS))
        self.assertEqual(set(), set(EXCEPTIONS) - found,
                         'exceptions that are not needed any more')

    def test_a_runtime_gives_itself_to_nobody_else(self):
        kind = dict(findClasses())['runtime.runtime.Runtime']
        self.assertEqual(set(KNOW_IT), findReceivers(kind))


class FindingTests(unittest.TestCase):
    """The check sees what it is to see."""

    def check(self, *lines):
        source = 'class Some(Base):\n' + '\n'.join(
            ' ' * 4 + line for line in lines)
        return usesRuntime(ast.parse(source).body[0])

    def test_class_that_takes_a_runtime(self):
        self.assertTrue(self.check('def __init__(self, runtime): pass'))
        self.assertTrue(self.check('def turn(self, *, runtime=None): pass'))
        self.assertTrue(self.check('def turn(self, its_runtime): pass'))
        self.assertTrue(self.check('def __init__(self, it: Runtime): pass'))

    def test_class_that_has_a_runtime(self):
        self.assertTrue(self.check('def turn(self): self._runtime.wake()'))
        self.assertTrue(self.check('def turn(self): self.runtime = find()'))

    def test_class_that_has_none(self):
        self.assertFalse(self.check('def __init__(self, own): pass'))
        self.assertFalse(self.check(
            'def turn(self): self._runtime().wake()',
            'def _runtime(self): return startRuntime()'))

    def test_receivers_of_self(self):
        kind = ast.parse('class Some:\n'
                         '    def begin(self):\n'
                         '        self.turn(1)\n'
                         '        self.part = Part(owner=self)\n'
                         '        board.connect(self.db, self)\n').body[0]
        self.assertEqual({'Part', 'connect'}, findReceivers(kind))
