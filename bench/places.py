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
"""The storages that the benchmarks measure, each in a temporary folder.

``file`` is a FileStorage, ``zeo`` a ZEO server of one, ``postgresql`` a
RelStorage on a PostgreSQL server, ``memory`` a MappingStorage.  The servers
are on the loopback interface and end with the measurement.  Unlike those of
the tests, they write as a production server does.
"""
import contextlib
import os
import shutil
import tempfile

from bench.throughput import Bench
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage

from cipher.background.tests.support.servers import PostgreSQLServer
from cipher.background.tests.support.servers import ZEOServer
from cipher.background.tests.support.servers import openDatabase


STORAGES = ('file', 'zeo', 'postgresql', 'memory')


class DurablePostgreSQL(PostgreSQLServer):
    """A PostgreSQL server with its default settings of durability."""

    durability = ()


class Place:
    """Where a database is: what other processes need to open it.

    `uri` is None if no other process can open it.
    """

    def __init__(self, folder, uri, open_database):
        self.folder = folder
        self.uri = uri
        self.openDatabase = open_database

    def open(self):
        """Make the database; return its `PlacedBench`."""
        return PlacedBench(self)

    def size(self):
        """Return the bytes of the file of the database."""
        return os.path.getsize(os.path.join(self.folder, 'Data.fs'))


class PlacedBench(Bench):
    """A new database in a place."""

    def __init__(self, place):
        self._place = place
        self.db = place.openDatabase()
        self.make()

    def size(self):
        """See `Bench`."""
        return self._place.size()


def findMissing(kind):
    """Return why this machine cannot have the storage *kind*, or None."""
    return {'zeo': ZEOServer.findMissing,
            'postgresql': PostgreSQLServer.findMissing,
            }.get(kind, lambda: None)()


def listPossible(kinds):
    """Return those of *kinds* that this machine can have; name the others."""
    possible = []
    for kind in kinds:
        missing = findMissing(kind)
        if missing is None:
            possible.append(kind)
        else:
            print('%s is left out: %s' % (kind, missing))
    return possible


@contextlib.contextmanager
def newPlace(kind):
    """Yield the `Place` of a new database."""
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o755)    # PostgreSQL may run as another user
    try:
        if kind == 'zeo':
            with ZEOServer(folder) as server:
                yield Place(folder, server.uri,
                            lambda: openDatabase(server.uri))
        elif kind == 'postgresql':
            with DurablePostgreSQL(folder) as server:
                uri = server.makeDatabase()
                yield Place(folder, uri, lambda: openDatabase(uri))
        elif kind == 'memory':
            yield Place(folder, None, lambda: DB(MappingStorage()))
        else:
            path = os.path.join(folder, 'Data.fs')
            yield Place(folder, None,
                        lambda: DB(FileStorage(path), pool_size=20))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
