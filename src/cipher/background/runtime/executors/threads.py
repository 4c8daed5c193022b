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
"""The default executor: carry out runs in threads of this process."""
import threading
import time
from typing import Any

from ZODB.POSException import ConflictError
from zope.interface import implementer

from cipher.background.contextmanagers import Door
from cipher.background.interfaces import IExecutor
from cipher.background.interfaces import IRuntime
from cipher.background.interfaces import IWorkerRun
from cipher.background.runtime.executors.gate import Gate
from cipher.background.runtime.executors.performer import Performer
from cipher.background.store.lifecycle import backOff
from cipher.background.util.logs import getLogger
from cipher.background.util.transient import isClosed
from cipher.background.util.transient import isTransient
from cipher.background.work.worker import stateOf


log = getLogger(__name__)

#: Seconds before another try to begin a run for which the machine had no
#: thread or no database.  Both last for seconds, so a quicker try is in vain.
RETRY_DELAY = 5.0

#: Seconds before another try to begin a run after a conflict.  By then the
#: other commit is over.
CONFLICT_DELAY = 0.02


@implementer(IExecutor)
class ThreadsExecutor(Performer):
    """Carries out jobs in a fixed number of threads.

    Each loop gets a thread of its own.
    """

    takes = True

    def __init__(self, runtime: IRuntime, threads: int) -> None:
        super().__init__(runtime)
        self._gate = Gate()
        self._threads = [
            threading.Thread(target=self._main, daemon=True,
                             name='background-%d' % number)
            for number in range(1, threads + 1)]

    def start(self) -> None:
        """Start the threads, which begin to take runs."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take no more runs; each thread ends after its current one."""
        self._stopping.set()
        self._runtime.backlog.wakeAll()

    def join(self, timeout: float) -> None:
        """Wait up to *timeout* seconds (in all) for the threads."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            # A job may shut down the runtime: then its thread calls this.
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _main(self):
        failures = 0   # in a row
        door = Door(self._runtime.db)
        while True:
            ticket = self._take(door)
            if ticket is None or self._stopping.is_set():
                return door.close()
            turn = self._gate.enter()
            try:
                while ticket is not None:
                    self.carryOut(ticket, door)
                    failures = 0
                    ticket = self._take_ready(turn)
            except ConflictError as error:
                self._try_again(ticket, error, CONFLICT_DELAY)
            except BaseException as error:
                if isClosed(self._runtime.db):
                    self._runtime.wake()   # so it notices the closed database
                    return
                # This catches a SystemExit, too: other runs need the thread.
                failures += 1
                self._try_again(ticket, error, RETRY_DELAY)
            finally:
                turn.end()
            if failures:
                # While the storage is away, each ticket would fail.
                self._stopping.wait(backOff(failures, cap=RETRY_DELAY))

    def _take(self, door):
        """Wait for a ticket and return it; None at the end."""
        return self._runtime.next(self._stopping.is_set, door)

    def _take_ready(self, turn):
        """Return a ticket that is ready for this *turn*; None ends it."""
        if self._stopping.is_set() or not self._gate.goOn(turn):
            return None
        return self._runtime.backlog.nextReady()

    def _try_again(self, ticket, error, delay):
        if isTransient(error, self._runtime.db):
            log.info('Run %s: %s before the work began; trying again',
                     ticket.run_id, type(error).__name__)
        else:
            log.error('Run %s: it could not begin; trying again',
                      ticket.run_id, exc_info=error)
        self._runtime.backlog.later(ticket, delay)

    def isUnderway(self, ticket: Any, run: IWorkerRun) -> bool:
        return False   # a thread of this process carries it out, or none does

    def returned(self, ticket: Any, run: 'IWorkerRun | None') -> None:
        pass

    # Loops

    def _start_loop(self, worker, live, connection):
        try:
            worker.start()
        except RuntimeError as error:
            # The machine has no thread left.
            log.error('Run %s: no thread for its loop (%s); it waits',
                      live.run_id, error)
            stateOf(worker).observer.putBack(connection)
            if live.is_unrecorded:
                live.end()
            else:
                self._put_off(live)

    def _put_off(self, live):
        self._runtime.leave(live)
        self._runtime.backlog.later(live.ticket, RETRY_DELAY)
