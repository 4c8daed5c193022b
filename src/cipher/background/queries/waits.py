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
"""Why a run waits, and why it cannot be begun now."""
from cipher.background.declarations.workertype import findPause
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import ALREADY_DUE
from cipher.background.interfaces import KEPT_BACK
from cipher.background.interfaces import LIMIT_REACHED
from cipher.background.interfaces import NOT_WAITING
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import PROCESS_GONE
from cipher.background.interfaces import TYPE_PAUSED
from cipher.background.interfaces import TYPE_UNDECLARED
from cipher.background.interfaces import WAITS_FOR_LIMIT
from cipher.background.interfaces import WAITS_FOR_RESCUE
from cipher.background.interfaces import WAITS_FOR_RUNTIME
from cipher.background.interfaces import WAITS_FOR_THREAD
from cipher.background.interfaces import WAITS_FOR_TIME
from cipher.background.interfaces import WAITS_FOR_TURN
from cipher.background.interfaces import WAITS_WHILE_KEPT
from cipher.background.interfaces import WAITS_WHILE_PAUSED
from cipher.background.interfaces import WAITS_WHILE_QUIET
from cipher.background.interfaces import WAITS_WHILE_UNDECLARED
from cipher.background.queries.status import Wait
from cipher.background.store.kept import isKept
from cipher.background.store.run import formatId
from cipher.background.store.slots import listTaken
from cipher.background.util import clock
from cipher.background.util.plaindata import readNumber


class Waits:
    """Find the reasons why runs of a registry wait; valid for one call.

    *snapshot* is the `Snapshot` of the registry.
    """

    def __init__(self, snapshot):
        self._snapshot = snapshot
        self._limits = {}   # type name -> result of _look_at_limit

    def reasonOf(self, run):
        """Return the `Wait` of *run*; None unless it is shown as pending."""
        if self._snapshot.state(run) != PENDING:
            return None
        for find in _REASONS:
            wait = find(self, run)
            if wait is not None:
                return wait
        return Wait(WAITS_FOR_TURN)

    def obstacleOf(self, run):
        """Return why *run* cannot be begun now, one of `BEGIN_OBSTACLES`.

        None if it waits for its time.
        """
        if self._snapshot.state(run) != PENDING:
            return NOT_WAITING
        for find, obstacle in _OBSTACLES:
            if find(self, run) is not None:
                return obstacle
        return ALREADY_DUE

    # Each of these returns a Wait or None.

    def _kept(self, run):
        if isKept(self._snapshot.registry, run):
            return Wait(WAITS_WHILE_KEPT)

    def _rescue(self, run):
        if self._snapshot.isOrphaned(run):
            return Wait(WAITS_FOR_RESCUE)

    def _time(self, run):
        due_at = readNumber(run.due_at)
        if clock.isLater(due_at):
            return Wait(WAITS_FOR_TIME, until=due_at)

    def _pause(self, run):
        if findPause(self._snapshot.registry, run.type) is not None:
            return Wait(WAITS_WHILE_PAUSED)

    def _runtime(self, run):
        if not self._snapshot.workers:
            return Wait(WAITS_FOR_RUNTIME)

    def _quiet(self, run):
        if not self._snapshot.takers:
            return Wait(WAITS_WHILE_QUIET)

    def _undeclared(self, run):
        if not self._snapshot.isKnown(run.type):
            return Wait(WAITS_WHILE_UNDECLARED)

    def _limit(self, run):
        if run.type not in self._limits:
            self._limits[run.type] = self._look_at_limit(run.type)
        return self._limits[run.type]

    def _look_at_limit(self, name):
        worker_type = queryWorkerType(name)
        limit = worker_type and worker_type.max_running
        if not limit:
            return None
        registry = self._snapshot.registry
        taken = [(oid, formatId(lane, serial)) for oid, lane, serial
                 in listTaken(registry._p_jar, worker_type)]
        # Hidden runs of other sites do not count: they must stay hidden.
        if sum(self._snapshot.maySee(*key) for key in taken) < limit:
            return None
        ahead = [run_id for oid, run_id in taken if oid == registry._p_oid]
        return Wait(WAITS_FOR_LIMIT, number=limit,
                    run_id=ahead[0] if ahead else None)

    def _thread(self, run):
        if self._snapshot.is_full:
            return Wait(WAITS_FOR_THREAD)


#: The first reason that holds is shown.
_REASONS = (Waits._kept, Waits._rescue, Waits._time, Waits._pause,
            Waits._runtime, Waits._quiet, Waits._undeclared, Waits._limit,
            Waits._thread)

#: The first obstacle that holds is shown.  Before its time, a limit is none.
_OBSTACLES = ((Waits._kept, KEPT_BACK), (Waits._rescue, PROCESS_GONE),
              (Waits._undeclared, TYPE_UNDECLARED),
              (Waits._pause, TYPE_PAUSED), (Waits._time, None),
              (Waits._limit, LIMIT_REACHED))
