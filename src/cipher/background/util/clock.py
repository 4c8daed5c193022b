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


def now():
    """Return the seconds since the epoch, UTC (float)."""
    return _clock()


#: Seconds.  A clock that was set back by this much at most is bridged: times
#: that only grow stand still until it has caught up.  A time that is further
#: ahead was written by a clock that was wrong.
LEAP = 3600.0


def isAhead(moment, now):
    """Return whether *moment*, which is over, was told by a wrong clock."""
    return moment > now + LEAP


def setClock(clock=None):
    """Let `now` ask *clock*, a function; None: the clock of the machine."""
    global _clock
    _clock = clock or time.time


def isLater(moment):
    """Return whether *moment* (a time, or None: at once) is still to come."""
    return moment is not None and moment > now()
