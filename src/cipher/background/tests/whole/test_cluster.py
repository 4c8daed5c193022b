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
"""Several processes on one database, each of them real, and its server."""
import math
import threading
import time
from collections import Counter

import transaction
from zope.component.hooks import getSite

from cipher.background.store.process import processName
from cipher.background.tests.support.cluster import LONG
from cipher.background.tests.support.cluster import PostgreSQLTests
from cipher.background.tests.support.cluster import ZEOTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil


class WorkTests:
    """Who starts, and who works."""

    def test_two_runtimes_and_a_process_without(self):
        other = self.act()
        web = self.actWithout()
        for actor in other, web:
            actor.send('start', 'add', number=8)
        for _ in range(8):
            self.start('add')
        self.assertEqual(len(other.answer() + web.answer()), 16)
        self.assertEqual(self.waitAll(), 24)
        self.assertEqual(self.value(), 24)
        self.begin()
        owners = {run.owner for run in self.registry.listRuns().items}
        self.assertEqual(len(owners), 2, 'one of the runtimes was idle')

    def test_runs_of_a_process_that_ended_in_good_order(self):
        other = self.act(threads=1)
        ids = other.start('rerun', number=3)
        self.waitInside()
        other.shutdown(0.0)
        self.letGoOn()
        self.assertEqual(self.waitAll(), 3)
        self.assertEqual(self.value(), 3)
        for run_id in ids:
            self.assertEqual(self.status(run_id).interruptions, 0)

    def test_killed(self):
        self.checkKilled()


class RestartTests:
    """The server restarts."""

    def test_server_restarts_while_work_goes_on(self):
        errors = []
        self.actWithout().grow('source')

        def work(worker):
            site = getSite()
            site['counter'].value += 1
            if not errors:
                source = site['source']
                self.gate.stop()
                try:
                    source.value   # comes from the server
                except Exception as error:
                    errors.append(error)
                    raise

        declareWorker('work', work)
        run_id = self.start('work')
        self.gate.waitReached()
        self.server.kill()
        self.gate.open()
        waitUntil(lambda: errors, 'that the work fails')
        self.server.start()
        self.waitBack()
        status = self.waitFinal(run_id, 'succeeded')
        self.assertEqual((status.attempts, status.interruptions), (1, 0))
        self.assertEqual(self.value(), 1)

    def test_storage_is_away_for_long(self):
        self.patch(
            'cipher.background.runtime.executors.threads.RETRY_DELAY', 0.5)
        turns = self.count(self.runtime._maintenance, 'turn')
        failures = self.count(self.runtime.troubles, 'note')
        begins = self.count(self.runtime.executor, 'carryOut', self.gate)
        ids = [self.start('add') for _ in range(40)]
        self.gate.waitReached()
        self.server.stop()
        self.gate.open()
        turns.clear()
        failures.clear()
        began = time.monotonic()
        # Long enough to tell back-offs from a poll each 0.05 seconds.
        waitUntil(lambda: len(turns) > 3 and time.monotonic() > began + 2,
                  'that it tries', LONG)
        # A turn that finds all in the cache succeeds, and the next one is a
        # poll later.  At the n-th failure of a step at least 0.005 * 2 ** n
        # seconds have passed.  A thread of the two never pauses for more than
        # its delay.
        passed = time.monotonic() - began
        self.assertLess(len(turns), 8 + passed / 0.05)
        for subject, number in Counter(
                subject for _, _, subject, *_ in failures).items():
            self.assertLess(number, 2 + math.log2(passed / 0.005), subject)
        self.assertLess(len(begins), 2 * (10 + passed / 0.25))
        self.server.start()
        self.waitBack()
        self.assertEqual(self.waitAll(), len(ids))
        self.assertEqual(self.value(), len(ids))
        self.assertTrue(self.runtime._control.is_alive())
        # Their tracebacks keep connections that cannot be closed.
        failures.clear()

    def count(self, of, name, gate=None):
        """Count calls of a method from now on; stop them at *gate* first."""
        calls = []
        method = getattr(of, name)

        def counted(*args):
            calls.append(args)
            if gate is not None:
                gate.stop()
            return method(*args)

        setattr(of, name, counted)
        return calls

    def test_storage_is_away_for_longer_than_the_lease(self):
        # Who pauses for longer than its lease is dead for the other one.
        self.patch(
            'cipher.background.runtime.maintenance.troubles.FAILURE_PAUSE',
            1.0)
        other = self.act()
        run_id, = other.start('rerun')
        self.waitInside()
        self.waitForeign(run_id)   # it has told of itself
        self.waitProcesses(self.runtime.id, other.id)
        self.begin()
        later = self.registry.submit('add', delay=1.0).id
        transaction.commit()
        self.server.stop()
        pause = threading.Event()
        for _ in range(10):
            pause.wait(0.4)
        self.server.start()
        self.waitBack()
        self.letGoOn()
        status = self.waitFinal(run_id, 'succeeded')
        self.assertEqual((status.attempts, status.interruptions), (1, 0))
        self.assertEqual(status.owner, processName(other.id))
        self.waitFinal(later, 'succeeded')
        self.assertEqual(self.value(), 2)
        self.waitProcesses(self.runtime.id, other.id)
        self.assertNotIn('is dead', self.logged.getvalue())


class ZEOWorkTests(WorkTests, ZEOTests):
    """With ZEO."""


class PostgreSQLWorkTests(WorkTests, PostgreSQLTests):
    """With RelStorage."""


class ZEORestartTests(RestartTests, ZEOTests):
    """With ZEO."""


class PostgreSQLRestartTests(RestartTests, PostgreSQLTests):
    """With RelStorage."""
