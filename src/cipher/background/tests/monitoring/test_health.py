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
"""The judgement: well, with problems, or down."""
import threading
from unittest import mock

import transaction
from zope.security.interfaces import NoInteraction
from zope.security.management import checkPermission
from zope.security.management import endInteraction
from zope.security.management import queryInteraction
from zope.security.management import restoreInteraction
from zope.security.proxy import ProxyFactory
from zope.site.folder import Folder
from zope.site.site import LocalSiteManager

from cipher.background.interfaces import FAILING_STEP
from cipher.background.interfaces import NO_RUNTIME
from cipher.background.interfaces import PAUSED_TYPE
from cipher.background.interfaces import SILENT_PROCESS
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.interfaces import IProcessStatus
from cipher.background.monitoring import health
from cipher.background.monitoring.health import DOWN
from cipher.background.monitoring.health import TROUBLED
from cipher.background.monitoring.health import WELL
from cipher.background.monitoring.health import Health
from cipher.background.monitoring.health import checkDatabase
from cipher.background.monitoring.health import checkHealth
from cipher.background.registry.installation import addRegistry
from cipher.background.store.process import getDirectory
from cipher.background.tests.queries.test_problems import LEASE
from cipher.background.tests.queries.test_problems import WatchTests
from cipher.background.tests.support.finishedruns import NOW
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import Grants
from cipher.background.tests.support.sites import login
from cipher.background.util.host import getHost


class HealthTests(WatchTests):

    def kinds(self, source=None):
        """Return the code, and (kind, site) of each problem."""
        found = checkHealth(source or self.connection)
        self.assertIsNone(found.error)
        self.assertEqual(found.ok, found.code == WELL)
        return found.code, [(one.kind, one.site) for one in found.problems]

    def addSite(self, name):
        """Commit a site with a registry below the root; return that."""
        site = self.site[name] = Folder()
        site.setSiteManager(LocalSiteManager(site))
        transaction.commit()
        registry = addRegistry(site)
        transaction.commit()
        return registry

    def test_process_that_lives_and_no_problem_is_well(self):
        self.addProcess()
        self.makeRuns(2)
        for source in self.connection, self.registry:
            self.assertEqual(self.kinds(source), (WELL, []))

    def test_no_process_is_down(self):
        self.assertEqual(self.kinds(), (DOWN, []))
        self.makeRuns(1, state=None)
        self.assertEqual(self.kinds(), (DOWN, [(NO_RUNTIME, '/')]))

    def test_process_without_threads_is_none(self):
        self.addProcess('web', threads=0)
        self.assertEqual(self.kinds(), (DOWN, []))

    def test_process_that_is_quiet_lives(self):
        self.addProcess(is_quiet=True)
        self.assertEqual(self.kinds(), (WELL, []))
        self.makeRuns(1, state=None)
        self.assertEqual(self.kinds(), (TROUBLED, [(NO_RUNTIME, '/')]))

    def test_process_that_is_silent_is_a_problem_and_the_last_one_down(self):
        self.addProcess('first')
        self.clock.advance(LEASE / 2)
        second = self.addProcess('second')
        self.clock.advance(LEASE / 2 + 1)
        self.assertEqual(self.kinds(), (TROUBLED, [(SILENT_PROCESS, None)]))
        self.clock.advance(LEASE)
        self.assertEqual(self.kinds(), (
            DOWN, [(SILENT_PROCESS, None)] * 2))
        second.heartbeat.beat_at = self.clock.now
        self.assertEqual(self.kinds(), (TROUBLED, [(SILENT_PROCESS, None)]))

    def test_problem_is_plain_data_and_has_no_stack(self):
        self.addProcess().heartbeat.troubles = (
            (FAILING_STEP, 'prune', NOW, 'KeyError', None, 'a stack'),)
        found, = checkHealth(self.registry).problems
        self.assertEqual(found._asdict(), dict(
            kind=FAILING_STEP, subject='prune', since=NOW, number=0,
            process='p:1:x', error='KeyError', total=0, usual=None,
            site=None))

    def test_connection_counts_every_registry_and_a_registry_itself(self):
        self.addProcess().heartbeat.troubles = (
            (FAILING_STEP, 'prune', NOW, 'KeyError', None, None),)
        inner = self.addSite('inner')
        for registry in self.registry, inner:
            registry.addRun('work')
            registry.pauseType('work')
        inner.pauses['other'] = inner.pauses['work']
        inner.addRun('other')
        transaction.commit()
        step = FAILING_STEP, None
        self.assertEqual(self.kinds(), (TROUBLED, [
            step, (PAUSED_TYPE, '/'), (PAUSED_TYPE, '/inner'),
            (PAUSED_TYPE, '/inner')]))
        self.assertEqual(self.kinds(self.registry), (
            TROUBLED, [step, (PAUSED_TYPE, '/')]))
        self.assertEqual(self.kinds(ProxyFactory(self.registry)), (
            TROUBLED, [step, (PAUSED_TYPE, '/')]))

    def test_processes_are_shown(self):
        self.addProcess('first')
        self.clock.advance(1.0)
        self.addProcess('second')
        for source in self.connection, self.registry:
            found = checkHealth(source).processes
            self.assertEqual([one.host for one in found],
                             ['first', 'second'])
            self.assertTrue(all(map(IProcessStatus.providedBy, found)))

    def test_code_counts_what_the_reader_may_not_see(self):
        grants = Grants(self)
        declareWorker('secret', print, view_permission='test.Secret')
        self.addProcess()
        self.registry.addRun('secret')
        self.registry.pauseType('secret')
        transaction.commit()
        login('auditor')
        grants('auditor', self.site, VIEW_WORKERS)
        self.assertEqual(self.kinds(self.registry), (TROUBLED, []))
        grants('auditor', self.site, 'test.Secret')
        self.assertEqual(self.kinds(self.registry), (
            TROUBLED, [(PAUSED_TYPE, '/')]))
        self.assertIsNotNone(queryInteraction())

    def test_block_that_sees_all_leaves_the_interaction_as_it_was(self):
        with self.assertRaises(ZeroDivisionError):
            with getHost().trusted():
                1 / 0
        self.assertIsNone(queryInteraction())
        login('auditor')
        before = queryInteraction()
        with self.assertRaises(NoInteraction), getHost().trusted():
            self.assertIsNone(queryInteraction())
            checkPermission(VIEW_WORKERS, self.site)
        self.assertIs(queryInteraction(), before)
        # Nor does it spoil what another one has put aside.
        endInteraction()
        with getHost().trusted():
            pass
        restoreInteraction()
        self.assertIs(queryInteraction(), before)


class DatabaseTests(WatchTests):

    def test_database_is_judged_by_a_connection_of_its_own(self):
        login('nobody')
        self.assertEqual(checkDatabase(self.db), Health(DOWN))
        self.addProcess()
        found = checkDatabase(self.db)
        self.assertEqual((found.code, len(found.processes)), (WELL, 1))
        self.makeRun(state=None)   # not committed
        self.registry.pauseType('work')
        self.assertTrue(checkDatabase(self.db).ok)
        transaction.commit()
        self.assertEqual(checkDatabase(self.db).code, TROUBLED)
        self.assertEqual(len(self.db.pool.all), 2)

    def test_database_without_records_of_ours_is_down(self):
        del self.connection.root()['cipher.background']
        transaction.commit()
        self.assertEqual(checkHealth(self.connection), Health(DOWN))

    def test_database_without_a_registry_is_well_while_a_process_lives(self):
        self.addProcess()
        del self.connection.root()['Application']
        transaction.commit()
        found = checkHealth(self.connection)
        self.assertEqual((found.code, found.problems), (WELL, ()))
        self.assertEqual(len(found.processes), 1)

    def test_record_of_newer_code_is_down(self):
        self.addProcess()
        self.registry.structure_version = 99
        for source in self.connection, self.registry:
            self.assertEqual(checkHealth(source),
                             Health(DOWN, error='NewerDatabase'))
        self.registry.structure_version = 1
        getDirectory(self.connection).structure_version = 99
        self.assertEqual(checkHealth(self.connection),
                         Health(DOWN, error='NewerDatabase'))

    def test_database_that_fails_is_down(self):
        self.addProcess()
        with mock.patch.object(self.db, 'open', side_effect=OSError):
            self.assertEqual(checkDatabase(self.db),
                             Health(DOWN, error='OSError'))
        with mock.patch.object(
                health.problems, 'listProblems', side_effect=OSError):
            for check in (lambda: checkDatabase(self.db),
                          lambda: checkHealth(self.registry)):
                self.assertEqual(check(), Health(DOWN, error='OSError'))

    def test_client_without_its_server_is_down_whatever_its_cache_has(self):
        self.addProcess()
        for is_connected in True, False:
            self.db.storage.is_connected = lambda: is_connected
            expected = (WELL, None) if is_connected else (
                DOWN, 'StorageError')
            found = checkHealth(self.registry)
            self.assertEqual((found.code, found.error), expected)

    def test_database_that_hangs_is_down_and_costs_one_thread(self):
        self.addProcess()
        reached, goes_on = threading.Event(), threading.Event()
        self.addCleanup(goes_on.set)
        self.db.storage.is_connected = lambda: True

        def ping():
            reached.set()
            goes_on.wait(LIMIT)

        self.db.storage.ping = ping
        before = set(threading.enumerate())
        for _ in range(3):
            self.assertEqual(checkDatabase(self.db, 0.001),
                             Health(DOWN, error='TimeoutError'))
        self.assertTrue(reached.wait(LIMIT))
        self.assertEqual(len(set(threading.enumerate()) - before), 1)
        goes_on.set()
        self.assertTrue(checkDatabase(self.db, LIMIT).ok)
