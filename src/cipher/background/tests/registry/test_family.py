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
"""What caused a run, what it caused, and the chain of its retries."""
import pickle

import transaction
from zope.component import provideHandler
from zope.component import provideUtility
from zope.component.hooks import getSite
from zope.event import notify
from zope.interface.verify import verifyObject
from zope.lifecycleevent import ObjectModifiedEvent
from zope.lifecycleevent.interfaces import IObjectModifiedEvent
from zope.site.folder import Folder
from zope.site.site import LocalSiteManager

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.declaring import makeSchedule
from cipher.background.events import RunFailedEvent
from cipher.background.interfaces import BY_SCHEDULE
from cipher.background.interfaces import BY_TRIGGER
from cipher.background.interfaces import ELSEWHERE
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import ICause
from cipher.background.interfaces import IFamily
from cipher.background.interfaces import IRunCreatedEvent
from cipher.background.interfaces import IRunSucceededEvent
from cipher.background.interfaces import ISchedule
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import getRegistry
from cipher.background.registry.triggers import Trigger
from cipher.background.store.cause import CHILDREN_KEPT
from cipher.background.testing import runPending
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import Document
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import declare
from cipher.background.tests.support.sites import login
from cipher.background.util import chain


class FamilyTests(SiteTests):

    def setUp(self):
        super().setUp()
        declare('<include package="zope.component" />')
        login('bob')
        declareWorker('child', lambda worker: None)
        declareWorker('parent', lambda worker: self.work(worker))
        self.document = self.site['document'] = Document('Paper')

    def work(self, worker):
        """What the parent does."""
        getRegistry().start('child')

    def on(self, *interfaces, worker='child'):
        provideHandler(Trigger(worker), interfaces)

    def carryOut(self):
        transaction.commit()
        return runPending(self.site)

    def family(self, run):
        family = self.registry.getFamily(run.id)
        verifyObject(IFamily, family)
        if family.cause is not None:
            verifyObject(ICause, family.cause)
        return family

    def only(self, type):
        status, = self.registry.listRuns(types=[type]).items
        return self.registry.get(status.id)

    def test_run_of_a_person_has_neither_cause_nor_family(self):
        run = self.registry.start('child')
        family = self.family(run)
        self.assertEqual(
            (family.cause, family.parent, family.children, family.started,
             family.retries), (None, None, [], 0, []))
        self.assertIsNone(run.parent_id)

    def test_a_run_without_cause_stores_not_a_byte_for_it(self):
        run = self.registry.start('child')
        bare = pickle.dumps(run.__getstate__())
        run.cause = run.children = None
        self.assertEqual(len(run.__getstate__()), 6)
        self.assertEqual(pickle.dumps(run.__getstate__()), bare)

    def test_run_started_within_the_work_keeps_its_parent(self):
        parent = self.registry.start('parent')
        self.carryOut()
        child = self.only('child')
        self.assertEqual(child.parent_id, parent.id)
        family = self.family(child)
        self.assertEqual(tuple(family.cause), (None, None, parent.id))
        self.assertEqual(family.parent.id, parent.id)
        family = self.family(parent)
        self.assertEqual([one.id for one in family.children], [child.id])
        self.assertEqual(family.started, 1)

    def test_thread_forgets_its_run(self):
        self.registry.start('parent')
        self.carryOut()
        self.assertIsNone(self.registry.start('child').parent_id)

    def test_parent_keeps_the_last_children_and_their_number(self):
        number = CHILDREN_KEPT + 5

        def work(worker):
            for _ in range(number):
                getRegistry().start('child')

        self.work = work
        parent = self.registry.start('parent')
        self.carryOut()
        family = self.family(parent)
        children = [one.id for one in family.children]
        self.assertEqual(len(children), CHILDREN_KEPT)
        self.assertEqual(family.started, number)
        newest = self.registry.listRuns(
            types=['child'], limit=CHILDREN_KEPT).items
        self.assertEqual(
            children, [one.id for one in reversed(newest)])
        self.assertLess(len(pickle.dumps(parent.children)), 200)

    def test_work_of_an_attempt_that_failed_has_no_children(self):
        def work(worker):
            getRegistry().start('child')
            raise ValueError('wrong')

        self.work = work
        parent = self.registry.start('parent')
        transaction.commit()
        self.assertRaises(ValueError, runPending, self.site)
        family = self.family(parent)
        self.assertEqual((family.started, family.children), (0, []))

    def test_start_in_a_transaction_of_its_own_leaves_the_parent_alone(self):
        # Two transactions that write it would conflict.
        parent = self.registry.start('parent')
        transaction.commit()
        # As a worker that opens a connection of its own for the start.
        home = self.registry, parent
        chain.setRun(0, lambda: home)
        self.addCleanup(chain.setRun, None)
        with ZodbConnection(self.db) as connection:
            with ZopeTransaction():
                child = connection.get(self.registry._p_oid).start('child')
                child_id = child.id
                self.assertEqual(child.parent_id, parent.id)
        transaction.begin()
        self.assertEqual(self.registry.get(child_id).parent_id, parent.id)
        self.assertIsNone(self.registry.get(parent.id).children)

    def test_parent_in_another_registry_is_said_to_be_elsewhere(self):
        other = self.site['other'] = self.makeOther()

        def work(worker):
            getRegistry(getSite()['other']).start('child')

        other_registry = addRegistry(other)
        self.work = work
        self.registry.start('parent')
        self.carryOut()
        child, = other_registry.listRuns(types=['child']).items
        self.assertIsNone(other_registry.get(child.id).parent_id)
        family = other_registry.getFamily(child.id)
        self.assertEqual(tuple(family.cause), (ELSEWHERE, None, None))

    def makeOther(self):
        folder = Folder()
        folder.__parent__ = self.site
        folder.setSiteManager(LocalSiteManager(folder))
        return folder

    def test_schedule_is_the_cause(self):
        provideUtility(makeSchedule('nightly', 'child', '@daily'), ISchedule,
                       'nightly')
        run = self.registry.runSchedule('nightly')
        self.assertEqual(tuple(self.family(run).cause),
                         (BY_SCHEDULE, 'nightly', None))

    def test_trigger_is_the_cause_with_the_class_of_its_event(self):
        self.on(Document, IObjectModifiedEvent)
        notify(ObjectModifiedEvent(self.document))
        self.assertEqual(tuple(self.family(self.only('child')).cause),
                         (BY_TRIGGER, 'ObjectModifiedEvent', None))

    def test_trigger_within_the_work_names_both(self):
        self.on(Document, IObjectModifiedEvent)
        self.work = lambda worker: notify(
            ObjectModifiedEvent(getSite()['document']))
        parent = self.registry.start('parent')
        self.carryOut()
        self.assertEqual(tuple(self.family(self.only('child')).cause),
                         (BY_TRIGGER, 'ObjectModifiedEvent', parent.id))

    def test_trigger_at_the_event_of_a_run_names_that_run(self):
        provideHandler(
            Trigger('child', lambda event: event.object.type == 'parent'),
            [IRunSucceededEvent])
        self.work = lambda worker: None
        parent = self.registry.start('parent')
        self.carryOut()
        child = self.only('child')
        self.assertEqual(tuple(self.family(child).cause), (
            BY_TRIGGER, 'RunSucceededEvent', parent.id))
        self.assertEqual(
            [one.id for one in self.family(parent).children], [child.id])

    def test_what_a_start_causes_has_a_cause_of_its_own(self):
        # Not that of the start: the schedule started only the first.
        declareWorker('follower', lambda worker: None)

        def follow(event):
            if event.object.type == 'child':
                event.registry.start('follower')

        provideHandler(follow, [IRunCreatedEvent])
        provideUtility(makeSchedule('nightly', 'child', '@daily'), ISchedule,
                       'nightly')
        self.registry.runSchedule('nightly')
        self.assertIsNone(self.family(self.only('follower')).cause)

    def test_failed_start_has_its_cause(self):
        provideUtility(
            makeSchedule('nightly', 'child', '@daily', input=lambda: 1 / 0),
            ISchedule, 'nightly')
        self.assertIsNone(self.registry.runSchedule('nightly'))
        self.assertEqual(tuple(self.family(self.only('child')).cause),
                         (BY_SCHEDULE, 'nightly', None))

    def test_chain_of_retries_is_seen_from_each_of_its_runs(self):
        run = self.registry.start('child')
        chain = [run.id]
        for _ in range(3):
            self.registry.finish(run, 'failed', RunFailedEvent)
            run = self.registry.retry(run.id)
            chain.append(run.id)
        for run_id in chain:
            family = self.registry.getFamily(run_id)
            self.assertEqual([one.id for one in family.retries], chain)

    def test_removed_relatives_are_left_out(self):
        parent = self.registry.start('parent')
        self.carryOut()
        child = self.only('child')
        self.registry.remove(parent.id)
        family = self.family(child)
        self.assertEqual(tuple(family.cause), (None, None, None))
        self.assertIsNone(family.parent)

    def test_spoiled_facts_count_as_unknown(self):
        run = self.registry.start('child')
        for value in (1, 'x', (1,), ('a', 'b'), (1, 2, 3), [None, None],
                      (None, None, 'nonsense', 5), (10 ** 30, -1)):
            with self.subTest(value=value):
                run.cause = run.children = run.retry_of = run.retried = value
                family = self.registry.getFamily(run.id)
                self.assertEqual(family.children, [])
                self.assertIsNone(family.parent)

    def test_hidden_relatives_are_left_out(self):
        parent = self.registry.start('parent')
        self.carryOut()
        child = self.only('child')
        declareWorker('parent', lambda worker: None,
                      view_permission='app.Secret')
        self.assertIsNone(self.family(child).parent)
        self.assertEqual(tuple(self.family(child).cause), (None,) * 3)
        self.assertEqual(parent.state, SUCCEEDED)
