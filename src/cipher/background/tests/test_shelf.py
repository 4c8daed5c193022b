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
"""What cannot begin waits on a shelf: out of the way, and not forgotten."""
import threading
import unittest
import unittest.mock

import transaction

from cipher.background.backlog import Backlog
from cipher.background.cursor import Shelf
from cipher.background.cursor import serialOf
from cipher.background.cursor import shelfKey
from cipher.background.dispatcher import NEAR
from cipher.background.dispatcher import Dispatcher
from cipher.background.interfaces import Snooze
from cipher.background.tests.live_support import LiveTests
from cipher.background.tests.live_support import declareWorker
from cipher.background.tests.live_support import waitUntil
from cipher.background.tests.support import LIMIT


class ShelfTests(unittest.TestCase):

    def test_keys_are_in_the_order_of_the_begin(self):
        places = [(9 ** 30, 7), (5, 10 ** 12), (0, 1), (0, 2), (-1, 1),
                  (-9 ** 30, 3)]
        keys = [shelfKey(*place) for place in places]
        self.assertEqual(keys, sorted(keys))
        self.assertEqual([serialOf(key) for key in keys],
                         [serial for _, serial in places])
        for key in keys:
            self.assertTrue(-2 ** 63 <= key < 2 ** 63)

    def test_add_and_remove(self):
        shelf = Shelf()
        for name, priority, serial in ('a', 0, 3), ('b', 0, 5), ('a', 2, 8):
            for _ in range(2):
                shelf.add(name, shelfKey(priority, serial))
        self.assertEqual([serialOf(key) for key in shelf.keys('a')], [8, 3])
        self.assertEqual([serialOf(key) for key in shelf.keys(
            'a', shelfKey(2, 8))], [3])
        self.assertEqual(list(shelf.keys('c')), [])
        self.assertEqual(list(shelf.walk(9)), [8, 5, 3])
        self.assertEqual(list(shelf.walk(8)), [5, 3])
        for _ in range(2):
            shelf.remove('a', shelfKey(0, 3))
            shelf.remove('a', shelfKey(2, 8))
        self.assertEqual(list(shelf.types), ['b'])
        self.assertEqual(list(shelf.walk(9)), [5])


class BacklogTests(unittest.TestCase):
    """What stands in for a run in the database lets the cursor pass."""

    place = b'oid', 7

    def setUp(self):
        self.backlog = Backlog()
        self.backlog.addLane(*self.place, 1, 1, False)

    def tell(self, number):
        """Return the tickets of so many new runs."""
        first = self.backlog._views[self.place].scanned
        told = self.backlog.told([
            (*self.place, serial, 0, float(serial), None)
            for serial in range(first, first + number)])
        return [ticket for ticket, _ in told]

    def begin(self, ticket):
        self.assertTrue(self.backlog.begun(ticket))

    def write(self):
        """Write all there is, as a control thread does; return it."""
        new, old = self.backlog.changes(*self.place, 100)
        self.backlog.written(*self.place, new, old)
        return new, old

    def position(self):
        return self.backlog.position(*self.place)

    def test_shelved_run_holds_no_cursor_once_that_is_written(self):
        first, second = self.tell(2)
        self.begin(second)
        self.backlog.finished(second)
        self.backlog.shelve(first, 'work')
        self.assertEqual(self.backlog._waiting, 0)
        self.assertEqual(self.position(), 1)
        self.assertEqual(self.write(), ([(1, ('work', shelfKey(0, 1)))], []))
        self.assertEqual(self.position(), 3)
        self.assertFalse(self.backlog.holds(first))
        self.assertEqual(self.write(), ([], []))

    def test_run_that_comes_back_and_ends_leaves_the_shelf(self):
        entry = 'work', shelfKey(0, 1)
        ticket, = self.tell(1)
        self.backlog.shelve(ticket, 'work')
        self.write()
        ticket = self.backlog.found(*self.place, 1, entry, 0)
        self.assertIsNone(self.backlog.found(*self.place, 1, entry, 0))
        # Its entry stands for it.
        self.assertEqual(self.position(), 2)
        self.begin(ticket)
        self.backlog.finished(ticket)
        self.assertTrue(self.backlog.isKnown(*self.place, 1))
        self.assertEqual(self.write(), ([], [(1, entry)]))
        self.assertFalse(self.backlog.isKnown(*self.place, 1))

    def test_run_that_comes_back_and_waits_for_its_time(self):
        entry = 'work', shelfKey(0, 1)
        self.tell(1)
        ticket = self.backlog.found(*self.place, 1, entry, 0)
        self.assertIsNone(ticket)   # it is known
        self.backlog.addLane(*self.place, 2, 2, True)
        ticket = self.backlog.found(*self.place, 1, entry, 0)
        self.assertTrue(ticket.is_inherited)
        self.backlog.defer(ticket, 5.0)
        self.assertEqual(self.write(), ([(1, 5.0)], [(1, entry)]))
        self.assertFalse(self.backlog.isKnown(*self.place, 1))

    def test_run_that_is_shelved_again_stays_there(self):
        entry = 'work', shelfKey(0, 1)
        self.backlog.addLane(*self.place, 2, 2, True)
        ticket = self.backlog.found(*self.place, 1, entry, 0)
        self.backlog.shelve(ticket, 'work')
        self.assertEqual(self.write(), ([(1, entry)], []))
        self.assertFalse(self.backlog.isKnown(*self.place, 1))
        self.assertEqual(self.write(), ([], []))

    def test_few_that_keep_the_cursor_back_are_told(self):
        tickets = self.tell(3000)
        self.assertEqual(self.backlog.stragglers(*self.place, 10), [])
        for ticket in tickets[1:1400]:
            self.begin(ticket)
            self.backlog.finished(ticket)
        # Still a row of them.
        self.assertEqual(self.backlog.stragglers(*self.place, 10), [])
        for ticket in tickets[1400:]:
            self.begin(ticket)
            self.backlog.finished(ticket)
        self.assertEqual(self.backlog.stragglers(*self.place, 10), [1])
        entry = 'work', shelfKey(0, 1)
        self.backlog.noted(*self.place, 1, entry)
        self.assertEqual(self.position(), 3001)
        self.assertEqual(self.backlog.stragglers(*self.place, 10), [])
        # It still waits here, and its entry goes when it ends.
        self.begin(tickets[0])
        self.backlog.finished(tickets[0])
        self.assertEqual(self.write(), ([], [(1, entry)]))

    def test_borrowed_run(self):
        other = b'oid', 8
        entry = 'work', shelfKey(3, 5)
        ticket = self.backlog.borrow(*other, entry, 3)
        self.assertEqual(ticket[:5], (*other, 5, True, 3))
        self.assertIsNone(self.backlog.borrow(*other, entry, 3))
        self.assertEqual(self.backlog.borrowed(), {'work': 1})
        self.begin(ticket)
        self.assertTrue(self.backlog.again(ticket))
        self.assertTrue(self.backlog.holds(ticket))
        # It stays where it is.
        self.backlog.shelve(ticket, 'work')
        self.assertEqual(self.backlog.borrowed(), {})
        self.assertEqual(self.backlog._waiting, 0)
        self.assertEqual(self.backlog.lanes(), [self.place])

    def test_borrowed_run_of_a_lane_that_becomes_ours(self):
        other = b'oid', 8
        entry = 'work', shelfKey(0, 5)
        ticket = self.backlog.borrow(*other, entry, 0)
        self.begin(ticket)
        self.backlog.addLane(*other, 4, 9, True)
        # Not twice, whether scan or shelf tell of it.
        self.assertIsNone(self.backlog.found(*other, 5, entry, 0))
        self.assertIsNotNone(self.backlog.scanned(*other, 4, True))
        self.assertIsNone(self.backlog.scanned(*other, 5, True))
        self.backlog.finished(ticket)
        self.assertEqual(self.backlog.changes(*other, 9), ([], [(5, entry)]))

    def test_ticket_of_a_lane_that_was_given_away_is_void(self):
        tickets = self.tell(2)
        self.backlog.dropLane(*self.place)
        for ticket in tickets:
            self.assertFalse(self.backlog.holds(ticket))
            self.backlog.shelve(ticket, 'work')
        self.assertEqual(self.backlog._waiting, 0)

    def test_some_come_back_even_where_new_ones_fill_the_memory(self):
        self.tell(10001)
        self.assertEqual(self.backlog._waiting, 10000)
        self.backlog.addLane(b'oid', 8, 2001, 2001, False)
        self.assertEqual(self.backlog.room(), 100)

        def find(serial):
            return self.backlog.found(
                b'oid', 8, serial, ('work', shelfKey(0, serial)), 0)

        for serial in range(1, 1001):
            self.assertIsNotNone(find(serial))
        self.assertEqual(self.backlog.room(), 0)
        self.assertIsNone(find(1001))

    def test_run_that_goes_on_elsewhere_is_watched(self):
        ticket, = self.tell(1)
        self.begin(ticket)
        self.backlog.goesOn(ticket)
        self.assertEqual(self.backlog.elsewhere, {ticket})
        self.assertEqual(self.position(), 1)
        borrowed = self.backlog.borrow(b'oid', 8, ('work', 5), 0)
        self.begin(borrowed)
        self.backlog.goesOn(borrowed)
        self.assertEqual(self.backlog.elsewhere, {ticket})
        self.assertEqual(self.backlog.borrowed(), {})


class DispatcherTests(unittest.TestCase):

    def test_new_ones_stay_behind_those_that_come_back(self):
        place = b'oid', 7
        backlog, executor = Backlog(), unittest.mock.Mock()
        backlog.addLane(*place, 5, 5, False)
        dispatcher = Dispatcher(backlog, executor, lambda: None)
        worker_type = unittest.mock.Mock(max_running=1)
        worker_type.name = 'work'
        # This process hears of the new one before it looks at the shelf.
        (new, _), = backlog.told([(*place, 5, 0, 105.0, None)])
        old = [backlog.found(*place, serial, ('work', serial), 0,
                             100.0 + serial) for serial in (1, 2)]
        dispatcher.comeBack(worker_type, old, is_all=False)
        executor.submit.assert_called_once_with(old[0])
        self.assertTrue(backlog.begun(new))
        self.assertFalse(dispatcher.isNext(new, 'work'))
        dispatcher.park(new, 'work')
        self.assertFalse(backlog.holds(new))   # it is on the shelf as well
        self.assertTrue(dispatcher.isNext(old[0], 'work'))


class LiveShelfTests(LiveTests):
    """With little memory."""

    capacity = 60

    def setUp(self):
        # The first turn of the runtime goes by them already.
        self.patch('cipher.background.shelves.STRAGGLERS_INTERVAL', 0.0)
        self.patch('cipher.background.shelves.SWEEP_INTERVAL', 0.0)
        super().setUp()
        self.patch('cipher.background.tickets.CAPACITY', self.capacity)
        self.patch('cipher.background.dispatcher.PARKED', 10)
        self.patch('cipher.background.dispatcher.DELAYED', 10)
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

    def shelved(self):
        """Return {type name: number of runs} on the shelves."""
        self.begin()
        numbers = {}
        for lane in self.registry.lanes.values():
            shelf = lane.cursor.shelf
            for name, keys in shelf.types.items() if shelf else ():
                numbers[name] = numbers.get(name, 0) + len(keys)
        return numbers

    def waitShelved(self, **numbers):
        """Wait until so many runs are on the shelves."""
        waitUntil(lambda: self.shelved() == numbers,
                  'that %s are shelved' % numbers)

    def waitCounts(self, **counts):
        """Wait until the runs of the type 'work' have these states."""
        def is_so():
            self.begin()
            return self.registry.getCounts().get('work') == counts
        waitUntil(is_so, 'the counts %s' % counts, limit=30)

    def assertForgotten(self):
        """Assert that nothing is left over anywhere."""
        self.waitShelved()
        waitUntil(lambda: not sum(self.runtime.tickets.counts()))
        self.begin()
        for lane in self.registry.lanes.values():
            if lane.cursor.shelf is not None:
                self.assertEqual(list(lane.cursor.shelf.serials), [])
        waitUntil(lambda: not any(
            view.here or view.noted or view.stale or view.moving
            for view in self.runtime.backlog._views.values()))


class LimitTests(LiveShelfTests):
    """More wait for room of their type than there is memory."""

    def setUp(self):
        super().setUp()
        declareWorker('work', self.slow, max_running=1)

    def test_they_starve_no_other_type(self):
        runs = self.startMany('work', 300)
        self.gate.waitReached()
        self.waitShelved(work=289)
        # But for one that just tries to begin.
        waitUntil(lambda: sum(self.runtime.tickets.counts()) == 10)
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
        waitUntil(lambda: sum(self.runtime.tickets.counts()) == 10)
        self.runtime.wake()
        self.waitShelved(work=39)
        self.gate.open()
        self.waitCounts(succeeded=50)

    def test_first_come_first_served(self):
        runs = self.startMany('work', 60)
        self.gate.waitReached()
        self.waitShelved(work=49)
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
        self.waitShelved(work=49)
        urgent = [self.startMany('work', 1, priority=priority)[0]
                  for priority in (1, 3, 2, 3)]
        self.waitShelved(work=53)
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
                self.waitShelved(work=39)
                self.spillNow()   # it writes the cursor
                self.gate.open()
                waitUntil(lambda: len(self.order) > 3)
                self.restart(in_good_order)
                for run_id in runs:
                    self.assertEqual(
                        self.waitFinished(run_id).state, 'succeeded')
                self.assertEqual(len(set(self.order)), 50)
                self.assertForgotten()

    def test_cursor_passes_them_and_lists_show_them(self):
        self.patch('cipher.background.laneview.LAG', 10)
        self.begin()
        runs = [self.registry.start('work').id for _ in range(30)]
        for _ in range(50):
            self.registry.start('other')   # in the same lane
        transaction.commit()
        place = self.registry._p_oid, self.registry.get(runs[0]).lane

        def position():
            return self.runtime.backlog.position(*place)

        # Even those in memory, and the one that runs.
        waitUntil(lambda: position() == 81, 'the cursor')
        self.waitShelved(work=30)
        self.spillNow()
        self.begin()
        self.assertEqual(
            self.registry.lanes[place[1]].cursor.low, 81)
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

    def test_stop_of_shelved_runs(self):
        runs = self.startMany('work', 30)
        self.gate.waitReached()
        self.waitShelved(work=19)
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
        dispatcher = self.runtime.dispatcher
        waitUntil(lambda: len(dispatcher._parked.get('work', ())) == 8)
        runs.remove(self.order[0])
        for run_id in runs[:7]:
            self.requestStop(run_id)
        self.gate.open()
        self.waitCounts(succeeded=2, stopped=7)

    def test_room_that_another_process_makes_is_used_up(self):
        # Three places are free at a time: one look takes them all.
        self.restart(threads=4, poll=60.0)
        barrier = threading.Barrier(3)
        declareWorker('work', lambda worker: barrier.wait(LIMIT),
                      max_running=3)
        others = [True]
        may_run = self.runtime.mayRun
        self.runtime.mayRun = lambda worker_type, live: (
            not others and may_run(worker_type, live))
        self.startMany('work', 3)
        dispatcher = self.runtime.dispatcher
        waitUntil(lambda: len(dispatcher._parked.get('work', ())) == 3)
        # Whatever turn the runtime may have: it looks no more.
        submit_due = dispatcher.submitDue
        dispatcher.submitDue = lambda: None
        del others[:]
        submit_due()
        self.waitCounts(succeeded=3)


class DueTests(LiveShelfTests):
    """More are due soon than there is memory."""

    def test_more_than_there_is_memory_for(self):
        clock = self.setClock()
        declareWorker('work', lambda worker: self.order.append(worker.run_id))
        runs = self.startMany('work', 200, delay=NEAR - 1)

        def waiting():
            self.begin()
            return sum(len(lane.due.tree)
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

    def test_many_short_snoozes_keep_no_cursor_back(self):
        self.patch('cipher.background.laneview.LAG', 10)
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
            self.registry._p_oid, lane) == serial + 31, 'the cursor')
        self.spillNow()
        count = len(self.order)
        waitUntil(lambda: len(self.order) > count + 2)
        self.restart(in_good_order=False)
        del snoozing[:]
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertForgotten()


class NoShelfTests(LiveTests):

    def test_ordinary_runs_need_no_shelf(self):
        declareWorker('work', lambda worker: None)
        for _ in range(50):
            self.carryOut('work')
        self.spillNow()
        self.begin()
        for lane in self.registry.lanes.values():
            self.assertIsNone(lane.cursor.shelf)

    def test_ticket_knows_its_place_in_the_queue(self):
        backlog = Backlog()
        backlog.addLane(b'oid', 7, 1, 1, False)
        backlog.addLane(b'oid', 8, 9, 9, False)
        # In the order in which this process hears of them.
        tickets = [ticket for ticket, _ in backlog.told([
            (b'oid', 7, 1, 0, 100.0, None), (b'oid', 7, 2, 0, 102.0, None),
            (b'oid', 7, 3, 1, 103.0, None)])]
        tickets.append(backlog.scanned(b'oid', 8, 9, True, 0, 101.0))
        tickets.append(backlog.found(b'oid', 8, 2, ('work', 2), 0, 99.0))
        tickets.append(backlog.borrow(b'oid', 9, ('work', 5), 0, 98.0))
        self.assertEqual(
            [ticket.run_id for ticket in sorted(
                tickets, key=lambda ticket: ticket.rank)],
            ['7-3', '9-5', '8-2', '7-1', '8-9', '7-2'])
