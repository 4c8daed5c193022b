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
"""Who consumes how many lanes of a registry."""
from cipher.background.sharing import Stake


#: Lanes beyond one for each thread: as many transactions of this process may
#: start runs at a time without a conflict.
SPARE_LANES = 4


class Stakes:
    """The stakes of all processes, as one runtime sees them."""

    def __init__(self, runtime):
        self._runtime = runtime

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
        numbers = {name: [0, 0] for name in alive}   # own, of others
        for lane in registry.lanes.values():
            owner = lane.cursor.owner
            if owner in numbers:
                numbers[owner][lane.writer.id != owner] += 1
        return {name: Stake(
            own, guest, own if self.isTaker(alive[name]) else None)
                for name, (own, guest) in numbers.items()}
