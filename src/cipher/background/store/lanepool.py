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
thread of this process, is in its snapshot.  Where this process has no such
lane, the transaction leases one (`leases`).

Nothing is loaded under the lock: an after-commit hook waits for it.
"""
import os
import sys
import threading
import weakref

import transaction

from cipher.background.store import leases
from cipher.background.store import process
from cipher.background.store.lane import Lane
from cipher.background.util import switchboard
from cipher.background.util.forks import Locked
from cipher.background.util.logs import getLogger
from cipher.background.util.spoiled import forgetCaches
from cipher.background.util.spoiled import noteServer
from cipher.background.util.spoiled import spoils


log = getLogger(__name__)

#: Of so many free lanes two transactions that try again seldom choose the same
#: one.  Of fewer they choose none: they make lanes.
ENOUGH = 8

#: The serial of a change that nobody could read: no snapshot shows it.
_UNKNOWN = b'\xff' * 8

_pools = weakref.WeakKeyDictionary()   # DB -> {oid of the registry: LanePool}
_pools_lock = threading.Lock()


def getPool(db, registry_oid):
    """Return the `LanePool` of a registry in this process."""
    with _pools_lock:
        pools = _pools.setdefault(db, {})
        pool = pools.get(registry_oid)
        if pool is None:
            pool = pools[registry_oid] = LanePool(registry_oid)
        return pool


class _Checkout:
    """A lane checked out by a transaction."""

    def __init__(self, lane):
        # This transaction makes this process its writer.
        self.is_new = bool(lane.writer._p_changed) or (
            lane.writer._p_jar is None)
        self.born = 0   # number of runs
        self.setLane(lane)

    def setLane(self, lane):
        """Let *lane* be the one that is checked out."""
        self.lane = lane
        self.number = lane.number   # hooks must load nothing
        # The cache would let them go, and with them what they know.
        self._parts = lane.writer, lane.births, lane.finishes

    def serials(self):
        """Return the serials of the parts after the commit.

        A part that was a ghost at its commit, because a savepoint had stored
        it already, does not know its new serial.
        """
        if not any(part._p_changed is None for part in self._parts):
            return tuple(part._p_serial for part in self._parts)
        try:
            return self._look_up()
        except Exception as error:
            log.debug('Lane %d: %s; it is left alone from now on',
                      self.number, type(error).__name__)
            return (_UNKNOWN,) * len(self._parts)

    def _look_up(self):
        manager = transaction.TransactionManager(explicit=True)
        connection = self.lane._p_jar.db().open(manager)
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
            connection.close()


class LanePool(Locked):
    """The lanes of one registry that this process writes."""

    def __init__(self, registry_oid):
        super().__init__()
        self.registry_oid = registry_oid
        self._own = ()        # numbers of lanes that are ours, as is known
        self._last = {}       # number -> serials of its last change by us
        self._leases = {}     # number -> weak reference to a transaction
        self._reserved = {}   # number -> weak reference to a thread
        self._local = threading.local()

    # Lanes of our own

    def leaseLanes(self, registry, number):
        """Be the writer of at least *number* lanes; return their numbers.

        Joins the open transaction: for a runtime, so that no transaction of
        a user needs to lease one.
        """
        txn = registry._p_jar.transaction_manager.get()
        me, former, alive = leases.identify(registry._p_jar)
        own = [lane.number for lane in registry.lanes.values()
               if lane.writer.id == me.id]
        held = []
        txn.addAfterCommitHook(self._leased, (held,))
        txn.addAfterAbortHook(self._leased, (False, held))
        for _ in range(number - len(own)):
            lane = self._lease(registry, txn, me, former, alive, False)
            held.append(_Checkout(lane))
        return own + [lease.number for lease in held]

    def _leased(self, success, held):
        for lease in held:
            self._end(success, lease)
        if success:
            self._know([lease.number for lease in held])

    def _end(self, success, lease):
        """The transaction of *lease* is over."""
        number = lease.number
        serials = lease.serials() if success else ()
        with self._lock:
            if success:
                last = self._last.get(number, serials)
                self._last[number] = tuple(map(max, last, serials))
            self._leases.pop(number, None)

    def _know(self, numbers):
        with self._lock:
            self._own = tuple(sorted({*self._own, *numbers}))

    def _forget(self, number):
        """That lane is another's; or the snapshot is older than our lease."""
        with self._lock:
            self._own = tuple(own for own in self._own if own != number)
            if self._owner_of(number) is threading.current_thread():
                del self._reserved[number]

    def reserve(self):
        """Set a lane apart for the calling thread, as long as it lives.

        So a long transaction finds its lane as it left it.  Return whether
        there was one to give.
        """
        me = threading.current_thread()
        with self._lock:
            if self._owner_of(getattr(self._local, 'number', None)) is me:
                return True
            # From the other end than those who start runs.
            for number in reversed(self._own):
                if self._owner_of(number) is None and self._is_free(number):
                    self._reserved[number] = weakref.ref(me)
                    self._local.number = number
                    return True
        return False

    def release(self):
        """Let others have the lane that the calling thread reserved."""
        with self._lock:
            number = getattr(self._local, 'number', None)
            if self._owner_of(number) is threading.current_thread():
                del self._reserved[number]

    def hold(self, registry, number):
        """Check a lane out for the open transaction, to tidy it up.

        Return whether that was possible: not while another transaction has
        it, a thread has set it apart, or another process writes it.
        """
        txn = registry._p_jar.transaction_manager.get()
        lane = registry.lanes[number]
        me, former, alive = leases.identify(registry._p_jar)
        if not (lane.writer.id in former or leases.isFree(lane, alive)):
            return False
        if not self._hold(lane, txn):
            return False
        lease = _Checkout(lane)
        txn.addAfterCommitHook(
            self._committed, (lease, registry._p_jar.db()))
        txn.addAfterAbortHook(self._aborted, (lease,))
        return True

    # Checking out

    def checkOut(self, registry, txn):
        """Return the `_Checkout` of *txn*, made if need be."""
        try:
            lease = txn.data(self)
        except KeyError:
            pass
        else:
            if lease.is_new:
                self._lease_again(registry, lease)
            return lease
        lease = _Checkout(self._choose(registry, txn))
        txn.set_data(self, lease)
        txn.addAfterCommitHook(
            self._committed, (lease, registry._p_jar.db()))
        txn.addAfterAbortHook(self._aborted, (lease,))
        return lease

    def _lease_again(self, registry, lease):
        """A savepoint may have taken back that the lane became ours."""
        me, _, _ = leases.identify(registry._p_jar)
        number = lease.number
        if number not in registry.lanes:
            lease.setLane(Lane(number))
            registry.lanes[number] = lease.lane
        if lease.lane.writer.id != me.id:
            lease.lane.writer.become(me)

    def _choose(self, registry, txn):
        noteServer(registry._p_jar.db())
        process.makeKnown(registry)
        me, former, alive = leases.identify(registry._p_jar)
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
        return self._lease(registry, txn, me, former, alive, is_second_try)

    def _in_order(self):
        """Return the numbers of our own lanes, the preferred one first."""
        own = self._own
        preferred = getattr(self._local, 'number', None)
        return (preferred, *own) if preferred in own else own

    def _lease(self, registry, txn, me, former, alive, is_second_try):
        """Make this process the writer of one more lane; return that."""
        free = list(leases.freeLanes(registry, former, alive))
        # On a second try whoever leased the same lane at the same time has it
        # now.  Others may try again at this moment as well.
        if not is_second_try or len(free) >= ENOUGH:
            for lane in free:
                if self._hold(lane, txn):
                    lane.writer.become(me)
                    return lane
        while True:
            lane = Lane(leases.newNumber(registry))
            if self._hold(lane, txn):
                lane.writer.become(me)
                registry.lanes[lane.number] = lane
                return lane

    def _hold(self, lane, txn):
        """Check *lane* out for *txn* if that may be; return whether it is."""
        serials = []
        for part in (lane.writer, lane.births, lane.finishes):
            if part._p_jar is not None:
                part._p_activate()
            serials.append(part._p_serial)
        thread = threading.current_thread()
        number = lane.number
        with self._lock:
            if (self._owner_of(number) not in (None, thread)
                    or not self._is_free(number)
                    # A later change is that of an administrator elsewhere.
                    or any(mine < last for mine, last in zip(
                        serials, self._last.get(number, ())))):
                return False
            self._leases[number] = weakref.ref(txn)
        if self._owner_of(getattr(self._local, 'number', None)) is not thread:
            self._local.number = number
        return True

    def _owner_of(self, number):
        thread = self._reserved.get(number, _nobody)()
        return thread if thread is not None and thread.is_alive() else None

    def _is_free(self, number):
        return self._leases.get(number, _nobody)() is None

    def _committed(self, success, lease, db):
        # An after-commit hook: it reads what the commit left in the objects,
        # and writes and raises nothing.
        number = lease.number
        # The hook of a commit that fails is called while that is handled.
        error = None if success else sys.exc_info()[1]
        if error is not None and spoils(error):
            forgetCaches(db)
        self._end(success, lease)
        self._local.has_failed = lease.is_new and not success
        if success and lease.is_new:
            self._know([number])
            switchboard.wake(db)   # the registry may be new, too
        if success and lease.born:
            switchboard.wake(db, [(self.registry_oid, number)])

    def _aborted(self, lease):
        with self._lock:
            self._leases.pop(lease.number, None)


def _nobody():
    return None


def _forget_after_fork():
    # The lanes of the parent are the parent's to write.
    global _pools_lock
    _pools_lock = threading.Lock()
    _pools.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_after_fork)
