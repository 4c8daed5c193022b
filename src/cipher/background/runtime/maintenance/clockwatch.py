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
"""Notice jumps of this machine's clock, so no run is removed by mistake."""
import math
import time

from persistent.TimeStamp import TimeStamp
from ZODB.utils import z64

from cipher.background.interfaces import CLOCK_JUMP
from cipher.background.store.process import Trouble
from cipher.background.util import clock
from cipher.background.util.transient import isTransient


#: Seconds between the wall clock and the time that has passed, from which on
#: the clock counts as set.  Usual corrections are far smaller.
JUMP = 60.0

#: Seconds after a jump in which no run is removed for its age.  The clock may
#: be wrong, and removed runs do not come back.
DOUBT = 3600.0


#: Seconds since the last commit of the database.  If it is longer ago when a
#: runtime begins, the database was idle or the clock is ahead.  Then `DOUBT`
#: applies, without a trouble.
LONG_AGO = 86400.0


class ClockWatch:
    """Compares the wall clock with the monotonic clock.

    Any thread may call `isSteady` and `trouble`.
    """

    def __init__(self, db=None):
        self._offset = clock.now() - time.monotonic()
        self._jump = None   # (monotonic time, wall time, seconds)
        self._trusts_at = 0.0   # monotonic; the clock is in doubt until then
        if clock.now() - _last_written(db) > LONG_AGO:
            self._trusts_at = time.monotonic() + DOUBT

    def look(self, connection=None):
        """Record a jump of the clock since the last call."""
        now = time.monotonic()
        offset = clock.now() - now
        seconds = offset - self._offset
        if abs(seconds) > JUMP:
            self._jump = now, clock.now(), seconds
        # The new offset counts, as small corrections add up over time.
        self._offset = offset

    def isSteady(self):
        """Return whether the clock is not in doubt.

        It is in doubt after a jump, and after the begin with a database whose
        last commit is long ago: the clock may have jumped before.
        """
        return time.monotonic() >= self._trusts_at and not self._has_jumped()

    def _has_jumped(self):
        return self._jump is not None and (
            time.monotonic() - self._jump[0] <= DOUBT)

    def trouble(self):
        """Return a `Trouble` for `DOUBT` seconds after a jump, else None."""
        if not self._has_jumped():
            return None
        _, since, seconds = self._jump
        return Trouble(CLOCK_JUMP, '%+d' % seconds, since, '')


def _last_written(db):
    """Return the time of the last commit of *db*; infinity if there is none.

    Return minus infinity if the storage is away, so the clock is in doubt.
    """
    try:
        tid = z64 if db is None else db.lastTransaction()
    except Exception as error:
        if isTransient(error, db):
            return -math.inf
        raise
    return math.inf if tid == z64 else TimeStamp(tid).timeTime()
