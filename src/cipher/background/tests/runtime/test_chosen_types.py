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
"""A process that takes and begins runs of some types only."""
from types import SimpleNamespace

import transaction
from zope.component import hooks
from zope.component import queryUtility
from zope.configuration.exceptions import ConfigurationError

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.interfaces import WAITS_WHILE_UNDECLARED
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import RuntimeRefused
from cipher.background.runtime.ownprocess import OwnProcess
from cipher.background.runtime.runtime import startRuntime
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.cluster import LONG
from cipher.background.tests.support.cluster import ZEOTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import ComponentTests
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import declare
from cipher.background.thread import BackgroundWorkerThread


class Loop(BackgroundWorkerThread):
    """A loop with nothing to do."""

    def scheduleNextWork(self):
        self.wait(LONG)


#: A database of no special storage.
DB = SimpleNamespace(storage=None)


class SettingsTests(ComponentTests):

    def test_zcml(self):
        declare('<background:runtime types="a b" />')
        self.assertEqual(('a', 'b'), queryUtility(IRuntimeSettings).types)

    def test_no_types_in_zcml_are_all_types(self):
        declare('<background:runtime />')
        self.assertIsNone(queryUtility(IRuntimeSettings).types)

    def test_empty_types_in_zcml_are_refused(self):
        with self.assertRaises(ConfigurationError):
            declare('<background:runtime types="" />')

    def test_bad_types(self):
        for types in (), 'ab', ['a'], (1,), {'a'}:
            with self.assertRaisesRegex(ValueError, 'expected types to be'):
                RuntimeSettings(types=types)

    def test_what_begins(self):
        declareWorker('a')
        declareWorker('b')
        declareWorker('was-a', current='a')
        every = OwnProcess(DB, RuntimeSettings())
        for types in ('a',), ('was-a',):
            own = OwnProcess(DB, RuntimeSettings(types=types))
            with self.subTest(types=types):
                self.assertEqual(
                    [('a', True, True), ('was-a', True, True),
                     ('b', True, False), ('c', False, False)],
                    [(name, every.begins(name), own.begins(name))
                     for name in ('a', 'was-a', 'b', 'c')])


class RefusalTests(SiteTests):

    def test_types_that_are_not_declared(self):
        declareWorker('a')
        with self.assertRaisesRegex(RuntimeRefused, "got 'b'; correct it"):
            startRuntime(self.db, RuntimeSettings(types=('a', 'b')))


class AloneTests(LiveTests):
    """One process, which takes the type ``a`` only."""

    def setUp(self):
        self.patch(
            'cipher.background.runtime.maintenance.unblocking.SWEEP_INTERVAL',
            0.0)
        self.patch(
            'cipher.background.runtime.maintenance.unblocking.WATCH', 0.0)
        super().setUp()

    def startRuntime(self, **settings):
        declareWorker('a', self.startB)
        declareWorker('b', lambda worker: None)
        declareWorker('loop', factory=Loop, is_loop=True, autostart=True)
        return super().startRuntime(types=('a',), grace=0.1)

    def startB(self, worker):
        registry = hooks.getSite().getSiteManager()['background']
        self.started = registry.start('b').id

    def test_work_starts_a_type_that_is_not_taken(self):
        self.assertEqual('succeeded', self.carryOut('a').state)
        self.assertStaysWaiting(self.started)
        self.assertEqual('succeeded', self.carryOut('a').state)

    def assertStaysWaiting(self, run_id):
        for _ in range(3):
            self.waitTurn()
        status = self.status(run_id)
        self.assertEqual(('pending', WAITS_WHILE_UNDECLARED, True),
                         (status.state, status.wait.kind,
                          status.is_declared))
        # The type is declared, so the grace does not run.
        self.assertEqual({}, dict(getDirectory(self.connection).unknown))
        self.assertNotIn('no ZCML declares', self.logged.getvalue())

    def test_service_that_is_not_taken_is_not_started(self):
        self.assertEqual('succeeded', self.carryOut('a').state)
        self.waitTurn()
        self.assertNotIn('loop', self.registry.getCounts())

    def test_status_names_the_types(self):
        def types():
            self.begin()
            status, = self.registry.listProcesses()
            return status.types

        waitUntil(lambda: types() == ['a'], 'the types of the process')


class TwoTests(ZEOTests):
    """This process takes one type only, another process takes all."""

    settings = dict(ZEOTests.settings, types=('rerun',))

    def setUp(self):
        self.patch(
            'cipher.background.runtime.maintenance.unblocking.SWEEP_INTERVAL',
            0.0)
        super().setUp()

    def startRuntime(self, **settings):
        declareWorker('rerun', lambda worker: None)
        return super().startRuntime(**settings)

    def test_the_other_process_takes_the_rest(self):
        self.begin()
        runs = [self.registry.submit('add').id for _ in range(3)]
        transaction.commit()
        actor = self.act()
        for run_id in runs:
            self.waitFinal(run_id, 'succeeded')
            self.assertEqual(self.registry.get(run_id).owner, actor.id)

    def test_the_other_process_takes_a_loop(self):
        # A loop is begun at once in the process that is home of its lane.
        run_id = self.start('loop')
        actor = self.act()
        self.waitForeign(run_id)
        self.assertEqual(self.registry.get(run_id).owner, actor.id)
        self.requestStop(run_id)
        self.waitFinal(run_id, 'stopped')
