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
"""Caches that must not be used again, and oids that others have used.

A ZEO client keeps a stock of a hundred oids.  A server that begins again
gives the unused ones out a second time, so two clients may have the same.
When an object gets an oid that another client's object has, which is in the
cache already, ZODB says that a different object has it.  The abort then takes
the *other* client's object out of the cache: whoever still refers to it reads
the defaults of its class, and what is changed in it is not stored.

So after that error the cache is forgotten, and so are those of all other
connections when they are opened next: ZODB can only forget all of them.
"""
import threading
import weakref

from transaction.interfaces import TransientError
from ZODB.Connection import resetCaches

from cipher.background.util.text import leavesOf


_generations = weakref.WeakKeyDictionary()   # storage -> as last seen
_lock = threading.Lock()


class CacheSpoiled(TransientError):
    """Another try needs another connection."""


def spoils(error):
    """Return whether *error* leaves a cache that must not be used again.

    A group of errors does if any of them does.
    """
    return any(map(_spoils, leavesOf(error)))


def _spoils(error):
    return isinstance(error, CacheSpoiled) or (
        isinstance(error, ValueError)
        and error.args == ('A different object already has the same oid',)
        and _came_through_zodb(error))


def forgetCaches(db):
    """Let each connection begin with an empty cache when it is opened next.

    And let no storage of *db* give out an oid that it has in stock.
    """
    resetCaches()
    for each in db.databases.values():
        _drop_stock(each.storage)


def noteServer(db):
    """Drop the stock of oids if the server was away since the last call."""
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
    # ZEO has no other way.  Where it calls it otherwise, each conflict costs
    # a try without a pause.
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
