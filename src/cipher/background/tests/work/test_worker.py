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
"""What a worker sees of its world, and what the world sees of it."""
import threading
import time

import transaction
from ZODB.POSException import ConflictError
from zope.component import getUtility
from zope.component.hooks import getSite
from zope.interface import Interface
from zope.interface.verify import verifyObject
from zope.schema import Int
from zope.schema import List
from zope.security.management import endInteraction
from zope.security.management import queryInteraction

from cipher.background.interfaces import FAIL
from cipher.background.interfaces import IWorker
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import RunLost
from cipher.background.store.attempts import LOG_LIMIT
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import login
from cipher.background.thread import BackgroundJob
from cipher.background.thread import BackgroundWorkerThread


def increment(worker):
    getSite()['counter'].value += 1


class WorkerTests(LiveTests):
    """What a worker sees."""

    def test_handler_sees_its_world(self):
        seen = {}

        def work(worker):
            verifyObject(IWorker, worker)
            seen.update(
                run_id=worker.run_id, site=getSite()._p_oid,
                registry=getUtility(IWorkerRegistry)._p_oid,
                context=worker.context._p_oid, input=worker.input,
                thread=threading.current_thread().name)

        declareWorker('work', work)
        run_id = self.start('work', self.counter)
        self.waitFinished(run_id)
        self.assertEqual(seen.pop('thread')[:11], 'background-')
        self.assertEqual(seen, {
            'run_id': run_id, 'site': self.site._p_oid, 'input': {},
            'registry': self.registry._p_oid,
            'context': self.counter._p_oid})

    def test_starter_works_in_its_own_name(self):
        seen = []

        def work(worker):
            participation, = queryInteraction().participations
            seen.append(participation.principal.id)

        declareWorker('work', work)
        login('bob')
        run_id = self.start('work')
        endInteraction()
        self.assertEqual(self.waitFinished(run_id).starter, 'bob')
        self.assertEqual(self.carryOut('work').starter, None)
        self.assertEqual(seen, ['bob', 'zope.security.management.system_user'])

    def test_worker_starts_another(self):
        def first(worker):
            return getUtility(IWorkerRegistry).start('second').id

        declareWorker('first', first)
        declareWorker('second', increment)
        login('bob')
        run_id = self.start('first')
        endInteraction()
        second = self.waitFinished(self.waitFinished(run_id).result)
        self.assertEqual((second.state, second.starter), ('succeeded', 'bob'))
        self.assertEqual(self.value(), 1)

    def test_other_run_of_a_failing_worker_is_not_started(self):
        def first(worker):
            getUtility(IWorkerRegistry).start('second')
            raise ValueError

        declareWorker('first', first)
        declareWorker('second', increment)
        self.carryOut('first')
        self.assertEqual(self.registry.getCounts(),
                         {'first': {'failed': 1}})

    def test_progress_is_seen_while_it_runs(self):
        def work(worker):
            worker.setProgress(3, 10, 'third')
            self.gate.stop()

        declareWorker('work', work)
        run_id = self.start('work')
        self.gate.waitReached()
        status = self.status(run_id)
        self.assertEqual(status.state, 'running')
        self.assertEqual(
            (status.progress_done, status.progress_total, status.message),
            (3, 10, 'third'))
        self.assertEqual(self.registry.getCounts(), {'work': {'running': 1}})
        self.assertEqual(self.registry.get(run_id).state, 'pending')
        self.gate.open()
        status = self.waitFinished(run_id)
        self.assertEqual(status.message, 'third')

    def test_log_is_kept_for_each_run(self):
        self.addCleanup(self.runtime.shutdown)

        def work(worker, gates=[threading.Barrier(2)]):
            gates[0].wait(LIMIT)
            worker.log.info('I am %s', worker.run_id)
            worker.log.debug('too small to keep')

        declareWorker('work', work)
        self.begin()
        runs = [self.registry.start('work').id for _ in range(2)]
        transaction.commit()
        for run_id in runs:
            self.waitFinished(run_id)
            log = self.registry.getDetails(run_id).log
            self.assertEqual(log.count('I am'), 1, log)
            self.assertIn('I am %s' % run_id, log)
            self.assertNotIn('too small', log)

    def test_log_is_seen_while_it_runs(self):
        def work(worker):
            worker.log.warning('so far')
            self.gate.stop()

        declareWorker('work', work)
        run_id = self.start('work')
        self.gate.waitReached()
        self.assertIn('so far', self.registry.getDetails(run_id).log)

    def test_log_is_capped(self):
        def work(worker):
            worker.log.info('the first line')
            for _ in range(30):
                worker.log.info('x' * 20000)
            worker.log.info('the last line')

        declareWorker('work', work)
        run_id = self.start('work')
        self.waitFinished(run_id)
        log = self.registry.getDetails(run_id).log
        self.assertLess(len(log), LOG_LIMIT + 1000)
        self.assertIn('the first line', log)
        self.assertIn('the last line', log)
        self.assertIn('cut here', log)

    def test_input_is_a_fresh_copy_at_each_try(self):
        class IInput(Interface):
            items = List(title='Items')

        errors = [ConflictError()]
        seen = []

        def work(worker, items):
            seen.append(list(items))
            items.pop()
            if errors:
                raise errors.pop()

        declareWorker('work', work, schema=IInput)
        run_id = self.start('work', items=[1, 2])
        self.waitFinished(run_id)
        self.assertEqual(seen, [[1, 2], [1, 2]])
        self.assertEqual(self.registry.getDetails(run_id).input,
                         {'items': [1, 2]})

    def test_job_class(self):
        class IInput(Interface):
            number = Int(title='Number')

        class Job(BackgroundJob):

            def doWork(self):
                getSite()['counter'].value += self.input['number']
                return self.input['number']

            def doCleanup(self):
                getSite()['counter'].value += 100

        declareWorker('work', factory=Job, schema=IInput)
        status = self.carryOut('work', number=5)
        self.assertEqual((status.state, status.result), ('succeeded', 5))
        self.assertEqual(self.value(), 105)

    def test_loop_class_gets_its_input_as_keywords(self):
        class IInput(Interface):
            rounds = Int(title='Rounds')

        inputs = []

        class Loop(BackgroundWorkerThread):

            def __init__(self, *args, rounds, **kwargs):
                super().__init__(*args, **kwargs)
                self.rounds = rounds

            def scheduleNextWork(self):
                self.rounds -= 1
                return self.rounds >= 0

            def doWork(self):
                inputs.append(self.input)
                getSite()['counter'].value += 1

        declareWorker('loop', factory=Loop, schema=IInput, is_loop=True)
        status = self.carryOut('loop', rounds=3)
        self.assertEqual((status.state, status.attempts), ('succeeded', 1))
        self.assertEqual(self.value(), 3)
        self.assertEqual(inputs, [{'rounds': 3}] * 3)

    def test_fail_type_is_claimed_by_a_commit_before_its_work(self):
        def work(worker):
            self.gate.stop()

        declareWorker('work', work, on_interrupt=FAIL)
        run_id = self.start('work')
        self.gate.waitReached()
        self.begin()
        run = self.registry.get(run_id)
        self.assertEqual(run.state, 'running')
        self.assertEqual(run.owner, self.runtime.id)
        self.assertEqual(run.attempts, 1)
        self.gate.open()
        status = self.waitFinished(run_id)
        self.assertEqual((status.state, status.attempts), ('succeeded', 1))

    def test_worker_that_lost_its_run_does_not_commit(self):
        def work(worker):
            increment(worker)
            self.gate.stop()

        for on_interrupt in 'rerun', 'fail':
            with self.subTest(on_interrupt):
                self.gate.__init__()
                declareWorker('work', work, on_interrupt=on_interrupt)
                run_id = self.start('work')
                self.gate.waitReached()
                self.begin()
                # Another process has it, and puts it off.
                self.registry.get(run_id).putBack(
                    due_at=time.time() + 3600)
                transaction.commit()
                self.gate.open()
                waitUntil(lambda: not self.runtime.allLive())
                self.assertEqual(self.status(run_id).state, 'pending')
                self.assertEqual(self.value(), 0)
                self.assertNotIn(RunLost.__name__, self.logged.getvalue())
