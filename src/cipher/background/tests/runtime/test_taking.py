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
"""Homes of lanes, and processes that take what waits at another one."""
import time
import unittest
from types import SimpleNamespace
from unittest import mock

import transaction
from zope.component.hooks import getSite

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.interfaces import PENDING
from cipher.background.runtime.executors.performer import Performer
from cipher.background.runtime.maintenance.homes import preferredHome
from cipher.background.runtime.maintenance.taker import Taker
from cipher.background.runtime.queue.claims import Claims
from cipher.background.runtime.running import RunningRuns
from cipher.background.runtime.runtime import Runtime
from cipher.background.store.lane import Lane
from cipher.background.store.process import Living
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.actor import Play
from cipher.background.tests.support.cluster import LONG
from cipher.background.tests.support.cluster import ZEOTests
from cipher.background.tests.support.flakystorage import Away
from cipher.background.tests.support.live import Database
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.servers import openDatabase
from cipher.background.tests.support.sites import SiteTests
from cipher.background.work.liverun import LiveRun
from cipher.background.work.liverun import Ticket
from cipher.background.work.liverun import ticketOf


class HomeTests(unittest.TestCase):
    """Which process is to be the home of a lane."""

    def home(self, number, takers, writer=None):
        lane = Lane(number)
        lane.writer.id = writer
        return preferredHome((b'oid', number), lane, takers)

    def test_writer_that_takes_is_the_home(self):
        for number in range(1, 20):
            self.assertEqual(self.home(number, ['a', 'b'], 'a'), 'a')

    def test_else_one_of_those_that_take(self):
        homes = [self.home(number, ['a', 'b', 'c'], 'web')
                 for number in range(1, 200)]
        self.assertEqual(set(homes), set('abc'))
        self.assertGreater(min(map(homes.count, 'abc')), 40)
        # Whatever order they are known in.
        self.assertEqual(homes, [self.home(number, ['c', 'a', 'b'])
                                 for number in range(1, 200)])

    def test_end_of_one_moves_its_lanes_alone(self):
        for number in range(1, 200):
            before = self.home(number, ['a', 'b', 'c'])
            if before != 'c':
                self.assertEqual(self.home(number, ['a', 'b']), before)

    def test_nobody(self):
        self.assertIsNone(self.home(1, [], 'a'))


class FloorTests(SiteTests):
    """What a taker leaves to the home."""

    def setUp(self):
        super().setUp()
        declareWorker('work', lambda worker: None)
        self.runs = [self.registry.start('work') for _ in range(60)]
        transaction.commit()
        directory = getDirectory(self.connection)
        directory.processes['home'] = ProcessRecord(
            'home', 'host', 1, None, None, 2, 30.0, 0.0)
        self.lane = self.registry.lanes[self.runs[0].lane]
        self.lane.bookmark.home = 'home'
        self.place = self.registry._p_oid, self.lane.number
        self.living = Living(directory, 'me')
        self.taker = Taker(
            SimpleNamespace(id='me', begins=lambda name: True),
            SimpleNamespace(running=RunningRuns()),
            admission=None, get_executor=None)

    def floor(self, rate=None, still=0.0):
        """Return the floor; the home came on so many serials a second."""
        self.taker._fronts[self.place] = 1, time.monotonic() - still, rate
        return self.taker._floor(
            self.living, self.registry, self.place, self.lane, 1)

    def test_threads_and_what_they_begin_soon(self):
        self.assertEqual(self.floor(0.0), 1 + 2 + 1)
        self.assertEqual(self.floor(50.0), 1 + 2 + 1 + 5)
        self.assertEqual(self.floor(1e9), 61)   # nothing is left to take

    def test_home_whose_speed_nobody_knows(self):
        self.assertEqual(self.floor(), 1 + 2 + 16)
        # It does not move: it is at something slow.
        self.assertEqual(self.floor(still=0.2), 1 + 2 + 1)

    def test_home_that_says_what_it_works_on(self):
        self.assertEqual(self.floor(50.0, still=6.0), 1)

    def test_what_others_took_is_not_left_to_the_home(self):
        # In serials it is near to the front; the home comes to it at once.
        getDirectory(self.connection).processes['other'] = None
        for run in self.runs[1:30]:
            run.owner = 'other'
        self.assertEqual(self.floor(0.0), 33)

    def test_what_a_thread_here_has_lost_is_left_to_others(self):
        run = self.runs[5]
        live = LiveRun(mock.Mock(), Ticket(*self.place, run.serial))
        self.taker._runs.running.enter(live)
        self.assertEqual(
            [each for each in self.runs if not self.taker._may_take(
                self.living, self.registry, self.place, each)], [run])

    def test_conflicts_widen_it(self):
        self.taker._adjust_margins(
            [(SimpleNamespace(place=self.place), 1)], 8, 1)
        self.assertEqual(self.floor(0.0), 1 + 2 + 8)


class GivenBackTests(SiteTests):
    """A run that was taken, and cannot begin here after all."""

    def setUp(self):
        super().setUp()
        self.runtime = Runtime(self.db, RuntimeSettings(threads=1))
        self.runtime._maintenance.turn(True)
        self.run_taken = self.registry.addRun('unknown')
        self.run_taken.owner = self.runtime.id
        transaction.commit()
        self.ticket = ticketOf(self.registry._p_oid, self.run_taken)
        self.performer = Performer(self.runtime)

    def assertGivenBack(self):
        transaction.begin()
        run = self.run_taken
        self.assertEqual((run.state, run.owner, run.interruptions),
                         (PENDING, None, 0))
        self.assertEqual(self.runtime.allLive(), [])

    def test_storage_that_is_away_as_it_is_given_back(self):
        self.runtime.backlog.take(self.ticket)
        with mock.patch.object(
                Performer, '_give_back', side_effect=Away('away')):
            self.assertRaises(Away, self.performer.carryOut, self.ticket)
        # A further try is not refused.
        self.assertEqual(self.runtime.allLive(), [])
        self.performer.carryOut(self.ticket)
        self.assertGivenBack()

    def test_home_of_its_lane_came_here_meanwhile(self):
        """A later home could not begin it either: its owner lives."""
        self.runtime.backlog.take(self.ticket)
        self.runtime.backlog.addLane(self.ticket.place, 1, (), 2, False)
        self.performer.carryOut(self.ticket)
        self.assertGivenBack()

    def test_look_of_the_home_finds_that_it_has_to_wait(self):
        for _ in range(3):
            self.runtime._maintenance.turn(True)
        lane = self.registry.lanes[self.ticket.lane]
        transaction.begin()
        self.assertEqual(lane.bookmark.home, self.runtime.id)
        self.assertIn(self.ticket.serial, lane.waiting.places)
        self.assertGivenBack()


class ClaimsTests(unittest.TestCase):

    def test_work_that_was_lost_takes_no_later_claim_along(self):
        claims = Claims()
        ticket = Ticket(b'oid', 1, 2)
        run = SimpleNamespace(id='1-2', epoch=3)
        live = LiveRun(mock.Mock(), ticket)
        live.epoch = 1
        claims.note(ticket, 3)
        claims.forget(live, live.epoch)
        self.assertTrue(claims.has(b'oid', run))
        live.epoch = 3
        claims.forget(live, live.epoch)
        self.assertFalse(claims.has(b'oid', run))
        claims.forget(live, live.epoch)   # twice is no error
        claims.note(ticket, 3)
        claims.forget(ticket)
        self.assertEqual(claims.list(), [])


class TakingTests(ZEOTests):
    """Between processes that are alive."""

    def setUp(self):
        self.patch(
            'cipher.background.runtime.maintenance.turn.REPORT_INTERVAL', 0.1)
        super().setUp()
        self.web = self.makeWeb()
        self.began = {}   # run id -> how often it began here

        def slow(worker):
            self.began[worker.run_id] = self.began.get(worker.run_id, 0) + 1
            self.gate.stop()

        declareWorker('rerun', slow)   # here; elsewhere it is another one

    def makeWeb(self):
        """Return what starts runs as a process without a runtime does."""
        # It has no lane of its own either.  The runtime is of another DB.
        db = openDatabase(self.uri, factory=Database)
        self.addCleanup(db.close)
        self.addCleanup(transaction.abort)
        return Play(db)

    def homes(self):
        """Return {lane number: id of its home} of what the web writes."""
        self.begin()
        return {number: lane.bookmark.home
                for number, lane in self.registry.lanes.items()
                if self.isOfWeb(lane)}

    def isOfWeb(self, lane):
        """Return whether a process without a runtime writes that lane."""
        return lane.writer.id not in getDirectory(self.connection).processes

    def waitHome(self, process):
        """Wait until *process* is the home of all that the web writes."""
        waitUntil(lambda: self.homes() and set(self.homes().values())
                  == {process.id}, 'that it is the home', LONG)

    def startSlow(self, number):
        """Start *number* runs that are stuck here, in lanes of the web."""
        # As a web process does: with no lane of its own.
        ids = self.web.start('rerun', number=number)
        waitUntil(lambda: len(self.began) == 2, 'that two of them began')
        return ids

    def doneBy(self, process_id, ids):
        """Return which of these runs that process has finished."""
        self.begin()
        runs = [self.registry.get(run_id) for run_id in ids]
        return [run.id for run in runs if run is not None
                and run.isFinished() and run.owner == process_id]

    def test_what_waits_is_taken_by_an_idle_process(self):
        # Both threads of this process are stuck, it is the home of all.
        stuck = self.startSlow(2)
        added = self.web.start('add', number=40)
        self.assertEqual(self.doneBy(self.runtime.id, added), [])
        other = self.act()
        waitUntil(lambda: len(self.doneBy(other.id, added)) == 40,
                  'that the other one did all', LONG)
        self.gate.open()
        self.waitAll()
        self.assertEqual(self.value(), 40)
        for run_id in [*stuck, *added]:
            status = self.status(run_id)
            self.assertEqual((status.attempts, status.interruptions), (1, 0))
        self.assertEqual(set(self.began.values()), {1})

    def test_what_another_process_started_is_taken_as_well(self):
        # Its home is the process that wrote it, which has no thread left.
        other = self.act()
        declareWorker('tell', lambda worker: self.gate.stop())
        self.runtime.quiet(False)
        stuck = []
        while len(self.runtime.allLive()) < 2:
            stuck.append(self.start('tell'))
            waitUntil(lambda: self.runtime.findLive(
                self.registry._p_oid, stuck[-1]) or self.status(
                    stuck[-1]).finished_at, 'that it began')
        added = [self.start('add') for _ in range(60)]
        waitUntil(lambda: len(self.doneBy(other.id, added)) == 60,
                  'that the other one did all', LONG)
        self.gate.open()
        self.waitAll()
        self.assertEqual(self.value(), 60)

    def test_what_works_stays_where_it_is(self):
        declareWorker('rerun', lambda worker: self.gate.stop())
        self.web.start('rerun', number=2)
        waitUntil(lambda: len(self.runtime.allLive()) == 2, 'two at work')
        lives = self.runtime.allLive()
        # It could do that as well, and gets all their lanes.
        other = self.act()
        self.runtime.quiet()
        self.waitHome(other)
        for live in lives:
            self.assertEqual(self.status(live.run_id).state, 'running')
            self.assertEqual(self.status(live.run_id).owner,
                             self.runtime.name)
        self.waitTurn()
        self.assertEqual(other.live(), [])
        self.assertFalse(self.isInside())
        self.gate.open()
        for live in lives:
            status = self.waitFinal(live.run_id, 'succeeded')
            self.assertEqual((status.attempts, status.interruptions), (1, 0))
            self.assertEqual(self.registry.get(live.run_id).owner,
                             self.runtime.id)

    def test_work_that_is_put_off_is_done_by_the_new_home(self):
        def fail(worker):
            self.gate.stop()
            raise ValueError('not yet')

        declareWorker('add', fail, max_attempts=2, retry_delay=0.01)
        run_id, = self.web.start('add')
        self.gate.waitReached()
        other = self.act()
        self.runtime.quiet()
        self.waitHome(other)
        self.gate.open()
        status = self.waitFinal(run_id, 'succeeded')
        self.assertEqual((status.attempts, status.interruptions), (2, 0))
        self.assertEqual(self.registry.get(run_id).owner, other.id)
        self.assertEqual(self.value(), 1)

    def test_killed_at_work_in_a_lane_of_another(self):
        self.web.start('add')
        other = self.act()
        self.runtime.quiet()
        self.waitHome(other)
        run_id, = self.web.start('polite')
        self.waitInside()
        self.runtime.quiet(False)
        other.quiet()
        self.waitHome(self.runtime)
        self.assertFalse(self.isInside(), 'it began here as well')
        declareWorker('polite', lambda worker: None)
        other.kill()
        status = self.waitFinal(run_id, 'succeeded')
        self.assertEqual((status.attempts, status.interruptions), (1, 1))

    def test_stop_of_what_works_in_a_lane_of_another(self):
        run_id, = self.web.start('polite')
        self.waitInside()
        other = self.act()
        self.runtime.quiet()
        self.waitHome(other)
        self.web.stop(run_id, 'enough')
        status = self.waitFinal(run_id, 'stopped')
        self.assertEqual(status.stop.reason, 'enough')
        waitUntil(lambda: not self.runtime.allLive(), 'its end')

    def test_idle_processes_write_nothing(self):
        self.act()
        self.web.start('add', number=8)
        self.waitAll()
        self.writeBookmarksNow()
        for _ in range(3):
            self.waitTurn()
        self.begin()
        before = self.bookmarks()
        for _ in range(10):
            self.waitTurn()
        self.assertEqual(self.bookmarks(), before)

    def bookmarks(self):
        """Return {lane number: (writer, home)}."""
        self.begin()
        return {number: (lane.writer.id, lane.bookmark.home)
                for number, lane in self.registry.lanes.items()}

    def test_restarts_make_no_more_lanes(self):
        self.act()
        number = len(self.bookmarks())
        for _ in range(3):
            self.runtime.shutdown()
            self.begin()
            self.runtime = self.startRuntime()
        self.assertEqual(len(self.bookmarks()), number)

    def test_big_transaction_gives_work_to_all(self):
        declareWorker('add', self.addSlowly)
        other = self.act()
        ids = self.web.startAtOnce('add', number=200)
        self.assertEqual(self.waitAll(), 200)
        self.assertEqual(self.value(), 200)
        # It was quicker, whoever is the home of these.
        self.assertGreaterEqual(len(self.doneBy(other.id, ids)), 40)
        self.assertTrue(self.doneBy(self.runtime.id, ids))

    def addSlowly(self, worker):
        getSite()['counter'].value += 1
        worker.wait(0.02)

    def test_home_whose_leave_fails(self):
        self.checkLeave(is_committed=False)

    def test_home_that_does_not_know_that_it_left(self):
        self.checkLeave(is_committed=True)

    def checkLeave(self, is_committed):
        """A home leaves its lanes to another one; it sees an error."""
        stuck = self.startSlow(2)
        added = self.web.start('add', number=10)
        commit = transaction.Transaction.commit
        failed = []

        def fail(txn):
            is_leave = ('homes' in txn.description and len(failed) < 3
                        and any(txn._resources))
            if not is_leave or is_committed:
                commit(txn)
            if is_leave:
                failed.append(txn)
                raise OSError('no reply')

        other = self.act()
        self.patch('transaction._transaction.Transaction.commit', fail)
        self.runtime.quiet()   # so it leaves all
        waitUntil(lambda: failed, 'the failure', LONG)
        waitUntil(lambda: len(self.doneBy(other.id, added)) == 10,
                  'work of the other', LONG)
        self.gate.open()
        self.waitAll()
        self.assertEqual(self.value(), 10)
        self.assertEqual(self.began, dict.fromkeys(stuck, 1))

    def test_nothing_is_done_twice_while_processes_come_and_go(self):
        actors = [self.act()]
        ids = []
        for n in range(4):
            ids += self.web.start('tell', number=20)
            if n % 2:
                actors.pop(0).shutdown(5.0)
            else:
                actors.append(self.act())
        self.runtime.quiet()
        ids += self.web.start('tell', number=20)
        self.assertEqual(self.waitAll(), len(ids))
        # A take may meet the home in the very run that it begins: then the
        # work of one of them is lost, hardly ever.
        self.assertToldHardlyTwice(ids)
        self.begin()
        self.assertFalse(any(
            record.live.runs for record
            in getDirectory(self.connection).processes.values()))
