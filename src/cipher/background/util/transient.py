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
"""Which errors another try may not meet again.

ZODB and ZEO say so by ``TransientError``.  RelStorage lets the errors of its
driver through when the connection to its server is lost.  A ZEO server whose
end interrupts an answer sends the error of that, which its client wraps; and
when it begins again it gives oids a second time that a client has in stock.
"""
from transaction.interfaces import TransientError
from ZODB.DB import DB

from cipher.background.util.spoiled import spoils
from cipher.background.util.text import leavesOf


def isTransient(error, db):
    """Return whether *error*, in a transaction of *db*, calls for another try.

    True for conflicts, and where the storage was away, but not where it was
    closed.  A group of errors does if each of them does.
    """
    return not isClosed(db) and all(
        _is_transient(one, db) for one in leavesOf(error))


def _is_transient(error, db):
    storage = getattr(db, 'storage', None)
    return (isinstance(error, TransientError)
            or _is_of_relstorage(error, storage)
            or _is_of_zeo(error, storage)
            or spoils(error))   # the next try takes the next oid


def isClosed(db):
    """Return whether *db*, a `ZODB.DB.DB`, or the storage below was closed."""
    if not isinstance(db, DB):
        return False   # somebody's double of one
    own = vars(db)
    # `DB.close` begins with a `close` of the instance, that does nothing, and
    # ends without a storage.  The class has one for documentation.
    return ('close' in own or own.get('storage') is None
            or _is_shut(own['storage']))


def _is_shut(storage):
    """Return whether *storage* was closed, as far as its kind shows that."""
    return (getattr(storage, 'opened', _yes)() is False   # in memory
            or getattr(storage, '_closed', False) is True   # RelStorage
            # FileStorage; a pack closes and opens its other file.
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
        # The work itself may use the same driver, for a database of its own.
        return _came_through(error, 'relstorage.')
    # "Retrying may succeed", say its authors, but it is no TransientError.
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
