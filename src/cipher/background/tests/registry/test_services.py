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
"""Services: loops that a runtime keeps running, one in each database."""
import logging
import os
import tempfile
import threading

import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError
from zope.interface import Interface
from zope.schema import Int

from cipher.background.events import RunFailedEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.registry import services
from cipher.background.testing import setUpLogging
from cipher.background.testing import tearDownLogging
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import SiteTests
from cipher.background.thread import BackgroundWorkerThread


BEGIN = 1000000.0


class INumber(Interface):

    number = Int(title="Nobody gives it to a service")


class ServiceTestCase(SiteTests):
    """By a clock that is set by hand."""

    def setUp(self):
        super().setUp()
        self.clock = self.setClock(BEGIN)
        self.type = declareWorker(
            'mail', factory=BackgroundWorkerThread, is_loop=True,
            autostart=True)

    def isMissing(self):
        return services.isMissing(self.registry, self.type)

    def keepRunning(self, seconds=0.0):
        """Look each second for so many *seconds*; return the runs started."""
        before = self.ids()
        for _ in range(int(seconds) + 1):
            services.keepRunning(self.registry, self.type)
            self.clock.advance(1.0)
        transaction.commit()
        return [self.registry.get(run_id) for run_id in self.ids()
                if run_id not in before]

    def start(self):
        """Return the run that was started just now."""
        run, = self.keepRunning()
        self.clock.advance(-1.0)
        return run

    def ids(self):
        return [status.id for status
                in self.registry.listRuns(limit=10000).items]

    def finish(self, run, state=FAILED, lived=1.0, **values):
        run.started_at = self.clock.now
        self.clock.advance(lived)
        self.registry.finish(run, state, RunFailedEvent, **values)
        transaction.commit()

    def secondsToNext(self):
        """Return the seconds until the service would be started."""
        began = self.clock.now
        while not self.isMissing():
            self.clock.advance(0.5)
            self.assertLess(self.clock.now, began + 10000)
        return self.clock.now - began


class ServiceTests(ServiceTestCase):

    def test_what_never_ran_is_started(self):
        self.assertTrue(self.isMissing())
        run = self.start()
        self.assertEqual((run.type, run.state, run.depth),
                         ('mail', 'pending', 0))
        self.assertFalse(self.isMissing())

    def test_only_services_are_listed(self):
        declareWorker('other', factory=BackgroundWorkerThread, is_loop=True)
        self.assertEqual(services.listServices(), [self.type])

    def test_one_that_waits_or_runs_is_enough(self):
        run = self.start()
        self.assertEqual(self.keepRunning(10), [])
        run.claim('some process', self.clock.now, False)
        transaction.commit()
        self.assertEqual(self.keepRunning(10), [])

    def test_whatever_ended_it_it_is_started_again(self):
        for state in FAILED, SUCCEEDED, INTERRUPTED:
            with self.subTest(state):
                self.registry.services.clear()
                self.finish(self.start(), state)
                self.assertEqual(len(self.keepRunning(300)), 1)

    def test_delay_grows_with_each_death(self):
        delays = []
        for _ in range(11):
            self.finish(self.start())
            delays.append(self.secondsToNext())
        self.assertEqual(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300,
                                  300])

    def test_who_lived_long_has_a_short_delay(self):
        for _ in range(5):
            self.finish(self.start())
            self.secondsToNext()
        self.finish(self.start(), lived=services.WELL_AFTER)
        self.assertEqual(self.secondsToNext(), 1)
        self.finish(self.start())
        self.assertEqual(self.secondsToNext(), 2)

    def test_who_was_stopped_by_a_person_is_left_alone(self):
        self.finish(self.start(), STOPPED)
        self.assertEqual(self.keepRunning(1000), [])

    def test_who_was_asked_to_stop_is_left_alone_whatever_came_of_it(self):
        for state in INTERRUPTED, FAILED:
            with self.subTest(state):
                self.registry.services.clear()
                self.finish(self.start(), state,
                            stop_request=('ann', BEGIN, None))
                self.assertEqual(self.keepRunning(1000), [])

    def test_who_is_started_by_hand_again_is_adopted(self):
        self.finish(self.start(), STOPPED)
        run = self.registry.start('mail')
        transaction.commit()
        self.assertEqual(self.keepRunning(10), [])
        self.finish(run)
        self.assertEqual(self.secondsToNext(), 1)
        self.assertEqual(len(self.keepRunning()), 1)

    def test_who_is_started_by_hand_first_is_adopted(self):
        self.registry.start('mail')
        self.assertEqual(self.keepRunning(10), [])

    def test_by_hand_the_delay_begins_anew(self):
        for _ in range(5):
            self.finish(self.start())
            self.secondsToNext()
        self.finish(self.registry.start('mail'))
        self.assertEqual(self.secondsToNext(), 1)

    def test_start_by_hand_gives_the_one_that_lives(self):
        first = self.start()
        self.assertIs(self.registry.start('mail'), first)
        self.assertEqual(self.keepRunning(10), [])
        self.assertEqual(self.registry.services['mail'].run,
                         (first.lane, first.serial))

    def test_as_many_are_kept_running_as_max_running_says(self):
        self.type = declareWorker(
            'mail', factory=BackgroundWorkerThread, is_loop=True,
            autostart=True, max_running=3)
        runs = []
        for instance in services.instances(self.type):
            self.assertTrue(
                services.isMissing(self.registry, self.type, instance))
            services.keepRunning(self.registry, self.type, instance)
            runs.append(self.registry.get(self.ids()[0]))
            self.clock.advance(1.0)
        self.assertEqual(len({run.id for run in runs}), 3)
        self.assertIn(self.registry.start('mail'), runs)
        self.finish(runs[1])
        self.assertNotIn(self.registry.start('mail'), runs)
        self.assertEqual(len(self.ids()), 4)

    def test_one_whose_run_was_removed_is_started(self):
        run = self.start()
        self.finish(run)
        self.registry.lanes[run.lane].births.drop(
            run.serial, from_recent=True)
        self.assertEqual(len(self.keepRunning()), 1)

    def test_one_that_cannot_be_started_is_tried_less_and_less(self):
        logger = logging.getLogger('cipher.background')
        setUpLogging(logger)
        self.addCleanup(tearDownLogging, logger)
        self.type = declareWorker(
            'mail', factory=BackgroundWorkerThread, is_loop=True,
            autostart=True, schema=INumber)
        failed = self.keepRunning(60)
        self.assertEqual({run.state for run in failed}, {'failed'})
        self.assertEqual(len(failed), 6)
        # Mended, it starts.
        self.type = declareWorker(
            'mail', factory=BackgroundWorkerThread, is_loop=True,
            autostart=True)
        self.assertEqual(len(self.keepRunning(300)), 1)


class TwoProcessesTests(ServiceTestCase):
    """Of a FileStorage: it would resolve conflicts where it can."""

    def makeDatabase(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return DB(FileStorage(os.path.join(folder.name, 'Data.fs')))

    def test_two_processes_start_one(self):
        managers, registries = [], []
        for _ in range(2):
            manager = transaction.TransactionManager()
            manager.begin()
            connection = self.db.open(transaction_manager=manager)
            self.addCleanup(connection.close)
            self.addCleanup(manager.abort)
            managers.append(manager)
            registries.append(connection.get(self.registry._p_oid))
        for number, winner in enumerate((0, 1), 1):
            for manager, registry in zip(managers, registries):
                manager.begin()
                services.keepRunning(registry, self.type)
            managers[winner].commit()
            with self.assertRaises(ConflictError):
                managers[1 - winner].commit()
            managers[1 - winner].begin()
            services.keepRunning(registries[1 - winner], self.type)
            managers[1 - winner].commit()
            transaction.begin()
            self.assertEqual(len(self.ids()), number)
            run = self.registry.getRun(*self.registry.services['mail'].run)
            self.finish(run)
            self.clock.advance(300)


class Mail(BackgroundWorkerThread):
    """Sends mail, as long as it is wanted."""

    die = threading.Event()
    working = []   # run ids

    def scheduleNextWork(self):
        self.working.append(self.run_id)
        try:
            while not self.wait(0.005):
                if self.die.is_set():
                    self.die.clear()
                    raise SystemExit('died')
            return False
        finally:
            self.working.remove(self.run_id)


class LiveServiceTests(LiveTests):
    """With a runtime on a FileStorage."""

    def setUp(self):
        super().setUp()
        Mail.die.clear()
        del Mail.working[:]
        self.patch('cipher.background.registry.services.DELAY', 0.05)
        declareWorker('mail', factory=Mail, is_loop=True, autostart=True)
        self.run_id = self.waitWorking()

    def waitWorking(self, *but):
        """Wait until an instance works that is none of *but*."""
        def working():
            return [run_id for run_id in Mail.working if run_id not in but]
        return waitUntil(working, 'the service')[0]

    def ids(self):
        self.begin()
        return [status.id for status in self.registry.listRuns().items]

    def test_runtime_starts_it(self):
        status = self.waitState(self.run_id, 'running')
        self.assertEqual((status.type, status.starter), ('mail', None))
        self.waitTurn()
        self.assertEqual(self.ids(), [self.run_id])

    def test_runtime_starts_it_again_when_it_dies(self):
        Mail.die.set()
        second = self.waitWorking(self.run_id)
        status = self.waitFinished(self.run_id)
        self.assertEqual((status.state, status.error_type),
                         ('failed', 'SystemExit'))
        self.assertEqual(self.ids(), [second, self.run_id])

    def test_stopped_by_a_person_it_stays_so_until_one_starts_it(self):
        self.requestStop(self.run_id)
        self.assertEqual(self.waitFinished(self.run_id).state, 'stopped')
        self.waitTurn()
        self.runtime.shutdown()
        self.runtime = self.startRuntime()
        self.waitTurn()
        self.assertEqual((self.ids(), Mail.working), ([self.run_id], []))
        second = self.start('mail')
        self.assertEqual(self.waitWorking(), second)
        Mail.die.set()
        third = self.waitWorking(second)
        self.assertEqual(len({self.run_id, second, third}), 3)

    def test_shutdown_and_restart_leave_it_one(self):
        for _ in range(2):
            self.runtime.shutdown()
            self.assertEqual(Mail.working, [])
            self.assertEqual(self.status(self.run_id).state, 'pending')
            self.runtime = self.startRuntime()
            self.assertEqual(self.waitWorking(), self.run_id)
            self.waitTurn()
            self.assertEqual(self.ids(), [self.run_id])
            self.assertEqual(Mail.working, [self.run_id])
        self.assertEqual(self.status(self.run_id).interruptions, 0)
