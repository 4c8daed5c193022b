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
"""Carries docs/tutorial.rst out, from its first file to its own test."""
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from cipher.background.tests.demo.test_server import LIMIT
from cipher.background.tests.demo.test_server import DemoTestCase
from cipher.background.tests.docs.test_hosting import Host
from cipher.background.tests.docs.test_hosting import takeFreePort
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.pages import listBlocks
from cipher.background.tests.support.pages import readFiles


FILES = ['browser.py', 'serve.py', 'site.zcml', 'tests.py', 'workers.py']


class TutorialTests(DemoTestCase):

    layer = Live

    def setUp(self):
        super().setUp()
        page = requirePage('tutorial.rst')
        files = readFiles(page)
        self.assertEqual(FILES, sorted(files))
        files['serve.py'] = takeFreePort(files['serve.py'])
        for name, text in files.items():
            Path(self.folder, name).write_text(text, 'utf-8')
        self.blocks = listBlocks(page)

    def begin(self):
        host = Host(self.folder)
        self.addCleanup(self._end, host)
        host.waitForURL()
        return host

    def start(self, host, pages, fail='false'):
        """Start a run by its form; return its id."""
        host.start('publish', pages=pages, fail=fail)
        return host.listRuns()[0]['id']

    def waitFor(self, host, run_id, state):
        return host.waitForRun(lambda run: run['id'] == run_id
                               and run['state'] == state)

    def test_the_run_that_the_page_looks_at(self):
        host = self.begin()
        stopped = self.start(host, pages='20')
        host.waitForRun(lambda run: run['progress_done'])
        self.act(host, stopped, 'stop')
        self.waitFor(host, stopped, 'stopped')
        failed = self.start(host, pages='2', fail='true')
        self.assertEqual('page 2 cannot be read', self.waitFor(
            host, failed, 'failed')['error_text'])
        self.act(host, failed, 'retry')
        self.assertEqual(3, len(host.listRuns()))
        self.assertIn('Page 1 is rendered', host.read(
            '/++background++/%s/log.txt' % failed))

    def act(self, host, run_id, verb):
        """Press a button of the run's page, and confirm."""
        page = '/++background++/%s/%s.html' % (run_id, verb)
        host.read(page, data={
            'csrf_token': host.readToken(page), verb: '1'})

    def test_a_server_that_is_killed(self):
        host = self.begin()
        run_id = self.start(host, pages='5')
        host.waitForRun(lambda run: run['progress_done'])
        # Ctrl-\ sends SIGQUIT, which a program in the background may ignore.
        self.assertEqual(-signal.SIGKILL, host.end(signal.SIGKILL))
        host = self.begin()
        self.assertEqual('5 pages', self.waitFor(
            host, run_id, 'succeeded')['result'])
        self.assertEqual(0, host.end(signal.SIGINT), host.output)

    def test_the_page_that_starts_it(self):
        declared, = [block.text for block in self.blocks
                     if block.text.startswith('<browser:page')]
        zcml = Path(self.folder, 'site.zcml')
        namespace, = re.findall(
            r'``(xmlns:browser="[^"]+")``',
            requirePage('tutorial.rst').read_text('utf-8'))
        zcml.write_text(zcml.read_text('utf-8').replace(
            '    i18n_domain', '    %s\n    i18n_domain' % namespace).replace(
            '</configure>', declared + '</configure>'), 'utf-8')
        host = self.begin()
        self.assertIn('<button>', host.read('/publish.html'))
        self.assertEqual(401, host.readStatus('/publish.html', None))
        answer = host.read('/publish.html', data={'x': '1'})
        run_id = re.search('Run (.*) begins', answer)[1]
        self.assertEqual('3 pages', self.waitFor(
            host, run_id, 'succeeded')['result'])

    def test_its_own_test(self):
        self.run_tests('OK')

    def test_its_own_test_can_fail(self):
        path = Path(self.folder, 'workers.py')
        path.write_text(path.read_text('utf-8').replace(
            "'%d pages'", "'%d leaves'"), 'utf-8')
        self.run_tests('1 leaves')

    def run_tests(self, expected):
        done = subprocess.run(
            [sys.executable, '-m', 'unittest', 'tests'], cwd=self.folder,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=LIMIT)
        self.assertIn(expected, done.stdout)
        self.assertEqual(expected != 'OK', bool(done.returncode))
