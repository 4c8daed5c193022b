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
import logging
import queue
import threading
import time
from functools import partial

from transaction.interfaces import TransientError
from zope.interface import implementer

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.executors.gate import Gate
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import IExecutor
from cipher.background.live import LiveRun
from cipher.background.pool import getPool
from cipher.background.recorder import JobRecorder
from cipher.background.recorder import LoopRecorder
from cipher.background.thread import HandlerJob
from cipher.background.workertype import queryWorkerType


log = logging.getLogger(__name__)

#: Seconds until a run is tried again that found no thread, no database, or
#: nobody here who knows its type.
RETRY_DELAY = 5.0


@implementer(IExecutor)
class ThreadsExecutor:
    """See `~cipher.background.interfaces.IExecutor`.

    Jobs share a number of threads; a loop gets one of its own.
    """

    def __init__(self, runtime, threads):
        self._runtime = runtime
        self._queue = queue.SimpleQueue()
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

    def submit(self, item):
        """See `~cipher.background.interfaces.IExecutor`."""
        self._queue.put(item)

    def stop(self):
        """Take nothing any more, as soon as each thread is free."""
        self._is_stopping = True
        for _ in self._threads:
            self._queue.put(None)

    def join(self, timeout):
        """Wait up to *timeout* seconds (in all) for the threads."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _main(self):
        while True:
            ticket = self._queue.get()
            if ticket is None or self._is_stopping:
                return
            self._runtime.begun()
            leave_gate = self._gate.enter()
            try:
                self._carry_out(ticket)
            except Exception as error:
                if isinstance(error, TransientError):
                    log.info('Run %s: %s before the work began; trying again',
                             ticket.run_id, type(error).__name__)
                else:
                    log.exception('Run %s: could not be begun; trying again',
                                  ticket.run_id)
                self._runtime.later(ticket, RETRY_DELAY)
            finally:
                leave_gate()

    def _carry_out(self, ticket):
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
        registry = connection.get(ticket.registry_oid)
        run = registry.getRun(ticket.lane, ticket.serial)
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
        live.must_not_rerun = worker_type.on_interrupt == FAIL
        is_claimed = (ticket.is_inherited or worker_type.is_loop
                      or live.must_not_rerun)
        epoch = run.epoch
        if is_claimed:
            with ZopeTransaction(note='run %s: claim' % live.run_id):
                epoch = run.claim(self._runtime.id, live.started_at,
                                  live.must_not_rerun)
        recorder = (
            LoopRecorder(live, epoch, is_claimed) if worker_type.is_loop
            else JobRecorder(live, epoch, is_claimed, connection))
        site = registry.getSite()
        try:
            worker = _make_worker(
                worker_type, dict(run.input or {}), self._runtime.db,
                site._p_oid, site.__name__, run.starter or '')
        except Exception as error:
            log.exception('Run %s: no worker could be made', live.run_id)
            recorder.failed(None, connection, error)
            return live.end
        worker.name = '%s, run %s' % (worker.name, live.run_id)
        worker.observer = recorder
        if not worker_type.is_loop:
            return worker.run
        return partial(self._start_loop, worker, live, connection)

    def _start_loop(self, worker, live, connection):
        try:
            worker.start()
        except RuntimeError as error:
            # The machine has no thread left.
            log.error('Run %s: %s; it waits', live.run_id, error)
            with ZopeTransaction(note='run %s' % live.run_id):
                worker.observer.putBack(connection)
            self._put_off(live)

    def _put_off(self, live):
        self._runtime.leave(live)
        self._runtime.later(live.ticket, RETRY_DELAY)


def _make_worker(worker_type, input, *place):
    if worker_type.handler is not None:
        worker = HandlerJob(worker_type.handler, *place, input)
        worker.name = worker_type.name
        return worker
    return worker_type.factory(*place, **input)
