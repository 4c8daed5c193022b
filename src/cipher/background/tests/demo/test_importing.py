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
from unittest.mock import patch

import transaction
from zope.component import getGlobalSiteManager

from cipher.background.demo import jobs
from cipher.background.demo import settings
from cipher.background.demo.importing import ImportRefused
from cipher.background.demo.importing import find_texts
from cipher.background.demo.importing import read_text
from cipher.background.demo.importing import title_of
from cipher.background.demo.interfaces import DRAFT
from cipher.background.demo.interfaces import PUBLISHED
from cipher.background.demo.interfaces import IImportInput
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import STOPPED
from cipher.background.tests.demo.test_registry import DemoWorkTestCase


class TextsTestCase(unittest.TestCase):
    """A folder to import from, with something beside it."""

    def setUp(self):
        super().setUp()
        self.outer = tempfile.TemporaryDirectory()
        self.addCleanup(self.outer.cleanup)
        self.base = Path(self.outer.name, 'base').resolve()
        self.base.mkdir()
        Path(self.outer.name, 'secret.txt').write_text('secret')
        import_settings = settings.ImportSettings(self.base)
        manager = getGlobalSiteManager()
        manager.registerUtility(import_settings, settings.IImportSettings)
        self.addCleanup(manager.unregisterUtility, import_settings,
                        settings.IImportSettings)

    def write(self, name, text='text'):
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class ImportingTests(TextsTestCase):

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
            read_text(self.base / 'a.rst')

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


class ImportTests(TextsTestCase, DemoWorkTestCase):
    """The worker."""

    def start(self, pause=0.0):
        run = self.registry.start('import', folder='.', pause=pause)
        transaction.commit()
        return run

    def test_import_makes_documents(self):
        self.write('a.rst', 'One\n===\n\ntext')
        self.write('b.txt', 'no title')
        run = self.start()
        self.assertEqual(['import'], self.runPending())
        self.assertEqual(('2 texts', (2, 2, 'b.txt')),
                         (run.result, run.progress))
        self.assertEqual(
            [('a.rst', 'One', 'One\n===\n\ntext'),
             ('b.txt', 'b.txt', 'no title')],
            [(name, document.title, document.body)
             for name, document in self.documents.items()])
        self.assertEqual(['reindex'] * 2, self.runPending(later=1))

    def test_import_again_updates(self):
        self.write('a.rst', 'One')
        self.write('b.rst', 'Two')
        self.start()
        self.runPending()
        self.runPending(later=1)
        for document in self.documents.values():
            document.publish('')
        self.write('b.rst', 'Three')
        run = self.start()
        self.assertEqual(['import'], self.runPending())
        self.assertEqual((PUBLISHED, DRAFT), tuple(
            document.wf_state for document in self.documents.values()))
        log = self.registry.getDetails(run.id).log
        self.assertIn('a.rst: unchanged', log)
        self.assertIn('b.rst: changed', log)
        # Only what changed is read again.
        self.assertEqual(['reindex'], self.runPending(later=1))
        self.assertEqual(['b.rst'], self.documents.search('three'))

    def test_after_an_error_it_goes_on_where_it_was(self):
        self.write('a.rst', 'One')
        self.write('b.rst', 'x' * 500001)
        run = self.start()
        with self.assertRaisesRegex(ImportRefused, 'at most 500000'):
            self.runPending()
        self.assertEqual((['a.rst'], 'a.rst', FAILED),
                         (list(self.documents), run.cursor, run.state))

    def test_an_import_is_stopped_behind_a_document(self):
        self.write('a.rst')
        self.write('b.rst')
        wait = jobs.ImportTexts.wait

        def stop_and_wait(worker, seconds):
            waits.append(seconds)
            worker.requestStop()
            return wait(worker, seconds)

        waits = []
        with patch.object(jobs.ImportTexts, 'wait', stop_and_wait):
            run = self.start(pause=7.0)
            self.runPending()
        self.assertEqual((['a.rst'], [7.0], STOPPED),
                         (list(self.documents), waits, run.state))
        self.assertEqual((1, 2, 'a.rst'), run.progress)
