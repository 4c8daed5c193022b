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
"""Make the transcript in the page of the command line (cli.rst).

Run ``bin/python -m cipher.background.tests.support.transcript`` to write it.
Clock, names and database are the same each time, so a test can compare.
"""
import io
import os
import re
import shlex
import tempfile
import time
from contextlib import contextmanager
from contextlib import redirect_stdout
from pathlib import Path
from unittest import mock

import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import hooks
from zope.component import testing

from cipher.background.cli.main import main
from cipher.background.events import RunFailedEvent
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.store.run import RunDetails
from cipher.background.store.states import ScheduleState
from cipher.background.testing import SetClock
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.commandline import LIGHT
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import makeSite
from cipher.background.util.principal import actingAs


COMMANDS = (
    'status --db data.fs --zcml site.zcml',
    'list state:failed --db data.fs --zcml site.zcml',
    'show 1-2 --db data.fs --zcml site.zcml',
    'log 1-2 --db data.fs',
    'types --db data.fs --zcml site.zcml',
    'schedules --db data.fs --zcml site.zcml',
    'journal --db data.fs',
    'health --db data.fs --zcml site.zcml',
    'show 0-99 --db data.fs',
    'status --db nosuch.fs',
)

#: 2026-03-02, 09:00 UTC.
NOW = 1772442000.0

DECLARATIONS = LIGHT % '''
  <background:worker name="invoice" title="Send invoices"
      handler="cipher.background.tests.support.commandline.work" />
  <background:worker name="report" title="Monthly report"
      handler="cipher.background.tests.support.commandline.work" />
  <background:schedule name="monthly" worker="report" cron="0 3 1 * *" />
'''

#: Columns of the terminal.
WIDTH = 84
_COLOUR = re.compile('\x1b\\[[0-9;]*m')

BEGIN = '.. transcript begins\n'
END = '.. transcript ends\n'


@contextmanager
def world():
    """Work in a folder with the database and the ZCML, at a fixed time."""
    before = Path.cwd()
    zone = os.environ.get('TZ')
    with tempfile.TemporaryDirectory() as folder, (
            SetClock(NOW)) as clock, mock.patch('time.time', lambda: NOW):
        os.chdir(folder)
        os.environ['TZ'] = 'UTC'
        time.tzset()
        testing.setUp()
        try:
            Path('site.zcml').write_text(DECLARATIONS, encoding='utf-8')
            _fill(clock)
            yield
        finally:
            testing.tearDown()
            os.chdir(before)
            os.environ.pop('TZ')
            if zone is not None:
                os.environ['TZ'] = zone
            time.tzset()


def _fill(clock):
    """Make data.fs with runs, a process and an act of an administrator."""
    for name in 'invoice', 'report':
        declareWorker(name, print)
    clock.now = NOW - 3660
    db = DB(FileStorage('data.fs'))
    connection, _site, registry = makeSite(db)
    _add_process(connection)
    done = registry.start('report')
    failed = registry.start('invoice')
    transaction.commit()
    clock.now = NOW - 3600
    registry.finish(done, SUCCEEDED, RunSucceededEvent, result='12 pages',
                    started_at=clock.now - 45.5)
    registry.finish(
        failed, FAILED, RunFailedEvent, started_at=clock.now - 4.2,
        owner='web1:4711:0', attempts=1,
        error=('ConnectionError', 'mail.example.org does not answer'),
        details=RunDetails(
            'Traceback (most recent call last):\n  …\n'
            'ConnectionError: mail.example.org does not answer\n',
            '2026-03-02 07:59:56,000 INFO invoice 17 invoices to send\n'))
    state = registry.schedules['monthly'] = ScheduleState()
    state.next_at = 1775012400.0   # 2026-04-01, 03:00 UTC
    with actingAs('command line, OS user anna'):
        registry.pauseType('invoice', reason='The mail server is down')
    registry.start('invoice')
    transaction.commit()
    clock.now = NOW
    connection.close()
    db.close()


def _add_process(connection):
    record = ProcessRecord('web1:4711:0', 'web1', 4711, None, None, 4, 90.0,
                           NOW - 86400)
    record.declared.types = 'invoice', 'report'
    record.heartbeat.beat_at = NOW - 2
    directory = getDirectory(connection)
    directory.processes[record.id] = record


class Terminal(io.StringIO):
    """A terminal of `WIDTH` columns."""

    encoding = 'utf-8'

    def isatty(self):
        """Return True."""
        return True


def carryOut(command):
    """Return what *command*, without the name of the program, prints."""
    output = Terminal()
    hooks.setSite()
    testing.setUp()
    with redirect_stdout(output), mock.patch('sys.stderr', output), (
            mock.patch.dict(os.environ, {'COLUMNS': str(WIDTH)})):
        code = main(shlex.split(command))
    testing.tearDown()
    if code:
        output.write('(exit code %d)\n' % code)
    return _COLOUR.sub('', output.getvalue())


def makeTranscript():
    """Return the transcript as a literal block."""
    with world():
        lines = ['::', '']
        for command in COMMANDS:
            lines.append('    $ cipher-background ' + command)
            lines += [('    ' + line).rstrip()
                      for line in carryOut(command).splitlines()]
            lines.append('')
        return '\n'.join(lines)


def insert(text, transcript):
    """Return the *text* of the page with that transcript."""
    head, rest = text.split(BEGIN)
    return '%s%s\n%s\n%s%s' % (
        head, BEGIN, transcript, END, rest.split(END)[1])


def write(path):
    """Write the transcript into the page at *path*."""
    text = path.read_text(encoding='utf-8')
    path.write_text(insert(text, makeTranscript()), encoding='utf-8')


if __name__ == '__main__':
    write(requirePage('cli.rst'))
