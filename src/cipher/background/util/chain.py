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
"""How deep the calling thread is in a chain of runs that start each other."""
import threading
from contextlib import contextmanager


_local = threading.local()


def setDepth(depth):
    """Tell that the thread works on a run of that depth; None: on none."""
    _local.depth = -1 if depth is None else depth


def depthOfNext():
    """Return the depth of a run that is started now: 0 outside of a run."""
    return getattr(_local, 'depth', -1) + 1


@contextmanager
def deeper():
    """What the events of a start lead to is deeper than what is started.

    Else a subscriber that starts a run at the start of a run would go on for
    ever, in one transaction and outside of any run.
    """
    depth = depthOfNext()
    _local.depth = depth
    try:
        yield
    finally:
        _local.depth = depth - 1
