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
"""Stored things whose code is gone; the clock; a registry that grew big."""
import sys
import time
import types
from unittest import mock

import transaction
from persistent import Persistent
from zope.component.hooks import getSite

from cipher.background.events import RunFailedEvent
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.store import process
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.testing import SetClock
from cipher.background.tests.support.layers import Long
from cipher.background.tests.support.live import FailingTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import SiteTests


class UnimportableTests(FailingTests):

    def setUp(self):
        super().setUp()
        self.module = types.ModuleType('package_that_goes_away')
        sys.modules[self.module.__name__] = self.module
        self.addCleanup(sys.modules.pop, self.module.__name__, None)
        self.module.Thing = type('Thing', (Persistent,), {
            '__module__': self.module.__name__, '__parent__': None,
            '__name__': None})

    def go_away(self):
        """Let the class of the context be gone for good."""
        transaction.abort()
        self.runtime.shutdown()
        self.connection.close()
        self.db.close()
        del sys.modules[self.module.__name__]
        self.db = self.makeDatabase()
        self.addCleanup(self.db.close)
        self.connection = self.db.open()
        self.site = self.connection.root()['Application']
        self.counter = self.site['counter']
        self.registry = self.site.getSiteManager()['background']

    def test_class_of_the_context(self):
        declareWorker('work', lambda worker: worker.context.nothing)
        self.module.Thing.nothing = None
        self.begin()
        self.site['thing'] = thing = self.module.Thing()
        transaction.commit()
        done = self.carryOut('work', thing).id
        self.runtime.shutdown()
        waiting = self.start('work', thing)
        stopped = self.start('work', thing)
        del thing
        self.go_away()
        self.assertEqual(
            {run.id: run.state for run in self.registry.listRuns().items},
            {done: 'succeeded', waiting: 'pending', stopped: 'pending'})
        for run_id in done, waiting:
            self.registry.getStatus(run_id)
            self.registry.getDetails(run_id)
            self.registry.getContext(run_id)
        self.assertEqual(self.requestStop(stopped), 'stopped')
        # What is left of the object has none of its attributes.
        self.runtime = self.startRuntime()
        self.assertEqual(self.waitFinished(waiting).state, 'failed')
        for run_id in done, waiting, stopped:
            self.registry.remove(run_id)
        transaction.commit()
        self.assertEqual(self.registry.listRuns().items, [])
        self.assertGoesOn()

    def test_class_of_the_error_and_the_result(self):
        class Odd(Exception):
            pass

        def work(worker):
            if worker.context is not None:
                raise Odd('odd')
            return self.module.Thing()

        declareWorker('work', work)
        runs = [self.carryOut('work').id, self.carryOut(
            'work', self.counter).id]
        self.go_away()
        failed, succeeded = self.registry.listRuns().items
        self.assertEqual([succeeded.id, failed.id], runs)
        self.assertEqual(failed.error_type, 'Odd')
        self.assertIn('Thing', succeeded.result)
        self.runtime = self.startRuntime()


class ClockTests(LiveTests):

    settings = dict(LiveTests.settings, lease=3.0)

    def setUp(self):
        super().setUp()
        declareWorker('work', self.work)

    def work(self, worker):
        getSite()['counter'].value += 1
        self.gate.stop()

    def test_clock_changes_during_the_work(self):
        for change in 3600, -3600:
            with self.subTest(change), SetClock() as clock:
                self.gate.__init__()
                run_id = self.start('work')
                self.gate.waitReached()
                before = self.beat()
                clock.advance(change)
                # Process and run live on over some beats.
                waitUntil(lambda before=before: self.beat() > before + 1)
                status = self.status(run_id)
                self.assertEqual((status.state, status.interruptions),
                                 ('running', 0))
                self.assertGreaterEqual(status.took, 0.0)
                self.gate.open()
                status = self.waitFinished(run_id)
                self.assertEqual(
                    (status.state, status.attempts, status.interruptions),
                    ('succeeded', 1, 0))
                self.assertGreaterEqual(status.took, 0.0)
                self.assertGreaterEqual(status.waited, 0.0)
        self.assertEqual(self.value(), 2)
        self.assertNotIn('dead', self.logged.getvalue())

    def test_other_process_is_not_dead_for_its_clock(self):
        # Neither an hour ahead nor behind: what counts is that it beats.
        maintenance = self.runtime._maintenance
        liveness = getattr(maintenance, '_liveness', maintenance)
        with mock.patch.object(liveness, '_is_exclusive', False):
            other = self.addProcess()
            run = self.registry.start('work')
            run.claim(other.id, time.time(), must_not_rerun=False)
            transaction.commit()
            for n in range(5):
                self.begin()
                other.heartbeat.count += 1
                other.heartbeat.beat_at = time.time() + (3600, -3600)[n % 2]
                transaction.commit()
                before = self.beat()
                waitUntil(lambda before=before: self.beat() > before)
        self.assertIn(other.id, [
            record.id for record in self.registry.listProcesses()])
        self.assertEqual(run.state, 'running')
        self.assertEqual(run.interruptions, 0)

    def addProcess(self):
        """Return the record of a process elsewhere."""
        self.begin()
        # Its pid means nothing here.
        record = ProcessRecord(
            process.newProcessId('elsewhere', 1), 'elsewhere', 1, 'other',
            None, 1, 3.0, time.time())
        getDirectory(self.connection).processes[record.id] = record
        transaction.commit()
        return record

    def beat(self):
        """Return the number of beats of our runtime."""
        self.begin()
        return getDirectory(self.connection).processes[
            self.runtime.id].heartbeat.count


class BigTests(SiteTests):
    """What looks at runs loads so many objects, however many there are."""

    layer = Long

    def grow(self, number):
        """Store so many finished runs."""
        for n in range(number):
            run = self.registry.addRun('work')
            if n % 10:
                self.registry.finish(run, SUCCEEDED, RunSucceededEvent,
                                     started_at=run.created_at)
            else:
                self.registry.finish(run, FAILED, RunFailedEvent,
                                     started_at=run.created_at,
                                     error=('ValueError', 'broken'))
            if n % 100 == 99:
                transaction.commit()
        for lane in self.registry.lanes.values():
            # As the beat of a runtime does.
            lane.bookmark.low = lane.births.next_serial
        transaction.commit()

    def loads(self, look):
        """Return how many objects *look* loads, with nothing in memory."""
        connection = self.db.open(transaction.TransactionManager())
        try:
            connection.cacheMinimize()
            connection.getTransferCounts(clear=True)
            look(connection.get(self.registry._p_oid))
            return connection.getTransferCounts()[0]
        finally:
            connection.close()

    LOOKS = {
        'list': lambda registry: registry.listRuns(),
        'pending': lambda registry: registry.listRuns(states=['pending']),
        'failed': lambda registry: registry.listRuns(states=['failed']),
        'count': lambda registry: registry.getCounts(),
        'types': lambda registry: registry.listTypes(),
        'hours': lambda registry: registry.getActivity(),
        'processes': lambda registry: registry.listProcesses(),
        'next page': lambda registry: registry.listRuns(
            before=registry.listRuns().older),
    }

    def test_looks_cost_the_same_whatever_there_is(self):
        declareWorker('work', lambda worker: None)
        self.grow(500)
        before = {name: self.loads(look) for name, look in self.LOOKS.items()}
        self.grow(2500)
        after = {name: self.loads(look) for name, look in self.LOOKS.items()}
        for name in self.LOOKS:
            with self.subTest(name):
                self.assertGreater(before[name], 0)
                # A tree may be a level deeper.
                self.assertLessEqual(after[name], before[name] + 60)
                self.assertLess(after[name], 400)
        self.assertEqual(self.registry.getCounts(), {
            'work': {'succeeded': 2700, 'failed': 300}})
