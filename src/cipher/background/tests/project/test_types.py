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
"""Type hints: each public name has them, and mypy believes them."""
import ast
import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
import tempfile
import unittest
from functools import cached_property
from pathlib import Path

import transaction
from zope.interface.interfaces import IInterface
from zope.interface.interfaces import IMethod
from zope.schema.interfaces import IField

import cipher.background
from cipher.background import interfaces
from cipher.background.tests.support.checkout import CHECKOUT
from cipher.background.tests.support.checkout import requireCheckout
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import declare


PACKAGE = Path(cipher.background.__file__).parent

#: The modules whose names an application may use.
PUBLIC = ('cipher.background', 'cipher.background.browser',
          'cipher.background.celery', 'cipher.background.contextmanagers',
          'cipher.background.events', 'cipher.background.testing',
          'cipher.background.thread')

#: {kind of field: its type in interfaces.pyi}; that of others is checked by
#: the reader.
KINDS = {'Bool': 'bool', 'Choice': 'str', 'Float': 'float', 'Int': 'int',
         'Text': 'str', 'TextLine': 'str'}

#: What mypy.ini of an application says.
SETTINGS = '''
[mypy]
strict = true
ignore_missing_imports = true
disallow_subclassing_any = false
'''

#: A program that fits the types; the tests carry it out.
CLIENT = '''
from cipher.background import BackgroundJob
from cipher.background import BackgroundWorkerThread
from cipher.background import Cancel
from cipher.background import ItemsJob
from cipher.background import RuntimeSettings
from cipher.background import Snooze
from cipher.background import getRegistry
from cipher.background import now
from cipher.background import queryRuntime
from cipher.background.browser import FORM
from cipher.background.browser import Page
from cipher.background.browser import Refused
from cipher.background.browser import getParameter
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.events import RunFailedEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import IRunFailedEvent
from cipher.background.interfaces import IRunFinishedEvent
from cipher.background.interfaces import IVerbs
from cipher.background.interfaces import IWorker
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerRun
from cipher.background.testing import SetClock
from cipher.background.testing import assertStarted
from cipher.background.testing import runPending
from collections.abc import Iterator
from typing import Any


class Greet(BackgroundJob):

    def doWork(self) -> str:
        self.setProgress(1, 2, 'half')
        self.log.info('run %s', self.run_id)
        if self.stop_requested or self.wait(0.0):
            raise Cancel('no')
        return help(self)


class Count(ItemsJob):

    batch_size = 2

    def items(self, cursor: int | None) -> Iterator[tuple[int, str]]:
        for number in range(cursor or 0, 3):
            yield number + 1, 'item'

    def processItem(self, item: str) -> None:
        self.checkStop()


class Loop(BackgroundWorkerThread):

    max_tries = 5

    def scheduleNextWork(self) -> bool:
        return not self.wait(60)

    def retryDelay(self, attempt: int, error: Exception) -> float | None:
        return 2.0 * attempt


def help(worker: IWorker) -> str:
    return 'Hello %s' % worker.input.get('name', 'you')


def work(worker: IWorker) -> None:
    if worker.cursor is None:
        raise Snooze(5)


def onFailed(event: IRunFailedEvent) -> str:
    error = event.object.error
    return error[1] if error else ''


def onFinished(event: IRunFinishedEvent) -> bool:
    return event.registry.getStatus(event.object.id).is_retryable


def start(site: Any) -> list[IWorkerRun]:
    registry: IWorkerRegistry = getRegistry(site)
    registry.keep_days = 3
    with ZopeTransaction(note='start'):
        run = registry.start('greet')
        registry.submit('greet', delay=60, priority=1, unique='no')
    assert IWorkerRegistry.providedBy(registry)
    assert queryRuntime(run._p_jar.db()) is None
    with SetClock(now() + 100):
        runs = runPending(site)
    page = registry.listRuns(types=['greet'], states=[FAILED])
    for status in page.items:
        status.took or onFailed(RunFailedEvent(run, registry))
    return assertStarted(site, 'greet', count=len(runs))


def retry(registry: IWorkerRegistry, run: IWorkerRun) -> str:
    return IVerbs(registry).retry(run.id, reason='why not').id


class Report(Page):

    methods = FORM
    tab = 'runs.html'

    def update(self) -> None:
        if getParameter(self.request, 'type') not in self.checked.getCounts():
            raise Refused(404, 'nobody')


settings = RuntimeSettings(threads=2)
threads: int = settings.threads
'''

#: (statement that does not fit, the code of mypy for it)
WRONG = (
    ('from cipher.background import nobody', 'attr-defined'),
    ('cipher.background.getRegistry().begin("greet")', 'attr-defined'),
    ('cipher.background.getRegistry().start(5)', 'arg-type'),
    ('cipher.background.getRegistry().start()', 'call-arg'),
    ('cipher.background.getRegistry().submit("a", delay="1")', 'arg-type'),
    ('cipher.background.getRegistry().listRuns(limit="1")', 'arg-type'),
    ('cipher.background.getRegistry().get("1-1").id', 'union-attr'),
    ('cipher.background.getRegistry().start("a").state = "failed"', 'misc'),
    ('cipher.background.now().year', 'attr-defined'),
    ('cipher.background.queryRuntime(None).shutdown()', 'union-attr'),
    ('cipher.background.getRuntime(None).shutdown("soon")', 'arg-type'),
    ('cipher.background.Snooze("soon")', 'arg-type'),
    ('cipher.background.ZopeTransaction(user=5)', 'arg-type'),
    ('cipher.background.BackgroundJob(None, 5, "", None)', 'arg-type'),
    ('cipher.background.BackgroundWorkerThread.forSite(None)', 'call-arg'),
    ('cipher.background.addRegistry(None).getStatus("1-1").is_done',
     'attr-defined'),
    ('class Job(cipher.background.BackgroundJob):\n'
     '    def scheduleNextWork(self) -> str: return "yes"', 'override'),
    ('class Job(cipher.background.BackgroundJob):\n'
     '    def doWork(self) -> None: self.setProgress("all")', 'arg-type'),
    ('class Job(cipher.background.BackgroundJob):\n'
     '    def doWork(self) -> None: self.sleep(5)', 'attr-defined'),
    ('class Items(cipher.background.ItemsJob):\n'
     '    def countItems(self) -> str: return "many"', 'override'),
    ('interfaces.IVerbs(None).quiet()', 'attr-defined'),
    ('interfaces.IVerbs(None).pauseType("greet", reason=5)', 'arg-type'),
    ('interfaces.IWorker.asked', 'attr-defined'),
    ('def work(worker: interfaces.IWorker) -> None: worker.wait()',
     'call-arg'),
    ('def gone(event: interfaces.IRunEvent) -> None: event.run',
     'attr-defined'),
    ('events.RunFailedEvent(None, None)', 'arg-type'),
    ('celery.register(None, openDatabase=5)', 'arg-type'),
    ('celery.makeMessage("1", "1-1")', 'arg-type'),
    ('browser.Refused("404", "nobody")', 'arg-type'),
    ('browser.getParameter(None, 5)', 'arg-type'),
    ('browser.makePage({}, print, "200 OK", "", "")', 'arg-type'),
    ('browser.cleanLine("a", limit="b")', 'arg-type'),
    ('class Page(browser.Page):\n'
     '    def render(self) -> int: return 5', 'override'),
    ('class View(browser.JSONView):\n'
     '    def collect(self) -> None: self.checked.start', 'attr-defined'),
    ('testing.waitForRun("1-1")', 'arg-type'),
    ('testing.waitForRun(cipher.background.getRegistry(), 1)', 'arg-type'),
    ('testing.runPending(limit="all")', 'arg-type'),
    ('testing.assertStarted(None, "greet", input=5)', 'arg-type'),
    ('testing.SetClock("now")', 'arg-type'),
    ('testing.setUpLogging("log")', 'arg-type'),
)

IMPORTS = '''
import cipher.background
from cipher.background import browser
from cipher.background import celery
from cipher.background import events
from cipher.background import interfaces
from cipher.background import testing
'''


def requireMypy():
    if importlib.util.find_spec('mypy') is None:
        reason = 'mypy is not installed: it comes with the extra "test"'
        if os.environ.get('CI'):
            raise AssertionError(reason)
        raise unittest.SkipTest(reason)


def runMypy(folder, *arguments, **environ):
    """Run mypy in *folder*; return (exit code, output)."""
    result = subprocess.run(
        [sys.executable, '-m', 'mypy', '--cache-dir', os.devnull, *arguments],
        cwd=folder, capture_output=True, text=True, timeout=600,
        env=dict(os.environ, **environ))
    return result.returncode, result.stdout + result.stderr


def isOurs(thing):
    return getattr(thing, '__module__', '').startswith('cipher.background.')


def findPublic():
    """Yield (name, function) of all public functions and methods."""
    for module_name in PUBLIC:
        module = importlib.import_module(module_name)
        names = getattr(module, '__all__', [
            name for name, value in vars(module).items()
            if name[0] != '_' and getattr(
                value, '__module__', None) == module_name])
        for name in names:
            value = getattr(module, name)
            where = '%s.%s' % (module_name, name)
            if inspect.isclass(value):
                # interfaces.pyi has the annotations of interfaces.py.
                if value.__module__ != interfaces.__name__:
                    yield from findMethods(where, value)
            elif inspect.isfunction(value):
                yield where, value


def findMethods(where, kind):
    for name, value in inspect.getmembers(kind):
        if isinstance(value, property):
            value = value.fget
        elif isinstance(value, cached_property):
            value = value.func
        function = inspect.unwrap(getattr(value, '__func__', value))
        if (inspect.isfunction(function) and isOurs(function)
                and (name[0] != '_' or name == '__init__')):
            yield '%s.%s' % (where, name), function


class AnnotationTests(unittest.TestCase):

    def test_each_public_function_has_annotations(self):
        found = dict(findPublic())
        self.assertGreater(len(found), 80)
        lacking = set()
        for name, function in found.items():
            signature = inspect.signature(function)
            parameters = [
                parameter for place, parameter in enumerate(
                    signature.parameters.values())
                if not (place == 0 and parameter.name in ('self', 'cls'))]
            if signature.return_annotation is signature.empty or any(
                    one.annotation is one.empty for one in parameters):
                lacking.add(name)
        self.assertEqual(set(), lacking)

    def test_the_package_says_that_it_has_types(self):
        self.assertTrue(PACKAGE.joinpath('py.typed').is_file())


class StubTests(unittest.TestCase):
    """interfaces.pyi has what interfaces.py has."""

    maxDiff = None

    def setUp(self):
        tree = ast.parse(
            PACKAGE.joinpath('interfaces.pyi').read_text('utf-8'))
        self.classes = {
            node.name: node for node in tree.body
            if isinstance(node, ast.ClassDef) and node.name[0] != '_'}
        self.constants = {
            node.target.id: node for node in tree.body
            if isinstance(node, ast.AnnAssign) and node.target.id[0] != '_'}

    def members(self, node):
        """Return {name: function or annotated name} of a class."""
        found = {}
        for one in node.body:
            if isinstance(one, ast.FunctionDef):
                # Of overloads the last one has all arguments.  Those that the
                # first one has not are optional.
                if one.name in found:
                    one.args.defaults = [ast.Constant(None)] * (
                        len(one.args.args)
                        - len(found[one.name].args.args))
                found[one.name] = one
            elif isinstance(one, ast.AnnAssign):
                found[one.target.id] = one
        return found

    def test_the_same_names(self):
        expected = {
            name for name, value in vars(interfaces).items()
            if name[0] != '_' and (
                isinstance(value, (str, int, tuple)) or getattr(
                    value, '__module__', None) == interfaces.__name__)}
        self.assertEqual(
            expected, {*self.classes, *self.constants},
            'interfaces.pyi: bring its names in line with those of '
            'interfaces.py')

    def test_the_same_constants(self):
        for name, node in self.constants.items():
            value = getattr(interfaces, name)
            if node.value is None:
                self.assertEqual('Final[tuple[str, ...]]',
                                 ast.unparse(node.annotation), name)
                self.assertIsInstance(value, tuple, name)
            else:
                self.assertEqual(value, ast.literal_eval(node.value), name)

    def test_the_same_bases(self):
        for name, node in self.classes.items():
            value = getattr(interfaces, name)
            bases = {base.__name__ for base in value.__bases__}
            if IInterface.providedBy(value):
                bases -= {'Interface', 'IObjectEvent'}
            self.assertEqual(bases, {
                base for base in map(ast.unparse, node.bases)
                if base not in ('Protocol', '_Persistent')}, name)

    def test_the_same_members_of_interfaces(self):
        for name, node in self.classes.items():
            interface = getattr(interfaces, name)
            if not IInterface.providedBy(interface):
                continue
            expected = {*interface.names(), *(
                ['object'] if name == 'IRunEvent' else [])}
            self.assertEqual(
                expected, {*self.members(node)} - {'__init__'},
                'interfaces.pyi: %s: bring its members in line with those '
                'of interfaces.py' % name)

    def test_the_same_arguments(self):
        number = 0
        for name, node in self.classes.items():
            interface = getattr(interfaces, name)
            if not IInterface.providedBy(interface):
                continue
            members = self.members(node)
            for attribute in interface.names():
                method = interface[attribute]
                if IMethod.providedBy(method):
                    number += 1
                    self.assertEqual(
                        self.describe(method.getSignatureInfo()),
                        self.parse(members[attribute]),
                        '%s.%s' % (name, attribute))
        self.assertGreater(number, 100)

    def describe(self, info):
        return (list(info['positional']), set(info['optional']),
                info['varargs'], info['kwargs'])

    def parse(self, function):
        arguments = function.args
        names = [one.arg for one in arguments.args][1:]
        optional = names[len(names) - len(arguments.defaults):]
        return (names, set(optional),
                arguments.vararg and arguments.vararg.arg,
                arguments.kwarg and arguments.kwarg.arg)

    def test_types_of_fields(self):
        number = 0
        for name, node in self.classes.items():
            interface = getattr(interfaces, name)
            if not IInterface.providedBy(interface):
                continue
            members = self.members(node)
            for attribute in interface.names():
                field = interface[attribute]
                kind = KINDS.get(type(field).__name__)
                if IField.providedBy(field) and kind:
                    number += 1
                    member = members[attribute]
                    self.assertEqual(
                        kind if field.required else kind + ' | None',
                        ast.unparse(getattr(member, 'returns', None)
                                    or member.annotation),
                        '%s.%s' % (name, attribute))
        self.assertGreater(number, 150)

    def test_errors_take_the_same_arguments(self):
        for name, node in self.classes.items():
            kind = getattr(interfaces, name)
            if IInterface.providedBy(kind):
                continue
            self.assertEqual('__init__' in vars(kind),
                             '__init__' in self.members(node), name)
            if '__init__' in vars(kind):
                parameters = list(
                    inspect.signature(kind).parameters.values())
                self.assertEqual(
                    ([one.name for one in parameters], {
                        one.name for one in parameters
                        if one.default is not one.empty}),
                    self.parse(self.members(node)['__init__'])[:2], name)


class ClientTests(SiteTests):

    def test_the_program_that_fits_works(self):
        program = {}
        exec(compile(CLIENT, 'client.py', 'exec'), program)
        declare('<background:worker name="greet" title="Greet" '
                'handler="%s.greet" />' % __name__)
        runs = program['start'](self.site)
        self.assertEqual(['succeeded'] * 2, [run.state for run in runs])
        self.assertEqual(['Hello you'] * 2, [run.result for run in runs])
        transaction.commit()


def greet(worker):
    return 'Hello %s' % worker.input.get('name', 'you')


class CheckTests(unittest.TestCase):

    layer = Live
    maxDiff = None

    def setUp(self):
        requireMypy()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.folder.joinpath('mypy.ini').write_text(SETTINGS)

    def check(self, source):
        """Return (exit code, output) of mypy for the client *source*."""
        self.folder.joinpath('client.py').write_text(source, 'utf-8')
        # The package is an installed one for mypy: its own errors do not
        # matter to a client.
        arguments, environ = [], {}
        if CHECKOUT in PACKAGE.parents:
            arguments = ['--follow-imports=silent']
            environ = {'MYPYPATH': str(CHECKOUT / 'src')}
        return runMypy(self.folder, *arguments, 'client.py', **environ)

    def test_a_program_that_fits_passes(self):
        self.assertEqual(
            (0, 'Success: no issues found in 1 source file\n'),
            self.check(CLIENT))

    def test_each_statement_that_does_not_fit_is_refused(self):
        lines, expected = IMPORTS.splitlines(), {}
        for statement, code in WRONG:
            parts = statement.splitlines()
            expected[len(lines) + len(parts)] = code
            lines += [*parts, '']
        code, output = self.check('\n'.join(lines))
        found = {int(line): code for line, code in re.findall(
            r'client\.py:(\d+): error: .*\[([\w-]+)\]', output)}
        self.assertEqual(
            {line: (lines[line - 1], code)
             for line, code in expected.items()},
            {line: (lines[line - 1], code) for line, code in found.items()
             if code not in ('func-returns-value', 'no-redef')}, output)
        self.assertEqual(1, code)

    def test_the_types_within_the_package_are_checked(self):
        if CHECKOUT not in PACKAGE.parents:
            self.skipTest('the package of the checkout is checked, with all '
                          'that it imports; this one is installed')
        settings = requireCheckout('mypy.ini')
        self.assertIn('disallow_untyped_defs', settings.read_text('utf-8'))
        code, output = runMypy(CHECKOUT)
        self.assertEqual(0, code, output)
