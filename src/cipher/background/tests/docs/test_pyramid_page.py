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
"""The page docs/howto/pyramid.rst is carried out, with real processes."""
import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request
from pathlib import Path

from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.pages import readFiles
from cipher.background.tests.support.servers import ZEOServer
from cipher.background.tests.support.servers import freePort
from cipher.background.tests.support.servers import openDatabase
from cipher.background.tests.support.servers import waitFor


#: Seconds that a process may take on a busy machine.
LIMIT = 120

FILES = ['app.py', 'development.ini', 'gunicorn.conf.py', 'site.zcml',
         'web.ini', 'wsgi.py']

#: A worker that works until there is a file.
SLOW = """

import os
from pathlib import Path


@worker('slow')
def slow(worker):
    Path('begun.%d' % os.getpid()).touch()
    while not Path('go').exists():
        worker.checkStop()
        worker.wait(0.1)
    return 'done by %d' % os.getpid()
"""


class PageTests(unittest.TestCase):

    layer = Live

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.files = readFiles(requirePage('pyramid.rst'))
        self.assertEqual(FILES, sorted(self.files))
        self.port = freePort()
        self.url = 'http://127.0.0.1:%d' % self.port
        self.logs = 0

    def write(self, uri=None, extra=''):
        """Write the files; *uri* is that of the database of ``web.ini``."""
        for name, text in self.files.items():
            if name.endswith('.ini'):
                self.assertEqual(text.count(':6543'), 1)
                text = text.replace(':6543', ':%d' % self.port)
            if name == 'web.ini' and uri is not None:
                self.assertEqual(text.count('zeo://127.0.0.1:8100'), 1)
                text = text.replace('zeo://127.0.0.1:8100', uri)
            if name == 'app.py':
                text += extra
            self.folder.joinpath(name).write_text(text, 'utf-8')

    def startZEO(self):
        missing = ZEOServer.findMissing()
        if missing:
            self.skipTest(missing)
        folder = self.folder / 'zeo'
        folder.mkdir()
        server = ZEOServer(str(folder))
        server.wait_timeout = LIMIT   # it is never away
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        # If two processes make the root of a new database, one of them fails.
        openDatabase(server.uri).close()
        return server

    def begin(self, *arguments):
        """Return a process of Python; it is ended with the test."""
        self.logs += 1
        log = self.folder / ('log.%d' % self.logs)
        environ = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
        with log.open('w') as output:
            process = subprocess.Popen(
                [sys.executable, '-m', *arguments], cwd=self.folder,
                env=environ, stdout=output, stderr=subprocess.STDOUT)
        process.log = log
        self.addCleanup(self.end, process, signal.SIGKILL)
        return process

    def end(self, process, number=signal.SIGTERM):
        if process.poll() is None:
            process.send_signal(number)
        return process.wait(LIMIT)

    def ask(self, path, body=None, user='admin', **headers):
        """Return (status, text) of an answer; the status is None without."""
        if user is not None:
            headers['Authorization'] = 'Basic ' + base64.b64encode(
                ('%s:%s' % (user, user)).encode()).decode()
        if body is not None:
            headers['Content-Type'] = 'application/json'
            body = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(
                    self.url + path, body, headers), timeout=LIMIT) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return None, ''

    def waitForServer(self, process):
        waitFor(lambda: process.poll() is not None or self.ask(
            '/++background++/index.json')[0], 'the server', LIMIT)
        self.assertIsNone(process.poll(), process.log.read_text('utf-8'))

    def start(self, name):
        """Start a run; return its id."""
        _status, text = self.ask('/++background++/token.json')
        status, text = self.ask(
            '/++background++/start.json', {'type': name},
            **{'X-CSRF-Token': json.loads(text)['csrf_token']})
        self.assertEqual(202, status, text)
        return json.loads(text)['id']

    def read(self, run_id):
        """Return the data of a run."""
        return json.loads(self.ask(
            '/++background++/%s/index.json' % run_id)[1])

    def waitForRun(self, run_id):
        waitFor(lambda: self.read(run_id)['is_finished'],
                'the end of the run', LIMIT)
        return self.read(run_id)

    def test_application_of_one_file(self):
        self.write()
        server = self.begin('pyramid.scripts.pserve', 'development.ini')
        self.waitForServer(server)
        for user, status in (('admin', 200), ('viewer', 200), (None, 401),
                             ('nobody', 401)):
            self.assertEqual(
                status, self.ask('/++background++', user=user)[0], user)
        self.assertEqual(403, self.ask(
            '/++background++/start.html?type=greet', user='viewer')[0])
        run = self.waitForRun(self.start('greet'))
        self.assertEqual(('succeeded', 'greeted', 'admin'), (
            run['state'], run['result'], run['starter']))
        self.assertIn('Hello', self.ask(
            '/++background++/%s/log.txt' % run['id'])[1])
        status, text = self.ask('/greet', user='viewer')
        self.assertEqual('viewer', self.waitForRun(
            json.loads(text)['id'])['starter'])
        # It drains at SIGINT.
        self.end(server, signal.SIGINT)
        self.assertNotIn('Traceback', server.log.read_text('utf-8'))

    def test_worker_process_that_is_killed(self):
        zeo = self.startZEO()
        self.write(zeo.uri, SLOW)
        web = self.begin('pyramid.scripts.pserve', 'web.ini')
        self.waitForServer(web)
        run_id = self.start('slow')
        greeting = self.start('greet')
        command = ('cipher.background', 'worker', '--ini', 'web.ini',
                   '--threads', '4')
        first = self.begin(*command)
        begun = self.folder / ('begun.%d' % first.pid)
        waitFor(lambda: first.poll() is not None or begun.exists(),
                'the begin of the run', LIMIT)
        self.assertIsNone(first.poll(), first.log.read_text('utf-8'))
        second = self.begin(*command)
        self.end(first, signal.SIGKILL)
        self.folder.joinpath('go').touch()
        run = self.waitForRun(run_id)
        self.assertEqual(('succeeded', 'done by %d' % second.pid),
                         (run['state'], run['result']), run)
        self.assertEqual('succeeded', self.waitForRun(greeting)['state'])
        status = subprocess.run(
            [sys.executable, '-m', 'cipher.background', 'list', '--json',
             '--db', zeo.uri, '--zcml', 'site.zcml'], cwd=self.folder,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
            capture_output=True, text=True, timeout=LIMIT)
        self.assertEqual(0, status.returncode, status.stderr)
        self.assertIn(run_id, status.stdout)
        self.assertEqual(0, self.end(second))

    def test_gunicorn_with_preload_and_without(self):
        zeo = self.startZEO()
        threads = 'background.threads = 0'
        self.assertIn(threads, self.files['web.ini'])
        self.files['web.ini'] = self.files['web.ini'].replace(
            threads, 'background.threads = 2')
        config = self.files['gunicorn.conf.py']
        self.assertIn('preload_app = True', config)
        for preload in True, False:
            with self.subTest(preload=preload):
                self.files['gunicorn.conf.py'] = config.replace(
                    'preload_app = True', 'preload_app = %s' % preload)
                self.write(zeo.uri)
                server = self.begin(
                    'gunicorn', '--bind', '127.0.0.1:%d' % self.port)
                self.waitForServer(server)

                def pids():
                    found = json.loads(self.ask(
                        '/++background++/processes.json')[1])
                    return {process['pid'] for process
                            in found['items'] if process['threads']}

                waitFor(lambda: len(pids()) == 2, 'two processes', LIMIT)
                self.assertNotIn(server.pid, pids())
                run = self.waitForRun(self.start('greet'))
                self.assertEqual('succeeded', run['state'])
                self.assertEqual(0, self.end(server))
                log = server.log.read_text('utf-8')
                self.assertNotIn('Traceback', log)
                self.assertNotIn('after the fork', log)
