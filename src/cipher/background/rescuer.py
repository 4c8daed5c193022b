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
"""Runs that a dead process worked on: who they are, what becomes of them.

Called by the control thread only.
"""
import logging

from zope.event import notify

from cipher.background import clock
from cipher.background import process
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import RunFailedEvent
from cipher.background.interfaces import RunInterruptedEvent
from cipher.background.interfaces import RunRequeuedEvent
from cipher.background.lifecycle import afterInterruption
from cipher.background.lifecycle import countInterruption
from cipher.background.logs import errorsMasked
from cipher.background.workertype import maskerOf
from cipher.background.workertype import queryWorkerType


log = logging.getLogger(__name__)

#: Runs are rescued at most so many in one commit.
BATCH = 100


class Rescuer:
    """Rescues the runs of the lanes that one runtime consumes."""

    def __init__(self, runtime):
        self._runtime = runtime
        self.orphans = set()   # (oid, run id) that dead processes worked on

    def holders(self, connection):
        """Return the `process.Holders`, as the open transaction sees them."""
        return process.Holders(
            process.getDirectory(connection), self._runtime.id)

    def isLost(self, connection, oid, number, run):
        """Return whether a dead process surely worked on *run* (or None).

        Nobody alive holds the run.  A pending one is lost when the process
        said that it works on it, or was asked to stop that.
        """
        if run is None or run.state != PENDING:
            return run is not None and run.state == RUNNING
        return (oid, run.id) in self.orphans or (
            self._runtime.backlog.isInherited(oid, number, run.serial)
            and run.id in connection.get(oid).stops)

    def rescue(self, connection, lost):
        """Rescue the first of *lost*: (registry oid, lane number, serial).

        Return whether there were any.
        """
        lost = lost[:BATCH]
        if not lost:
            return False
        with ZopeTransaction(note=self._runtime.note('rescue')):
            holders = self.holders(connection)
            for place in lost:
                self._rescue_if_lost(connection, holders, *place)
        for oid, number, serial in lost:
            self.orphans.discard((oid, '%d-%d' % (number, serial)))
        return True

    def _rescue_if_lost(self, connection, holders, oid, number, serial):
        # It was lost a moment ago: by now it may be ended, removed or taken.
        try:
            registry = connection.get(oid)
            run = registry.getRun(number, serial)
        except KeyError:
            return   # the registry is gone
        is_held = holders.hold(oid, run) and run.owner != self._runtime.id
        if run is not None and not run.isFinished() and not is_held:
            with errorsMasked(self._runtime.db, lambda: maskerOf(run)):
                self._rescue_run(registry, run)

    def _rescue_run(self, registry, run):
        worker_type = queryWorkerType(run.type)
        count = countInterruption(
            run.interruptions, worker_type is not None and worker_type.is_loop,
            run.started_at and clock.now() - run.started_at)
        stop = registry.stops.get(run.id)
        state = afterInterruption(run.must_not_rerun, count, stop is not None)
        log.warning('Run %s: its process ended while it ran%s; now %s',
                    run.id, run.owner and ' (%s)' % process.processName(
                        run.owner) or '', state)
        if state == PENDING:
            run.putBack(interruptions=count)
            notify(RunRequeuedEvent(run, registry))
        elif state == FAILED:
            registry.finish(
                run, FAILED, RunFailedEvent, interruptions=count,
                error=('ProcessDied', 'its process ended %d times while it '
                       'ran' % count))
        else:
            registry.finish(run, INTERRUPTED, RunInterruptedEvent,
                            interruptions=count, stop_request=stop)
            if stop is not None:
                del registry.stops[run.id]
