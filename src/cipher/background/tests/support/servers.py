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
"""Database servers that tests and benchmarks start: ZEO and PostgreSQL.

Each listens on a free loopback port, stores its data in a folder of the caller
and is stopped by its process id.  Any process can open its database by the
zodburi::

    with ZEOServer(folder) as server:
        db = openDatabase(server.uri)          # here, or in another process
        server.kill()                          # as a crash would
        server.start()                         # the same port and data
        server.pause()                         # it does not answer until
        server.resume()

    with PostgreSQLServer(folder) as server:
        uri = server.makeDatabase()            # a new one, empty
        db = openDatabase(uri)

`findMissing` of each class returns why this machine cannot have such a server.
The layers at the end are for zope.testrunner, `requireServer` is for tests.
"""
import glob
import itertools
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec

from ZODB.DB import DB
from ZODB.POSException import StorageError
from zodburi import resolve_uri


#: Seconds that a server may take to begin or to end.
SERVER_LIMIT = 30

#: Below the ports that the system chooses by itself: otherwise a client could
#: get the port of a server that is away as its own.
PORTS = range(20000, 32000)


def openDatabase(uri, pool_size=30, factory=DB):
    """Open the database of a zodburi; return an object made by *factory*.

    Its server runs, but a busy machine may need longer than the timeout of
    one call.
    """
    make_storage, settings = resolve_uri(uri)
    settings.setdefault('pool_size', pool_size)
    deadline = time.monotonic() + SERVER_LIMIT
    while True:
        try:
            return factory(make_storage(), **settings)
        except StorageError:
            if time.monotonic() > deadline:
                raise


def freePort():
    """Return the number of a free loopback port."""
    for number in random.sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(('127.0.0.1', number))
            except OSError:
                continue
            return number
    raise OSError('expected a free loopback port, got none of 100')


def waitFor(condition, what, limit=SERVER_LIMIT):
    """Wait until *condition* holds; return its result."""
    deadline = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError('%s did not come true in %s s'
                                 % (what, limit))
        time.sleep(0.01)


def touch(folder, name, text=''):
    """Write a file atomically."""
    path = os.path.join(folder, name)
    # Two threads may write the same file at a time.
    new_path = '%s.%d' % (path, threading.get_ident())
    with open(new_path, 'w') as new:
        new.write(text)
    os.rename(new_path, path)


def programEnvironment():
    """Return the environment of a Python process with our import path."""
    return dict(os.environ, PYTHONPATH=os.pathsep.join(
        path for path in sys.path if path))


class Server:
    """A server process; a context manager that starts and kills it.

    Its folder must exist; the caller removes it.
    """

    def __init__(self, folder):
        self.folder = folder
        self.port = freePort()
        self.process = None

    @staticmethod
    def findMissing():
        """Return why this machine cannot have such a server, or None."""

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.kill()

    @property
    def pid(self):
        return self.process.pid

    def isRunning(self):
        """Return whether its process exists, paused or not."""
        return self.process is not None and self.process.poll() is None

    def start(self):
        """Start it, or start it again; return when it answers."""
        self._end(signal.SIGKILL)   # an earlier process, if any
        self.process = self._spawn()
        waitFor(self._has_begun, '%s answers' % type(self).__name__)

    def stop(self):
        """End it in good order; return when it has ended."""
        self._end(signal.SIGTERM)

    def kill(self):
        """End it as a crash does; do nothing if it is not running."""
        self._end(signal.SIGKILL)

    def restart(self):
        """Kill it and start it again: same port, same data."""
        self.kill()
        self.start()

    def pause(self):
        """Stop its answers until `resume`; connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self):
        """End a `pause`."""
        self._signal(signal.SIGCONT)

    def waitEnd(self):
        """Wait until it has ended by itself."""
        self.process.wait(SERVER_LIMIT)

    def _spawn(self):
        raise NotImplementedError

    def _answers(self):
        raise NotImplementedError

    def _has_begun(self):
        if self.process.poll() is not None:
            raise AssertionError('%s: expected it to begin, got exit %s; see '
                                 '%s' % (type(self).__name__,
                                         self.process.returncode,
                                         self._log_path))
        return self._answers()

    def _signal(self, number):
        self.process.send_signal(number)

    def _end(self, number):
        if self.process is None:
            return
        if self.isRunning():
            self.resume()   # a paused process receives no other signal
            self.process.send_signal(number)
            self.process.wait(SERVER_LIMIT)
        if self.process.stdin is not None:
            self.process.stdin.close()

    @property
    def _log_path(self):
        return os.path.join(self.folder, 'server.log')

    def _popen(self, *arguments, **options):
        with open(self._log_path, 'ab') as log:
            return subprocess.Popen(
                arguments, stdout=log, stderr=log, **options)


class ZEOServer(Server):
    """A ZEO server of a file storage, ``Data.fs`` in *folder*."""

    #: Seconds that a call of a client waits for a server that is away.
    wait_timeout = 1

    @staticmethod
    def findMissing():
        """See `Server`."""
        return None if find_spec('ZEO') else 'ZEO is not installed'

    @property
    def uri(self):
        """Zodburi of its database."""
        return 'zeo://127.0.0.1:%d?wait_timeout=%d' % (
            self.port, self.wait_timeout)

    def exitAfterCommit(self, note):
        """Make it exit once, right after a commit whose note contains *note*.

        The commit is on the disk, but its client gets no reply.
        """
        touch(self.folder, 'exit-after-commit', note)

    def hasToExit(self):
        """Return whether it still has to obey `exitAfterCommit`."""
        return os.path.exists(os.path.join(self.folder, 'exit-after-commit'))

    def _spawn(self):
        # It also ends with this process, which holds its input open.
        return self._popen(
            sys.executable, '-m', 'cipher.background.tests.support.zeoserver',
            self.folder, str(self.port),
            stdin=subprocess.PIPE, env=programEnvironment())

    def _answers(self):
        try:
            socket.create_connection(('127.0.0.1', self.port), 1).close()
        except OSError:
            return False
        return True


class PostgreSQLServer(Server):
    """A PostgreSQL cluster in *folder*.

    The server refuses to run as root.  Then it runs as the user ``postgres``
    or ``nobody``, who also owns the folder.
    """

    #: Data in the kernel survive our kills.  Only a loss of power would need
    #: fsync.
    durability = ('fsync=off', 'full_page_writes=off')

    def __init__(self, folder):
        super().__init__(folder)
        self._user = _find_user()
        self._count = itertools.count(1)

    @staticmethod
    def findMissing():
        """See `Server`."""
        for name in 'relstorage', 'psycopg2':
            if find_spec(name) is None:
                return '%s is not installed' % name
        return None if _find_programs() else 'PostgreSQL is not installed'

    def start(self):
        """See `Server`; makes the cluster at the first time."""
        if not os.path.exists(self._data):
            self._init()
        super().start()

    def stop(self):
        """See `Server`."""
        self._end(signal.SIGINT)   # SIGTERM would wait for its clients

    def kill(self):
        """See `Server`: nothing is ended in good order."""
        self._end(signal.SIGQUIT)   # SIGKILL would leave its shared memory

    def makeDatabase(self, **options):
        """Make a database; return its zodburi.

        *options* are those of RelStorage that a zodburi may have.
        """
        name = 'test%d' % next(self._count)
        self._finish('createdb', *self._place, name)
        return 'postgres://postgres@127.0.0.1:%d/%s?%s' % (
            self.port, name, '&'.join(
                '%s=%s' % option for option in options.items()))

    @property
    def _place(self):
        return ('-h', '127.0.0.1', '-p', str(self.port), '-U', 'postgres')

    @property
    def _data(self):
        return os.path.join(self.folder, 'data')

    def _init(self):
        if self._user:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        self._finish(
            'initdb', '--pgdata', self._data, '--username', 'postgres',
            '--auth', 'trust', '--encoding', 'UTF8', '--locale', 'C',
            '--no-sync')

    def _spawn(self):
        settings = [*self.durability, 'shared_buffers=32MB',
                    'max_connections=200']
        return self._run(
            'postgres', '-D', self._data, '-p', str(self.port),
            '-h', '127.0.0.1', '-k', self.folder,
            *[part for setting in settings for part in ('-c', setting)])

    def _finish(self, program, *arguments):
        status = self._run(program, *arguments).wait(120)
        if status:
            raise AssertionError('%s: expected it to succeed, got exit %s; '
                                 'see %s' % (program, status, self._log_path))

    def _run(self, program, *arguments):
        options = {}
        if self._user:
            options = dict(user=self._user.pw_uid, group=self._user.pw_gid,
                           extra_groups=[])
        return self._popen(
            os.path.join(_find_programs(), program), *arguments,
            stdin=subprocess.DEVNULL, cwd=self.folder, **options)

    def _answers(self):
        return self._run('pg_isready', '-q', *self._place).wait(
            SERVER_LIMIT) == 0

    def _signal(self, number):
        # Each client has a process of its own.
        self.process.send_signal(number)
        for pid in _children(self.pid):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass


def _find_programs():
    """Return the folder with the newest PostgreSQL, or None."""
    found = shutil.which('initdb')
    # Only some programs are linked from the folders of the versions, so look
    # in these folders.
    folders = [os.path.dirname(os.path.realpath(found))] if found else sorted(
        glob.glob('/usr/lib/postgresql/*/bin'),
        key=lambda path: float(path.split('/')[-2]), reverse=True)
    return next((folder for folder in folders
                 if os.path.exists(os.path.join(folder, 'createdb'))), None)


def _find_user():
    """Return the user that a server has to run as; None: the present one."""
    if os.geteuid() != 0:
        return None
    for name in 'postgres', 'nobody':
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise OSError('expected a user postgres or nobody, got none')


def _children(pid):
    with open('/proc/%d/task/%d/children' % (pid, pid)) as children:
        return [int(child) for child in children.read().split()]


class ServerLayer:
    """A layer of zope.testrunner with one server for its tests.

    `server` is the server, `missing` the reason why there is none.
    """

    __bases__ = ()
    __module__ = __name__

    def __init__(self, factory):
        self.__name__ = factory.__name__ + 'Layer'
        self._factory = factory
        self.server = self.missing = self._folder = None

    def setUp(self):
        """Start the server, if this machine can have one."""
        self.missing = self._factory.findMissing()
        if self.missing is None:
            self._folder = tempfile.TemporaryDirectory()
            self.server = self._factory(self._folder.name)
            self.server.start()

    def tearDown(self):
        """Stop the server, remove its data."""
        if self.server is not None:
            self.server.kill()
            self._folder.cleanup()
            self.server = None


#: The tests of this layer share a PostgreSQL cluster; each has a new database.
POSTGRESQL_LAYER = ServerLayer(PostgreSQLServer)


def requireServer(test, missing):
    """Skip *test* for the reason *missing*, unless that is None.

    If the environment variable CI is set, fail the test instead.
    """
    if missing is not None:
        if os.environ.get('CI'):
            test.fail(missing)
        test.skipTest(missing)
