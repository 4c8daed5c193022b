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
"""Triggers that fail, that follow runs, and that would go on for ever."""

import transaction
from transaction.interfaces import TransientError
from zope.component import handle
from zope.event import notify
from zope.lifecycleevent import ObjectModifiedEvent
from zope.lifecycleevent.interfaces import IObjectAddedEvent
from zope.lifecycleevent.interfaces import IObjectModifiedEvent

from cipher.background.interfaces import MAX_DEPTH
from cipher.background.interfaces import IRunCreatedEvent
from cipher.background.interfaces import IRunEvent
from cipher.background.interfaces import IRunFailedEvent
from cipher.background.interfaces import IRunSucceededEvent
from cipher.background.testing import runPending
from cipher.background.tests.registry.test_triggers import IDocument
from cipher.background.tests.registry.test_triggers import IPublishedEvent
from cipher.background.tests.registry.test_triggers import PublishedEvent
from cipher.background.tests.registry.test_triggers import TriggerTests
from cipher.background.tests.support.live import declareWorker


class FailureTests(TriggerTests):
    """What a trigger is given raises: the user must not suffer."""

    def fails(self, *objects):
        raise ValueError('no use')

    def conflicts(self, *objects):
        raise TransientError('again')

    def assertFailed(self, error_type, text, number=1):
        transaction.commit()
        self.assertIn('paper', self.site)
        self.assertEqual(self.runs(), [])
        runs = self.runs('failed')
        self.assertEqual(len(runs), number)
        self.assertEqual(runs[0].error[0], error_type)
        self.assertIn(text, runs[0].error[1])
        status = self.registry.getStatus(runs[0].id)
        self.assertEqual(status.title, "work, by trigger of 'work'")
        self.assertIn(error_type, self.registry.getDetails(
            runs[0].id).traceback)
        self.assertEqual(self.registry.getCounts(),
                         {'work': {'failed': number}})
        self.assertEqual(runPending(self.site), [])

    def test_condition_holds_or_not(self):
        asked = []

        def condition(*objects):
            asked.append(objects)
            return objects[0].title == 'right'

        self.on(IDocument, IObjectAddedEvent, condition=condition)
        self.addPaper('wrong')
        right = self.addPaper('right')
        self.assertEqual([run.context for run in self.runs()], [right])
        self.assertIs(asked[1][0], right)
        self.assertIs(asked[1][1].object, right)

    def test_condition_of_an_event_is_called_with_it(self):
        self.on(IObjectAddedEvent,
                condition=lambda event: event.newName == 'right')
        self.addPaper('wrong')
        self.addPaper('right')
        self.assertEqual(len(self.runs()), 1)

    def test_condition_that_raises(self):
        self.on(IDocument, IObjectAddedEvent, condition=self.fails)
        self.addPaper()
        self.assertFailed('ValueError', 'no use')
        self.assertEqual(
            len(self.lines("trigger of 'work': its condition failed")), 1)

    def test_input_that_raises(self):
        self.on(IDocument, IObjectAddedEvent, input=self.fails)
        self.addPaper()
        self.assertFailed('ValueError', 'no use')
        self.assertEqual(len(self.lines(
            "trigger of 'work': worker 'work' could not be started")), 1)

    def test_input_that_does_not_fit(self):
        self.on(IDocument, IObjectAddedEvent,
                input=lambda *objects: {'unknown': 1})
        self.addPaper()
        # Its names are part of the input, so they are not quoted either.
        self.assertFailed('InvalidInput', 'expected input without any field')

    def test_input_that_is_none_at_all(self):
        self.on(IDocument, IObjectAddedEvent,
                input=lambda *objects: 'surprise')
        self.addPaper()
        transaction.commit()
        self.assertEqual(len(self.runs('failed')), 1)

    def test_worker_that_nobody_declares(self):
        self.on(IDocument, IObjectAddedEvent, worker='nobody')
        self.addPaper()
        transaction.commit()
        run, = self.runs('failed')
        self.assertEqual((run.type, run.error[0]),
                         ('nobody', 'UnknownWorkerType'))

    def assertConflicts(self, **options):
        self.on(IDocument, IPublishedEvent, **options)
        paper = self.addPaper()
        with self.assertRaises(TransientError):
            handle(paper, PublishedEvent(paper))
        self.assertEqual(self.runs('failed'), [])

    def test_transient_error_of_a_condition_is_raised(self):
        # So that the whole request is done again.
        self.assertConflicts(condition=self.conflicts)

    def test_transient_error_of_an_input_is_raised(self):
        self.assertConflicts(input=self.conflicts)

    def test_failure_at_the_events_of_runs_is_kept_once(self):
        # What is kept is a run that is created and fails as well.
        for _ in range(2):
            self.on(IRunEvent, condition=self.fails)
            self.on(IRunEvent, input=self.fails)
        self.registry.start('work')
        transaction.commit()
        self.assertEqual(len(self.runs()), 1)
        self.assertEqual(len(self.runs('failed')), 4)

    def test_failed_start_can_be_followed(self):
        self.on(IDocument, IObjectAddedEvent, input=self.fails)
        declareWorker('alarm', lambda worker: None)
        self.on(IRunFailedEvent, worker='alarm')
        self.addPaper()
        transaction.commit()
        run, = self.runs()
        self.assertEqual((run.type, run.depth), ('alarm', 1))


class ChainTests(TriggerTests):
    """Runs that follow from runs."""

    def follow(self, name):
        return lambda event: event.object.type == name

    def test_notify_follows_when_publish_succeeded(self):
        told = []
        declareWorker('publish', lambda worker: None)
        declareWorker('notify', lambda worker: told.append(
            worker.context.title))
        self.on(IRunSucceededEvent, worker='notify',
                condition=self.follow('publish'))
        paper = self.addPaper()
        self.registry.start('publish', paper)
        transaction.commit()
        publish, told_run = runPending(self.site)
        self.assertEqual((publish.type, told_run.type),
                         ('publish', 'notify'))
        self.assertEqual(told, ['paper'])
        self.assertEqual((publish.depth, told_run.depth), (0, 1))

    def test_nothing_follows_when_publish_fails(self):
        def fail(worker):
            raise ValueError('broken')

        declareWorker('publish', fail)
        self.on(IRunSucceededEvent, condition=self.follow('publish'))
        self.registry.start('publish')
        transaction.commit()
        with self.assertRaises(ValueError):
            runPending(self.site)
        self.assertEqual(self.runs(), [])

    def test_work_that_fires_its_own_event_is_stopped(self):
        def touch(worker):
            notify(ObjectModifiedEvent(worker.context))

        declareWorker('work', touch)
        self.on(IDocument, IObjectModifiedEvent)
        paper = self.addPaper()
        notify(ObjectModifiedEvent(paper))
        transaction.commit()
        runs = runPending(self.site)
        self.assertEqual([run.depth for run in runs],
                         list(range(MAX_DEPTH + 1)))
        self.assertEqual({run.state for run in runs}, {'succeeded'})
        loud, = self.lines('expected a chain of at most 10 runs')
        self.assertIn("trigger of 'work'", loud)
        self.assertIn("worker 'work' is not started", loud)

    def test_chain_of_a_worker_with_itself_is_stopped(self):
        self.on(IRunSucceededEvent)
        self.registry.start('work')
        transaction.commit()
        self.assertEqual(len(runPending(self.site)), MAX_DEPTH + 1)

    def test_trigger_at_the_start_of_runs_does_not_go_on_for_ever(self):
        self.on(IRunCreatedEvent)
        self.registry.start('work')
        transaction.commit()
        self.assertEqual([run.depth for run in self.runs()],
                         list(range(MAX_DEPTH + 1)))
        self.assertEqual(len(self.lines('expected a chain')), 1)

    def test_depth_of_a_chain_ends_with_it(self):
        self.on(IRunCreatedEvent,
                condition=lambda event: event.object.depth < 2)
        for _ in range(3):
            self.registry.start('work')
        self.assertEqual([run.depth for run in self.runs()],
                         [0, 1, 2] * 3)

    def test_unique_trigger_at_the_start_of_runs(self):
        self.on(IRunEvent, unique='type')
        self.registry.start('work')
        transaction.commit()
        self.assertEqual(len(self.runs()), 2)
