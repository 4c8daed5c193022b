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
"""Work in many steps: checkpoints, and jobs over many items."""
import transaction
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite

from cipher.background.interfaces import FAIL
from cipher.background.interfaces import RERUN
from cipher.background.interfaces import RunLost
from cipher.background.interfaces import StopRequested
from cipher.background.testing import runPending
from cipher.background.tests.support.live import Counter
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.thread import BackgroundJob
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.work.worker import Worker
from cipher.background.work.worker import stateOf


def increment():
    getSite()['counter'].value += 1


class CheckpointTests(LiveTests):

    def each(self):
        """Yield what ``on_interrupt`` may say: unclaimed and claimed."""
        for on_interrupt in RERUN, FAIL:
            self.gate.__init__()
            self.begin()
            self.counter.value = 0
            transaction.commit()
            yield on_interrupt

    def test_one_commit_has_the_work_the_cursor_and_the_progress(self):
        def work(worker):
            increment()
            worker.setProgress(1, 3, 'one')
            worker.checkpoint({'at': 1})
            self.gate.stop()

        for on_interrupt in self.each():
            declareWorker('work', work, on_interrupt=on_interrupt)
            run_id = self.start('work')
            self.gate.waitReached()
            self.begin()
            run = self.registry.get(run_id)
            self.assertEqual((self.counter.value, run.cursor, run.progress),
                             (1, {'at': 1}, (1, 3, 'one')))
            tids = {self.db.history(obj._p_oid)[0]['tid']
                    for obj in (run, self.counter)}
            self.assertEqual(len(tids), 1)
            self.gate.open()
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def test_cursor_has_to_be_plain_data(self):
        declareWorker('work', lambda worker: worker.checkpoint(object()))
        status = self.carryOut('work')
        self.assertEqual((status.state, status.error_type),
                         ('failed', 'ValueError'))

    def test_conflict_repeats_only_what_came_after(self):
        steps = []
        errors = []

        def work(worker):
            for step in range(worker.cursor or 0, 3):
                steps.append(step)
                increment()
                if errors and step == 1:
                    raise errors.pop()
                worker.setProgress(step + 1)
                worker.checkpoint(step + 1)

        for on_interrupt in self.each():
            steps[:] = []
            errors[:] = [ConflictError()]
            declareWorker('work', work, on_interrupt=on_interrupt)
            status = self.carryOut('work')
            self.assertEqual((status.state, status.attempts),
                             ('succeeded', 1))
            self.assertEqual(steps, [0, 1, 1, 2])
            self.assertEqual(self.value(), 3)

    def test_conflict_of_the_checkpoint_itself(self):
        # Somebody else changed what the second step changes.
        seen = []

        def work(worker):
            for step in range(worker.cursor or 0, 3):
                seen.append((step, worker.progress))
                counter = getSite()['counter']
                counter.value += 1
                if step == 1 and seen.count((1, (1, None, None))) == 1:
                    self.gate.stop()
                worker.setProgress(step + 1)
                worker.checkpoint(step + 1)

        declareWorker('work', work)
        run_id = self.start('work')
        self.gate.waitReached()
        self.begin()
        self.counter.value += 100
        transaction.commit()
        self.gate.open()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertEqual(self.value(), 103)
        # The progress is that of the cursor again.
        self.assertEqual(seen, [
            (0, None), (1, (1, None, None)), (1, (1, None, None)),
            (2, (2, None, None))])

    def test_tries_are_counted_anew_behind_each_checkpoint(self):
        left = {0: 3, 1: 3}

        class Job(BackgroundJob):
            max_tries = 5

            def doWork(self):
                for step in range(self.cursor or 0, 2):
                    if left[step]:
                        left[step] -= 1
                        raise ConflictError()
                    self.checkpoint(step + 1)

        declareWorker('work', factory=Job)
        self.assertEqual(self.carryOut('work').state, 'succeeded')

    def test_step_that_always_conflicts_fails(self):
        calls = []

        class Job(BackgroundJob):
            max_tries = 4

            def doWork(self):
                calls.append(self.cursor)
                stateOf(self).commitAndGoOn = self.conflict
                self.checkpoint(len(calls))   # another place each time

            def conflict(self):
                raise ConflictError('for ever')

        declareWorker('work', factory=Job)
        self.assertEqual(self.carryOut('work').error_type, 'ConflictError')
        self.assertEqual(calls, [None] * 4)

    def test_cursor_that_the_work_changes_is_a_copy(self):
        seen = []

        def work(worker):
            if worker.cursor is None:
                cursor = {'at': 1}
                worker.checkpoint(cursor)
                cursor['at'] = 7
                worker.cursor['at'] = 8
                raise ConflictError()
            seen.append(worker.cursor['at'])
            worker.cursor['at'] = 9
            if len(seen) < 3:
                raise ConflictError()

        declareWorker('work', work)
        self.assertEqual(self.carryOut('work').state, 'succeeded')
        self.assertEqual(seen, [1, 1, 1])

    def test_error_goes_on_at_the_cursor_with_the_next_attempt(self):
        steps = []

        def work(worker):
            for step in range(worker.cursor or 0, 4):
                steps.append(step)
                increment()
                if len(steps) == 3:
                    raise ValueError('once')
                worker.checkpoint(step + 1)

        for on_interrupt in self.each():
            steps[:] = []
            declareWorker('work', work, max_attempts=2, retry_delay=0.01,
                          on_interrupt=on_interrupt)
            status = self.carryOut('work')
            self.assertEqual((status.state, status.attempts),
                             ('succeeded', 2))
            self.assertEqual(steps, [0, 1, 2, 2, 3])
            self.assertEqual(self.value(), 4)

    def test_stop_is_raised_after_the_commit(self):
        raised = []

        def work(worker):
            increment()
            self.gate.stop()
            try:
                worker.checkpoint(1)
            except StopRequested:
                raised.append(worker.cursor)
                increment()   # in the next transaction, which is aborted
                raise

        for on_interrupt in self.each():
            raised[:] = []
            declareWorker('work', work, on_interrupt=on_interrupt)
            run_id = self.start('work')
            self.gate.waitReached()
            self.requestStop(run_id)
            waitUntil(lambda: self.runtime.allLive()[0].stop)
            self.gate.open()
            self.assertEqual(self.waitFinished(run_id).state, 'stopped')
            self.assertEqual(raised, [1])
            self.assertEqual(self.value(), 1)
            self.assertEqual(self.registry.get(run_id).cursor, 1)

    def test_deploy_goes_on_at_the_cursor(self):
        steps = []

        def work(worker):
            for step in range(worker.cursor or 0, 3):
                steps.append(step)
                increment()
                worker.checkpoint(step + 1)
                if step == 1 and len(steps) == 2:
                    worker.wait(LIMIT)
                    worker.checkStop()

        declareWorker('work', work)
        run_id = self.start('work')
        waitUntil(lambda: self.value() == 2)
        self.runtime.shutdown()
        status = self.status(run_id)
        self.assertEqual((status.state, status.attempts, self.value()),
                         ('pending', 0, 2))
        self.runtime = self.startRuntime()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertEqual(steps, [0, 1, 2])
        self.assertEqual(self.value(), 3)

    def test_who_lost_the_run_commits_nothing_more(self):
        # Before the checkpoint, and between its two transactions.
        for on_interrupt in self.each():
            for is_before in True, False:
                self._lose(on_interrupt, is_before)

    def _lose(self, on_interrupt, is_before):
        self.gate.__init__()
        errors = []

        def work(worker):
            state = stateOf(worker)
            commit_and_go_on = state.commitAndGoOn

            def commit():
                transaction.commit()
                self.gate.stop()
                transaction.begin()

            if not is_before:
                state.commitAndGoOn = commit
            increment()
            if is_before:
                self.gate.stop()
            try:
                worker.checkpoint(1)
            except BaseException as error:
                errors.append(type(error))
                raise
            finally:
                state.commitAndGoOn = commit_and_go_on
            increment()

        declareWorker('work', work, on_interrupt=on_interrupt)
        value = self.value()
        run_id = self.start('work')
        self.gate.waitReached()
        self.begin()
        run = self.registry.get(run_id)
        run.putBack(due_at=1e12)   # as who took its process for dead
        transaction.commit()
        self.gate.open()
        waitUntil(lambda: not self.runtime.allLive())
        self.assertEqual(self.value(), value + (not is_before))
        self.assertEqual(self.status(run_id).state, 'pending')
        # A conflict shows the fence at the next try.
        self.assertEqual(errors, [ConflictError if is_before else RunLost])

    def test_reply_lost_at_a_checkpoint(self):
        storage = type(self.db.storage)
        tpc_finish = storage.tpc_finish
        steps = []
        lost = []

        def finish(storage, txn, *args, **kwargs):
            tid = tpc_finish(storage, txn, *args, **kwargs)
            if steps == [0, 1] and not lost and (
                    txn.description.startswith(b'work')):
                lost.append(tid)
                raise TransientError('the reply is lost')
            return tid

        def work(worker):
            for step in range(worker.cursor or 0, 4):
                steps.append(step)
                increment()
                worker.checkpoint(step + 1)

        self.patchFinish(finish)
        for on_interrupt in self.each():
            steps[:] = lost[:] = []
            declareWorker('work', work, on_interrupt=on_interrupt)
            status = self.carryOut('work')
            self.assertEqual(len(lost), 1)
            self.assertEqual(status.state, 'succeeded')
            self.assertEqual(steps, [0, 1, 2, 3])
            self.assertEqual(self.value(), 4)

    def test_context_and_site_are_there_behind_a_checkpoint(self):
        def work(worker):
            worker.context.value += 1
            worker.checkpoint(1)
            worker.context.value += 1
            getSite()['counter'].value += 1

        declareWorker('work', work)
        self.assertEqual(
            self.carryOut('work', self.counter).state, 'succeeded')
        self.assertEqual(self.value(), 3)

    def test_context_that_is_removed_meanwhile_fails_the_run(self):
        self.begin()
        self.site['other'] = Counter()
        transaction.commit()

        def work(worker):
            worker.checkpoint(1)
            self.gate.stop()
            worker.checkpoint(2)
            increment()

        declareWorker('work', work)
        run_id = self.start('work', self.site['other'])
        self.gate.waitReached()
        self.begin()
        del self.site['other']
        transaction.commit()
        self.gate.open()
        status = self.waitFinished(run_id)
        self.assertEqual(status.error_type, 'ContextGone')
        self.assertEqual(self.value(), 0)

    def test_checkpoint_elsewhere_is_a_clear_error(self):
        message = 'expected a checkpoint in a job that is recorded'
        errors = []

        def tried(worker):
            try:
                worker.checkpoint(1)
            except RuntimeError as error:
                errors.append(str(error))

        class Loop(BackgroundWorkerThread):
            def scheduleNextWork(self):
                return not errors

            def doWork(self):
                tried(self)

        class Early(BackgroundJob):
            def scheduleNextWork(self):
                tried(self)
                return super().scheduleNextWork()

            def doCleanup(self):
                tried(self)

        declareWorker('loop', factory=Loop, is_loop=True)
        self.assertEqual(self.carryOut('loop').state, 'succeeded')
        declareWorker('early', factory=Early)
        self.assertEqual(self.carryOut('early').state, 'succeeded')
        self.assertEqual(len(errors), 4)
        worker = Early.forSite(self.site, 'somebody')
        tried(worker)
        worker.start()
        worker.join(LIMIT)
        self.assertEqual(len(errors), 8)
        bare = Worker()
        bare.name = 'bare'
        tried(bare)
        self.assertEqual(len(errors), 9)
        for error in errors:
            self.assertIn(message, error)

    def test_interruptions_are_counted_anew_behind_a_checkpoint(self):
        # Or a long job would be failed by its third deploy.
        declareWorker('work', lambda worker: worker.checkpoint(1))
        self.runtime.shutdown()
        self.begin()
        run = self.registry.start('work')
        run.interruptions = 2
        transaction.commit()
        runPending(self.site)
        self.begin()
        self.assertEqual((run.state, run.interruptions), ('succeeded', 0))
