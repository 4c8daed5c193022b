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
"""Instances of Zope, processes of their own, that share a database by ZEO."""
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.pages import listBlocks
from cipher.background.tests.support.servers import ZEOServer
from cipher.background.tests.support.zopesite import DrivenCase


#: The variable that names the folder of the test to the workers.
FOLDER = 'CIPHER_BACKGROUND_TEST_FOLDER'


def noteBegin(number):
    """Note that this process works on the object with this *number*."""
    Path(os.environ[FOLDER], 'began-%d-%d' % (number, os.getpid())).touch()


def mayEnd():
    """Return whether late work may end."""
    return Path(os.environ[FOLDER], 'go').exists()


class InstancesCase(DrivenCase):
    """Base of tests with instances, in a new *folder* with a new *server*."""

    #: Several processes start at a time, and nothing here should be quick.
    limit = 150
    page = ''   # that shows the configuration

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.logs = []
        self.server = self.makeServer()
        self.addCleanup(self.server.kill)
        self.prepare()
        self.server.start()

    def makeServer(self):
        """Return the server of ZEO."""
        return ZEOServer(str(self.folder))

    def prepare(self):
        """Write what the server needs."""

    def readConf(self, home):
        """Return the zope.conf of the page for the instance in *home*."""
        text, = (block.text for block in listBlocks(requirePage(self.page))
                 if block.text.startswith('%import ZEO'))
        return self.place(text.replace('/srv/dms/worker', str(home)))

    def place(self, text):
        """Return *text* of a page with the folder and the port of the test."""
        return text.replace('/srv/dms', str(self.folder)).replace(
            '127.0.0.1:8100', '127.0.0.1:%d' % self.server.port)

    def call(self, *command):
        """Run a command that ends.

        Its program is in the folder of the test or beside that of Python.
        """
        done = subprocess.run(
            self.findProgram(command), cwd=self.folder, timeout=self.limit,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)

    def launch(self, *command):
        """Start a command that does not end; return the process."""
        log_path = self.folder / ('log-%d' % len(self.logs))
        with log_path.open('wb') as log:
            process = subprocess.Popen(
                self.findProgram(command), cwd=self.folder, stdout=log,
                stderr=log, env={**os.environ, FOLDER: str(self.folder),
                                 'PYTHONPATH': str(self.folder)})
        self.logs.append(log_path)
        self.addCleanup(self.end, process)
        return process

    def findProgram(self, command):
        """Return *command* with the path of its program."""
        program, *arguments = command
        own = self.folder / program
        return [own if own.exists()
                else Path(sys.executable).with_name(program), *arguments]

    def end(self, process, number=signal.SIGKILL):
        """End the process, unless it has ended; return its exit code."""
        if process.poll() is None:
            process.send_signal(number)
        return process.wait(self.limit)

    def findURL(self, log_path):
        """Return the address that the instance with this log serves."""
        return self.waitFor(lambda: re.search(
            r'Serving on (http://\S+)', log_path.read_text()),
            'an instance that serves')[1]

    def findBegun(self, process=None):
        """Return the numbers that processes noted, or this one."""
        return {int(path.name.split('-')[1]) for path in self.folder.glob(
            'began-*-%s' % (process.pid if process else '*'))}

    def letEnd(self):
        """Let late work end."""
        (self.folder / 'go').touch()

    def fail(self, msg=None):
        """Fail, and show the logs."""
        super().fail('%s; the logs: %s' % (
            msg, [path.read_text()[-3000:] for path in self.logs]))

    def assertQuiet(self):
        """Fail unless the instances began in good order, without a word."""
        for path in self.logs:
            text = path.read_text()
            self.assertIn('INFO Zope Ready', text)
            for word in 'WARNING', 'Warning', 'Traceback':
                self.assertNotIn(word, text)
