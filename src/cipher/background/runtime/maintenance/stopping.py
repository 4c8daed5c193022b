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
"""Carry out stop requests: ask the worker of a run, or stop a waiting run."""
from functools import partial

from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.events import RunStoppedEvent
from cipher.background.interfaces import FAILING_RESCUE
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import STOPPED
from cipher.background.store import process
from cipher.background.store.run import StopRequest
from cipher.background.work.announcing import announce


class StopRequests:
    """Carries out the requests for runs of the process *own*.

    *backlog* and *running* are its runs in memory.  Requests that fail are
    noted in *troubles*.
    """

    def __init__(self, own, backlog, running, troubles):
        self._own = own
        self._backlog = backlog
        self._running = running
        self._troubles = troubles
        self._announce = partial(announce, troubles=troubles)

    def read(self, connection):
        """Ask live runs to stop; stop the runs that wait in our lanes."""
        lanes = set(self._backlog.lanes())
        others = []   # (run id, registry oid) of runs that are not live here
        with ZopeTransaction():
            oids = {oid for oid, _ in lanes}
            for oid in oids | self._running.liveRegistries():
                registry = process.findRegistry(connection, oid)
                if registry is None:
                    continue
                for run_id, request in registry.stops.items():
                    live = self._running.findLive(oid, run_id)
                    if live is None:
                        others.append((run_id, oid))
                    elif live.stop is None:
                        live.requestStop(StopRequest(*request))
        self._troubles.doEach(
            FAILING_RESCUE, others,
            lambda *item: self._settle(connection, lanes, *item),
            self._own.note('stop requests'))

    def _settle(self, connection, lanes, run_id, oid):
        """Stop a run that waits here; remove the request of a finished one."""
        registry = process.findRegistry(connection, oid)
        request = registry and registry.stops.get(run_id)
        if request is None:
            return
        run = registry.findRun(run_id)
        living = process.Living(
            process.getDirectory(connection), self._own.id)
        if run is None or run.isFinished():
            del registry.stops[run_id]
        elif (run.state == PENDING and (oid, run.lane) in lanes
              and self._running.findLive(oid, run_id) is None
              and not living.isOwned(oid, run)):
            registry.finish(run, STOPPED, RunStoppedEvent,
                            self._announce, stop_request=request)
            del registry.stops[run_id]
