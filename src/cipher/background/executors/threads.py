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

from transaction.interfaces import TransientError
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
from cipher.background.interfaces import IExecutor
from cipher.background.interfaces import RegistryNotFound
from cipher.background.interfaces import RunStartedEvent
from cipher.background.job import HandlerJob
from cipher.background.live import LiveRun
from cipher.background.pool import getPool
from cipher.background.recorders import JobRecorder
from cipher.background.recorders import LoopRecorder
from cipher.background.secrets import secretsOf
from cipher.background.slots import takeSlot
from cipher.background.workertype import queryWorkerType


log = logging.getLogger(__name__)

#: Seconds until a run is tried again that found no thread, no database, or
#: nobody here who knows its type.
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
        self._count = itertools.count()   # what came first goes first
        self._gate = Gate()
        self._threads = [
            threading.Thread(target=self._main, daemon=True,
                             name='background-%d' % number)
            for number in range(1, threads + 1)]
        self._is_stopping = False

    def start(self):
        """Begin to take runs."""
        for thread in self._threads:
            thread.start()

    def submit(self, ticket):
        """See `~cipher.background.interfaces.IExecutor`."""
        self._queue.put((-ticket.priority, next(self._count), ticket))

    def stop(self):
        """Take nothing any more, as soon as each thread is free."""
        self._is_stopping = True
        for _ in self._threads:
            self._queue.put((-math.inf, next(self._count), None))

    def join(self, timeout):
        """Wait up to *timeout* seconds (in all) for the threads."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _main(self):
        while True:
            ticket = self._queue.get()[2]
            if ticket is None or self._is_stopping:
                return
            self._runtime.begun()
            leave_gate = self._gate.enter()
            try:
                self.carryOut(ticket)
            except Exception as error:
                if isinstance(error, TransientError):
                    log.info('Run %s: %s before the work began; trying again',
                             ticket.run_id, type(error).__name__)
                else:
                    log.exception('Run %s: could not be begun; trying again',
                                  ticket.run_id)
                self._runtime.dispatcher.later(
                    ticket, CONFLICT_DELAY if isinstance(
                        error, ConflictError) else RETRY_DELAY)
            finally:
                leave_gate()

    def carryOut(self, ticket):
        """Carry out the run that *ticket* names, in the calling thread."""
        runtime = self._runtime
        with ZodbConnection(runtime.db) as connection:
            getPool(runtime.db, ticket.registry_oid).reserve()
            live = LiveRun(runtime, ticket)
            if not runtime.enter(live):
                return
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
        if run is None or run.state != PENDING:
            births = registry.lanes[ticket.lane].births
            if ticket.serial >= births.next_serial:
                self._runtime.backlog.unborn(ticket)
            return live.end
        worker_type = queryWorkerType(run.type)
        if worker_type is None:
            log.warning('Run %s: no ZCML declares the worker type %r here; '
                        'it waits', run.id, run.type)
            return partial(self._put_off, live)
        if run.due_at is not None and run.due_at > clock.now():
            live.due_at = run.due_at
            return live.end
        if not self._runtime.mayRun(worker_type, live):
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
        recorder = (
            LoopRecorder(live, epoch, is_claimed) if worker_type.is_loop
            else JobRecorder(live, epoch, is_claimed, connection))
        try:
            worker = _make_worker(
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
        with ZopeTransaction(note='run %s: claim' % live.run_id):
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
            with ZopeTransaction(note='run %s' % live.run_id):
                worker.observer.putBack(connection)
            self._put_off(live)

    def _park(self, live, worker_type):
        self._runtime.leave(live)
        self._runtime.dispatcher.park(live.ticket, worker_type.name)

    def _put_off(self, live):
        self._runtime.leave(live)
        self._runtime.dispatcher.later(live.ticket, RETRY_DELAY)


def _make_worker(worker_type, input, *place):
    if worker_type.handler is not None:
        return HandlerJob(
            worker_type.name, worker_type.handler, *place, input)
    worker = worker_type.factory(*place, **input)
    worker.input = input
    return worker
