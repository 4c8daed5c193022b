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
"""What waits in the lanes that this process consumes, as far as it knows."""
import itertools
import threading

from cipher.background.live import Ticket


#: Tickets in memory at the most.  What is beyond waits in the database.
CAPACITY = 10000


class _LaneView:
    """How far one lane is known."""

    def __init__(self, position, inherited_below):
        self.scanned = position       # serials below are known
        self.inherited_below = inherited_below   # 0: nothing is inherited
        self.unfinished = set()       # serials known that are not finished
        self.deferred = {}    # serial -> due_at, not yet in the lane's Due
        self.due_keys = {}    # serial -> its key in the lane's Due


class Backlog:
    """The lanes that this process consumes.  Any thread may call."""

    def __init__(self):
        self._lock = threading.Lock()
        self._views = {}     # (registry oid, lane number) -> _LaneView
        self._waiting = 0    # tickets given out that nobody has begun
        self.is_behind = False   # there is more to scan than there was room

    def addLane(self, registry_oid, number, position, next_serial,
                is_inherited):
        """Consume that lane, from serial *position* on.

        What stands below *next_serial* may have been begun by a process
        before this one, if the lane *is_inherited*.
        """
        with self._lock:
            self._views[registry_oid, number] = _LaneView(
                position, next_serial if is_inherited else 0)
            self.is_behind = True

    def dropLane(self, registry_oid, number):
        """Consume that lane no longer."""
        with self._lock:
            self._views.pop((registry_oid, number), None)

    def lanes(self):
        """Return [(registry oid, lane number)] of what is consumed here."""
        with self._lock:
            return list(self._views)

    def told(self, items):
        """Return [(ticket, due_at)] for *items*, just committed.

        An item is (registry oid, lane, serial, priority, due_at).  Leaves out
        lanes of others, and what the next scan will find anyhow.
        """
        tickets = []
        with self._lock:
            for oid, number, serial, priority, due_at in items:
                view = self._views.get((oid, number))
                if view is None or serial != view.scanned:
                    continue
                if self._waiting >= CAPACITY:
                    self.is_behind = True
                    break
                view.scanned = serial + 1
                view.unfinished.add(serial)
                self._waiting += 1
                tickets.append((Ticket(oid, number, serial, False, priority),
                                due_at))
        return tickets

    def toScan(self, oid, number, next_serial):
        """Return the range of serials to look at now, in order."""
        with self._lock:
            view = self._views.get((oid, number))
            if view is None:
                return range(0)
            room = max(0, CAPACITY - self._waiting)
            end = min(next_serial, view.scanned + room)
            if end < next_serial:
                self.is_behind = True
            return range(view.scanned, end)

    def scanned(self, oid, number, serial, is_waiting, priority=0):
        """Note that *serial* was looked at; return a ticket if it waits.

        None if it was told of in the meantime, or does not wait.
        """
        with self._lock:
            view = self._views.get((oid, number))
            if view is None or serial != view.scanned:
                return None
            view.scanned = serial + 1
            if not is_waiting:
                return None
            view.unfinished.add(serial)
            self._waiting += 1
            return Ticket(oid, number, serial, serial < view.inherited_below,
                          priority)

    def passed(self, oid, number, serial):
        """Note that *serial* was looked at, and is in work somewhere."""
        with self._lock:
            view = self._views.get((oid, number))
            if view is not None and serial == view.scanned:
                view.scanned = serial + 1
                view.unfinished.add(serial)

    def foundDue(self, oid, number, key, serial, priority):
        """Return a ticket for a run whose time has come; None if known.

        None as well where there is no room: the entry *key* of the lane's Due
        stays until the run is finished.
        """
        with self._lock:
            view = self._views.get((oid, number))
            if (view is None or serial in view.unfinished
                    or self._waiting >= CAPACITY):
                return None
            view.unfinished.add(serial)
            view.due_keys[serial] = key
            self._waiting += 1
            return Ticket(oid, number, serial, view.inherited_below > 0,
                          priority)

    def isKnown(self, oid, number, serial):
        """Return whether the run waits or works here already.

        Or is finished, and its entry in the lane's Due is to be removed.
        """
        with self._lock:
            view = self._views.get((oid, number))
            return view is not None and (
                serial in view.unfinished or serial in view.due_keys)

    def defer(self, ticket, due_at):
        """Let *ticket*, which was waiting, wait in the database."""
        with self._lock:
            self._waiting -= 1
            view = self._views.get((ticket.registry_oid, ticket.lane))
            if view is not None:
                view.deferred[ticket.serial] = due_at

    def dueChanges(self, oid, number, limit):
        """Return what to write into a lane's Due: (new, old).

        *new* are at most *limit* (serial, due_at), *old* as many keys.
        """
        with self._lock:
            view = self._views[oid, number]
            new = list(itertools.islice(view.deferred.items(), limit))
            moved = {serial for serial, _ in new}
            old = [key for serial, key in view.due_keys.items()
                   if serial in moved or serial not in view.unfinished]
            return new, old[:limit]

    def dueWritten(self, oid, number, new, old):
        """Note that these changes of a lane's Due are committed."""
        with self._lock:
            view = self._views.get((oid, number))
            if view is None:
                return
            old = set(old)
            view.due_keys = {serial: key for serial, key
                             in view.due_keys.items() if key not in old}
            for serial, due_at in new:
                if view.deferred.get(serial) == due_at:
                    del view.deferred[serial]
                    view.unfinished.discard(serial)

    def isInherited(self, oid, number, serial):
        """Return whether a process before this one may have begun the run."""
        with self._lock:
            view = self._views.get((oid, number))
            return view is not None and serial < view.inherited_below

    def begun(self):
        """A ticket has found its thread."""
        with self._lock:
            self._waiting -= 1
            return self.is_behind and self._waiting < CAPACITY // 2

    def again(self):
        """A ticket goes back to wait."""
        with self._lock:
            self._waiting += 1

    def finished(self, ticket):
        """There is nothing more to do for *ticket*."""
        with self._lock:
            view = self._views.get((ticket.registry_oid, ticket.lane))
            if view is not None:
                view.unfinished.discard(ticket.serial)

    def unborn(self, ticket):
        """*ticket* names a run that was rolled back before its commit.

        So its serial is given out again.
        """
        with self._lock:
            view = self._views.get((ticket.registry_oid, ticket.lane))
            if view is not None:
                view.scanned = min(view.scanned, ticket.serial)

    def position(self, oid, number):
        """Return the least serial that may still want work."""
        with self._lock:
            view = self._views[oid, number]
            return min(view.unfinished, default=view.scanned)
