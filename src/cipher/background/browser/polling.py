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
"""How often the pages of a process may ask for news.

Each open page asks for its JSON again and again.  Together the pages of a
process must not slow down its work, however many are open.
"""
import math
import threading
import time


#: Seconds between two polls of a page: at least, and at most.
SHORTEST = 2.0
LONGEST = 10.0

#: The part of one processor that all polls together may take.
SHARE = 0.02

#: Seconds over which the cost of the polls is averaged.
WINDOW = 10.0


class Budget:
    """Spreads the polls so that they cost at most *share* of a processor.

    Thread-safe.  *clock* returns seconds.
    """

    def __init__(self, share=SHARE, clock=time.monotonic):
        self._share = share
        self._clock = clock
        self._lock = threading.Lock()
        self._at = clock()
        self._round = 0.0   # seconds that all pages cost once, on average

    def spend(self, seconds):
        """Return the seconds until the page may poll again.

        *seconds*: the processor time that this poll took.
        """
        with self._lock:
            now = self._clock()
            self._round *= math.exp((self._at - now) / WINDOW)
            self._at = now
            wait = self._get_wait()
            # A page that polls every *wait* seconds comes WINDOW / wait times.
            self._round += seconds * wait / WINDOW
            return self._get_wait()

    def _get_wait(self):
        return min(LONGEST, max(SHORTEST, self._round / self._share))


#: The budget of this process.
budget = Budget()
