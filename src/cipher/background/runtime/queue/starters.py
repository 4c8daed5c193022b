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
"""Count the waiting runs of each starter, in the lanes whose home is here."""

#: Runs.  A starter with fewer is not reported to other processes: so few
#: hardly count for its limit.
REPORTED = 10

#: Starters that are reported at most, those with the most runs.  This bounds
#: the record of the heartbeat.
REPORTED_STARTERS = 100

#: Runs.  When the number of a starter reaches a multiple, it is reported at
#: once rather than with the next heartbeat.
STEP = 100


class Starters:
    """Numbers of runs by registry and starter.  Not thread-safe."""

    def __init__(self, report=lambda: None):
        self._report = report   # lets other processes know soon
        self._lanes = {}        # (registry oid, lane) -> {serial: starter}
        self._numbers = {}      # (registry oid, starter) -> number of runs

    def add(self, ticket):
        """Count the run of *ticket*, unless it has no starter."""
        if ticket.starter is not None:
            serials = self._lanes.setdefault(ticket.place, {})
            if ticket.serial not in serials:
                serials[ticket.serial] = ticket.starter
                self._count(ticket.registry_oid, ticket.starter, 1)

    def discard(self, place, serial):
        """Count the run *serial* of the lane at *place* no longer."""
        starter = self._lanes.get(place, {}).pop(serial, None)
        if starter is not None:
            self._count(place[0], starter, -1)

    def dropLane(self, place):
        """Count the runs of the lane at *place* no longer."""
        for starter in self._lanes.pop(place, {}).values():
            self._count(place[0], starter, -1)

    def _count(self, oid, starter, number):
        key = oid, starter
        number += self._numbers.get(key, 0)
        if number:
            self._numbers[key] = number
        else:
            del self._numbers[key]
        if number and number % STEP == 0:
            self._report()

    def count(self, registry_oid, starter):
        """Return how many runs of *starter* wait."""
        return self._numbers.get((registry_oid, starter), 0)

    def mostWaiting(self):
        """Return ((registry oid, starter, number), …) to report."""
        most = sorted(((number, *key) for key, number
                       in self._numbers.items() if number >= REPORTED),
                      reverse=True)[:REPORTED_STARTERS]
        return tuple((oid, starter, number) for number, oid, starter in most)
