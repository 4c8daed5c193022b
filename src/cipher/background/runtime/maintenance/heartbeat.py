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
"""The thread of the heartbeat, by which others see that this process lives.

It does nothing else, so that no long step of the control thread and no work
delays it.  No code of the application runs in it.
"""
import threading

from cipher.background.store.lifecycle import backOff
from cipher.background.util.logs import getLogger
from cipher.background.util.transient import isClosed


log = getLogger(__name__)

#: Heartbeats in the time of one lease.  Up to three in a row may be late or
#: fail before others take the process for dead.
BEATS_PER_LEASE = 4

#: Seconds.  Two heartbeats are at least so far apart, however often `wake` is
#: called: each is a commit.
SHORTEST_PAUSE = 1.0


class HeartbeatThread(threading.Thread):
    """Calls the `beat` of *maintenance* at the pace of the lease of *own*."""

    def __init__(self, own, maintenance):
        super().__init__(name='background-heartbeat', daemon=True)
        self._own = own
        self._maintenance = maintenance
        self._woken = threading.Event()   # a heartbeat is wanted soon
        self._end = threading.Event()

    def wake(self):
        """Send a heartbeat soon, with new troubles.  Thread-safe."""
        self._woken.set()

    def end(self):
        """Send no further heartbeat.  Thread-safe."""
        self._end.set()
        self._woken.set()

    def run(self):
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
                if isClosed(self._own.db):
                    return
                failures += 1
                pause = min(pause, backOff(failures, cap=pause))
                log.debug('Heartbeat: %s; trying again', type(error).__name__,
                          exc_info=failures % 100 == 10)
            self._end.wait(min(pause, shortest))
            self._woken.wait(max(0.0, pause - shortest))
