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
"""Processes that share lanes: the plan, the tickets, and the hand-over."""
import random
import unittest

import transaction

from cipher.background.live import Ticket
from cipher.background.process import getDirectory
from cipher.background.sharing import Stake
from cipher.background.sharing import plan
from cipher.background.tests.actor import Play
from cipher.background.tests.cluster_support import LONG
from cipher.background.tests.cluster_support import ZEOTests
from cipher.background.tests.live_support import Database
from cipher.background.tests.live_support import declareWorker
from cipher.background.tests.live_support import waitUntil
from cipher.background.tests.servers import openDatabase
from cipher.background.tickets import Tickets


def carryOut(stakes, moves):
    """Return *stakes* as they are when these moves were made."""
    stakes = dict(stakes)
    for move in moves:
        for name, number in (move.giver, -1), (move.taker, 1):
            stake = stakes[name]
            # A guest lane where it need not be one of its own.
            kind = 'own' if move.is_own or not stakes[move.giver].guest and (
                number < 0) else 'guest'
            stakes[name] = stake._replace(
                **{kind: getattr(stake, kind) + number})
    return stakes


class PlanTests(unittest.TestCase):

    def moves(self, **stakes):
        return [(move.giver + move.taker, move.is_own) for move in plan(
            {name: Stake(*stake) for name, stake in stakes.items()})]

    def test_one_process_keeps_all(self):
        self.assertEqual(self.moves(a=(9, 4, 6)), [])

    def test_second_process_gets_half_of_the_guest_lanes(self):
        self.assertEqual(self.moves(a=(6, 4, 6), b=(6, 0, 6)),
                         [('ab', False)] * 2)

    def test_what_is_fair_stays(self):
        for stakes in (dict(a=(6, 2, 6), b=(6, 2, 6)),
                       dict(a=(6, 1, 6), b=(6, 2, 6), c=(6, 1, 6)),
                       dict(a=(6, 1, 6), b=(8, 0, 6)),
                       dict(a=(6, 0, 6), b=(6, 1, 6))):
            with self.subTest(stakes):
                self.assertEqual(self.moves(**stakes), [])

    def test_own_lanes_to_spare_go_to_who_has_too_few(self):
        self.assertEqual(self.moves(a=(11, 2, 6), b=(3, 2, 6)),
                         [('ab', True)] * 3 + [('ab', False)])

    def test_who_takes_nothing_gives_all(self):
        self.assertEqual(self.moves(a=(2, 3, None), b=(6, 1, 6), c=(5, 0, 6)),
                         [('ac', True)] + [('ab', False)] * 2
                         + [('ac', False)] * 2)

    def test_where_nobody_takes_all_stays(self):
        self.assertEqual(self.moves(a=(2, 3, None), b=(6, 1, None)), [])

    def test_any_state_is_fair_after_one_round(self):
        rand = random.Random(1)
        for _ in range(500):
            stakes = {name: Stake(rand.randrange(12), rand.randrange(6),
                                  rand.choice([None, 3, 6]))
                      for name in 'abcde'[:rand.randrange(1, 6)]}
            after = carryOut(stakes, plan(stakes))
            with self.subTest(stakes):
                self.assertEqual(plan(after), [])
                takers = [stake for stake in after.values()
                          if stake.wanted is not None]
                common = [s.guest + s.spare() for s in takers]
                if takers:
                    self.assertLessEqual(max(common) - min(common), 1)
                    self.assertEqual(
                        sum(s.own + s.guest for s in takers),
                        sum(s.own + s.guest for s in stakes.values()))


class TicketTests(unittest.TestCase):
    """A lane goes and comes back."""

    def setUp(self):
        self.tickets = Tickets()
        self.tickets.addLane(b'r', 1, 1, 4, False)
        self.first, self.second = (
            self.wait(Ticket(b'r', 1, serial)) for serial in (1, 2))

    def wait(self, ticket):
        tickets = self.tickets
        view = tickets._views[ticket.registry_oid, ticket.lane]
        view.scanned = ticket.serial + 1
        return tickets._wait(view, ticket)

    def test_what_leaves_is_not_begun(self):
        self.assertTrue(self.tickets.begun(self.first))
        self.assertEqual(self.tickets.prepareToGive(b'r', 1), 1)
        self.assertFalse(self.tickets.begun(self.second))
        self.assertEqual(self.tickets.given(), [(b'r', '1-1')])
        # The commit failed.
        self.assertEqual(self.tickets.keep(b'r', 1), [self.second])
        self.assertEqual(self.tickets.given(), [])
        self.assertTrue(self.tickets.begun(self.second))

    def test_what_is_gone_is_void(self):
        self.tickets.begun(self.first)
        self.tickets.prepareToGive(b'r', 1)
        self.tickets.dropLane(b'r', 1)
        self.assertEqual(self.tickets._waiting, 0)
        self.assertFalse(self.tickets.begun(self.second))
        self.assertFalse(self.tickets.holds(self.second))
        self.assertEqual(self.tickets.keep(b'r', 1), [])
        self.assertEqual(self.tickets.given(), [(b'r', '1-1')])
        # It is to be tried again, but not here.
        self.assertFalse(self.tickets.again(self.first))
        self.assertEqual(self.tickets.given(), [])

    def test_what_comes_back_knows_what_works_here(self):
        self.tickets.begun(self.first)
        self.tickets.dropLane(b'r', 1)
        self.tickets.addLane(b'r', 1, 1, 4, False)
        self.assertEqual(self.tickets.given(), [])
        view = self.tickets._views[b'r', 1]
        self.assertEqual(view.here, {1})
        # One of the time before is void all the same.
        self.assertFalse(self.tickets.begun(self.second))
        again = self.wait(Ticket(b'r', 1, 2))
        self.assertFalse(self.tickets.begun(self.second))
        self.assertTrue(self.tickets.begun(again))
        self.tickets.finished(self.first)
        self.assertEqual(view.here, {2})
        self.tickets.finished(again)
        self.assertEqual(view.here, set())

    def test_quiet_keeps_all_back(self):
        self.tickets.setQuiet(True)
        self.assertFalse(self.tickets.begun(self.first))
        self.assertEqual(self.tickets.setQuiet(False), [self.first])
        self.assertTrue(self.tickets.begun(self.first))


class HandOverTests(ZEOTests):
    """Between processes that are alive."""

    def setUp(self):
        self.patch('cipher.background.keeper.TELL_INTERVAL', 0.1)
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

    def owners(self):
        """Return {process id: how many guest lanes it consumes}."""
        self.begin()
        owners = {}
        for lane in self.registry.lanes.values():
            if lane.is_guest:
                owner = lane.cursor.owner
                owners[owner] = owners.get(owner, 0) + 1
        return owners

    def waitFair(self, *others, number=2):
        """Wait until we and the *others* have so many guest lanes each."""
        ids = [self.runtime.id, *(other.id for other in others)]
        waitUntil(lambda: self.owners() == dict.fromkeys(ids, number),
                  'fair shares', LONG)

    def waitAllOf(self, process):
        """Wait until *process* has all guest lanes."""
        waitUntil(lambda: self.owners() == {process.id: 4}, 'it has all',
                  LONG)

    def startSlow(self, number):
        """Start *number* runs that are stuck here, in guest lanes."""
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

    def test_what_waits_moves_to_an_idle_process(self):
        self.patch('cipher.background.adoption.RELIEF_INTERVAL', 1000.0)
        # Both threads of this process are stuck, all lanes are its own.
        stuck = self.startSlow(2)
        added = self.web.start('add', number=40)
        self.begin()
        self.assertEqual(self.doneBy(self.runtime.id, added), [])
        other = self.act()
        done = waitUntil(lambda: self.doneBy(other.id, added),
                         'that the other one did some', LONG)
        # Nothing of it had begun: it need not be claimed.
        run = self.registry.get(done[0])
        self.assertEqual((run.epoch, run.attempts), (0, 1))
        self.gate.open()
        self.waitAll()
        self.assertEqual(self.value(), 40)
        # Some of the stuck were in lanes that went.
        for run_id in stuck:
            status = self.status(run_id)
            self.assertEqual((status.attempts, status.interruptions), (1, 0))
        self.assertEqual(set(self.began.values()), {1})

    def test_idle_process_gets_more_than_its_share(self):
        self.patch('cipher.background.adoption.RELIEF_INTERVAL', 0.2)
        other = self.act()
        self.waitFair(other)
        # Both threads of this process are stuck.
        declareWorker('tell', lambda worker: self.gate.stop())
        while len(self.runtime.allLive()) < 2:
            self.web.start('tell')
        added = self.web.start('add', number=60)
        done = waitUntil(lambda: len(self.doneBy(other.id, added)) == 60,
                         'that the other one did all', LONG)
        self.assertTrue(done)
        self.waitFair(other)   # it gave empty ones for them
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
        self.waitAllOf(other)
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

    def test_work_that_is_put_off_is_done_by_the_new_consumer(self):
        def fail(worker):
            self.gate.stop()
            raise ValueError('not yet')

        declareWorker('add', fail, max_attempts=2, retry_delay=0.01)
        run_id, = self.web.start('add')
        self.gate.waitReached()
        other = self.act()
        self.runtime.quiet()
        self.waitAllOf(other)
        self.gate.open()
        status = self.waitFinal(run_id, 'succeeded')
        self.assertEqual((status.attempts, status.interruptions), (2, 0))
        self.assertEqual(self.registry.get(run_id).owner, other.id)
        self.assertEqual(self.value(), 1)

    def test_killed_at_work_in_a_lane_of_another(self):
        other = self.act()
        self.runtime.quiet()
        self.waitAllOf(other)
        run_id, = self.web.start('polite')
        self.waitInside()
        self.runtime.quiet(False)
        other.quiet()
        self.waitAllOf(self.runtime)
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
        self.waitAllOf(other)
        self.web.stop(run_id, 'enough')
        status = self.waitFinal(run_id, 'stopped')
        self.assertEqual(status.stop.reason, 'enough')
        waitUntil(lambda: not self.runtime.allLive(), 'its end')

    def test_what_is_fair_is_left_alone(self):
        other = self.act()
        self.waitFair(other)
        self.web.start('add', number=8)
        self.waitAll()
        for _ in range(3):
            self.spillNow()   # it writes the cursors
        before = self.cursors()
        for _ in range(10):
            self.waitTurn()
        self.assertEqual(self.cursors(), before)

    def cursors(self):
        """Return who consumes which lane."""
        self.begin()
        return {number: lane.cursor.owner
                for number, lane in self.registry.lanes.items()}

    def test_restarts_make_no_more_lanes(self):
        other = self.act()
        self.waitFair(other)
        number = len(self.cursors())
        for _ in range(3):
            self.runtime.shutdown()
            self.begin()
            self.runtime = self.startRuntime()
            self.waitFair(other)
        self.assertEqual(len(self.cursors()), number)

    def test_more_processes_have_more_guest_lanes(self):
        others = [self.act() for _ in range(2)]
        self.waitFair(*others)
        self.web.start('add', number=30)
        self.assertEqual(self.waitAll(), 30)
        self.assertEqual(self.value(), 30)

    def test_big_transaction_gives_work_to_all(self):
        other = self.act()
        self.waitFair(other)
        ids = self.web.startAtOnce('add', number=200)
        self.assertEqual(len({run_id.partition('-')[0] for run_id in ids}), 4)
        self.assertEqual(self.waitAll(), 200)
        self.assertEqual(self.value(), 200)
        for process_id in other.id, self.runtime.id:
            self.assertGreaterEqual(len(self.doneBy(process_id, ids)), 40)

    def test_failed_hand_over_is_taken_back(self):
        self.startSlow(2)
        added = self.web.start('add', number=10)
        commit = transaction.Transaction.commit
        failed = []

        def fail(txn):
            if 'hand-over' in txn.description and len(failed) < 3 and any(
                    txn._resources):
                failed.append(txn)
                raise OSError('no')
            commit(txn)

        self.patch('transaction._transaction.Transaction.commit', fail)
        other = self.act()
        waitUntil(lambda: len(failed) == 3, 'failures', LONG)
        waitUntil(lambda: self.doneBy(other.id, added), 'work of the other')
        self.gate.open()
        self.waitAll()
        self.assertEqual(self.value(), 10)
        self.assertEqual(set(self.began.values()), {1})

    def test_what_comes_to_a_quiet_process_is_given_away(self):
        other = self.act()
        self.runtime.quiet()
        self.waitAllOf(other)
        # It is given lanes, and does not get to look at them before it is
        # quiet again.
        adoption = self.runtime._keeper._adoption
        adoption.turn = lambda connection: None
        self.runtime.quiet(False)
        waitUntil(lambda: self.owners().get(self.runtime.id) == 2,
                  'that it is given lanes', LONG)
        self.runtime.quiet()
        added = self.web.start('add', number=20)
        self.waitTurn()
        self.assertEqual(self.owners(), {self.runtime.id: 2, other.id: 2})
        del adoption.turn
        self.waitAllOf(other)
        self.assertEqual(self.waitAll(), 20)
        self.assertEqual(self.doneBy(other.id, added), added)

    def test_hand_over_whose_reply_is_lost(self):
        stuck = self.startSlow(2)
        added = self.web.start('add', number=10)
        commit = transaction.Transaction.commit
        lost = []

        def loseReply(txn):
            is_lost = not lost and 'hand-over' in txn.description and any(
                txn._resources)
            commit(txn)
            if is_lost:
                lost.append(txn)
                raise OSError('no reply')

        self.patch('transaction._transaction.Transaction.commit', loseReply)
        other = self.act()
        self.waitFair(other)
        waitUntil(lambda: {number for _, number
                           in self.runtime.tickets.lanes()}
                  == {number for number, owner in self.cursors().items()
                      if owner == self.runtime.id},
                  'that it consumes what is its own', LONG)
        self.assertTrue(lost)
        self.gate.open()
        self.waitAll()
        self.assertEqual(self.value(), len(added))
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
        self.assertToldOnce(ids)
        self.begin()
        self.assertFalse(any(
            record.live.runs for record
            in getDirectory(self.connection).processes.values()))
