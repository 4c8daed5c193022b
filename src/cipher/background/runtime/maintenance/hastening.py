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
"""Runs that administrators let begin now: their homes hear of them.

The home of a lane knows a run by the time for which it was put off, in memory
or by its entry in the waiting tree.  Called by the control thread only.
"""
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import FAILING_RESCUE
from cipher.background.store.cursor import FOR_TIME
from cipher.background.store.process import findRegistry
from cipher.background.util import clock
from cipher.background.work.liverun import ticketOf


class Hastening:
    """The requests in the registries that concern one runtime."""

    def __init__(self, own, backlog, running, troubles):
        self._own = own
        self._backlog = backlog
        self._running = running
        self._troubles = troubles

    def turn(self, connection):
        """Let what was asked for wait no longer, in our lanes."""
        lanes = set(self._backlog.lanes())
        asked = []   # (run id, registry oid)
        with ZopeTransaction():
            for oid in {oid for oid, _ in lanes}:
                registry = findRegistry(connection, oid)
                if registry is not None:
                    asked += [(run_id, oid)
                              for run_id in registry.hastened or ()]
        self._troubles.doEach(
            FAILING_RESCUE, asked,
            lambda *item: self._hasten(connection, *item),
            self._own.note('begin now'))

    def _hasten(self, connection, run_id, oid):
        registry = findRegistry(connection, oid)
        if registry is None or run_id not in (registry.hastened or ()):
            return
        run = registry.findRun(run_id)
        if run is None or run.isFinished() or self._is_settled(
                registry, oid, run):
            del registry.hastened[run_id]

    def _is_settled(self, registry, oid, run):
        """Return whether *run* waits for its time no longer; False: later."""
        lane = registry.lanes[run.lane]
        if lane.cursor.home != self._own.id:
            return False   # its home sees to it
        live = self._running.findLive(oid, run.id)
        if live is not None:
            return live.due_at is None   # else it was put off, and ends
        if clock.isLater(run.due_at):
            return True   # it was put off again since
        if not self._backlog.hasten(ticketOf(oid, run)):
            return False
        key, _ = lane.waiting.places.get(run.serial, (None, None))
        if key == FOR_TIME:
            # Comes back in the next look, and after a crash as well.
            lane.waiting.add(
                FOR_TIME, int(clock.now() * 1000000), run.serial)
        return True
