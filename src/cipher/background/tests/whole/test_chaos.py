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
"""Chaos: short runs of it, and an auditor that sees what is wrong."""
import io
import random
import subprocess
import sys
import tempfile
import unittest
from contextlib import redirect_stdout
from unittest import mock

import transaction
from ZODB.DB import DB
from zope.component import hooks
from zope.testing import cleanup

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STATES
from cipher.background.registry import uniqueness
from cipher.background.runtime.maintenance import pruner
from cipher.background.runtime.runtime import startRuntime
from cipher.background.store.bookmark import FOR_TIME
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.store.slots import Slot
from cipher.background.store.slots import Slots
from cipher.background.tests.chaos import client
from cipher.background.tests.chaos.audit import Audit
from cipher.background.tests.chaos.audit import auditLedger
from cipher.background.tests.chaos.command import main
from cipher.background.tests.chaos.driver import Driver
from cipher.background.tests.chaos.enqueuer import Enqueuer
from cipher.background.tests.chaos.world import KINDS
from cipher.background.tests.chaos.world import Ledger
from cipher.background.tests.chaos.world import declareKinds
from cipher.background.tests.chaos.world import getWorld
from cipher.background.tests.chaos.world import makeWorld
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.servers import ZEOServer
from cipher.background.tests.support.servers import programEnvironment
from cipher.background.tests.support.servers import requireServer


class ChaosTests(unittest.TestCase):
    """The short form of ``bench/main.py chaos``."""

    layer = Live

    def check(self, storage, kills):
        seed = random.SystemRandom().randrange(1000000)
        result = subprocess.run(
            [sys.executable, '-m', 'cipher.background.tests.chaos',
             '--storage', storage, '--kills', str(kills), '--seconds', '6',
             '--seed', str(seed)],
            capture_output=True, text=True, env=programEnvironment(),
            timeout=240)
        self.assertEqual(
            (result.returncode, result.stderr), (0, ''), result.stdout)
        self.assertIn('seed %d' % seed, result.stdout)
        self.assertRegex(result.stdout, r'[1-9]\d* kill -9')
        self.assertRegex(result.stdout, r'plain .*[1-9]\d* succeeded')

    def test_one_process_at_a_time_on_a_file(self):
        self.check('filestorage', 8)

    def test_processes_on_a_zeo_server(self):
        requireServer(self, ZEOServer.findMissing())
        self.check('zeo', 8)

    def test_a_violation_is_told_by_the_exit_status(self):
        def run(driver):
            driver.seconds = 1.0
            driver.violations.append('something is wrong')
            return {('plain', 'succeeded'): 1}, 1

        printed = io.StringIO()
        with mock.patch.object(Driver, 'run', run), redirect_stdout(printed):
            self.assertEqual(main(['--seed', '1']), 1)
        self.assertIn('something is wrong', printed.getvalue())


class FinishedLayer:
    """A world in which two runs of each kind are finished."""

    @classmethod
    def setUp(cls):
        cleanup.cleanUp()
        hooks.setHooks()
        cls.folder = tempfile.TemporaryDirectory()
        cls.ledger = Ledger(cls.folder.name, 1)
        declareKinds(cls.ledger)
        cls.db = DB(None)
        makeWorld(cls.db, client.STARTERS)
        # First: in this storage two new writers would conflict.
        with cls.db.transaction() as connection:
            enqueuer = Enqueuer(connection, 0)
            enqueuer.begin()
            for kind in KINDS * 2:
                enqueuer.start(kind)
        with (mock.patch.object(pruner, 'INTERVAL', 0.05),
              mock.patch.object(uniqueness, 'STALE_FOR', 0.05)):
            runtime = startRuntime(cls.db, RuntimeSettings(
                threads=2, poll=0.05))
            try:
                waitUntil(lambda: not cls._rest(), 'the end of the runs')
            finally:
                runtime.shutdown()

    @classmethod
    def _rest(cls):
        with cls.db.transaction() as connection:
            return client.describeRest(connection)

    @classmethod
    def tearDown(cls):
        cls.db.close()
        cls.ledger.close()
        cls.folder.cleanup()
        cleanup.cleanUp()

    @classmethod
    def testSetUp(cls):
        """There is nothing to do for each test."""

    testTearDown = testSetUp


class AuditTests(unittest.TestCase):
    """The auditor must be able to find fault: each test makes one."""

    layer = FinishedLayer

    def setUp(self):
        self.manager = transaction.TransactionManager()
        self.connection = self.layer.db.open(self.manager)
        self.addCleanup(self._close)
        self.world, self.registry = getWorld(self.connection)
        self.directory = getDirectory(self.connection)

    def _close(self):
        # Nothing of what a test did is ever committed.
        self.manager.abort()
        self.connection.close()

    def entry(self, kind):
        return next(entry for entry in self.world.journals[0].entries.values()
                    if entry.kind == kind)

    def run_of(self, kind):
        return self.registry.get(self.entry(kind).run_id)

    def lane_of(self, kind):
        return self.registry.lanes[self.run_of(kind).lane]

    def assertSaid(self, *texts):
        """Assert that each text is in one violation, and there are no more.
        """
        said = Audit(self.connection)()
        self.assertEqual(len(said), len(texts), said)
        for text in texts:
            self.assertTrue(any(text in line for line in said), said)

    def test_all_is_well_at_first(self):
        self.assertSaid()
        self.assertEqual(
            {name for name, _ in Audit(self.connection).table}, set(KINDS))

    def test_an_effect_too_many(self):
        for kind in ('plain', 'chain', 'retry', 'snooze', 'delayed',
                     'outside', 'limited', 'stoppable', 'steps'):
            with self.subTest(kind=kind):
                self.entry(kind).effects += 1
                self.assertSaid("of %r: succeeded with 2 effects" % kind)
                self.manager.abort()

    def test_an_effect_too_few(self):
        self.entry('plain').effects = 0
        self.assertSaid("'plain': succeeded with 0 effects")

    def test_an_effect_of_a_failed_run(self):
        self.entry('fails').effects = 1
        self.assertSaid("'fails': failed with 1 effects")

    def test_an_effect_too_many_on_a_common_object(self):
        self.world.hot[0].value += 1
        self.assertSaid('hot: counted')

    def test_a_step_done_twice(self):
        self.entry('steps').steps = (1, 2, 1, 1)
        self.assertSaid("'steps': succeeded with steps (1, 2, 1, 1)")

    def test_an_iteration_too_few(self):
        self.entry('loop').effects = 1
        self.assertSaid("'loop': 1 iterations")

    def test_a_letter_that_nobody_read(self):
        self.world.handled[0].value -= 1
        said = Audit(self.connection)()
        self.assertTrue(said)
        for line in said:
            self.assertIn('did not see letter', line)

    def test_a_lost_run(self):
        run = self.run_of('plain')
        self.lane_of('plain').births.drop(run.serial, from_recent=True)
        self.assertSaid(
            "run %s of {'plain'}: lost" % run.id,
            'count of plain succeeded',
            "run %s of 'plain': 1 entries say that it succeeded" % run.id)

    def test_a_run_from_nowhere(self):
        run = self.registry.start('plain')
        self.assertSaid(
            'run %s of %r: its start was never committed' % (run.id, 'plain'),
            'run %s of %r: pending at the end' % (run.id, 'plain'),
            'its bookmark is at')

    def test_a_start_that_gave_the_run_of_another(self):
        other = self.run_of('hot').id
        run_id, self.entry('plain').run_id = self.entry('plain').run_id, other
        self.assertSaid(
            'run %s of %r: it was started as' % (other, 'hot'),
            'run %s of %r: its start was never' % (run_id, 'plain'))

    def test_a_run_that_still_works(self):
        run = self.run_of('outside')
        run.stored_state = STATES.index(RUNNING)
        said = Audit(self.connection)()
        self.assertIn('run %s of %r: running at the end'
                      % (run.id, 'outside'), said)

    def test_a_run_that_waits(self):
        run = self.run_of('plain')
        run.stored_state = STATES.index(PENDING)
        said = Audit(self.connection)()
        self.assertIn('run %s of %r: pending at the end' % (run.id, 'plain'),
                      said)

    def test_a_wrong_state(self):
        for kind, state in (('plain', 'stopped'), ('plain', 'interrupted'),
                            ('fails', 'succeeded'), ('hot', 'stopped')):
            with self.subTest(kind=kind, state=state):
                self.run_of(kind).stored_state = STATES.index(state)
                self.assertIn('wrongly %s' % state, '\n'.join(
                    Audit(self.connection)()))
                self.manager.abort()

    def test_a_failure_of_what_cannot_fail(self):
        run = self.run_of('plain')
        run.stored_state = STATES.index('failed')
        for error in (('ChaosError', ''), ('ProcessDied', ''),
                      ('ClientDisconnected', '')):
            run.error = error
            self.assertIn('wrongly failed', '\n'.join(
                Audit(self.connection)()))

    def test_a_run_before_its_time(self):
        self.entry('delayed').is_early = True
        self.assertSaid('began before its time')

    def test_times_out_of_order(self):
        run = self.run_of('plain')
        run.finished_at = run.created_at - 1
        self.assertSaid('its times are not in order')

    def test_a_wrong_count(self):
        births = self.lane_of('plain').births
        counts = births.books.counts
        counts[births.books.kindOf('plain')] += 1
        births.books.counts = counts
        self.assertSaid('count of plain pending: 1, really 0')

    def test_a_run_that_was_finished_twice(self):
        run = self.run_of('plain')
        self.lane_of('plain').finishes.add(run)
        said = '\n'.join(Audit(self.connection)())
        self.assertIn('run %s of %r: 2 entries say that it succeeded'
                      % (run.id, 'plain'), said)
        self.assertIn('count of plain', said)

    def test_a_leaked_lane(self):
        self.lane_of('plain').bookmark.home = 'host:1:a'
        self.assertSaid('its home host:1:a is left')

    def test_a_bookmark_in_the_wrong_place(self):
        for change in -1, 1:
            self.lane_of('plain').bookmark.low += change
            self.assertSaid('its bookmark is at')
            self.manager.abort()

    def test_a_leaked_waiting_entry(self):
        self.lane_of('plain').waiting.add(FOR_TIME, 1000000, 1)
        self.assertSaid('1 waiting entries are left')

    def test_a_leaked_process(self):
        self.directory.processes['host:1:a'] = ProcessRecord(
            'host:1:a', 'host', 1, None, None, 1, 3.0, 0.0)
        self.assertSaid('process host:1:a: its record is left')

    def test_a_leaked_slot(self):
        run = self.run_of('limited')
        run.stored_state = STATES.index(RUNNING)
        slots = self.directory.slots['limited'] = Slots()
        slots.slots = Slot((self.registry._p_oid, run.lane, run.serial)),
        self.assertIn('slot of limited: taken by run %s' % run.id,
                      Audit(self.connection)())

    def test_a_leaked_stop_request(self):
        self.registry.stops['1-1'] = (None, 0.0, None)
        self.assertSaid('stop request of run 1-1: left')

    def test_a_leaked_claim(self):
        self.registry.unique_keys['unique', b'x'] = (1, 1)
        self.assertSaid("claim ('unique', b'x'): left")


class LedgerTests(unittest.TestCase):
    """What happened outside of the database."""

    def test_nothing_wrong(self):
        self.assertEqual(auditLedger([
            (1, 'outside', '1-1'), (1, 'outside', '1-1'),
            (1, 'begin', '1-2'), (1, 'begin', '1-3'), (1, 'end', '1-2'),
            (2, 'begin', '1-4'), (2, 'end', '1-4'), (1, 'end', '1-3'),
        ]), [])

    def test_what_must_not_run_twice_did(self):
        self.assertEqual(auditLedger([
            (1, 'outside', '1-1'), (2, 'outside', '1-1'),
        ]), ['run 1-1 of outside: two processes began it'])

    def test_too_many_at_a_time(self):
        self.assertEqual(auditLedger([
            (1, 'begin', '1-1'), (2, 'begin', '1-2'), (1, 'begin', '1-3'),
        ]), ['limited: 1-1, 1-2, 1-3 run at a time'])

    def test_what_died_does_not_run(self):
        self.assertEqual(auditLedger([
            (1, 'begin', '1-1'), (1, 'begin', '1-2'), (1, 'gone'),
            (2, 'begin', '1-1'), (1, 'begin', '1-3'), (2, 'begin', '1-2'),
        ]), [])

    def test_a_leaked_thread(self):
        self.assertEqual(auditLedger([(1, 'leak', 'threads live: x')]),
                         ['process 1: threads live: x'])
