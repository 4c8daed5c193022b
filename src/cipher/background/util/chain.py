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
"""The calling thread's depth in a chain of runs that start each other."""
import threading


_local = threading.local()


def setDepth(depth):
    """Note that the thread works on a run of *depth*; None: on no run."""
    _local.depth = -1 if depth is None else depth


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
        self._depth = _local.depth = depthOfNext()

    def __exit__(self, *error):
        _local.depth = self._depth - 1
