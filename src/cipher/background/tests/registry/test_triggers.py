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
"""Triggers: what happens starts a worker, in the transaction of the event."""
import logging

import transaction
from persistent import Persistent
from zope.component import handle
from zope.component import provideAdapter
from zope.component import provideHandler
from zope.component import provideUtility
from zope.component.hooks import site as siteOf
from zope.container.contained import Contained
from zope.container.contained import ContainerSublocations
from zope.container.contained import dispatchToSublocations
from zope.container.interfaces import IContainer
from zope.event import notify
from zope.interface import Attribute
from zope.interface import Interface
from zope.interface import implementer
from zope.lifecycleevent import ObjectModifiedEvent
from zope.lifecycleevent import ObjectRemovedEvent
from zope.lifecycleevent.interfaces import IObjectAddedEvent
from zope.lifecycleevent.interfaces import IObjectModifiedEvent
from zope.lifecycleevent.interfaces import IObjectMovedEvent
from zope.lifecycleevent.interfaces import IObjectRemovedEvent
from zope.location.interfaces import ISublocations
from zope.schema import TextLine
from zope.security.management import endInteraction
from zope.security.proxy import ProxyFactory
from zope.security.proxy import removeSecurityProxy
from zope.site.folder import rootFolder
from zope.site.site import LocalSiteManager

from cipher.background.declarations.workertype import WorkerType
from cipher.background.interfaces import IWorkerType
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.triggers import Trigger
from cipher.background.testing import runPending
from cipher.background.testing import setUpLogging
from cipher.background.testing import tearDownLogging
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import Document
from cipher.background.tests.support.sites import Folder
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import declare
from cipher.background.tests.support.sites import login


class IDocument(Interface):
    """What most triggers are for."""


@implementer(IDocument)
class Paper(Document):
    """A document that says what it is."""


class ITitle(Interface):
    """Input of a worker."""

    title = TextLine(title="Title")


class IPublishedEvent(Interface):
    """An event of the application, not about an object."""

    paper = Attribute("What was published")


@implementer(IPublishedEvent)
class PublishedEvent:

    def __init__(self, paper):
        self.paper = paper


class TriggerTests(SiteTests):

    def setUp(self):
        super().setUp()
        # It brings the events of objects to who subscribes to both.
        declare('<include package="zope.component" />')
        self.logged = setUpLogging(logging.getLogger('cipher.background'))
        self.addCleanup(
            tearDownLogging, logging.getLogger('cipher.background'))
        declareWorker('work', lambda worker: None)

    def on(self, *interfaces, worker='work', **options):
        provideHandler(Trigger(worker, **options), interfaces)

    def runs(self, state='pending'):
        """Return the runs in that state, the oldest first."""
        statuses = self.registry.listRuns(states=[state], limit=1000).items
        return [self.registry.get(status.id) for status in statuses][::-1]

    def lines(self, text):
        return [line for line in self.logged.getvalue().splitlines()
                if text in line]

    def addPaper(self, name='paper', container=None):
        container = self.site if container is None else container
        container[name] = Paper(name)
        return container[name]


class EventTests(TriggerTests):
    """Events of objects in containers, and of applications."""

    def test_object_that_is_added(self):
        self.on(IDocument, IObjectAddedEvent)
        paper = self.addPaper()
        transaction.commit()
        run, = self.runs()
        self.assertIs(run.context, paper)
        self.assertEqual(run.depth, 0)

    def test_object_that_is_modified(self):
        self.on(IDocument, IObjectModifiedEvent)
        paper = self.addPaper()
        self.assertEqual(self.runs(), [])
        notify(ObjectModifiedEvent(paper))
        self.assertEqual([run.context for run in self.runs()], [paper])

    def test_object_that_is_moved(self):
        self.site['folder'] = folder = Folder()
        paper = self.addPaper()
        transaction.commit()
        self.on(IDocument, IObjectMovedEvent,
                condition=lambda paper, event: event.oldName == 'paper')
        folder['other'] = paper
        transaction.commit()
        run, = self.runs()
        self.assertIs(run.context, paper)

    def test_object_that_is_removed_is_told_by_its_container(self):
        self.site['folder'] = folder = Folder()
        self.addPaper(container=folder)
        transaction.commit()
        self.on(IDocument, IObjectRemovedEvent)
        del folder['paper']
        transaction.commit()
        run, = self.runs()
        self.assertIs(run.context, folder)
        run, = runPending(self.site)
        self.assertEqual(run.state, 'succeeded')

    def test_removal_tells_its_input_what_was_removed(self):
        def titles(paper, event):
            return {'title': paper.title}

        declareWorker('forget', lambda worker, title: title, schema=ITitle)
        self.on(IDocument, IObjectRemovedEvent, worker='forget',
                input=titles)
        self.addPaper('gone soon')
        del self.site['gone soon']
        transaction.commit()
        run, = runPending(self.site)
        self.assertEqual(run.result, 'gone soon')

    def test_object_that_is_removed_with_its_container(self):
        # The context must not be what goes with the container.
        self.site['folder'] = folder = Folder()
        self.addPaper(container=folder)
        transaction.commit()
        provideAdapter(ContainerSublocations, [IContainer], ISublocations)
        provideHandler(dispatchToSublocations, [None, IObjectMovedEvent])
        self.on(IDocument, IObjectRemovedEvent)
        del self.site['folder']
        transaction.commit()
        run, = self.runs()
        self.assertIs(run.context, self.site)

    def test_removed_object_in_a_proxy(self):
        self.site['folder'] = folder = Folder()
        paper = self.addPaper(container=folder)
        self.on(IDocument, IObjectRemovedEvent)
        notify(ObjectRemovedEvent(
            ProxyFactory(paper), ProxyFactory(folder), 'paper'))
        transaction.commit()
        run, = self.runs()
        self.assertIs(run.context, folder)

    def test_object_and_event_in_proxies(self):
        paper = self.addPaper()
        trigger = Trigger('work')
        event = ObjectModifiedEvent(ProxyFactory(paper))
        trigger(ProxyFactory(paper), event)
        trigger(ProxyFactory(event))
        self.assertEqual([run.context is paper for run in self.runs()],
                         [True, True])

    def test_event_of_the_application_with_an_object_named_otherwise(self):
        # Nothing tells what it is about: the run is of the current site.
        self.on(IPublishedEvent)
        paper = self.addPaper()
        notify(PublishedEvent(paper))
        self.assertEqual(self.runs(), [])
        with siteOf(self.site):
            notify(PublishedEvent(paper))
        run, = self.runs()
        self.assertIsNone(run.context)

    def test_event_of_the_application_for_two(self):
        self.on(IDocument, IPublishedEvent)
        paper = self.addPaper()
        handle(paper, PublishedEvent(paper))
        self.assertEqual([run.context for run in self.runs()], [paper])

    def test_class_in_for(self):
        self.on(Paper, IObjectAddedEvent)
        self.addPaper()
        self.addDocument()
        self.assertEqual(len(self.runs()), 1)

    def test_one_event_interface_stands_for_every_object(self):
        self.on(IObjectAddedEvent)
        self.addPaper()
        self.addDocument()
        self.assertEqual(len(self.runs()), 2)


class TransactionTests(TriggerTests):

    def test_run_comes_with_the_transaction_of_the_event(self):
        self.on(IDocument, IObjectAddedEvent)
        self.addPaper()
        transaction.abort()
        self.assertEqual(self.runs(), [])
        self.addPaper()
        transaction.commit()
        self.assertEqual(len(self.runs()), 1)

    def test_run_goes_with_the_savepoint_of_the_event(self):
        self.on(IDocument, IObjectAddedEvent)
        savepoint = transaction.savepoint()
        self.addPaper()
        savepoint.rollback()
        transaction.commit()
        self.assertEqual(self.runs(), [])

    def test_starter_is_the_principal_of_the_interaction(self):
        self.on(IDocument, IObjectAddedEvent)
        login('ann')
        self.addPaper()
        endInteraction()
        self.addPaper('other')
        self.assertEqual([run.starter for run in self.runs()],
                         ['ann', None])

    def test_registry_is_the_nearest_above_the_object(self):
        self.site['inner'] = inner = Folder()
        self.site['site'] = site = rootFolder()
        site.setSiteManager(LocalSiteManager(site))
        nearer = addRegistry(site)
        transaction.commit()
        self.on(IDocument, IObjectAddedEvent)
        self.addPaper(container=site)
        self.assertEqual(self.runs(), [])
        self.assertEqual(len(nearer.listRuns().items), 1)
        self.addPaper(container=inner)
        self.assertEqual(len(self.runs()), 1)

    def test_no_registry_above_starts_nothing_and_says_so_once(self):
        self.connection.root()['elsewhere'] = folder = Folder()
        transaction.commit()
        self.on(IDocument, IObjectAddedEvent)
        self.addPaper(container=folder)
        transaction.commit()
        self.assertEqual(self.runs(), [])
        self.assertEqual(self.logged.getvalue(), (
            "trigger of 'work': no registry above 'Paper', nothing is "
            'started\n'))
        self.assertIn('paper', folder)

    def test_options_take_the_place_of_what_the_type_says(self):
        declareWorker('work', lambda worker: None, priority=3,
                      unique='context')
        self.on(IDocument, IObjectModifiedEvent, delay=60.0, priority=-5,
                unique='no')
        paper = self.addPaper()
        notify(ObjectModifiedEvent(paper))
        notify(ObjectModifiedEvent(paper))
        first, second = self.runs()
        self.assertEqual((first.priority, second.priority), (-5, -5))
        self.assertAlmostEqual(first.due_at - first.created_at, 60, delta=1)

    def test_options_left_out_are_those_of_the_type(self):
        declareWorker('work', lambda worker: None, priority=3,
                      unique='context')
        self.on(IDocument, IObjectModifiedEvent)
        paper = self.addPaper()
        notify(ObjectModifiedEvent(paper))
        notify(ObjectModifiedEvent(paper))
        run, = self.runs()
        self.assertEqual((run.priority, run.due_at), (3, None))

    def test_unique_by_context(self):
        self.on(IDocument, IObjectModifiedEvent, unique='context')
        one, other = self.addPaper('one'), self.addPaper('other')
        for paper in one, other, one, other:
            notify(ObjectModifiedEvent(paper))
        self.assertEqual([run.context for run in self.runs()], [one, other])


class Gone(Contained, Persistent):
    """Without a place."""


class RemoveProxyTests(TriggerTests):

    def test_input_gets_what_the_handler_gets(self):
        given = []
        self.on(IDocument, IObjectModifiedEvent,
                input=lambda *objects: given.extend(objects))
        paper = self.addPaper()
        event = ObjectModifiedEvent(paper)
        notify(event)
        self.assertEqual(given, [paper, event])
        self.assertIs(removeSecurityProxy(given[0]), given[0])

    def test_object_without_a_place_starts_nothing(self):
        provideUtility(WorkerType('work'), IWorkerType, 'work')
        Trigger('work')(Gone(), ObjectModifiedEvent(Gone()))
        self.assertEqual(self.runs(), [])
