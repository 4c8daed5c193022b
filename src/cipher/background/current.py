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
"""Which run the calling thread works on: how deep a chain of runs is."""
import threading


_local = threading.local()


def setDepth(depth):
    """Tell that the thread works on a run of that depth; None: on none."""
    _local.depth = depth


def depthOfNext():
    """Return the depth of a run that is started now: 0 outside of a run."""
    depth = getattr(_local, 'depth', None)
    return 0 if depth is None else depth + 1
