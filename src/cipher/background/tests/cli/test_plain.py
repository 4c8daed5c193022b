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
"""The command line with nothing but the core, and with the extra [cli]."""
import sys
import unittest
from importlib.util import find_spec
from unittest import mock

from cipher.background import cli
from cipher.background.cli import uris
from cipher.background.cli.command import Unusable
from cipher.background.tests.support.commandline import CommandTests


READING = ('status', 'list', 'types', 'processes', 'journal')

#: What only the extras bring.
EXTRAS = ('rich', 'zodburi', 'z3c.form', 'zope.browserpage')


class PlainTests(CommandTests):

    def test_each_command_that_only_looks(self):
        for command in READING:
            with self.subTest(command):
                code, output, errors = self.call(command)
                self.assertEqual((0, ''), (code, errors))
                self.assertTrue(output)
        for command in 'show', 'log':
            code, output, errors = self.call(command, self.runs['failed'])
            self.assertEqual((0, ''), (code, errors))
        self.assertIn('Line 2', output)
        self.assertEqual(2, self.call('health')[0])

    def test_declarations(self):
        code, output, errors = self.call('schedules', '--zcml', self.light())
        self.assertEqual((0, ''), (code, errors))
        self.assertIn('nightly', output)

    def test_a_file_by_its_uri(self):
        code, output, _ = self.call('status', db='file://' + self.path)
        self.assertEqual(0, code)
        self.assertIn('pending', output)

    def test_other_schemes_name_the_extra(self):
        if find_spec('zodburi'):
            self.skipTest('the extra [cli] is installed')
        self.assertRefused(
            2, r'run: pip install "cipher.background\[cli\]"', 'status',
            db='nosuch://x')


class WithoutExtrasTests(CommandTests):
    """The same in an environment that has the extras."""

    def setUp(self):
        super().setUp()
        for name in 'painting', 'zodburis':
            # Both as an attribute of the package and as a module.
            self.patch(mock.patch.dict(vars(cli)))
            vars(cli).pop(name, None)
            self.patch(mock.patch.dict(sys.modules, {
                'cipher.background.cli.' + name: None}))
        self.patch(mock.patch.dict(sys.modules, dict.fromkeys(EXTRAS)))

    def patch(self, patch):
        patch.start()
        self.addCleanup(patch.stop)

    def test_files_and_zeo_are_understood(self):
        for uri in (self.path, 'file://' + self.path,
                    'file://%s?connection_cache_size=100' % self.path):
            self.assertEqual((0, ''), self.call('status', db=uri)[::2])
        if find_spec('ZEO'):
            place = uris.findPlace('zeo://localhost:9?storage=main', False)
            self.assertEqual({
                'storage': 'main', 'wait_timeout': uris.SERVER_LIMIT,
                'read_only': 1}, place.open.keywords)
            self.assertEqual((('localhost', 9),), place.open.args)

    def test_what_is_not_understood_names_the_extra(self):
        for uri in ('postgres://u:p@h/x', 'nosuch://x',
                    'file://%s?quota=3' % self.path):
            with self.assertRaisesRegex(
                    Unusable, r'pip install "cipher.background\[cli\]"'):
                uris.findPlace(uri, False)

    def test_options_are_checked(self):
        for uri in ('file://%s?connection_cache_size=x' % self.path,
                    'zeo://localhost:port',
                    'zeo://localhost:9?wait_timeout=x'):
            with self.assertRaisesRegex(Unusable, 'expected .* got .*; '):
                uris.findPlace(uri, False)


def test_suite():
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    return unittest.TestSuite([load(PlainTests), load(WithoutExtrasTests)])
