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
from collections import Counter

from cipher.background.cursor import serialOf
from cipher.background.laneview import LaneView
from cipher.background.live import Ticket
from cipher.background.tickets import Tickets


#: Tickets in memory at the most.  What is beyond waits in the database.
CAPACITY = 10000


class Backlog(Tickets):
    """What is found in the database, and what it is told.

    Any thread may call.
    """

    # What is found

    def told(self, items):
        """Return [(ticket, due_at)] for *items*, just committed.

        An item is (registry oid, lane, serial, priority, created_at, due_at).
        Leaves out lanes of others, and what the next scan will find anyhow.
        """
        tickets = []
        with self._lock:
            for oid, number, serial, priority, created_at, due_at in items:
                view = self._views.get((oid, number))
                if (view is None or view.is_leaving
                        or serial != view.scanned):
                    continue
                if self._waiting >= CAPACITY:
                    self.is_behind = True
                    break
                view.scanned = serial + 1
                tickets.append((self._wait(view, Ticket(
                    oid, number, serial, False, priority, created_at)),
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

    def scanned(self, oid, number, serial, is_waiting, priority=0,
                created_at=0.0):
        """Note that *serial* was looked at; return a ticket if it waits.

        None if it was told of in the meantime, or does not wait.
        """
        with self._lock:
            view = self._views.get((oid, number))
            if view is None or serial != view.scanned:
                return None
            view.scanned = serial + 1
            if not is_waiting or serial in view.here:
                return None
            return self._wait(view, Ticket(
                oid, number, serial, serial < view.inherited_below, priority,
                created_at))

    def passed(self, oid, number, serial):
        """Note that *serial* was looked at, and is in work somewhere."""
        with self._lock:
            view = self._views.get((oid, number))
            if view is not None and serial == view.scanned:
                view.scanned = serial + 1
                view.here.add(serial)

    def found(self, oid, number, serial, entry, priority=0, created_at=0.0):
        """Return a ticket for a run that *entry* stands for; None if known.

        None as well where there is no room.  The entry stays until the run is
        finished.
        """
        with self._lock:
            view = self._views.get((oid, number))
            if view is None or view.isKnown(serial):
                return None
            if self._waiting >= CAPACITY + CAPACITY // 10:
                self.is_behind = True
                return None
            view.noted[serial] = entry
            return self._wait(view, Ticket(
                oid, number, serial, view.inherited_below > 0, priority,
                created_at))

    def foundOver(self, oid, number, serial, entry):
        """Let *entry* be removed: its run is finished."""
        with self._lock:
            view = self._views.get((oid, number))
            if view is not None and serial not in view.here:
                view.stale[serial] = entry

    def borrow(self, oid, number, entry, priority=0, created_at=0.0):
        """Return a ticket for a run on the shelf of a lane of another.

        None if it is here already, or nothing is to begin.
        """
        place, serial = (oid, number), serialOf(entry[1])
        with self._lock:
            view = self._guests.setdefault(place, LaneView(0, 0, True))
            if place in self._views or serial in view.here or self._is_quiet:
                return None
            view.noted[serial] = entry
            return self._wait(view, Ticket(
                oid, number, serial, True, priority, created_at))

    def borrowed(self):
        """Return {type name: how many runs of others' lanes are here}."""
        with self._lock:
            self._guests = {place: view for place, view
                            in self._guests.items() if view.here}
            return Counter(name for view in self._guests.values()
                           for name, _ in view.noted.values())

    def isKnown(self, oid, number, serial):
        """Return whether the run waits or works here already.

        Or is finished, and its entry is to be removed.
        """
        with self._lock:
            view = self._views.get((oid, number))
            return view is not None and view.isKnown(serial)

    def isInherited(self, oid, number, serial):
        """Return whether a process before this one may have begun the run."""
        with self._lock:
            view = self._views.get((oid, number))
            return view is not None and serial < view.inherited_below

    def hasRoom(self):
        """Return whether there is more to scan, and much room for it."""
        return self.is_behind and self._waiting < CAPACITY // 2

    def room(self):
        """Return how many tickets are welcome that can wait elsewhere.

        A few even where new ones fill all of the memory, and for ever.
        """
        return max(0, CAPACITY // 2 - self._waiting, min(
            CAPACITY // 100, CAPACITY + CAPACITY // 10 - self._waiting))

    # What the database is told

    def changes(self, oid, number, limit):
        """Return what to write of a lane: see `LaneView.changes`."""
        with self._lock:
            view = self._views.get((oid, number))
            return ([], []) if view is None else view.changes(limit)

    def written(self, oid, number, new, old):
        """Note that these changes of a lane are committed."""
        with self._lock:
            view = self._views.get((oid, number))
            if view is not None:
                view.written(new, old)

    def stragglers(self, oid, number, limit):
        """See `LaneView.stragglers`."""
        with self._lock:
            view = self._views.get((oid, number))
            return [] if view is None else view.stragglers(limit)

    def noted(self, oid, number, serial, entry):
        """*entry*, which is committed, stands for a run that stays here."""
        with self._lock:
            view = self._views.get((oid, number))
            if view is not None:
                view.note(serial, entry)

    def position(self, oid, number):
        """Return the least serial that nothing in the database stands for."""
        with self._lock:
            return self._views[oid, number].position()


def eachLane(backlog, connection):
    """Yield (registry oid, number, lane) of what is consumed here.

    A lane whose registry is gone is forgotten.
    """
    for oid, number in backlog.lanes():
        try:
            lane = connection.get(oid).lanes[number]
            for part in (lane.births, lane.cursor, lane.due, lane.due.tree):
                part._p_activate()
        except KeyError:
            backlog.dropLane(oid, number)
        else:
            yield oid, number, lane
