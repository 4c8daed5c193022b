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
"""Which lane a transaction of this process writes.

Two transactions must not write one lane at a time, nor may one write a lane
whose last change it does not see: both would conflict.  So a transaction
checks a lane out until its end, and gets one whose last change, by whichever
thread of this process, is in its snapshot.
"""
import os
import random
import threading
import weakref

from cipher.background import switchboard
from cipher.background.forks import renewLock


#: A transaction that has started so many runs in a guest lane goes on with
#: another one.
BULK = 50

_pools = weakref.WeakKeyDictionary()   # DB -> {oid of the registry: LanePool}
_pools_lock = threading.Lock()


def getPool(db, registry_oid):
    """Return the `LanePool` of a registry in this process."""
    with _pools_lock:
        return _pools.setdefault(db, {}).setdefault(
            registry_oid, LanePool(registry_oid))


class _Lease:
    """A lane checked out by a transaction."""

    def __init__(self, lane):
        self.lane = lane
        # The cache would let them go, and with them what they know.
        self._parts = lane.births, lane.finishes
        self.born = {}   # serial -> (priority, created_at, due_at), in order

    def isFull(self):
        """Return whether its transaction had better start runs elsewhere.

        A guest lane is all one process's work.
        """
        return self.lane.is_guest and len(self.born) >= BULK

    def serials(self):
        # Those of the objects as this transaction's connection sees them.
        return tuple(part._p_serial for part in self._parts)


class LanePool:
    """The lanes of one registry that this process writes."""

    def __init__(self, registry_oid):
        self.registry_oid = registry_oid
        renewLock(self)
        self._own = ()        # numbers of the lanes that only we write
        self._last = {}       # number -> serials of its last change by us
        self._leases = {}     # number -> weak reference to a transaction
        self._reserved = {}   # number -> weak reference to a thread
        self._local = threading.local()
        self.ran_dry = False  # a transaction found no lane of our own

    def setOwn(self, numbers):
        """From now on only this process writes the lanes of these numbers."""
        with self._lock:
            if self._own == tuple(numbers) and not self.ran_dry:
                return   # whoever has one set apart need not look for it
            self._own = tuple(numbers)
            self._reserved = {number: thread for number, thread
                              in self._reserved.items() if number in numbers}
            self.ran_dry = False

    def keepOwn(self, numbers):
        """Only lanes of these numbers may still be our own."""
        with self._lock:
            if not set(self._own) <= set(numbers):
                self._own = tuple(own for own in self._own if own in numbers)

    def giveUp(self, number):
        """Write that lane no longer as our own; return whether that is so.

        False while a transaction writes it: it is to be asked again.
        """
        with self._lock:
            self._own = tuple(own for own in self._own if own != number)
            self._reserved.pop(number, None)
            return self._is_free(number)

    def used(self):
        """Return the numbers of the lanes that our threads write."""
        with self._lock:
            return {number for number in self._own
                    if self._owner_of(number) or not self._is_free(number)}

    def reserve(self):
        """Set a lane apart for the calling thread, as long as it lives.

        So a long transaction finds its lane as it left it.  Return whether
        there was one to give.
        """
        if getattr(self._local, 'reserved_of', None) is self._own:
            return True
        me = threading.current_thread()
        with self._lock:
            for number in self._own:
                if self._owner_of(number) in (None, me):
                    self._reserved[number] = weakref.ref(me)
                    self._local.number = number
                    self._local.reserved_of = self._own
                    return True
            self.ran_dry = True
            return False

    def checkOut(self, registry, txn):
        """Return the `Lease` of *txn*, made if need be."""
        try:
            lease = txn.data(self)
        except KeyError:
            pass
        else:
            if not lease.isFull():
                return lease
        lease = _Lease(self._choose(registry, txn))
        txn.set_data(self, lease)
        txn.addAfterCommitHook(
            self._committed, (lease, registry._p_jar.db()))
        txn.addAfterAbortHook(self._aborted, (lease,))
        return lease

    def _choose(self, registry, txn):
        me = threading.current_thread()
        with self._lock:
            own = self._own
            preferred = getattr(self._local, 'number', None)
            for number in (preferred, *own) if preferred in own else own:
                lane = registry.lanes.get(number)
                if (lane is not None
                        and self._owner_of(number) in (None, me)
                        and self._is_free(number)
                        and self._is_seen(lane)):
                    self._local.number = number
                    self._leases[number] = weakref.ref(txn)
                    return lane
            if own:
                self.ran_dry = True
            return self._choose_guest(registry, txn)

    def _choose_guest(self, registry, txn):
        guests = [lane for lane in registry.lanes.values() if lane.is_guest]
        random.shuffle(guests)
        # One chosen at random, so that each of their consumers gets work.
        lane = min(guests, key=lambda lane: (
            not self._is_free(lane.number), not self._is_seen(lane)))
        self._leases[lane.number] = weakref.ref(txn)
        return lane

    def _owner_of(self, number):
        thread = self._reserved.get(number, _nobody)()
        return thread if thread is not None and thread.is_alive() else None

    def _is_free(self, number):
        return self._leases.get(number, _nobody)() is None

    def _is_seen(self, lane):
        lane.births._p_activate()
        lane.finishes._p_activate()
        # Or a later one: that of whoever removed some of its runs.
        born, finished = self._last.get(lane.number, (b'', b''))
        return (lane.births._p_serial >= born
                and lane.finishes._p_serial >= finished)

    def _committed(self, success, lease, db):
        # An after-commit hook: it reads what the commit left in the objects,
        # and writes, opens and raises nothing.
        number = lease.lane.number
        with self._lock:
            if success:
                self._last[number] = lease.serials()
            self._leases.pop(number, None)
        if success and lease.born:
            switchboard.wake(db, [
                (self.registry_oid, number, serial, *values)
                for serial, values in lease.born.items()])

    def _aborted(self, lease):
        with self._lock:
            self._leases.pop(lease.lane.number, None)


def _nobody():
    return None


def _forget_after_fork():
    # The lanes of the parent are the parent's to write.
    global _pools_lock
    _pools_lock = threading.Lock()
    _pools.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_after_fork)
