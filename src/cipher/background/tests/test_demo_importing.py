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
"""The demo's import: which files it reads, and what it makes of them."""
import os
import tempfile
import unittest
from pathlib import Path

from zope.component import getGlobalSiteManager
from zope.component.hooks import setHooks
from zope.component.hooks import setSite
from zope.component.testing import PlacelessSetup

from cipher.background.demo import settings
from cipher.background.demo import workers
from cipher.background.demo.importing import ImportRefused
from cipher.background.demo.importing import find_texts
from cipher.background.demo.importing import title_of
from cipher.background.demo.interfaces import DRAFT
from cipher.background.demo.interfaces import PUBLISHED
from cipher.background.demo.interfaces import IImportInput
from cipher.background.interfaces import StopRequested
from cipher.background.tests.test_demo import FakeWorker
from cipher.background.tests.test_demo import Site


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
        for n in range(settings.ENOUGH):
            self.write('docs/%d.rst' % n)
        self.assertEqual('docs', IImportInput['folder'].default)

    def test_default_base(self):
        base = settings.default_base()
        self.assertTrue((base / 'setup.py').exists()
                        or base == settings.SAMPLES)
        self.assertTrue(all(map(settings.is_text,
                                settings.SAMPLES.iterdir())))

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
