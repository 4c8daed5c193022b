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

An error is one line on stderr.  `command` documents the exit codes.
"""
import os
import sys
import traceback
from importlib.metadata import version

from ZODB.POSException import StorageError
from zope.security.interfaces import Unauthorized

from cipher.background.cli import acting
from cipher.background.cli import demo
from cipher.background.cli import reading
from cipher.background.cli import worker
from cipher.background.cli.command import FAILED
from cipher.background.cli.command import INTERRUPTED
from cipher.background.cli.command import OK
from cipher.background.cli.command import PROGRAM
from cipher.background.cli.command import UNUSABLE
from cipher.background.cli.command import CommandError
from cipher.background.cli.command import Commands
from cipher.background.cli.command import Parser
from cipher.background.cli.command import complain
from cipher.background.interfaces import BackgroundError
from cipher.background.interfaces import InvalidDatabase


#: The modules of command groups, in the order of the help.
GROUPS = (worker, reading, acting, demo)


def main(argv=None):
    """Carry out the command of *argv*; return the exit code.

    None: take the arguments of the process.
    """
    options = makeParser().parse_args(argv)
    try:
        code = options.run(options)
        sys.stdout.flush()
        return code or OK
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone, like the head of a pipe.  Python would fail
        # once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        if getattr(options, 'traceback', False):
            traceback.print_exc(file=sys.stderr)
        return complain(options.name, *_describe(error))


def makeParser():
    """Return the parser for all commands."""
    parser = Parser(
        prog=PROGRAM,
        description='Background work for the ZODB.',
        epilog='"%s COMMAND --help" shows the options of a command.  Exit '
               'codes: 0 done, 1 failed, 2 could not begin.' % PROGRAM)
    parser.add_argument(
        '--version', action='version',
        version='%s %s' % (PROGRAM, version('cipher.background')))
    commands = Commands(parser)
    for group in GROUPS:
        group.addCommands(commands)
    return parser


def _describe(error):
    """Return (text, exit code) of *error*."""
    if isinstance(error, CommandError):
        return str(error), error.code
    if isinstance(error, InvalidDatabase):
        return str(error), UNUSABLE
    if isinstance(error, StorageError):
        return ('--db: expected a database that answers, got %s: %s; check '
                'its server' % (type(error).__name__, error)), UNUSABLE
    if isinstance(error, BackgroundError):
        return str(error), FAILED
    if isinstance(error, Unauthorized):
        return ('--user: expected a principal with the permission %s, got one '
                'without it; give another, or leave it out'
                % (error.args[-1:] or ('for that',))), FAILED
    return ('expected no error, got %s: %s; --traceback shows where' % (
        type(error).__name__, error)), FAILED


if __name__ == '__main__':
    sys.exit(main())
