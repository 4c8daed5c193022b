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
"""The end of a run of a limited type passes its slot on."""
import threading
import unittest
from collections import Counter
from types import SimpleNamespace
from unittest import mock

import transaction
from ZODB.POSException import ConflictError
from ZODB.POSException import POSKeyError
from zope.component import provideHandler
from zope.component.hooks import getSite

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import IRunStartedEvent
from cipher.background.interfaces import RunLost
from cipher.background.runtime.maintenance.unblocking import Unblocker
from cipher.background.runtime.queue.ranking import Ranking
from cipher.background.store.process import getDirectory
from cipher.background.store.slots import Slot
from cipher.background.store.slots import findSlot
from cipher.background.tests.registry.test_unique import Other
from cipher.background.tests.support.cluster import LONG
from cipher.background.tests.support.cluster import ZEOTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.thread import BackgroundJob
from cipher.background.work import passing
from cipher.background.work.liverun import LiveRun
from cipher.background.work.liverun import Ticket


def increment(worker):
    """Change the counter of the site."""
    getSite()['counter'].value += 1


class OrderTests(unittest.TestCase):
    """Which run would be the next one."""

    def ticket(self, serial, priority=0, starter=None):
        return Ticket(b'oid', 1, serial, False, priority, float(serial),
                      starter)

    def test_one_that_would_lead_is_the_next_one(self):
        tickets = [self.ticket(serial, priority, starter)
                   for serial in (1, 2, 3) for priority in (0, 1)
                   for starter in ('a', 'b', 'c')]
        for one in tickets:
            for others in tickets[::2], tickets[1::2], tickets[:3], []:
                turns = Ranking()
                for other in others:
                    if other != one:
                        turns.push(other)
                would_lead = turns.wouldLead(one)
                turns.push(one)
                self.assertEqual(would_lead, turns.pop() == one)


class PassingTests(LiveTests):
    """In one process."""

    # No look of the control thread meanwhile.
    settings = {'threads': 2, 'poll': 60.0, 'drain': 5.0}

    def setUp(self):
        super().setUp()
        self.order = []
        self.lock = threading.Lock()

    def work(self, worker):
        with self.lock:
            self.order.append(worker.run_id)

    def slow(self, worker):
        """Stand at the gate, the first time."""
        self.work(worker)
        if len(self.order) == 1:
            self.gate.stop()
        increment(worker)

    def startMany(self, number, name='work', **values):
        """Start so many runs in one commit; return their ids."""
        self.begin()
        ids = [self.registry.submit(name, **values).id
               for _ in range(number)]
        transaction.commit()
        return ids

    def waitAll(self, ids, state='succeeded'):
        for run_id in ids:
            status = self.waitFinished(run_id)
            self.assertEqual(status.state, state, self.logged.getvalue())
            self.assertEqual((status.attempts, status.interruptions), (1, 0))

    def startSome(self, number=3):
        """Start so many; return their ids, the one that works first.

        The others wait for room.  Two threads may try at a time, so it is
        not always the first one.
        """
        ids = self.startMany(number)
        self.gate.waitReached()
        self.waitParked(number - 1)
        ids.remove(self.order[0])
        return [*self.order, *ids]

    def waitParked(self, number):
        """Wait until the others wait for room."""
        waitUntil(lambda: self.runtime.backlog.counts()[2] == number,
                  'those that wait for room')

    def commits(self, since):
        """Return {what: number of commits} since a transaction id."""
        found = Counter()
        for record in self.db.storage.iterator():
            if record.tid > since:
                note = record.description.decode()
                found['claim' if note.endswith(': claim') else
                      'work' if note.startswith('work') else 'else'] += 1
        return found

    def countCommits(self, number=100, **values):
        """Return the commits that so many runs took."""
        declareWorker('work', self.work, **values)
        self.runtime.quiet()
        ids = self.startMany(number)
        waitUntil(lambda: not self.runtime.admission.requested_quiet,
                  'its record')
        since = self.db.lastTransaction()
        self.runtime.quiet(False)
        self.waitAll(ids)
        self.assertEqual(sorted(self.order), sorted(ids))
        return self.commits(since)

    def test_next_run_begins_without_a_commit_of_its_own(self):
        for limit in 1, 2, 5:
            for on_interrupt in 'rerun', FAIL:
                with self.subTest(limit=limit, on_interrupt=on_interrupt):
                    self.order = []
                    commits = self.countCommits(
                        max_running=limit, on_interrupt=on_interrupt)
                    self.assertEqual(commits['work'], 100)
                    # Of the first ones.
                    self.assertLessEqual(commits['claim'], 8)
                    self.assertLessEqual(sum(commits.values()), 115)

    def test_never_more_than_may(self):
        running = []
        most = []

        def work(worker):
            with self.lock:
                running.append(worker.run_id)
                most.append(len(running))
            # No slot is left unused, either.
            waitUntil(lambda: max(most) >= limit, 'that all are used')
            worker.wait(0.002)
            with self.lock:
                running.remove(worker.run_id)

        self.runtime.shutdown()
        self.runtime = self.startRuntime(threads=4)
        for limit in 1, 2, 3:
            with self.subTest(limit):
                del most[:]
                declareWorker('work', work, max_running=limit)
                self.waitAll(self.startMany(60))
                self.assertEqual(max(most), limit)

    def test_slots_are_as_many_as_may_run(self):
        for limit in 3, 1, 2:
            declareWorker('work', self.work, max_running=limit)
            self.waitAll(self.startMany(20))
            self.begin()
            slots = getDirectory(self.connection).slots['work']
            self.assertLessEqual(len(slots.slots), limit)

    def test_begin_of_each_is_announced_once(self):
        begun = []
        provideHandler(lambda event: begun.append(
            (event.object.id, event.registry.__parent__ is not None)),
            [IRunStartedEvent])
        self.countCommits(20, max_running=1)
        self.assertEqual(sorted(begun),
                         sorted((run_id, True) for run_id in self.order))

    def test_the_urgent_go_first(self):
        # Of another type as well: a slot is no right to go first.
        self.runtime.shutdown()
        self.runtime = self.startRuntime(threads=1)
        declareWorker('work', self.slow, max_running=1)
        declareWorker('other', self.work)
        first, *rest = self.startMany(3)
        self.gate.waitReached()
        urgent = self.startMany(2, 'other', priority=1)
        self.waitUntilKnown(5)
        self.gate.open()
        self.waitAll([first, *rest, *urgent])
        self.assertEqual(self.order, [first, *urgent, *rest])

    def waitUntilKnown(self, number):
        """Wait until so many runs are in memory."""
        def isKnown():
            with ZodbConnection(self.db) as connection:
                self.runtime.poller.lookAtAll(connection)
            return sum(len(lane.tickets) for lane in
                       self.runtime.backlog._lanes.values()) == number
        waitUntil(isKnown, 'that they are known')

    def test_starters_take_turns(self):
        self.runtime.shutdown()
        self.runtime = self.startRuntime(threads=1)
        declareWorker('work', self.slow, max_running=1)
        declareWorker('other', self.work)
        first, *rest = self.startMany(5)
        self.gate.waitReached()
        self.begin()
        runs = [self.registry.submit('other') for _ in range(2)]
        for run in runs:
            run.starter = 'somebody'
        transaction.commit()
        self.waitUntilKnown(7)
        self.gate.open()
        self.waitAll([first, *rest, *(run.id for run in runs)])
        self.assertLess(max(self.order.index(run.id) for run in runs), 6)

    def checkFreed(self, **values):
        """A run ends while others wait: the next one claims its slot."""
        first, *rest = self.startSome()
        since = self.db.lastTransaction()
        self.gate.open()
        self.waitAll([first, *rest])
        return self.commits(since)

    def test_long_work_frees_its_slot(self):
        # What is at risk when the next run is written at that moment.
        self.patch('cipher.background.work.passing.SHORT', -1.0)
        declareWorker('work', self.slow, max_running=1)
        self.assertEqual(self.checkFreed()['claim'], 2)

    def test_work_with_a_cleanup_of_its_own_frees_its_slot(self):
        # It is at work until that is done.
        test = self

        class Job(BackgroundJob):
            def doWork(self):
                test.slow(self)

            def doCleanup(self):
                """Nothing to be done."""

        declareWorker('work', factory=Job, max_running=1)
        self.assertEqual(self.checkFreed()['claim'], 2)

    def test_slot_that_others_want_is_free(self):
        declareWorker('work', self.slow, max_running=1)
        backlog = self.runtime.backlog
        backlog.setWanted(['work'])
        self.patch(
            'cipher.background.runtime.maintenance.unblocking.Unblocker'
            '._find_wanted_types', lambda comeback, connection: None)
        self.assertEqual(self.checkFreed()['claim'], 2)

    def test_others_are_looked_at_after_each_end(self):
        # None of them waits for room here: there are enough threads.
        declareWorker('work', self.work, max_running=5)
        self.waitAll(self.startMany(2))
        backlog = self.runtime.backlog
        self.assertEqual(backlog.parkedTypes(), {})
        looks = []
        set_wanted = backlog.setWanted

        def look(type_names):
            set_wanted(type_names)
            looks.append(backlog._wanted)

        backlog.setWanted(['work'])
        with mock.patch.object(backlog, 'setWanted', look):
            for number in 1, 2:
                self.waitAll(self.startMany(1))
                self.runtime.wakeAll()
                waitUntil(lambda: len(looks) >= number, 'a look')
                self.assertFalse(looks[-1])

    def test_others_want_it_when_they_have_entries(self):
        declareWorker('work', self.slow, max_running=1)
        self.startMany(3)
        self.gate.waitReached()
        self.waitParked(2)
        self.writeBookmarksNow()
        for runtime_id, wanted in ((self.runtime.id, []),
                                   ('another', ['work'])):
            found = []
            Unblocker(
                SimpleNamespace(id=runtime_id),
                SimpleNamespace(setWanted=found.extend),
                running=None, admission=None, troubles=None,
                make_sorter=None)._find_wanted_types(self.connection)
            self.assertEqual(found, wanted)

    def test_work_that_fails_passes_its_slot_on(self):
        def work(worker):
            self.slow(worker)
            raise ValueError('planned')

        declareWorker('work', work, max_running=1)
        first, *rest = self.startSome(4)
        since = self.db.lastTransaction()
        self.gate.open()
        self.waitAll([first, *rest], 'failed')
        self.assertEqual(self.commits(since)['claim'], 0)

    def test_work_that_is_put_off_passes_its_slot_on(self):
        def work(worker):
            self.slow(worker)
            if self.order.count(worker.run_id) == 1:
                raise ValueError('planned')

        declareWorker('work', work, max_running=1, max_attempts=2,
                      retry_delay=0.01)
        first, *rest = self.startSome(4)
        self.gate.open()
        for run_id in first, *rest:
            status = self.waitFinished(run_id)
            self.assertEqual((status.state, status.attempts),
                             ('succeeded', 2))
        self.assertEqual(self.value(), 4)

    # The next run meanwhile

    def test_next_run_was_stopped_meanwhile(self):
        declareWorker('work', self.slow, max_running=1)
        first, second, third = self.startSome()
        self.assertEqual(self.requestStop(second), 'stopped')
        self.gate.open()
        self.waitAll([first, third])
        # It has a fresh look: nothing conflicts, nothing is done again.
        self.assertEqual(self.order, [first, third])

    def test_next_run_is_stopped_at_that_moment(self):
        declareWorker('work', self.slow, max_running=1)
        first, second, third = self.startSome()
        is_current = passing._is_current
        stopped = []

        def stop(connection, run):
            answer = is_current(connection, run)
            if not stopped:
                stopped.append(self.stopElsewhere(run.id))
            return answer

        self.patch('cipher.background.work.passing._is_current', stop)
        self.gate.open()
        self.waitAll([first, third])
        self.assertEqual(self.status(second).state, 'stopped')
        self.assertEqual((stopped, self.value()), (['stopped'], 2))
        # The work that ended was done again; what it changed is there once.
        self.assertEqual(self.order, [first, first, third])

    def stopElsewhere(self, run_id):
        """Stop a run as another thread does."""
        found = []

        def stop():
            other = Other(self)
            found.append(other.registry.requestStop(run_id))
            other.manager.commit()

        thread = threading.Thread(target=stop)
        thread.start()
        thread.join(LIMIT)
        return found[0]

    def test_next_run_that_a_thread_here_has_lost(self):
        """It does not hold the slot while that thread goes on."""
        declareWorker('work', self.slow, max_running=1)
        first, second, third = self.startSome()
        lost = LiveRun(self.runtime, Ticket(
            self.registry._p_oid, *map(int, second.split('-'))))
        self.assertTrue(self.runtime.running.enter(lost))
        lost.abandon()
        self.gate.open()
        self.waitAll([first, third])
        self.begin()
        self.assertEqual(self.registry.get(second).state, 'pending')
        lost.end()
        self.waitAll([second])
        self.assertEqual(self.order, [first, third, second])

    def test_next_run_is_too_young_to_be_seen(self):
        declareWorker('work', self.slow, max_running=1)
        first, = self.startMany(1)
        self.gate.waitReached()
        second, = self.startMany(1)   # after the work began
        self.waitParked(1)
        self.gate.open()
        self.waitAll([first, second])
        self.assertEqual(self.order, [first, second])

    def test_next_run_that_is_not_seen_keeps_its_turn(self):
        declareWorker('work', self.slow, max_running=1)
        first, = self.startMany(1)
        self.gate.waitReached()
        others = self.startMany(3)   # after the work began
        self.waitParked(3)
        parked = []
        passOn = passing.Passing.passOn

        def record(passing, connection):
            passOn(passing, connection)
            parked.append(self.runtime.backlog.counts()[2])

        self.patch('cipher.background.work.passing.Passing.passOn', record)
        self.gate.open()
        self.waitAll([first, *others])
        # The second passes its slot on to the third, and so on.
        self.assertEqual(parked, [3, 1, 0, 0])

    def test_next_run_has_a_broken_record(self):
        declareWorker('work', self.slow, max_running=1)
        ids = self.startSome()
        find = passing._find_waiting
        broken = []

        def fail(connection, ticket):
            if not broken:
                broken.append(ticket.run_id)
                raise POSKeyError(b'broken')
            return find(connection, ticket)

        self.patch('cipher.background.work.passing._find_waiting', fail)
        self.gate.open()
        # It fails no other work; whoever begins it says what is wrong.
        self.waitAll(ids)
        self.assertEqual(len(self.order), 3)

    def test_storage_that_is_away_at_that_moment(self):
        declareWorker('work', self.slow, max_running=1)
        ids = self.startSome()
        find = passing._find_waiting
        away = []

        def fail(connection, ticket):
            if not away:
                away.append(ticket.run_id)
                raise ConflictError('away')
            return find(connection, ticket)

        self.patch('cipher.background.work.passing._find_waiting', fail)
        self.gate.open()
        self.waitAll(ids)
        self.assertEqual(self.value(), 3)

    def test_paused_type_passes_nothing_on(self):
        declareWorker('work', self.slow, max_running=1)
        self.change(lambda: self.registry.pauseType('work'))
        self.startMany(3)
        self.change(lambda: self.registry.pauseType('work', False))
        self.gate.waitReached()
        self.change(lambda: self.registry.pauseType('work'))
        self.gate.open()
        waitUntil(lambda: not self.runtime.allLive(), 'its end')
        self.assertLessEqual(len(self.order), 2)
        self.change(lambda: self.registry.pauseType('work', False))
        self.runtime.wakeAll()
        waitUntil(lambda: len(self.order) == 3)

    # Ends that are not as they should be

    def test_reply_that_is_lost(self):
        self.checkReply(is_committed=True)
        # What was done is done, and the next one has its slot.
        self.assertEqual(len(self.order), 3)

    def test_end_that_fails(self):
        self.checkReply(is_committed=False)
        self.assertEqual(len(self.order), 4)

    def makeFailing(self, is_committed, lose):
        """Return (a commit whose first end of work calls *lose*, the failed).

        *lose* raises.  *is_committed*: that end is committed all the same.
        """
        commit = transaction.Transaction.commit
        failed = []

        def fail(txn):
            is_it = not failed and txn.description.startswith('work')
            if is_committed or not is_it:
                commit(txn)
            if is_it:
                failed.append(txn)
                lose()

        return fail, failed

    def checkReply(self, is_committed):
        """The end of the first run fails; or it just seems so."""
        declareWorker('work', self.slow, max_running=1)
        ids = self.startSome()

        def lose():
            raise ConflictError('no reply')

        fail, failed = self.makeFailing(is_committed, lose)
        since = self.db.lastTransaction()
        self.patch('transaction._transaction.Transaction.commit', fail)
        self.gate.open()
        self.waitAll(ids)
        self.assertEqual(len(failed), 1)
        self.assertEqual(self.value(), 3)
        self.assertEqual(self.commits(since)['claim'], 0)
        self.assertNothingLeft()

    def assertNothingLeft(self):
        waitUntil(lambda: not self.runtime.allLive(), 'the end')
        self.assertFalse(self.runtime.runs.listNotBegun())
        self.assertFalse(self.runtime.claims.listDoubtful())
        self.assertTrue(self.runtime.backlog.isIdle())

    def test_run_that_is_lost_in_its_end(self):
        for is_committed in True, False:
            with self.subTest(is_committed):
                self.checkLost(is_committed)

    def checkLost(self, is_committed):
        """Nobody knows what became of an end; the run is removed."""
        self.order = []
        self.gate.__init__()
        declareWorker('work', self.slow, max_running=1)
        ids = self.startSome()

        def lose():
            self.runtime.findLive(
                self.registry._p_oid, ids[0]).is_lost = True
            raise RunLost('as it seems')

        fail, failed = self.makeFailing(is_committed, lose)
        with mock.patch('transaction._transaction.Transaction.commit', fail):
            self.gate.open()
            waitUntil(lambda: failed)
            waitUntil(lambda: not self.runtime.findLive(
                self.registry._p_oid, ids[0]), 'its end')
        for run_id in ids[1:]:
            waitUntil(lambda: self.turnUntilFinished(run_id), 'its end')
        self.assertNothingDoubtful()

    def turnUntilFinished(self, run_id):
        self.runtime.wakeAll()
        return self.status(run_id).state == 'succeeded'

    def assertNothingDoubtful(self):
        self.runtime.wakeAll()
        waitUntil(lambda: not self.runtime.claims.listDoubtful(),
                  'what is doubtful')

    def test_process_that_becomes_quiet_gives_it_back(self):
        self.checkGivenBack(lambda: self.runtime.backlog.setQuiet(True),
                            lambda: self.runtime.backlog.setQuiet(False))

    def test_home_that_is_left_at_that_moment(self):
        def leave():
            for place in self.runtime.backlog.lanes():
                self.runtime.backlog.dropLane(place)
            self.runtime.backlog.setQuiet(True)

        self.checkGivenBack(
            leave, lambda: self.runtime.backlog.setQuiet(False))

    def checkGivenBack(self, disturb, end):
        """Something comes between the end of a run and the next one."""
        self.patch('cipher.background.runtime.maintenance.taker.STALE', 0.0)
        declareWorker('work', self.slow, max_running=1)
        ids = self.startSome()
        passed = self.runtime.backlog.passed

        def disturbed(ticket):
            disturb()
            passed(ticket)

        with mock.patch.object(self.runtime.backlog, 'passed', disturbed):
            self.gate.open()
            self.waitFinished(ids[0])

        def isGivenBack():
            self.runtime.wakeAll()
            self.begin()
            return [self.registry.get(run_id).state
                    for run_id in ids] == ['succeeded', 'pending', 'pending']

        waitUntil(isGivenBack, 'that it waits again')
        waitUntil(lambda: not self.runtime.runs.listNotBegun(), 'no claim')
        end()
        self.runtime.wakeAll()
        for run_id in ids[1:]:
            waitUntil(lambda: self.turnUntilFinished(run_id), 'its end')
            self.assertEqual(self.status(run_id).interruptions, 0)
        self.assertEqual(sorted(self.order), sorted(ids))

    def test_shutdown_leaves_it_to_others(self):
        declareWorker('work', self.slow, max_running=1)
        ids = self.startSome()
        passed = self.runtime.backlog.passed

        def disturbed(ticket):
            self.runtime.executor.stop()
            passed(ticket)

        with mock.patch.object(self.runtime.backlog, 'passed', disturbed):
            self.gate.open()
            self.waitFinished(ids[0])
            self.runtime.shutdown()
        for run_id in ids[1:]:
            status = self.status(run_id)
            self.assertEqual((status.state, status.attempts,
                              status.interruptions), ('pending', 0, 0))
        self.runtime = self.startRuntime()
        self.waitAll(ids)

    def test_slot_is_that_of_the_run(self):
        declareWorker('work', self.work, max_running=2)
        run_id, = self.startMany(1)
        self.waitAll([run_id])
        self.begin()
        run = self.registry.get(run_id)
        place = self.registry._p_oid, run.lane, run.serial
        self.assertIsInstance(
            findSlot(self.connection, 'work', place), Slot)
        self.assertIsNone(findSlot(self.connection, 'other', place))
        self.assertIsNone(findSlot(self.connection, 'work', place[:2] + (9,)))


class ManyProcessesTests(ZEOTests):
    """Two processes have runs of one limited type."""

    def test_each_run_once_and_both_do_some(self):
        other = self.act()
        other.send('start', 'limited', number=60)
        for _ in range(60):
            self.start('limited')
        ids = other.answer()
        self.assertEqual(self.waitAll(), 120)
        self.begin()
        runs = [run for lane in self.registry.lanes.values()
                for run in lane.births.walk()]
        self.assertEqual({run.owner for run in runs},
                         {self.runtime.id, other.id})
        for run in runs:
            self.assertEqual((run.attempts, run.interruptions), (1, 0))
        self.assertEqual(len(ids), 60)
        self.assertToldHardlyTwice([run.id for run in runs])

    def test_holder_that_dies_before_it_begins_is_rescued(self):
        self.runtime.quiet()
        other = self.act()
        ids = other.startAtOnce('second', number=3)
        other.process.wait(LONG)
        declareWorker('second', increment, max_running=1)
        self.runtime.quiet(False)
        interruptions = [self.waitFinal(run_id, 'succeeded').interruptions
                         for run_id in ids]
        self.assertEqual(sorted(interruptions), [0, 0, 1])
        self.assertEqual(self.value(), 3)
