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
"""A finished run is done again, as a new run."""
import transaction
from ZODB.POSException import ConflictError
from zope.component import provideHandler
from zope.component import provideUtility
from zope.interface import Interface
from zope.interface.verify import verifyObject
from zope.schema import Password
from zope.schema import TextLine

from cipher.background.interfaces import BY_CONTEXT
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import INPUT_UNFIT
from cipher.background.interfaces import IS_SERVICE
from cipher.background.interfaces import NOT_FINISHED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RETRIED
from cipher.background.interfaces import START_FAILED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import TYPE_UNDECLARED
from cipher.background.interfaces import IHost
from cipher.background.interfaces import IRetry
from cipher.background.interfaces import IRunCreatedEvent
from cipher.background.interfaces import IWorkerRun
from cipher.background.interfaces import RunNotFound
from cipher.background.interfaces import RunNotRetryable
from cipher.background.interfaces import StarterGone
from cipher.background.registry.unattended import recordFailure
from cipher.background.tests.support.administration import BEGIN
from cipher.background.tests.support.administration import AdministrationTests
from cipher.background.tests.support.administration import another
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util.host import ToolkitHost


class IInput(Interface):

    title = TextLine(title='Title')
    key = Password(title='Key', required=False)


class RetryTests(AdministrationTests):

    def retry(self, run, reason=None):
        return self.registry.retry(run.id, reason)

    def assertRefused(self, run, *texts):
        with self.assertRaises(RunNotRetryable) as caught:
            self.retry(run)
        for text in ('run %r: expected a' % run.id, *texts):
            self.assertIn(text, str(caught.exception))
        self.assertEqual(self.actions(), [])
        self.assertIsNone(run.retried_as)

    def test_new_run_is_like_the_old_one(self):
        declareWorker('work', lambda worker, title, key: None, schema=IInput,
                      priority=1)
        document = self.addDocument()
        old = self.registry.submit(
            'work', document, {'title': 'one', 'key': 'hush'}, priority=7)
        old.permission = 'the.Permission'
        old.starter = 'bob'
        self.registry.finish(old, FAILED, _Event, error=('ValueError', 'no'))
        transaction.commit()
        self.clock.advance(60.0)
        run = self.retry(old)
        transaction.commit()
        self.assertNotEqual(run.id, old.id)
        for name in ('type', 'reference', 'input', 'permission', 'starter',
                     'priority', 'title'):
            with self.subTest(name=name):
                self.assertEqual(getattr(run, name), getattr(old, name))
        self.assertIs(run.context, document)
        self.assertEqual(
            (run.state, run.created_at, run.attempts, run.error, run.stop,
             run.due_at, run.finished_at),
            (PENDING, BEGIN + 60.0, 0, None, None, None, None))
        self.assertEqual((old.state, old.error),
                         (FAILED, ('ValueError', 'no')))

    def test_input_is_a_copy(self):
        declareWorker('work', lambda worker, title, key: None, schema=IInput)
        old = self.make(input={'title': 'one', 'key': None})
        run = self.retry(old)
        run.input['title'] = 'two'
        self.assertEqual(old.input['title'], 'one')

    def test_both_know_each_other(self):
        old = self.make()
        self.clock.advance(5.0)
        run = self.retry(old, '  disk\nis bigger now ')
        transaction.commit()
        self.registry._p_jar.cacheMinimize()
        run, old = self.registry.get(run.id), self.registry.get(old.id)
        verifyObject(IRetry, run.retry)
        verifyObject(IWorkerRun, run)
        self.assertEqual(
            run.retry, (old.id, 'admin', BEGIN + 5.0, 'disk is bigger now'))
        self.assertEqual(old.retried_as, run.id)
        self.assertIsNone(old.retry)
        self.assertIsNone(run.retried_as)
        self.assertEqual(self.actions(), [
            ('retry', old.id, 'admin', BEGIN + 5.0, 'disk is bigger now')])

    def test_event_and_note(self):
        events = []
        old = self.make()
        provideHandler(events.append, [IRunCreatedEvent])
        run = self.retry(old, 'why not')
        self.assertEqual([event.object for event in events], [run])
        self.assertEqual(
            transaction.get().description,
            'cipher.background: retry run %s by admin: why not' % old.id)

    def test_abort_takes_it_back(self):
        old = self.make()
        self.retry(old)
        transaction.abort()
        self.assertIsNone(old.retried_as)
        self.assertEqual(self.actions(), [])
        self.assertEqual(self.registry.getCounts(), {'work': {'failed': 1}})

    def test_every_finished_state_can_be_done_again(self):
        for state in FINISHED_STATES:
            with self.subTest(state=state):
                self.assertEqual(self.retry(self.make(state)).state, PENDING)

    def test_second_retry_gives_the_same_run_as_long_as_that_is_kept(self):
        old = self.make()
        run = self.retry(old)
        transaction.commit()
        self.assertIs(self.retry(old, 'again'), run)
        self.assertEqual(len(self.actions()), 1)
        self.registry.requestStop(run.id)
        self.registry.remove(run.id)
        transaction.commit()
        self.assertIsNone(old.retried_as)
        second = self.retry(old)
        self.assertNotEqual(second.id, run.id)
        self.assertEqual(old.retried_as, second.id)

    def test_retry_of_a_retry(self):
        first = self.make()
        second = self.retry(first)
        self.registry.finish(second, FAILED, _Event)
        third = self.retry(second)
        self.assertEqual(third.retry.run_id, second.id)
        self.assertEqual((first.retried_as, second.retried_as),
                         (second.id, third.id))

    def test_of_two_at_a_time_there_is_one(self):
        old = self.make()
        with another(self) as (manager, registry):
            registry.retry(old.id)
            mine = self.retry(old)
            transaction.commit()
            with self.assertRaises(ConflictError):
                manager.commit()
            # As the publisher does it again.
            manager.abort()
            manager.begin()
            self.assertEqual(registry.retry(old.id).id, mine.id)
            manager.commit()
        transaction.begin()
        self.assertEqual(self.registry.getCounts(),
                         {'work': {'failed': 1, 'pending': 1}})

    def test_it_goes_on_behind_the_last_checkpoint(self):
        old = self.make(cursor=['part', 3], progress=(3, 9, 'third'))
        run = self.retry(old)
        self.assertEqual((run.cursor, run.progress),
                         (['part', 3], (3, 9, 'third')))
        self.assertIsNot(run.cursor, old.cursor)

    def test_what_succeeded_is_all_done_again(self):
        run = self.retry(self.make(
            SUCCEEDED, cursor=9, progress=(9, 9, 'all')))
        self.assertEqual((run.cursor, run.progress), (None, None))

    def test_progress_without_a_checkpoint_was_lost(self):
        self.assertIsNone(self.retry(self.make(progress=(3, 9, ''))).progress)

    # Refused

    def test_run_that_is_not_finished(self):
        self.assertRefused(
            self.registry.start('work'),
            "to retry, got one that is 'pending'; wait for its end")
        self.assertRefused(self.makeRunning(), "got one that is 'running'")

    def test_unknown_run(self):
        for run_id in '9-9', 'x', None:
            with self.assertRaises(RunNotFound):
                self.registry.retry(run_id)

    def test_type_that_is_not_declared(self):
        self.assertRefused(
            self.make(type='gone'), 'run of a declared worker type to retry, '
            "got one of 'gone'; declare")

    def test_service(self):
        declareWorker('mail', factory=BackgroundWorkerThread, is_loop=True,
                      autostart=True)
        self.assertRefused(self.make(type='mail'), 'start the service')

    def test_start_that_failed(self):
        # Neither its input nor its context was ever known.
        recordFailure(self.registry, 'a trigger', 'work', ValueError('no'))
        transaction.commit()
        run = self.registry.get(self.registry.listRuns().items[0].id)
        self.assertRefused(run, 'got one whose start failed; start a new one')

    def test_input_that_does_not_fit_any_more(self):
        old = self.make(input={'colour': 'red', 'key': 'hush-hush'})
        declareWorker('work', lambda worker, title, key: None, schema=IInput)
        with self.assertRaises(RunNotRetryable) as caught:
            self.retry(old)
        # What is gone would be left out; what is missing has no default.
        self.assertIn("input 'title': expected a TextLine, got none",
                      str(caught.exception))
        self.assertNotIn('hush-hush', str(caught.exception))
        self.assertIsNone(old.retried_as)

    def test_status_says_why_as_retry_does(self):
        declareWorker('mail', factory=BackgroundWorkerThread, is_loop=True,
                      autostart=True)
        recordFailure(self.registry, 'a trigger', 'work', ValueError('no'))
        failed_start = self.registry.listRuns().items[0].id
        unfit = self.make(input={'colour': 'red'})
        running = self.makeRunning()
        declareWorker('work', lambda worker, title, key: None, schema=IInput)
        fit = self.make(input={'title': 'A'})
        for run_id, cause in (
                (self.registry.start('work', title='A').id, NOT_FINISHED),
                (running.id, NOT_FINISHED),
                (self.make(type='gone').id, TYPE_UNDECLARED),
                (self.make(type='mail').id, IS_SERVICE),
                (failed_start, START_FAILED),
                (unfit.id, INPUT_UNFIT),
                (fit.id, None)):
            with self.subTest(cause=cause):
                status = self.registry.getStatus(run_id)
                self.assertEqual(status.retry_obstacle, cause)
                self.assertEqual(status.is_retryable, cause is None)
                try:
                    self.registry.retry(run_id)
                except RunNotRetryable as error:
                    self.assertEqual(error.cause, cause)
                else:
                    self.assertIsNone(cause)
        status = self.registry.getStatus(fit.id)
        self.assertEqual(status.retry_obstacle, RETRIED)
        self.assertFalse(status.is_retryable)

    # Unique types

    def test_pending_run_of_a_unique_type_takes_its_place(self):
        declareWorker('work', lambda worker: None, unique=BY_CONTEXT)
        document = self.addDocument()
        old = self.registry.start('work', document)
        self.registry.finish(old, FAILED, _Event)
        pending = self.registry.start('work', document)
        without = self.registry.start('work')
        transaction.commit()
        touched = pending.countMergedStarts()
        self.assertIs(self.retry(old), pending)
        # Should it have begun, unseen: that conflicts.
        self.assertEqual(pending.countMergedStarts(), touched + 1)
        self.assertEqual(old.retried_as, pending.id)
        self.assertIsNone(pending.retry)
        self.assertIsNone(without.retry)
        self.assertEqual(len(self.actions()), 1)

    def test_retry_of_a_unique_type_stands_for_further_starts(self):
        declareWorker('work', lambda worker: None, unique=BY_CONTEXT)
        old = self.registry.start('work')
        self.registry.finish(old, FAILED, _Event)
        run = self.retry(old)
        self.assertIs(self.registry.start('work'), run)


class _Event:
    # What a finish notifies of; nobody subscribes.

    def __init__(self, object, registry):
        pass


class LiveRetryTests(LiveTests):
    """The retry is carried out."""

    def retry(self, run_id):
        self.begin()
        retried = self.registry.retry(run_id).id
        transaction.commit()
        return self.waitFinished(retried)

    def test_failed_then_mended(self):
        broken = [True]

        def work(worker):
            if broken:
                raise ValueError('broken')
            worker.context.value += 1

        declareWorker('work', work)
        status = self.carryOut('work', self.counter)
        self.assertEqual(status.state, 'failed')
        del broken[:]
        self.assertEqual(self.retry(status.id).state, 'succeeded')
        self.assertEqual(self.value(), 1)
        self.assertEqual(self.status(status.id).state, 'failed')

    def test_each_part_happens_once(self):
        stumbles = [True]

        def work(worker):
            for part in range(worker.cursor or 0, 4):
                worker.context.value += 1
                worker.setProgress(part + 1, 4)
                worker.checkpoint(part + 1)
                if part == 1 and stumbles:
                    stumbles.pop()
                    raise ValueError('stumbled')

        declareWorker('work', work)
        status = self.carryOut('work', self.counter)
        self.assertEqual((status.state, self.value()), ('failed', 2))
        status = self.retry(status.id)
        self.assertEqual((status.state, self.value()), ('succeeded', 4))
        self.assertEqual(
            (status.progress_done, status.progress_total), (4, 4))

    def test_permission_of_the_starter_is_asked_again(self):
        asked = []

        class Host(ToolkitHost):

            def participations(self, user_name, run):
                asked.append((user_name, run.permission))
                raise StarterGone('bob may not any more')

        declareWorker('work', lambda worker: None)
        self.begin()
        run = self.registry.addRun(
            'work', starter='bob', permission='the.Permission')
        transaction.commit()
        self.waitFinished(run.id)
        provideUtility(Host(), IHost)
        status = self.retry(run.id)
        self.assertEqual((status.state, status.error_type),
                         ('failed', 'StarterGone'))
        self.assertEqual(asked, [('bob', 'the.Permission')])

    def test_context_that_is_gone_fails_the_retry(self):
        def work(worker):
            raise ValueError('broken')

        declareWorker('work', work)
        for is_packed in False, True:
            with self.subTest(is_packed=is_packed):
                status = self.carryOut('work', self.addDocument())
                self.begin()
                del self.site['document']
                transaction.commit()
                if is_packed:
                    self.db.pack()
                    self.connection.cacheMinimize()
                status = self.retry(status.id)
                self.assertEqual((status.state, status.error_type),
                                 ('failed', 'ContextGone'))
