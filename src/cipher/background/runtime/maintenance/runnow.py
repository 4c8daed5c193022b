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
"""Let delayed runs begin now that administrators have asked for.

The request is stored in the registry.  The home of the run's lane carries it
out: it has the delayed run in memory or in the waiting tree of the lane.
"""
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import FAILING_RESCUE
from cipher.background.store.bookmark import FOR_TIME
from cipher.background.store.process import findRegistry
from cipher.background.util import clock
from cipher.background.work.liverun import ticketOf


class RunNowRequests:
    """Carries out the requests for runs of the lanes of the process *own*.

    *backlog* and *running* are its runs in memory.  Requests that fail are
    noted in *troubles*.
    """

    def __init__(self, own, backlog, running, troubles):
        self._own = own
        self._backlog = backlog
        self._running = running
        self._troubles = troubles

    def turn(self, connection):
        """Carry out the requests for runs of our lanes."""
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
            self._own.note('run now'))

    def _hasten(self, connection, run_id, oid):
        registry = findRegistry(connection, oid)
        if registry is None or run_id not in (registry.hastened or ()):
            return
        run = registry.findRun(run_id)
        if run is None or run.isFinished() or self._is_settled(
                registry, oid, run):
            del registry.hastened[run_id]

    def _is_settled(self, registry, oid, run):
        """Let *run* begin; return whether its request is settled.

        False: this process tries again in a later turn, or another one does.
        """
        lane = registry.lanes[run.lane]
        if lane.bookmark.home != self._own.id:
            return False   # its home carries the request out
        live = self._running.findLive(oid, run.id)
        if live is not None:
            return live.due_at is None   # else it just ends, and is delayed
        if clock.isLater(run.due_at):
            return True   # it began since and was delayed again
        if not self._backlog.hasten(ticketOf(oid, run)):
            return False
        key, _ = lane.waiting.places.get(run.serial, (None, None))
        if key == FOR_TIME:
            # The next look, even after a crash, finds that it is due.
            lane.waiting.add(
                FOR_TIME, int(clock.now() * 1000000), run.serial)
        return True
