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
"""The storages of chaos: how a process opens one, how its server restarts."""
import os
import subprocess
import time

from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from cipher.background.tests.support.servers import PostgreSQLServer
from cipher.background.tests.support.servers import ZEOServer
from cipher.background.tests.support.servers import openDatabase


class Database(DB):
    """Remembers that an opening failed.

    ``ZODB`` then leaves a connection open that nobody has, which its `close`
    may stumble over.
    """

    has_failed = False

    def open(self, *arguments, **options):
        """See ``ZODB.interfaces.IDatabase``."""
        try:
            return super().open(*arguments, **options)
        except BaseException:
            self.has_failed = True
            raise

    def close(self):
        """See ``ZODB.interfaces.IDatabase``."""
        try:
            super().close()
        except KeyError:
            if not self.has_failed:
                raise


class FileChaos:
    """A file: one process at a time, and no server."""

    processes = most_processes = 1
    has_server = False

    def __init__(self, folder):
        self._path = os.path.join(folder, 'Data.fs')
        self.file = self._path   # of the FileStorage, None without one

    def start(self):
        """Start the server."""

    def open(self):
        """Return the database, opened by the calling process."""
        return Database(FileStorage(self._path))

    def restart(self, rand):
        """Restart the server, somehow."""

    def stop(self):
        """Stop the server."""


class ZEOChaos:
    """A ZEO server, and processes that are its clients."""

    processes = 4
    most_processes = 100
    has_server = True
    make_server = ZEOServer

    def __init__(self, folder):
        server_folder = os.path.join(folder, 'server')
        os.mkdir(server_folder)
        self._server = self.make_server(server_folder)
        self.file = os.path.join(server_folder, 'Data.fs')
        self._uri = None

    def start(self):
        """See `FileChaos`."""
        self._server.start()
        self._uri = self._make_database()

    def _make_database(self):
        return self._server.uri

    def open(self):
        """See `FileChaos`."""
        return openDatabase(self._uri, factory=Database)

    def restart(self, rand):
        """See `FileChaos`."""
        if rand.random() < 0.5:
            try:
                self._server.stop()
            except subprocess.TimeoutExpired:
                pass   # busy with clients that are paused
        self._server.kill()
        time.sleep(rand.choice((0.0, 0.0, 0.3)))
        self._server.start()

    def stop(self):
        """See `FileChaos`."""
        self._server.kill()


class RelStorageChaos(ZEOChaos):
    """A PostgreSQL server with a RelStorage."""

    make_server = PostgreSQLServer

    def __init__(self, folder):
        super().__init__(folder)
        self.file = None

    def _make_database(self):
        return self._server.makeDatabase()


STORAGES = {'filestorage': FileChaos, 'zeo': ZEOChaos,
            'relstorage': RelStorageChaos}
