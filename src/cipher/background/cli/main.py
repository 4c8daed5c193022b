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

Whatever is wrong with what a person gave is told in one line on stderr: exit
code 2 for the arguments themselves, 1 for what they lead to.
"""
import argparse
import re
import sys


PROGRAM = 'cipher-background'


class Parser(argparse.ArgumentParser):
    """Tells what is wrong in the words of the other errors."""

    def error(self, message):
        self.exit(2, '%s: %s; see "%s --help"\n' % (
            self.prog, message, self.prog))


def main(argv=None):
    """Do what the command line says; return the exit code."""
    parser = make_parser()
    options = parser.parse_args(argv)
    try:
        return options.command(options)
    except KeyboardInterrupt:
        return 130


def make_parser():
    """Return the parser of all commands."""
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
        help='name of a host that the demo is reached by, beside its '
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
    """Return a function that makes an int of an argument, or complains."""
    def convert(text):
        # Not what int() takes beyond digits: blanks, underscores, signs.
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
        # The only command that needs the extra.
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
    """Write one line about what went wrong; return the exit code."""
    line = ' '.join(message.split())
    print('%s %s: %s' % (PROGRAM, command, line), file=sys.stderr, flush=True)
    return 1


if __name__ == '__main__':
    sys.exit(main())
