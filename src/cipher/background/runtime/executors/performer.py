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
"""Carry out one run, from its ticket to its end, in the calling thread."""
import itertools
import threading
from functools import partial
from types import SimpleNamespace
from typing import Any

from ZODB.POSException import ConflictError
from zope.event import notify

from cipher.background.contextmanagers import Door
from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeInteraction
from cipher.background.contextmanagers import ZopeSite
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.declarations.workertype import nameOf
from cipher.background.declarations.workertype import nameToday
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.events import RunStartedEvent
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import InputOutdated
from cipher.background.interfaces import RegistryNotFound
from cipher.background.job import makeWorker
from cipher.background.store.bookmark import LIMIT
from cipher.background.store.bookmark import TYPE
from cipher.background.store.conditions import limitOf
from cipher.background.store.conditions import waitsFor
from cipher.background.store.lanepool import getPool
from cipher.background.store.lifecycle import backOff
from cipher.background.store.process import findRegistry
from cipher.background.store.slots import takeSlot
from cipher.background.util.host import getHost
from cipher.background.util.logs import ErrorsMasked
from cipher.background.util.logs import getLogger
from cipher.background.util.logs import labelRecords
from cipher.background.util.logs import logError
from cipher.background.util.masking import makeMasker
from cipher.background.util.plaindata import readNumber
from cipher.background.util.spoiled import spoils
from cipher.background.util.transient import isTransient
from cipher.background.work.liverun import LiveRun
from cipher.background.work.recorder import JobRecorder
from cipher.background.work.recorder import LoopRecorder
from cipher.background.work.shared import SharedPiece
from cipher.background.work.shared import SharedRecorder
from cipher.background.work.worker import stateOf


log = getLogger(__name__)


class Performer:
    """Carries out runs in the thread that calls it.  Thread-safe."""

    def __init__(self, runtime):
        self._runtime = runtime
        self._stopping = threading.Event()

    def carryOut(self, ticket: Any, door: Any = None,
                 live: Any = None) -> None:
        """Carry out the run of *ticket*, in the calling thread.

        *door* is a `contextmanagers.Door` to work with; it is closed
        afterwards.  None: open one.  *live* is its `LiveRun` if it is among
        the live runs already.

        Raise an error only if the work did not begin, so the caller may try
        again: a ConflictError if another process was faster.
        """
        runtime = self._runtime
        door = door or Door(runtime.db)
        with door as connection:
            getPool(runtime.db, ticket.registry_oid).reserve()
            live = live or self.enter(ticket)
            if live is None:
                return
            live.door = door
            labelRecords(live.getLabels)
            try:
                try:
                    with ErrorsMasked(runtime.db, lambda: live.masker):
                        if door.found is None:
                            begin = self._prepare(connection, live)
                        else:
                            begin = self._prepare_found(
                                connection, live, *door.found)
                    begin()
                except BaseException:
                    self._leave_unbegun(live)
                    raise
            finally:
                labelRecords(None)

    def _leave_unbegun(self, live):
        """Leave *live* if its work did not begin and it is still live."""
        runtime = self._runtime
        if runtime.findLive(*live.key) is live and live.worker is None:
            runtime.leave(live)

    def enter(self, ticket: Any) -> Any:
        """Return a new `LiveRun` of *ticket*, which is among the live runs.

        Return None if its run is live already, or if the runtime drains.
        """
        live = LiveRun(self._runtime, ticket)
        if self._runtime.enter(live):
            return live
        self._runtime.refused(ticket)
        return None

    def prepareShared(self, connection: Any, live: Any, guard: Any,
                      found: Any = None) -> Any:
        """Return the `SharedPiece` of *live*; None if it must be done alone.

        The transaction of *guard* is open; nothing is written.  *found* is
        as `Door.found`.
        """
        ticket, runtime = live.ticket, self._runtime
        if found is None:
            registry = findRegistry(connection, ticket.registry_oid)
            run = registry and registry.getRun(ticket.lane, ticket.serial)
        else:
            registry, run = found
        site = registry and _find_site(registry)
        # A run that began after the transaction is not there, either.
        if site is None or run is None or run.state != PENDING or (
                run.owner not in (None, live.owner)) or waitsFor(
                    registry, run, runtime.begins) is not None:
            return None
        worker_type = queryWorkerType(run.type)
        if worker_type is None or run.type != ticket.type:
            return None
        self._note_type(live, worker_type, run)
        recorder = SharedRecorder(live, run.epoch, connection, guard)
        recorder.noteFound(connection, registry, run)
        worker = self._make_worker(
            connection, live, site, run, worker_type, recorder)
        stateOf(worker).observer = recorder
        return SharedPiece(worker)

    def _prepare_found(self, connection, live, registry, run):
        """Do as `_prepare`, for a *run* that a look has just found ready.

        The look saw the same snapshot.
        """
        site = _find_site(registry)
        worker_type = queryWorkerType(run.type)
        if site is None or worker_type is None:
            return self._prepare(connection, live)
        live.noteRun(run)
        return self._prepare_work(
            connection, live, registry, site, run, worker_type)

    def _prepare(self, connection, live):
        """Return a function that does what is to do for *live*.

        Read the state that the fresh *connection* sees; write only to claim.
        """
        ticket = live.ticket
        registry = findRegistry(connection, ticket.registry_oid)
        site = registry and _find_site(registry)
        if site is None:
            log.warning('Run %s: its registry was removed', live.run_id)
            return live.end
        run = registry.getRun(ticket.lane, ticket.serial)
        if run is None:
            return live.end
        live.noteRun(run)
        if run.isFinished():
            return partial(self._pass_by, live, run)
        if not self._is_ours(live, run):
            return partial(self._leave, live, run)
        what = waitsFor(registry, run, self._runtime.begins)
        if run.state == RUNNING:
            what = None   # the claim found that it may begin
        if what is not None and not isinstance(what, tuple):
            live.due_at = what
            return live.end
        if what is not None:
            if what[0] == TYPE:
                self._runtime.noteUndeclared(run)
            return partial(self._park, live, what)
        worker_type = queryWorkerType(run.type)
        if worker_type is None:
            # Its type was removed after the claim.
            self._runtime.noteUndeclared(run)
            return partial(self._undo_claim, live, (TYPE, run.type))
        return self._prepare_work(
            connection, live, registry, site, run, worker_type)

    def _is_ours(self, live, run):
        """Return whether this process may begin *run*, which is unfinished."""
        if run.state == RUNNING:
            return (run.owner == live.owner
                    and self._runtime.hasClaimed(live.registry_oid, run))
        return run.owner in (None, live.owner) or live.ticket.must_claim

    def _prepare_work(self, connection, live, registry, site, run,
                      worker_type):
        """Do as `_prepare`, for a *run* that may begin now."""
        is_claimed = run.state == RUNNING   # by an earlier commit
        if not is_claimed and not self._may_run(worker_type, live):
            return partial(self._park_in_turn, live, worker_type, run)
        self._note_type(live, worker_type, run)
        epoch = run.epoch
        if not is_claimed and (
                live.ticket.must_claim or worker_type.is_loop
                or live.must_not_rerun or worker_type.max_running is not None):
            is_claimed = True
            epoch = self._claim(connection, live, registry, run)
            if epoch is None:
                return partial(self._park, live, limitOf(run))
            live.is_announced = True
        if is_claimed:
            self._try_next(worker_type)
        recorder = (
            LoopRecorder(live, epoch, is_claimed) if worker_type.is_loop
            else JobRecorder(live, epoch, is_claimed, connection))
        recorder.noteFound(connection, registry, run)
        try:
            worker = self._make_worker(
                connection, live, site, run, worker_type, recorder)
        except BaseException as error:
            # This catches a SystemExit, too: other runs need the thread.
            logError(log, error, live.masker,
                     'Run %s: no worker could be made', live.run_id)
            recorder.refused(connection, error)
            return live.end
        stateOf(worker).observer = recorder
        if not worker_type.is_loop:
            return worker.run
        return partial(self._start_loop, worker, live, connection)

    def _note_type(self, live, worker_type, run):
        live.worker_type = worker_type
        live.depth = run.depth
        live.type = run.type
        live.attempt = readNumber(run.attempts, 0) + 1
        live.hideSecrets(makeMasker(worker_type.schema, run.input))
        live.must_not_rerun = worker_type.on_interrupt == FAIL

    def _make_worker(self, connection, live, site, run, worker_type,
                     recorder):
        stored = getHost().unwrap(site)
        worker = makeWorker(
            worker_type,
            self._fit_input(worker_type, live, site, run, recorder,
                            connection),
            self._runtime.db, stored._p_oid,
            getattr(stored, '__name__', None), run.starter or '')
        worker.name = '%s, run %s' % (
            live.masker.text(worker.name), live.run_id)
        return worker

    def _fit_input(self, worker_type, live, site, run, recorder, connection):
        """Return the input of *run*, adapted to the schema of its type now."""
        if worker_type.schema is None and run.input is None:
            return {}
        with ZopeSite(site):
            try:
                input, left_out = worker_type.fitInput(run.input, site)
            except InputOutdated:
                # A vocabulary may depend on the permissions of the starter.
                starter = SimpleNamespace(user_name=run.starter or '')
                with ZopeInteraction(*recorder.participations(
                        starter, connection)):
                    input, left_out = worker_type.fitInput(run.input, site)
        if live.masker.names:
            # A default may have added another secret.
            live.hideSecrets(makeMasker(worker_type.schema, input))
        if left_out:
            live.log.add(
                'Left out of the input, as the schema of %r does not have '
                'them any more: %s' % (worker_type.name,
                                       ', '.join(map(repr, left_out))))
        return input

    def _claim(self, connection, live, registry, run):
        """Claim the run by a commit; return its new epoch.

        Return None if the limit of its type leaves no room.  Raise
        ConflictError if another process was faster.
        """
        epoch = run.epoch
        for failures in itertools.count(1):
            try:
                return self._claim_once(connection, live, registry, run, epoch)
            except Exception as error:
                if (isinstance(error, ConflictError) or spoils(error)
                        or not isTransient(error, self._runtime.db)):
                    raise
                # The storage is away.  The claim may have been committed, and
                # then no other process would take the run.
                self._runtime.noteClaim(live.ticket, epoch + 1)
                if self._stopping.wait(backOff(failures)):
                    raise

    def _claim_once(self, connection, live, registry, run, before):
        with ZopeTransaction(note='run %s: claim' % live.run_id):
            if (run.owner == live.owner and run.state == RUNNING
                    and run.epoch == before + 1):
                return run.epoch   # an earlier try was committed
            if run.epoch != before:
                raise ConflictError('run %s: another process was faster'
                                    % run.id)
            if live.worker_type.max_running is not None and not takeSlot(
                    connection, live.worker_type, live.ticket[:3]):
                return None
            # The epoch is not read again after the commit: by then the run
            # may belong to another process.
            epoch = run.claim(
                live.owner, live.started_at, live.must_not_rerun)
            with ZopeSite(registry.getSite()):
                notify(RunStartedEvent(run, registry))
        return epoch

    def _start_loop(self, worker, live, connection):
        """Start *worker*, a loop, in a thread of its own."""
        raise NotImplementedError

    # Runs that cannot begin now

    def _pass_by(self, live, run):
        """Forget *run*, which is finished; another of its type may begin."""
        live.end()
        self._runtime.backlog.unpark(nameToday(run.type))

    def _leave(self, live, run):
        """Leave *run* to the process that works on it or rescues it."""
        live.is_lost = True
        live.end()
        self._runtime.backlog.unpark(nameToday(run.type))

    def _park(self, live, key):
        """Let the run wait for the condition *key*."""
        runtime, ticket = self._runtime, live.ticket
        if live.is_taken:
            self._give_back(live)
        runtime.forgetClaim(live, live.epoch)
        runtime.leave(live)
        runtime.backlog.park(ticket, key)
        if key[0] != LIMIT:
            runtime.backlog.unpark(nameToday(key[1]))

    def _undo_claim(self, live, key):
        """Let a claimed run, whose work has not begun, wait for *key*."""
        try:
            self._park(live, key)
        except Exception as error:
            log.info('Run %s: %s before the work began; it is put back later',
                     live.run_id, type(error).__name__)
            live.is_unrecorded = True
            live.end()

    def _park_in_turn(self, live, worker_type, run):
        """Let the run wait for room, or for the runs that go before it."""
        self._park(live, limitOf(run))
        if not self._runtime.backlog.isNext(live.ticket, run.type):
            self._try_next(worker_type)   # the first run may have room

    def _give_back(self, live):
        """Let others begin a run that was taken or claimed here."""
        with ZodbConnection(self._runtime.db) as connection:
            with ZopeTransaction(note='run %s: given back' % live.run_id):
                run = connection.get(live.registry_oid).getRun(
                    live.lane, live.serial)
                if run is not None and run.owner == live.owner and (
                        not run.isFinished()):
                    run.giveBack()

    def _may_run(self, worker_type, live):
        # Only this process is considered, and no run overtakes an earlier one.
        return worker_type.max_running is None or (
            self._runtime.mayRun(worker_type, live)
            and self._runtime.backlog.isNext(live.ticket, nameOf(worker_type)))

    def _try_next(self, worker_type):
        # Another process may have made room for more than one run.
        if worker_type.max_running is not None and self._runtime.mayRun(
                worker_type, None):
            self._runtime.backlog.unpark(nameOf(worker_type))


def _find_site(registry):
    """Return the site of *registry*; None if the registry was removed.

    Raise any other error.
    """
    try:
        return registry.getSite()
    except RegistryNotFound:
        return None
