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
"""The events that tell of each transition, and their transactions."""
from zope.component import provideHandler
from zope.component.hooks import getSite

from cipher.background.interfaces import FAIL
from cipher.background.interfaces import IRunCreatedEvent
from cipher.background.interfaces import IRunEvent
from cipher.background.interfaces import IRunStartedEvent
from cipher.background.interfaces import IRunSucceededEvent
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.thread import BackgroundWorkerThread


class EventTests(LiveTests):

    def setUp(self):
        super().setUp()
        self.events = []
        provideHandler(self.note, [IRunEvent])

    def note(self, event):
        self.assertEqual(event.registry._p_oid, self.registry._p_oid)
        self.events.append(
            (type(event).__name__, event.object.id, event.object.state))

    def names(self, run_id):
        return [name for name, id, _ in self.events if id == run_id]

    def test_job_that_succeeds(self):
        declareWorker('work', lambda worker: None)
        status = self.carryOut('work')
        self.assertEqual(self.events, [
            ('RunCreatedEvent', status.id, 'pending'),
            ('RunStartedEvent', status.id, 'pending'),
            ('RunSucceededEvent', status.id, 'succeeded')])

    def test_job_that_is_claimed(self):
        declareWorker('work', lambda worker: None, on_interrupt=FAIL)
        status = self.carryOut('work')
        self.assertEqual(self.events, [
            ('RunCreatedEvent', status.id, 'pending'),
            ('RunStartedEvent', status.id, 'running'),
            ('RunSucceededEvent', status.id, 'succeeded')])

    def test_loop(self):
        class Loop(BackgroundWorkerThread):
            rounds = 3

            def scheduleNextWork(self):
                self.rounds -= 1
                return self.rounds >= 0

        declareWorker('loop', factory=Loop, is_loop=True)
        status = self.carryOut('loop')
        self.assertEqual(self.names(status.id), [
            'RunCreatedEvent', 'RunStartedEvent', 'RunSucceededEvent'])

    def test_job_that_fails(self):
        def work(worker):
            raise ValueError

        declareWorker('work', work)
        status = self.carryOut('work')
        self.assertEqual(self.names(status.id), [
            'RunCreatedEvent', 'RunStartedEvent', 'RunFailedEvent'])

    def test_stop_of_a_pending_run(self):
        self.runtime.shutdown()
        declareWorker('work', lambda worker: None)
        run_id = self.start('work')
        self.requestStop(run_id)
        self.assertEqual(self.names(run_id), [
            'RunCreatedEvent', 'RunStoppedEvent'])

    def test_shutdown(self):
        def work(worker):
            self.gate._reached.set()
            worker.wait(10)
            worker.checkStop()

        for on_interrupt, name in ('rerun', 'RunRequeuedEvent'), (
                'fail', 'RunInterruptedEvent'):
            with self.subTest(on_interrupt):
                self.gate.__init__()
                declareWorker('work', work, on_interrupt=on_interrupt)
                run_id = self.start('work')
                self.gate.waitReached()
                self.runtime.shutdown()
                self.assertEqual(self.names(run_id)[-1], name)
                if on_interrupt == 'rerun':
                    self.requestStop(run_id)
                self.runtime = self.startRuntime()

    def test_what_a_subscriber_changes_is_committed_with_the_work(self):
        def count(event):
            getSite()['counter'].value += 1

        declareWorker('work', lambda worker: None)
        provideHandler(count, [IRunStartedEvent])
        provideHandler(count, [IRunSucceededEvent])
        status = self.carryOut('work')
        self.assertEqual(self.value(), 2)
        run = self.registry.get(status.id)
        run._p_activate()
        self.counter._p_activate()
        self.assertEqual(run._p_serial, self.counter._p_serial)

    def test_error_of_a_subscriber_fails_the_work(self):
        def refuse(event):
            raise ValueError('refused')

        def work(worker):
            getSite()['counter'].value += 1

        declareWorker('work', work)
        provideHandler(refuse, [IRunSucceededEvent])
        status = self.carryOut('work')
        self.assertEqual((status.state, status.error_text),
                         ('failed', 'refused'))
        self.assertEqual(self.value(), 0)

    def test_error_of_a_subscriber_fails_the_start(self):
        def refuse(event):
            raise ValueError('refused')

        declareWorker('work', lambda worker: None)
        provideHandler(refuse, [IRunCreatedEvent])
        with self.assertRaises(ValueError):
            self.start('work')
