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
"""The heartbeat: a thread that only beats.

Whatever the control thread and the workers are at, others see that this
process lives.  No code of the application runs here.
"""
import threading

from cipher.background.store.lifecycle import backOff
from cipher.background.util.logs import getLogger
from cipher.background.util.transient import isClosed


log = getLogger(__name__)

#: A process beats so many times during its lease.
BEATS_PER_LEASE = 4

#: Seconds between two beats at least, however much there is to report.
SHORTEST_PAUSE = 1.0


class HeartbeatThread(threading.Thread):
    """Lets *maintenance* beat."""

    def __init__(self, own, db, maintenance):
        super().__init__(name='background-heartbeat', daemon=True)
        self._own = own
        self._db = db
        self._maintenance = maintenance
        self._woken = threading.Event()   # to beat soon
        self._end = threading.Event()

    def wake(self):
        """Beat soon: there is something to report.  Any thread may call."""
        self._woken.set()

    def end(self):
        """Beat no more.  Any thread may call."""
        self._end.set()
        self._woken.set()

    def run(self):
        """See ``threading.Thread``."""
        failures = 0
        while not self._end.is_set():
            pause = self._own.settings.lease / BEATS_PER_LEASE
            self._woken.clear()
            shortest = SHORTEST_PAUSE
            try:
                if not self._maintenance.beat():
                    shortest = 0.0   # until there is a record
                failures = 0
            except Exception as error:
                if isClosed(self._db):
                    return
                failures += 1
                pause = min(pause, backOff(failures, cap=pause))
                log.debug('Beat: %s; again', type(error).__name__,
                          exc_info=failures % 100 == 10)
            self._end.wait(min(pause, shortest))
            self._woken.wait(max(0.0, pause - shortest))
