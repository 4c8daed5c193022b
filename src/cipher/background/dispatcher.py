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
"""
import heapq
import itertools
import threading
import time

from cipher.background import clock


#: Seconds.  What is due sooner waits in memory, all else in the database.
NEAR = 30.0


class Dispatcher:
    """The tickets of one runtime on their way.  Any thread may call."""

    def __init__(self, backlog, executor, wish):
        self._backlog = backlog
        self._executor = executor
        self._wish = wish            # Event: let the control thread look
        self._lock = threading.Lock()
        self._delayed = []           # heap of (monotonic time, n, ticket)
        self._parked = {}   # type name -> heap of (-priority, n, ticket)
        self._count = itertools.count()

    def submit(self, ticket, due_at=None):
        """Give *ticket* to the executor when it is due; None: at once."""
        delay = 0.0 if due_at is None else due_at - clock.now()
        if delay <= 0.0:
            self._executor.submit(ticket)
        elif delay <= NEAR:
            self._delay(ticket, delay)
        else:
            self._backlog.defer(ticket, due_at)

    def again(self, ticket, due_at):
        """`submit` a ticket that had begun."""
        self._backlog.again()
        self.submit(ticket, due_at)

    def later(self, ticket, delay):
        """Submit *ticket*, which had begun, again after *delay* seconds."""
        self._backlog.again()
        self._delay(ticket, delay)

    def _delay(self, ticket, delay):
        with self._lock:
            heapq.heappush(self._delayed, (
                time.monotonic() + delay, next(self._count), ticket))
        self._wish.set()

    def park(self, ticket, type_name):
        """Let *ticket*, which had begun, wait until its type has room."""
        self._backlog.again()
        with self._lock:
            heapq.heappush(self._parked.setdefault(type_name, []), (
                -ticket.priority, next(self._count), ticket))

    def unpark(self, type_name):
        """One run of that type may try again."""
        with self._lock:
            tickets = self._parked.get(type_name)
            ticket = heapq.heappop(tickets)[2] if tickets else None
        if ticket is not None:
            self._executor.submit(ticket)

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
