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
"""Transient errors: another try may succeed.

ZODB and ZEO mark them by ``TransientError``.  There are three more kinds:

- RelStorage lets the errors of its driver through when the connection to its
  server is lost.
- A ZEO server that is shut down while it answers sends an error, which its
  client wraps.
- A restarted ZEO server hands out oids again; see `spoiled`.
"""
from transaction.interfaces import TransientError
from ZODB.DB import DB

from cipher.background.util.spoiled import spoils
from cipher.background.util.text import leavesOf


def isTransient(error, db):
    """Return whether another try may succeed after *error*.

    *error* was raised in a transaction of *db*.  True for conflicts and if
    the storage was away; False if the storage was closed.  A group of errors
    is transient if each of its errors is.
    """
    return not isClosed(db) and all(
        _is_transient(one, db) for one in leavesOf(error))


def _is_transient(error, db):
    storage = getattr(db, 'storage', None)
    return (isinstance(error, TransientError)
            or _is_of_relstorage(error, storage)
            or _is_of_zeo(error, storage)
            or spoils(error))   # the next try gets another oid


def isClosed(db):
    """Return whether *db*, a `ZODB.DB.DB`, or its storage was closed."""
    if not isinstance(db, DB):
        return False   # a double in somebody's tests
    own = vars(db)
    # close() begins by putting `noop` in its own place, and ends by deleting
    # the storage.  The class has a `storage` for documentation.
    storage = own.get('storage')
    if storage is None or 'close' in own and (
            getattr(own['close'], '__name__', '') == 'noop'):
        return True
    files = getattr(storage, '_files', None)
    if files is not None:   # FileStorage: first, as each job asks
        # A pack closes its other file for a moment.
        return getattr(files, 'closed', False) is True
    return _is_shut(storage)


def _is_shut(storage):
    """Return whether *storage* was closed; False if its kind hides that."""
    opened = getattr(storage, 'opened', None)   # MappingStorage
    server = getattr(storage, '_server', None)   # ZEO
    return (opened is not None and opened() is False
            or getattr(storage, '_closed', False) is True   # RelStorage
            or hasattr(server, 'is_closed') and server.is_closed() is True)


def _is_of_zeo(error, storage):
    return type(storage).__module__.startswith('ZEO.') and _is_a(
        error, 'ServerException')


def _is_of_relstorage(error, storage):
    if not type(storage).__module__.startswith('relstorage.'):
        return False
    driver = getattr(getattr(storage, '_adapter', None), 'driver', None)
    kinds = getattr(driver, 'disconnected_exceptions', ())
    if isinstance(error, kinds):
        # The work may use the same driver for another database.
        return _came_through(error, 'relstorage.')
    # RelStorage documents this error as worth a retry, but it is not a
    # TransientError.
    return _is_a(error, 'UnableToAcquireLockError')


def _is_a(error, name):
    return any(kind.__name__ == name for kind in type(error).__mro__)


def _came_through(error, package):
    traceback = error.__traceback__
    while traceback is not None:
        name = traceback.tb_frame.f_globals.get('__name__', '')
        if name.startswith(package):
            return True
        traceback = traceback.tb_next
    return False
