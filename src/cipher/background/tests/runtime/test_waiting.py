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
"""What cannot begin waits in a tree: out of the way, and not forgotten."""
import threading
import unittest
import unittest.mock

import transaction

from cipher.background.interfaces import Snooze
from cipher.background.runtime.queue.backlog import DONE
from cipher.background.runtime.queue.backlog import NEAR
from cipher.background.runtime.queue.backlog import READY
from cipher.background.runtime.queue.backlog import Backlog
from cipher.background.store.bookmark import FOR_TIME
from cipher.background.store.bookmark import LIMIT
from cipher.background.store.bookmark import PAUSE
from cipher.background.store.bookmark import TYPE
from cipher.background.store.bookmark import Waiting
from cipher.background.store.bookmark import orderOf
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT as SECONDS
from cipher.background.work.liverun import Ticket


class WaitingTests(unittest.TestCase):
    """The waiting tree of a lane."""

    def test_orders_are_those_of_the_begin(self):
        places = [(9 ** 30, 7), (5, 10 ** 12), (0, 1), (0, 2), (-1, 1),
                  (-9 ** 30, 3)]
        orders = [orderOf(*place) for place in places]
        self.assertEqual(orders, sorted(orders))
        for order in orders:
            self.assertTrue(-2 ** 63 <= order < 2 ** 63)

    def test_add_and_remove(self):
        waiting = Waiting()
        for name, priority, serial in ('a', 0, 3), ('b', 0, 5), ('a', 2, 8):
            for _ in range(2):
                waiting.add((PAUSE, name), orderOf(priority, serial), serial)

        def serials(key, *after):
            return [serial for _, serial in waiting.serials(key, *after)]

        self.assertEqual(serials((PAUSE, 'a')), [8, 3])
        self.assertEqual(serials((PAUSE, 'a'), orderOf(2, 8)), [3])
        self.assertEqual(serials((LIMIT, 'a')), [])
        self.assertEqual(list(waiting.walk(9)), [8, 5, 3])
        self.assertEqual(list(waiting.walk(8)), [5, 3])
        for _ in range(2):
            waiting.remove(3)
            waiting.remove(8)
        self.assertEqual(list(waiting.trees), [(PAUSE, 'b')])
        self.assertEqual(list(waiting.walk(9)), [5])

    def test_run_waits_for_one_thing_at_a_time(self):
        waiting = Waiting()
        waiting.add(FOR_TIME, 1000, 3)
        waiting.add(FOR_TIME, 1000, 4)   # due at the same moment
        waiting.add(FOR_TIME, 5000, 3)
        self.assertEqual(list(waiting.upTo(1.0)), [4, 3])
        waiting.add((LIMIT, 'a'), orderOf(0, 3), 3)
        self.assertEqual(list(waiting.upTo(1.0)), [4])
        self.assertEqual(list(waiting.places), [3, 4])
        waiting.remove(3)
        waiting.remove(4)
        self.assertFalse(waiting.trees or waiting.places)

    def test_time_comes_in_its_order(self):
        waiting = Waiting()
        self.assertEqual(list(waiting.upTo(20.0)), [])
        for serial, due_at in (1, 30.0), (2, 10.0), (3, 20.0):
            waiting.add(FOR_TIME, int(due_at * 1000000), serial)
        self.assertEqual(list(waiting.upTo(9.0)), [])
        self.assertEqual(list(waiting.upTo(20.0)), [2, 3])


class TicketsTests(unittest.TestCase):
    """What is in memory, and what the bookmark may pass."""

    place = b'oid', 7

    def setUp(self):
        self.backlog = Backlog()
        self.backlog.addLane(self.place, 1, ())

    def test_look_at_a_lane_that_had_another_home_meanwhile(self):
        self.see(4)
        self.assertEqual([5], self.backlog.toLook(self.place, 6))
        self.backlog.beginLook()
        self.backlog.dropLane(self.place)
        self.backlog.addLane(self.place, 1, ())
        self.backlog.seen(self.place, [
            (5, Ticket(*self.place, 5, False, 0, 5.0, None), READY)])
        self.backlog.endLook()
        self.assertEqual([1, 2, 3, 4, 5],
                         self.backlog.toLook(self.place, 6))
        self.assertEqual({self.place}, self.backlog.beginLook())

    def see(self, number, what=READY, starter=None, priority=0):
        """Let a look find so many more births; return their tickets."""
        first = self.backlog._lanes[self.place].seen
        found = [Ticket(*self.place, serial, False, priority, float(serial),
                        starter) for serial in range(first, first + number)]
        self.backlog.seen(self.place, [
            (ticket.serial, ticket, what) for ticket in found])
        return found

    def take(self, number=1):
        """Return what so many threads are given."""
        return [self.backlog.poll() for _ in range(number)]

    def write(self):
        """Write all there is, as the home does; return it."""
        new, old = self.backlog.changes(self.place, 100)
        self.backlog.written(self.place, new, old)
        return [entry[:2] for entry in new], old

    def position(self):
        return self.backlog.position(self.place)

    def test_bookmark_stays_below_what_is_in_memory(self):
        self.see(3)
        self.assertEqual(self.position(), (1, ()))
        first, second, third = self.take(3)
        self.backlog.done(second)
        self.assertEqual(self.position(), (1, ()))
        self.backlog.done(first)
        self.assertEqual(self.position(), (3, ()))
        self.backlog.isAway(third)
        self.assertEqual(self.position(), (3, ()))
        self.backlog.settle(third, DONE)
        self.assertEqual(self.position(), (4, ()))

    def test_few_that_keep_the_bookmark_back_are_stragglers(self):
        self.see(500)
        tickets = self.take(500)
        for ticket in tickets:
            if ticket.serial not in (3, 200, 201):
                self.backlog.done(ticket)
        # Of those near to each other the first one is the low mark.
        self.assertEqual(self.position(), (200, (3,)))
        self.backlog.done(tickets[199])
        self.assertEqual(self.position(), (501, (3, 201)))

    def test_what_waits_for_room_keeps_no_others_away(self):
        # Types with a limit, each full, as many as you like.
        with unittest.mock.patch(
                'cipher.background.runtime.queue.backlog.CAPACITY', 4):
            for name in 'abc':
                self.see(2, (LIMIT, name))
            self.assertEqual(self.backlog.toLook(self.place, 9), [7, 8])
            self.assertGreater(self.backlog.room(), 0)
            self.see(4)
            # Not even a look at nothing, again and again.
            self.assertEqual(self.backlog.toLook(self.place, 13), [])
            self.backlog.beginLook()
            self.backlog.endLook()
            self.assertIsNotNone(self.backlog.next(lambda: False))

    def test_stragglers_are_looked_at_by_the_next_home(self):
        self.backlog.dropLane(self.place)
        self.backlog.addLane(self.place, 10, (3, 5))
        self.assertEqual(self.backlog.toLook(self.place, 12), [3, 5, 10, 11])
        self.assertEqual(self.position(), (3, ()))
        self.backlog.seen(self.place, [(3, None, DONE)])
        self.assertEqual(self.backlog.toLook(self.place, 12), [5, 10, 11])

    def test_bookmark_passes_what_has_an_entry(self):
        self.see(1, (PAUSE, 'a'))
        self.see(1)
        self.backlog.done(*self.take())
        self.assertEqual(self.position(), (1, ()))
        self.assertEqual(self.write(), ([(1, (PAUSE, 'a'))], []))
        self.assertEqual(self.position(), (3, ()))
        # It comes back; its entry stands for it until its end.
        ticket = Ticket(*self.place, 1)
        self.backlog.settle(ticket, READY, has_entry=True)
        self.assertEqual(self.position(), (3, ()))
        self.backlog.done(*self.take())
        self.assertEqual(self.write(), ([], [1]))
        self.assertEqual(self.write(), ([], []))

    def test_run_that_waits_for_something_else_keeps_one_entry(self):
        self.see(1, (PAUSE, 'a'))
        self.write()
        ticket = Ticket(*self.place, 1)
        self.backlog.settle(ticket, READY, has_entry=True)
        self.backlog.park(*self.take(), (LIMIT, 'a'))
        self.assertEqual(self.position(), (2, ()))
        self.assertEqual(self.write(), ([(1, (LIMIT, 'a'))], []))

    def test_run_that_ends_while_its_entry_is_written(self):
        self.see(1, (LIMIT, 'a'))
        new, _ = self.backlog.changes(self.place, 100)
        self.backlog.unpark('a')
        self.backlog.done(*self.take())
        self.backlog.written(self.place, new, [])
        self.assertEqual(self.write(), ([], [1]))

    def test_entries_that_are_written_twice_at_a_time_stay(self):
        # As by a control thread that hangs, and at the end of its process.
        with unittest.mock.patch(
                'cipher.background.runtime.queue.backlog.PARKED', 1):
            self.see(3, (LIMIT, 'a'))
        first, _ = self.backlog.changes(self.place, 100)
        second, _ = self.backlog.changes(self.place, 100)
        self.assertEqual(len(second), 3)
        self.backlog.written(self.place, first, [])
        self.backlog.written(self.place, second, [])
        self.assertEqual(self.write(), ([], []))
        self.assertEqual(self.position(), (4, ()))

    def test_run_that_ends_after_a_write_that_failed(self):
        self.see(1, (LIMIT, 'a'))
        self.backlog.changes(self.place, 100)
        self.backlog.unpark('a')
        self.backlog.done(*self.take())
        # Its entry may be there all the same: the reply was lost.
        self.assertEqual(self.write(), ([], [1]))

    def test_void_ticket_is_not_begun(self):
        self.see(2)
        begun, = self.take()
        self.backlog.dropLane(self.place)
        self.assertEqual(self.take(), [None])
        self.backlog.done(begun)
        self.backlog.park(begun, (PAUSE, 'a'))
        self.assertEqual(self.backlog.counts(), (0, 0, 0))

    def test_starters_take_turns_and_the_urgent_go_first(self):
        self.see(4, starter='many')
        self.see(2, starter='few')
        self.see(1, starter='many', priority=1)
        self.assertEqual([ticket.serial for ticket in self.take(7)],
                         [7, 1, 5, 2, 6, 3, 4])

    def test_starters_take_turns_for_room_as_well(self):
        self.see(3, (LIMIT, 'a'), 'many')
        self.see(1, (LIMIT, 'a'), 'few')
        self.backlog.unpark('a', 9)
        self.assertEqual({ticket.serial for ticket in self.take(2)}, {1, 4})

    def test_dirt_comes_back(self):
        self.assertEqual(self.backlog.beginLook(), {self.place})
        self.assertIsNone(self.backlog.beginLook())   # one at a time
        self.backlog.endLook([self.place])
        self.backlog.mark([self.place, (b'oid', 8)])
        self.assertEqual(self.backlog.beginLook(), {self.place})
        # A birth that comes during the look is looked at afterwards.
        self.backlog.mark([self.place])
        self.backlog.endLook()
        self.assertEqual(self.backlog.beginLook(), {self.place})

    def test_memory_has_bounds(self):
        with unittest.mock.patch(
                'cipher.background.runtime.queue.backlog.CAPACITY', 100):
            self.assertEqual(len(self.backlog.toLook(self.place, 500)), 100)
            self.see(100)
            self.assertEqual(self.backlog.toLook(self.place, 500), [])
            self.assertEqual(self.backlog.room(), 1)
            for ticket in self.take(60):
                self.backlog.done(ticket)
            # Nobody has to say so.
            self.backlog.endLook()
            self.assertEqual(self.backlog.beginLook(), {self.place})

    def test_what_is_to_be_written_has_a_bound(self):
        with unittest.mock.patch(
                'cipher.background.runtime.queue.backlog.UNWRITTEN', 100):
            for what in (PAUSE, 'a'), (TYPE, 'b'), (LIMIT, 'c'), 9e9:
                seen = self.backlog._lanes[self.place].seen
                self.assertEqual(self.backlog.toLook(
                    self.place, 9999), list(range(seen, seen + 100)))
                self.see(100, what)
                self.assertEqual(self.backlog.toLook(self.place, 9999), [])
                # Nor does a thread look again and again.
                self.backlog.beginLook()
                self.backlog.endLook()
                self.assertFalse(self.backlog._has_room_again())
                self.assertGreater(self.backlog._pause(0.0), 1.0)
                new, old = self.backlog.changes(self.place, 40)
                self.backlog.written(self.place, new, old)
                self.assertFalse(self.backlog._has_room_again())
                self.write()
                self.assertEqual(self.backlog.beginLook(), {self.place})
                self.backlog.endLook()

    def test_what_threads_put_off_is_bound_by_what_is_in_memory(self):
        with unittest.mock.patch(
                'cipher.background.runtime.queue.backlog.UNWRITTEN', 10), (
                unittest.mock.patch(
                    'cipher.background.runtime.queue.backlog.CAPACITY', 20)):
            self.see(20)
            while True:
                # No entry is written: the storage refuses it.
                ticket = self.backlog.poll()
                if ticket is None:
                    break
                self.backlog.again(ticket, 9e9)
                self.see(len(self.backlog.toLook(self.place, 9999)))
            self.assertEqual(
                len(self.backlog._lanes[self.place].parked), 20 + 9)


class LiveWaitingTests(LiveTests):
    """With little memory."""

    capacity = 60

    def setUp(self):
        # The first turn of the runtime goes by it already.
        self.patch(
            'cipher.background.runtime.maintenance.unblocking.SWEEP_INTERVAL',
            0.0)
        super().setUp()
        self.patch(
            'cipher.background.runtime.queue.backlog.CAPACITY', self.capacity)
        self.patch('cipher.background.runtime.queue.backlog.PARKED', 10)
        self.patch('cipher.background.runtime.queue.backlog.DELAYED', 10)
        self.order = []
        self.begun = threading.Event()
        declareWorker('other', lambda worker: None)

    def slow(self, worker):
        self.order.append(worker.run_id)
        self.begun.set()
        if len(self.order) == 1:
            self.gate.stop()

    def startMany(self, name, number, **values):
        """Start so many runs in one commit; return their ids."""
        self.begin()
        ids = [self.registry.submit(name, **values).id
               for _ in range(number)]
        transaction.commit()
        return ids

    def restart(self, in_good_order=True, **settings):
        """End the runtime, then begin another."""
        if not in_good_order:
            # As if it were killed: it writes nothing at its end.
            self.runtime._leave = lambda: None
        self.runtime.shutdown()
        self.runtime = self.startRuntime(**settings)

    def waiting(self):
        """Return {type name: number of runs} of what waits for no time."""
        self.begin()
        numbers = {}
        for lane in self.registry.lanes.values():
            for (_, name), tree in lane.waiting.trees.items():
                if name:
                    numbers[name] = numbers.get(name, 0) + len(tree)
        return numbers

    def waitWaiting(self, **numbers):
        """Wait until so many runs have an entry."""
        waitUntil(lambda: self.waiting() == numbers,
                  'that %s wait' % numbers)

    def waitCounts(self, **counts):
        """Wait until the runs of the type 'work' have these states."""
        def is_so():
            self.begin()
            return self.registry.getCounts().get('work') == counts
        waitUntil(is_so, 'the counts %s' % counts, limit=30)

    def assertForgotten(self):
        """Assert that nothing is left over anywhere."""
        waitUntil(self.runtime.backlog.isIdle, 'that nothing waits here')
        self.waitWaiting()
        self.begin()
        for lane in self.registry.lanes.values():
            self.assertEqual(list(lane.waiting.places), [])


class LimitTests(LiveWaitingTests):
    """More wait for room of their type than there is memory."""

    def setUp(self):
        super().setUp()
        declareWorker('work', self.slow, max_running=1)

    def test_they_starve_no_other_type(self):
        runs = self.startMany('work', 300)
        self.gate.waitReached()
        self.waitWaiting(work=299)
        # But for one that just tries to begin.
        waitUntil(lambda: sum(self.runtime.backlog.counts()) == 10)
        self.assertEqual(self.carryOut('other').state, 'succeeded')
        self.gate.open()
        self.waitCounts(succeeded=300)
        self.assertEqual(sorted(self.order), sorted(runs))
        self.assertForgotten()

    def test_they_come_back_as_soon_as_there_is_room(self):
        # Long before the poll.
        self.restart(poll=60.0)
        self.startMany('work', 50)
        self.gate.waitReached()
        waitUntil(lambda: sum(self.runtime.backlog.counts()) == 10)
        self.runtime.wake()
        self.waitWaiting(work=49)
        self.gate.open()
        self.waitCounts(succeeded=50)

    def test_first_come_first_served(self):
        runs = self.startMany('work', 60)
        self.gate.waitReached()
        self.waitWaiting(work=59)
        # Those that come later are behind them, though there is memory.
        self.gate.open()
        later = self.startMany('work', 20)
        self.waitCounts(succeeded=80)
        self.assertEqual(sorted(self.order), sorted(runs + later))
        # But for some that try at the same time.
        self.assertLessEqual(len(set(self.order[:60]) & set(later)), 5)

    def test_the_urgent_go_first(self):
        runs = self.startMany('work', 60)
        self.gate.waitReached()
        self.waitWaiting(work=59)
        urgent = [self.startMany('work', 1, priority=priority)[0]
                  for priority in (1, 3, 2, 3)]
        self.waitWaiting(work=63)
        self.gate.open()
        self.waitCounts(succeeded=64)
        self.assertEqual(sorted(self.order), sorted(runs + urgent))
        # But for some that try at the same time.
        self.assertLess(max(map(self.order.index, urgent)), 10)

    def test_restart(self):
        for in_good_order in True, False:
            with self.subTest(in_good_order=in_good_order):
                declareWorker('work', self.slow, max_running=1)
                self.order = []
                self.gate.__init__()
                runs = self.startMany('work', 50)
                self.gate.waitReached()
                self.waitWaiting(work=49)
                self.writeBookmarksNow()   # it writes the bookmark
                self.gate.open()
                waitUntil(lambda: len(self.order) > 3)
                self.restart(in_good_order)
                for run_id in runs:
                    self.assertEqual(
                        self.waitFinished(run_id).state, 'succeeded')
                self.assertEqual(len(set(self.order)), 50)
                self.assertForgotten()

    def test_bookmark_passes_them_and_lists_show_them(self):
        self.patch('cipher.background.runtime.queue.backlog.GAP', 5)
        self.begin()
        runs = [self.registry.start('work').id for _ in range(30)]
        for _ in range(50):
            self.registry.start('other')   # in the same lane
        transaction.commit()
        place = self.registry._p_oid, self.registry.get(runs[0]).lane
        self.waitWaiting(work=29)
        # But for the one that runs, which is a straggler.
        waitUntil(lambda: self.runtime.backlog.position(place)[0] == 81,
                  'the bookmark')
        self.writeBookmarksNow()
        self.begin()
        bookmark = self.registry.lanes[place[1]].bookmark
        self.assertEqual((bookmark.low, len(bookmark.stragglers)), (81, 1))
        found, key = [], None
        while True:
            page = self.registry.listRuns(
                states=['pending', 'running'], limit=7, before=key)
            found += [status.id for status in page.items]
            key = page.older
            if key is None:
                break
        self.assertEqual(found, runs[::-1])
        # A process that takes the lane over knows of all.
        self.gate.open()
        self.restart(in_good_order=False)
        self.waitCounts(succeeded=30)
        self.assertForgotten()

    def test_stop_of_those_that_wait(self):
        runs = self.startMany('work', 30)
        self.gate.waitReached()
        self.waitWaiting(work=29)
        # Not always the first one: two threads may try at a time.
        runs.remove(self.order[0])
        for run_id in runs:
            # One that has just tried to begin looks as if it ran.
            self.requestStop(run_id)
        self.waitCounts(running=1, stopped=29)
        self.gate.open()
        self.waitCounts(succeeded=1, stopped=29)
        self.assertForgotten()
        self.assertEqual(len(self.order), 1)

    def test_stopped_runs_do_not_hold_up_those_behind_them(self):
        self.restart(poll=60.0)
        runs = self.startMany('work', 9)
        self.gate.waitReached()
        waitUntil(lambda: self.runtime.backlog.counts()[2] == 8)
        runs.remove(self.order[0])
        for run_id in runs[:7]:
            self.requestStop(run_id)
        self.gate.open()
        self.waitCounts(succeeded=2, stopped=7)

    def test_room_that_another_process_makes_is_used_up(self):
        # Three places are free at a time: one look takes them all.
        self.restart(threads=4, poll=60.0)
        barrier = threading.Barrier(3)
        declareWorker('work', lambda worker: barrier.wait(SECONDS),
                      max_running=3)
        others = [True]
        may_run = self.runtime.mayRun
        self.runtime.mayRun = lambda worker_type, live: (
            not others and may_run(worker_type, live))
        self.startMany('work', 3)
        waitUntil(lambda: self.runtime.backlog.counts()[2] == 3)
        del others[:]
        # Whatever turn the runtime may have: each that begins lets the next.
        self.runtime.backlog.unpark('work')
        self.waitCounts(succeeded=3)


class DueTests(LiveWaitingTests):
    """More are due soon than there is memory."""

    def test_more_than_there_is_memory_for(self):
        clock = self.setClock()
        declareWorker('work', lambda worker: self.order.append(worker.run_id))
        runs = self.startMany('work', 200, delay=NEAR - 1)

        def waiting():
            self.begin()
            return sum(len(lane.waiting.trees.get(FOR_TIME, ()))
                       for lane in self.registry.lanes.values())

        waitUntil(lambda: waiting() == 190, 'those in the database')
        self.assertEqual(self.carryOut('other').state, 'succeeded')
        self.assertEqual(self.order, [])
        clock.advance(NEAR)
        waitUntil(lambda: len(self.order) == 190)
        self.waitCounts(pending=10, succeeded=190)
        self.restart()   # what waits in memory goes by another clock
        self.waitCounts(succeeded=200)
        self.assertEqual(sorted(self.order), sorted(runs))
        waitUntil(lambda: not waiting())

    def test_more_than_may_be_unwritten(self):
        self.patch('cipher.background.runtime.queue.backlog.UNWRITTEN', 20)
        self.patch('cipher.background.runtime.maintenance.bookmarks.BATCH', 7)
        most = []
        changes = self.runtime.backlog.changes

        def count(place, limit):
            most.append(self.runtime.backlog._count_unwritten())
            return changes(place, limit)

        self.runtime.backlog.changes = count
        declareWorker('work', lambda worker: None)
        self.startMany('work', 300, delay=3600)
        # What is born behind them in the same lane is not held up for ever.
        self.startMany('work', 1)
        self.waitWaiting()
        self.waitCounts(pending=300, succeeded=1)
        waitUntil(lambda: sum(
            len(lane.waiting.places)
            for lane in self.lanes()) == 300, 'the entries')
        self.assertLessEqual(max(most), 20)

    def lanes(self):
        self.begin()
        return self.registry.lanes.values()

    def test_many_short_snoozes_keep_no_bookmark_back(self):
        self.patch('cipher.background.runtime.queue.backlog.GAP', 5)
        snoozing = [True]

        def work(worker):
            self.order.append(worker.run_id)
            if snoozing:
                raise Snooze(0.01)

        declareWorker('work', work)
        self.begin()
        run_id = self.registry.start('work').id
        lane, serial = map(int, run_id.split('-'))
        for _ in range(30):
            self.registry.start('other')   # in the same lane
        transaction.commit()
        waitUntil(lambda: self.runtime.backlog.position(
            (self.registry._p_oid, lane)) == (serial + 31, (serial,)),
            'the bookmark')
        self.writeBookmarksNow()
        count = len(self.order)
        waitUntil(lambda: len(self.order) > count + 2)
        self.restart(in_good_order=False)
        del snoozing[:]
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertForgotten()


class NothingWaitsTests(LiveTests):

    def test_ordinary_runs_write_no_tree(self):
        declareWorker('work', lambda worker: None)
        for _ in range(50):
            self.carryOut('work')
        self.writeBookmarksNow()
        self.begin()
        for lane in self.registry.lanes.values():
            lane._p_activate()
            self.assertEqual(list(lane.waiting.trees), [])
            # It was never written since the lane was made.
            self.assertEqual(lane.waiting.trees._p_serial, lane._p_serial)
