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
"""What waits of each starter is bounded, for people; by what is known."""
import unittest
from unittest import mock

import transaction
from zope.component import provideHandler
from zope.lifecycleevent import ObjectModifiedEvent
from zope.lifecycleevent.interfaces import IObjectModifiedEvent
from zope.security.management import endInteraction

from cipher.background.interfaces import START_WORKERS
from cipher.background.interfaces import TooManyOfStarter
from cipher.background.registry import bound
from cipher.background.registry import schedules
from cipher.background.registry.triggers import Trigger
from cipher.background.runtime.queue import starters
from cipher.background.runtime.queue.backlog import AWAY
from cipher.background.runtime.queue.backlog import DONE
from cipher.background.runtime.queue.backlog import READY
from cipher.background.runtime.queue.backlog import Backlog
from cipher.background.runtime.queue.starters import Starters
from cipher.background.store.bookmark import PAUSE
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.testing import runPending
from cipher.background.tests.registry.test_schedules import schedule
from cipher.background.tests.support.cluster import ZEOTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import Document
from cipher.background.tests.support.sites import Grants
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import login
from cipher.background.util import clock
from cipher.background.work.liverun import Ticket


class StartersTests(unittest.TestCase):

    def setUp(self):
        self.reports = []
        self.starters = Starters(lambda: self.reports.append(1))

    def add(self, serials, starter='bob', lane=1):
        for serial in serials:
            self.starters.add(Ticket(b'oid', lane, serial, starter=starter))

    def count(self, starter='bob'):
        return self.starters.count(b'oid', starter)

    def test_runs_are_counted_once(self):
        self.add([1, 2, 2, 3])
        self.add([1], lane=2)
        self.add([4], 'alice')
        self.assertEqual((self.count(), self.count('alice')), (4, 1))
        for serial in 2, 2, 4, 9:
            self.starters.discard((b'oid', 1), serial)
        self.assertEqual((self.count(), self.count('alice')), (3, 0))
        self.starters.dropLane((b'oid', 1))
        self.starters.dropLane((b'oid', 7))
        self.assertEqual(self.count(), 1)
        self.starters.discard((b'oid', 2), 1)
        self.assertEqual(self.starters._numbers, {})

    def test_what_nobody_started_is_not_counted(self):
        self.add([1], None)
        self.assertEqual(self.count(None), 0)
        self.assertEqual(self.starters._lanes, {})

    def test_those_with_the_most_are_reported(self):
        self.add(range(starters.REPORTED - 1), 'few')
        self.assertEqual(self.starters.mostWaiting(), ())
        for number in range(starters.REPORTED_STARTERS + 5):
            self.add(range(1000 * (number + 1),
                           1000 * (number + 1) + starters.REPORTED + number),
                     'u%d' % number)
        most = self.starters.mostWaiting()
        self.assertEqual(len(most), starters.REPORTED_STARTERS)
        self.assertEqual(most[0], (
            b'oid', 'u104', starters.REPORTED + 104))
        self.assertEqual(most[-1][1], 'u5')

    def test_others_hear_of_it_soon(self):
        self.add(range(starters.STEP - 1))
        self.assertEqual(self.reports, [])
        self.add(range(starters.STEP + 1))
        self.assertEqual(len(self.reports), 1)
        self.starters.discard((b'oid', 1), 0)   # and when it falls
        self.assertEqual(len(self.reports), 2)


class TicketsTests(unittest.TestCase):
    """Which runs the home of a lane counts."""

    place = b'oid', 1

    def setUp(self):
        self.backlog = Backlog()
        self.backlog.addLane(self.place, 1, ())

    def settle(self, serial, what):
        self.backlog.settle(Ticket(*self.place, serial, starter='bob'), what)

    def count(self):
        return self.backlog.countWaiting(b'oid', 'bob')[0]

    def test_whatever_is_not_finished_is_counted(self):
        self.settle(1, READY)
        self.settle(2, (PAUSE, 'a'))
        self.settle(3, AWAY)
        self.settle(4, clock.now() + 5)
        self.assertEqual(self.count(), 4)
        self.settle(2, DONE)
        self.settle(3, DONE)
        self.assertEqual(self.count(), 2)
        ticket = self.backlog.poll()
        self.assertEqual(self.count(), 2)
        self.backlog.done(ticket)
        self.assertEqual(self.count(), 1)
        self.backlog.dropLane(self.place)
        self.assertEqual(self.count(), 0)

    def test_what_waits_for_a_far_time_is_not(self):
        self.settle(1, clock.now() + 3600)
        self.assertEqual(self.count(), 0)
        # It comes back from the waiting tree.
        self.settle(1, READY)
        ticket = self.backlog.poll()
        self.assertEqual(self.count(), 1)
        self.backlog.again(ticket, clock.now() + 3600)
        self.assertEqual(self.count(), 0)


class BoundMixin:

    def setUp(self):
        super().setUp()
        grants = Grants(self)
        for name in 'bob', 'alice':
            grants(name, self.site, START_WORKERS)
        self.addCleanup(endInteraction)
        self.registry.waiting_per_starter = 3
        transaction.commit()
        bound._starts.clear()
        declareWorker('work', lambda worker: None)

    def startAs(self, name, number=1, type='work'):
        """Start runs as *name*, each in a transaction of its own."""
        login(name)
        try:
            for _ in range(number):
                transaction.begin()
                run = self.registry.startByPrincipal(type)
                transaction.commit()
        finally:
            transaction.abort()
            endInteraction()
        return run.id

    def isRefused(self, name, type='work'):
        """Return whether another start of *name* is refused; start nothing.
        """
        login(name)
        transaction.begin()
        try:
            self.registry.startByPrincipal(type)
        except TooManyOfStarter:
            return True
        finally:
            transaction.abort()
            endInteraction()
        return False


class BoundTests(BoundMixin, SiteTests):
    """In a process without a runtime."""

    def test_starter_at_the_bound_is_refused(self):
        self.startAs('bob', 3)
        login('bob')
        for start in (lambda: self.registry.startByPrincipal('work'),
                      lambda: self.registry.startOnce(0.0, 'work')):
            with self.assertRaises(TooManyOfStarter) as caught:
                start()
            self.assertEqual(
                str(caught.exception), "starter 'bob': expected fewer than 3 "
                'waiting runs to start another, got about 3; try again when '
                'some of them are done')
        self.startAs('alice', 3)
        self.assertTrue(self.isRefused('alice'))
        self.assertEqual(self.registry.getCounts()['work'], {'pending': 6})

    def test_it_is_open_again_when_the_runs_are_done(self):
        self.startAs('bob', 3)
        self.assertTrue(self.isRefused('bob'))
        runPending(self.site)
        self.assertFalse(self.isRefused('bob'))
        self.startAs('bob', 3)
        self.assertTrue(self.isRefused('bob'))

    def test_no_trigger_and_no_schedule_is_refused(self):
        schedule('nightly', 'work')
        self.startAs('bob', 3)
        self.assertTrue(self.isRefused('bob'))
        provideHandler(
            Trigger('work'), (Document, IObjectModifiedEvent))
        document = self.site['document'] = Document()
        transaction.commit()
        login('bob')
        Trigger('work')(document, ObjectModifiedEvent(document))
        self.registry.start('work')
        self.registry.submit('work')
        self.registry.runSchedule('nightly')
        run, *_ = self.registry.listRuns().items
        self.assertEqual(run.starter, 'bob')
        endInteraction()
        clock_set = self.setClock()
        schedules.tick(self.registry, schedule('nightly', 'work'))
        clock_set.advance(3600)
        schedules.tick(self.registry, schedule('nightly', 'work'))
        transaction.commit()
        counts = self.registry.getCounts()['work']
        self.assertEqual(counts, {'pending': 8})
        self.assertTrue(self.isRefused('bob'))

    def test_start_that_is_answered_by_a_run_is_not_refused(self):
        declareWorker('unique', lambda worker: None, unique='type')
        run_id = self.startAs('bob', type='unique')
        self.startAs('bob', 2)
        self.assertTrue(self.isRefused('bob'))
        self.assertEqual(self.startAs('bob', type='unique'), run_id)

    def test_starts_that_are_taken_back_do_not_count(self):
        for _ in range(9):
            self.assertFalse(self.isRefused('bob'))
        self.startAs('bob', 2)
        login('bob')
        self.registry.startByPrincipal('work')
        self.registry.note = lambda: None   # cannot be pickled
        self.assertRaises(Exception, transaction.commit)
        transaction.abort()
        endInteraction()
        self.assertFalse(self.isRefused('bob'))

    def test_one_transaction_is_bounded_as_well(self):
        login('bob')
        for _ in range(3):
            self.registry.startByPrincipal('work')
        with self.assertRaises(TooManyOfStarter):
            self.registry.startByPrincipal('work')

    def test_starts_of_few_starters_are_remembered(self):
        with mock.patch.object(bound, 'STARTERS', 2):
            for name in 'bob', 'alice', 'bob':
                self.startAs(name)
            starts = bound._starts[self.db]._starts
            self.assertEqual([name for _, name in starts], ['alice', 'bob'])

    # What other processes report

    def report(self, number, oid=None, beat_at=None, **values):
        """Let another process report that *number* runs of bob wait."""
        transaction.begin()
        record = ProcessRecord(
            'h:%d:x' % number, 'host', 1, None, None, 4, 90.0, clock.now())
        record.heartbeat.waiting = (
            (oid or self.registry._p_oid, 'bob', number),)
        if beat_at is not None:
            record.heartbeat.beat_at = beat_at
        getDirectory(self.connection).processes[record.id] = record
        transaction.commit()
        return record

    def makeWaiting(self, number):
        for _ in range(number):
            self.registry.start('work')
        transaction.commit()

    def test_what_processes_reported_is_added_up(self):
        self.makeWaiting(9)
        self.report(1)
        self.assertFalse(self.isRefused('bob'))
        self.report(2)
        self.assertTrue(self.isRefused('bob'))
        self.assertFalse(self.isRefused('alice'))

    def test_other_registries_and_silent_processes_do_not_count(self):
        self.makeWaiting(9)
        self.report(7, oid=b'another.')
        self.report(8, beat_at=clock.now() - 1000)
        self.assertFalse(self.isRefused('bob'))

    def test_own_starts_count_until_they_are_reported(self):
        self.report(1)
        self.startAs('bob', 2)
        self.makeWaiting(9)
        self.assertTrue(self.isRefused('bob'))
        getDirectory(self.connection).processes['h:1:x'].heartbeat.beat_at = (
            clock.now() + 1)
        transaction.commit()
        self.assertFalse(self.isRefused('bob'))

    def test_not_more_than_all_that_waits(self):
        self.report(99)
        self.makeWaiting(2)
        self.assertFalse(self.isRefused('bob'))
        self.makeWaiting(1)
        self.assertTrue(self.isRefused('bob'))


class LiveBoundTests(BoundMixin, LiveTests):
    """In a process that carries the runs out."""

    def setUp(self):
        super().setUp()
        declareWorker('gated', lambda worker: self.gate.stop())

    def beat(self):
        """Let the runtime beat; return who waits, as it reports."""
        self.runtime._maintenance.beat()
        self.begin()
        record = getDirectory(self.connection).processes[self.runtime.id]
        return record.heartbeat.waiting

    def test_starter_waits_until_runs_are_done(self):
        self.startAs('bob', 3, 'gated')
        bound._starts.clear()
        waitUntil(lambda: self.isRefused('bob'), 'that the runs are counted')
        self.assertFalse(self.isRefused('alice'))
        self.gate.open()
        waitUntil(lambda: not self.isRefused('bob'), 'the end of the runs')

    def test_quick_runs_are_never_refused(self):
        for _ in range(10):
            # Threads may finish them in another order.
            for run_id in [self.startAs('bob') for _ in range(3)]:
                self.waitFinished(run_id)
            self.assertFalse(self.isRefused('bob'))

    def test_runs_of_a_paused_type_count_until_they_are_stopped(self):
        with mock.patch(
                'cipher.background.runtime.maintenance.unblocking'
                '.SWEEP_INTERVAL', 0.05):
            self.change(lambda: self.registry.pauseType('work'))
            run_id = self.startAs('bob', 3)
            bound._starts.clear()
            waitUntil(lambda: self.isRefused('bob'), 'that all are counted')
            self.writeBookmarksNow()
            self.assertTrue(self.isRefused('bob'))
            for _ in range(3):
                self.start('work')   # others': so many wait all the same
            self.requestStop(run_id)
            waitUntil(lambda: not self.isRefused('bob'), 'that one is not')

    def test_only_who_has_many_is_reported(self):
        self.startAs('bob', 1)
        self.assertEqual(self.beat(), ())
        self.registry.waiting_per_starter = 99
        transaction.commit()
        self.startAs('bob', starters.REPORTED, 'gated')
        waitUntil(lambda: self.runtime.countWaiting(
            self.registry._p_oid, 'bob')[0] == starters.REPORTED)
        self.assertEqual(self.beat(), (
            (self.registry._p_oid, 'bob', starters.REPORTED),))
        self.gate.open()
        waitUntil(lambda: self.beat() == ())


class ClusterBoundTests(BoundMixin, ZEOTests):
    """A process without a runtime, and one that carries the runs out."""

    def test_other_processes_know_of_it(self):
        self.runtime.shutdown()
        self.act()
        self.registry.waiting_per_starter = starters.REPORTED
        transaction.commit()
        self.assertFalse(self.isRefused('bob'))
        login('bob')
        # Not by the principal: there, bob has no permission.
        for _ in range(starters.REPORTED):
            self.start('rerun')
        waitUntil(lambda: self.isRefused('bob'), 'the report')
        self.assertFalse(self.isRefused('alice'))
        self.letGoOn()
        self.assertEqual(self.waitAll(), starters.REPORTED)
        self.assertFalse(self.isRefused('bob'))
