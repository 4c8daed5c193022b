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
"""The demo's workers, carried out through a registry: what starts them."""
import unittest
from datetime import datetime
from datetime import timezone

import transaction
from zope.component import getUtility
from zope.event import notify
from zope.lifecycleevent import ObjectModifiedEvent

import cipher.background.demo
from cipher.background.demo.bootstrap import prepareSite
from cipher.background.demo.documents import NEWS_LIMIT
from cipher.background.demo.documents import Document
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import Cancel
from cipher.background.interfaces import ISchedule
from cipher.background.testing import BackgroundLayer
from cipher.background.testing import SetClock
from cipher.background.testing import runPending


#: Ten o'clock in the morning, in UTC.
NOW = datetime(2026, 6, 1, 10, tzinfo=timezone.utc).timestamp()

LAYER = BackgroundLayer(
    cipher.background.demo, 'application.zcml', 'DemoWorkLayer')


class DemoWorkTestCase(unittest.TestCase):
    """A site with documents; its work is carried out on demand."""

    layer = LAYER

    def setUp(self):
        self.clock = SetClock(NOW)
        self.clock.__enter__()
        self.addCleanup(self.clock.__exit__)
        self.site = self.layer.site
        self.registry = self.layer.registry
        prepareSite(self.site)
        transaction.commit()
        self.documents = self.site['documents']

    def add(self, name, body='text', title='Title'):
        self.documents[name] = Document(title, body)
        transaction.commit()
        return self.documents[name]

    def save(self, document, body):
        """Save it, as the page that edits it does."""
        document.update(document.title, body)
        notify(ObjectModifiedEvent(document))
        transaction.commit()

    def runPending(self, later=0.0):
        """Carry out what is due *later*; return the types, in order."""
        self.clock.advance(later)
        return [run.type for run in runPending(self.site)]

    def listRuns(self, type):
        return self.registry.listRuns(types=(type,)).items


class IndexTests(DemoWorkTestCase):

    def test_a_new_document_is_found_a_second_later(self):
        self.add('doc', 'Quick brown foxes')
        self.assertEqual([], self.runPending())
        self.assertEqual([], self.documents.search('fox'))
        self.assertEqual(['reindex'], self.runPending(later=1))
        self.assertEqual(['doc'], self.documents.search('FOX brown'))
        self.assertEqual(['doc'], self.documents.search('title'))

    def test_saved_five_times_in_a_second_it_is_indexed_once(self):
        document = self.add('doc')
        self.runPending(later=1)
        for n in range(5):
            self.save(document, 'version%d' % n)
            self.runPending(later=0.1)
        self.assertEqual(['reindex'], self.runPending(later=1))
        self.assertEqual(['doc'], self.documents.search('version4'))
        for words in ('version3', 'text'):
            self.assertEqual([], self.documents.search(words))

    def test_two_documents_are_indexed_each(self):
        self.add('a', 'same words')
        self.add('b', 'same other')
        self.assertEqual(['reindex'] * 2, self.runPending(later=1))
        self.assertEqual(['a', 'b'], self.documents.search('same'))
        self.assertEqual(['b'], self.documents.search('same other'))

    def test_what_is_removed_is_not_found_and_leaves_the_index(self):
        self.add('doc', 'text')
        self.runPending(later=1)
        del self.documents['doc']
        transaction.commit()
        self.assertEqual([], self.documents.search('text'))
        self.assertEqual(['doc'], self.documents.index.search('text'))
        self.assertEqual(['unindex'], self.runPending())
        self.assertEqual([], self.documents.index.search('text'))

    def test_one_that_took_the_name_of_a_removed_one_is_found(self):
        self.add('doc', 'old')
        self.runPending(later=1)
        del self.documents['doc']
        self.add('doc', 'new')
        self.assertEqual(['unindex', 'reindex'],
                         self.runPending() + self.runPending(later=1))
        self.assertEqual(['doc'], self.documents.search('new'))
        self.assertEqual([], self.documents.search('old'))

    def test_a_folder_of_a_time_without_an_index_gets_one(self):
        for name in ('a', 'b', 'c'):
            self.add(name, 'text')
        self.runPending(later=1)
        self.documents.index = None
        prepareSite(self.site)
        prepareSite(self.site)
        transaction.commit()
        self.assertEqual(['reindex-all'], self.runPending())
        self.assertEqual(['a', 'b', 'c'], self.documents.search('text'))
        self.assertEqual('3 documents', self.listRuns(
            'reindex-all')[0].result)


class ChainTests(DemoWorkTestCase):

    def test_what_is_published_is_news(self):
        document = self.add('doc')
        self.runPending(later=1)
        self.registry.start('publish', document, pause=0.0)
        transaction.commit()
        self.assertEqual((), self.documents.news)
        self.assertEqual(['publish', 'notify'], self.runPending())
        self.assertEqual(((self.clock.now, 'doc', 'Title'),),
                         self.documents.news)

    def test_what_is_not_published_is_no_news(self):
        self.registry.start('flaky', chance=0.0)
        transaction.commit()
        self.assertEqual(['flaky'], self.runPending())
        self.registry.start('publish', pause=0.0)
        transaction.commit()
        with self.assertRaises(Cancel):
            runPending(self.site)
        self.assertEqual([], self.listRuns('notify'))

    def test_old_news_are_forgotten(self):
        for n in range(NEWS_LIMIT + 2):
            self.documents.addNews(Document('Title %d' % n))
        self.assertEqual(
            ['Title %d' % n for n in range(NEWS_LIMIT + 1, 1, -1)],
            [title for _at, _name, title in self.documents.news])

    def test_about_nothing_there_is_nothing_to_do(self):
        for type in ('publish', 'notify', 'reindex'):
            for context, words in ((None, 'nothing'),
                                   (self.documents, 'a Documents')):
                self.registry.start(type, context)
                transaction.commit()
                with self.assertRaisesRegex(
                        Cancel, '%s: expected .* got one about %s;'
                        % (type, words)):
                    runPending(self.site)
                self.assertEqual(FAILED, self.listRuns(type)[0].state)


class ReportTests(DemoWorkTestCase):

    def report(self):
        self.registry.runSchedule('nightly-report')
        transaction.commit()
        self.assertEqual(['nightly-report'], self.runPending())
        return self.documents.report

    def test_it_is_made_at_night_in_vilnius(self):
        tick = getUtility(ISchedule, 'nightly-report').nextTick(NOW)
        self.assertEqual(datetime(2026, 6, 2, 0, tzinfo=timezone.utc),
                         datetime.fromtimestamp(tick, timezone.utc))

    def test_it_tells_what_was_published_since_the_last(self):
        for name in ('a', 'b', 'c'):
            self.add(name)
        self.documents['a'].publish('')
        self.clock.advance(60)
        self.documents['b'].publish('')
        transaction.commit()
        self.runPending(later=1)
        first = self.report()
        self.assertEqual(({'DRAFT': 1, 'PUBLISHED': 2}, ['b', 'a'], 0.0), (
            first['counts'], first['names'], first['since']))
        self.clock.advance(60)
        self.documents['b'].update('Title', 'new')
        self.documents['c'].publish('')
        transaction.commit()
        second = self.report()
        self.assertEqual(
            ({'DRAFT': 1, 'PUBLISHED': 2}, ['c'], first['made_at']),
            (second['counts'], second['names'], second['since']))


class FlakyTests(DemoWorkTestCase):

    def test_it_is_tried_three_times(self):
        run = self.registry.start('flaky', chance=1.0)
        transaction.commit()
        for attempt in (1, 2):
            self.runPending()
            self.assertEqual((PENDING, attempt), (run.state, run.attempts))
            self.assertLessEqual(run.due_at, self.clock.now + 2 * attempt)
            self.clock.now = run.due_at
        with self.assertRaises(ValueError):
            runPending(self.site)
        self.assertEqual((FAILED, 3), (run.state, run.attempts))
        self.assertEqual(3, len(self.registry.getDetails(run.id).history))

    def test_it_may_recover(self):
        run = self.registry.start('flaky', chance=0.0)
        transaction.commit()
        self.assertEqual(['flaky'], self.runPending())
        self.assertEqual((SUCCEEDED, 1), (run.state, run.attempts))
