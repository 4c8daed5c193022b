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
"""Find the state of a run: ready, in work elsewhere, waiting, lost."""
from functools import cached_property

from cipher.background.interfaces import BROKEN_RUN
from cipher.background.interfaces import RUNNING
from cipher.background.runtime.queue.backlog import AWAY
from cipher.background.runtime.queue.backlog import DONE
from cipher.background.runtime.queue.backlog import READY
from cipher.background.store.conditions import waitsFor
from cipher.background.store.cursor import KEPT
from cipher.background.store.cursor import TYPE
from cipher.background.store.kept import isKept
from cipher.background.store.process import Living
from cipher.background.store.process import getDirectory
from cipher.background.work.liverun import Ticket
from cipher.background.work.liverun import ticketOf


#: A state besides those of `Backlog.settle`: the run's process is dead, and a
#: commit has to rescue the run.
LOST = 'lost'


class Sorter:
    """Finds the states of runs, as the open transaction sees them."""

    def __init__(self, runtime, connection):
        self._runtime = runtime
        self._connection = connection

    @cached_property
    def living(self):
        """The `process.Living`, made at its first use: few looks need it."""
        return Living(getDirectory(self._connection), self._runtime.id)

    def sort(self, place, serial, births):
        """Return (ticket, what) for the run *serial* of the lane at *place*.

        *births* are those of the lane.  *what* is as for `Backlog.settle`, or
        `LOST`.  A run that cannot be loaded is `AWAY`, so it is looked at
        again.
        """
        oid, number = place
        key = BROKEN_RUN, '%d-%d' % (number, serial), oid
        troubles = self._runtime.troubles
        if not troubles.isResting(*key):
            with troubles.guard(*key, with_transient=False):
                run = births.get(serial)
                if run is None:
                    return Ticket(oid, number, serial), DONE
                return self._sort(place, run)
        return Ticket(oid, number, serial), AWAY

    def _sort(self, place, run):
        oid = place[0]
        if run.isFinished():
            return ticketOf(oid, run), DONE
        is_inherited, is_suspect = self._runtime.backlog.inherited(
            place, run.serial)
        me = self._runtime.id
        ticket = ticketOf(oid, run)
        registry = self._connection.get(oid)
        if isKept(registry, run):
            return ticket, (KEPT, run.type)   # its owner is not of this copy
        if run.state == RUNNING:
            return ticket, self._sort_running(oid, run)
        if run.owner not in (None, me):
            if run.owner in self.living.ids:
                return ticket, AWAY
            is_suspect = True
        elif run.owner == me and self._runtime.findLive(oid, run.id):
            return ticket, AWAY
        elif is_inherited and self.living.isOwned(oid, run):
            return ticket, AWAY
        if is_suspect:
            ticket = ticket._replace(must_claim=True)
            if run.id in registry.stops:
                return ticket, LOST   # the stop request shows that it ran
        what = waitsFor(registry, run, self._runtime.begins) or READY
        if what != READY and run.owner not in (None, me):
            return ticket, LOST   # so that other processes can take it again
        if what == (TYPE, run.type):
            self._runtime.noteUndeclared(run)
        return ticket, what

    def _sort_running(self, oid, run):
        if run.owner != self._runtime.id:
            return AWAY if run.owner in self.living.ids else LOST
        if self._runtime.findLive(oid, run.id):
            return AWAY
        if self._runtime.hasClaimed(oid, run):
            return READY
        return LOST
