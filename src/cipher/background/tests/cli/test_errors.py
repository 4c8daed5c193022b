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
"""Bad arguments of every command end in one line, without a traceback."""
import argparse
import threading
import unittest
from unittest import mock

from ZODB.POSException import StorageError

from cipher.background.cli import database
from cipher.background.cli import main
from cipher.background.cli.command import Unusable
from cipher.background.cli.database import openDatabase
from cipher.background.cli.uris import Place
from cipher.background.cli.uris import hidePassword
from cipher.background.registry.registry import WorkerRegistry
from cipher.background.tests.support.commandline import LIGHT
from cipher.background.tests.support.commandline import CommandTests
from cipher.background.tests.support.commandline import callMain
from cipher.background.tests.support.commandline import checkError
from cipher.background.tests.support.layers import Long
from cipher.background.tests.support.sites import LIMIT


#: {name: bad ZCML}, and a part of the error.
ZCML = {
    'broken.zcml': ('<configure', 'broken.zcml'),
    'unknown.zcml': (LIGHT % '<background:nosuch name="x" />',
                     'unknown.zcml", line 9'),
    'wrong.zcml': (LIGHT % '<background:worker name="x" />',
                   'wrong.zcml", line 9'),
    'import.zcml': (LIGHT % '<include package="no.such" />',
                    'import.zcml", line 9'),
    'twice.zcml': (LIGHT % (2 * (
        '<background:schedule name="a" worker="b" every="9" />')),
        'twice.zcml", line 9'),
    'class.zcml': (LIGHT % '<background:worker name="x" handler="no.such" />',
                   'class.zcml", line 9'),
}


def findParsers():
    """Return {name: parser} of all commands."""
    action, = (action for action in main.makeParser()._actions
               if isinstance(action, argparse._SubParsersAction))
    return action.choices


def findOptions(parser):
    """Return the actions of *parser* that take a value."""
    return [action for action in parser._actions
            if action.nargs != 0 and action.option_strings]


def makeArguments(parser):
    """Return arguments for the positional ones of *parser*."""
    return ['0-999' for action in parser._actions
            if not action.option_strings and action.nargs not in ('*', '?')]


class ArgumentTests(CommandTests):

    layer = Long

    def setUp(self):
        super().setUp()
        self.parsers = {
            name: parser for name, parser in findParsers().items()
            if name not in ('demo', 'worker')}
        self.assertGreater(len(self.parsers), 8)

    def assertFails(self, *arguments):
        with self.subTest(arguments):
            code, output, errors = callMain(self, *arguments)
            self.assertIn(code, (1, 2))
            self.assertEqual('', output)
            checkError(self, errors)
            return code, errors

    def test_unknown_commands(self):
        for arguments in (), ('nosuch',), ('Status',), ('stat',), ('',):
            self.assertEqual(2, self.assertFails(*arguments)[0])

    def test_unknown_and_missing_arguments(self):
        for name, parser in findParsers().items():
            given = makeArguments(parser)
            self.assertFails(name, *given, '--nosuch')
            self.assertFails(name, *given, '--nosuch=1', '--db', self.path)
            for action in findOptions(parser):
                for option in action.option_strings:
                    self.assertFails(name, *given, option)
                    # No abbreviation: scripts would break with new options.
                    if len(option) > 4:
                        self.assertFails(name, *given, option[:-1] + '=1')
                if action.required:
                    self.assertFails(name, *given)
            if given:
                self.assertFails(name, '--db', self.path)

    def test_values_that_do_not_fit(self):
        for name, parser in findParsers().items():
            given = makeArguments(parser)
            for action in findOptions(parser):
                values = []
                if action.choices:
                    values = ['', 'nosuch']
                elif action.type is not None and action.dest in (
                        'limit', 'threads', 'port'):
                    values = ['', 'x', '-1', '1.5', '1_0', '9' * 12, '١']
                for value in values:
                    self.assertFails(
                        name, *given, '--db', self.path,
                        '%s=%s' % (action.option_strings[0], value))

    def test_databases_that_are_wrong(self):
        text = self.write('text.txt', 'no database')
        empty = self.write('empty.fs', '')
        uris = ('', text, 'nosuch://x', '\x00', 'memory://', '.', empty,
                '/nosuch/data.fs', 'file:x', 'file://', 'file://' + text,
                'memory:', 'file://%s?nosuch=1' % self.path,
                'zeo://localhost:port', 'zeo://[::1', 'postgres:',
                'postgres://u:geheim@h:port/x', 'postgres://u:geheim/@h/x',
                'zconfig://' + text,
                'zconfig:///nosuch.conf', 'demo:x', 'a\nb',
                'file://\udcff', 'http://localhost/')
        for name, parser in self.parsers.items():
            # All commands open a database in the same way.
            for uri in uris if name == 'status' else uris[:4]:
                code, errors = self.assertFails(
                    name, *makeArguments(parser), '--db', uri)
                self.assertEqual(2, code, errors)
                self.assertNotIn('geheim', errors)

    def test_sites_and_users_that_are_wrong(self):
        for name, parser in self.parsers.items():
            given = [*makeArguments(parser), '--db', self.path]
            for path in '/nosuch', '/minutes/nosuch', '..', '/\x00', '\n':
                code, errors = self.assertFails(name, *given, '--site', path)
                self.assertEqual(2, code, errors)
            code, errors = self.assertFails(name, *given, '--user', 'x')
            self.assertEqual(2, code, errors)
            self.assertIn('--zcml', errors)

    def test_a_user_without_authentication(self):
        self.assertRefused(2, 'authentication', 'status', '--user', 'x',
                           '--zcml', self.light())

    def test_zcml_that_does_not_load(self):
        for name, parser in self.parsers.items():
            given = [*makeArguments(parser), '--db', self.path]
            # All commands load it in the same way.
            for file, (text, part) in list(ZCML.items())[
                    0 if name == 'status' else -1:]:
                code, errors = self.assertFails(
                    name, *given, '--zcml', self.write(file, text))
                self.assertEqual(2, code, errors)
                self.assertIn(part, errors)
            for path in '', '.', '/nosuch.zcml', '\x00':
                code, errors = self.assertFails(
                    name, *given, '--zcml', path)
                self.assertEqual(2, code, errors)

    def test_runs_that_do_not_exist(self):
        for command in 'show', 'log':
            for run_id in ('0-999', 'x', '', '..', '0-0', '1-1-1', '0-١',
                           '9' * 400, '\x1b[31m', 'a\nb'):
                self.assertRefused(1, 'expected the id of a run', command,
                                   run_id)

    def test_filters_that_are_not_valid(self):
        for arguments in (
                ('nosuch:1',), ('state:nosuch',), ('x' * 300,),
                ('id:' + self.runs['done'], 'word'), ('--since', 'yesterday'),
                ('--until', '2026-13-01'), ('--context', 'nosuch'),
                ('--context', '..'), ('--before', 'x'),
                ('--before', 'c1-1-1', '--order', 'slowest'),
                *(('state:failed',) * 60,)):
            with self.subTest(arguments):
                self.assertRefused(2, 'expected a filter', 'list', *arguments)
        self.assertRefused(2, '--before: ', 'journal', '--before', 'x')
        self.assertRefused(2, '--zcml: .* schedules', 'schedules')

    def test_a_principal_who_does_not_exist(self):
        self.assertRefused(2, 'the id of a principal', 'status', '--zcml',
                           self.full(), '--user', 'test.nosuch')

    def test_an_error_that_nobody_expected(self):
        with mock.patch.object(database, 'chooseRegistry',
                               side_effect=ZeroDivisionError('a\nb')):
            self.assertRefused(1, 'got ZeroDivisionError: a b; --traceback',
                               'status')
            code, _, errors = self.call('status', '--traceback')
            self.assertEqual(1, code)
            self.assertIn('Traceback', errors)

    def test_a_server_that_goes_away(self):
        for name in 'getCounts', 'listProblems':
            with mock.patch.object(WorkerRegistry, name,
                                   side_effect=StorageError('gone')):
                self.assertRefused(2, 'StorageError: gone', 'status')

    def test_an_interrupt(self):
        with mock.patch.object(database, 'findPlace',
                               side_effect=KeyboardInterrupt):
            self.assertEqual((130, '', ''), self.call('status'))

    def test_a_database_that_never_answers(self):
        event = threading.Event()
        self.addCleanup(event.set)
        place = Place('zeo://u:p@x', lambda: event.wait(LIMIT), {})
        with mock.patch.object(database, 'OPEN_LIMIT', 0.01):
            with self.assertRaisesRegex(Unusable, 'an answer from zeo://.*; '):
                openDatabase(place)


class HidingTests(unittest.TestCase):

    def test_passwords_are_not_shown(self):
        for uri in ('postgres://u:geheim@h/x', 'zeo://h?password=geheim',
                    'zeo://h?username=u&password=geheim&storage=1',
                    'mysql://u:ge:heim@h/x', 'mysql://u:ge/heim@h/x',
                    'mysql://u:ge@heim@h/x', 'mysql://u:ge?heim@h/x',
                    'mysql://u:ge\nheim@h/x',
                    "postgres://h/x?dsn=user='u' password=geheim"):
            self.assertNotIn('heim', hidePassword(uri))
        self.assertEqual("''", hidePassword(''))
