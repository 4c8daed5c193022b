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
"""Caches that must not be used again after a ZEO server was restarted.

A ZEO client keeps a stock of a hundred oids.  A restarted server hands out
the unused ones again, so two clients may have the same oids.  A client may
then give a new object the oid of another client's object that is already in
the cache.  ZODB raises an error: a different object has this oid.  The abort
removes the *other* object from the cache.  Code that still refers to it reads
the defaults of its class, and changes of it are not stored.

So after that error the cache is dropped.  ZODB can only drop all caches, each
when its connection is opened next.
"""
import threading
import weakref

from transaction.interfaces import TransientError
from ZODB.Connection import resetCaches

from cipher.background.util.text import leavesOf


_generations = weakref.WeakKeyDictionary()   # storage -> as last seen
_lock = threading.Lock()


class CacheSpoiled(TransientError):
    """The work can be tried again, but only with another connection."""


def spoils(error):
    """Return whether *error* leaves a cache that must not be used again.

    A group of errors does so if any of its errors does.
    """
    return any(map(_spoils, leavesOf(error)))


def _spoils(error):
    return isinstance(error, CacheSpoiled) or (
        isinstance(error, ValueError)
        and error.args == ('A different object already has the same oid',)
        and _came_through_zodb(error))


def forgetCaches(db):
    """Drop all caches and the oids that storages of *db* have in stock.

    Each connection gets an empty cache when it is opened next.
    """
    resetCaches()
    for each in db.databases.values():
        _drop_stock(each.storage)


def noteServer(db):
    """Drop the stock of oids if the ZEO server of *db* was away meanwhile."""
    storage = db.storage
    generation = getattr(storage, '_connection_generation', None)
    if generation is None:
        return   # not a client of ZEO
    with _lock:
        seen = _generations.setdefault(storage, generation)
        _generations[storage] = generation
    if seen != generation:
        _drop_stock(storage)


def _drop_stock(storage):
    # ZEO has no public way to do this.  If a release of it renames the
    # attribute, each conflict of oids costs one more try.
    stock = getattr(storage, '_oids', None)
    if isinstance(stock, list):
        del stock[:]


def _came_through_zodb(error):
    traceback = error.__traceback__
    while traceback is not None:
        name = traceback.tb_frame.f_globals.get('__name__', '')
        if name.startswith('ZODB.'):
            return True
        traceback = traceback.tb_next
    return False
