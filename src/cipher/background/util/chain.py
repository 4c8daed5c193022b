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
"""What the calling thread works on: its run, and why it starts others."""
import threading
from contextlib import contextmanager


_local = threading.local()


def setRun(depth, find=None):
    """Note that the thread works on a run of *depth*; None: on no run.

    *find* returns (registry, run) as the connection of the work has them.
    """
    _local.depth = -1 if depth is None else depth
    _local.find = find


def currentRun():
    """Return (registry, run) of the work of this thread, or (None, None)."""
    find = getattr(_local, 'find', None)
    return (None, None) if find is None else find()


def depthOfNext():
    """Return the depth of a run that is started now; 0 outside of a run."""
    return getattr(_local, 'depth', -1) + 1


class deeper:
    """Count what the block starts as one level deeper.

    The events of a start are sent in such a block.  Otherwise a subscriber
    that starts a run at each start would never reach the limit: it would go
    on for ever in one transaction, outside of any run.
    """

    def __enter__(self):
        self._reason = currentReason()
        _local.reason = None
        self._depth = _local.depth = depthOfNext()

    def __exit__(self, *error):
        _local.depth = self._depth - 1
        _local.reason = self._reason


@contextmanager
def because(reason):
    """Give *reason* as that of the run that the block starts.

    What the events of this start cause has reasons of its own.
    """
    before = currentReason()
    _local.reason = reason
    try:
        yield
    finally:
        _local.reason = before


def currentReason():
    """Return the reason that `because` gave, or None."""
    return getattr(_local, 'reason', None)
