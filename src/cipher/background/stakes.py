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
"""Who has how many lanes of a registry, and how many a runtime has to make."""
import time

from cipher.background.pool import getPool
from cipher.background.sharing import Stake


#: Lanes beyond one for each thread: as many transactions of this process may
#: start runs at a time without a conflict.
SPARE_LANES = 4

#: Seconds that a process waits for lanes that others have to spare, before it
#: makes new ones.
PATIENCE = 5.0


class Stakes:
    """The stakes of all processes, as one runtime sees them."""

    def __init__(self, runtime):
        self._runtime = runtime
        self._wanted = {}   # registry oid -> own lanes that we need
        self._since = {}    # registry oid -> when we first knew it

    def isTaker(self, record):
        """Return whether the process of *record* begins anything new."""
        if record is None:
            return False
        if record.id == self._runtime.id and not self._runtime.is_taking:
            return False
        return bool(record.threads) and not (
            record.wish.is_quiet or record.wish.is_draining)

    def of(self, registry, alive):
        """Return {process id: Stake} of the processes *alive*."""
        numbers = {name: [0, 0] for name in alive}   # own, guest
        for lane in registry.lanes.values():
            if lane.cursor.owner in numbers:
                numbers[lane.cursor.owner][lane.is_guest] += 1
        return {name: Stake(own, guest, self._wanted_by(
            alive[name], registry._p_oid))
                for name, (own, guest) in numbers.items()}

    def _wanted_by(self, record, oid):
        if not self.isTaker(record):
            return None
        wanted = record.threads + SPARE_LANES
        if record.id == self._runtime.id:
            wanted = max(wanted, self._wanted.get(oid, 0))
        return wanted

    def missing(self, registry, alive, number):
        """Return how many lanes of our own to make, where we have *number*.
        """
        oid = registry._p_oid
        wanted = max(self._runtime.threads + SPARE_LANES,
                     self._wanted.get(oid, 0))
        if getPool(self._runtime.db, oid).ran_dry:
            wanted = max(wanted, number + SPARE_LANES)
        self._wanted[oid] = wanted
        now = time.monotonic()
        if now - self._since.setdefault(oid, now) < PATIENCE:
            stakes = self.of(registry, alive)
            wanted -= sum(stake.spare() for name, stake in stakes.items()
                          if name != self._runtime.id)
        return wanted - number
