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
"""Triggers with a FileStorage and threads: nothing is missed or repeated."""
import transaction
from ZODB.POSException import ConflictError
from zope.component import provideHandler
from zope.component.hooks import getSite
from zope.event import notify
from zope.lifecycleevent import ObjectModifiedEvent
from zope.lifecycleevent.interfaces import IObjectModifiedEvent

from cipher.background.interfaces import MAX_DEPTH
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import IRunSucceededEvent
from cipher.background.registry.triggers import Trigger
from cipher.background.testing import SetClock
from cipher.background.tests.support.live import Gate
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import Document
from cipher.background.tests.support.sites import declare
from cipher.background.work.worker import stateOf


class LiveTriggerTests(LiveTests):

    def setUp(self):
        super().setUp()
        declare('<include package="zope.component" />')
        self.document = self.addDocument()

    def on(self, *interfaces, worker, **options):
        provideHandler(Trigger(worker, **options), interfaces)

    def reindexOnSave(self, index, **options):
        declareWorker('reindex', index)
        self.on(Document, IObjectModifiedEvent, worker='reindex',
                unique='context', **options)

    def save(self, title):
        """Change the document, in the open transaction."""
        self.document.title = title
        notify(ObjectModifiedEvent(self.document))

    def saveAndCommit(self, title):
        # Again where the work was faster, as a publisher does.
        self.change(lambda: self.save(title))

    def runs(self, type):
        self.begin()
        return self.registry.listRuns(types=[type], limit=1000).items

    def waitAll(self, type, number=None):
        """Wait until every run is finished; return their statuses."""
        def finished():
            runs = self.runs(type)
            return (all(run.state == SUCCEEDED for run in runs)
                    and (number is None or len(runs) == number) and runs)
        return waitUntil(finished, 'the end of every %r' % type)

    def index(self, worker):
        getSite()['counter'].value = worker.context.title
        return worker.context.title


class SaveTests(LiveTriggerTests):

    def test_five_saves_within_the_delay_are_indexed_once(self):
        self.reindexOnSave(self.index, delay=0.3)
        with SetClock(), self.nothingDue():
            for number in range(5):
                self.saveAndCommit('title %d' % number)
        run, = self.waitAll('reindex')
        self.assertEqual(run.result, 'title 4')
        self.waitTurn()
        self.assertEqual(len(self.runs('reindex')), 1)

    def test_saves_without_a_delay_end_with_the_last_title(self):
        self.reindexOnSave(self.index)
        for number in range(20):
            self.saveAndCommit('title %d' % number)
        self.waitAll('reindex')
        self.assertEqual(self.value(), 'title 19')

    def test_save_after_the_work_began_is_indexed_by_another(self):
        def index(worker):
            title = worker.context.title
            if title == 'first':
                self.gate.stop()
            getSite()['counter'].value = title

        self.reindexOnSave(index)
        self.saveAndCommit('first')
        self.gate.waitReached()
        self.saveAndCommit('second')
        self.saveAndCommit('third')
        self.gate.open()
        self.waitAll('reindex')
        self.assertEqual(self.value(), 'third')

    def begin_between(self):
        """Let the work begin after a save that is not yet committed.

        The work has seen the title before and is at the gate.
        """
        gates = [self.gate, Gate()]
        gates[1].open()

        def index(worker):
            title = worker.context.title
            gates[0].stop()
            gates[0] = gates[1]
            return title

        self.reindexOnSave(index, delay=0.2)
        with SetClock(), self.nothingDue():
            self.saveAndCommit('first')
            self.begin()
            self.save('second')
        self.gate.waitReached()

    def test_save_committed_before_the_work_makes_it_look_again(self):
        self.begin_between()
        transaction.commit()
        self.gate.open()
        run, = self.waitAll('reindex')
        self.assertEqual(run.result, 'second')

    def test_save_committed_after_the_work_conflicts(self):
        # Whoever saved does so again, and starts a run of its own.
        self.begin_between()
        self.gate.open()
        manager = transaction.TransactionManager()
        connection = self.db.open(transaction_manager=manager)
        self.addCleanup(connection.close)
        registry = connection.get(self.registry._p_oid)

        def finished():
            manager.begin()
            run, = registry.listRuns(types=['reindex']).items
            return run.state == SUCCEEDED

        waitUntil(finished, 'the work')
        with self.assertRaises(ConflictError):
            transaction.commit()
        self.saveAndCommit('second')
        runs = self.waitAll('reindex', 2)
        self.assertEqual([run.result for run in runs], ['second', 'first'])


class LiveChainTests(LiveTriggerTests):

    def test_notify_follows_publish(self):
        declareWorker('publish', self.index)
        declareWorker('notify', self.index)
        self.on(IRunSucceededEvent, worker='notify',
                condition=lambda event: event.object.type == 'publish')
        self.assertEqual(
            self.carryOut('publish', self.document).state, SUCCEEDED)
        run, = self.waitAll('notify')
        self.assertEqual(run.result, 'document')
        self.assertEqual(len(self.runs('notify')), 1)

    def test_work_done_anew_after_a_conflict_is_followed_once(self):
        tries = []

        def publish(worker):
            tries.append(worker)
            if len(tries) == 1:
                raise ConflictError
            return 'published'

        declareWorker('publish', publish)
        declareWorker('notify', self.index)
        self.on(IRunSucceededEvent, worker='notify',
                condition=lambda event: event.object.type == 'publish')
        self.carryOut('publish', self.document)
        self.waitAll('notify')
        self.assertEqual((len(tries), len(self.runs('notify'))), (2, 1))

    def test_work_that_fires_its_own_event_is_stopped(self):
        def touch(worker):
            notify(ObjectModifiedEvent(worker.context))

        declareWorker('touch', touch)
        self.on(Document, IObjectModifiedEvent, worker='touch')
        self.saveAndCommit('once')
        self.waitAll('touch', MAX_DEPTH + 1)
        self.waitTurn()
        self.assertEqual(len(self.runs('touch')), MAX_DEPTH + 1)
        self.assertEqual(
            self.logged.getvalue().count('expected a chain of at most'), 1)

    def test_thread_forgets_the_depth_of_its_last_run(self):
        # Each of these would be deeper than the one before.
        depths = []

        def work(worker):
            depths.append(self.depth_of(worker))

        declareWorker('work', work)
        declareWorker('first', lambda worker: None)
        self.on(IRunSucceededEvent, worker='work',
                condition=lambda event: event.object.type == 'first')
        for number in range(MAX_DEPTH + 2):
            self.carryOut('first')
            self.waitAll('work', number + 1)
        self.assertEqual(set(depths), {1})

    def depth_of(self, worker):
        return stateOf(worker).observer.live.depth
