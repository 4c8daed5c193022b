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

from cipher.background.runtime.maintenance import troubles
from cipher.background.store.lifecycle import backOff
from cipher.background.util.logs import getLogger
from cipher.background.util.transient import isClosed
from cipher.background.util.transient import isTransient


log = getLogger(__name__)

#: Tries to write the end of the process.  Their delays are below a second in
#: all, as the shutdown waits for them.
LEAVE_TRIES = 5


class ControlThread(threading.Thread):
    """Calls the turns of *maintenance*, those of the process *own*.

    It ends by `end`, or when it finds that the database was closed; then it
    calls *database_closed*.
    """

    def __init__(self, own, troubles, maintenance, database_closed):
        super().__init__(name='background-control', daemon=True)
        self._own = own
        self._troubles = troubles
        self._maintenance = maintenance
        self._database_closed = database_closed
        self._woken = threading.Event()   # to have a turn at once
        self._end = threading.Event()

    def wake(self):
        """Wake the control thread for a turn.  Thread-safe."""
        self._woken.set()

    def end(self):
        """Begin no further turn.  Thread-safe."""
        self._end.set()
        self._maintenance.steps.end()
        self._woken.set()

    def run(self):
        failures = 0
        while not self._end.is_set():
            self._woken.clear()
            pause = 0.0
            try:
                if not self._turn():
                    pause = self._own.settings.poll
                failures = 0
            except BaseException as error:
                failures += 1
                if not isClosed(self._own.db):
                    # `wake` does not end this pause: while the storage is
                    # away, it is called often.
                    self._end.wait(backOff(
                        failures, cap=troubles.FAILURE_PAUSE))
                # The database may have been closed during the pause.
                if isClosed(self._own.db):
                    return self._database_closed()
                _log_failure(error, failures)
            self._woken.wait(self._troubles.secondsToNext(pause))

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
                if isClosed(self._own.db):
                    log.warning('Process %s: its database was closed before '
                                'its end was written; others take it for '
                                'dead after its lease', self._own.name)
                    return
                if tries < LEAVE_TRIES and isTransient(
                        error, self._own.db):
                    time.sleep(backOff(tries))
                    continue
                log.exception('Process %s: its end could not be written; '
                              'others take it for dead after its lease',
                              self._own.name)
                return


def _log_failure(error, failures):
    if isinstance(error, ConflictError):
        log.debug('Turn of the runtime: %s; trying again',
                  type(error).__name__)
    elif failures in (1, 10) or failures % 100 == 0:
        log.error('Turn of the runtime failed %d times in a row; it goes on',
                  failures, exc_info=error)
