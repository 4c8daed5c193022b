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
"""The demo's documents, texts and workers, without a server."""
import logging
import os
import tempfile
import unittest
from pathlib import Path

from zope.component import getGlobalSiteManager
from zope.component.hooks import setHooks
from zope.component.hooks import setSite
from zope.component.testing import PlacelessSetup
from zope.container.interfaces import IContainer
from zope.interface.verify import verifyObject

from cipher.background.demo import settings
from cipher.background.demo import workers
from cipher.background.demo.documents import Document
from cipher.background.demo.documents import Documents
from cipher.background.demo.importing import ImportRefused
from cipher.background.demo.importing import find_texts
from cipher.background.demo.importing import title_of
from cipher.background.demo.interfaces import DRAFT
from cipher.background.demo.interfaces import PUBLISHED
from cipher.background.demo.interfaces import IDocument
from cipher.background.demo.interfaces import IDocuments
from cipher.background.demo.interfaces import IImportInput
from cipher.background.demo.rendering import is_safe_link
from cipher.background.demo.rendering import render
from cipher.background.demo.rendering import sanitize
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


class RenderingTests(unittest.TestCase):

    def test_sections_are_told_one_by_one(self):
        told = []
        render('One\n===\n\nTwo\n===\n\nThree\n=====\n',
               lambda *args: told.append(args))
        self.assertEqual(
            [(1, 3, 'One'), (2, 3, 'Two'), (3, 3, 'Three')], told)

    def test_what_tick_raises_ends_it(self):
        def stop(done, total, title):
            raise StopRequested
        with self.assertRaises(StopRequested):
            render('One\n===\n\nTwo\n===\n', stop)

    def test_markup(self):
        html = render('*a* **b** ``c``\n\n- `d <http://e.org/?f=1&g>`_')
        self.assertIn('<em>a</em> <strong>b</strong>', html)
        self.assertIn('href="http://e.org/?f=1&amp;g"', html)
        self.assertIn('<li>', html)

    def test_what_is_wrong_is_told_and_not_shown(self):
        told = []
        html = render('A :nosuch:`role`.\n\n.. nosuch::\n', warn=told.append)
        self.assertEqual(2, len(told), told)
        self.assertIn('line 1', told[0])
        self.assertIn(':nosuch:`role`', html)
        self.assertNotIn('Unknown', html)

    def test_no_file_is_read(self):
        with tempfile.TemporaryDirectory() as folder:
            secret = Path(folder, 'secret.txt')
            secret.write_text('the secret')
            Path(folder, 'secret.svg').write_text('<svg>the secret</svg>')
            for text in ('.. include:: %s', '.. literalinclude:: %s',
                         '.. csv-table::\n   :file: %s',
                         '.. raw:: html\n   :file: %s'):
                self.assertNotIn('the secret', render(text % secret))
            html = render('.. image:: %s/secret.svg\n   :loading: embed\n'
                          % folder)
            self.assertNotIn('the secret', html)

    def test_nothing_is_run(self):
        for text in (
                '.. raw:: html\n\n   <script>alert(1)</script>',
                '`x <javascript:alert(1)>`_',
                '`x <JaVaScRiPt:alert(1)>`_',
                '.. image:: x\n   :target: javascript:alert(1)',
                '.. image:: javascript:alert(1)',
                '.. _x: javascript:alert(1)\n\nx_',
                '.. role:: raw-html(raw)\n   :format: html\n\n'
                ':raw-html:`<svg onload=alert(1)>`',
                '.. class:: cb-bar\n\nx',
                '<svg onload=alert(1)>'):
            html = render(text)
            self.assertNotIn('<script', html)
            self.assertNotIn('<svg', html)
            self.assertNotIn('href="javascript', html.lower())
            self.assertNotIn('cb-bar', html)

    def test_sanitize_keeps_the_page_whole(self):
        for html, expected in (
                ('</div></main><p>x', '<p>x</p>'),
                ('<div><p>x</div>y', '<div><p>x</p></div>y'),
                ('<p onclick="x" class="y line">z</p>',
                 '<p class="line">z</p>'),
                ('<p id="cb-content">x</p>', '<p>x</p>'),
                ('<style>x</style>y', 'y'),
                ('<form><input value=1>x</form>', 'x'),
                ('<a href="//evil&quot;>">x</a>',
                 '<a href="//evil&quot;&gt;">x</a>'),
                ('&lt;script&gt;', '&lt;script&gt;'),
                ('<script>x', '')):
            self.assertEqual(expected, sanitize(html), html)

    def test_is_safe_link(self):
        for url in ('http://a', 'https://a/b:c', 'mailto:a@b', '#x', 'a/b:c',
                    '/a', 'a.html'):
            self.assertTrue(is_safe_link(url), url)
        for url in ('', None, 'javascript:x', 'JAVASCRIPT:x', 'data:x',
                    'java\tscript:x', ' javascript:x', '\x01javascript:x',
                    'vbscript:x', '\\\\host', 'a:b', 'http://[', 'file:///x'):
            self.assertFalse(is_safe_link(url), url)


class ImportingTests(PlacelessSetup, unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.outer = tempfile.TemporaryDirectory()
        self.addCleanup(self.outer.cleanup)
        self.base = Path(self.outer.name, 'base').resolve()
        self.base.mkdir()
        Path(self.outer.name, 'secret.txt').write_text('secret')
        getGlobalSiteManager().registerUtility(
            settings.ImportSettings(self.base), settings.IImportSettings)

    def write(self, name, text='text'):
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def names(self, folder='.'):
        return [path.name for path in find_texts(folder)]

    def test_only_texts_sorted_by_name(self):
        for name in ('b.rst', 'a.txt', 'c.py', '.d.rst', '+e.rst', '@f.rst',
                     'sub/g.rst', 'h\n.rst'):
            self.write(name)
        (self.base / 'folder.rst').mkdir()
        self.assertEqual(['a.txt', 'b.rst'], self.names())
        self.assertEqual(['g.rst'], self.names('sub'))
        self.assertEqual(['g.rst'], self.names('sub/../sub/'))

    def test_nothing_outside_the_base(self):
        self.write('a.rst')
        self.write('.hidden/a.rst')
        os.symlink(self.outer.name, self.base / 'link')
        os.symlink('loop', self.base / 'loop')
        for folder in ('..', '/', '/etc', self.outer.name, 'link',
                       '../base/..', '.hidden', 'nosuch', 'a.rst', 'a\0b',
                       'loop', 'x' * 5000, '~', ''.join(['../'] * 50)):
            with self.assertRaises(ImportRefused, msg=folder):
                find_texts(folder)

    def test_no_link_to_the_outside(self):
        self.write('a.rst')
        os.symlink(Path(self.outer.name, 'secret.txt'),
                   self.base / 'b.txt')
        self.assertEqual(['a.rst'], self.names())

    def test_a_folder_without_texts_is_refused(self):
        with self.assertRaisesRegex(ImportRefused, 'got none'):
            find_texts('.')

    def test_too_long_a_text_is_refused(self):
        self.write('a.rst', 'x' * 500001)
        with self.assertRaisesRegex(ImportRefused, 'at most 500000'):
            self.run_import()

    def test_title_of(self):
        for text, title in (
                ('Title\n=====\n', 'Title'),
                ('======\n Title\n======\n', 'Title'),
                ('x\n\nTitle\n-----', 'Title'),
                ('Title\n---\n', None), ('', None), ('x', None),
                ('=====\n=====', None), ('a\nb\nc', None)):
            self.assertEqual(title, title_of(text), text)

    def test_default_folder(self):
        self.assertEqual('.', IImportInput['folder'].default)
        self.write('docs/a.rst')
        self.assertEqual('docs', IImportInput['folder'].default)

    def test_default_base(self):
        base = settings.default_base()
        self.assertTrue((base / 'setup.py').exists()
                        or base == settings.SAMPLES)
        self.assertTrue(settings.has_texts(settings.SAMPLES))

    # The worker

    def run_import(self, worker=None, site=None, **input):
        setHooks()
        self.addCleanup(setSite)
        site = site or Site()
        setSite(site)
        worker = worker or FakeWorker()
        result = workers.import_texts(worker, **input)
        return result, site.documents, worker

    def test_import_makes_documents_one_by_one(self):
        self.write('a.rst', 'One\n===\n\ntext')
        self.write('b.txt', 'no title')
        result, documents, worker = self.run_import(pause=0.5)
        self.assertEqual('2 added', result)
        self.assertEqual(
            [('a.rst', 'One', 'One\n===\n\ntext'),
             ('b.txt', 'b.txt', 'no title')],
            [(name, document.title, document.body)
             for name, document in documents.items()])
        self.assertEqual(
            [(0, 2, None), (1, 2, 'a.rst'), (2, 2, 'b.txt')],
            worker.progress)
        self.assertEqual([0.5, 0.5], worker.waits)

    def test_import_again_updates(self):
        self.write('a.rst', 'One')
        self.write('b.rst', 'Two')
        site = Site()
        self.run_import(site=site)
        site.documents['a.rst'].publish('')
        site.documents['b.rst'].publish('')
        self.write('b.rst', 'Three')
        result, documents, _worker = self.run_import(site=site)
        self.assertEqual('1 changed, 1 unchanged', result)
        self.assertEqual(2, len(documents))
        self.assertEqual((PUBLISHED, DRAFT), tuple(
            document.wf_state for document in documents.values()))

    def test_import_stops(self):
        self.write('a.rst')
        self.write('b.rst')
        with self.assertRaises(StopRequested):
            self.run_import(FakeWorker(stop_after=1))


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
        self.assertEqual([(2, 2, '2 DRAFT, 0 PUBLISHED')], told)

    def test_housekeeping_goes_on_until_it_is_stopped(self):
        worker = workers.Housekeeping(None, None, 'site', 'user',
                                      interval=0.01)
        self.assertTrue(worker.scheduleNextWork())
        self.assertTrue(worker.scheduleNextWork())
        worker.requestStop()
        self.assertFalse(worker.scheduleNextWork())
