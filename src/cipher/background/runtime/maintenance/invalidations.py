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
"""Wake the runtime when another client of the storage has committed.

ZEO notifies its clients of the objects that another client has changed.  A
runtime listens to that, so it need not wait for its poll.  With RelStorage on
PostgreSQL it listens to `cipher.background.util.notices`.  The poll finds
changes whose notification was missed.
"""
import os
import threading
from functools import partial
from weakref import WeakKeyDictionary

from ZODB.interfaces import IStorageDB
from zope.interface import implementer

from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.runtime.maintenance.steps import Step
from cipher.background.store import process
from cipher.background.util import notices
from cipher.background.util.logs import getLogger


log = getLogger(__name__)

_listeners = WeakKeyDictionary()   # DB -> its _Listener
_lock = threading.Lock()


@implementer(IStorageDB)
class _Listener:
    """Wraps the `IStorageDB` of a storage and passes all calls on.

    The storage calls it in the thread that serves all loads.  So it loads
    nothing, and takes no lock that another thread holds during a load.
    """

    def __init__(self, behind):
        self._behind = behind
        self.changed = None   # called with a list of oids, None: perhaps all

    def __getattr__(self, name):
        return getattr(self._behind, name)

    def invalidate(self, transaction_id, oids):
        oids = list(oids)
        self._behind.invalidate(transaction_id, oids)
        self._call(oids)

    def invalidateCache(self):
        self._behind.invalidateCache()
        self._call(None)

    def _call(self, oids):
        changed = self.changed
        if changed is not None:
            try:
                changed(oids)
            except Exception:
                log.exception('Wake-up failed; the poll will find what waits')


def _reset_after_fork():
    global _lock
    _lock = threading.Lock()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_reset_after_fork)


def listen(db, changed):
    """Call *changed* at each commit of another client of the storage of *db*.

    Its argument is the list of the oids that the commit changed, or None for
    "perhaps all".  It is called in a thread of the storage.  Do nothing if
    the storage is closed or has no notifications.
    """
    notices.listen(db, partial(changed, None))
    adapter = getattr(db, '_mvcc_storage', None)
    storage = getattr(adapter, '_storage', None)
    if not hasattr(storage, 'registerDB'):
        return
    with _lock:
        listener = _listeners.get(db)
        if listener is None:
            # A storage knows only the `IStorageDB` that was registered last.
            # This one passes the calls on to the one before.
            listener = _Listener(getattr(storage, '_db', None) or adapter)
            storage.registerDB(listener)
            _listeners[db] = listener
        listener.changed = changed


def unlisten(db):
    """End `listen` for *db*."""
    notices.unlisten(db)
    with _lock:
        listener = _listeners.get(db)
        if listener is None:
            return
        listener.changed = None
        storage = getattr(getattr(db, '_mvcc_storage', None), '_storage', None)
        # If another one was registered later, it passes calls on to this one,
        # which has to stay.
        if getattr(storage, '_db', None) is listener:
            storage.registerDB(listener._behind)
            del _listeners[db]


class Invalidations:
    """Wakes the process *own* at commits of others that concern it.

    *running* are its `RunningRuns`.  *lanes_changed* is called with places of
    lanes, *wake_all* if anything else changed.  Both may be called in a thread
    of the storage.
    """

    def __init__(self, own, running, lanes_changed, wake_all):
        self._own = own
        self._running = running
        self._lanes_changed = lanes_changed
        self._wake_all = wake_all
        self._watched = {}   # oid -> (registry oid, lane number) or None
        self.step = Step('watch', self.look, lambda: own.settings.poll)

    def begin(self):
        """Listen from now on."""
        listen(self._own.db, self._notice)

    def end(self):
        """Listen no more."""
        unlisten(self._own.db)

    def look(self, connection):
        """Find the objects to watch.  Only the control thread calls this."""
        watched = {}
        with ZopeTransaction():
            directory = process.getDirectory(connection)
            trees = [directory.registries]
            if directory.belonging is not None:
                watched[directory.belonging._p_oid] = None
            record = directory.processes.get(self._own.id)
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
            # Earlier births in these lanes were not noticed.
            self._lanes_changed(new)

    def _notice(self, oids):
        """Wake the runtime if *oids* concern it.

        A thread of the storage calls this.
        """
        watched = self._watched   # replaced by `look`, never changed
        if oids is None:
            found = list(watched.values())
        else:
            found = [watched[oid] for oid in oids if oid in watched]
            # A process that does not know that a run is live here may stop
            # it as one that waits.
            if not self._running.liveOids().isdisjoint(oids):
                found.append(None)
        if found:
            places = [place for place in found if place is not None]
            if len(places) < len(found):
                self._wake_all()   # there may be a new lane
            if places:
                self._lanes_changed(places)


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
