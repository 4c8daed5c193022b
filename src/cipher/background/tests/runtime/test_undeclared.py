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
"""Runs of a type that the process which has their lane does not know."""
import time
from unittest import mock

import transaction
from ZODB.POSException import POSKeyError
from zope.component import getGlobalSiteManager

from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import IWorkerType
from cipher.background.runtime.executors.performer import Performer
from cipher.background.store.bookmark import TYPE
from cipher.background.store.process import getDirectory
from cipher.background.testing import SetClock
from cipher.background.tests.support.cluster import LONG
from cipher.background.tests.support.cluster import ZEOTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil


class Ignorant:
    """This process does not know the types of the runs that it starts."""

    def startUnknown(self, name, number=1, **values):
        """Start runs of a type and forget it; return their ids."""
        worker_type = queryWorkerType(name)
        self.begin()
        ids = [self.registry.submit(name, **values).id
               for _ in range(number)]
        self.undeclare(worker_type)
        transaction.commit()
        return ids

    def undeclare(self, worker_type):
        getGlobalSiteManager().unregisterUtility(
            worker_type, IWorkerType, worker_type.name)

    def unknown(self):
        """Return {type name: since when no process knows it}."""
        self.begin()
        return dict(getDirectory(self.connection).unknown)

    def waiting(self):
        """Return how many runs wait for a process that knows them."""
        self.begin()
        return sum(len(tree) for lane in self.registry.lanes.values()
                   for (kind, _), tree in lane.waiting.trees.items()
                   if kind == TYPE)

    def assertForgotten(self):
        """Assert that nothing is left over."""
        waitUntil(lambda: not self.waiting(), 'empty trees')
        waitUntil(lambda: not self.unknown(), 'the end of what is unknown')


class GraceTests(Ignorant, LiveTests):
    """One process alone."""

    settings = dict(LiveTests.settings, grace=0.2)

    def setUp(self):
        # The first turn of the runtime goes by it already.
        self.patch(
            'cipher.background.runtime.maintenance.unblocking.SWEEP_INTERVAL',
            0.0)
        super().setUp()
        self.calls = []
        self.declare()

    def declare(self):
        declareWorker('work', lambda worker: self.calls.append(worker.run_id))

    def restart(self, in_good_order=True, **settings):
        if not in_good_order:
            self.runtime._leave = lambda: None
        self.runtime.shutdown()
        self.runtime = self.startRuntime(**settings)

    def test_type_that_nobody_knows_fails_after_a_grace_time(self):
        run_id, late = self.startTwo()
        status = self.waitFinished(run_id)
        self.assertEqual((status.state, status.error_type),
                         ('failed', 'UnknownWorkerType'))
        self.assertIn("worker 'work': expected a declared worker type",
                      status.error_text)
        self.assertFalse(status.is_declared)
        self.assertGreaterEqual(status.finished_at - status.created_at, 0.2)
        self.assertEqual(self.status(late).state, 'pending')
        self.begin()
        self.assertEqual(self.registry.getCounts(),
                         {'work': {'failed': 1, 'pending': 1}})
        self.assertForgotten()
        # Once for all of them.
        self.assertEqual(self.logged.getvalue().count('no ZCML declares'), 1)

    def startTwo(self):
        """Start two; the time of the second, and its grace, come later."""
        # At once: who declares the type again would let the first one begin.
        self.begin()
        ids = [self.registry.submit('work', delay=delay).id
               for delay in (0.0, 60.0)]
        self.undeclare(queryWorkerType('work'))
        transaction.commit()
        return ids

    def startClaimed(self):
        """Let the type go after a claim; return the id of the claimed run."""
        declareWorker('work', lambda worker: self.gate.stop(),
                      max_running=1, on_interrupt='fail')
        backlog = self.runtime.backlog
        passed = backlog.passed

        def undeclare_and_go_on(ticket):
            self.undeclare(queryWorkerType('work'))
            passed(ticket)

        backlog.passed = undeclare_and_go_on
        self.begin()
        first, second = (self.registry.submit('work').id for _ in range(2))
        transaction.commit()
        self.gate.waitReached()
        waitUntil(lambda: backlog.counts()[2] == 1, 'the one that waits')
        claimed = second if self.status(first).started_at else first
        self.gate.open()
        return claimed

    def test_type_that_goes_after_a_claim(self):
        self.restart(grace=3600.0)
        claimed = self.startClaimed()
        waitUntil(self.waiting, 'the run in the tree')
        status = self.status(claimed)
        self.assertEqual(
            (status.state, status.attempts, status.interruptions),
            ('pending', 0, 0))
        self.declare()
        self.assertEqual(self.waitFinished(claimed).state, 'succeeded')
        self.assertForgotten()

    def test_type_that_goes_after_a_claim_while_the_storage_is_away(self):
        self.restart(grace=3600.0)
        with mock.patch.object(
                Performer, '_give_back', side_effect=POSKeyError(b'')):
            claimed = self.startClaimed()
            status = self.waitFinished(claimed)
        # The control thread found it; nobody knows whether it had begun.
        self.assertEqual(status.state, 'interrupted')

    def test_many_fail_and_others_go_on(self):
        self.patch('cipher.background.runtime.queue.backlog.CAPACITY', 100)
        self.patch(
            'cipher.background.runtime.maintenance.unblocking.BATCH', 50)
        declareWorker('other', lambda worker: None)
        self.startUnknown('work', 200)
        self.assertEqual(self.carryOut('other').state, 'succeeded')

        def has_failed():
            self.begin()
            return self.registry.getCounts()['work'] == {'failed': 200}

        waitUntil(has_failed, 'the end of all', limit=30)
        self.assertForgotten()

    def test_run_waits_for_a_process_that_knows_its_type(self):
        self.restart(grace=3600.0)
        for in_good_order in True, False:
            with self.subTest(in_good_order=in_good_order):
                runs = self.startUnknown('work', 20)
                waitUntil(lambda: self.waiting() == 20)
                since = waitUntil(lambda: self.unknown().get('work'))
                self.assertIsInstance(since, float)
                self.writeBookmarksNow()   # it writes the bookmark
                # A process that does not know it either goes on with it.
                self.restart(in_good_order, grace=3600.0)
                self.waitTurn()
                self.assertEqual(self.unknown(), {'work': since})
                self.assertEqual(self.waiting(), 20)
                self.declare()
                self.restart(in_good_order, grace=3600.0)
                for run_id in runs:
                    self.assertEqual(
                        self.waitFinished(run_id).state, 'succeeded')
                self.assertEqual(sorted(self.calls), sorted(runs))
                self.assertForgotten()
                del self.calls[:]

    def test_process_that_has_just_begun_judges_nobody(self):
        # Others may begin in a moment.
        self.restart(grace=3600.0)
        run_id, = self.startUnknown('work')
        waitUntil(lambda: self.unknown().get('work'))
        with SetClock() as clock:
            clock.advance(7200.0)   # as if all had been down for so long
            self.waitTurn()
            self.waitTurn()
            self.assertEqual(self.status(run_id).state, 'pending')
            self.patch(
                'cipher.background.runtime.maintenance.unblocking.WATCH', 0.0)
            self.assertEqual(self.waitFinished(run_id).state, 'failed')

    def test_stop_of_a_run_that_waits_so(self):
        self.restart(grace=3600.0)
        run_id, = self.startUnknown('work')
        waitUntil(lambda: self.waiting() == 1)
        self.assertEqual(self.requestStop(run_id), 'stopped')
        self.assertForgotten()

    def test_paused_type_is_not_failed(self):
        self.begin()
        self.registry.pauseType('work')
        transaction.commit()
        run_id, = self.startUnknown('work')
        # It would be over by now.
        waitUntil(lambda: self.status(run_id).created_at
                  < time.time() - 2 * self.runtime.settings.grace)
        self.waitTurn()
        self.assertEqual(self.status(run_id).state, 'pending')


class OthersTests(Ignorant, ZEOTests):
    """Others know the type, each with a runtime of its own."""

    def setUp(self):
        # The first turn of the runtime goes by it already.
        self.patch(
            'cipher.background.runtime.maintenance.unblocking.SWEEP_INTERVAL',
            0.0)
        super().setUp()

    def act(self, **settings):
        """Return an `Actor` that is known to know the types."""
        actor = super().act(**settings)

        def is_known():
            self.begin()
            record = getDirectory(self.connection).processes.get(actor.id)
            return record is not None and record.begins('add')

        waitUntil(is_known, 'that it tells what it knows', LONG)
        return actor

    def test_run_is_taken_by_a_process_that_knows_its_type(self):
        actor = self.act()
        self.patch(
            'cipher.background.runtime.maintenance.unblocking.WATCH', 0.0)
        self.runtime.settings.grace = 0.5
        run_id, = self.startUnknown('add')
        status = self.waitFinal(run_id, 'succeeded')
        self.assertEqual(self.registry.get(run_id).owner, actor.id)
        self.assertEqual((status.attempts, status.interruptions), (1, 0))
        # Within a poll or two of both, however slow they are.
        self.assertLess(status.finished_at - status.created_at, 10.0)
        self.assertEqual(self.value(), 1)
        self.assertForgotten()

    def test_loop_is_taken_by_a_process_that_knows_its_type(self):
        actor = self.act()
        run_id, = self.startUnknown('loop')
        self.waitForeign(run_id)
        self.assertEqual(self.registry.get(run_id).owner, actor.id)
        self.requestStop(run_id)
        self.waitFinal(run_id, 'stopped')
        self.assertForgotten()

    def test_two_that_take_the_same(self):
        actors = [self.act(), self.act()]
        runs = self.startUnknown('add', 40)
        for run_id in runs:
            self.waitFinal(run_id, 'succeeded')
        self.assertEqual(self.value(), 40)
        self.assertLessEqual(
            {self.registry.get(run_id).owner for run_id in runs},
            {actor.id for actor in actors})
        self.assertForgotten()

    def test_death_of_the_process_that_took_it(self):
        actor = self.act()
        run_id, = self.startUnknown('rerun')
        self.waitInside()
        other = self.act()
        actor.kill()
        self.letGoOn()
        status = self.waitFinal(run_id, 'succeeded')
        self.assertEqual(self.registry.get(run_id).owner, other.id)
        self.assertEqual(status.interruptions, 1)
        self.assertEqual(self.value(), 1)
        self.assertForgotten()

    def test_process_that_knows_the_type_keeps_the_grace_from_running(self):
        self.act()
        self.patch(
            'cipher.background.runtime.maintenance.unblocking.WATCH', 0.0)
        self.runtime.settings.grace = 0.1
        run_id, = self.startUnknown('polite')
        self.waitInside()
        self.waitForeign(run_id)
        self.assertEqual(self.unknown(), {})
        # It can be stopped where it is.
        self.assertEqual(self.requestStop(run_id), 'running')
        self.waitFinal(run_id, 'stopped')
        self.assertForgotten()

    def test_paused_type_and_process_that_begins_later(self):
        self.pause(True)
        run_id, = self.startUnknown('add')
        waitUntil(lambda: self.unknown().get('add'))
        self.act()
        waitUntil(lambda: not self.unknown())
        self.waitTurn()
        self.waitTurn()
        self.assertEqual(self.status(run_id).state, 'pending')
        self.pause(False)
        self.waitFinal(run_id, 'succeeded')
        self.assertForgotten()

    def pause(self, is_paused):
        self.begin()
        self.registry.pauseType('add', is_paused)
        transaction.commit()

    def test_owner_of_the_lane_dies(self):
        actor = self.act()
        run_id, = actor.start('add')
        self.waitFinal(run_id, 'succeeded')
        runs = self.startUnknown('rerun', 5)
        self.waitInside()
        # Its lanes become the actor's, which has begun some of the runs.
        self.runtime._leave = lambda: None
        self.runtime.shutdown()
        self.change(lambda: getDirectory(self.connection).processes.pop(
            self.runtime.id, None))
        self.letGoOn()
        for run_id in runs:
            self.waitFinal(run_id, 'succeeded')
        waitUntil(lambda: self.value() == 6, limit=LONG)
        self.assertForgotten()
