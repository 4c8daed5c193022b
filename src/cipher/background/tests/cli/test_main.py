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
"""The command line: each thing that may be wrong with it, told clearly."""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest
from argparse import ArgumentTypeError
from pathlib import Path

from ZODB.FileStorage import FileStorage

from cipher.background.cli.command import integer
from cipher.background.tests.demo.test_server import LIMIT
from cipher.background.tests.demo.test_server import run_command
from cipher.background.tests.support.layers import Live


class CommandLineTests(unittest.TestCase):

    layer = Live

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def run_command(self, *arguments):
        process = run_command(
            *arguments, cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            output, errors = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return process.returncode, output, errors

    def assertRefused(self, code, expected, *arguments):
        """The command ends with one line, and leaves nothing behind."""
        before = sorted(path.relative_to(self.folder)
                        for path in self.folder.rglob('*'))
        result, output, errors = self.run_command(*arguments)
        self.assertRegex(errors, expected)
        self.assertEqual((code, '', 1), (
            result, output, len(errors.splitlines())), errors)
        self.assertTrue(errors.startswith('cipher-background'), errors)
        self.assertRegex(errors, r'; \S')
        self.assertEqual(before, sorted(
            path.relative_to(self.folder)
            for path in self.folder.rglob('*')))

    def test_help(self):
        code, output, errors = self.run_command('demo', '--help')
        self.assertEqual((0, ''), (code, errors))
        for option in ('--port', '--host', '--db', '--fresh', '--threads'):
            self.assertIn(option, output)

    def test_arguments(self):
        for expected, arguments in (
                ('command', ()),
                ("nosuch", ('nosuch',)),
                ('--nosuch', ('demo', '--nosuch')),
                ('a port from 0 to 65535, got .99999', (
                    'demo', '--port', '99999')),
                ('a port from 0 to 65535, got .-1', ('demo', '--port=-1')),
                ('a port from 0 to 65535, got .8_0', (
                    'demo', '--port', '8_0')),
                ('a number of threads from 1 to 100, got .0', (
                    'demo', '--threads', '0'))):
            self.assertRefused(2, expected, *arguments)

    def test_a_port_in_use(self):
        with socket.socket() as sock:
            sock.bind(('127.0.0.1', 0))
            sock.listen()
            port = str(sock.getsockname()[1])
            self.assertRefused(
                1, 'expected to listen at 127.0.0.1 port %s, got "Address '
                'already in use"' % port, 'demo', '--port', port)

    def test_a_host_that_is_not_ours(self):
        for host in ('192.0.2.1', 'a host', 'x' * 300):
            self.assertRefused(1, 'expected .*%s' % re.escape(host[:20]),
                               'demo', '--port', '0', '--host', host)

    def test_a_database_that_is_locked(self):
        path = str(self.folder / 'data.fs')
        storage = FileStorage(path)
        self.addCleanup(storage.close)
        size = os.path.getsize(path)
        for extra in ((), ('--fresh',)):
            self.assertRefused(
                1, 'to be free, got one locked by the process %d;'
                % os.getpid(), 'demo', '--port', '0', '--db',
                'file://' + path, *extra)
            self.assertEqual(size, os.path.getsize(path))

    def test_a_zodburi_that_is_wrong(self):
        missing = 'file://%s/nosuch/data.fs' % self.folder
        for expected, uri in (
                ("there is no scheme 'nosuch'", 'nosuch://x'),
                ('put file:// before a path', 'var/data.fs'),
                ("got ''; put file://", ''),
                ('nosuch/data.fs, got "No such file or directory"', missing),
                ('foo', 'file://x.fs?foo=1'),
                ('zodburi', 'zeo://localhost:port'),
                ('zodburi', 'file:/x.fs'),
                ('zodburi', 'zconfig:///nosuch.conf')):
            self.assertRefused(
                1, re.escape(expected), 'demo', '--port', '0', '--db', uri)

    def test_postgresql_without_relstorage(self):
        for scheme in ('postgres', 'postgresql'):
            code, output, errors = self.run_command(
                'demo', '--port', '0', '--db',
                scheme + '://user:geheim@127.0.0.1:1/db')
            self.assertEqual((1, ''), (code, output))
            self.assertNotIn('geheim', errors)
            self.assertNotIn('Traceback', errors)

    def test_a_file_that_is_no_database(self):
        path = self.folder / 'thesis.txt'
        path.write_text('years of work')
        for extra in ((), ('--fresh',)):
            self.assertRefused(
                1, 'the file of a FileStorage, got something else',
                'demo', '--port', '0', '--db', 'file://%s' % path, *extra)
        self.assertEqual('years of work', path.read_text())

    def test_fresh_is_for_files(self):
        for uri in ('memory://', 'file://x.fs?blobstorage_dir=blobs',
                    'zeo://localhost:1'):
            self.assertRefused(
                1, '--fresh: expected a database that is one plain file',
                'demo', '--port', '0', '--fresh', '--db', uri)

    def test_a_home_that_is_missing(self):
        self.assertRefused(
            1, 'expected to make the folder .*/nosuch/var, got "No such file',
            'demo', '--port', '0', '--home', 'nosuch')

    def test_an_import_base_that_is_missing(self):
        self.assertRefused(1, '--import-base: expected a folder, got .nosuch',
                           'demo', '--port', '0', '--import-base', 'nosuch')

    def test_without_the_extra(self):
        # As good as not installed: None stops its import.
        script = ('import sys; sys.modules["waitress"] = None; '
                  'from cipher.background.cli import main; '
                  'sys.exit(main.main(["demo"]))')
        process = subprocess.run(
            [sys.executable, '-c', script], cwd=self.folder,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
            capture_output=True, text=True, timeout=LIMIT)
        self.assertEqual(1, process.returncode)
        self.assertIn('pip install "cipher.background[demo]"',
                      process.stderr)
        self.assertNotIn('Traceback', process.stderr)


class IntegerTests(unittest.TestCase):

    def test_limits(self):
        convert = integer(1, 3, 'a number')
        self.assertEqual([1, 3], [convert('1'), convert('3')])
        for text in ('0', '4', '', 'x', '1.0', ' 1', '+1', '١', '9' * 5000):
            with self.assertRaises(ArgumentTypeError, msg=text):
                convert(text)
