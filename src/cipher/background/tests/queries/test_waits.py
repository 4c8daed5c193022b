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
"""Tests of `cipher.background.queries.waits`: a waiting run says why it waits.
"""

import transaction
from zope.component import getGlobalSiteManager
from zope.interface.verify import verifyObject
from zope.security.management import endInteraction
from zope.site.folder import Folder
from zope.site.site import LocalSiteManager

from cipher.background.interfaces import ALREADY_DUE
from cipher.background.interfaces import LIMIT_REACHED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import TYPE_UNDECLARED
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.interfaces import WAITS
from cipher.background.interfaces import WAITS_FOR_LIMIT
from cipher.background.interfaces import WAITS_FOR_RESCUE
from cipher.background.interfaces import WAITS_FOR_RUNTIME
from cipher.background.interfaces import WAITS_FOR_THREAD
from cipher.background.interfaces import WAITS_FOR_TIME
from cipher.background.interfaces import WAITS_FOR_TURN
from cipher.background.interfaces import WAITS_WHILE_PAUSED
from cipher.background.interfaces import WAITS_WHILE_QUIET
from cipher.background.interfaces import WAITS_WHILE_UNDECLARED
from cipher.background.interfaces import IWait
from cipher.background.interfaces import IWorkerType
from cipher.background.registry.installation import addRegistry
from cipher.background.store.process import getDirectory
from cipher.background.tests.queries.test_problems import WatchTests
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import Grants
from cipher.background.tests.support.sites import login


class WaitTests(LiveTests):
    """With a runtime of two threads that is at work."""

    def setUp(self):
        super().setUp()
        declareWorker('work', lambda worker: None)
        declareWorker('hold', lambda worker: self.gate.stop())

    def wait(self, run_id):
        """Return the `Wait` of a run, verified."""
        status = self.status(run_id)
        self.assertEqual(PENDING, status.state)
        verifyObject(IWait, status.wait)
        self.assertIn(status.wait.kind, WAITS)
        return status.wait

    def waitFor(self, run_id, kind):
        """Wait until the run waits for that; return the `Wait`."""
        return waitUntil(
            lambda: self.wait(run_id).kind == kind and self.wait(run_id),
            kind)

    def hold(self, number):
        """Return the ids of so many runs that are at work."""
        runs = [self.start('hold') for _ in range(number)]
        for run_id in runs:
            self.waitState(run_id, 'running')
        return runs

    def test_what_runs_or_is_finished_does_not_wait(self):
        run_id, = self.hold(1)
        self.assertIsNone(self.status(run_id).wait)
        self.gate.open()
        self.assertIsNone(self.waitFinished(run_id).wait)

    def test_time(self):
        self.begin()
        run = self.registry.submit('work', delay=1000.0)
        transaction.commit()
        wait = self.wait(run.id)
        self.assertEqual((WAITS_FOR_TIME, run.due_at),
                         (wait.kind, wait.until))

    def test_time_of_the_next_attempt(self):
        def fail(worker):
            raise ValueError

        declareWorker('again', fail, max_attempts=2, retry_delay=1000.0)
        run_id = self.start('again')
        wait = waitUntil(lambda: self.status(run_id).attempts
                         and self.status(run_id).wait, 'the attempt')
        self.assertEqual(WAITS_FOR_TIME, wait.kind)

    def test_pause(self):
        self.change(lambda: self.registry.pauseType('work'))
        self.assertEqual(WAITS_WHILE_PAUSED,
                         self.wait(self.start('work')).kind)

    def test_quiet_process(self):
        self.runtime.quiet()
        waitUntil(lambda: self.begin() or not any(
            record.isTaking() for record in
            getDirectory(self.connection).processes.values()), 'the quiet')
        run_id = self.start('work')
        self.assertEqual(WAITS_WHILE_QUIET, self.wait(run_id).kind)
        self.runtime.quiet(False)
        self.assertIsNone(self.waitFinished(run_id).wait)

    def test_type_that_no_process_knows(self):
        run_id = self.start_undeclared()
        self.assertEqual(WAITS_WHILE_UNDECLARED, self.wait(run_id).kind)

    def start_undeclared(self):
        declareWorker('lost', lambda worker: None)
        self.begin()
        run = self.registry.start('lost')
        getGlobalSiteManager().unregisterUtility(
            provided=IWorkerType, name='lost')
        transaction.commit()
        return run.id

    def test_limit_names_the_run_that_goes_first(self):
        declareWorker('one', lambda worker: self.gate.stop(), max_running=1)
        first = self.start('one')
        self.gate.waitReached()
        second = self.start('one')
        wait = self.waitFor(second, WAITS_FOR_LIMIT)
        self.assertEqual((1, first), (wait.number, wait.run_id))
        self.gate.open()
        self.waitFinished(second)

    def test_limit_by_a_run_of_another_site_names_none(self):
        declareWorker('one', lambda worker: self.gate.stop(), max_running=1)
        self.begin()
        self.site['sub'] = sub = Folder()
        sub.setSiteManager(LocalSiteManager(sub))
        transaction.commit()
        other = addRegistry(sub)
        transaction.commit()
        waitUntil(lambda: any(
            oid == other._p_oid for oid, _ in self.runtime.backlog.lanes()))
        self.begin()
        other.start('one')
        transaction.commit()
        self.gate.waitReached()
        run_id = self.start('one')
        wait = self.waitFor(run_id, WAITS_FOR_LIMIT)
        self.assertEqual((1, None), (wait.number, wait.run_id))
        # Nor does anybody learn of it who may not see that site.
        grant = Grants(self)
        self.addCleanup(endInteraction)
        self.site['sister'] = sister = Folder()
        sister.setSiteManager(LocalSiteManager(sister))
        transaction.commit()
        sisters = addRegistry(sister)
        grant('sister', sister, VIEW_WORKERS)
        grant('all', self.site, VIEW_WORKERS)
        run = sisters.start('one')
        transaction.commit()
        for user, kind, obstacle in (
                ('all', WAITS_FOR_LIMIT, LIMIT_REACHED),
                ('sister', WAITS_FOR_TURN, ALREADY_DUE)):
            login(user)
            self.begin()
            status = sisters.getStatus(run.id)
            self.assertEqual((kind, obstacle),
                             (status.wait.kind, status.begin_obstacle))

    def test_no_thread(self):
        self.hold(2)
        run_id = self.start('work')
        self.assertEqual(WAITS_FOR_THREAD, self.wait(run_id).kind)
        self.gate.open()
        self.assertIsNone(self.waitFinished(run_id).wait)

    def test_turn(self):
        with self.nothingDue():
            run_id = self.start('work')
            self.assertEqual(WAITS_FOR_TURN, self.wait(run_id).kind)

    def test_threads_of_hidden_runs_are_not_told_of(self):
        declareWorker('hold', lambda worker: self.gate.stop(),
                      view_permission='test.Secret')
        self.hold(2)
        run_id = self.start('work')
        grant = Grants(self)
        self.addCleanup(endInteraction)
        grant('all', self.site, VIEW_WORKERS, 'test.Secret')
        grant('some', self.site, VIEW_WORKERS)
        login('all')
        self.assertEqual(WAITS_FOR_THREAD, self.wait(run_id).kind)
        login('some')
        self.assertEqual(WAITS_FOR_TURN, self.wait(run_id).kind)

    def test_list_says_the_same_as_the_page(self):
        self.hold(2)
        runs = [self.start('work'), self.start_undeclared()]
        self.begin()
        items = self.registry.listRuns(states=[PENDING]).items
        self.assertEqual(
            {run_id: self.wait(run_id) for run_id in runs},
            {status.id: status.wait for status in items})


class WithoutRuntimeTests(FileSiteTests):

    def test_no_process_carries_out_runs(self):
        declareWorker('work', lambda worker: None)
        run = self.registry.start('work')
        self.assertEqual(WAITS_FOR_RUNTIME,
                         self.registry.getStatus(run.id).wait.kind)
        transaction.commit()
        self.assertEqual(WAITS_FOR_RUNTIME,
                         self.registry.getStatus(run.id).wait.kind)


class RecordTests(WatchTests):
    """With processes that are there as records only."""

    def kind(self, run):
        return self.registry.getStatus(run.id).wait.kind

    def test_run_of_a_process_that_is_gone(self):
        run = self.claim(self.addProcess())
        self.addProcess('other')
        del getDirectory(self.connection).processes['p:1:x']
        self.assertEqual(WAITS_FOR_RESCUE, self.kind(run))

    def test_silent_process_and_web_process_carry_out_nothing(self):
        run, = self.makeRuns(1, state=None)
        self.addProcess('web', threads=0)
        self.assertEqual(WAITS_FOR_RUNTIME, self.kind(run))
        self.addProcess('worker')
        self.assertEqual(WAITS_FOR_TURN, self.kind(run))
        self.clock.advance(91.0)
        self.assertEqual(WAITS_FOR_RUNTIME, self.kind(run))

    def test_type_is_known_if_one_process_declares_it(self):
        run, = self.makeRuns(1, state=None)
        first, second = self.addProcess('a'), self.addProcess('b')
        self.assertEqual(WAITS_FOR_TURN, self.kind(run))
        self.report(first, 'other')
        self.report(second, 'work', 'other')
        self.assertEqual(WAITS_FOR_TURN, self.kind(run))
        self.report(second, 'other')
        self.assertEqual(WAITS_WHILE_UNDECLARED, self.kind(run))
        gone, = self.makeRuns(1, 'gone', state=None)
        self.assertEqual(WAITS_WHILE_UNDECLARED, self.kind(gone))
        self.assertEqual(TYPE_UNDECLARED,
                         self.registry.getStatus(gone.id).begin_obstacle)
        self.report(second, 'gone')
        self.assertEqual(WAITS_FOR_TURN, self.kind(gone))
        self.assertEqual(ALREADY_DUE,
                         self.registry.getStatus(gone.id).begin_obstacle)

    def test_type_that_no_process_takes(self):
        run, = self.makeRuns(1, state=None)
        record = self.addProcess('a')
        self.report(record, 'other', 'work')
        record.declared.begun = ('other',)
        self.assertEqual(WAITS_WHILE_UNDECLARED, self.kind(run))

    def report(self, record, *types):
        record.declared.types = types

    def test_all_threads_of_all_processes_have_to_be_busy(self):
        *busy, waits = self.makeRuns(4, state=None)
        first = self.addProcess('a', threads=2)
        second = self.addProcess('b', threads=1)
        self.addProcess('c', threads=8, is_quiet=True)
        self.tell(first, *busy[:2])
        self.assertEqual(WAITS_FOR_TURN, self.kind(waits))
        self.tell(second, busy[2])
        self.assertEqual(WAITS_FOR_THREAD, self.kind(waits))

    def test_loop_takes_no_thread(self):
        declareWorker('loop', print, is_loop=True)
        loop, = self.makeRuns(1, 'loop', state=None)
        waits, = self.makeRuns(1, state=None)
        self.tell(self.addProcess(threads=1), loop)
        self.assertEqual(WAITS_FOR_TURN, self.kind(waits))

    def test_what_is_due_or_paused_says_so_whatever_else_is(self):
        run, = self.makeRuns(1, state=None, due_at=self.clock.now + 60)
        self.registry.pauseType('work')
        self.assertEqual(WAITS_FOR_TIME, self.kind(run))
        self.clock.advance(60.0)
        self.assertEqual(WAITS_WHILE_PAUSED, self.kind(run))
        self.registry.pauseType('work', False)
        self.assertEqual(WAITS_FOR_RUNTIME, self.kind(run))

    def test_odd_times_that_are_stored_are_no_reason(self):
        for due_at in 'soon', float('nan'), [], 10 ** 400:
            run, = self.makeRuns(1, state=None, due_at=due_at)
            self.assertEqual(WAITS_FOR_RUNTIME, self.kind(run))

    def test_a_look_writes_nothing(self):
        declareWorker('one', print, max_running=1)
        self.addProcess()
        for name in 'one', 'work', 'gone':
            self.makeRuns(2, name, state=None)
        self.registry.listRuns(states=[PENDING])
        self.registry.listProblems()
        self.assertFalse(self.connection._registered_objects)
