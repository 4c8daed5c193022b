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
"""A broker and a worker process of Celery, for tests."""
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys

from cipher.background.tests.support.servers import SERVER_LIMIT
from cipher.background.tests.support.servers import Server
from cipher.background.tests.support.servers import ServerLayer
from cipher.background.tests.support.servers import programEnvironment
from cipher.background.tests.support.servers import waitFor


class RedisServer(Server):
    """A Redis server that stores nothing on the disk."""

    @staticmethod
    def findMissing():
        """See `Server`."""
        return None if shutil.which(
            'redis-server') else 'redis-server is not installed'

    @property
    def uri(self):
        """URI of the broker for Celery."""
        return 'redis://127.0.0.1:%d/0' % self.port

    def _spawn(self):
        return self._popen(
            'redis-server', '--port', str(self.port), '--bind', '127.0.0.1',
            '--save', '', '--appendonly', 'no', '--dir', self.folder,
            stdin=subprocess.DEVNULL)

    def _answers(self):
        try:
            with socket.create_connection(
                    ('127.0.0.1', self.port), 1) as probe:
                probe.settimeout(1)
                probe.sendall(b'PING\r\n')
                return probe.recv(7) == b'+PONG\r\n'
        except OSError:
            return False


REDIS_LAYER = ServerLayer(RedisServer)


class CeleryProcess:
    """A process of ``celery worker`` whose module is `celery_world`."""

    def __init__(self, test, broker, uri, folder, *options):
        number = len(glob.glob(os.path.join(folder, 'celery-*.log')))
        self._log_path = os.path.join(folder, 'celery-%d.log' % number)
        with open(self._log_path, 'ab') as log:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'celery',
                 '-A', 'cipher.background.tests.support.celeryworld', 'worker',
                 '--loglevel=INFO', '--without-gossip', '--without-mingle',
                 '--without-heartbeat', *(options or ['--pool=solo'])],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                env=dict(programEnvironment(), BROKER=broker, DATABASE=uri,
                         FOLDER=folder))
        self.pid = self.process.pid
        test.addCleanup(self.kill)

    def log(self):
        """Return the output of the process."""
        with open(self._log_path, errors='replace') as log:
            return log.read()

    def waitReady(self):
        """Wait until it takes messages."""
        waitFor(lambda: ' ready.' in self.log(), 'Celery is ready')

    def kill(self):
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self):
        """End it in good order."""
        self._end(signal.SIGTERM)

    def _end(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(SERVER_LIMIT)
