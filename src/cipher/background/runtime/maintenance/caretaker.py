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
"""The duties of a process without threads where no other one has any.

An application whose threads are all made by hand has nobody who consumes
lanes.  Its dead processes are buried, their runs are rescued and what is old
is pruned all the same.
"""
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import RUNNING
from cipher.background.runtime.maintenance.pruner import Pruner
from cipher.background.store import process
from cipher.background.work.liverun import ticketOf


class Caretaker:
    """Looks after the database of one runtime without threads.

    For its control thread.
    """

    def __init__(self, runtime, rescuer):
        self._runtime = runtime
        self._rescuer = rescuer
        self._pruner = Pruner(runtime, _each_lane)
        self._lost = None   # tickets of runs to rescue; None: to be looked for

    def turn(self, connection):
        """Bury who is dead, and rescue what they worked on."""
        if self._is_needed(connection):
            if self._rescuer.removeDead(connection):
                self._lost = None
            if self._lost is None:
                self._lost = self._find_lost(connection)
            self._rescuer.rescueAll(connection, self._lost)
            if self._lost:
                self._lost = self._find_lost(connection)

    def prune(self, connection):
        """Prune one batch, if it is time; return whether there is more."""
        return self._is_needed(connection) and self._pruner.turn(connection)

    def _is_needed(self, connection):
        if self._runtime.copied is not None:
            return False
        with ZopeTransaction():
            processes = process.getDirectory(connection).processes
            return not any(record.threads for record in processes.values()
                           if not process.isKnownDead(record))

    def _find_lost(self, connection):
        """Return the tickets of runs that nobody alive carries out.

        Reads all that is not known to be over: only after a death.
        """
        with ZopeTransaction():
            directory = process.getDirectory(connection)
            return [ticketOf(oid, run)
                    for (oid, _), lane in _each_lane(connection)
                    for run in _unfinished(lane)
                    if run.state == RUNNING
                    and run.owner not in directory.processes]


def _unfinished(lane):
    """Yield at least the runs of *lane* that are not finished."""
    passed = sorted({*lane.cursor.stragglers, *lane.waiting.places})
    for serial in passed:
        run = lane.births.get(serial)
        if run is not None and serial < lane.cursor.low:
            yield run
    yield from lane.births.walkUp(lane.cursor.low)


def _each_lane(connection):
    for registry in process.getDirectory(connection).listRegistries():
        for number, lane in registry.lanes.items():
            yield (registry._p_oid, number), lane
