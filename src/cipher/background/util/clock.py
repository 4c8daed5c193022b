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
"""The wall clock, in one place so that a test can set it."""
import time


_clock = time.time


def now() -> float:
    """Return the seconds since the epoch, UTC (float)."""
    return _clock()


#: Seconds: the longest step back of the clock that is bridged.  Times that
#: may only grow stand still until the clock has caught up.  A time further
#: ahead than this counts as written by a wrong clock.
LEAP = 3600.0


def isAhead(moment, now):
    """Return whether *moment*, a time in the past, is of a wrong clock."""
    return moment > now + LEAP


def setClock(clock=None):
    """Let `now` call *clock*; None restores the clock of the machine."""
    global _clock
    _clock = clock or time.time


def isLater(moment):
    """Return whether *moment* is in the future; None stands for "at once"."""
    return moment is not None and moment > now()
