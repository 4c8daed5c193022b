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
"""Odd and wrong arguments of all commands that act, made from the parser."""
import itertools

from cipher.background.cli import acting
from cipher.background.cli import worker
from cipher.background.cli.command import Commands
from cipher.background.cli.command import Parser
from cipher.background.tests.cli.test_acting import CASES
from cipher.background.tests.support.commandsite import CommandSiteTests
from cipher.background.tests.support.commandsite import runCommand
from cipher.background.tests.support.layers import Long


ODD = ('', ' ', '-', '--', '=', ',', '0', '-1', '1.5', 'nan', '9' * 400,
       '1-1', '0-0', '9' * 30 + '-1', '../..', '//', '/' * 300, '%s%n',
       '{0}', '\n', 'a\nb', 'ä' * 300, '\udcff', '\x1b[31m', 'x' * 5000,
       'number=1=2', 'number=[', 'number=1e999', 'number={}', 'x=',
       'context=/',
       'name=x', 'self=1', 'names=' + '[' * 5000)


def takeTurns():
    """Yield a few of the odd values, in turn: all for all takes too long."""
    return itertools.cycle([ODD[begin::5] for begin in range(5)])


def parsersOf(*groups):
    """Return {name of a command: its parser}."""
    parser = Parser()
    commands = Commands(parser)
    for group in groups:
        group.addCommands(commands)
    return commands._subparsers.choices


class OddArgumentTests(CommandSiteTests):

    layer = Long

    def setUp(self):
        super().setUp()
        self.before = self.path.read_bytes()

    def assertClear(self, done, *arguments):
        """The command says what is wrong, or does as it was told."""
        self.assertIn(done.code, (0, 1, 2), done)
        self.assertNotIn('Traceback', done.errors)
        self.assertNotIn('expected no error', done.errors)
        self.assertEqual(done.code == 0, not done.errors, done)
        for line in done.errors.splitlines():
            self.assertRegex(line, '^cipher-background[^:]*: .+; ')

    def test_commands_that_act(self):
        # Loading the ZCML takes time.
        without = '--db', self.path
        parsers = parsersOf(acting)
        some = takeTurns()
        self.assertEqual({case[0] for case in CASES}, set(parsers))
        for name, *given in CASES:
            actions = [one for one in parsers[name]._actions
                       if one.dest not in ('help', 'db', 'zcml', 'json')
                       and one.nargs != 0]
            for action in actions:
                for odd in next(some):
                    with self.subTest(name, at=action.dest, odd=odd[:20]):
                        arguments = [odd] if not action.option_strings else [
                            *given, '%s=%s' % (
                                action.option_strings[0], odd)]
                        if name == 'start' and action.dest == 'input':
                            arguments = [*given, odd]
                        self.assertClear(runCommand(name, *arguments, *(
                            self.options if name == 'start' else without)))

    def test_databases_and_zcml_of_the_worker(self):
        for odd in ODD:
            for option, other, good in (
                    ('--db', '--zcml', self.zcml_path),
                    ('--zcml', '--db', self.path)):
                with self.subTest(option=option, odd=odd[:20]):
                    done = runCommand('worker', other, good,
                                      '%s=%s' % (option, odd))
                    self.assertEqual(2, done.code, done)
                    self.assertClear(done)
        self.assertEqual(self.before, self.path.read_bytes())

    def test_options_of_the_worker(self):
        parser = parsersOf(worker)['worker']
        options = [one.option_strings[0] for one in parser._actions
                   if one.nargs != 0]
        self.assertIn('--types', options)
        for option in options:
            for odd in ODD:
                if option not in ('--db', '--zcml', '--metrics-host') and (
                        option, odd) != ('--metrics-port', '0'):
                    with self.subTest(option=option, odd=odd[:20]):
                        done = self.run_command(
                            'worker', '%s=%s' % (option, odd))
                        self.assertEqual(2, done.code, done)
                        self.assertClear(done)
        self.assertEqual(self.before, self.path.read_bytes())

    def test_zcml_with_an_error_names_the_file_and_the_line(self):
        for directive, expected in (
                ('<background:worker name="x" handler=".nosuch" />', 'x'),
                ('<background:nosuch />', 'nosuch'),
                ('<include package="nosuch_package" />', 'nosuch_package'),
                ('<unclosed>', 'unclosed|mismatched')):
            path = self.folder / 'bad.zcml'
            path.write_text('''
<configure xmlns="http://namespaces.zope.org/zope"
           xmlns:background="http://namespaces.zope.org/background">
  <include package="zope.component" file="meta.zcml" />
  <include package="cipher.background" file="meta.zcml" />
  %s
</configure>''' % directive)
            with self.subTest(directive):
                done = runCommand('worker', '--db', self.path, '--zcml', path)
                self.assertEqual(2, done.code, done)
                self.assertClear(done)
                self.assertRegex(done.errors, expected)
                self.assertRegex(done.errors, r'bad\.zcml"?(, line |:)[67]')
