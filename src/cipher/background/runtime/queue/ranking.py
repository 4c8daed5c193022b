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
"""The order in which runs begin: by priority, turns of starters, age."""
import heapq
from collections import deque


class Ranking:
    """Tickets in the order of their rank.  Not thread-safe.

    The most urgent tickets go first.  Among equals the starters take turns,
    so many runs of one starter do not delay those of the others.  The oldest
    run of each starter goes first.
    """

    def __init__(self):
        # priority -> (starters in turn, {starter: heap of (age, ticket)})
        self._levels = {}
        self._size = 0

    def __len__(self):
        return self._size

    def __iter__(self):
        """Yield the tickets, in no particular order."""
        for _, heaps in self._levels.values():
            for heap in heaps.values():
                for _, ticket in heap:
                    yield ticket

    def push(self, ticket):
        """Add *ticket*."""
        starters, heaps = self._levels.setdefault(
            ticket.priority, (deque(), {}))
        heap = heaps.get(ticket.starter)
        if heap is None:
            heap = heaps[ticket.starter] = []
            starters.append(ticket.starter)
        heapq.heappush(heap, (ticket.age, ticket))
        self._size += 1

    def first(self):
        """Return the next ticket without removing it; None if empty."""
        if not self._size:
            return None
        starters, heaps = self._levels[max(self._levels)]
        return heaps[starters[0]][0][1]

    def wouldLead(self, ticket):
        """Return whether *ticket* would be the next one after a `push`."""
        if not self._size:
            return True
        most = max(self._levels)
        if ticket.priority != most:
            return ticket.priority > most
        starters, heaps = self._levels[most]
        return ticket.starter == starters[0] and (
            ticket.age < heaps[starters[0]][0][0])

    def pop(self):
        """Remove and return the next ticket; None if empty."""
        if not self._size:
            return None
        priority = max(self._levels)
        starters, heaps = self._levels[priority]
        starter = starters.popleft()
        ticket = heapq.heappop(heaps[starter])[1]
        if heaps[starter]:
            starters.append(starter)
        else:
            del heaps[starter]
            if not heaps:
                del self._levels[priority]
        self._size -= 1
        return ticket

    def popLast(self, priority):
        """Remove and return the youngest of the least urgent tickets.

        Return None unless it is less urgent than *priority*.
        """
        least = min(self._levels, default=priority)
        if least >= priority:
            return None
        _, heaps = self._levels[least]
        ticket = max(heap[-1] for heap in map(sorted, heaps.values()))[1]
        self.remove(ticket)
        return ticket

    def discard(self, unwanted):
        """Remove the tickets for which the function *unwanted* is true."""
        kept = []
        while self._size:
            ticket = self.pop()
            if not unwanted(ticket):
                kept.append(ticket)
        for ticket in kept:
            self.push(ticket)

    def remove(self, ticket):
        """Remove *ticket*, if it is there."""
        starters, heaps = self._levels.get(ticket.priority, ((), {}))
        heap = heaps.get(ticket.starter, ())
        entry = ticket.age, ticket
        if entry in heap:
            heap.remove(entry)
            heapq.heapify(heap)
            self._size -= 1
            if not heap:
                del heaps[ticket.starter]
                starters.remove(ticket.starter)
                if not heaps:
                    del self._levels[ticket.priority]
