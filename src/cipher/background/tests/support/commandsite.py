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
"""A site in a file, and the commands of ``cipher-background`` on it.

The worker types of its ZCML are the functions below.  A worker that waits
looks for files in the folder of the variable ``COMMANDS_FOLDER``.
"""
import io
import os
import tempfile
import time
import unittest
from contextlib import contextmanager
from contextlib import redirect_stderr
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import hooks
from zope.interface import Interface
from zope.schema import Bool
from zope.schema import Choice
from zope.schema import Date
from zope.schema import Dict
from zope.schema import Float
from zope.schema import Int
from zope.schema import List
from zope.schema import TextLine
from zope.testing import cleanup

from cipher.background.cli.main import main
from cipher.background.tests.support.live import Counter
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import Folder
from cipher.background.tests.support.sites import makeSite
from cipher.background.thread import BackgroundWorkerThread


FOLDER = 'COMMANDS_FOLDER'

_ZCML = '''
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:background="http://namespaces.zope.org/background"
    i18n_domain="test">
  <include package="zope.component" file="meta.zcml" />
  <include package="zope.security" file="meta.zcml" />
  <include package="zope.principalregistry" file="meta.zcml" />
  <include package="zope.securitypolicy" file="meta.zcml" />
  <include package="cipher.background" file="meta.zcml" />
  <include package="zope.annotation" />
  <include package="zope.location" />
  <include package="zope.traversing" />
  <include package="zope.container" />
  <include package="zope.password" />
  <include package="zope.principalregistry" />
  <include package="zope.securitypolicy" />
  <include package="cipher.background" file="security.zcml" />
  <securityPolicy
      component="zope.securitypolicy.zopepolicy.ZopeSecurityPolicy" />
  <class class="zope.site.folder.Folder">
    <allow interface="zope.container.interfaces.IReadContainer" />
  </class>
  <class class="cipher.background.tests.support.sites.Folder">
    <allow interface="zope.container.interfaces.IReadContainer" />
  </class>
  <permission id="test.Start" title="Start all" />
  <principal id="test.admin" title="Admin" login="admin" password="secret" />
  <principal id="test.anna" title="Anna" login="anna" password="secret" />
  <principal id="test.nobody" title="Nobody" login="none" password="secret" />
  <grantAll principal="test.admin" />
  <grant permission="cipher.background.ViewWorkers" principal="test.anna" />
  <grant permission="cipher.background.StartWorkers" principal="test.anna" />
  %(workers)s
  %(more)s
</configure>
'''
_WORKER = '''
  <background:worker name="%(name)s" %(kind)s=
      "cipher.background.tests.support.commandsite.%(name)s"
      permission="%(permission)s" %(more)s />
'''
SYSTEM = 'run_as="system"'


def add(worker):
    """Add one to the counter of the site."""
    hooks.getSite()['counter'].value += 1


def fail(worker):
    """Raise an error."""
    raise ValueError('no good')


def begin(worker):
    """Start two other runs."""
    registry = hooks.getSite().getSiteManager()['background']
    registry.start('add')
    registry.start('add')


def wait(worker):
    """Wait for the file ``go-on``; write its pid into a file before.

    It may be asked to stop.
    """
    hooks.getSite()['counter'].value += 1
    folder = Path(os.environ[FOLDER])
    worker.setProgress(1, 2, 'half')
    folder.joinpath('inside').write_text('%d' % os.getpid())
    deadline = time.monotonic() + LIMIT
    while not folder.joinpath('go-on').exists():
        worker.checkStop()
        if time.monotonic() > deadline:
            raise AssertionError('nobody let it go on')
        worker.wait(0.02)


def stubborn(worker):
    """Write its pid into a file and never end."""
    Path(os.environ[FOLDER], 'inside').write_text('%d' % os.getpid())
    time.sleep(10 * LIMIT)


class service(BackgroundWorkerThread):
    """A loop with nothing to do."""

    def scheduleNextWork(self):
        self.wait(LIMIT)


class IInput(Interface):
    """Fields of all kinds that a command reads."""

    number = Int(title='Number', default=3)
    factor = Float(title='Factor', default=1.5)
    flag = Bool(title='Flag', default=False)
    day = Date(title='Day', required=False)
    names = List(title='Names', value_type=TextLine(), required=False)
    numbers = List(title='Numbers', value_type=Int(), required=False)
    sizes = Dict(title='Sizes', key_type=TextLine(), value_type=Int(),
                 required=False)
    kind = Choice(title='Kind', values=['some', 'all'], default='all')
    text = TextLine(title='Text', default='none')


def compute(worker, **input):
    """Return its input as a text."""
    return repr(sorted(input.items()))


def writeZCML(folder, more=''):
    """Write the ZCML of the site into *folder*; return its path."""
    workers = ''.join(_WORKER % {
        'name': name, 'kind': kind, 'more': options,
        'permission': 'test.Start' if SYSTEM in options
        else 'cipher.background.StartWorkers'} for name, kind, options in (
            ('add', 'handler', ''),
            ('fail', 'handler', SYSTEM),
            ('begin', 'handler', SYSTEM),
            # Claimed by a commit, so its rescue is recorded.
            ('wait', 'handler', SYSTEM + ' max_running="9"'),
            ('stubborn', 'handler', SYSTEM),
            ('service', 'class', SYSTEM + ' autostart="yes"'),
            ('compute', 'handler', SYSTEM + ' schema="cipher.background.tests'
                                            '.support.commandsite.IInput"')))
    path = Path(folder, 'site.zcml')
    path.write_text(_ZCML % {'workers': workers, 'more': more})
    return str(path)


class Done(NamedTuple):
    """The end of a command."""

    code: int
    output: str
    errors: str


def runCommand(*arguments):
    """Carry out a command in this process, as in a new one."""
    output, errors = io.StringIO(), io.StringIO()
    cleanup.setUp()
    try:
        with redirect_stdout(output), redirect_stderr(errors):
            try:
                code = main([str(argument) for argument in arguments])
            except SystemExit as end:   # raised by argparse
                code = end.code
    finally:
        cleanup.tearDown()
        hooks.setSite()
    return Done(code, output.getvalue(), errors.getvalue())


class CommandSiteTests(unittest.TestCase):
    """A site with a registry and a counter in a FileStorage."""

    #: ZCML besides that of the worker types.
    zcml = '<background:runtime threads="2" poll="0.05" drain="2" />'

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.zcml_path = writeZCML(self.folder, self.zcml)
        self.path = self.folder / 'data.fs'
        self.options = '--db', self.path, '--zcml', self.zcml_path
        self.makeSite()

    def makeSite(self):
        db = DB(FileStorage(str(self.path)))
        connection, site, _registry = makeSite(db)
        site['counter'] = Counter()
        site['news'] = Folder()
        site['news']['today'] = Folder()
        transaction.commit()
        connection.close()
        db.close()

    def openDatabase(self):
        return DB(FileStorage(str(self.path)))

    @contextmanager
    def opened(self):
        """Open the database: yield the registry; commit at the end."""
        db = self.openDatabase()
        try:
            transaction.begin()
            connection = db.open()
            try:
                site = connection.root()['Application']
                yield site.getSiteManager()['background']
                transaction.commit()
            finally:
                transaction.abort()
                connection.close()
        finally:
            db.close()

    def run_command(self, name, *arguments):
        """Carry out a command on the database."""
        return runCommand(name, *self.options, *arguments)

    def succeed(self, name, *arguments):
        """Carry out a command that succeeds; return what it prints."""
        done = self.run_command(name, *arguments)
        self.assertEqual((0, ''), (done.code, done.errors), done)
        return done.output

    def refuse(self, code, expected, name, *arguments):
        """Carry out a command that ends with one line of an error."""
        done = self.run_command(name, *arguments)
        self.assertEqual(code, done.code, done)
        self.assertRegex(done.errors, expected)
        self.assertOneLine(done)
        return done

    def assertOneLine(self, done):
        """The command ends with one line on stderr that says what to do."""
        self.assertEqual(1, len(done.errors.splitlines()), done.errors)
        self.assertTrue(done.errors.startswith('cipher-background'),
                        done.errors)
        self.assertRegex(done.errors, r'; \S')
        self.assertNotIn('expected no error', done.errors)

    def start(self, *arguments):
        """Start a run by a command; return its id."""
        return self.succeed('start', *arguments).strip()

    def status(self, run_id):
        """Return the status of a run."""
        with self.opened() as registry:
            return registry.getStatus(run_id)

    def counts(self):
        """Return {type: {state: number}}."""
        with self.opened() as registry:
            return registry.getCounts()

    def value(self):
        """Return the value of the counter."""
        with self.opened() as registry:
            return registry.getSite()['counter'].value
