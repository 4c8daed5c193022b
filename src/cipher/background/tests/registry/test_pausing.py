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
"""Worker types, schedules and processes are paused: what is kept of it."""
import transaction
from ZODB.POSException import ConflictError
from zope.component import provideUtility

from cipher.background.declarations.schedule import Schedule
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import ProcessNotFound
from cipher.background.interfaces import ScheduleNotFound
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.registry.schedules import tick
from cipher.background.store.process import getDirectory
from cipher.background.store.thresholds import Thresholds
from cipher.background.tests.support.administration import BEGIN
from cipher.background.tests.support.administration import PROCESS
from cipher.background.tests.support.administration import AdministrationTests
from cipher.background.tests.support.administration import another
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil


class TypeTests(AdministrationTests):

    def pauses(self):
        return dict(self.registry.pauses)

    def test_who_paused_it_when_and_why(self):
        self.registry.pauseType('work', reason='the disk is full')
        asked = ('admin', BEGIN, 'the disk is full')
        self.assertEqual(self.pauses(), {'work': asked})
        self.clock.advance(5.0)
        self.registry.pauseType('work', False, 'there is room')
        self.assertEqual(self.pauses(), {})
        self.assertEqual(self.actions(), [
            ('pause type', 'work', *asked),
            ('resume type', 'work', 'admin', BEGIN + 5.0, 'there is room')])

    def test_what_is_no_news_changes_nothing(self):
        self.registry.pauseType('work', False)
        self.registry.pauseType('work', reason='first')
        self.registry.pauseType('work', reason='second')
        self.assertEqual(self.pauses()['work'][2], 'first')
        self.assertEqual(len(self.actions()), 1)

    def test_type_with_runs_that_is_not_declared(self):
        self.registry.addRun('gone')
        self.registry.pauseType('gone')
        self.assertIn('gone', self.registry.pauses)

    def test_unknown_type_is_refused(self):
        for name in 'typo', None, 5, b'work', ('work',):
            with self.subTest(name=name):
                with self.assertRaises(UnknownWorkerType) as caught:
                    self.registry.pauseType(name)
                self.assertIn('worker %r: expected a worker type that is '
                              'declared or has runs' % (name,),
                              str(caught.exception))
        self.assertEqual((self.pauses(), self.actions()), ({}, []))

    def test_pause_of_a_type_that_is_no_more_can_be_ended(self):
        run = self.make(type='gone')
        self.registry.pauseType('gone')
        self.registry.remove(run.id)
        self.registry.pauseType('gone', False)
        self.assertEqual(self.pauses(), {})

    def test_starts_are_still_accepted(self):
        self.registry.pauseType('work')
        self.assertEqual(self.registry.start('work').state, 'pending')

    def test_two_at_a_time(self):
        with another(self) as (manager, registry):
            registry.pauseType('work', reason='mine')
            self.registry.pauseType('work', reason='yours')
            transaction.commit()
            with self.assertRaises(ConflictError):
                manager.commit()
            manager.abort()
            manager.begin()
            registry.pauseType('work', reason='mine')
            manager.commit()
            self.assertEqual(registry.pauses['work'][2], 'yours')

    def test_pauses_do_not_conflict_with_the_flow(self):
        with another(self) as (manager, registry):
            run = registry.start('work')
            self.registry.pauseType('work')
            transaction.commit()
            manager.commit()
            self.assertIsNotNone(registry.get(run.id))


class WakeTests(LiveTests):

    def test_runtime_is_woken_after_the_commit(self):
        declareWorker('work', lambda worker: None)
        provideUtility(Schedule('daily', 'work', every=86400.0), ISchedule,
                       'daily')
        # Its state is written once, at the first sight.
        waitUntil(lambda: self.begin()
                  or self.registry.listSchedules()[0].next_at)
        woken = []
        self.runtime.wake = lambda items=(), only=None: woken.append(items)
        for call in (
                lambda: self.registry.pauseType('work'),
                lambda: self.registry.pauseType('work', False),
                lambda: self.registry.pauseSchedule('daily'),
                lambda: self.registry.quietProcess(self.runtime.id),
                lambda: self.registry.quietProcess(self.runtime.id, False)):
            self.begin()
            call()
            self.assertEqual(woken, [])
            transaction.commit()
            self.assertEqual(woken, [()])
            del woken[:]


class ScheduleTests(AdministrationTests):

    def setUp(self):
        super().setUp()
        self.schedule = Schedule('report', 'work', every=60.0)
        provideUtility(self.schedule, ISchedule, 'report')

    def status(self):
        status, = self.registry.listSchedules()
        return status

    def test_who_paused_it_when_and_why(self):
        self.registry.pauseSchedule('report', reason='holidays')
        transaction.commit()
        status = self.status()
        self.assertEqual(
            (status.is_paused, status.paused_by, status.paused_at,
             status.pause_reason), (True, 'admin', BEGIN, 'holidays'))
        self.registry.pauseSchedule('report', False)
        status = self.status()
        self.assertEqual(
            (status.is_paused, status.paused_by, status.paused_at,
             status.pause_reason), (False, None, None, None))
        self.assertEqual(
            [action[:2] for action in self.actions()],
            [('pause schedule', 'report'), ('resume schedule', 'report')])

    def test_what_is_no_news_changes_nothing(self):
        self.registry.pauseSchedule('report', False)
        self.assertEqual(len(self.registry.schedules), 0)
        self.registry.pauseSchedule('report', reason='first')
        self.registry.pauseSchedule('report', reason='second')
        self.assertEqual(self.status().pause_reason, 'first')
        self.assertEqual(len(self.actions()), 1)

    def test_unknown_schedule_is_refused_and_not_told(self):
        for call in self.registry.pauseSchedule, self.registry.runSchedule:
            with self.assertRaises(ScheduleNotFound):
                call('typo')
        self.assertEqual(self.actions(), [])

    def test_run_now_is_told(self):
        self.registry.runSchedule('report')
        self.assertEqual(self.actions(), [
            ('run schedule', 'report', 'admin', BEGIN, None)])

    def test_late(self):
        self.assertFalse(self.status().is_late)   # not seen yet
        tick(self.registry, self.schedule)
        self.clock.now = self.status().next_at + Thresholds().late_after
        self.assertFalse(self.status().is_late)
        self.clock.advance(1.0)
        self.assertTrue(self.status().is_late)
        self.registry.pauseSchedule('report')
        self.assertFalse(self.status().is_late)
        self.registry.pauseSchedule('report', False)
        tick(self.registry, self.schedule)
        self.assertFalse(self.status().is_late)


class ProcessTests(AdministrationTests):

    def setUp(self):
        super().setUp()
        self.makeRunning()
        self.record = getDirectory(self.connection).processes[PROCESS]

    def wish(self):
        request = self.record.request
        return request.is_quiet, request.is_draining, request.asked

    def test_quiet_and_again(self):
        self.assertEqual(self.wish(), (False, False, None))
        self.registry.quietProcess(PROCESS, reason='too hot')
        asked = ('admin', BEGIN, 'too hot')
        self.assertEqual(self.wish(), (True, False, asked))
        self.clock.advance(1.0)
        self.registry.quietProcess(PROCESS)
        self.assertEqual(self.wish(), (True, False, asked))
        self.registry.quietProcess(PROCESS, False)
        self.assertEqual(self.wish(), (False, False, None))
        self.assertEqual(self.actions(), [
            ('quiet process', PROCESS, *asked),
            ('unquiet process', PROCESS, 'admin', BEGIN + 1.0, None)])

    def test_drain(self):
        self.registry.drainProcess(PROCESS, 'an update')
        asked = ('admin', BEGIN, 'an update')
        self.assertEqual(self.wish(), (False, True, asked))
        self.registry.drainProcess(PROCESS, 'again')
        self.assertEqual(self.actions(), [
            ('drain process', PROCESS, *asked)])
        # There is no way back.
        self.registry.quietProcess(PROCESS)
        self.registry.quietProcess(PROCESS, False)
        self.assertTrue(self.record.request.is_draining)
        self.assertIsNotNone(self.record.request.asked)

    def test_unknown_process_is_refused(self):
        for name in 'host:1', '', None, 5:
            for call in self.registry.quietProcess, self.registry.drainProcess:
                with self.assertRaises(ProcessNotFound) as caught:
                    call(name)
                self.assertIn('process %r: expected the id of a process'
                              % (name,), str(caught.exception))
        self.assertEqual(self.actions(), [])

    def test_wish_conflicts_neither_with_beat_nor_with_live_runs(self):
        with another(self) as (manager, registry):
            record = getDirectory(registry._p_jar).processes[PROCESS]
            record.heartbeat.count += 1
            record.live.runs = {('oid', '1-1'): (BEGIN, None)}
            self.registry.quietProcess(PROCESS)
            transaction.commit()
            manager.commit()
            self.assertTrue(record.request.is_quiet)
