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
"""Retention in a runtime that starts and finishes runs meanwhile."""
import threading

import transaction

from cipher.background.interfaces import SUCCEEDED
from cipher.background.store.finishes import SPILL
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil


class LivePrunerTests(LiveTests):
    """Runs begin, end and are pruned, all at a time."""

    def setUp(self):
        self.patch(
            'cipher.background.runtime.maintenance.pruner.INTERVAL', 0.02)
        super().setUp()

    def test_nothing_is_lost_while_runs_start_and_finish(self):
        def count(worker):
            done.append(worker.run_id)

        done = []
        declareWorker('work', count, keep=20)
        declareWorker('slow', lambda worker: self.gate.stop(), keep=0)
        slow = self.start('slow')
        self.gate.waitReached()
        started = []

        def start_many():
            manager = transaction.TransactionManager()
            connection = self.db.open(transaction_manager=manager)
            registry = connection.get(self.registry._p_oid)
            for _ in range(300):
                for attempt in manager.attempts(20):
                    with attempt:
                        run_id = registry.start('work').id
                started.append(run_id)
            connection.close()

        threads = [threading.Thread(target=start_many) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        waitUntil(lambda: len(set(done)) == 600, 'the work', 60)
        self.assertEqual(sorted(set(done)), sorted(started))
        # What conflicts at its end is done again.
        self.assertLessEqual(len(done), 600 + self.runtime.conflicts)

        def number():
            self.begin()
            return self.registry.getCounts()['work'].get(SUCCEEDED, 0)

        # Recent entries of the lanes may be left.
        limit = 20 + len(self.registry.lanes) * SPILL
        waitUntil(lambda: number() <= limit, 'the pruning')
        self.waitTurn()
        self.assertGreaterEqual(number(), 20)
        self.assertEqual(set(self.registry.getCounts()['work']), {SUCCEEDED})
        self.assertEqual(self.status(slow).state, 'running')
        self.gate.open()
        self.assertEqual(self.waitFinished(slow).state, SUCCEEDED)
        self.assertNotIn('Traceback', self.logged.getvalue())

    def test_next_runtime_adopts_pruned_lanes_as_ever(self):
        done = []
        declareWorker('work', lambda worker: done.append(worker.run_id),
                      keep=0)
        for _ in range(60):
            self.start('work')
        waitUntil(lambda: len(set(done)) == 60, 'the work')
        self.runtime.shutdown()
        conflicts = self.runtime.conflicts
        waiting = [self.start('work') for _ in range(3)]
        self.runtime = self.startRuntime()
        for run_id in waiting:
            waitUntil(lambda: run_id in done, 'run %s' % run_id)

        def unfinished():
            self.begin()
            return self.registry.listRuns(states=['pending', 'running']).items

        waitUntil(lambda: not unfinished(), 'the end of all')
        self.waitTurn()
        self.assertEqual(len(set(done)), 63)
        self.assertLessEqual(
            len(done), 63 + conflicts + self.runtime.conflicts)
