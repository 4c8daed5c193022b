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
"""When a ticket goes to the executor: at once, in time, or when there is room.

What cannot wait in memory waits in the database: see `shelves`.
"""
import bisect
import heapq
import itertools
import threading
import time

from cipher.background import clock


#: Seconds.  What is due sooner waits in memory, all else in the database.
NEAR = 30.0

#: So much waits in memory for its time at the most, soon as that may be.
DELAYED = 2000

#: So many runs of a type wait in memory for room at the most.
PARKED = 1000


class Dispatcher:
    """The tickets of one runtime on their way.  Any thread may call."""

    def __init__(self, backlog, executor, wish):
        self._backlog = backlog
        self._executor = executor
        self._wish = wish            # lets the control thread look
        self._lock = threading.Lock()
        self._delayed = []           # heap of (monotonic time, n, ticket)
        self._parked = {}    # type name -> sorted [(rank, ticket)]
        # Of types that have more on a shelf: what comes behind this entry
        # belongs there.
        self._bounds = {}    # type name -> (rank, ticket)
        self._count = itertools.count()

    def submit(self, ticket, due_at=None):
        """Give *ticket* to the executor when it is due; None: at once."""
        delay = 0.0 if due_at is None else due_at - clock.now()
        if delay <= 0.0:
            self._executor.submit(ticket)
        elif delay <= NEAR and len(self._delayed) < DELAYED:
            self._delay(ticket, delay)
        else:
            self._backlog.defer(ticket, due_at)

    def again(self, ticket, due_at):
        """`submit` a ticket that had begun."""
        if self._backlog.again(ticket):
            self.submit(ticket, due_at)

    def later(self, ticket, delay):
        """Submit *ticket*, which had begun, again after *delay* seconds."""
        if self._backlog.again(ticket):
            self._delay(ticket, delay)

    def _delay(self, ticket, delay):
        with self._lock:
            heapq.heappush(self._delayed, (
                time.monotonic() + delay, next(self._count), ticket))
        self._wish()

    def shelve(self, ticket, type_name):
        """Let *ticket*, which had begun, wait on the shelf of its lane."""
        if self._backlog.again(ticket):
            self._backlog.shelve(ticket, type_name)
            self._wish()

    # Types that run only so many at a time

    def park(self, ticket, type_name):
        """Let *ticket*, which had begun, wait until its type has room.

        In memory, unless it came behind others that do not fit there.
        """
        if not self._backlog.again(ticket):
            return
        entry = (ticket.rank, ticket)
        last = None
        with self._lock:
            parked = self._parked.setdefault(type_name, [])
            if entry <= self._bounds.get(type_name, entry):
                bisect.insort(parked, entry)
                if len(parked) > PARKED:
                    last = parked.pop()[1]
                    self._bounds[type_name] = parked[-1]
            else:
                last = ticket
        if last is not None:
            self._backlog.shelve(last, type_name)
            if not parked:
                self._wish()   # those on the shelf are to come back

    def isNext(self, ticket, type_name):
        """Return whether none that is parked or shelved comes before *ticket*.
        """
        entry = (ticket.rank, ticket)
        with self._lock:
            parked = self._parked.get(type_name)
            return entry <= self._bounds.get(type_name, entry) and (
                not parked or entry < parked[0])

    def unpark(self, type_name):
        """One run of that type may try again."""
        ticket = None
        with self._lock:
            parked = self._parked.get(type_name, [])
            while parked and ticket is None:
                ticket = parked.pop(0)[1]
                if not self._backlog.holds(ticket):
                    ticket = None   # its lane is another's by now
            if not parked:
                self._parked.pop(type_name, None)
            if type_name in self._bounds and len(parked) <= PARKED // 4:
                self._wish()   # to be filled again
        if ticket is not None:
            self._executor.submit(ticket)

    def room(self, worker_type):
        """Return how many runs of a type may come back from the shelves."""
        room = self._backlog.room()
        if worker_type.max_running is None:
            return room
        with self._lock:
            parked = len(self._parked.get(worker_type.name, ()))
        return 0 if 2 * parked > PARKED else min(room, PARKED - parked)

    def comeBack(self, worker_type, tickets, is_all):
        """Take *tickets* of a type, just found on shelves, in their order.

        *is_all*: nothing that could begin is left there.
        """
        name = worker_type.name
        if worker_type.max_running is None:
            for ticket in tickets:
                self._executor.submit(ticket)
            return
        with self._lock:
            parked = self._parked.setdefault(name, [])
            for ticket in tickets:
                bisect.insort(parked, (ticket.rank, ticket))
            if is_all:
                self._bounds.pop(name, None)
            elif parked:
                self._bounds[name] = parked[-1]
        self.unpark(name)

    def submitDue(self):
        """Submit what was delayed and is due; let each type try one more."""
        now = time.monotonic()
        due = []
        with self._lock:
            while self._delayed and self._delayed[0][0] <= now:
                due.append(heapq.heappop(self._delayed)[2])
            parked = list(self._parked)
        for ticket in due:
            self._executor.submit(ticket)
        for type_name in parked:
            self.unpark(type_name)

    def secondsToNext(self, most):
        """Return the seconds until something is due, at the most *most*."""
        with self._lock:
            if not self._delayed:
                return most
            return min(most, max(0.0, self._delayed[0][0] - time.monotonic()))
