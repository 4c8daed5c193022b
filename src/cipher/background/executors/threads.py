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
import copy
import itertools
import logging
import math
import queue
import threading
import time
from functools import partial

from ZODB.POSException import ConflictError
from zope.event import notify
from zope.interface import implementer

from cipher.background import clock
from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeSite
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.executors.gate import Gate
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import IExecutor
from cipher.background.interfaces import RegistryNotFound
from cipher.background.interfaces import RunStartedEvent
from cipher.background.job import makeWorker
from cipher.background.lifecycle import backOff
from cipher.background.live import LiveRun
from cipher.background.pool import getPool
from cipher.background.recorders import JobRecorder
from cipher.background.recorders import LoopRecorder
from cipher.background.secrets import secretsOf
from cipher.background.slots import takeSlot
from cipher.background.transient import isTransient
from cipher.background.workertype import queryWorkerType


log = logging.getLogger(__name__)

#: Seconds until a run is tried again that found no thread or no database.
RETRY_DELAY = 5.0

#: Seconds until a run is tried again whose claim conflicted with another.
CONFLICT_DELAY = 0.02


@implementer(IExecutor)
class ThreadsExecutor:
    """See `~cipher.background.interfaces.IExecutor`.

    Jobs share a number of threads; a loop gets one of its own.
    """

    def __init__(self, runtime, threads):
        self._runtime = runtime
        self._queue = queue.PriorityQueue()
        self._gate = Gate()
        self._threads = [
            threading.Thread(target=self._main, daemon=True,
                             name='background-%d' % number)
            for number in range(1, threads + 1)]
        self._stopping = threading.Event()
        self._undeclared = set()   # names of types, to tell of each once

    def start(self):
        """Begin to take runs."""
        for thread in self._threads:
            thread.start()

    def submit(self, ticket):
        """See `~cipher.background.interfaces.IExecutor`."""
        # What came first goes first.
        self._queue.put((-ticket.priority, ticket.number, ticket))

    def stop(self):
        """Take nothing any more, as soon as each thread is free."""
        self._stopping.set()
        for number in range(len(self._threads)):
            self._queue.put((-math.inf, number, None))

    def join(self, timeout):
        """Wait up to *timeout* seconds (in all) for the threads."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            # A job may be who ends it all.
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _main(self):
        failures = 0   # in a row
        while True:
            ticket = self._queue.get()[2]
            if ticket is None or self._stopping.is_set():
                return
            if not self._runtime.begun(ticket):
                continue
            leave_gate = self._gate.enter()
            try:
                self.carryOut(ticket)
                failures = 0
            except ConflictError as error:
                self._try_again(ticket, error, CONFLICT_DELAY)
            except BaseException as error:
                # An exit as well: this thread is needed for other runs.
                failures += 1
                self._try_again(ticket, error, RETRY_DELAY)
            finally:
                leave_gate()
            if failures:
                # While the storage is away each of many tickets would fail.
                self._stopping.wait(backOff(failures, cap=RETRY_DELAY))

    def _try_again(self, ticket, error, delay):
        if isTransient(error, self._runtime.db):
            log.info('Run %s: %s before the work began; trying again',
                     ticket.run_id, type(error).__name__)
        else:
            log.error('Run %s: could not be begun; trying again',
                      ticket.run_id, exc_info=error)
        self._runtime.dispatcher.later(ticket, delay)

    def carryOut(self, ticket):
        """Carry out the run that *ticket* names, in the calling thread."""
        runtime = self._runtime
        with ZodbConnection(runtime.db) as connection:
            getPool(runtime.db, ticket.registry_oid).reserve()
            live = LiveRun(runtime, ticket)
            if not runtime.enter(live):
                return runtime.refused(ticket)
            try:
                begin = self._prepare(connection, live)
            except BaseException:
                runtime.leave(live)
                raise
            begin()

    def _prepare(self, connection, live):
        """Return a function that does what there is to do for *live*.

        Reads what the fresh connection sees; writes only to claim.
        """
        ticket = live.ticket
        try:
            registry = connection.get(ticket.registry_oid)
            site = registry.getSite()
            # A registry that was packed away may still stand in the cache.
            run = registry.getRun(ticket.lane, ticket.serial)
        except (KeyError, RegistryNotFound):
            log.warning('Run %s: its registry was removed', live.run_id)
            return live.end
        if run is None:
            births = registry.lanes[ticket.lane].births
            if ticket.serial >= births.next_serial:
                self._runtime.backlog.unborn(ticket)
            return live.end
        if run.state != PENDING or clock.isLater(run.due_at):
            return partial(self._skip, live, run)
        worker_type = queryWorkerType(run.type)
        if worker_type is None:
            self._tell_undeclared(run)
        if worker_type is None or run.type in registry.pauses:
            return partial(self._shelve, live, run.type)
        if not self._may_run(worker_type, live):
            return partial(self._park, live, worker_type)
        live.worker_type = worker_type
        live.depth = run.depth
        live.secrets = secretsOf(worker_type.schema, run.input or {})
        live.must_not_rerun = worker_type.on_interrupt == FAIL
        is_claimed = (ticket.is_inherited or worker_type.is_loop
                      or live.must_not_rerun
                      or worker_type.max_running is not None)
        epoch = run.epoch
        if is_claimed:
            epoch = self._claim(connection, live, registry, run)
            if epoch is None:
                return partial(self._park, live, worker_type)
            self._try_next(worker_type)
        recorder = (
            LoopRecorder(live, epoch, is_claimed) if worker_type.is_loop
            else JobRecorder(live, epoch, is_claimed, connection))
        try:
            worker = makeWorker(
                worker_type, copy.deepcopy(run.input) if run.input else {},
                self._runtime.db, site._p_oid, site.__name__,
                run.starter or '')
        except BaseException as error:
            # An exit as well: this thread is needed for other runs.
            log.exception('Run %s: no worker could be made', live.run_id)
            recorder.refused(connection, error)
            return live.end
        worker.name = '%s, run %s' % (worker.name, live.run_id)
        worker.observer = recorder
        if not worker_type.is_loop:
            return worker.run
        return partial(self._start_loop, worker, live, connection)

    def _claim(self, connection, live, registry, run):
        """Make the run ours by a commit; return its epoch as we claimed it.

        None where its type has no room.
        """
        epoch = run.epoch
        for failures in itertools.count(1):
            try:
                return self._claim_once(connection, live, registry, run, epoch)
            except Exception as error:
                if isinstance(error, ConflictError) or not isTransient(
                        error, self._runtime.db):
                    raise
                # The storage is away.  The claim may have got through all
                # the same, so nobody else would take the run now.
                if self._stopping.wait(backOff(failures)):
                    raise

    def _claim_once(self, connection, live, registry, run, before):
        with ZopeTransaction(note='run %s: claim' % live.run_id):
            if (run.owner == self._runtime.id and run.state == RUNNING
                    and run.epoch == before + 1):
                return run.epoch   # an earlier try got through
            if run.epoch != before:
                raise ConflictError('run %s: another was faster' % run.id)
            if live.worker_type.max_running is not None and not takeSlot(
                    connection, live.worker_type, live.ticket[:3]):
                return None
            # Not read again afterwards: by then it may be another's.
            epoch = run.claim(
                self._runtime.id, live.started_at, live.must_not_rerun)
            with ZopeSite(registry.getSite()):
                notify(RunStartedEvent(run, registry))
        return epoch

    def _start_loop(self, worker, live, connection):
        try:
            worker.start()
        except RuntimeError as error:
            # The machine has no thread left.
            log.error('Run %s: %s; it waits', live.run_id, error)
            worker.observer.putBack(connection)
            if live.is_unrecorded:
                live.end()
            else:
                self._put_off(live)

    # What cannot begin now

    def _skip(self, live, run):
        """There is nothing to do for now: it is not due, or others did it."""
        if run.state == PENDING:
            live.due_at = run.due_at
        elif run.state == RUNNING and run.owner == self._runtime.id:
            live.is_unrecorded = True   # claimed, but nobody told us so
        elif run.state == RUNNING:
            live.is_lost = True
        live.end()
        self._runtime.dispatcher.unpark(run.type)

    def _shelve(self, live, type_name):
        self._runtime.leave(live)
        self._runtime.dispatcher.shelve(live.ticket, type_name)
        self._runtime.dispatcher.unpark(type_name)

    def _tell_undeclared(self, run):
        if run.type not in self._undeclared:
            self._undeclared.add(run.type)
            log.warning('Run %s: no ZCML declares the worker type %r here; '
                        'it waits, and others like it', run.id, run.type)

    def _may_run(self, worker_type, live):
        # As far as this process knows.  Nobody jumps the queue.
        return worker_type.max_running is None or (
            self._runtime.mayRun(worker_type, live)
            and self._runtime.dispatcher.isNext(live.ticket, worker_type.name))

    def _park(self, live, worker_type):
        self._runtime.leave(live)
        self._runtime.dispatcher.park(live.ticket, worker_type.name)

    def _try_next(self, worker_type):
        # Another process may have made room for more than one.
        if worker_type.max_running is not None and self._runtime.mayRun(
                worker_type, None):
            self._runtime.dispatcher.unpark(worker_type.name)

    def _put_off(self, live):
        self._runtime.leave(live)
        self._runtime.dispatcher.later(live.ticket, RETRY_DELAY)
