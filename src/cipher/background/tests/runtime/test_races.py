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
"""Races of two processes, each of them won by each side.

The processes are two clients of a ZEO server in one process, so that one can
be let in at the very moment in which the other has read, and not committed.
"""
import os
import threading

import transaction
from ZODB.POSException import ConflictError
from zope.component import provideHandler
from zope.component.hooks import getSite

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import IRunInterruptedEvent
from cipher.background.interfaces import IRunStartedEvent
from cipher.background.runtime.runtime import Runtime
from cipher.background.store import process
from cipher.background.tests.support.cluster import ZEOTests
from cipher.background.tests.support.live import Counter
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.servers import openDatabase
from cipher.background.tests.support.sites import LIMIT
from cipher.background.work.liverun import Ticket


def aside(function, *args):
    """Call *function* in a thread of its own; return what it gives."""
    results = []

    def run():
        try:
            results.append((None, function(*args)))
        except BaseException as error:
            results.append((error, None))
        finally:
            transaction.abort()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(LIMIT)
    error, value = results[0]
    if error is not None:
        raise error
    return value


class Party:
    """A process, as far as the database knows; the test is its threads."""

    def __init__(self, test):
        db = openDatabase(test.uri)
        test.addCleanup(db.close)
        self._storage = db.storage
        self._runtime = Runtime(db, RuntimeSettings(threads=1, lease=3.0))
        self._maintenance = self._runtime._maintenance
        self._errors = []   # of the steps of the turn
        note = self._runtime.troubles.note

        def noted(error, *args):
            self._errors.append(error)
            note(error, *args)

        self._runtime.troubles.note = noted
        self.id = self._runtime.id
        self.turn()
        self.beat()

    def turn(self):
        """Have a turn, with a look at who is dead; raise what it met."""
        del self._errors[:]
        self._call(self._maintenance.turn, True)
        if self._errors:
            raise self._errors[0]

    def beat(self):
        """Beat."""
        self._call(self._maintenance.beat)

    def leave(self):
        """End in good order."""
        self._call(self._maintenance.leave)

    def takeForDead(self, *others, meanwhile=None):
        """Take these others for dead from now on, and nobody else.

        *meanwhile* is called at the next such verdict, before its commit.
        """
        calls = [meanwhile] if meanwhile is not None else []

        def dead(directory):
            ids = [other.id for other in others]
            found = [directory.processes[id] for id in ids
                     if id in directory.processes]
            for record in found:
                record.heartbeat._p_activate()
            while calls:
                calls.pop()()
            return found

        self._maintenance._liveness.findDead = dead

    def carryOut(self, run_id, must_claim=False):
        """Carry a run out."""
        lane, serial = map(int, run_id.split('-'))
        self._call(self._runtime.executor.carryOut, Ticket(
            self.registry_oid, lane, serial, must_claim))

    def _call(self, method, *args):
        # A moment later it would know by itself what others have committed.
        self._storage.ping()
        aside(method, *args)

    def lanes(self):
        """Return the numbers of the lanes whose home it is."""
        return {number for _, number in self._runtime.backlog.lanes()}


class RaceTests(ZEOTests):
    """Two parties; the runtime of the test is shut down."""

    def setUp(self):
        super().setUp()
        self.runtime.shutdown()
        Party.registry_oid = self.registry._p_oid
        self.one = Party(self)
        self.other = Party(self)
        for party in (self.one, self.other) * 3:
            party.turn()   # until each has its share of the lanes

    def begin(self):
        self.db.storage.ping()
        super().begin()

    def ids(self):
        """Return the ids of the processes that are known."""
        self.begin()
        return set(process.getDirectory(self.connection).processes)

    def run_of(self, run_id):
        self.begin()
        return self.registry.get(run_id)

    # Beats and rescues

    def test_beat_wins_against_the_rescue(self):
        one, other = self.one, self.other
        lanes = other.lanes()
        one.takeForDead(other, meanwhile=other.beat)
        with self.assertRaises(ConflictError):
            one.turn()
        self.assertEqual(self.ids(), {one.id, other.id})
        self.assertFalse(one.lanes() & lanes)
        self.assertEqual(other.lanes(), lanes)

    def test_rescue_wins_against_the_beat(self):
        one, other = self.one, self.other
        lanes = other.lanes()
        one.takeForDead(other)
        one.turn()
        self.assertEqual(self.ids(), {one.id})
        self.assertLessEqual(lanes, one.lanes())
        # It is told at its next beat, and begins anew, as another process.
        other.beat()
        other.turn()
        new = self.ids() - {one.id}
        self.assertEqual(len(new), 1)
        self.assertNotIn(other.id, new)
        self.assertFalse(one.lanes() & other.lanes())

    def test_who_was_rescued_leaves_no_lane_of_others(self):
        one, other = self.one, self.other
        self.assertTrue(other.lanes())
        one.takeForDead(other)
        one.turn()
        other.leave()   # it has not seen that
        self.assertEqual(self.ids(), {one.id})
        self.assertEqual({lane.bookmark.home for lane
                          in self.registry.lanes.values()}, {one.id})

    def test_same_pid_of_another_time(self):
        self.assertNotEqual(process.newProcessId('host', 1),
                            process.newProcessId('host', 1))
        self.begin()
        other = process.getDirectory(
            self.connection).processes[self.other.id]
        self.assertEqual(other.pid, os.getpid())
        other.pid_started = '1'   # so it ended, and its pid is ours now
        transaction.commit()
        self.one.turn()
        self.assertEqual(self.ids(), {self.one.id})

    # Who takes a run

    def declare(self, **values):
        """Declare work; return the list of what begins, and a hook."""
        begun = []
        meanwhile = []

        def work(worker):
            getSite()['counter'].value += 1
            begun.append(worker.run_id)
            while meanwhile:
                meanwhile.pop()()

        declareWorker('work', work, **values)
        return begun, meanwhile

    def test_two_processes_claim_one_run(self):
        begun, _ = self.declare(on_interrupt=FAIL)
        for first, second in ((self.one, self.other), (self.other, self.one)):
            with self.subTest(first is self.one):
                run_id = self.start('work')
                meanwhile = [lambda: second.carryOut(run_id)]

                def started(event):
                    # In the open transaction of the claim.
                    while meanwhile:
                        meanwhile.pop()()

                provideHandler(started, [IRunStartedEvent])
                begun.clear()
                value = self.value()
                with self.assertRaises(ConflictError):
                    first.carryOut(run_id)
                first.carryOut(run_id)   # as the executor does
                run = self.run_of(run_id)
                self.assertEqual((run.state, run.attempts, run.owner),
                                 ('succeeded', 1, second.id))
                self.assertEqual(begun, [run_id])
                self.assertEqual(self.value(), value + 1)

    def test_two_processes_work_on_one_run_without_a_claim(self):
        begun, meanwhile = self.declare()
        for first, second in ((self.one, self.other), (self.other, self.one)):
            with self.subTest(first is self.one):
                run_id = self.start('work')
                value = self.value()
                begun.clear()
                meanwhile.append(lambda: second.carryOut(run_id))
                first.carryOut(run_id)
                run = self.run_of(run_id)
                self.assertEqual((run.state, run.attempts, run.owner),
                                 ('succeeded', 1, second.id))
                # The one that lost did not try again.
                self.assertEqual(begun, [run_id] * 2)
                self.assertEqual(self.value(), value + 1)

    def test_taken_over_right_after_the_claim(self):
        # The fence is the epoch of the claim, not what the run says later.
        begun, _ = self.declare(on_interrupt=FAIL)
        run_id = self.start('work')
        executor = self.one._runtime.executor
        claim = executor._claim

        def claim_and_lose(*args):
            epoch = claim(*args)
            aside(self.take_over, run_id)
            return epoch

        executor._claim = claim_and_lose
        self.one.carryOut(run_id)
        self.assertEqual(begun, [])
        self.assertEqual(self.value(), 0)
        self.assertEqual(self.run_of(run_id).state, 'running')

    def take_over(self, run_id):
        # By the same process even: its id is no fence.
        self.db.storage.ping()
        connection = self.db.open()
        run = connection.get(self.registry._p_oid).get(run_id)
        run.putBack()
        run.claim(self.one.id, 1.0, must_not_rerun=True)
        transaction.commit()
        connection.close()

    # Rescuers

    def test_two_processes_adopt_and_rescue(self):
        run_id = self.abandon(self.one)
        third = Party(self)
        self.other.takeForDead(self.one, meanwhile=third.turn)
        third.takeForDead(self.one)
        with self.assertRaises(ConflictError):
            self.other.turn()
        for party in self.other, third, self.other, third:
            party.turn()
        self.assertRescuedOnce(run_id)

    def test_rescuer_is_taken_for_dead_meanwhile(self):
        run_id = self.abandon(self.one)
        third = Party(self)
        third.takeForDead(self.one, self.other)
        self.meanwhile.append(third.turn)
        self.other.takeForDead(self.one)
        with self.assertRaises(ConflictError):
            self.other.turn()
        for party in third, self.other, third:
            party.turn()
        self.assertRescuedOnce(run_id)

    def abandon(self, party):
        """Return the id of a run that *party* works on.

        `meanwhile` is called within the transaction of its first rescue.
        """
        self.declare(on_interrupt=FAIL)
        self.begin()
        self.site['events'] = Counter()
        run = self.registry.start('work')
        run_id = run.id
        run.claim(party.id, 1.0, must_not_rerun=True)
        lane = self.registry.lanes[run.lane]
        lane.bookmark.home = party.id

        def prefer_other(place, lane, takers):
            return self.other.id if self.other.id in takers else takers[-1]

        self.patch(
            'cipher.background.runtime.maintenance.homes.preferredHome',
            prefer_other)
        transaction.commit()
        self.meanwhile = []

        def interrupted(event):
            root = event.object._p_jar.root()
            root['Application']['events'].value += 1
            while self.meanwhile:
                self.meanwhile.pop()()

        provideHandler(interrupted, [IRunInterruptedEvent])
        return run_id

    def assertRescuedOnce(self, run_id):
        run = self.run_of(run_id)
        self.assertEqual((run.state, run.interruptions), ('interrupted', 1))
        self.assertEqual(self.site['events'].value, 1)
        self.assertEqual(
            self.registry.getCounts(), {'work': {'interrupted': 1}})
