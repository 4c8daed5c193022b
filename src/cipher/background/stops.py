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
"""Stop requests: what they come to, and who lost its run to others.

Called by the control thread only.
"""
import logging

from cipher.background import clock
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import RunStoppedEvent
from cipher.background.process import Living
from cipher.background.process import getDirectory
from cipher.background.run import StopRequest


log = logging.getLogger(__name__)

#: Seconds.  What is live for less is at its end before others can stop it.
LOOK_AFTER = 0.5


class Stops:
    """Reads what is asked of runs that one runtime works on."""

    def __init__(self, runtime):
        self._runtime = runtime

    def turn(self, connection):
        """Look once."""
        self._read_stops(connection)
        self._look_at_live(connection)
        return False

    def _read_stops(self, connection):
        runtime = self._runtime
        with ZopeTransaction(note=self._runtime.note('stop requests')):
            mine = set(runtime.tickets.lanes())
            living = Living(getDirectory(connection), runtime.id)
            for oid in {oid for oid, _ in mine} | runtime.liveRegistries():
                try:
                    registry = connection.get(oid)
                    requests = list(registry.stops.items())
                except KeyError:
                    continue   # the registry is gone
                for run_id, request in requests:
                    self._read_stop(registry, run_id, request, mine, living)

    def _read_stop(self, registry, run_id, request, mine, living):
        live = self._runtime.findLive(registry._p_oid, run_id)
        if live is not None:
            if live.stop is None:
                live.requestStop(StopRequest(*request))
            return
        run = registry.findRun(run_id)
        if run is None or run.isFinished():
            del registry.stops[run_id]
        elif (run.state == PENDING and (registry._p_oid, run.lane) in mine
              and not living.hold(registry._p_oid, run)
              and run.owner in (None, self._runtime.id)):
            registry.finish(run, STOPPED, RunStoppedEvent,
                            stop_request=request)
            del registry.stops[run_id]

    def _look_at_live(self, connection):
        """Abandon what works here on a run that others ended or took.

        They could not tell: it is stopped as a pending one as long as they
        do not know that it runs.
        """
        runtime = self._runtime
        limit = clock.now() - LOOK_AFTER
        lives = [live for live in runtime.allLive()
                 if live.started_at <= limit and not live.is_abandoned]
        if not lives:
            return
        with ZopeTransaction():   # which sees all that those saw
            for live in lives:
                try:
                    run = connection.get(live.registry_oid).getRun(
                        live.lane, live.serial)
                except KeyError:
                    continue
                if run is not None and run.owner != runtime.id and (
                        run.owner is not None or run.isFinished()):
                    log.info('Run %s: it was taken over or ended by another '
                             'process', live.run_id)
                    live.abandon()
