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
"""Runs of types that the process which consumes their lane does not know.

They wait on the shelf of the lane, which is then offered to other processes;
who knows the type takes some and claims them.  Called by the control thread.

The directory holds an offer for each shelf with such runs: (registry oid,
lane number, type name) -> time since when no process knows the type, None
while one does.
"""
import time

from zope.component import getUtilitiesFor

from cipher.background import clock
from cipher.background import process
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.cursor import serialOf
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import IWorkerType
from cipher.background.workertype import queryWorkerType


#: Runs of lanes of others that wait or work here, at the most.
MOST_BORROWED = 200

#: Seconds that a process has looked out for others before it says that nobody
#: knows a type: they may all have begun just now.
WATCH = 300.0


class Offers:
    """What one runtime offers to others, and takes from them."""

    def __init__(self, runtime, shelves):
        self._runtime = runtime
        self._shelves = shelves
        self._told = None      # names of the types that are known here
        self._unknown = {}     # place of an offer -> monotonic time first seen
        self._borrow_at = 0.0  # monotonic; the next look
        self._looked = {}      # place of an offer -> key looked at last

    def turn(self, connection):
        """Tell and take; return the argument of `Shelves.sweep`."""
        with ZopeTransaction(note=self._runtime.note('offers')):
            directory = process.getDirectory(connection)
            self._tell_types(directory)
            mine = self._update(connection, directory)
            is_any = len(mine) < len(directory.offers)
        if is_any:
            self._borrow(connection)
        return self._overdue(mine)

    def _tell_types(self, directory):
        names = tuple(sorted(name for name, _ in getUtilitiesFor(IWorkerType)))
        record = directory.processes.get(self._runtime.id)
        if record is not None and record.declared.types != names:
            record.declared.types = names

    def _update(self, connection, directory):
        """Write what is offered; return those of our lanes."""
        offers = directory.offers
        lanes = set(self._runtime.backlog.lanes())
        old = {place: since for place, since in offers.items()
               if place[:2] in lanes}
        places = [
            (oid, number, name) for oid, number, _, name
            in self._shelves.entries(connection)
            if queryWorkerType(name) is None]
        new = {}
        if places:
            known = {name for record in directory.processes.values()
                     for name in record.declared.types}
            for place in places:
                new[place] = None if place[2] in known else (
                    old.get(place) or clock.now())
        for place in old:
            if place not in new:
                del offers[place]
        for place, since in new.items():
            if place not in old or old[place] != since:
                offers[place] = since
        return new

    def _overdue(self, mine):
        """Return those of *mine* whose grace may be over: {place: since}."""
        now = time.monotonic()
        self._unknown = {
            place: self._unknown.get(place, now)
            for place, since in mine.items() if since is not None}
        grace = self._runtime.settings.grace
        return {place: mine[place] for place, seen in self._unknown.items()
                if clock.now() - mine[place] >= grace
                and now - seen >= min(grace, WATCH)}

    def _borrow(self, connection):
        """Take what others offer and this process can carry out."""
        now = time.monotonic()
        if now < self._borrow_at or not self._runtime.is_taking:
            return
        self._borrow_at = now + self._runtime.settings.poll
        tickets = []
        with ZopeTransaction():
            directory = process.getDirectory(connection)
            lanes = set(self._runtime.backlog.lanes())
            borrowed = self._runtime.backlog.borrowed()
            for place in list(directory.offers):
                oid, number, name = place
                if place[:2] in lanes or queryWorkerType(name) is None:
                    continue
                try:
                    registry = connection.get(oid)
                    lane = registry.lanes[number]
                except KeyError:
                    del directory.offers[place]   # the registry is gone
                    continue
                if name not in registry.pauses:
                    taken = self._take(
                        lane, place, MOST_BORROWED - borrowed[name])
                    borrowed[name] += len(taken)
                    tickets += taken
        for ticket in tickets:
            self._runtime.dispatcher.submit(ticket)

    def _take(self, lane, place, room):
        """Return at most *room* tickets from the shelf of *lane*."""
        oid, number, name = place
        after = self._looked.pop(place, None)
        tickets = []
        shelf = lane.cursor.shelf
        for looks, key in enumerate(shelf.keys(name, after) if shelf else ()):
            if looks == MOST_BORROWED or len(tickets) >= room:
                self._looked[place] = after
                break
            after = key
            run = lane.births.get(serialOf(key))
            if (run is None or run.state != PENDING
                    or clock.isLater(run.due_at)):
                continue
            ticket = self._runtime.backlog.borrow(
                oid, number, (name, key), run.priority, run.created_at)
            if ticket is not None:
                tickets.append(ticket)
        return tickets
