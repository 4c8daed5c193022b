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
from cipher.background.runtime.executors.gate import Visit
from cipher.background.runtime.executors.performer import Performer
from cipher.background.runtime.executors.sharing import SECONDS
from cipher.background.runtime.executors.sharing import Sharing
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

    Each loop gets a thread of its own.  A spare thread, begun with the first
    shared commit, does again what a slow run holds back.
    """

    takes = True

    def __init__(self, runtime: IRuntime, threads: int) -> None:
        super().__init__(runtime)
        self._gate = Gate()
        self._sharing = Sharing(
            self._runtime.backlog, lambda: self._runtime.settings.share)
        self._threads = [
            threading.Thread(target=self._main, daemon=True,
                             name='background-%d' % number)
            for number in range(1, threads + 1)]
        self._spare = None   # a thread
        self._spare_lock = threading.Lock()

    def start(self) -> None:
        """Start the threads, which begin to take runs."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take no more runs; each thread ends after its current one."""
        self._stopping.set()
        self._runtime.backlog.wakeAll()
        self._sharing.wake()

    def join(self, timeout: float) -> None:
        """Wait up to *timeout* seconds (in all) for the threads."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            _join(thread, deadline)
        if self._spare is not None:   # one of the others may have begun it
            _join(self._spare, deadline)

    def _main(self):
        failures = 0   # in a row
        door = Door(self._runtime.db)
        while True:
            ticket = self._take(door)
            if ticket is None or self._stopping.is_set():
                return door.close()
            try:
                is_begun = self._work(ticket, door)
            except BaseException:
                if not isClosed(self._runtime.db):
                    raise
                self._runtime.wake()   # so it notices the closed database
                return
            failures = 0 if is_begun else failures + 1
            if failures:
                # While the storage is away, each ticket would fail.
                self._stopping.wait(backOff(failures, cap=RETRY_DELAY))

    def _work(self, ticket, door):
        """Carry out *ticket*, and others that are ready, in one turn.

        Return False if one did not begin, except by a conflict.
        """
        with Visit(self._gate) as visit:
            while ticket is not None:
                if self._sharing.isHolding(ticket):
                    # A slow one of these must not hold back this ticket.
                    self._runtime.backlog.later(ticket, 0.0)
                    door.close()
                    self._settle(door, visit)
                elif not (self._share(ticket, door, visit)
                          or self._begin(ticket, door)):
                    return False
                ticket = self._take_ready(visit)
            return True

    # Runs that are to be done again

    def _watch(self):
        """Do, as the spare thread, what a slow run holds back."""
        door = Door(self._runtime.db)
        while self._sharing.waitHolding() and not self._stopping.is_set():
            try:
                with Visit(self._gate) as visit:
                    if self._sharing.isHolding():
                        self._settle(door, visit)
            except BaseException:
                if not isClosed(self._runtime.db):
                    raise
                return

    def _has_spare(self):
        """Return whether the spare thread is there, or could be started."""
        with self._spare_lock:   # a thread that is passed here is not alone
            if self._spare is None:
                spare = threading.Thread(
                    target=self._watch, daemon=True, name='background-spare')
                try:
                    spare.start()
                except RuntimeError as error:
                    log.info('No thread for shared commits: %s', error)
                    return False
                self._spare = spare
        return True

    def _settle(self, door, visit):
        """Do again what was given up, and what a slow run holds back.

        While the threads stop, leave it for another process: nothing of it is
        committed.  A run that spoiled its group is done all the same.
        """
        while True:
            visit.renew()
            is_stopping = self._stopping.is_set()
            group = None if is_stopping else self._sharing.takeOver(self)
            if group is not None:
                self._carry_out(group, None, door, visit)
                continue
            live, is_culprit = self._sharing.nextLeft()
            if live is None:
                return
            live.beginAnew()
            if is_stopping and not is_culprit:
                self._runtime.leave(live)
                continue
            try:
                self._begin_live(live, door)
            except BaseException:   # the database is closed
                self._sharing.abandonLeft()
                raise

    def _begin(self, ticket, door, live=None):
        """Carry out *ticket*; return whether it began, or conflicted.

        If it did not begin, it is tried again later.  *live* is as for
        `carryOut`.  Raise an error only if the database is closed.
        """
        try:
            if live is None:
                self.carryOut(ticket, door)
            else:
                self.carryOut(ticket, door, live)
            return True
        except BaseException as error:
            if isClosed(self._runtime.db):
                raise
            # This catches a SystemExit, too: other runs need the thread.
            is_conflict = isinstance(error, ConflictError)
            self._try_again(ticket, error, CONFLICT_DELAY if is_conflict
                            else RETRY_DELAY)
            return is_conflict

    def _share(self, ticket, door, visit):
        """Carry out *ticket* and others that are ready in one commit.

        Return False if *ticket* does not share; then nothing was done.
        """
        group = self._sharing.begin(self, ticket)
        if group is None:
            return False
        if not self._has_spare():
            self._sharing.end(group)
            return False
        return self._carry_out(group, ticket, door, visit)

    def _carry_out(self, group, ticket, door, visit):
        """Carry out *group*; return False if nothing of *ticket* was done."""
        try:
            group.carryOut(ticket, door, lambda: not self._stopping.is_set()
                           and visit.goOn(SECONDS))
        except BaseException:
            if isClosed(self._runtime.db):
                raise
            return False   # as if it did not share; the error comes again
        if self._sharing.isHolding():
            self._settle(door, visit)
        return True

    def _begin_live(self, live, door):
        try:
            self._begin(live.ticket, door, live)
        finally:
            self._leave_unbegun(live)

    def _take(self, door):
        """Wait for a ticket and return it; None at the end."""
        return self._runtime.next(self._stopping.is_set, door)

    def _take_ready(self, visit):
        """Return a ticket that is ready for this *visit*; None ends it."""
        if self._stopping.is_set() or not visit.goOn():
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


def _join(thread, deadline):
    # A job may shut down the runtime: then its thread calls this.
    if thread.is_alive() and thread is not threading.current_thread():
        thread.join(max(0.0, deadline - time.monotonic()))
