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
"""The demo as a process of its own, on a port of this machine."""
import base64
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlencode
from urllib.parse import urlsplit

from cipher.background.tests.support.layers import Live


#: Seconds after which waiting for another process is given up.
LIMIT = 60.0


class Demo:
    """A demo server in a folder of its own, ended by its pid."""

    def __init__(self, folder, *arguments):
        self.folder = folder
        self.output = []
        self._lines = queue.Queue()
        self.errors = open(Path(folder, 'stderr.txt'), 'a+')
        self.process = self.beginProcess(arguments)
        threading.Thread(target=self._read, daemon=True).start()

    def beginProcess(self, arguments):
        """Return a Popen of a server that prints its URL to stdout."""
        return run_command(
            'demo', '--port', '0', *arguments, cwd=self.folder,
            stdout=subprocess.PIPE, stderr=self.errors, text=True)

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def waitForURL(self):
        """Return the URL that it prints; what it prints first."""
        while True:
            line = self._lines.get(timeout=LIMIT)
            if line is None:
                raise AssertionError('ended with %s: %s' % (
                    self.process.wait(LIMIT), self.readErrors()))
            self.output.append(line)
            found = re.search(r'http://[^/]+/', line)
            if found:
                self.url = found[0].rstrip('/')
                return self.url

    def readErrors(self):
        self.errors.seek(0)
        return self.errors.read()

    def open(self, path, user='admin', data=None):
        """Return the response; with *data*, a dict, to a POST."""
        request = urllib.request.Request(self.url + path)
        if user is not None:
            token = base64.b64encode(('%s:%s' % (user, user)).encode())
            request.add_header('Authorization', 'Basic ' + token.decode())
        if data is not None:
            data = urlencode(data).encode()
        return urllib.request.urlopen(request, data, timeout=LIMIT)

    def read(self, path, user='admin', data=None):
        """Return the body as text."""
        try:
            with self.open(path, user, data) as response:
                return response.read().decode('utf-8')
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError('%s: %s\n%s' % (
                    path, error, self.readErrors()[-5000:]))

    def readStatus(self, path, user='admin', data=None):
        """Return the status."""
        try:
            with self.open(path, user, data) as response:
                return response.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def start(self, worker_type, user='admin', **input):
        """Start a worker by its form."""
        path = '/++background++/start.html?type=' + worker_type
        data = {'form.widgets.' + name: value
                for name, value in input.items()}
        data.update({'type': worker_type,
                     'csrf_token': self.readToken(path, user),
                     'form.buttons.start': '1'})
        return self.read(path, user, data)

    def readToken(self, path, user='admin'):
        page = self.read(path, user)
        return re.search(r'name="csrf_token" value="([^"]+)"', page)[1]

    def listRuns(self):
        """Return the runs as the JSON tells, newest first."""
        return json.loads(self.read('/++background++/runs.json'))['items']

    def waitForRun(self, condition):
        """Return the first run that fits, as soon as there is one."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            for run in self.listRuns():
                if condition(run):
                    return run
            time.sleep(0.05)
        raise AssertionError('waited in vain: %s' % self.listRuns())

    def end(self, number=signal.SIGTERM):
        """Send a signal, wait for the end and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(LIMIT)
        self.process.stdout.close()
        self.errors.close()
        return code


def run_command(*arguments, **options):
    """Begin ``cipher-background`` with these arguments; a Popen."""
    environ = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    return subprocess.Popen(
        [sys.executable, '-m', 'cipher.background.cli.main', *arguments],
        env=environ, **options)


class DemoTestCase(unittest.TestCase):
    """A folder of its own, and demos that end with the test."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def begin(self, *arguments):
        demo = Demo(self.folder, *arguments)
        self.addCleanup(self._end, demo)
        demo.waitForURL()
        return demo

    def _end(self, demo):
        if demo.process.returncode is None:
            demo.end(signal.SIGKILL)

    def writeTexts(self, count):
        base = Path(self.folder, 'texts')
        base.mkdir()
        for n in range(count):
            Path(base, 'text-%02d.rst' % n).write_text(
                'Text %d\n=======\n\ntext\n' % n)
        return str(base)


class ServerTests(DemoTestCase):

    layer = Live

    def test_start_look_and_end(self):
        demo = self.begin()
        self.assertEqual(401, demo.readStatus('/', user=None))
        self.assertIn('There are no documents yet', demo.read('/'))
        self.assertEqual(0, demo.end())
        self.assertNotIn('Traceback', Path(
            self.folder, 'stderr.txt').read_text())
        self.assertTrue(Path(self.folder, 'var', 'demo.fs').exists())

    def test_the_users_and_what_they_may(self):
        demo = self.begin('--db', 'memory://')
        add = '/documents/add.html'
        start = '/++background++/start.html?type=flaky'
        for user, statuses in (
                (None, (401, 401, 401)), ('viewer', (200, 403, 403)),
                ('editor', (200, 200, 200)), ('admin', (200, 200, 200))):
            self.assertEqual(statuses, tuple(
                demo.readStatus(path, user)
                for path in ('/++background++/runs.html', add, start)), user)

    def test_what_is_done_is_there_at_the_next_start(self):
        base = self.writeTexts(2)
        demo = self.begin('--import-base', base)
        demo.start('import', folder='.', pause='0')
        demo.waitForRun(lambda run: run['type'] == 'import'
                        and run['state'] == 'succeeded')
        self.assertEqual(0, demo.end(signal.SIGINT))
        demo = self.begin('--import-base', base)
        self.assertIn('Text 1', demo.read('/documents'))
        self.assertEqual(
            [('import', 'succeeded')],
            [(run['type'], run['state']) for run in demo.listRuns()
             if run['type'] not in ('housekeeping', 'reindex')])
        self.assertEqual(0, demo.end())
        demo = self.begin('--fresh')
        self.assertIn('There are no documents yet', demo.read('/'))

    def test_its_folder_is_for_its_user_alone(self):
        folder = Path(self.folder, 'var')
        folder.mkdir(mode=0o755)
        old = [folder / name for name in ('demo.fs.old', 'demo.fs.index')]
        other = folder / 'other'
        for path in (*old, other):
            path.write_text('')
            path.chmod(0o644)
        demo = self.begin()
        demo.start('flaky', chance='0')
        demo.end()
        self.assertEqual(0o700, folder.stat().st_mode & 0o777)
        found = {path.name: path.stat().st_mode & 0o777
                 for path in folder.iterdir()}
        # What is not of the demo is nobody's to change.
        self.assertEqual(0o644, found.pop('other'))
        self.assertEqual({0o600}, set(found.values()), found)
        self.assertLess({'demo.fs', 'demo.fs.lock', 'demo.fs.old'},
                        set(found))

    def test_it_answers_to_its_own_names(self):
        demo = self.begin('--allow-host', 'my.name')
        for host, status in (('my.name', 200), ('localhost:1', 200),
                             ('evil.example', 403)):
            request = urllib.request.Request(
                demo.url + '/++background++/index.html', headers={
                    'Host': host, 'Authorization': 'Basic YWRtaW46YWRtaW4='})
            try:
                with urllib.request.urlopen(request, timeout=LIMIT) as answer:
                    self.assertEqual(status, answer.status, host)
            except urllib.error.HTTPError as error:
                with error:
                    self.assertEqual(status, error.code, host)
                    self.assertIn(b'--allow-host', error.read())

    def test_bad_path_is_one_line_of_its_log(self):
        demo = self.begin()
        self.assertEqual(400, demo.readStatus('/++background++/%FF'))
        self.assertEqual(404, demo.readStatus(
            '/++background++/++resource++cipher-background.js', user=None))
        errors = demo.readErrors()
        self.assertNotIn('Traceback', errors)
        self.assertIn('UnicodeDecodeError', errors)

    def test_a_home_elsewhere(self):
        home = Path(self.folder, 'home')
        home.mkdir()
        demo = self.begin('--home', str(home))
        self.assertEqual(0, demo.end())
        self.assertTrue((home / 'var' / 'demo.fs').exists())

    def test_nothing_is_lost_or_doubled_when_it_is_killed(self):
        count = 6
        base = self.writeTexts(count)
        demo = self.begin('--import-base', base)
        demo.start('flaky', chance='0')
        demo.start('flaky', chance='1')
        # One has succeeded, the other waits for its next attempt.
        demo.waitForRun(lambda run: run['state'] == 'succeeded')
        demo.waitForRun(lambda run: run['type'] == 'flaky'
                        and run['attempts'] and run['state'] == 'pending')
        demo.start('import', folder='.', pause='1')
        # Progress is reported before it is committed; texts are counted after.
        demo.waitForRun(lambda run: run['type'] == 'import'
                        and self.countTexts(demo) >= 2)
        self.assertEqual(-signal.SIGKILL, demo.end(signal.SIGKILL))

        demo = self.begin('--import-base', base)
        # What was imported stays imported, and the rest follows.
        self.assertGreaterEqual(self.countTexts(demo), 2)
        run = demo.waitForRun(lambda run: run['type'] == 'import'
                              and run['state'] == 'succeeded')
        self.assertEqual('%d texts' % count, run['result'])
        page = demo.read(urlsplit(run['url']).path)
        self.assertIn('text-%02d.rst: added' % (count - 1), page)
        self.assertNotIn('text-00.rst', page)
        self.assertEqual(count, self.countTexts(demo))
        run = demo.waitForRun(lambda run: run['state'] == 'failed')
        self.assertEqual(('flaky', 3), (run['type'], run['attempts']))
        self.assertEqual(
            [('flaky', 'failed'), ('flaky', 'succeeded'),
             ('housekeeping', 'running'), ('import', 'succeeded')],
            self.describeRuns(demo))
        # Killed again, when nothing but the service is at work.
        demo.end(signal.SIGKILL)
        demo = self.begin('--import-base', base)
        demo.waitForRun(lambda run: run['type'] == 'housekeeping'
                        and run['state'] == 'running')
        self.assertEqual(4, len(self.describeRuns(demo)))
        self.assertEqual(0, demo.end())

    def countTexts(self, demo):
        return demo.read('/documents').count('href="/documents/text-')

    def describeRuns(self, demo):
        """Return types and states, without the runs that follow others."""
        return sorted((run['type'], run['state']) for run in demo.listRuns()
                      if run['type'] != 'reindex')

    def test_signal_before_the_end_makes_it_quiet(self):
        demo = self.begin()
        demo.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + LIMIT
        while 'quiet, begins nothing new' not in demo.readErrors():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        demo.start('stubborn', seconds='1')
        run = demo.waitForRun(lambda run: run['type'] == 'stubborn')
        self.assertEqual('pending', run['state'])
        self.assertEqual(0, demo.end())

    def test_second_signal_ends_the_server_at_once(self):
        demo = self.begin()
        demo.start('stubborn', seconds='60')
        demo.waitForRun(lambda run: run['type'] == 'stubborn'
                        and run['state'] == 'running')
        demo.process.send_signal(signal.SIGTERM)
        # As soon as nobody listens any more, the first one has arrived.
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            try:
                demo.readStatus('/')
            except (OSError, urllib.error.URLError):
                break
            time.sleep(0.05)
        self.assertIsNone(demo.process.poll())
        self.assertEqual(130, demo.end(signal.SIGINT))
