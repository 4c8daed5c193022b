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
"""The command ``cipher-background``.

An error is one line on stderr.  The exit code is 2 if the arguments are wrong,
1 if the command fails.
"""
import argparse
import re
import sys


PROGRAM = 'cipher-background'


class Parser(argparse.ArgumentParser):
    """A parser whose errors have the form of the other errors."""

    def error(self, message):
        self.exit(2, '%s: %s; see "%s --help"\n' % (
            self.prog, message, self.prog))


def main(argv=None):
    """Carry out the command of *argv*; return the exit code.

    None: take the arguments of the process.
    """
    parser = make_parser()
    options = parser.parse_args(argv)
    try:
        return options.command(options)
    except KeyboardInterrupt:
        return 130


def make_parser():
    """Return the parser for all commands."""
    parser = Parser(
        prog=PROGRAM, description='Background work for the ZODB.',
        allow_abbrev=False)
    commands = parser.add_subparsers(
        title='commands', metavar='command', required=True,
        parser_class=Parser)
    demo = commands.add_parser(
        'demo', allow_abbrev=False,
        help='serve a small document management system that works in the '
             'background',
        description='Serve a small document management system that works in '
                    'the background.  Its users and passwords are printed '
                    'when it starts.')
    demo.add_argument(
        '--host', default='127.0.0.1',
        help='name or address to listen at (default: %(default)s, so this '
             'machine only)')
    demo.add_argument(
        '--allow-host', metavar='NAME', action='append', default=[],
        help='host name by which browsers reach the demo, besides its '
             'addresses and localhost; may be given several times')
    demo.add_argument(
        '--port', type=integer(0, 65535, 'a port'), default=8080,
        help='port to listen at; 0 takes a free one (default: %(default)s)')
    demo.add_argument(
        '--db', metavar='URI',
        help='zodburi of the database, for example file:///tmp/demo.fs, '
             'memory:// or zeo://localhost:8100 (default: a file in the '
             'folder var/ of the home)')
    demo.add_argument(
        '--home', metavar='FOLDER', default='.',
        help='folder that holds var/, where the database is by default '
             '(default: the current one)')
    demo.add_argument(
        '--fresh', action='store_true',
        help='empty the database first; only for a file')
    demo.add_argument(
        '--threads', type=integer(1, 100, 'a number of threads'), default=4,
        help='how many jobs to work on at once (default: %(default)s)')
    demo.add_argument(
        '--import-base', metavar='FOLDER',
        help='folder that texts may be imported from (default: the checkout '
             'of this project, or the samples in the package)')
    demo.set_defaults(command=run_demo)
    return parser


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


def run_demo(options):
    """Serve the demo until a signal ends it; return the exit code."""
    try:
        # Only this command needs the extra, so it is imported here.
        from cipher.background.demo import server
    except ImportError as error:
        return complain(
            'demo', 'expected the extra [demo] to be installed, got '
            '"%s"; run: pip install "cipher.background[demo]"' % error)
    try:
        server.serve(options)
    except server.DemoError as error:
        return complain('demo', str(error))
    return 0


def complain(command, message):
    """Print *message* as one line on stderr; return the exit code 1."""
    line = ' '.join(message.split())
    print('%s %s: %s' % (PROGRAM, command, line), file=sys.stderr, flush=True)
    return 1


if __name__ == '__main__':
    sys.exit(main())
