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

from cipher.background.lifecycle import backOff
from cipher.background.logs import getLogger
from cipher.background.transient import isTransient


log = getLogger(__name__)

#: Seconds between two looks at what is live, to tell other processes of it.
TELL_INTERVAL = 3.0

#: A process beats so many times during its lease.
BEATS_PER_LEASE = 4

#: Seconds.  After failures in a row the control thread pauses no longer.
FAILURE_PAUSE = 10.0

#: How often the end of the process is tried to be written.
LEAVE_TRIES = 5


class ControlThread(threading.Thread):
    """Gives *keeper* its turns; ends with `end`, or with the database."""

    def __init__(self, runtime, keeper):
        super().__init__(name='background-control', daemon=True)
        self._runtime = runtime
        self._keeper = keeper
        self._wish = threading.Event()   # to have a turn at once
        self._end = threading.Event()
        self._beat_at = self._tell_at = self._adopt_at = 0.0   # monotonic

    def wish(self):
        """Have a turn as soon as may be.  Any thread may call."""
        self._wish.set()

    def end(self):
        """Have no further turn.  Any thread may call."""
        self._end.set()
        self._wish.set()

    def run(self):
        """See ``threading.Thread``."""
        runtime = self._runtime
        failures = 0
        while not self._end.is_set():
            self._wish.clear()
            pause = 0.0
            try:
                if not self._turn():
                    pause = runtime.settings.poll
                failures = 0
            except Exception as error:
                failures += 1
                if not isClosed(runtime.db):
                    # No wish ends this: while the storage is away there are
                    # many.
                    self._end.wait(backOff(failures, cap=FAILURE_PAUSE))
                # Perhaps it was about to be closed.
                if isClosed(runtime.db):
                    return runtime.databaseClosed()
                _log_failure(error, failures)
            runtime.dispatcher.submitDue()
            # A long poll must not make the beat late.
            pause = min(pause, max(0.0, self._beat_at - time.monotonic()))
            self._wish.wait(runtime.dispatcher.secondsToNext(pause))

    def _turn(self):
        """Have one turn; return whether to have the next one at once."""
        keeper = self._keeper
        settings = self._runtime.settings
        interval = settings.lease / BEATS_PER_LEASE
        now = time.monotonic()
        with_adoption = now >= self._adopt_at
        try:
            is_more = keeper.turn(with_adoption)
        except Exception as error:
            if not isTransient(error, self._runtime.db):
                # Whatever is wrong, nobody is to take us for dead.
                self._beat(now + interval)
            raise
        if with_adoption:
            self._adopt_at = now + min(interval, settings.poll)
        self._beat(now + interval)
        if now >= self._tell_at:
            keeper.tellLive()
            self._tell_at = now + TELL_INTERVAL
        return is_more

    def _beat(self, next_at):
        if time.monotonic() >= self._beat_at:
            self._keeper.beat()
            self._beat_at = next_at

    def leave(self):
        """Write that the process ends in good order; not in this thread."""
        for tries in range(1, LEAVE_TRIES + 1):
            try:
                return self._keeper.leave()
            except Exception as error:
                if tries < LEAVE_TRIES and isTransient(
                        error, self._runtime.db):
                    time.sleep(backOff(tries))
                    continue
                log.exception('Process %s: its end could not be written; its '
                              'lease will tell', self._runtime.name)
                return


def isClosed(db):
    """Return whether *db*, a `ZODB.DB.DB`, was closed."""
    return 'storage' not in vars(db)   # its class has one for documentation


def _log_failure(error, failures):
    if isinstance(error, ConflictError):
        log.debug('Turn of the runtime: %s; again', type(error).__name__)
    elif failures in (1, 10) or failures % 100 == 0:
        log.exception('Turn of the runtime failed %d times in a row; it goes '
                      'on', failures)
