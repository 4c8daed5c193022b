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
"""A finished run is removed, and only a finished one."""
from functools import partial
from types import SimpleNamespace
from unittest import mock

import transaction
from ZODB.POSException import ConflictError

from cipher.background.events import RunStoppedEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import RunNotFound
from cipher.background.interfaces import RunNotRemovable
from cipher.background.registry import services
from cipher.background.runtime.maintenance import pruner
from cipher.background.runtime.maintenance.bookmarks import ownLanes
from cipher.background.runtime.maintenance.pruner import Pruner
from cipher.background.runtime.queue.backlog import Backlog
from cipher.background.store.finishes import SPILL
from cipher.background.tests.support.administration import BEGIN
from cipher.background.tests.support.administration import AdministrationTests
from cipher.background.tests.support.administration import another
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.thread import BackgroundWorkerThread


DAY = 86400.0


class RemoveTests(AdministrationTests):

    def remove(self, run, reason=None):
        self.registry.remove(run.id, reason)

    def makeMany(self, number=SPILL):
        """Return finished runs, all in one lane."""
        with mock.patch('cipher.background.store.lanepool.LanePool._choose',
                        lambda pool, registry, txn: registry.lanes[1]):
            return [self.make() for _ in range(number)]

    def prune(self):
        """Prune all lanes once, as a runtime would."""
        transaction.commit()
        own = SimpleNamespace(note=lambda what: what, id='home')
        backlog = Backlog()
        for lane in self.registry.lanes.values():
            backlog.addLane(
                (self.registry._p_oid, lane.number), 1, ())
            lane.bookmark.home = 'home'
        transaction.commit()
        pruner = Pruner(own, partial(ownLanes, own, backlog))
        while pruner.prune(self.connection):
            pass
        transaction.begin()

    def assertGone(self, run):
        self.assertIsNone(self.registry.get(run.id))
        for call in (self.registry.getStatus, self.registry.getDetails,
                     self.registry.getContext, self.registry.remove,
                     self.registry.retry, self.registry.requestStop):
            with self.assertRaises(RunNotFound):
                call(run.id)
        for states in (), (run.state,), FINISHED_STATES:
            self.assertNotIn(run.id, self.listed(states))

    def listed(self, states=()):
        page = self.registry.listRuns(states=states, limit=1000)
        return [status.id for status in page.items]

    def test_it_is_gone(self):
        for state in FINISHED_STATES:
            with self.subTest(state=state):
                run = self.make(state)
                self.remove(run)
                self.assertGone(run)
                transaction.commit()
                self.assertGone(run)
        self.assertEqual(self.registry.getCounts(), {})

    def test_out_of_head_and_chunk(self):
        runs = self.makeMany(SPILL + 3)
        lane = self.registry.lanes[1]
        self.assertEqual(len(lane.births.recent), 3)
        for run in runs[4], runs[-2]:
            self.remove(run)
            transaction.commit()
            self.assertGone(run)
        kept = [run.id for run in runs if run not in (runs[4], runs[-2])]
        self.assertEqual(sorted(self.listed()), sorted(kept))
        self.assertEqual(sorted(self.listed([FAILED])), sorted(kept))
        self.assertEqual(self.registry.getCounts(),
                         {'work': {'failed': SPILL + 1}})

    def test_whole_chunk(self):
        runs = self.makeMany()
        for run in runs:
            self.remove(run)
        transaction.commit()
        self.assertEqual((self.listed(), self.listed([FAILED])), ([], []))
        self.assertEqual(self.registry.getCounts(), {})

    def test_it_is_told(self):
        run = self.make()
        self.remove(run, 'nobody needs it')
        self.assertEqual(self.actions(), [
            ('remove', run.id, 'admin', BEGIN, 'nobody needs it')])
        self.assertEqual(
            transaction.get().description,
            'cipher.background: remove run %s by admin: nobody needs it'
            % run.id)

    def test_abort_takes_it_back(self):
        run = self.make()
        self.remove(run)
        transaction.abort()
        self.assertEqual(self.registry.get(run.id).id, run.id)
        self.assertEqual(self.registry.getCounts(), {'work': {'failed': 1}})

    def test_run_that_is_not_finished_is_refused(self):
        for run, state in ((self.registry.start('work'), 'pending'),
                           (self.makeRunning(), 'running')):
            with self.assertRaises(RunNotRemovable) as caught:
                self.remove(run)
            self.assertIn('run %r: expected a finished run to remove, got '
                          'one that is %r; stop it first' % (run.id, state),
                          str(caught.exception))
        self.assertEqual(self.actions(), [])

    def test_retried_run_and_its_retry(self):
        old = self.make()
        run = self.registry.retry(old.id)
        self.remove(old)
        transaction.commit()
        self.assertEqual(run.retry.run_id, old.id)
        self.assertIsNone(self.registry.get(old.id))

    # The pruner

    def test_entry_without_a_run_goes_with_time(self):
        runs = self.makeMany()
        for run in runs[:5]:
            self.remove(run)
        self.clock.advance(15 * DAY)
        self.prune()
        self.assertEqual(self.registry.getCounts(), {})
        for lane in self.registry.lanes.values():
            self.assertEqual(list(lane.finishes.walk()), [])

    def test_removed_runs_are_not_counted_among_those_to_keep(self):
        self.registry.keep = SPILL - 5
        runs = self.makeMany()
        for run in runs[-5:]:
            self.remove(run)
        self.prune()
        self.assertEqual(len(self.listed()), SPILL - 5)

    def test_remove_while_the_pruner_counts_those_to_keep(self):
        # It would prune one too many.
        self.registry.keep = 2 * SPILL - 1
        run = self.makeMany(2 * SPILL)[-1]
        with another(self) as (manager, registry):
            def removed_meanwhile(removal):
                registry.remove(run.id)
                manager.commit()
                end(removal)

            end = pruner._Removal.end
            with mock.patch.object(
                    pruner._Removal, 'end', removed_meanwhile):
                with self.assertRaises(ConflictError):
                    self.prune()
        self.prune()
        self.assertEqual(len(self.listed()), 2 * SPILL - 1)

    def test_remove_races_with_prune(self):
        for first in 'remove', 'prune':
            with self.subTest(first=first), another(self) as (
                    manager, registry):
                run = self.makeMany()[0]
                manager.begin()
                registry.remove(run.id)
                if first == 'remove':
                    manager.commit()
                self.registry.keep_days = 0.0
                self.clock.advance(1.0)
                self.prune()
                if first == 'prune':
                    with self.assertRaises(ConflictError):
                        manager.commit()
                    manager.abort()
                    manager.begin()
                    with self.assertRaises(RunNotFound):
                        registry.remove(run.id)
                transaction.begin()
                self.assertEqual(self.registry.getCounts(), {})
                self.registry.keep_days = 14.0
                transaction.commit()

    # Two administrators

    def test_of_two_at_a_time_one_removes_it(self):
        run = self.make()
        with another(self) as (manager, registry):
            registry.remove(run.id)
            self.remove(run)
            transaction.commit()
            with self.assertRaises(ConflictError):
                manager.commit()
            manager.abort()
            manager.begin()
            with self.assertRaises(RunNotFound):
                registry.remove(run.id)
        self.assertEqual(self.registry.getCounts(), {})

    def test_remove_at_the_time_of_a_retry(self):
        # The first actions of all conflict.
        self.registry.pauseType('work')
        for first in 'remove', 'retry':
            with self.subTest(first=first), another(self) as (
                    manager, registry):
                run = self.makeMany()[0]   # in no head, which starts write
                manager.begin()
                retried = registry.retry(run.id).id
                self.clock.advance(1.0)
                self.remove(run)
                commits = [transaction.commit, manager.commit]
                if first == 'retry':
                    commits.reverse()
                # Both write the run, and nothing that starts write.
                commits[0]()
                with self.assertRaises(ConflictError):
                    commits[1]()
                transaction.abort()
                manager.abort()
                if first == 'retry':
                    self.remove(run)
                    transaction.commit()
                    self.assertEqual(
                        self.registry.get(retried).retry.run_id, run.id)
                self.assertGone(run)

    # Services

    def makeService(self):
        worker_type = declareWorker(
            'mail', factory=BackgroundWorkerThread, is_loop=True,
            autostart=True)
        services.keepRunning(self.registry, worker_type)
        run = self.registry.getRun(*self.registry.services['mail'].run)
        transaction.commit()
        return worker_type, run

    def test_stopped_service_stays_stopped(self):
        worker_type, run = self.makeService()
        self.registry.finish(run, STOPPED, RunStoppedEvent)
        self.remove(run)
        transaction.commit()
        self.clock.advance(DAY)
        self.assertFalse(services.isMissing(self.registry, worker_type))
        # Until a person starts it, as long as that runs, and after a death.
        run = self.registry.start('mail')
        self.assertIs(self.registry.start('mail'), run)
        self.registry.finish(run, FAILED, RunStoppedEvent)
        self.clock.advance(DAY)
        self.assertTrue(services.isMissing(self.registry, worker_type))

    def test_dead_service_is_started_again_after_its_delay(self):
        worker_type, run = self.makeService()
        self.registry.finish(run, FAILED, RunStoppedEvent)
        self.remove(run)
        self.assertFalse(services.isMissing(self.registry, worker_type))
        self.clock.advance(services.DELAY)
        self.assertTrue(services.isMissing(self.registry, worker_type))


class LiveRemoveTests(LiveTests):
    """No removed run works on, whoever is faster."""

    def work(self, worker):
        self.gate.stop()
        worker.context.value += 1

    def assertRefused(self, run_id, registry=None):
        with self.assertRaises(RunNotRemovable):
            (registry or self.registry).remove(run_id)

    def test_a_live_run_is_deleted(self):
        for values in {}, {'on_interrupt': 'fail'}:
            with self.subTest(**values):
                declareWorker('work', self.work, **values)
                run_id = self.start('work', self.counter)
                self.gate.waitReached()
                self.begin()
                self.assertEqual(
                    self.registry.getStatus(run_id).state, 'running')
                self.assertRefused(run_id)
                transaction.abort()
                self.gate.open()
                self.assertEqual(
                    self.waitFinished(run_id).state, 'succeeded')
                self.gate.__init__()
        self.assertEqual(self.value(), 2)

    def test_it_begins_and_ends_while_the_remove_is_open(self):
        declareWorker('work', self.work)
        run_id = self.start('work', self.counter)
        with another(self) as (manager, registry):
            self.assertRefused(run_id, registry)
            self.gate.waitReached()
            self.assertRefused(run_id, registry)
            self.gate.open()
            self.waitFinished(run_id)
            # As this transaction sees it, it is not finished.
            self.assertRefused(run_id, registry)
            manager.begin()
            registry.remove(run_id)
            manager.commit()
        self.assertEqual(self.value(), 1)
        self.assertIsNone(self.registry.get(run_id))

    def stopAndRemove(self, registry, run_id):
        # The only way to remove one that is about to begin.  It is not seen
        # as live, as if it was another process that carries it out.
        with mock.patch('cipher.background.queries.snapshot.Snapshot.live',
                        lambda snapshot, run: None):
            self.assertEqual(registry.requestStop(run_id), STOPPED)
        registry.remove(run_id)

    def test_stopped_and_removed_as_it_begins_and_that_wins(self):
        declareWorker('work', self.work)
        run_id = self.start('work', self.counter)
        with another(self) as (manager, registry):
            self.gate.waitReached()
            self.stopAndRemove(registry, run_id)
            manager.commit()
        self.gate.open()
        self.waitGone(run_id)
        self.assertEqual(self.value(), 0)   # lost its run, so no commit
        self.assertIsNone(self.registry.get(run_id))
        self.assertEqual(self.registry.getCounts(), {})

    def test_stopped_and_removed_as_it_begins_and_the_work_wins(self):
        declareWorker('work', self.work)
        run_id = self.start('work', self.counter)
        with another(self) as (manager, registry):
            self.gate.waitReached()
            self.stopAndRemove(registry, run_id)
            self.gate.open()
            self.waitFinished(run_id)
            with self.assertRaises(ConflictError):
                manager.commit()
        self.assertEqual(self.status(run_id).state, SUCCEEDED)
        self.assertEqual(self.value(), 1)

    def waitGone(self, run_id):
        """Wait until nobody works on the run."""
        waitUntil(lambda: not self.runtime.allLive(), 'the end', 10.0)
