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
"""The demo's documents and workers, without a server."""
import logging
import unittest
from contextlib import closing

import transaction
from ZODB.DB import DB
from zope.component import getGlobalSiteManager
from zope.component.hooks import setHooks
from zope.component.hooks import setSite
from zope.container.interfaces import IContainer
from zope.interface.verify import verifyObject

from cipher.background.demo import workers
from cipher.background.demo.documents import Document
from cipher.background.demo.documents import Documents
from cipher.background.demo.indexing import TextIndex
from cipher.background.demo.interfaces import DRAFT
from cipher.background.demo.interfaces import PUBLISHED
from cipher.background.demo.interfaces import IDocument
from cipher.background.demo.interfaces import IDocuments
from cipher.background.demo.interfaces import ITextIndex
from cipher.background.interfaces import StopRequested


class FakeWorker:
    """Notes what it is told; is asked to stop after so many looks."""

    log = logging.getLogger('cipher.background.tests')

    def __init__(self, context=None, stop_after=None):
        self.context = context
        self.stop_after = stop_after
        self.progress = []
        self.waits = []

    def wait(self, seconds):
        self.waits.append(seconds)
        return self.stop_requested

    @property
    def stop_requested(self):
        return (self.stop_after is not None
                and len(self.waits) >= self.stop_after)

    def checkStop(self):
        if self.stop_requested:
            raise StopRequested

    def setProgress(self, done, total=None, message=None):
        self.progress.append((done, total, message))


class Site:
    """As much of a site as the workers need."""

    def __init__(self):
        self.documents = Documents()

    def getSiteManager(self):
        return getGlobalSiteManager()

    def __getitem__(self, name):
        return {'documents': self.documents}[name]


class DocumentTests(unittest.TestCase):

    def test_interfaces(self):
        verifyObject(ITextIndex, Documents().index)
        verifyObject(IDocument, Document('Title'))
        verifyObject(IDocuments, Documents())
        verifyObject(IContainer, Documents())

    def test_a_new_document_is_a_draft(self):
        document = Document('Title', 'text')
        self.assertEqual(DRAFT, document.wf_state)
        self.assertEqual('', document.html)

    def test_a_change_makes_a_draft_and_leaves_the_rendering(self):
        document = Document('Title', 'text')
        document.publish('<p>text</p>')
        self.assertEqual(PUBLISHED, document.wf_state)
        self.assertTrue(document.update('Title', 'new'))
        self.assertEqual((DRAFT, '<p>text</p>'),
                         (document.wf_state, document.html))

    def test_no_change_changes_nothing(self):
        document = Document('Title', 'text')
        document.publish('<p>text</p>')
        self.assertFalse(document.update('Title', 'text'))
        self.assertEqual(PUBLISHED, document.wf_state)

    def test_dropStale_drops_what_a_draft_has(self):
        document = Document('Title', 'text')
        self.assertFalse(document.dropStale())
        document.publish('<p>text</p>')
        self.assertFalse(document.dropStale())
        document.update('Title', 'new')
        self.assertTrue(document.dropStale())
        self.assertEqual('', document.html)


class TextIndexTests(unittest.TestCase):

    def test_words_are_found_by_their_beginnings(self):
        index = TextIndex()
        self.assertEqual(3, index.add('a', 'Žalia GIRIA, straße žalia'))
        for text in ('žalia', 'ŽAL', 'giria.', 'STRASSE', 'str gir'):
            self.assertEqual(['a'], index.search(text), text)
        for text in ('', '?!', 'alia', 'giria x', 'girias'):
            self.assertEqual([], index.search(text), text)

    def test_what_does_not_change_writes_nothing(self):
        with closing(DB(None)) as db, closing(db.open()) as connection:
            index = connection.root()['index'] = TextIndex()
            index.add('a', 'one two')
            transaction.commit()
            index.add('a', 'two one')
            index.remove('nosuch')
            index.search('one')
            self.assertEqual([], connection._registered_objects)
            index.add('a', 'one three')
            self.assertNotEqual([], connection._registered_objects)
            self.assertEqual([], index.search('two'))
            transaction.abort()

    def test_removed_and_added_again(self):
        index = TextIndex()
        index.add('a', 'one')
        index.add('b', 'one')
        index.remove('a')
        self.assertEqual(['b'], index.search('one'))
        index.remove('b')
        self.assertEqual([], index.search('one'))
        index.add('a', 'one')
        self.assertEqual(['a'], index.search('one'))

    def test_a_long_word_is_found_by_all_of_it(self):
        index = TextIndex()
        index.add('a', 'x' * 1000)
        self.assertEqual(['a'], index.search('x' * 1000))


class PublishTests(unittest.TestCase):

    text = 'One\n===\n\ntext\n\nTwo\n===\n'

    def test_publish(self):
        worker = FakeWorker(Document('Title', self.text))
        self.assertEqual('published', workers.publish(worker, pause=0.1))
        self.assertEqual(PUBLISHED, worker.context.wf_state)
        self.assertIn('<p>text</p>', worker.context.html)
        self.assertEqual([(1, 2, 'Rendered "One"'), (2, 2, 'Rendered "Two"')],
                         worker.progress)
        self.assertEqual([0.1, 0.1], worker.waits)

    def test_publish_stops_between_sections(self):
        worker = FakeWorker(Document('Title', self.text), stop_after=1)
        with self.assertRaises(StopRequested):
            workers.publish(worker)
        self.assertEqual(1, len(worker.progress))
        self.assertEqual(DRAFT, worker.context.wf_state)

    def test_what_is_wrong_with_the_text_is_logged(self):
        worker = FakeWorker(Document('Title', ':nosuch:`x`'))
        with self.assertLogs(worker.log, 'WARNING') as logs:
            workers.publish(worker)
        self.assertIn('nosuch', logs.output[0])


class OtherWorkerTests(unittest.TestCase):

    def test_flaky_never_fails_at_chance_0(self):
        for _n in range(20):
            self.assertEqual('The sky is clear',
                             workers.flaky(FakeWorker(), chance=0.0))

    def test_flaky_always_fails_at_chance_1(self):
        for _n in range(20):
            with self.assertRaises(ValueError):
                workers.flaky(FakeWorker(), chance=1.0)

    def run_stubborn(self, worker, seconds):
        now = [0.0]

        def sleep(delay):
            now[0] += max(delay, 0.01)

        def clock():
            now[0] += 0.01
            return now[0]

        wait = worker.wait

        def wait_and_tick(delay):
            now[0] += delay
            return wait(delay)

        worker.wait = wait_and_tick
        try:
            return workers.stubborn(worker, seconds, clock, sleep)
        finally:
            self.took = now[0]

    def test_stubborn_obeys_in_the_end(self):
        worker = FakeWorker(stop_after=4)
        with self.assertRaises(StopRequested):
            self.run_stubborn(worker, 10.0)
        self.assertGreater(self.took, 12.0)
        self.assertLess(self.took, 14.0)
        self.assertIn('Asked to stop', worker.progress[-1][2])

    def test_stubborn_ends_when_nobody_asks(self):
        self.assertEqual('nobody asked me to stop',
                         self.run_stubborn(FakeWorker(), 10.0))

    def test_housekeeping_writes_only_when_there_is_something(self):
        site = Site()
        site.documents['a'] = Document('A')
        site.documents['b'] = Document('B')
        site.documents['b'].publish('<p>x</p>')
        site.documents['b'].update('B', 'new')
        worker = workers.Housekeeping(None, None, 'site', 'user',
                                      interval=0.01)
        told = []
        worker.setProgress = lambda *args: told.append(args)
        setHooks()
        self.addCleanup(setSite)
        setSite(site)
        worker.doWork()
        self.assertEqual('', site.documents['b'].html)
        self.assertEqual([(2, None, '2 DRAFT, 0 PUBLISHED')], told)

    def test_housekeeping_goes_on_until_it_is_stopped(self):
        worker = workers.Housekeeping(None, None, 'site', 'user',
                                      interval=0.01)
        self.assertTrue(worker.scheduleNextWork())
        self.assertTrue(worker.scheduleNextWork())
        worker.requestStop()
        self.assertFalse(worker.scheduleNextWork())
