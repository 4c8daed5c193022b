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
"""Decorators and the scan that finds them."""
import importlib
import inspect
import sys
import tempfile
import textwrap
import uuid
from pathlib import Path

from zope.component import getUtilitiesFor
from zope.component import getUtility
from zope.component import queryUtility
from zope.lifecycleevent import IObjectModifiedEvent

from cipher.background.interfaces import InvalidDeclaration
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import IWorkerType
from cipher.background.python.directives import DIRECTIVES
from cipher.background.python.scanning import _NOTES
from cipher.background.python.scanning import scan
from cipher.background.python.scanning import scheduled
from cipher.background.python.scanning import triggeredBy
from cipher.background.python.scanning import worker
from cipher.background.tests.support.sites import ComponentTests
from cipher.background.thread import BackgroundJob
from cipher.background.zcml import listTriggers


IMPORTS = '''
from zope.lifecycleevent import IObjectModifiedEvent

from cipher.background import (
    BackgroundJob, declareSchedule, scheduled, triggeredBy, worker)
'''
WORK = IMPORTS + '''
@worker('%s')
def work(worker):
    """Work."""
'''


@worker('here', title='Here', max_attempts=3)
def here(worker):
    """Work."""


@worker('base')
class Base(BackgroundJob):
    """A declared class."""


class Derived(Base):
    """A class that is not declared."""


class ScanTests(ComponentTests):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        sys.path.insert(0, folder.name)
        self.addCleanup(sys.path.remove, folder.name)
        self.name = 'found' + uuid.uuid4().hex
        self.addCleanup(self.forget)
        self.folder = Path(folder.name, self.name)
        self.write('__init__.py', '')

    def forget(self):
        for name in list(sys.modules):
            if name.partition('.')[0] == self.name:
                del sys.modules[name]

    def write(self, path, text):
        path = self.folder / path
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text), 'utf-8')
        importlib.invalidate_caches()

    def names(self):
        return sorted(name for name, _one in getUtilitiesFor(IWorkerType))

    def refuse(self):
        with self.assertRaises(InvalidDeclaration) as caught:
            scan(self.name)
        self.assertEqual(self.names(), [])
        return str(caught.exception)

    def test_functions_and_classes_of_all_modules(self):
        self.write('__init__.py', WORK % 'face')
        self.write('one.py', WORK % 'one')
        self.write('deep/__init__.py', WORK % 'deep')
        self.write('deep/two.py', IMPORTS + '''
@worker('two', title='Two', max_attempts=3)
class Two(BackgroundJob):
    """Work."""
''')
        scan(self.name)
        self.assertEqual(self.names(), ['deep', 'face', 'one', 'two'])
        two = getUtility(IWorkerType, 'two')
        self.assertEqual(
            (two.factory.__name__, two.title, two.max_attempts),
            ('Two', 'Two', 3))

    def test_module_and_name_of_one(self):
        scan(sys.modules[__name__])
        self.assertEqual(self.names(), ['base', 'here'])
        self.assertIs(getUtility(IWorkerType, 'here').handler, here)

    def test_class_does_not_inherit_a_declaration(self):
        scan(__name__)
        self.assertIs(getUtility(IWorkerType, 'base').factory, Base)
        self.assertNotIn(_NOTES, vars(Derived))

    def test_import_declares_nothing(self):
        self.write('one.py', WORK % 'one')
        importlib.import_module(self.name + '.one')
        self.assertEqual(self.names(), [])

    def test_modules_of_tests_and_programs_are_left_out(self):
        for path in ('__main__.py', 'conftest.py', 'test_one.py',
                     'tests/__init__.py', 'tests/one.py'):
            self.write(path, 'raise SystemExit("imported")')
        self.write('one.py', WORK % 'one')
        scan(self.name)
        self.assertEqual(self.names(), ['one'])

    def test_imported_function_is_declared_once(self):
        self.write('one.py', WORK % 'one')
        self.write('two.py', 'from .one import work\nalias = work')
        scan(self.name)
        self.assertEqual(self.names(), ['one'])

    def test_triggers_and_schedules_of_the_same_worker(self):
        self.write('one.py', IMPORTS + '''
@scheduled(cron='0 3 * * *', name='nightly')
@triggeredBy(IObjectModifiedEvent, name='changed', delay=5)
@worker('one')
@scheduled(every=60)
def work(worker):
    """Work."""
''')
        scan(self.name)
        self.assertEqual(
            sorted((name, one.worker, one.cron, one.every)
                   for name, one in getUtilitiesFor(ISchedule)),
            [('nightly', 'one', '0 3 * * *', None), ('one', 'one', None, 60)])
        self.assertEqual([(one.name, one.worker) for one in listTriggers()],
                         [('changed', 'one')])

    def test_refusal_of_one_declares_nothing(self):
        self.write('a.py', WORK % 'a')
        self.write('b.py', IMPORTS + '''
@scheduled(every=-1)
@worker('b')
def work(worker):
    """Work."""
''')
        self.assertIn("schedule 'b': every: expected", self.refuse())
        self.assertIsNone(queryUtility(ISchedule, 'b'))

    def test_two_of_one_name_are_refused(self):
        self.write('a.py', WORK % 'a')
        self.write('b.py', WORK % 'a')
        self.assertIn('got a second', self.refuse())

    def test_second_scan_is_refused(self):
        scan(__name__)
        with self.assertRaisesRegex(InvalidDeclaration, 'got a second'):
            scan(__name__)

    def test_schedule_without_a_worker_is_refused(self):
        self.write('a.py', IMPORTS + '''
@scheduled(every=60)
def work(worker):
    """Work."""
''')
        self.assertRegex(
            self.refuse(), r'a\.work: expected one decorator worker, got 0')

    def test_module_that_does_not_load_is_not_passed_over(self):
        self.write('a.py', 'import no_such_module_at_all')
        with self.assertRaises(ImportError):
            scan(self.name)

    def test_wrapped_function_is_declared_as_it_is_called(self):
        self.write('a.py', IMPORTS + '''
import functools

def outer(function):
    @functools.wraps(function)
    def call(worker):
        return 'outer'
    return call

@outer
@worker('a')
def work(worker):
    """Work."""
''')
        scan(self.name)
        self.assertEqual(getUtility(IWorkerType, 'a').handler(None), 'outer')


class DecoratorTests(ComponentTests):

    def test_each_attribute_is_an_option(self):
        for directive, (make, own) in {
                'worker': (lambda **options: worker('w', **options),
                           {'name', 'class_', 'handler'}),
                'trigger': (lambda **options: triggeredBy(
                    IObjectModifiedEvent, **options), {'for_', 'worker'}),
                'schedule': (scheduled, {'worker'})}.items():
            parameters = inspect.signature(
                DIRECTIVES[directive][2]).parameters
            for name in set(parameters) - own - {'override'}:
                with self.subTest(directive, name=name):
                    make(**{name: None})
            for name in *(own - {'name', 'for_'}), 'override', 'colour':
                with self.subTest(directive, name=name), \
                        self.assertRaisesRegex(
                            InvalidDeclaration, repr(name)):
                    make(**{name: None})

    def test_what_no_scan_finds_is_refused(self):
        def inner(worker):
            """Work."""

        for target in inner, 42, DecoratorTests.setUp:
            with self.assertRaisesRegex(
                    InvalidDeclaration, 'a function or class of a module'):
                worker('w')(target)
