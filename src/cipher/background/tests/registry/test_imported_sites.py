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
"""A site that came by import or copy has a registry in no directory."""
import io
import os
from contextlib import suppress

import transaction
from persistent import Persistent
from ZODB.FileStorage import FileStorage
from zope.component.interfaces import ISite
from zope.copy import clone
from zope.interface import implementer

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import getRegistry
from cipher.background.registry.installation import rememberRegistries
from cipher.background.runtime.runtime import Runtime
from cipher.background.runtime.runtime import startRuntime
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.flakystorage import Away
from cipher.background.tests.support.flakystorage import Flaky
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.live import Database
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import makeSite


@implementer(ISite)
class Broken(Persistent):
    """A site that cannot say what its site manager is."""

    def getSiteManager(self):
        """See ISite."""
        raise ValueError('no')


class ImportTests(FileSiteTests):

    layer = Live

    def setUp(self):
        super().setUp()
        declareWorker('work', lambda worker: None)
        document = self.addDocument()
        self.runs = [self.registry.start('work').id,
                     self.registry.start('work').id]
        self.lost = self.registry.start('work', document).id
        transaction.commit()
        self.other = Database(FileStorage(
            os.path.join(self.folder.name, 'Other.fs')), pool_size=30)
        self.addCleanup(self.other.close)

    def importSite(self):
        """Import the site into another database; return its registry."""
        exported = io.BytesIO()
        self.connection.exportFile(self.site._p_oid, exported)
        exported.seek(0)
        connection = self.other.open()
        self.addCleanup(connection.close)
        self.addCleanup(transaction.abort)
        transaction.begin()
        site = connection.importFile(exported)
        connection.root()['Application'] = site
        transaction.commit()
        return getRegistry(site)

    def startRuntime(self):
        runtime = startRuntime(self.other, RuntimeSettings(
            threads=1, poll=0.05, drain=1.0))
        self.addCleanup(runtime.shutdown)

    def assertAllDone(self, registry, *more):
        """Check that *more* is done, and the rest when somebody says so."""
        def isReached():
            transaction.begin()
            return registry.kept is not None and all(
                registry.findRun(run_id).isFinished() for run_id in more)

        waitUntil(isReached, 'the end of what was started after the import')
        for run_id in (*self.runs, self.lost):
            self.assertEqual(registry.findRun(run_id).state, 'pending')
        self.assertEqual(registry.beginKept(), 3)
        transaction.commit()

        def areFinished():
            transaction.begin()
            return all(registry.findRun(run_id).isFinished()
                       for run_id in (*self.runs, self.lost, *more))

        waitUntil(areFinished, 'the end of all runs')
        for run_id in (*self.runs, *more):
            self.assertEqual(registry.findRun(run_id).state, 'succeeded')
        # What it was about has another oid here.
        lost = registry.findRun(self.lost)
        self.assertEqual((lost.state, lost.error[0]),
                         ('failed', 'ContextGone'))

    def test_started_in_after_the_import(self):
        registry = self.importSite()
        more = registry.start('work').id   # in a process without a runtime
        transaction.commit()
        self.startRuntime()
        self.assertAllDone(registry, more)

    def test_runtime_that_begins_after_the_import(self):
        registry = self.importSite()
        self.startRuntime()
        self.assertAllDone(registry)

    def test_runtime_that_was_there_at_the_import(self):
        # It has a registry already, so it has a record, and begins with that.
        makeSite(self.other, 'first')[0].close()
        self.startRuntime()
        registry = self.importSite()
        # The runtime may just be writing: a request is done again, too.
        for attempt in transaction.manager.attempts(20):
            with attempt:
                more = registry.start('work').id
        self.assertAllDone(registry, more)

    def test_load_fails_once_while_it_is_looked_for(self):
        registry = self.importSite()
        runtime = Runtime(self.other, RuntimeSettings(threads=1))
        look = runtime._maintenance._look_for_registries
        for number in range(1, 60):
            self.other.cacheMinimize()
            with Flaky(lambda name, call: call == number) as flaky:
                with ZodbConnection(self.other) as connection:
                    with suppress(Away):
                        look(connection)
                    look(connection)   # at the next turn, not much later
            with ZodbConnection(self.other) as connection:
                directory = getDirectory(connection)
                self.assertIn(registry._p_oid, directory.registries)
            if not flaky.failures:
                return
            runtime._maintenance._look_at = 0.0
            with ZodbConnection(self.other) as connection:
                del getDirectory(connection).registries[registry._p_oid]
                transaction.commit()
        self.fail('no end of loads')

    def test_addRegistry_makes_it_known_again(self):
        registry = self.importSite()
        self.assertIsNone(getDirectory(registry._p_jar))
        self.assertIs(addRegistry(registry.getSite()), registry)
        self.assertEqual(
            getDirectory(registry._p_jar).listRegistries(), [registry])


class CopyTests(FileSiteTests):

    layer = Live

    def test_copy_in_the_same_database(self):
        declareWorker('work', lambda worker: None)
        original = self.registry.start('work').id
        transaction.commit()
        self.site['copy'] = clone(self.site)
        transaction.commit()
        registry = self.site['copy'].getSiteManager()['background']
        self.assertIsNot(registry, self.registry)
        runtime = startRuntime(self.db, RuntimeSettings(
            threads=1, poll=0.05, drain=1.0))
        self.addCleanup(runtime.shutdown)

        def areFinished():
            transaction.begin()
            return all(each.findRun(original).isFinished()
                       for each in (self.registry, registry))

        waitUntil(lambda: self.begin() or self.registry.findRun(
            original).isFinished(), 'the end of the original')
        waitUntil(lambda: self.begin() or registry.kept, 'the copy')
        self.assertEqual(registry.findRun(original).state, 'pending')
        registry.beginKept()
        transaction.commit()
        waitUntil(areFinished, 'the end of both runs')


class LookTests(FileSiteTests):

    def test_what_raises_does_not_keep_others_from_being_found(self):
        directory = getDirectory(self.connection)
        del directory.registries[self.registry._p_oid]
        self.connection.root()['a'] = Broken()
        self.connection.root()['z'] = Broken()
        transaction.commit()
        rememberRegistries(self.connection)
        self.assertEqual(directory.listRegistries(), [self.registry])
        self.assertIn('Search for registries', self.logged.getvalue())
