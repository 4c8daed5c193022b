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
"""The lanes that this process writes, and their check-out by transactions.

Two transactions conflict if they write one lane at the same time, or if one
writes a lane whose last change is not in its snapshot.  So a transaction
checks a lane out until its end.  It gets a lane whose last change by this
process is in its snapshot.  If this process has no such lane, the transaction
makes this process the writer of one more lane; see `writers`.

Nothing is loaded under the lock: after-commit hooks wait for the lock.
"""
import os
import sys
import threading
import weakref

import transaction

from cipher.background.contextmanagers import closeConnection
from cipher.background.store import process
from cipher.background.store import writers
from cipher.background.store.lane import Lane
from cipher.background.util import switchboard
from cipher.background.util.forks import Locked
from cipher.background.util.logs import getLogger
from cipher.background.util.spoiled import forgetCaches
from cipher.background.util.spoiled import noteServer
from cipher.background.util.spoiled import spoils


log = getLogger(__name__)

#: Free lanes from which a second try still chooses.  Two transactions seldom
#: choose the same one of so many.  If there are fewer, a second try makes a
#: new lane.
ENOUGH = 8

#: The serial of a change that could not be read.  It is above all serials, so
#: the lane counts as changed after any snapshot.
_UNKNOWN = b'\xff' * 8

_pools = weakref.WeakKeyDictionary()   # DB -> {oid of the registry: LanePool}
_pools_lock = threading.Lock()


def getPool(db, registry_oid):
    """Return the `LanePool` of the registry *registry_oid* of *db*."""
    pool = _pools.get(db, {}).get(registry_oid)
    if pool is not None:
        return pool   # without the lock: no pool is ever replaced
    with _pools_lock:
        pools = _pools.setdefault(db, {})
        pool = pools.get(registry_oid)
        if pool is None:
            pool = pools[registry_oid] = LanePool(registry_oid)
        return pool


class _Checkout:
    """A lane that a transaction has checked out."""

    def __init__(self, lane):
        # Whether this transaction makes this process the writer.
        self.is_new = bool(lane.writer._p_changed) or (
            lane.writer._p_jar is None)
        self.born = 0   # number of runs started in this transaction
        self._last = None   # (serial, run) of the last one
        self.setLane(lane)

    def setLane(self, lane):
        """Let *lane* be the lane that is checked out."""
        self.lane = lane
        self.number = lane.number   # for the hooks, which load nothing
        # Referred to, so that the cache keeps them and their serials.
        self._parts = lane.writer, lane.births, lane.finishes

    def bear(self, run):
        """Note that *run* was started in this transaction."""
        self.born += 1
        self._last = run.serial, run

    def only(self):
        """Return (serial, oid) of the one new run; None unless it is one."""
        serial, run = self._last
        # Only the oid: a hook loads nothing.  A savepoint may have taken the
        # run back.
        return (serial, run._p_oid) if self.born == 1 and run._p_oid else None

    def serials(self):
        """Return the serials of the parts after the commit.

        A part may have been a ghost at the commit, when a savepoint had
        stored it.  It does not have its new serial, which is looked up then.
        """
        writer, births, finishes = self._parts
        if (writer._p_changed is not None and births._p_changed is not None
                and finishes._p_changed is not None):
            return writer._p_serial, births._p_serial, finishes._p_serial
        try:
            return self._look_up()
        except Exception as error:
            log.debug('Lane %d: %s; this process writes it no more',
                      self.number, type(error).__name__)
            return (_UNKNOWN,) * len(self._parts)

    def _look_up(self):
        manager = transaction.TransactionManager(explicit=True)
        db = self.lane._p_jar.db()
        connection = db.open(manager)
        try:
            manager.begin()
            serials = []
            for part in self._parts:
                part = connection.get(part._p_oid)
                part._p_activate()
                serials.append(part._p_serial)
            return tuple(serials)
        finally:
            manager.abort()
            closeConnection(db, connection)


class LanePool(Locked):
    """The lanes of one registry that this process writes."""

    def __init__(self, registry_oid):
        super().__init__()
        self.registry_oid = registry_oid
        self._own = ()        # numbers of lanes that this process writes
        self._last = {}       # number -> serials of its last change by us
        self._checkouts = {}  # number -> weak reference to a transaction
        self._reserved = {}   # number -> weak reference to a thread
        self._local = threading.local()

    # Lanes of this process

    def becomeWriter(self, registry, number):
        """Make this process the writer of at least *number* lanes.

        Return the numbers of its lanes.  A runtime calls this when it begins,
        so that no transaction of a user has to take a lane.
        """
        txn = registry._p_jar.transaction_manager.get()
        me, former, alive = writers.identify(registry._p_jar)
        own = [lane.number for lane in registry.lanes.values()
               if lane.writer.id == me.id]
        taken = []
        txn.addAfterCommitHook(self._became_writer, (taken,))
        txn.addAfterAbortHook(self._became_writer, (False, taken))
        for _ in range(number - len(own)):
            lane = self._become_writer(registry, txn, me, former, alive, False)
            taken.append(_Checkout(lane))
        return own + [checkout.number for checkout in taken]

    def _became_writer(self, success, taken):
        for checkout in taken:
            self._end(success, checkout)
        if success:
            self._know([checkout.number for checkout in taken])

    def _end(self, success, checkout):
        """Note that the transaction of *checkout* is over."""
        number = checkout.number
        serials = checkout.serials() if success else ()
        with self._lock:
            if success:
                last = self._last.get(number, serials)
                self._last[number] = tuple(map(max, last, serials))
            self._checkouts.pop(number, None)

    def _know(self, numbers):
        with self._lock:
            self._own = tuple(sorted({*self._own, *numbers}))

    def _forget(self, number):
        """Note that this process is not the writer of the lane *number*.

        The snapshot may just be too old to show it; `_choose` finds the lane
        again.
        """
        with self._lock:
            self._own = tuple(own for own in self._own if own != number)
            if self._owner_of(number) is threading.current_thread():
                self._unreserve(number)

    def _unreserve(self, number):
        del self._reserved[number]
        self._local.is_reserved = False

    def reserve(self):
        """Reserve a lane for the calling thread, while the thread lives.

        So a long transaction finds its lane unchanged.  Return whether there
        was a free lane.
        """
        if getattr(self._local, 'is_reserved', False):
            return True
        me = threading.current_thread()
        with self._lock:
            # Starts look for a lane from the other end.
            for number in reversed(self._own):
                if self._owner_of(number) is None and self._is_free(number):
                    self._reserved[number] = weakref.ref(me)
                    self._local.number = number
                    self._local.is_reserved = True
                    return True
        return False

    def release(self):
        """Give up the lane that the calling thread reserved, if any."""
        with self._lock:
            if getattr(self._local, 'is_reserved', False):
                self._unreserve(self._local.number)

    def hold(self, registry, number):
        """Check the lane *number* out for the open transaction, to tidy it.

        Return False if another transaction has checked it out, a thread has
        reserved it, or another process writes it.
        """
        txn = registry._p_jar.transaction_manager.get()
        lane = registry.lanes[number]
        me, former, alive = writers.identify(registry._p_jar)
        if not (lane.writer.id in former or writers.isFree(lane, alive)):
            return False
        if not self._hold(lane, txn):
            return False
        checkout = _Checkout(lane)
        txn.addAfterCommitHook(
            self._committed, (checkout, registry._p_jar.db()))
        txn.addAfterAbortHook(self._aborted, (checkout,))
        return True

    # Checking out

    def checkOut(self, registry, txn):
        """Return the `_Checkout` of *txn*; check a lane out if it has none."""
        try:
            checkout = txn.data(self)
        except KeyError:
            pass
        else:
            if checkout.is_new:
                self._become_writer_again(registry, checkout)
            return checkout
        checkout = _Checkout(self._choose(registry, txn))
        txn.set_data(self, checkout)
        txn.addAfterCommitHook(
            self._committed, (checkout, registry._p_jar.db()))
        txn.addAfterAbortHook(self._aborted, (checkout,))
        return checkout

    def _become_writer_again(self, registry, checkout):
        """Make this process the writer again if a savepoint undid that."""
        me, _, _ = writers.identify(registry._p_jar)
        number = checkout.number
        if number not in registry.lanes:
            checkout.setLane(Lane(number))
            registry.lanes[number] = checkout.lane
        if checkout.lane.writer.id != me.id:
            checkout.lane.writer.become(me)

    def _choose(self, registry, txn):
        noteServer(registry._p_jar.db())
        directory = process.getDirectory(registry._p_jar)
        if directory is None or (
                registry._p_oid not in directory.registries):
            process.makeKnown(registry)
        me, former, alive = writers.identify(registry._p_jar)
        for number in self._in_order():
            lane = registry.lanes.get(number)
            if lane is None or lane.writer.id != me.id:
                self._forget(number)
            elif self._hold(lane, txn):
                return lane
        found = [lane for lane in registry.lanes.values()
                 if lane.writer.id == me.id]
        self._know([lane.number for lane in found])
        for lane in found:
            if self._hold(lane, txn):
                return lane
        is_second_try = getattr(self._local, 'has_failed', False)
        return self._become_writer(
            registry, txn, me, former, alive, is_second_try)

    def _in_order(self):
        """Return the numbers of our lanes, first the thread's last lane."""
        own = self._own
        preferred = getattr(self._local, 'number', None)
        return (preferred, *own) if preferred in own else own

    def _become_writer(self, registry, txn, me, former, alive, is_second_try):
        """Make this process the writer of one more lane; return that."""
        free = list(writers.freeLanes(registry, former, alive))
        # A second try follows a conflict about a free lane.  Others may try
        # again at this moment as well.
        if not is_second_try or len(free) >= ENOUGH:
            for lane in free:
                if self._hold(lane, txn):
                    lane.writer.become(me)
                    return lane
        while True:
            lane = Lane(writers.newNumber(registry))
            if self._hold(lane, txn):
                lane.writer.become(me)
                registry.lanes[lane.number] = lane
                return lane

    def _hold(self, lane, txn):
        """Check *lane* out for *txn* if it is free; return whether it was."""
        serials = []
        for part in (lane.writer, lane.births, lane.finishes):
            if part._p_jar is not None:
                part._p_activate()
            serials.append(part._p_serial)
        number, local = lane.number, self._local
        has_reserved = getattr(local, 'is_reserved', False)
        is_own = has_reserved and local.number == number
        with self._lock:
            if not is_own and self._owner_of(number) is not None:
                return False
            checkout = self._checkouts.get(number)
            if checkout is not None and checkout() is not None:
                return False
            # Our last change must be in the snapshot.  A later change is one
            # by an administrator in another process.
            for mine, last in zip(serials, self._last.get(number, ())):
                if mine < last:
                    return False
            self._checkouts[number] = weakref.ref(txn)
        if not has_reserved:
            local.number = number
        return True

    def _owner_of(self, number):
        thread = self._reserved.get(number, _nobody)()
        return thread if thread is not None and thread.is_alive() else None

    def _is_free(self, number):
        return self._checkouts.get(number, _nobody)() is None

    def _committed(self, success, checkout, db):
        # An after-commit hook: it reads the objects as the commit left them,
        # and writes and raises nothing.
        number = checkout.number
        # If the commit failed, its error is being handled right now.
        error = None if success else sys.exc_info()[1]
        if error is not None and spoils(error):
            forgetCaches(db)
        self._end(success, checkout)
        self._local.has_failed = checkout.is_new and not success
        if success and checkout.is_new:
            self._know([number])
            switchboard.wake(db)   # the registry may be new, too
        if success and checkout.born:
            switchboard.wake(
                db, [(self.registry_oid, number)], checkout.only())

    def _aborted(self, checkout):
        with self._lock:
            self._checkouts.pop(checkout.number, None)


def _nobody():
    return None


def _forget_after_fork():
    # The parent goes on writing its lanes.
    global _pools_lock
    _pools_lock = threading.Lock()
    _pools.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_after_fork)
