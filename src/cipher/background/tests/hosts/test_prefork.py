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
"""Servers that load the application before they fork."""
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from ZODB.DB import DB

from cipher.background.hosts.ztk import HostError
from cipher.background.hosts.ztk import makeApplication
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.live import LIMIT
from cipher.background.tests.support.servers import ZEOServer
from cipher.background.tests.support.servers import programEnvironment


SITE = '''
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:background="http://namespaces.zope.org/background"
    i18n_domain="test">
  <include package="cipher.background" file="host.zcml" />
  <background:runtime threads="1" />
  <background:worker name="work"
      handler="cipher.background.tests.support.preforkprocess.work" />
  <subscriber handler="cipher.background.subscribers.addRegistryToRoot" />
  <principal id="test.admin" title="Administrator"
      login="admin" password="admin" />
  <grantAll principal="test.admin" />
</configure>
'''


class PreforkTests(unittest.TestCase):

    layer = Live

    def setUp(self):
        missing = ZEOServer.findMissing()
        if missing:
            self.skipTest(missing)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.zcml = self.folder / 'site.zcml'
        self.zcml.write_text(SITE, 'utf-8')

    def run_(self, kind, uri=None):
        """Return what the parent and its two children found, and the log."""
        with ZEOServer(str(self.folder)) as server:
            server.wait_timeout = LIMIT   # it is never away
            done = subprocess.run(
                [sys.executable, '-m',
                 'cipher.background.tests.support.preforkprocess',
                 str(self.zcml), uri or server.uri, kind],
                env=programEnvironment(), capture_output=True, text=True,
                timeout=4 * LIMIT)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(len(found), 3, done.stdout + done.stderr)
        return found, done.stderr

    def assertOwnRuntime(self, child):
        self.assertEqual(child['status'], 200)
        self.assertEqual(child['runtimes'], [child['pid']])
        self.assertEqual(child['state'], 'succeeded')

    def test_each_process_has_a_runtime_of_its_own_and_the_parent_none(self):
        # The first child opens the application, as a hook of a server does.
        # The second one opens it at its first request.
        (parent, *children), log = self.run_('prefork')
        self.assertEqual(parent['runtimes'], [])
        for child in children:
            self.assertOwnRuntime(child)
            self.assertEqual(child['worker'], child['pid'])
        self.assertNotIn('fork of', log)
        self.assertNotIn('after the fork', log)

    def test_parent_that_has_begun_shares_the_work_and_is_warned_about(self):
        (parent, *children), log = self.run_('preload')
        self.assertEqual(parent['runtimes'], [parent['pid']])
        for child in children:
            self.assertOwnRuntime(child)
            self.assertIn(child['worker'], (parent['pid'], child['pid']))
        self.assertIn('got one that process %d has opened' % parent['pid'],
                      log)
        self.assertIn('give makeApplication prefork=True', log)
        # Each child says that the parent works beside its own runtime.
        for child in children:
            self.assertRegex(log, 'Process %d is a fork of process .*, whose '
                             'runtime carries out runs as well as the one of '
                             'this process' % child['pid'])
        self.assertNotIn('the runs that are started here', log)

    def test_database_that_only_the_parent_can_open_is_not_used(self):
        (parent, *children), log = self.run_('open')
        self.assertEqual(parent['runtimes'], [parent['pid']])
        for child in children:
            self.assertEqual((child['status'], child['runtimes']), (500, []))
        self.assertIn('expected a path or a URI, which each process opens',
                      log)

    def test_file_of_the_parent_is_not_opened_by_a_child(self):
        (parent, *children), log = self.run_(
            'preload', str(self.folder / 'Own.fs'))
        self.assertEqual(parent['runtimes'], [parent['pid']])
        for child in children:
            self.assertEqual((child['status'], child['runtimes']), (500, []))
        self.assertIn('expected a database that opens', log)


class ArgumentTests(unittest.TestCase):

    def test_open_database_is_refused_before_anything_is_loaded(self):
        db = DB(None)
        self.addCleanup(db.close)
        with self.assertRaisesRegex(
                HostError, 'expected a path or a URI with prefork=True, got '
                'a DB'):
            makeApplication('none.zcml', db, prefork=True)
