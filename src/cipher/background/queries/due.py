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
"""Whether there is work to do now for a process."""
from cipher.background.interfaces import WAITS_FOR_RESCUE
from cipher.background.interfaces import WAITS_FOR_THREAD
from cipher.background.interfaces import WAITS_FOR_TURN
from cipher.background.queries.snapshot import Snapshot
from cipher.background.queries.waits import Waits


#: Reasons to wait that end by themselves, as soon as a process has room.
_SOON = {WAITS_FOR_RESCUE, WAITS_FOR_THREAD, WAITS_FOR_TURN}


def isAnyDue(registry, begins):
    """Return whether a run waits in *registry* for nothing but its turn.

    Only runs count of types for which *begins*, the method of the `IRuntime`,
    returns true.  Read all unfinished runs in the worst case.
    """
    waits = Waits(Snapshot(registry))
    for lane in registry.lanes.values():
        for run in lane.walkUnfinished():
            if run.isFinished() or not begins(run.type):
                continue
            wait = waits.reasonOf(run)
            if wait is not None and wait.kind in _SOON:
                return True
    return False
