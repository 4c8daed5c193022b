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
import logging

from cipher.background import process
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import RUNNING
from cipher.background.pruner import Pruner
from cipher.background.rescuer import Rescuer


log = logging.getLogger(__name__)


class Caretaker:
    """Looks after the database of one runtime without threads.

    For its control thread.
    """

    def __init__(self, runtime, census):
        self._runtime = runtime
        self._census = census
        self._rescuer = Rescuer(runtime)
        self._pruner = Pruner(runtime, _each_lane)
        self._lost = None   # places of runs to rescue; None: to be looked for

    def turn(self, connection):
        """Bury who is dead, and rescue what they worked on."""
        if self._is_needed(connection):
            self._bury(connection)
            if self._lost is None:
                self._lost = self._find_lost(connection)
            self._rescuer.rescue(connection, self._lost)
            if self._lost:
                self._lost = self._find_lost(connection)

    def prune(self, connection):
        """Prune one batch, if it is time; return whether there is more."""
        return self._is_needed(connection) and self._pruner.turn(connection)

    def _is_needed(self, connection):
        with ZopeTransaction():
            processes = process.getDirectory(connection).processes
            return not any(record.threads for record in processes.values()
                           if not process.isKnownDead(record))

    def _bury(self, connection):
        with ZopeTransaction(note=self._runtime.note('burial')):
            directory = process.getDirectory(connection)
            dead = self._census.findDead(directory)
            for record in dead:
                # Fails when the process beats after all.
                connection.readCurrent(record.beat)
                del directory.processes[record.id]
        for record in dead:
            log.warning('Process %s (%s) is dead', record.name, record.id)
            self._lost = None

    def _find_lost(self, connection):
        """Return (oid, lane, serial) of runs that nobody alive carries out.

        Reads all that is not known to be over: only after a death.
        """
        with ZopeTransaction():
            directory = process.getDirectory(connection)
            return [(oid, number, run.serial)
                    for oid, number, lane in _each_lane(connection)
                    for run in lane.births.walkUp(lane.cursor.position)
                    if run.state == RUNNING
                    and run.owner not in directory.processes]


def _each_lane(connection):
    for registry in process.getDirectory(connection).listRegistries():
        for number, lane in registry.lanes.items():
            yield registry._p_oid, number, lane
