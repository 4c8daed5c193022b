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
"""The test support for applications: runPending, a layer and a clock."""
import os
import tempfile
import threading
import time
import unittest

import transaction
from zope.component import getUtilitiesFor
from zope.component import getUtility
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.security.management import endInteraction
from zope.security.management import queryInteraction
from zope.testing import cleanup

from cipher.background import tests
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerType
from cipher.background.interfaces import RegistryNotFound
from cipher.background.interfaces import Snooze
from cipher.background.testing import BackgroundLayer
from cipher.background.testing import SetClock
from cipher.background.testing import runPending
from cipher.background.tests.support.live import Counter
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import login
from cipher.background.tests.support.sites import makeSite
from cipher.background.thread import BackgroundJob
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util import clock


class Broken(Exception):
    """What the work may raise."""


class RunPendingTests(SiteTests):

    def setUp(self):
        super().setUp()
        self.site['counter'] = self.counter = Counter()
        transaction.commit()
        self.done = []

    def declare(self, name='work', handler=None, **values):
        def work(worker):
            self.done.append(worker.run_id)
            getSite()['counter'].value += 1

        declareWorker(name, handler or work, **values)

    def start(self, name='work', **options):
        run = self.registry.submit(name, **options)
        transaction.commit()
        return run

    def test_what_waits_is_carried_out_in_this_thread(self):
        threads = []
        self.declare(handler=lambda worker: threads.append(
            threading.current_thread()))
        run = self.start()
        self.assertEqual(runPending(self.site), [run])
        self.assertEqual(run.state, SUCCEEDED)
        self.assertEqual(threads, [threading.current_thread()])

    def test_effects_are_seen_at_once(self):
        self.declare()
        self.start()
        self.start()
        runPending(self.site)
        self.assertEqual(self.counter.value, 2)
        transaction.abort()
        self.assertEqual(self.counter.value, 2)

    def test_nothing_waits(self):
        self.assertEqual(runPending(self.site), [])

    def test_a_second_call_does_nothing_twice(self):
        self.declare()
        self.start()
        runPending(self.site)
        self.assertEqual(runPending(self.site), [])
        self.assertEqual(self.counter.value, 1)

    def test_urgent_ones_go_first_then_old_ones(self):
        self.declare()
        runs = [self.start(priority=priority) for priority in (0, 5, -1, 5)]
        runPending(self.site)
        self.assertEqual(self.done, [runs[index].id for index
                                     in (1, 3, 0, 2)])

    def test_what_they_start_is_carried_out_as_well(self):
        self.declare('second')
        self.declare('first', lambda worker: getUtility(
            IWorkerRegistry).start('second').id)
        first = self.start('first')
        runs = runPending(self.site)
        self.assertEqual([run.type for run in runs], ['first', 'second'])
        self.assertEqual(first.result, runs[1].id)
        self.assertEqual(self.counter.value, 1)

    def test_limit(self):
        self.declare()
        for _ in range(3):
            self.start()
        self.assertEqual(len(runPending(self.site, limit=2)), 2)
        self.assertEqual(len(runPending(self.site)), 1)

    def test_error_is_raised_after_it_was_recorded(self):
        error = Broken('broken')

        def fail(worker):
            getSite()['counter'].value += 1
            raise error

        self.declare(handler=fail)
        run = self.start()
        with self.assertRaises(Broken) as caught:
            runPending(self.site)
        self.assertIs(caught.exception, error)
        self.assertEqual((run.state, run.error), (FAILED,
                                                  ('Broken', 'broken')))
        self.assertEqual(self.counter.value, 0)

    def test_error_of_one_leaves_the_others_waiting(self):
        def fail(worker):
            raise Broken

        self.declare('broken', fail)
        self.declare()
        self.start('broken')
        run = self.start()
        with self.assertRaises(Broken):
            runPending(self.site)
        self.assertEqual(run.state, PENDING)
        self.assertEqual(runPending(self.site), [run])

    def test_error_of_a_constructor_is_raised(self):
        class Job(BackgroundJob):
            def __init__(self, *args, **kwargs):
                raise Broken

        declareWorker('work', factory=Job)
        run = self.start()
        with self.assertRaises(Broken):
            runPending(self.site)
        self.assertEqual(run.state, FAILED)

    def test_error_before_the_work_is_raised(self):
        class Job(BackgroundJob):
            def scheduleNextWork(self):
                raise Broken

        declareWorker('work', factory=Job)
        run = self.start()
        with self.assertRaises(Broken):
            runPending(self.site)
        self.assertEqual(run.state, FAILED)

    def test_what_is_not_due_waits_for_the_clock(self):
        self.declare()
        with SetClock() as now:
            run = self.start(delay=60.0)
            self.assertEqual(runPending(self.site), [])
            now.advance(59.0)
            self.assertEqual(runPending(self.site), [])
            now.advance(1.0)
            self.assertEqual(runPending(self.site), [run])

    def test_second_attempt_waits_for_the_clock(self):
        def fail_once(worker):
            self.done.append(worker.run_id)
            if len(self.done) == 1:
                raise Broken

        self.declare(handler=fail_once, max_attempts=2, retry_delay=10.0)
        with SetClock() as now:
            run = self.start()
            # Nothing is raised: it is not the end yet.
            self.assertEqual(runPending(self.site), [run])
            self.assertEqual((run.state, run.attempts), (PENDING, 1))
            self.assertEqual(runPending(self.site), [])
            now.advance(10.0)
            self.assertEqual(runPending(self.site), [run])
        self.assertEqual((run.state, run.attempts), (SUCCEEDED, 2))

    def test_last_attempt_raises(self):
        def fail(worker):
            raise Broken

        self.declare(handler=fail, max_attempts=2)
        with SetClock() as now:
            self.start()
            runPending(self.site)
            now.advance(60.0)
            with self.assertRaises(Broken):
                runPending(self.site)

    def test_snooze_waits_for_the_clock(self):
        def snooze(worker):
            self.done.append(worker.run_id)
            if len(self.done) == 1:
                raise Snooze(30)

        self.declare(handler=snooze)
        with SetClock() as now:
            run = self.start()
            runPending(self.site)
            self.assertEqual((run.state, run.attempts), (PENDING, 0))
            now.advance(30)
            runPending(self.site)
            self.assertEqual(run.state, SUCCEEDED)

    def test_loops_and_unknown_types_are_left(self):
        declareWorker('loop', factory=BackgroundWorkerThread, is_loop=True)
        self.start('loop')
        with self.subTest('unknown'):
            self.registry.addRun('unknown')
            transaction.commit()
        self.assertEqual(runPending(self.site), [])

    def test_stopped_runs_are_left(self):
        self.declare()
        run = self.start()
        self.registry.requestStop(run.id)
        transaction.commit()
        self.assertEqual(runPending(self.site), [])
        self.assertEqual(run.state, STOPPED)

    def test_claimed_types_are_carried_out(self):
        self.declare(max_running=1)
        self.declare('outside', on_interrupt='fail')
        runs = [self.start(), self.start(), self.start('outside')]
        self.assertEqual(runPending(self.site), runs)
        self.assertEqual({run.state for run in runs}, {SUCCEEDED})

    def test_site_and_interaction_are_the_same_afterwards(self):
        seen = []
        self.declare(handler=lambda worker: seen.extend(
            queryInteraction().participations))
        login('ann')
        setSite(self.site)
        self.start()
        endInteraction()
        login('bob')
        interaction = queryInteraction()
        runPending()
        self.assertIs(queryInteraction(), interaction)
        self.assertIs(getSite(), self.site)
        self.assertEqual([one.principal.id for one in seen], ['ann'])

    def test_start_after_it_is_no_part_of_a_chain(self):
        self.declare()
        self.start()
        runPending(self.site)
        self.assertEqual(self.start().depth, 0)

    def test_current_site_by_default(self):
        self.declare()
        connection, other, registry = makeSite(self.db, 'Other')
        connection.close()
        self.start()
        with self.assertRaises(RegistryNotFound):
            runPending()
        setSite(self.site)
        self.assertEqual(len(runPending()), 1)

    def test_what_is_not_committed_is_lost(self):
        self.declare()
        self.registry.start('work')
        self.assertEqual(runPending(self.site), [])


class SetClockTests(unittest.TestCase):

    def test_clock_is_set_and_put_back(self):
        with SetClock(1000.0) as now:
            self.assertEqual(clock.now(), 1000.0)
            now.advance(0.5)
            self.assertEqual(clock.now(), 1000.5)
        self.assertAlmostEqual(clock.now(), time.time(), delta=60)

    def test_it_begins_at_the_real_time(self):
        with SetClock() as now:
            self.assertAlmostEqual(now.now, time.time(), delta=60)
            self.assertEqual(clock.now(), clock.now())

    def test_error_puts_it_back_as_well(self):
        with self.assertRaises(Broken):
            with SetClock(1.0):
                raise Broken
        self.assertGreater(clock.now(), 2.0)


class ApplicationTests(unittest.TestCase):
    """What an application's own tests look like."""

    # `layer` is an attribute of this class in an application.

    def setUp(self):
        self.app = app
        self.site = app.site

    def test_import(self):
        self.assertIs(getSite(), self.site)
        self.assertEqual(
            [name for name, _ in getUtilitiesFor(IWorkerType)], ['import'])
        getUtility(IWorkerRegistry).start('import')
        transaction.commit()
        run, = runPending()
        self.assertEqual((run.state, run.result), (SUCCEEDED, 'imported'))
        self.site['left'] = Counter()
        transaction.commit()


def importAll(worker):
    """Pretend to import."""
    return 'imported'


app = None
_ZCML = '''<configure
    xmlns:background="http://namespaces.zope.org/background">
  <include package="cipher.background" />
  <background:worker name="import" handler="%s.importAll" />
</configure>
''' % __name__


class LayerTests(unittest.TestCase):

    def setUp(self):
        global app
        cleanup.cleanUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, 'ftesting.zcml')
        with open(path, 'w') as stream:
            stream.write(_ZCML)
        app = self.layer = BackgroundLayer(tests, path, 'Application')
        self.layer.setUp()
        self.addCleanup(self.layer.tearDown)

    def carryOut(self):
        """Carry out the application's test as the test runner does."""
        self.layer.testSetUp()
        try:
            result = unittest.TestResult()
            ApplicationTests('test_import').run(result)
            self.assertEqual(result.failures + result.errors, [])
            self.assertEqual(result.testsRun, 1)
        finally:
            self.layer.testTearDown()

    def test_each_test_has_a_database_of_its_own(self):
        for _ in range(2):
            self.carryOut()
            self.layer.testSetUp()
            self.assertNotIn('left', self.layer.site)
            self.layer.testTearDown()

    def test_nothing_is_left_after_a_test(self):
        self.layer.testSetUp()
        login('ann')
        SetClock(1.0).__enter__()
        self.layer.site['left'] = Counter()
        self.layer.testTearDown()
        self.assertIsNone(getSite())
        self.assertIsNone(queryInteraction())
        self.assertGreater(clock.now(), 2.0)

    def test_nothing_is_left_after_the_layer(self):
        self.layer.tearDown()
        self.assertEqual(list(getUtilitiesFor(IWorkerType)), [])

    def test_layer_has_a_name(self):
        self.assertEqual(
            (self.layer.__module__, self.layer.__name__,
             self.layer.__bases__),
            ('cipher.background.tests', 'Application', ()))


def load_tests(loader, standard, pattern):
    """Leave ApplicationTests to LayerTests."""
    suite = unittest.TestSuite()
    for case in (RunPendingTests, SetClockTests, LayerTests):
        suite.addTest(loader.loadTestsFromTestCase(case))
    return suite


def test_suite():
    """Likewise, for zope.testrunner."""
    return load_tests(unittest.defaultTestLoader, None, None)
