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
"""Wake-ups: what another client of the storage has committed.

A storage behind a network lets its clients know which objects a commit of
another one has changed, as soon as it is made.  A runtime listens, and so
need not wait for its poll.  The poll stays: it finds what was missed.
"""
import os
import threading
from weakref import WeakKeyDictionary

from ZODB.interfaces import IStorageDB
from zope.interface import implementer

from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.runtime.maintenance.steps import Step
from cipher.background.store import process
from cipher.background.util.logs import getLogger


log = getLogger(__name__)

_listeners = WeakKeyDictionary()   # DB -> _Listener, once there was one
_lock = threading.Lock()


@implementer(IStorageDB)
class _Listener:
    """Stands before the `IStorageDB` of a storage and passes all on.

    The storage calls from a thread of its own that serves all loads.  So
    nothing is loaded here, and no lock is taken that is held across a load.
    """

    def __init__(self, behind):
        self._behind = behind
        self.heard = None   # called with a list of oids; None: all of them

    def __getattr__(self, name):
        return getattr(self._behind, name)

    def invalidate(self, transaction_id, oids):
        """See ``ZODB.interfaces.IStorageDB``."""
        oids = list(oids)
        self._behind.invalidate(transaction_id, oids)
        self._call(oids)

    def invalidateCache(self):
        """See ``ZODB.interfaces.IStorageDB``."""
        self._behind.invalidateCache()
        self._call(None)

    def _call(self, oids):
        heard = self.heard
        if heard is not None:
            try:
                heard(oids)
            except Exception:
                log.exception('Wake-up failed; the poll will find what waits')


def _reset_after_fork():
    global _lock
    _lock = threading.Lock()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_reset_after_fork)


def listen(db, heard):
    """Call *heard* at each commit of another client of the storage of *db*.

    With the list of the oids that it changed, or None for "perhaps all".
    Nothing happens with a storage that lets nobody know, or is closed.
    """
    adapter = getattr(db, '_mvcc_storage', None)
    storage = getattr(adapter, '_storage', None)
    if not hasattr(storage, 'registerDB'):
        return
    with _lock:
        listener = _listeners.get(db)
        if listener is None:
            # A storage knows the one that it was given last: one that came
            # before us, besides the adapter, is behind us.
            listener = _Listener(getattr(storage, '_db', None) or adapter)
            storage.registerDB(listener)
            _listeners[db] = listener
        listener.heard = heard


def unlisten(db):
    """Call nobody any more."""
    with _lock:
        listener = _listeners.get(db)
        if listener is None:
            return
        listener.heard = None
        storage = getattr(getattr(db, '_mvcc_storage', None), '_storage', None)
        # Somebody who came after us has us behind him: we stay, and pass on.
        if getattr(storage, '_db', None) is listener:
            storage.registerDB(listener._behind)
            del _listeners[db]


class Invalidations:
    """Wakes one runtime when others commit what concerns it."""

    def __init__(self, runtime):
        self._runtime = runtime
        self._watched = {}   # oid -> (registry oid, lane number) or None
        self.step = Step('watch', self.look, lambda: runtime.settings.poll)

    def begin(self):
        """Listen from now on."""
        listen(self._runtime.db, self._heard)

    def end(self):
        """Listen no more."""
        unlisten(self._runtime.db)

    def look(self, connection):
        """Find out which objects to watch.  For the control thread."""
        watched = {}
        with ZopeTransaction():
            directory = process.getDirectory(connection)
            trees = [directory.registries]
            if directory.belonging is not None:
                watched[directory.belonging._p_oid] = None
            record = directory.processes.get(self._runtime.id)
            if record is not None:
                watched[record.request._p_oid] = None
            for registry in directory.listRegistries():
                trees += registry.lanes, registry.stops, registry.pauses
                if registry.hastened is not None:
                    trees.append(registry.hastened)
                for number, lane in registry.lanes.items():
                    watched[lane.births._p_oid] = registry._p_oid, number
            for tree in trees:
                watched.update(dict.fromkeys(_oids(tree)))
        new = [place for oid, place in watched.items()
               if place is not None and oid not in self._watched]
        self._watched = watched
        if new:
            # Births there before this were not heard of.
            self._runtime.lanesChanged(new)

    def _heard(self, oids):
        """Wake the runtime.  Called by a thread of the storage."""
        watched = self._watched   # one dict is never changed
        if oids is None:
            found = list(watched.values())
        else:
            found = [watched[oid] for oid in oids if oid in watched]
            # Another process that does not know that a run is live here stops
            # it as one that waits.
            if not self._runtime.running.liveOids().isdisjoint(oids):
                found.append(None)
        if found:
            places = [place for place in found if place is not None]
            if len(places) < len(found):
                self._runtime.wakeAll()   # perhaps there is a lane more
            if places:
                self._runtime.lanesChanged(places)


def _oids(tree):
    """Yield the oids of a tree and of its buckets."""
    yield tree._p_oid
    tree._p_activate()
    bucket = getattr(tree, '_firstbucket', None)
    while bucket is not None:
        if bucket._p_oid is not None:
            yield bucket._p_oid
        bucket._p_activate()
        bucket = bucket._next
