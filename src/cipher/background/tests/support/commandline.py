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
"""A scratch database for tests of the command line, and calls in process.

It needs only the core.
"""
import contextlib
import io
import json
import shutil
import tempfile
from pathlib import Path

import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import hooks
from zope.component import testing
from zope.interface import Interface
from zope.schema import Password
from zope.schema import TextLine
from zope.security.management import queryInteraction
from zope.security.management import setSecurityPolicy
from zope.security.simplepolicies import ParanoidSecurityPolicy

from cipher.background.cli.main import main
from cipher.background.events import RunFailedEvent
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.registry.installation import addRegistry
from cipher.background.store.run import RunDetails
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import ComponentTests
from cipher.background.tests.support.sites import Document
from cipher.background.tests.support.sites import makeSite
from cipher.background.util import clock


#: In the input of a run, in a password field.
SECRET = 'hunter2-geheim'

#: Worker types and a schedule; needs only the core.
LIGHT = '''
<configure xmlns="http://namespaces.zope.org/zope"
           xmlns:background="http://namespaces.zope.org/background"
           i18n_domain="test">
  <include package="zope.component" file="meta.zcml" />
  <include package="zope.security" file="meta.zcml" />
  <include package="cipher.background" file="meta.zcml" />
  <include package="cipher.background" />
  %s
</configure>
'''
DECLARATIONS = '''
  <background:worker
      name="report" title="Make a report"
      handler="cipher.background.tests.support.commandline.work"
      schema="cipher.background.tests.support.commandline.IReport" />
  <background:worker
      name="hidden" title="Hidden work"
      handler="cipher.background.tests.support.commandline.work"
      view_permission="cipher.background.ManageWorkers" />
  <background:schedule name="nightly" worker="hidden" cron="0 3 * * *" />
'''
#: The same, with principals and a security policy; needs the extra [host].
FULL = '''
<configure xmlns="http://namespaces.zope.org/zope"
           xmlns:background="http://namespaces.zope.org/background"
           i18n_domain="test">
  <include package="cipher.background" file="host.zcml" />
  %s
  <principal id="test.admin" title="Admin" login="admin" password="x" />
  <principal id="test.viewer" title="Viewer" login="viewer" password="x" />
  <principal id="test.nobody" title="Nobody" login="nobody" password="x" />
  <grantAll principal="test.admin" />
  <class class="cipher.background.tests.support.sites.Document">
    <require permission="cipher.background.ManageWorkers"
             attributes="__name__ title" />
  </class>
  <grant permission="cipher.background.ViewWorkers" principal="test.viewer" />
</configure>
'''


class IReport(Interface):
    """The input of a report."""

    title = TextLine(title='Title')
    password = Password(title='Password')


def work(worker, **input):
    """The handler of the worker types; no test begins it."""


class CommandTests(ComponentTests):
    """Tests of commands on a file with a site and some runs.

    `runs` is {name: id}: ``done``, ``failed``, ``waiting``, ``hidden``.
    """

    def setUp(self):
        super().setUp()
        # ZCML may set another one.
        self.addCleanup(
            setSecurityPolicy, setSecurityPolicy(ParanoidSecurityPolicy))
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = str(self.folder / 'data.fs')
        self.fill()
        self.clear()

    def clear(self):
        """Forget all declarations, like a new process."""
        testing.tearDown()
        testing.setUp()
        hooks.setHooks()

    def fill(self):
        """Make the database, with a site, a registry and runs."""
        declareWorker('report', work, title='Make a report', schema=IReport)
        declareWorker('hidden', work, title='Hidden work')
        db = DB(FileStorage(self.path))
        connection, site, registry = makeSite(db)
        site['minutes'] = Document('Minutes')
        transaction.commit()
        input = {'title': 'March', 'password': SECRET}
        done = registry.start('report', site['minutes'], **input)
        failed = registry.start('report', **input)
        hidden = registry.start('hidden')
        waiting = registry.start('report', **input)
        now = clock.now()
        registry.finish(
            done, SUCCEEDED, RunSucceededEvent, started_at=now - 2,
            result='42 pages')
        registry.finish(
            failed, FAILED, RunFailedEvent, started_at=now - 2,
            error=('ValueError', 'no data'),
            details=RunDetails('Traceback of March', 'Line 1\nLine 2\n',
                               ('password',)))
        registry.finish(hidden, FAILED, RunFailedEvent, started_at=now - 2,
                        error=('KeyError', 'hidden error'))
        registry.requestStop(waiting.id, 'not now')
        waiting = registry.start('report', **input)
        self.runs = {'done': done.id, 'failed': failed.id,
                     'hidden': hidden.id, 'waiting': waiting.id}
        transaction.commit()
        connection.close()
        db.close()

    def addSite(self, name):
        """Add a second site with a registry below the first."""
        db = DB(FileStorage(self.path))
        connection = db.open()
        root = connection.root()['Application']
        root[name] = site = type(root)()
        site.setSiteManager(type(root.getSiteManager())(site))
        transaction.commit()
        addRegistry(site)
        transaction.commit()
        connection.close()
        db.close()

    def write(self, name, text):
        """Write a file in the folder; return its path."""
        path = self.folder / name
        path.write_text(text, encoding='utf-8')
        return str(path)

    def light(self):
        """Return the path of ZCML with the declarations."""
        return self.write('light.zcml', LIGHT % DECLARATIONS)

    def full(self):
        """Return the path of ZCML with declarations and principals."""
        return self.write('full.zcml', FULL % DECLARATIONS)

    def call(self, command, *arguments, db=None):
        """Call the *command* on the database; return (code, out, err).

        *command* is split at its spaces.
        """
        return callMain(self, *command.split(), *arguments, '--db',
                        self.path if db is None else db)

    def ask(self, command, *arguments):
        """Return the JSON that the *command* prints; it has to succeed."""
        code, output, errors = self.call(command, *arguments, '--json')
        self.assertEqual((0, ''), (code, errors))
        return json.loads(output)

    def assertRefused(self, code, expected, *call, **options):
        """The command ends with *code* and one line that has *expected*."""
        found, output, errors = self.call(*call, **options)
        self.assertEqual((code, ''), (found, output), errors)
        checkError(self, errors)
        self.assertRegex(errors, expected)


def callMain(test, *arguments):
    """Call the command line in process; return (code, out, err).

    Afterwards there are no declarations, no interaction and no site.
    """
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), (
            contextlib.redirect_stderr(errors)):
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code
    test.assertIsNone(queryInteraction())
    test.assertIsNone(hooks.getSite())
    test.clear()
    return code, output.getvalue(), errors.getvalue()


def checkError(test, errors):
    """Assert that *errors* is one line of the common form."""
    test.assertNotIn('Traceback', errors)
    test.assertEqual(1, len(errors.splitlines()), errors)
    test.assertRegex(errors, r'^cipher-background( [a-z]+)?: ')
    test.assertNotIn(SECRET, errors)
    test.assertRegex(errors, r'; \S')
