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
"""What is stored keeps its names and shapes, or says why it does not."""
import io
import shutil
import tempfile
import unittest
from contextlib import redirect_stderr
from contextlib import redirect_stdout
from pathlib import Path
from unittest import mock

from persistent import Persistent

from cipher.background.store.process import Directory
from cipher.background.store.run import RunDetails
from cipher.background.tests.support import golden


class SceneLayer:
    """The scene, made once for all tests."""

    @classmethod
    def setUp(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.made, cls.text = golden.make(cls.folder.name)
        cls.kept = golden.unpack(cls.folder.name)

    @classmethod
    def tearDown(cls):
        cls.folder.cleanup()


class GoldenTests(unittest.TestCase):

    layer = SceneLayer

    def setUp(self):
        self.made, self.kept = self.layer.made, self.layer.kept
        self.text = self.layer.text
        self.reasons, self.expected = golden.read()

    def assertSame(self, expected, got):
        difference = golden.compare(expected, got)
        self.assertFalse(
            difference, 'what is stored has changed; if that is meant, run '
            '%s\n%s' % (golden.COMMAND, '\n'.join(difference)))

    def test_what_is_stored_is_what_the_file_says(self):
        self.assertSame(self.expected, self.text)

    def test_kept_database_has_the_same_shapes(self):
        self.assertSame(self.expected, golden.describe(self.kept))

    def test_reason_is_of_these_shapes(self):
        self.assertEqual(self.reasons[-1][0], golden.digest(self.expected),
                         'expected a reason; run ' + golden.COMMAND)
        for _, reason in self.reasons:
            self.assertTrue(reason.strip())

    def test_scene_has_every_class(self):
        self.assertNotIn('is not in the', self.text)
        for name in golden.persistentClasses():
            self.assertIn('\n%s\n' % name, '\n' + self.text)
        self.assertIn('] reference: (bytes, bytes, bool)', self.text)

    def test_each_change_is_seen(self):
        class Gone(Persistent):
            """A class that the package has no more."""

        changes = {
            'default': mock.patch.object(
                Directory, 'added', 7, create=True),
            'class': mock.patch(
                'cipher.background.store.run.RunDetails', Gone),
            'new class': mock.patch(
                'cipher.background.store.run.Another',
                type(
                    'Another', (RunDetails,),
                    {'__module__': 'cipher.background.store.run'}),
                create=True),
            'row': mock.patch(
                'cipher.background.store.process.Trouble._fields', ('kind',)),
        }
        for what, change in changes.items():
            with self.subTest(what), change:
                self.assertNotEqual(
                    golden.describe(self.made), self.text)

    def test_shapes(self):
        for value, shape in (
                (None, 'None'), (True, 'bool'), ((), '()'),
                ((1, 2), '(int, ...)'), ((1, 'a'), '(int, str)'),
                ([1, 'a'], '[int | str]'), ({}, '{}'),
                (tuple(range(9)) + (None,), '(None | int, ...)'),
                (Directory(), 'cipher.background.store.process.Directory')):
            with self.subTest(shape):
                self.assertEqual(golden.shapeOf(value), shape)

    def test_nothing_of_this_machine_is_kept(self):
        with open(self.kept, 'rb') as file:
            content = file.read()
        for text in (str(Path(golden.__file__).parent), '.py"', '/home/'):
            self.assertNotIn(text.encode(), content)


class CommandTests(unittest.TestCase):

    layer = SceneLayer

    def setUp(self):
        patcher = mock.patch.object(golden, 'make', lambda folder: (
            self.layer.made, golden.describe(self.layer.made)))
        patcher.start()
        self.addCleanup(patcher.stop)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.paths = []
        for name in 'GOLDEN', 'DATABASE':
            path = Path(folder.name) / getattr(golden, name).name
            shutil.copy(getattr(golden, name), path)
            patcher = mock.patch.object(golden, name, path)
            patcher.start()
            self.addCleanup(patcher.stop)
            self.paths.append(path)

    def call(self, *arguments):
        """Return (exit code, what it says, whether it wrote)."""
        before = [path.read_bytes() for path in self.paths]
        told = io.StringIO()
        with redirect_stderr(told), redirect_stdout(told):
            code = golden.main(arguments)
        return code, told.getvalue(), before != [
            path.read_bytes() for path in self.paths]

    def test_reason_is_demanded(self):
        for arguments in (), ('  ',):
            code, told, is_written = self.call(*arguments)
            self.assertEqual((code, is_written), (2, False))
            self.assertIn('expected a reason', told)

    def test_nothing_has_changed(self):
        self.assertEqual(self.call('no reason'), (
            0, 'golden: nothing has changed\n', False))

    def test_change(self):
        with mock.patch.object(Directory, 'added', 7, create=True):
            code, told, is_written = self.call('for', 'a test')
            self.assertEqual((code, is_written), (0, True), told)
            reasons, text = golden.read()
            self.assertEqual(
                reasons[-1], (golden.digest(text), 'for a test'))
            self.assertIn('    default added = 7\n', text)

    def test_released_structure_is_frozen(self):
        with mock.patch.object(Directory, 'added', 7, create=True), \
                mock.patch.object(golden, 'RELEASED', (1,)):
            code, told, is_written = self.call('for a test')
        self.assertEqual((code, is_written), (1, False))
        self.assertIn('raise structure.VERSION, and add a migration', told)
