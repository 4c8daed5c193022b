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
"""Tickets: runs that wait or work in this process, lane by lane."""
import threading

from cipher.background.cursor import shelfKey
from cipher.background.laneview import LaneView


class Tickets:
    """The lanes that this process consumes.  Any thread may call."""

    def __init__(self):
        self._lock = threading.Lock()
        self._views = {}     # (registry oid, lane number) -> LaneView
        # Likewise, of lanes of others from whose shelves some runs are here.
        self._guests = {}
        self._waiting = 0    # tickets given out that nobody has begun
        self._given = {}     # key -> begun ticket of a lane given away
        self._is_quiet = False
        self.begun_count = 0     # tickets that ever were begun
        self.elsewhere = set()   # tickets of runs that others carry out
        self.is_behind = False   # there is more to scan than there was room

    def _view(self, ticket):
        place = ticket.registry_oid, ticket.lane
        return self._views.get(place) or self._guests.get(place)

    # Lanes

    def addLane(self, registry_oid, number, position, next_serial,
                is_inherited):
        """Consume that lane, from serial *position* on.

        What stands below *next_serial* may have been begun by a process
        before this one, if the lane *is_inherited*.
        """
        with self._lock:
            view = self._views[registry_oid, number] = LaneView(
                position, next_serial if is_inherited else 0)
            guest = self._guests.pop((registry_oid, number), None)
            if guest is not None:
                view.takeOver(guest)
            for key, ticket in list(self._given.items()):
                if key[0] == registry_oid and ticket.lane == number:
                    # It is back before all that had begun was over.
                    del self._given[key]
                    view.begun[ticket.serial] = ticket
                    view.here.add(ticket.serial)
            self.is_behind = True

    def dropLane(self, registry_oid, number):
        """Consume that lane no longer.

        A ticket of it that nobody has begun is void from now on.
        """
        with self._lock:
            view = self._views.pop((registry_oid, number), None)
            if view is not None:
                self._waiting -= len(view.waiting)
                self._given.update(
                    ((registry_oid, ticket.run_id), ticket)
                    for ticket in view.begun.values())

    def lanes(self):
        """Return [(registry oid, lane number)] of what is consumed here."""
        with self._lock:
            return list(self._views)

    # Another process is to consume a lane

    def prepareToGive(self, registry_oid, number):
        """Let nobody begin a ticket of that lane; return its position.

        Then either `dropLane`, or `keep` it after all.
        """
        with self._lock:
            view = self._views[registry_oid, number]
            view.is_leaving = True
            return view.position()

    def keep(self, registry_oid, number):
        """Let the tickets of that lane be begun again; return those to submit.
        """
        with self._lock:
            view = self._views.get((registry_oid, number))
            if view is None:
                return []
            view.is_leaving = False
            return [] if self._is_quiet else view.takeRefused()

    def setQuiet(self, is_quiet):
        """Let nobody begin any ticket, or again; return those to submit."""
        with self._lock:
            self._is_quiet = is_quiet
            return [] if is_quiet else [
                ticket for views in (self._views, self._guests)
                for view in views.values() if not view.is_leaving
                for ticket in view.takeRefused()]

    def given(self):
        """Return [(registry oid, run id)] of what has begun here though its
        lane is, or is about to be, consumed by another process.
        """
        with self._lock:
            keys = list(self._given)
            for (oid, _), view in self._views.items():
                if view.is_leaving:
                    keys.extend((oid, ticket.run_id)
                                for ticket in view.begun.values())
            return keys

    def depth(self, registry_oid, number):
        """Return how many runs of a lane wait for a thread, as is known."""
        with self._lock:
            view = self._views.get((registry_oid, number))
            return 0 if view is None else len(view.waiting)

    # What becomes of tickets

    def holds(self, ticket):
        """Return whether *ticket* waits here."""
        with self._lock:
            view = self._view(ticket)
            return view is not None and view.isWaiting(ticket)

    def defer(self, ticket, due_at):
        """Let *ticket*, which was waiting, wait in the database."""
        self._leave(ticket, due_at)

    def shelve(self, ticket, name):
        """Likewise, on the shelf: a run of the type *name*."""
        self._leave(ticket, (name, shelfKey(ticket.priority, ticket.serial)))

    def _leave(self, ticket, entry):
        with self._lock:
            view = self._view(ticket)
            if view is not None and view.isWaiting(ticket):
                self._waiting -= 1
                view.leave(ticket, entry)

    def begun(self, ticket):
        """A thread is there for *ticket*; return whether it may begin it.

        If not, nothing is to be done with it: its lane is another's by now,
        or it is kept until it may be begun.
        """
        with self._lock:
            view = self._view(ticket)
            if view is None or not view.isWaiting(ticket):
                return False
            if view.is_leaving or self._is_quiet:
                view.refused.append(ticket)
                return False
            del view.waiting[ticket.serial]
            view.begun[ticket.serial] = ticket
            self._waiting -= 1
            self.begun_count += 1
            return True

    def again(self, ticket):
        """A ticket goes back to wait; return whether it may wait here."""
        with self._lock:
            view = self._forget(ticket)
            if view is None:
                return False   # its lane is another's by now
            self._wait(view, ticket)
            return True

    def left(self, ticket):
        """Nobody works on *ticket* any more, whose run is not finished."""
        with self._lock:
            self._forget(ticket)

    def finished(self, ticket):
        """There is nothing more to do for *ticket*."""
        with self._lock:
            view = self._forget(ticket)
            if view is not None and ticket.serial not in view.waiting:
                view.finish(ticket.serial)

    def goesOn(self, ticket):
        """The run of *ticket* is another process's by now.

        What becomes of it there has to be seen, if its lane is ours.
        """
        with self._lock:
            view = self._forget(ticket)
            if view is not None and view.is_guest:
                view.finish(ticket.serial)
            elif view is not None:
                self.elsewhere.add(ticket)

    def _wait(self, view, ticket):
        # It may wait already: its lane was another's, and came back.
        self._waiting += ticket.serial not in view.waiting
        view.here.add(ticket.serial)
        view.waiting[ticket.serial] = ticket
        return ticket

    def _forget(self, ticket):
        """Return the view of *ticket*, which nobody works on now."""
        key = ticket.registry_oid, ticket.run_id
        if self._given.get(key) is ticket:
            del self._given[key]
            return None
        view = self._view(ticket)
        if view is not None and view.begun.get(ticket.serial) is ticket:
            del view.begun[ticket.serial]
        return view

    def unborn(self, ticket):
        """*ticket* names a run that was rolled back before its commit.

        So its serial is given out again.
        """
        with self._lock:
            view = self._view(ticket)
            if view is not None:
                view.scanned = min(view.scanned, ticket.serial)
