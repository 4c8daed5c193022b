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
"""What all commands share: the parser, options, errors and exit codes.

The exit codes:

====  =======================================================================
0     done; of ``health``: well
1     the command failed: there is no such run, a permission is missing, …;
      of ``health``: a problem is listed
2     the command could not begin: the arguments or the ZCML are wrong, there
      is no such database, or no registry in it; of ``health``: also no living
      process
130   interrupted by Ctrl-C
====  =======================================================================
"""
import argparse
import re
import sys

from cipher.background.util.text import cleanLine


PROGRAM = 'cipher-background'

OK = 0
FAILED = 1
UNUSABLE = 2
INTERRUPTED = 130


class CommandError(Exception):
    """The command failed; the text says why and what to do."""

    code = FAILED


class Unusable(CommandError):
    """The command cannot begin; the text says why and what to do."""

    code = UNUSABLE


class _Formatter(argparse.HelpFormatter):
    """Leaves room for the names of commands and options."""

    def __init__(self, prog, **options):
        super().__init__(prog, **{'max_help_position': 28, **options})

    def add_argument(self, action):
        """Measure *action*; argparse forgets that commands are indented."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += 2


class Parser(argparse.ArgumentParser):
    """A parser whose errors have the form of the other errors."""

    def __init__(self, *arguments, **options):
        options.setdefault('allow_abbrev', False)
        options.setdefault('formatter_class', _Formatter)
        super().__init__(*arguments, **options)

    def parse_known_args(self, args=None, namespace=None):
        """Let options stand between the arguments of a command."""
        for arg in args or ():
            # Some releases of argparse would give the option an empty list.
            if re.fullmatch('--[a-z-]+=--', arg):
                self.error('argument %s: expected a value, got --'
                           % arg.partition('=')[0])
        if self._subparsers is not None or self._is_parsing:
            return super().parse_known_args(args, namespace)
        self._is_parsing = True   # the call below comes back here
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_parsing = False

    _is_parsing = False

    def error(self, message):
        self.exit(UNUSABLE, '%s: %s; see "%s --help"\n' % (
            self.prog, ' '.join(message.split()), self.prog))


class Commands:
    """The commands of the command line; *parser* is the parser for all."""

    def __init__(self, parser):
        self._subparsers = parser.add_subparsers(
            title='commands', metavar='command', required=True,
            parser_class=Parser)

    def add(self, name, run, help, description=None, reads=False,
            writes=False):
        """Add the command *name*; return its parser, to add arguments.

        *run* is a function of the options that returns the exit code, or
        None for 0.  *help* is a line for the list of commands.  *reads* and
        *writes* add the options of a command that looks at a database, or
        changes it.
        """
        text = description or '%s.' % (help[0].upper() + help[1:])
        parser = self._subparsers.add_parser(
            name, help=help, description=text)
        parser.set_defaults(run=run, name=name)
        if reads or writes:
            addDatabaseOptions(parser)
        return parser


def addDatabaseOptions(parser):
    """Add the options of all commands that use a database."""
    group = parser.add_argument_group('database')
    group.add_argument(
        '--db', metavar='URI', required=True,
        help='the database: a path, file://PATH, zeo://HOST:PORT, '
             'zconfig://PATH, postgresql://…, memory://, or any other URI '
             'that zodburi knows')
    group.add_argument(
        '--zcml', metavar='FILE',
        help='the ZCML of the site, which declares worker types, schedules '
             'and principals')
    group.add_argument(
        '--site', metavar='PATH',
        help='path of the site with the registry, as in /intranet (default: '
             'the only registry)')
    group.add_argument(
        '--user', metavar='ID',
        help='act as this principal, with their permissions (default: '
             'everything is permitted)')
    group.add_argument(
        '--json', action='store_true', help='print JSON, for scripts')
    group.add_argument(
        '--traceback', action='store_true',
        help='print the traceback of an error as well')


def complain(name, message, code=FAILED):
    """Print *message* of the command *name* as one line on stderr.

    Return the exit *code*.
    """
    line = cleanLine(' '.join(message.split()), 2000)
    print('%s %s: %s' % (PROGRAM, name, line), file=sys.stderr, flush=True)
    return code


def integer(least, most, what):
    """Return a function that converts an argument to an int.

    The function raises ``argparse.ArgumentTypeError`` unless the number is
    from *least* to *most*.  *what* is its name in the message.
    """
    def convert(text):
        # Only digits: int() also accepts blanks, underscores and signs.
        if (re.fullmatch('[0-9]{1,9}', text)
                and least <= int(text) <= most):
            return int(text)
        raise argparse.ArgumentTypeError(
            'expected %s from %d to %d, got %.40r'
            % (what, least, most, text))
    return convert
