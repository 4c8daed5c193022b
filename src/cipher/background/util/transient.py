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
    return (getattr(own.get('close'), '__name__', '') == 'noop'
            or own.get('storage') is None
            or _is_shut(own['storage']))


def _is_shut(storage):
    """Return whether *storage* was closed; False if its kind hides that."""
    return (getattr(storage, 'opened', _yes)() is False   # MappingStorage
            or getattr(storage, '_closed', False) is True   # RelStorage
            # FileStorage; a pack closes its other file for a moment.
            or getattr(getattr(storage, '_files', None), 'closed', False)
            is True
            or getattr(getattr(storage, '_server', None), 'is_closed', _no)()
            is True)   # ZEO


def _yes():
    return True


def _no():
    return False


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
