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
"""A run that waits for its time is begun now, by whoever is its home."""
import time
from unittest import mock

import transaction

from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import RunNotBeginnable
from cipher.background.interfaces import RunNotFound
from cipher.background.interfaces import Snooze
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.store.slots import takeSlot
from cipher.background.tests.support.cluster import ZEOTests
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import login
from cipher.background.work.liverun import ticketOf


DAY = 86400.0


class LiveBeginTests(LiveTests):

    def setUp(self):
        super().setUp()
        declareWorker('work', lambda worker: 'done')

    def submit(self, delay, name='work'):
        self.begin()
        run = self.registry.submit(name, delay=delay)
        transaction.commit()
        return run.id

    def begin_now(self, run_id):
        self.change(lambda: self.registry.beginNow(run_id))

    def waitForgotten(self):
        """Wait until no request is left."""
        def is_empty():
            self.begin()
            return not self.registry.hastened
        waitUntil(is_empty, 'that the request is forgotten')

    def waitStored(self, run_id):
        """Wait until it waits in the database, and nowhere else."""
        lane, serial = map(int, run_id.split('-'))
        place = self.registry._p_oid, lane

        def is_stored():
            self.begin()
            waiting = self.registry.lanes[lane].waiting
            return serial in waiting.places and (
                not self.runtime.backlog.isKnown(place, serial))
        waitUntil(is_stored, 'the entry of the run')

    def test_run_that_waits_in_the_database_begins(self):
        run_id = self.submit(DAY)
        self.waitStored(run_id)
        self.begin_now(run_id)
        status = self.waitFinished(run_id)
        self.assertEqual(status.state, 'succeeded')
        self.assertLess(status.waited, DAY / 2)
        self.waitForgotten()

    def test_run_that_waits_in_memory_begins(self):
        run_id = self.submit(25.0)
        waitUntil(lambda: self.runtime.backlog.counts()[1] == 1)
        self.begin_now(run_id)
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.waitForgotten()
        self.assertEqual(self.runtime.backlog.counts()[1], 0)

    def test_run_that_is_not_stored_yet_begins(self):
        with mock.patch.object(self.runtime._maintenance._bookmarks, 'turn'):
            run_id = self.submit(DAY)
            self.waitTurn()
            self.begin_now(run_id)
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def test_run_that_waits_for_another_try_begins(self):
        for error in ValueError(), Snooze(DAY):
            errors = [error]

            def work(worker):
                if errors:
                    raise errors.pop()

            declareWorker('work', work, max_attempts=2, retry_delay=DAY)
            run_id = self.start('work')
            waitUntil(lambda: self.status(run_id).is_beginnable)
            self.begin_now(run_id)
            status = self.waitFinished(run_id)
            self.assertEqual(status.state, 'succeeded')
            self.assertLess(status.waited, 10.0)

    def test_run_that_a_wrong_clock_put_off_begins(self):
        run_id = self.submit(DAY)
        self.change(lambda: setattr(
            self.registry.get(run_id), 'due_at', time.time() + 2e9))
        self.waitStored(run_id)
        self.begin_now(run_id)
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def test_request_without_a_runtime_waits_for_one(self):
        run_id = self.submit(DAY)
        self.waitStored(run_id)
        self.runtime.shutdown()
        self.begin_now(run_id)
        self.runtime = self.startRuntime()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def test_after_it_is_forgotten_the_database_knows_the_new_time(self):
        run_id = self.submit(DAY)
        self.waitStored(run_id)
        with self.nothingDue():
            self.begin_now(run_id)
            self.waitForgotten()
            lane, serial = map(int, run_id.split('-'))
            self.begin()
            self.assertIn(
                serial, self.registry.lanes[lane].waiting.upTo(time.time()))
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def test_many_begin(self):
        ids = [self.submit(DAY + number % 3) for number in range(30)]
        self.change(lambda: self.registry.actOnRuns('begin', ids))
        for run_id in ids:
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.waitForgotten()

    def test_what_was_put_off_again_waits(self):
        run_id = self.submit(DAY)
        self.waitStored(run_id)
        with self.nothingDue():
            def change():
                self.registry.beginNow(run_id)
                self.registry.get(run_id).due_at = time.time() + DAY
            self.change(change)
            self.waitForgotten()
        self.waitTurn()
        self.assertEqual(self.status(run_id).state, 'pending')

    def test_run_that_is_stopped_or_removed_is_forgotten(self):
        for is_removed in False, True:
            run_id = self.submit(DAY)
            self.waitStored(run_id)

            def change():
                self.registry.beginNow(run_id)
                self.registry.requestStop(run_id)
                if is_removed:
                    self.registry.remove(run_id)
            self.change(change)
            self.waitForgotten()

    def test_while_a_look_is_under_way_it_is_asked_again(self):
        run_id = self.submit(DAY)
        self.waitStored(run_id)
        backlog = self.runtime.backlog
        run = self.registry.get(run_id)
        with mock.patch.object(backlog, '_is_looking', True):
            self.assertFalse(
                backlog.hasten(ticketOf(self.registry._p_oid, run)))


class ClusterBeginTests(ZEOTests):

    def test_home_in_another_process_hears_of_it(self):
        self.runtime.shutdown()
        home = self.act()
        self.waitProcesses(home.id)
        self.begin()
        run = self.registry.submit('add', delay=DAY)
        transaction.commit()
        self.change(lambda: self.registry.beginNow(run.id))
        self.waitFinal(run.id, 'succeeded')


class ObstacleTests(FileSiteTests):

    def setUp(self):
        super().setUp()
        login('admin')
        declareWorker('work', lambda worker: None)
        declareWorker('one', lambda worker: None, max_running=1)

    def assertRefused(self, run, cause, said):
        status = self.registry.getStatus(run.id)
        self.assertEqual((status.begin_obstacle, status.is_beginnable),
                         (cause, False))
        before = run.due_at
        with self.assertRaises(RunNotBeginnable) as caught:
            self.registry.beginNow(run.id)
        self.assertEqual(caught.exception.cause, cause)
        self.assertTrue(str(caught.exception).startswith(
            'run %r: expected a run that waits for its time, got one '
            % run.id), caught.exception)
        self.assertIn(said, str(caught.exception))
        self.assertEqual(run.due_at, before)
        self.assertEqual(self.registry.actOnRuns('begin', [run.id]), [])
        self.assertFalse(self.registry.hastened)
        self.assertNotIn('begin', [
            action.verb for action in self.registry.listActions()[0]])

    def running(self, name):
        record = ProcessRecord('host:1:aa', 'host', 1, None, None, 4, 90.0,
                               time.time())
        getDirectory(self.connection).processes[record.id] = record
        run = self.registry.start(name)
        run.change('running', owner=record.id, started_at=time.time())
        transaction.commit()
        return run

    def test_run_that_is_due(self):
        self.assertRefused(self.registry.start('work'), 'already due',
                           'as soon as a thread is free')

    def test_run_that_runs_or_is_over(self):
        self.assertRefused(self.running('work'), 'not waiting', "'running'")
        run = self.registry.submit('work', delay=DAY)
        self.registry.requestStop(run.id)
        self.assertRefused(run, 'not waiting', "'stopped'")

    def test_run_whose_process_is_gone(self):
        run = self.running('work')
        run.owner = 'host:2:gone'
        self.assertRefused(run, 'process gone', 'whose process is gone')

    def test_run_of_a_type_that_is_paused(self):
        run = self.registry.submit('work', delay=DAY)
        self.registry.pauseType('work')
        self.assertRefused(run, 'type paused', 'resume that type')

    def test_run_of_a_type_that_is_not_declared(self):
        run = self.registry.addRun('other', due_at=time.time() + DAY)
        self.assertRefused(run, 'type undeclared', 'declare that')

    def test_run_of_a_type_that_has_no_room(self):
        other, due = self.running('one'), self.registry.start('one')
        self.assertTrue(takeSlot(
            self.connection, queryWorkerType('one'),
            (self.registry._p_oid, other.lane, other.serial)))
        self.assertRefused(due, 'limit reached', 'its max_running is reached')
        # One that waits for its time as well waits for room alone then.
        later = self.registry.submit('one', delay=DAY)
        self.registry.beginNow(later.id)
        self.assertEqual(
            self.registry.getStatus(later.id).begin_obstacle, 'limit reached')

    def test_run_that_is_not_there(self):
        with self.assertRaises(RunNotFound):
            self.registry.beginNow('9-9')

    def test_it_is_in_the_journal_with_who_and_why(self):
        clock = self.setClock()
        run = self.registry.submit('work', delay=DAY)
        clock.advance(60.0)
        self.registry.beginNow(run.id, 'the night is over')
        self.assertEqual(run.due_at, clock.now)
        action, = self.registry.listActions()[0]
        self.assertEqual(
            (action.verb, action.subject, action.principal, action.reason),
            ('begin', run.id, 'admin', 'the night is over'))

    def test_many_are_one_row_of_the_journal(self):
        runs = [self.registry.submit('work', delay=DAY) for _ in range(3)]
        due = self.registry.start('work')
        ids = [run.id for run in runs]
        self.assertEqual(
            self.registry.actOnRuns('begin', [*ids, due.id], 'now'), ids)
        action, = self.registry.listActions()[0]
        self.assertEqual((action.verb, action.run_ids), ('begin', ids))
