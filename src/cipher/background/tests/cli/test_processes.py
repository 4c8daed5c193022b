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
"""Commands as processes of their own, beside others that use the database."""
import json
import os
import subprocess
import sys
import tempfile

import transaction
from ZODB.DB import DB

from cipher.background.cli.database import OPEN_LIMIT
from cipher.background.cli.uris import SERVER_LIMIT
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.servers import PostgreSQLServer
from cipher.background.tests.support.servers import ZEOServer
from cipher.background.tests.support.servers import openDatabase
from cipher.background.tests.support.servers import programEnvironment
from cipher.background.tests.support.servers import requireServer
from cipher.background.tests.support.sites import ComponentTests
from cipher.background.tests.support.sites import makeSite


#: Seconds that a command may take on a busy machine.
LIMIT = 120


def begin(*arguments):
    """Begin ``python -m cipher.background`` with these arguments."""
    return subprocess.Popen(
        [sys.executable, '-m', 'cipher.background', *arguments],
        env=programEnvironment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(test, process):
    """Return (code, out, err) of a process of `begin`."""
    try:
        output, errors = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    test.assertNotIn('Traceback', errors)
    return process.returncode, output, errors


def call(test, *arguments):
    return finish(test, begin(*arguments))


class BesideARuntimeTests(LiveTests):
    """The file is open in this process, which holds its lock."""

    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.folder.name, 'Data.fs')

    def isDeclared(self):
        """Return whether the process has reported its worker types."""
        self.begin()
        record, = getDirectory(self.connection).processes.values()
        return 'wait' in (record.declared.types or ())

    def test_it_shows_the_process_and_its_runs(self):
        declareWorker('wait', lambda worker: self.gate.stop())
        run_id = self.start('wait')
        self.gate.waitReached()
        self.waitTurn()   # it reports its runs
        waitUntil(self.isDeclared, 'that its types are reported')
        code, output, errors = call(
            self, 'status', '--json', '--db', self.path)
        self.assertEqual((0, ''), (code, errors))
        data = json.loads(output)
        process, = data['processes']
        self.assertEqual((os.getpid(), 'alive'),
                         (process['pid'], process['health']))
        self.assertEqual(1, sum(data['counts'].values()))
        self.assertEqual((0, 'well\n', ''),
                         call(self, 'health', '--db', self.path))
        code, output, errors = call(self, 'show', run_id, '--db', self.path)
        self.assertEqual((0, ''), (code, errors))
        self.gate.open()
        self.waitFinished(run_id)

    def test_a_log_is_followed_to_its_end(self):
        def work(worker):
            worker.log.info('The first line')
            self.gate.stop()
            worker.log.info('The last line')

        declareWorker('log', work)
        run_id = self.start('log')
        self.gate.waitReached()
        process = begin('log', run_id, '--follow', '--db', self.path)
        self.addCleanup(process.kill)
        # The report of the live log comes with a later turn.
        self.assertIn('The first line', process.stdout.readline())
        self.assertIsNone(process.poll())
        self.gate.open()
        code, output, errors = finish(self, process)
        self.assertEqual((0, ''), (code, errors))
        self.assertIn('The last line', output)
        self.assertNotIn('The first line', output)

    def test_a_reader_that_goes_early(self):
        process = begin('types', '--db', self.path)
        process.stdout.close()
        process.stdout = None
        code, _, errors = finish(self, process)
        self.assertEqual((0, ''), (code, errors))


class ServerTests(ComponentTests):

    layer = Live

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def fill(self, uri):
        db = openDatabase(uri, factory=DB)
        connection, _site, registry = makeSite(db)
        declareWorker('work', print)
        registry.start('work')
        transaction.commit()
        connection.close()
        db.close()

    def test_zeo(self):
        requireServer(self, ZEOServer.findMissing())
        with ZEOServer(self.folder) as server:
            uri = 'zeo://127.0.0.1:%d' % server.port
            self.fill(server.uri)
            config = os.path.join(self.folder, 'zodb.conf')
            with open(config, 'w') as file:
                file.write('<zodb a>\n<zeoclient>\nserver 127.0.0.1:%d\n'
                           '</zeoclient>\n</zodb>\n' % server.port)
            for one in uri, 'zconfig://' + config:
                self.assertStatus(one)
        # The parts of the ten seconds; the rest is for the start of Python.
        self.assertLess(SERVER_LIMIT, OPEN_LIMIT)
        self.assertLessEqual(OPEN_LIMIT, 8)
        processes = [begin('health', '--db', one)
                     for one in (uri, 'zconfig://' + config)]
        for process in processes:
            code, output, errors = finish(self, process)
            self.assertEqual((2, '', 1),
                             (code, output, len(errors.splitlines())), errors)
            self.assertIn('--db: expected', errors)

    def assertStatus(self, uri):
        code, output, errors = call(self, 'status', '--json', '--db', uri)
        self.assertEqual((0, ''), (code, errors), uri)
        self.assertEqual(1, json.loads(output)['counts']['pending'])

    def test_postgresql(self):
        requireServer(self, PostgreSQLServer.findMissing())
        with PostgreSQLServer(self.folder) as server:
            uri = server.makeDatabase()
            self.fill(uri)
            self.assertStatus(uri)
            self.assertStatus(uri.replace('postgres:', 'postgresql:'))
        code, output, errors = call(self, 'status', '--db', uri)
        self.assertEqual((2, '', 1),
                         (code, output, len(errors.splitlines())), errors)
