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
"""Write that this process ends, and give up or give back its runs."""
import time
from functools import partial

from ZODB.POSException import ConflictError

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.events import RunInterruptedEvent
from cipher.background.interfaces import DRAINED
from cipher.background.interfaces import FAILING_RESCUE
from cipher.background.interfaces import FAILING_STEP
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import SHUT_DOWN
from cipher.background.runtime.maintenance.bookmarks import ownLanes
from cipher.background.runtime.maintenance.bookmarks import writePosition
from cipher.background.store import process
from cipher.background.store.lifecycle import backOff
from cipher.background.util.logs import getLogger
from cipher.background.work.announcing import announce
from cipher.background.work.outcome import keepInterrupted
from cipher.background.work.outcome import writeInterruption


log = getLogger(__name__)

#: Tries to write the end of the process if another process conflicts, as when
#: both end at the same time.
CONFLICT_TRIES = 5


class Leaving:
    """The last writes of the process *own*, about its `OwnRuns` *runs*.

    *admission* knows who asked for a drain.  *bookmarks* writes those of our
    lanes.  Runs that cannot be written are noted in *troubles*.
    """

    def __init__(self, own, runs, admission, troubles, bookmarks):
        self._own = own
        self._runs = runs
        self._admission = admission
        self._troubles = troubles
        self._bookmarks = bookmarks
        self._announce = partial(announce, troubles=troubles)

    def leave(self, given_up=()):
        """Write that this process ends in good order.

        Give up the runs that are still live, and those in *given_up*, a
        sequence of `LiveRun`: their work cannot commit any more.

        Raise transient errors; the caller may try again.  Runs that are not
        given up would count as interrupted by a death.
        """
        own = self._own
        if not own.is_recorded:
            return
        lives = {(live.run_id, live.registry_oid): live
                 for live in (*given_up, *self._runs.running.allLive())}
        for live in lives.values():
            live.is_abandoned = True
        note = own.note('ends')
        with ZodbConnection(own.db) as connection:
            for key, live in lives.items():
                with self._guard(key), ZopeTransaction(note=note):
                    self._give_up(connection, live)
            for oid, run_id in self._runs.listNotBegun():
                with self._guard((run_id, oid)), ZopeTransaction(note=note):
                    self._give_back(connection, run_id, oid)
            with self._troubles.guard(FAILING_STEP, 'bookmarks'):
                self._bookmarks.write(connection)
            for tries in range(1, CONFLICT_TRIES + 1):
                try:
                    return self._write_end(connection, note)
                except ConflictError:
                    # Another process may end at the same time.
                    if tries == CONFLICT_TRIES:
                        raise
                time.sleep(backOff(tries))

    def _write_end(self, connection, note):
        own, runs = self._own, self._runs
        with ZopeTransaction(note=note):
            for place, lane in ownLanes(
                    own, runs.backlog, connection):
                writePosition(lane, *runs.backlog.position(place))
                lane.bookmark.home = None
            directory = process.getDirectory(connection)
            record = directory.processes.get(own.id)
            if record is None:
                return   # others took it for dead
            asked = self._admission.drain_asked
            ended = directory.end(
                record, SHUT_DOWN if asked is None else DRAINED, asked)
            for key in sorted(runs.left_over):
                ended.leave(key)

    def _guard(self, key):
        return self._troubles.guard(
            FAILING_RESCUE, *key, with_transient=False)

    def _give_back(self, connection, run_id, oid):
        """Leave a taken or claimed run that has not begun to others."""
        registry = process.findRegistry(connection, oid)
        run = registry and registry.findRun(run_id)
        if (run is not None and not run.isFinished()
                and run.owner == self._own.id):
            writeInterruption(registry, run, False, self._announce)

    def _give_up(self, connection, live):
        """End the attempt of *live*, whose work outlasts the drain."""
        registry = process.findRegistry(connection, live.registry_oid)
        run = registry and registry.getRun(live.lane, live.serial)
        if run is None or run.isFinished() or run.owner not in (
                None, self._own.id):
            return
        log.warning('Run %s: it works longer than the drain; it is given up',
                    run.id)
        stop = registry.stops.get(run.id)
        has_begun = live.worker is not None
        if stop is not None:
            if has_begun:
                keepInterrupted(live, run)
            registry.finish(run, INTERRUPTED, RunInterruptedEvent,
                            self._announce, stop_request=stop)
        else:
            writeInterruption(registry, run, live.must_not_rerun,
                              self._announce,
                              live if has_begun else None)
