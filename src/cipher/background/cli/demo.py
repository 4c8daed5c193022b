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
"""The command ``demo``."""
from cipher.background.cli.command import CommandError
from cipher.background.cli.command import integer


def addCommands(commands):
    """Add the command ``demo``."""
    demo = commands.add(
        'demo', run,
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


def run(options):
    """Serve the demo until a signal ends it."""
    try:
        # Only this command needs the extra, so it is imported here.
        from cipher.background.demo import server
    except ImportError as error:
        raise CommandError(
            'expected the extra [demo] to be installed, got "%s"; run: pip '
            'install "cipher.background[demo]"' % error) from None
    try:
        server.serve(options)
    except server.DemoError as error:
        raise CommandError(str(error)) from None
