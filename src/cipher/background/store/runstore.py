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
"""The runs of one registry, and all that is stored beside them."""
import os
import re
from typing import Any

from BTrees.Length import Length
from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree
from zope.event import notify

from cipher.background.events import RunCreatedEvent
from cipher.background.store import structure
from cipher.background.store.cause import causeOfNext
from cipher.background.store.cause import noteChild
from cipher.background.store.finishes import RemovedCounts
from cipher.background.store.journal import Journal
from cipher.background.store.lane import Lane
from cipher.background.store.lanepool import getPool
from cipher.background.store.process import getDirectory
from cipher.background.store.run import WorkerRun
from cipher.background.store.table import Table
from cipher.background.util import clock
from cipher.background.util.chain import deeper
from cipher.background.util.chain import depthOfNext


#: Buckets of the table of unique keys.  A start with a new key writes one
#: bucket; starts in the same bucket may conflict, so there are many.
KEY_BUCKETS = 256

_RUN_ID = re.compile(r'([1-9][0-9]{0,8})-([1-9][0-9]{0,14})', re.ASCII)


class RunStore(structure.Structured):
    """What a registry stores, and the few ways to change it.

    `WorkerRegistry` is one that is persistent and has a place.  Nothing here
    asks who may do it, or commits.
    """

    # Of each persistent object, and of each that has a place.
    _p_jar: Any
    _p_oid: Any
    __parent__: Any

    keep_days = 14.0
    keep = 10000
    waiting_per_starter = 1000
    hastened = None   # OOBTree: run id -> time of the call of beginNow
    thresholds = ()   # {name: value} of the changed thresholds

    place = None   # (mark of the database, oid) where it was last known
    kept = None    # kept.Kept, after a copy

    def __init__(self):
        self.structure_version = structure.VERSION
        self.lanes = LOBTree()    # number -> Lane
        self.stops = OOBTree()    # run id -> (principal, asked_at, reason)
        self.schedules = OOBTree()   # name -> states.ScheduleState
        self.services = OOBTree()    # type name -> states.ServiceState
        self.unique_keys = Table(KEY_BUCKETS)   # uniqueKey -> (lane, serial)
        self.pauses = OOBTree()   # type name -> (principal, at, reason)
        self.removed_by_hand = RemovedCounts()   # removals by administrators
        self.journal = Journal()
        self.alerts = OOBTree()   # type name -> alertstate.AlertState
        self.secret = os.urandom(32)
        self.lanes[1] = Lane(1)   # other lanes are made when they are needed

    def findRun(self, run_id):
        """Return the run of that id or None, even if its type is hidden."""
        match = _RUN_ID.fullmatch(run_id) if isinstance(run_id, str) else None
        return match and self.getRun(int(match[1]), int(match[2]))

    def getRun(self, lane_number, serial):
        """Return the run of that lane and serial, or None."""
        lane = self.lanes.get(lane_number)
        run = lane and lane.births.get(serial)
        if run is None or run.is_removed:
            return None
        run._v_parent = self
        return run

    def addRun(self, type, unique_key=None, **values):
        """Store a new run in the open transaction and return it.

        For this package: nothing is checked.  *unique_key* is a
        `uniquekeys.uniqueKey` or None.  *values* are attributes of the run.
        """
        if self._p_jar is not None:
            # With a newer database no new run may begin.  Running work may
            # still finish: the newer code waits for it.
            directory = getDirectory(self._p_jar)
            if directory is not None:
                structure.checkVersion(directory)
        lease = None if self._p_jar is None else self.checkOut()
        lane = self.lanes[min(self.lanes)] if lease is None else lease.lane
        cause, parent = causeOfNext(self)
        run = WorkerRun(type, lane.number, lane.births.next_serial,
                        lane.births.timeOfNext(clock.now()),
                        depth=depthOfNext(), cause=cause, **values)
        if unique_key is not None:
            run.merged_starts = Length()
        if lease is not None:
            lease.bear(run)
        run._v_parent = self
        lane.bear(run)
        if parent is not None:
            noteChild(parent, run)
        if unique_key is not None:
            self.unique_keys[unique_key] = run.lane, run.serial
        with deeper():
            notify(RunCreatedEvent(run, self))
        return run

    def checkOut(self):
        """Return the `lanepool._Checkout` of the open transaction."""
        structure.checkVersion(self)
        txn = self._p_jar.transaction_manager.get()
        return getPool(self._p_jar.db(), self._p_oid).checkOut(self, txn)

    def finish(self, run, state, event, send=notify, **values):
        """Finish *run* in the open transaction and send an event.

        For this package.  *state* is the new state, *values* are attributes
        of the run.  *event* is the class of the event, *send* the function
        that sends it.  Raise `IllegalTransition`.
        """
        run.change(state, finished_at=clock.now(), **values)
        self.checkOut().lane.finish(run)
        run._v_parent = self
        send(event(run, self))
