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
"""Runs in threads of this process: the default executor."""
import threading
import time

from ZODB.POSException import ConflictError
from zope.interface import implementer

from cipher.background.contextmanagers import Door
from cipher.background.interfaces import IExecutor
from cipher.background.runtime.executors.gate import Gate
from cipher.background.runtime.executors.performer import Performer
from cipher.background.store.lifecycle import backOff
from cipher.background.util.logs import getLogger
from cipher.background.util.transient import isClosed
from cipher.background.util.transient import isTransient
from cipher.background.work.worker import stateOf


log = getLogger(__name__)

#: Seconds until a run is tried again that found no thread or no database.
RETRY_DELAY = 5.0

#: Seconds until a run is tried again whose claim conflicted with another.
CONFLICT_DELAY = 0.02


@implementer(IExecutor)
class ThreadsExecutor(Performer):
    """See `~cipher.background.interfaces.IExecutor`.

    Jobs share a number of threads; a loop gets one of its own.
    """

    takes = True

    def __init__(self, runtime, threads):
        super().__init__(runtime)
        self._gate = Gate()
        self._threads = [
            threading.Thread(target=self._main, daemon=True,
                             name='background-%d' % number)
            for number in range(1, threads + 1)]

    def start(self):
        """Begin to take runs."""
        for thread in self._threads:
            thread.start()

    def stop(self):
        """Take nothing any more, as soon as each thread is free."""
        self._stopping.set()
        self._runtime.backlog.wakeAll()

    def join(self, timeout):
        """Wait up to *timeout* seconds (in all) for the threads."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            # A job may be who ends it all.
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _main(self):
        failures = 0   # in a row
        door = Door(self._runtime.db)
        while True:
            ticket = self._take(door)
            if ticket is None or self._stopping.is_set():
                return door.close()
            leave_gate = self._gate.enter()
            try:
                self.carryOut(ticket, door)
                failures = 0
            except ConflictError as error:
                self._try_again(ticket, error, CONFLICT_DELAY)
            except BaseException as error:
                if isClosed(self._runtime.db):
                    self._runtime.wake()   # it finds that out
                    return
                # An exit as well: this thread is needed for other runs.
                failures += 1
                self._try_again(ticket, error, RETRY_DELAY)
            finally:
                leave_gate()
            if failures:
                # While the storage is away each of many tickets would fail.
                self._stopping.wait(backOff(failures, cap=RETRY_DELAY))

    def _take(self, door):
        """Wait for a ticket; None at the end."""
        return self._runtime.next(self._stopping.is_set, door)

    def _try_again(self, ticket, error, delay):
        if isTransient(error, self._runtime.db):
            log.info('Run %s: %s before the work began; trying again',
                     ticket.run_id, type(error).__name__)
        else:
            log.error('Run %s: could not be begun; trying again',
                      ticket.run_id, exc_info=error)
        self._runtime.backlog.later(ticket, delay)

    def isUnderway(self, ticket, run):
        return False   # what is carried out here is never elsewhere

    def returned(self, ticket, run):
        pass

    # Loops

    def _start_loop(self, worker, live, connection):
        try:
            worker.start()
        except RuntimeError as error:
            # The machine has no thread left.
            log.error('Run %s: %s; it waits', live.run_id, error)
            stateOf(worker).observer.putBack(connection)
            if live.is_unrecorded:
                live.end()
            else:
                self._put_off(live)

    def _put_off(self, live):
        self._runtime.leave(live)
        self._runtime.backlog.later(live.ticket, RETRY_DELAY)
