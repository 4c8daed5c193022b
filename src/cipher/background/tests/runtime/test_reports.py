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
"""What other processes see of a live run: progress, log, stack."""
import threading
import unittest
from unittest import mock

import transaction
from ZODB.FileStorage.format import DATA_HDR_LEN
from ZODB.FileStorage.format import TRANS_HDR_LEN
from zope.interface import Interface
from zope.schema import Password
from zope.schema import TextLine

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.runtime.maintenance.heartbeat import BEATS_PER_LEASE
from cipher.background.runtime.runtime import Runtime
from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.flakystorage import Away
from cipher.background.tests.support.live import Gate
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import SiteTests
from cipher.background.util import switchboard
from cipher.background.util.text import CUT
from cipher.background.work.liverun import LiveRun
from cipher.background.work.liverun import Ticket
from cipher.background.work.stack import STACK_LIMIT
from cipher.background.work.stack import getStack


class ISecret(Interface):
    """An input with something to hide."""

    user = TextLine(title='User')
    password = Password(title='Password')


class RecordedTests(SiteTests):
    """A runtime that was not started, with a record of its process."""

    def setUp(self):
        super().setUp()
        self.runtime = Runtime(self.db, RuntimeSettings())
        self.runtime._maintenance.turn(True)

    @property
    def record(self):
        return getDirectory(self.connection).processes[self.runtime.id]


class HeartbeatTests(RecordedTests):
    """The heartbeat, which is all that an idle process writes."""

    def beat(self):
        """Send a heartbeat; return its transaction."""
        self.runtime._maintenance.beat()
        return list(self.db.storage.iterator(
            self.db.storage.lastTransaction()))[-1]

    def test_idle_runtime_writes_at_most_400_bytes_a_minute(self):
        self.beat()
        # As after some months.
        transaction.begin()
        self.record.heartbeat.count = 10 ** 6
        transaction.commit()
        beat = self.beat()
        record, = beat
        # A FileStorage adds the headers: see ZODB.FileStorage.format.
        size = (TRANS_HDR_LEN + 8 + len(beat.user) + len(beat.description)
                + DATA_HDR_LEN + len(record.data))
        seconds = self.runtime.settings.lease / BEATS_PER_LEASE
        self.assertLessEqual(size * 60 / seconds, 400)

    def test_its_parts_are_stored(self):
        troubles = (('a', 'b', 1.0, 'c', None, None),)
        waiting = ((b'oid', 'bob', 3),)
        for parts in ((), ()), (troubles, ()), ((), waiting), (
                troubles, waiting):
            with self.subTest(parts):
                transaction.begin()
                beat = self.record.heartbeat
                beat.count, beat.beat_at = 7, 8.0
                beat.troubles, beat.waiting = parts
                transaction.commit()
                self.connection.cacheMinimize()
                self.assertIsNone(beat._p_changed)
                self.assertEqual((beat.count, beat.beat_at), (7, 8.0))
                self.assertEqual((beat.troubles, beat.waiting), parts)


class LiveRunsTests(RecordedTests):
    """The report of the runs that work here."""

    def write(self):
        with ZodbConnection(self.db) as connection:
            self.runtime._maintenance.writeLive(connection)

    def reported(self):
        transaction.begin()
        return [run_id for _, run_id in self.record.live.runs]

    def test_commit_whose_reply_is_lost(self):
        commit = transaction.Transaction.commit

        def fail(txn):
            if is_committed:
                commit(txn)
            raise Away('no reply')

        for is_committed in True, False:
            with self.subTest(is_committed=is_committed):
                live = LiveRun(self.runtime, Ticket(
                    self.registry._p_oid, 1, 1))
                live.started_at -= 10.0
                self.runtime.running.enter(live)
                with mock.patch.object(
                        transaction.Transaction, 'commit', fail):
                    self.assertRaises(Away, self.write)
                self.assertEqual(self.reported(), ['1-1'] * is_committed)
                self.runtime.running.leave(live)
                self.write()
                self.assertEqual(self.reported(), [])


class StackTests(unittest.TestCase):

    def setUp(self):
        self.gate = Gate()
        self.addCleanup(self.gate.open)

    def stackOf(self, function):
        thread = threading.Thread(target=function, daemon=True)
        thread.start()
        self.gate.waitReached()
        stack = getStack(thread.ident)
        self.gate.open()
        thread.join(LIMIT)
        return stack, thread

    def test_innermost_call_is_last_without_values(self):
        def work():
            password = 'xyzzy'   # noqa: F841
            self.gate.stop()

        stack, _ = self.stackOf(work)
        lines = stack.splitlines()
        self.assertIn('in work', lines[0])
        self.assertIn('self.gate.stop()', lines[1])
        self.assertIn('in wait', lines[-2])
        self.assertNotIn('xyzzy', stack.replace("password = 'xyzzy'", ''))

    def test_deep_stack_is_cut_at_its_outer_end(self):
        def descend(depth=50):
            # Two that take turns: of the same call only a few are shown.
            return descend_further(depth) if depth else self.gate.stop()

        def descend_further(depth):
            return descend(depth - 1)

        stack, _ = self.stackOf(descend)
        self.assertLessEqual(len(stack), STACK_LIMIT)
        self.assertTrue(stack.startswith(CUT))
        self.assertIn('in wait', stack.splitlines()[-2])

    def test_thread_that_is_gone(self):
        _, thread = self.stackOf(self.gate.stop)
        waitUntil(lambda: getStack(thread.ident) is None)


class ReportTests(LiveTests):
    """What this process reports, as another one reads it."""

    def setUp(self):
        super().setUp()
        self.patch(
            'cipher.background.runtime.maintenance.reports.LIVE_AFTER', 0.0)
        self.patch(
            'cipher.background.runtime.maintenance.turn.REPORT_INTERVAL', 0.05)

    def elsewhere(self):
        """See what another process sees, from now on."""
        self.patch(
            'cipher.background.queries.snapshot.switchboard.queryRuntime',
            lambda db: None)

    def reported(self):
        """Return the commits that reported something, so far."""
        return [record['id'] for record
                in self.db.storage.undoLog(0, -1000)
                if b'live runs' in record['description']]

    def waitTold(self, run_id, what):
        """Wait until *what* of the details or the stack is reported."""
        def is_reported():
            self.begin()
            return what in self.registry.getDetails(run_id).log or (
                what in (self.registry.getStack(run_id) or ''))
        waitUntil(is_reported, 'that %r is reported' % what)

    def test_log_and_progress_are_reported(self):
        def work(worker, user, password):
            worker.log.info('It is %s', password)
            worker.setProgress(1, 2, 'Half of %s' % password)
            self.gate.stop()

        declareWorker('work', work, schema=ISecret)
        run_id = self.start('work', user='x', password='xyzzy')
        self.gate.waitReached()
        self.elsewhere()
        self.waitTold(run_id, 'INFO')
        status = self.status(run_id)
        self.assertEqual((status.state, status.progress_done),
                         ('running', 1))
        for text in status.message, self.registry.getDetails(run_id).log:
            self.assertNotIn('xyzzy', text)
        self.assertIsNone(self.registry.getStack(run_id))
        self.gate.open()
        waitUntil(lambda: self.status(run_id).state == 'succeeded')

    def test_end_of_a_long_log_is_reported(self):
        def work(worker):
            for n in range(1000):
                worker.log.info('Line %d.', n)
            self.gate.stop()

        declareWorker('work', work)
        run_id = self.start('work')
        self.gate.waitReached()
        self.elsewhere()
        self.waitTold(run_id, 'Line 999.')
        log = self.registry.getDetails(run_id).log
        self.assertLessEqual(len(log), 2000)

    def test_nothing_is_reported_where_nothing_is_new(self):
        declareWorker('work', lambda worker: self.gate.stop())
        run_id = self.start('work')
        self.gate.waitReached()
        self.requestStop(run_id)
        self.elsewhere()
        self.waitTold(run_id, 'gate.stop')
        for _ in range(2):
            self.waitTurn()
        before = self.reported()
        for _ in range(5):
            self.waitTurn()
        self.assertEqual(self.reported(), before)

    def test_work_that_ignores_the_stop(self):
        def work(worker):
            self.gate.stop()

        declareWorker('work', work, stop_timeout=0.05)
        run_id = self.start('work')
        self.gate.waitReached()
        # In its own process.
        self.begin()
        self.assertIn('in work', self.registry.getStack(run_id))
        self.assertEqual(self.requestStop(run_id, 'enough'), 'running')
        waitUntil(lambda: self.status(run_id).is_unresponsive)
        self.check_stubborn(run_id)
        # In another one.
        self.elsewhere()
        self.waitTold(run_id, 'in work')
        self.check_stubborn(run_id)
        self.gate.open()
        waitUntil(lambda: self.status(run_id).finished_at)
        # It did all of its work.
        self.assertEqual(self.status(run_id).state, 'succeeded')
        self.assertIsNone(self.registry.getStack(run_id))

    def check_stubborn(self, run_id):
        status = self.status(run_id)
        self.assertEqual(status.state, 'running')
        self.assertEqual(status.stop.reason, 'enough')
        self.assertIsNotNone(status.stop.asked_at)
        self.assertTrue(status.is_unresponsive)
        stack = self.registry.getStack(run_id)
        self.assertIn('self.gate.stop()', stack)
        # Neither the machinery nor what this process is besides.
        self.assertNotIn('workloop', stack)

    def test_stack_of_what_does_not_run(self):
        declareWorker('work', lambda worker: None)
        run_id = self.carryOut('work').id
        self.begin()
        self.assertIsNone(self.registry.getStack(run_id))
        with self.assertRaises(LookupError):
            self.registry.getStack('1-999')

    def test_time_of_the_last_progress_is_reported(self):
        gates = [Gate() for _ in range(4)]

        def work(worker):
            gates[0].stop()
            worker.setProgress(1, 3)
            gates[1].stop()
            worker.setProgress(1, 3)   # nothing new
            gates[2].stop()
            worker.checkpoint()
            gates[3].stop()

        declareWorker('work', work)
        run_id = self.start('work')
        times = []
        for gate in gates:
            self.addCleanup(gate.open)
            gate.waitReached()
            times.append(self.status(run_id).progressed_at)
            gate.open()
        self.assertIsNone(times[0])
        self.assertEqual(times[1], times[2])
        self.assertLess(times[2], times[3])
        self.assertIsNone(self.waitFinished(run_id).progressed_at)

    def test_another_process_knows_of_the_last_progress(self):
        def work(worker):
            worker.setProgress(1, 3)
            self.gate.stop()

        declareWorker('work', work)
        run_id = self.start('work')
        self.gate.waitReached()
        key = self.registry._p_oid, run_id
        reported = waitUntil(lambda: self.begin() or getDirectory(
            self.connection).processes[self.runtime.id].live.runs.get(key),
            'the telling')
        self.assertEqual(self.status(run_id).progressed_at, reported[4])
        with mock.patch.object(switchboard, 'queryRuntime', lambda db: None):
            self.assertEqual(self.status(run_id).progressed_at, reported[4])

    def test_what_is_over_is_reported_no_more(self):
        declareWorker('work', lambda worker: self.gate.stop())
        self.start('work')
        self.gate.waitReached()
        record = getDirectory(self.connection).processes[self.runtime.id]
        waitUntil(lambda: self.begin() or record.live.runs, 'the telling')
        self.gate.open()
        waitUntil(lambda: self.begin() or not record.live.runs, 'the end')
        transaction.abort()
        self.assertIs(switchboard.queryRuntime(self.db), self.runtime)
