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
"""The dead, where nobody has threads; who is dead; what a death counts as."""
import builtins
import errno
import os
import time
from unittest import TestCase
from unittest import mock

import transaction

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import SUCCEEDED
from cipher.background.runtime.maintenance.deadprocesses import DeadProcesses
from cipher.background.runtime.runtime import startRuntime
from cipher.background.store import process
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.flakystorage import Away
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil


DAY = 86400.0

#: Greater than any pid can be.
NO_PID = 2 ** 22 + 1


def makeRecord(pid, threads=0, name='x'):
    """Return the record of a process of this machine."""
    return ProcessRecord(
        process.newProcessId(name, pid), name, pid, process.machineId(),
        process.pidStarted(pid) or '1', threads, 90.0, time.time())


class KnownDeadTests(TestCase):
    """What the machine can tell of a pid."""

    layer = Live

    def test_this_process_lives(self):
        self.assertFalse(process.isKnownDead(makeRecord(os.getpid())))

    def test_what_cannot_be_read_is_no_death(self):
        record = makeRecord(os.getpid())
        real = builtins.open
        for number in (errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EIO,
                       errno.ENOENT, errno.EPERM):
            def opened(path, *args, number=number):
                if str(path).endswith('/stat'):
                    raise OSError(number, os.strerror(number), path)
                return real(path, *args)

            with self.subTest(errno.errorcode[number]), mock.patch.object(
                    process, 'open', opened, create=True):
                self.assertFalse(process.isKnownDead(record))
                self.assertIsNone(process.pidStarted(os.getpid()))

    def test_process_of_another_user_lives(self):
        # Hidden, as by hidepid: its folder in /proc is not there for us.
        def kill(pid, number):
            raise PermissionError(errno.EPERM, 'not yours')

        record = makeRecord(NO_PID)
        self.assertTrue(process.isKnownDead(record))
        with mock.patch('os.kill', kill):
            self.assertFalse(process.isKnownDead(record))

    def test_pid_that_is_another_ones_by_now(self):
        record = makeRecord(os.getpid())
        record.pid_started = '1'
        self.assertTrue(process.isKnownDead(record))
        # Nobody could tell at the begin.
        record.pid_started = None
        self.assertFalse(process.isKnownDead(record))

    def test_zombie_is_dead(self):
        pid = os.fork()
        if not pid:   # pragma: no cover
            os._exit(0)
        try:
            waitUntil(lambda: process._read_stat(pid)[0] == 'Z')
            self.assertTrue(process.isKnownDead(makeRecord(pid)))
        finally:
            os.waitpid(pid, 0)
        self.assertTrue(process.isKnownDead(makeRecord(pid)))

    def test_elsewhere_nobody_can_tell(self):
        record = makeRecord(NO_PID)
        for machine in None, 'another':
            record.machine = machine
            self.assertFalse(process.isKnownDead(record))


class CaretakerTests(FileSiteTests):
    """Processes of hand-made threads alone, as upstream."""

    layer = Live

    def startRuntime(self, **settings):
        runtime = startRuntime(self.db, RuntimeSettings(**{
            'threads': 0, 'poll': 0.05, 'drain': 1.0, **settings}))
        self.addCleanup(runtime.shutdown)
        return runtime

    def addDead(self, number):
        """Leave what as many killed processes do; return the runs' ids."""
        ids = []
        directory = getDirectory(self.connection)
        for n in range(number):
            record = makeRecord(NO_PID + n)
            directory.processes[record.id] = record
            run = self.registry.addRun('app.Thread')
            run.claim(record.id, time.time() - 60, must_not_rerun=True)
            ids.append(run.id)
        transaction.commit()
        return ids

    def known(self):
        self.begin()
        return [record.id for record
                in getDirectory(self.connection).processes.values()]

    def states(self, ids):
        self.begin()
        return {self.registry.get(run_id).state for run_id in ids}

    def test_dead_are_buried_and_their_runs_rescued(self):
        ids = self.addDead(50)
        runtime = self.startRuntime()
        waitUntil(lambda: self.known() == [runtime.id], 'the burial')
        waitUntil(lambda: self.states(ids) == {'interrupted'})
        # Those that die later as well.
        ids = self.addDead(3)
        waitUntil(lambda: self.states(ids) == {'interrupted'})

    def test_burial_whose_reply_is_lost(self):
        runtime = self.startRuntime()
        caretaker = runtime._maintenance._caretaker
        waitUntil(lambda: caretaker._lost == [], 'the first look')
        remove = DeadProcesses.remove
        failed = []

        def remove_and_fail(dead_processes, connection):
            found = remove(dead_processes, connection)
            if found and not failed:
                failed.append(found)
                raise Away('no reply')
            return found

        self.patch('cipher.background.runtime.maintenance.deadprocesses.'
                   'DeadProcesses.remove', remove_and_fail)
        ids = self.addDead(3)
        waitUntil(lambda: self.states(ids) == {'interrupted'})
        self.assertEqual(failed, [True])

    def test_own_runs_are_left_alone(self):
        runtime = self.startRuntime()
        waitUntil(self.known)
        self.begin()
        run = self.registry.addRun('app.Thread')
        run.claim(runtime.id, time.time(), must_not_rerun=True)
        transaction.commit()
        ids = self.addDead(1)
        waitUntil(lambda: self.states(ids) == {'interrupted'})
        self.assertEqual(self.states([run.id]), {'running'})

    def test_old_runs_are_pruned(self):
        self.patch(
            'cipher.background.runtime.maintenance.pruner.INTERVAL', 0.05)
        clock = self.setClock(time.time() - 30 * DAY)
        for _ in range(100):
            run = self.registry.addRun('app.Thread')
            self.registry.finish(run, SUCCEEDED, RunSucceededEvent)
            transaction.commit()
        clock.now += 30 * DAY
        self.startRuntime()

        def is_empty():
            self.begin()
            return not self.registry.listRuns().items

        waitUntil(is_empty, 'the end of the old runs')

    def test_who_has_threads_looks_after_all(self):
        # Ours is not needed: what it would do, another one does.
        self.begin()
        record = makeRecord(os.getpid(), threads=2, name='other')
        getDirectory(self.connection).processes[record.id] = record
        transaction.commit()
        self.patch(
            'cipher.background.runtime.maintenance.liveness.isExclusive',
            lambda db: False)
        ids = self.addDead(2)
        runtime = self.startRuntime()
        waitUntil(lambda: runtime.id in self.known())
        for _ in range(5):
            runtime._maintenance.turn(True)
        self.assertEqual(self.states(ids), {'running'})

    def patch(self, target, value):
        patcher = mock.patch(target, value)
        patcher.start()
        self.addCleanup(patcher.stop)


class CountTests(LiveTests):
    """An attempt ends with an error; a death is an interruption."""

    def die(self, run_id):
        """Let a run be claimed by a process that dies."""
        self.begin()
        run = self.registry.get(run_id)
        run.claim('elsewhere:1:dead', time.time(), must_not_rerun=False)
        transaction.commit()
        self.runtime.wake()

    def test_two_errors_and_a_death_are_two_attempts(self):
        errors = [ValueError(), ValueError()]

        def work(worker):
            if errors:
                raise errors.pop()

        declareWorker('work', work, max_attempts=3, retry_delay=0.0)
        self.begin()
        self.registry.pauseType('work')
        run_id = self.registry.start('work').id
        transaction.commit()
        self.die(run_id)
        waitUntil(lambda: self.status(run_id).interruptions)
        self.assertEqual(self.status(run_id).attempts, 0)
        self.begin()
        self.registry.pauseType('work', False)
        transaction.commit()
        status = self.waitFinished(run_id)
        self.assertEqual(
            (status.state, status.attempts, status.interruptions),
            ('succeeded', 3, 1))

    def test_errors_alone_end_it(self):
        def work(worker):
            raise ValueError

        declareWorker('work', work, max_attempts=3, retry_delay=0.0)
        status = self.carryOut('work')
        self.assertEqual(
            (status.state, status.attempts, status.interruptions),
            ('failed', 3, 0))
