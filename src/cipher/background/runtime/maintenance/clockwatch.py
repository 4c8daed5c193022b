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
"""Whether the clock of this machine can be believed just now."""
import math
import time

from persistent.TimeStamp import TimeStamp
from ZODB.utils import z64

from cipher.background.interfaces import CLOCK_JUMP
from cipher.background.store.process import Trouble
from cipher.background.util import clock
from cipher.background.util.transient import isTransient


#: Seconds.  By so much more than time has passed the clock went on, or back.
JUMP = 60.0

#: Seconds after a jump in which nothing is removed for its age: the clock may
#: be wrong, and what was removed does not come back.
DOUBT = 3600.0


#: Seconds.  Where the last commit of a database is so long ago when a runtime
#: begins, it was idle, or the clock is ahead: `DOUBT` applies, without a
#: trouble.
LONG_AGO = 86400.0


class ClockWatch:
    """Compares the wall clock with the one that nobody sets.

    For the control thread; any thread may ask.
    """

    def __init__(self, db=None):
        self._offset = clock.now() - time.monotonic()
        self._jump = None   # (monotonic time, wall time, seconds)
        self._trusts_at = 0.0   # monotonic; before that it just began
        if clock.now() - _last_written(db) > LONG_AGO:
            self._trusts_at = time.monotonic() + DOUBT

    def look(self, connection=None):
        """Note a jump since the last look."""
        now = time.monotonic()
        offset = clock.now() - now
        seconds = offset - self._offset
        if abs(seconds) > JUMP:
            self._jump = now, clock.now(), seconds
        # Little by little a clock is corrected all the time.
        self._offset = offset

    def isSteady(self):
        """Return whether there was no jump of late, nor is one possible.

        No process can tell whether its clock jumped before it began.
        """
        return time.monotonic() >= self._trusts_at and not self._has_jumped()

    def _has_jumped(self):
        return self._jump is not None and (
            time.monotonic() - self._jump[0] <= DOUBT)

    def trouble(self):
        """Return a `Trouble` as long as the clock is in doubt, or None."""
        if not self._has_jumped():
            return None
        _, since, seconds = self._jump
        return Trouble(CLOCK_JUMP, '%+d' % seconds, since, '')


def _last_written(db):
    """Return the time of the last commit of *db*; infinity: there is none.

    Minus infinity if the storage is away: then the clock is in doubt.
    """
    try:
        tid = z64 if db is None else db.lastTransaction()
    except Exception as error:
        if isTransient(error, db):
            return -math.inf
        raise
    return math.inf if tid == z64 else TimeStamp(tid).timeTime()
