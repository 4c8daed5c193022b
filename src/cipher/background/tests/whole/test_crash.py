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
"""Real processes on a real FileStorage, killed at the worst moment."""
import os
import signal
import subprocess
import sys

from cipher.background.store.lifecycle import MAX_INTERRUPTIONS
from cipher.background.tests.support.crashingprocess import declareWorkers
from cipher.background.tests.support.crashingprocess import touch
from cipher.background.tests.support.live import ProcessTests
from cipher.background.tests.support.live import waitUntil


class CrashTests(ProcessTests):

    def setUp(self):
        super().setUp()
        declareWorkers(self.path)

    def spawn(self, *names, threads=2, drain=5):
        """Start a process with a runtime that starts those runs.

        Return the process and the ids of the runs.
        """
        self.forget('started', 'inside')
        process = subprocess.Popen(
            [sys.executable, '-m',
             'cipher.background.tests.support.crashingprocess',
             self.path, str(threads), str(drain), *names],
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
            stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        if names != ('kill',) and names:
            self.wait_for('started')
            with open(os.path.join(self.path, 'started')) as started:
                return process, started.read().split()
        return process, []

    def kill(self, process, signum=signal.SIGKILL):
        process.send_signal(signum)
        process.wait(20)

    def test_killed_before_a_thread_began(self):
        process, (run_id,) = self.spawn('rerun', threads=0)
        self.kill(process)
        touch(self.path, 'go-on')
        self.open()
        status = self.waitFinished(run_id)
        self.assertEqual((status.state, status.interruptions),
                         ('succeeded', 0))
        self.assertEqual(self.value(), 1)
        self.assertNothingRuns()

    def test_killed_between_take_and_work(self):
        for name, state, value in ('taken rerun', 'succeeded', 1), (
                'taken fail', 'interrupted', 1):
            with self.subTest(name):
                process, (run_id,) = self.spawn(name)
                self.wait_for('taken')
                self.kill(process)
                touch(self.path, 'go-on')
                self.open()
                # The one that took it is not alive any more.
                status = self.waitFinished(run_id)
                self.assertEqual((status.state, status.interruptions),
                                 (state, 1))
                self.assertEqual(self.value(), value)
                self.assertNothingRuns()
                self.close()
                self.forget('go-on', 'taken')

    def test_killed_right_after_the_commit_of_the_work(self):
        process, (run_id,) = self.spawn('commit')
        self.assertEqual(process.wait(20), -signal.SIGKILL)
        self.open()
        self.waitTurn()
        status = self.status(run_id)
        self.assertEqual((status.state, status.attempts,
                          status.interruptions), ('succeeded', 1, 0))
        self.assertEqual(self.value(), 1)
        self.assertNothingRuns()

    def test_killed_in_the_cleanup(self):
        process, (run_id,) = self.spawn('cleaning')
        self.wait_for('inside')
        self.kill(process)
        self.forget('inside')
        self.open()
        self.waitTurn()
        self.assertEqual(self.status(run_id).state, 'succeeded')
        self.assertEqual(self.value(), 1)
        # Nothing of the cleanup is stored, and nobody does it again.
        self.assertFalse(hasattr(self.counter, 'cleaned'))
        self.assertFalse(os.path.exists(os.path.join(self.path, 'inside')))
        self.assertNothingRuns()

    def test_second_signal_ends_at_once(self):
        for name, state, value in ('fail', 'interrupted', 0), (
                'rerun', 'succeeded', 1):
            with self.subTest(name):
                self.forget('ending')
                process, (run_id,) = self.spawn(name, drain=60)
                self.wait_for('inside')
                process.send_signal(signal.SIGINT)
                self.wait_for('ending')
                with self.assertRaises(subprocess.TimeoutExpired):
                    process.wait(0.2)   # it drains
                process.send_signal(signal.SIGINT)
                process.wait(20)
                self.assertFalse(os.path.exists(
                    os.path.join(self.path, 'closed')))
                touch(self.path, 'go-on')
                self.open()
                self.assertEqual(self.waitFinished(run_id).state, state)
                self.assertEqual(self.value(), value)
                self.assertNothingRuns()
                self.close()
                self.forget('go-on')

    def test_killed_inside_the_work_and_rerun(self):
        process, (run_id,) = self.spawn('rerun')
        self.wait_for('inside')
        self.kill(process)
        touch(self.path, 'go-on')
        self.open()
        status = self.waitFinished(run_id)
        self.assertEqual(status.state, 'succeeded')
        self.assertEqual(self.value(), 1)
        self.assertNothingRuns()

    def test_killed_inside_the_work_that_must_not_be_rerun(self):
        process, (run_id,) = self.spawn('fail')
        self.wait_for('inside')
        self.kill(process)
        touch(self.path, 'go-on')
        self.open()
        status = self.waitFinished(run_id)
        self.assertEqual((status.state, status.interruptions),
                         ('interrupted', 1))
        self.assertEqual(self.value(), 0)
        self.assertNothingRuns()

    def test_killed_long_after_the_work_began(self):
        # The process has told that it works on the run.
        process, (run_id,) = self.spawn('rerun')
        self.wait_for('inside')
        self.wait_for('told')
        self.kill(process)
        touch(self.path, 'go-on')
        self.open()
        status = self.waitFinished(run_id)
        self.assertEqual((status.state, status.interruptions),
                         ('succeeded', 1))
        self.assertEqual(self.value(), 1)

    def test_killed_while_stopping(self):
        for name in 'rerun', 'fail':
            with self.subTest(name):
                process, (run_id,) = self.spawn(name)
                self.wait_for('inside')
                touch(self.path, 'stop')
                self.wait_for('asked')
                self.kill(process)
                self.forget('inside', 'asked')
                self.open()
                status = self.waitFinished(run_id)
                self.assertEqual(status.state, 'interrupted')
                self.assertEqual(status.stop.reason, 'enough')
                self.assertFalse(os.path.exists(
                    os.path.join(self.path, 'inside')))
                self.assertEqual(self.value(), 0)
                self.assertNothingRuns()
                self.assertEqual(len(self.registry.stops), 0)
                self.close()

    def test_SIGTERM_lets_the_work_finish(self):
        process, (run_id,) = self.spawn('rerun')
        self.wait_for('inside')
        process.terminate()
        touch(self.path, 'go-on')
        self.assertEqual(process.wait(20), 0)
        self.wait_for('closed')
        self.open(threads=0)
        self.assertEqual(self.status(run_id).state, 'succeeded')
        self.assertEqual(self.value(), 1)

    def test_SIGTERM_interrupts_what_takes_too_long(self):
        for name, state in (('rerun', 'pending'), ('polite', 'pending'),
                            ('fail', 'interrupted')):
            with self.subTest(name):
                process, (run_id,) = self.spawn(name, drain=0.2)
                self.wait_for('inside')
                process.terminate()
                self.assertEqual(process.wait(20), 0)
                self.open(threads=0)
                status = self.status(run_id)
                self.assertEqual(
                    (status.state, status.interruptions), (state, 0))
                self.assertEqual(self.value(), 0)
                self.assertEqual(
                    [p.threads for p in self.registry.listProcesses()
                     if p.threads], [])
                if state == 'pending':
                    self.assertEqual(status.attempts, 0)
                    self.requestStop(run_id)
                self.close()

    def test_run_that_kills_its_process_each_time(self):
        process, _ = self.spawn('kill')
        deaths = 0
        while process.wait(20) == -signal.SIGKILL and deaths < 10:
            deaths += 1
            process, _ = self.spawn()
            # It dies, or it takes the run for what it is.
            if deaths > MAX_INTERRUPTIONS:
                break
        self.wait_for('started')
        self.kill(process, signal.SIGTERM)
        self.open()
        status, = self.registry.listRuns().items
        status = self.waitFinished(status.id)
        self.assertEqual((status.state, status.interruptions),
                         ('failed', MAX_INTERRUPTIONS))
        self.assertEqual(status.error_type, 'ProcessDied')
        self.assertLessEqual(deaths, MAX_INTERRUPTIONS + 1)

    def test_killed_again_and_again(self):
        # A crash leaves nothing that hinders the next crash and start.
        for _ in range(2):
            process, _ = self.spawn('rerun', 'fail')
            self.wait_for('inside')
            self.kill(process)
        self.forget('inside')
        touch(self.path, 'go-on')
        self.open()

        def is_done():
            self.begin()
            return not self.registry.listRuns(
                states=['pending', 'running']).items

        waitUntil(is_done)
        counts = self.registry.getCounts()
        failed = self.registry.listRuns(states=['failed']).items
        self.assertEqual(counts['rerun'], {'succeeded': 2}, [
            (run.error_type, run.error_text) for run in failed])
        self.assertEqual(sum(counts['fail'].values()), 2)
        self.assertEqual(
            self.value(), 2 + counts['fail'].get('succeeded', 0))
        self.assertNothingRuns()
