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
"""The duties of processes without threads, if no other process has threads.

If an application makes all its threads by hand, no process is the home of
lanes.  The processes without threads then remove the records of dead ones,
rescue their runs and prune old runs.
"""
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import RUNNING
from cipher.background.runtime.maintenance.pruner import Pruner
from cipher.background.store import process
from cipher.background.work.liverun import ticketOf


class Caretaker:
    """Does the duties of the process *own*, which has no threads.

    *admission* knows whether the database is a copy.  *dead_processes* and
    *rescuer* do the work.
    """

    def __init__(self, own, admission, dead_processes, rescuer):
        self._admission = admission
        self._dead_processes = dead_processes
        self._rescuer = rescuer
        self._pruner = Pruner(own, _each_lane)
        self._lost = None   # tickets of runs to rescue; None: not known

    def turn(self, connection):
        """Remove the records of dead processes and rescue their runs."""
        if self._is_needed(connection):
            # An error leaves open whether the removal was committed.
            known, self._lost = self._lost, None
            if not self._dead_processes.remove(connection):
                self._lost = known
            if self._lost is None:
                self._lost = self._find_lost(connection)
            self._rescuer.rescueAll(connection, self._lost)
            if self._lost:
                self._lost = self._find_lost(connection)

    def prune(self, connection):
        """Prune one batch, if it is due; return whether there is more."""
        return self._is_needed(connection) and self._pruner.turn(connection)

    def _is_needed(self, connection):
        if self._admission.copied is not None:
            return False
        with ZopeTransaction():
            processes = process.getDirectory(connection).processes
            return not any(record.threads for record in processes.values()
                           if not process.isKnownDead(record))

    def _find_lost(self, connection):
        """Return the tickets of running runs whose process is gone.

        This reads all unfinished runs, so it is done only after a death.
        """
        with ZopeTransaction():
            directory = process.getDirectory(connection)
            return [ticketOf(oid, run)
                    for (oid, _), lane in _each_lane(connection)
                    for run in lane.walkUnfinished()
                    if run.state == RUNNING
                    and run.owner not in directory.processes]


def _each_lane(connection):
    for registry in process.getDirectory(connection).listRegistries():
        for number, lane in registry.lanes.items():
            yield (registry._p_oid, number), lane
