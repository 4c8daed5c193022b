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
from cipher.background.store.bookmark import KEPT
from cipher.background.store.bookmark import TYPE
from cipher.background.store.conditions import typeWaitsFor
from cipher.background.store.kept import isKept
from cipher.background.store.lifecycle import isFinished
from cipher.background.store.process import Living
from cipher.background.store.process import getDirectory
from cipher.background.store.run import WorkerRun
from cipher.background.util import clock
from cipher.background.util.logs import getLogger
from cipher.background.work.liverun import Ticket
from cipher.background.work.liverun import ticketOf


log = getLogger(__name__)

#: A state besides those of `Backlog.settle`: the run's process is dead, and a
#: commit has to rescue the run.
LOST = 'lost'


class Sorter:
    """Finds the states of runs, as the open transaction sees them.

    *own* is the `OwnProcess` that asks, *runs* its `OwnRuns`, *undeclared*
    its `Undeclared`.  A run that cannot be loaded is noted in *troubles*.
    """

    def __init__(self, own, runs, troubles, undeclared, connection):
        self._own = own
        self._runs = runs
        self._troubles = troubles
        self._undeclared = undeclared
        self._connection = connection
        self._types = {}   # (registry oid, type) -> what all its runs wait for

    @cached_property
    def living(self):
        """The `process.Living`, made at its first use: few looks need it."""
        return Living(getDirectory(self._connection), self._own.id)

    def sort(self, place, serial, births):
        """Return (ticket, what) for the run *serial* of the lane at *place*.

        *births* are those of the lane.  *what* is as for `Backlog.settle`, or
        `LOST`.  A run that cannot be loaded is `AWAY`, so it is looked at
        again.
        """
        return self.find(place, serial, births)[:2]

    def find(self, place, serial, births):
        """Return (ticket, what, run) as `sort`; the run may be None."""
        oid, number = place
        key = BROKEN_RUN, '%d-%d' % (number, serial), oid
        troubles = self._troubles
        if not troubles.isResting(*key):
            # As `Troubles.guard`, which takes longer.
            try:
                found = self._find(place, serial, births)
            except BaseException as error:
                if not troubles.guarded(error, key, with_transient=False):
                    raise
            else:
                troubles.settle(*key)
                return found
        return Ticket(oid, number, serial), AWAY, None

    def sortOne(self, place, serial, oid):
        """Return (ticket, what, run) as `sort` for the run that has *oid*.

        Return None if the database does not show that it is the run *serial*
        of the lane at *place*, or if it cannot be sorted.
        """
        run = None
        try:
            # The class is known, so the record is loaded once.  `get` would
            # load it for the class, and again for the state.
            run = self._connection._reader.load_persistent(oid, WorkerRun)
            if isinstance(run, WorkerRun) and not run.is_removed and (
                    (run.lane, run.serial) == (place[1], serial)):
                return *self._sort(place, run), run
        except BaseException as error:
            # `sort` notes what is wrong with it.
            log.debug('Run %d-%d: %s; its lane is looked at',
                      place[1], serial, type(error).__name__)
        # It may be an object of another class.  As a ghost it leaves the
        # cache together with `run`.
        if run is not None:
            run._p_invalidate()
        return None

    def _find(self, place, serial, births):
        run = births.get(serial)
        if run is None:
            oid, number = place
            return Ticket(oid, number, serial), DONE, None
        return *self._sort(place, run), run

    def _sort(self, place, run):
        oid = place[0]
        state = run.state
        if isFinished(state):
            return ticketOf(oid, run), DONE
        is_inherited, is_suspect = self._runs.backlog.inherited(
            place, run.serial)
        me = self._own.id
        ticket = ticketOf(oid, run)
        registry = self._connection.get(oid)
        if isKept(registry, run):
            return ticket, (KEPT, run.type)   # its owner is not of this copy
        if state == RUNNING:
            return ticket, self._sort_running(oid, run)
        if run.owner not in (None, me):
            if run.owner in self.living.ids:
                return ticket, AWAY
            is_suspect = True
        elif run.owner == me and self._runs.running.findLive(oid, run.id):
            return ticket, AWAY
        elif is_inherited and self.living.isOwned(oid, run):
            return ticket, AWAY
        if is_suspect:
            ticket = ticket._replace(must_claim=True)
            if run.id in registry.stops:
                return ticket, LOST   # the stop request shows that it ran
        what = self._waits_for(registry, oid, run) or READY
        if what != READY and run.owner is not None:
            # So that other processes can take it again.
            return ticket, LOST
        if what == (TYPE, run.type):
            self._undeclared.note(run)
        return ticket, what

    def _waits_for(self, registry, oid, run):
        """Return what `conditions.waitsFor` does, for a run not kept back."""
        if clock.isLater(run.due_at):
            return run.due_at
        key = oid, run.type
        if key not in self._types:
            self._types[key] = typeWaitsFor(
                registry, run.type, self._own.begins)
        return self._types[key]

    def _sort_running(self, oid, run):
        if run.owner != self._own.id:
            return AWAY if run.owner in self.living.ids else LOST
        if self._runs.running.findLive(oid, run.id):
            return AWAY
        if self._runs.claims.has(oid, run):
            return READY
        return LOST
