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
"""The control thread of a runtime: turn after turn, until the end."""
import threading
import time

from ZODB.POSException import ConflictError

from cipher.background.interfaces import STUCK_PROCESS
from cipher.background.runtime.maintenance import troubles
from cipher.background.store.lifecycle import backOff
from cipher.background.store.process import Trouble
from cipher.background.util import clock
from cipher.background.util.logs import getLogger
from cipher.background.util.transient import isClosed
from cipher.background.util.transient import isTransient
from cipher.background.work.stack import getStack


log = getLogger(__name__)

#: Tries to write the end of the process.  Their delays are below a second in
#: all, as the shutdown waits for them.
LEAVE_TRIES = 5


class ControlThread(threading.Thread):
    """Calls the turns of *maintenance* until `end`.

    It also ends when the database is closed.
    """

    def __init__(self, runtime, maintenance):
        super().__init__(name='background-control', daemon=True)
        self._runtime = runtime
        self._maintenance = maintenance
        self._woken = threading.Event()   # to have a turn at once
        self._end = threading.Event()

    def findStuck(self):
        """Return a `Trouble` if one step takes longer than a lease, or None.

        Thread-safe.
        """
        current = self._maintenance.steps.current
        if current is None:
            return None
        step, since = current
        seconds = time.monotonic() - since
        if seconds <= self._runtime.settings.lease:
            return None
        return Trouble(STUCK_PROCESS, step, clock.now() - seconds, '',
                       stack=getStack(self.ident))

    def wake(self):
        """Wake the control thread for a turn.  Thread-safe."""
        self._woken.set()

    def end(self):
        """Begin no further turn.  Thread-safe."""
        self._end.set()
        self._maintenance.steps.end()
        self._woken.set()

    def run(self):
        runtime = self._runtime
        failures = 0
        while not self._end.is_set():
            self._woken.clear()
            pause = 0.0
            try:
                if not self._turn():
                    pause = runtime.settings.poll
                failures = 0
            except BaseException as error:
                failures += 1
                if not isClosed(runtime.db):
                    # `wake` does not end this pause: while the storage is
                    # away, it is called often.
                    self._end.wait(backOff(
                        failures, cap=troubles.FAILURE_PAUSE))
                # The database may have been closed during the pause.
                if isClosed(runtime.db):
                    return runtime.databaseClosed()
                _log_failure(error, failures)
            self._woken.wait(runtime.troubles.secondsToNext(pause))

    def _turn(self):
        return self._maintenance.turn()

    def leave(self, given_up=()):
        """Write that the process ends in good order.

        Another thread calls this, after the control thread.  *given_up* is a
        sequence of `LiveRun` that write nothing themselves any more.
        """
        for tries in range(1, LEAVE_TRIES + 1):
            try:
                return self._maintenance.leave(given_up)
            except Exception as error:
                if isClosed(self._runtime.db):
                    log.warning('Process %s: its database was closed before '
                                'its end was written; others take it for '
                                'dead after its lease', self._runtime.name)
                    return
                if tries < LEAVE_TRIES and isTransient(
                        error, self._runtime.db):
                    time.sleep(backOff(tries))
                    continue
                log.exception('Process %s: its end could not be written; '
                              'others take it for dead after its lease',
                              self._runtime.name)
                return


def _log_failure(error, failures):
    if isinstance(error, ConflictError):
        log.debug('Turn of the runtime: %s; trying again',
                  type(error).__name__)
    elif failures in (1, 10) or failures % 100 == 0:
        log.error('Turn of the runtime failed %d times in a row; it goes on',
                  failures, exc_info=error)
