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
import time

from cipher.background import clock
from cipher.background.interfaces import CLOCK_JUMP
from cipher.background.process import Trouble


#: Seconds.  By so much more than time has passed the clock went on, or back.
JUMP = 60.0

#: Seconds after a jump in which nothing is removed for its age: the clock may
#: be wrong, and what was removed does not come back.
DOUBT = 3600.0


class ClockWatch:
    """Compares the wall clock with the one that nobody sets.

    For the control thread; any thread may ask.
    """

    def __init__(self):
        self._offset = clock.now() - time.monotonic()
        self._jump = None   # (monotonic time, wall time, seconds)

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
        """Return whether there was no jump of late."""
        return self._jump is None or time.monotonic() - self._jump[0] > DOUBT

    def trouble(self):
        """Return a `Trouble` as long as the clock is in doubt, or None."""
        if self.isSteady():
            return None
        _, since, seconds = self._jump
        return Trouble(CLOCK_JUMP, '%+d' % seconds, since, '')
