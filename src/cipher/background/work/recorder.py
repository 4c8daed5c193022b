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
"""The observers that record the work of a worker in its run."""
import time
from contextlib import nullcontext

from ZODB.POSException import ConflictError
from ZODB.POSException import POSKeyError
from zope.event import notify

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeSite
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.events import RunStartedEvent
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import ContextGone
from cipher.background.interfaces import NewerDatabase
from cipher.background.interfaces import RunLost
from cipher.background.interfaces import SiteGone
from cipher.background.interfaces import Snooze
from cipher.background.interfaces import StarterGone
from cipher.background.interfaces import StopRequested
from cipher.background.store import process
from cipher.background.store import structure
from cipher.background.store.lifecycle import backOff
from cipher.background.store.lifecycle import cleanDelay
from cipher.background.util.calling import callHook
from cipher.background.util.chain import setRun
from cipher.background.util.host import getHost
from cipher.background.util.logs import getLogger
from cipher.background.util.logs import labelRecords
from cipher.background.util.logs import logError
from cipher.background.util.plaindata import plainCopy
from cipher.background.util.plaindata import readProgress
from cipher.background.util.plaindata import shortResult
from cipher.background.util.spoiled import forgetCaches
from cipher.background.util.spoiled import spoils
from cipher.background.util.transient import isClosed
from cipher.background.util.transient import isTransient
from cipher.background.work import runlog
from cipher.background.work.announcing import siteOf
from cipher.background.work.observer import WorkObserver
from cipher.background.work.outcome import addCleanupTraceback
from cipher.background.work.outcome import beginAgain
from cipher.background.work.outcome import finish
from cipher.background.work.outcome import writeError
from cipher.background.work.outcome import writeInterruption
from cipher.background.work.outcome import writeStop
from cipher.background.work.passing import Passing
from cipher.background.work.worker import hookOf
from cipher.background.work.worker import stateOf


log = getLogger(__name__)

#: Seconds.  The delay between two attempts doubles up to this, so that a run
#: is retried at least once an hour.
RETRY_DELAY_CAP = 3600.0

#: Tries to write the end of a run.  With their delays they take about three
#: minutes.  A run that is still unrecorded then becomes interrupted.
RECORDING_TRIES = 20


class RunRecorder(WorkObserver):
    """Records one run; an `IWorkObserver`.

    *live* is its `LiveRun`, *epoch* the number that the run has if it still
    belongs to this worker.  *is_claimed*: a commit made it running before the
    work.
    """

    def __init__(self, live, epoch, is_claimed):
        self.live = live
        self._epoch = live.epoch = epoch
        self._is_claimed = is_claimed
        self._is_done = False   # done() was called; it may be committed
        # Merged starts when the work began; None before.
        self._merged_before = None
        self._found = (None, None, None)   # connection, registry, run
        self._passing = live.passing = Passing(live)

    # The worker's calls

    def started(self, worker):
        setRun(self.live.depth, lambda: self._found[1:])
        state = stateOf(worker)
        state.run_id = self.live.run_id
        state.masker = self.live.masker
        state.progress = state.progress   # masked, if set before the begin
        worker.log = runlog.RunLogger(
            worker.log, self.live.log, self.live.getLabels)
        runlog.capture(self.live.log)
        labelRecords(self.live.getLabels)
        self.live.begin(worker)

    def participations(self, worker, connection):
        host = getHost()
        return callHook(
            'participations of %s' % type(host).__name__,
            host.participations, worker.user_name,
            self._find(connection)[1])

    def began(self, worker, connection):
        registry, run = self._find(connection)
        if self._is_committed(run):
            return True
        self._check_fence(run)
        self._passing.takeBack()
        state = stateOf(worker)
        state.checkStop()
        state.origin_id = (self.live.run_id if run.origin is None
                           else run.origin_id)
        state.cursor = None
        self._merged_before = run.countMergedStarts()
        if run.cursor is not None:
            state.cursor = plainCopy(run.cursor, 'cursor')
            state.progress = readProgress(run.progress)
        self._give_context(state, registry, run)
        self._began(worker, connection, registry, run)
        return False

    def _give_context(self, state, registry, run):
        """Give the worker its context.

        Raise `SiteGone` or `ContextGone` if it was deleted.
        """
        if not getHost().isInPlace(registry):
            raise SiteGone('run %r: the site is gone; it was deleted after '
                           'the start' % run.id)
        state.context = run.context
        if state.context is None and run.reference is not None:
            raise ContextGone(
                'run %r: the context is gone; it was deleted after the start'
                % run.id)

    def _began(self, worker, connection, registry, run):
        if not self.live.is_announced:
            notify(RunStartedEvent(run, registry))

    def checkpoint(self, worker, cursor):
        connection, registry, run = self._found
        if run is None or self._merged_before is None or run.isFinished():
            return super().checkpoint(worker, cursor)
        self._check_fence(run)
        run.cursor = cursor
        run.progress = self.live.progress
        # The run made progress, so it does not kill its process each time.
        run.interruptions = 0
        state = stateOf(worker)
        state.commitAndGoOn()
        state.cursor = plainCopy(cursor, 'cursor')
        self._check_fence(run)
        if run.countMergedStarts() != self._merged_before:
            raise ConflictError('run %r: started again meanwhile' % run.id)
        self._give_context(state, registry, run)
        connection.cacheGC()

    def conflicted(self, worker, error):
        self.live.conflicts += 1
        if spoils(error):
            self._found = (None, None, None)
        log.debug('Run %s: %s; trying again', self.live.run_id,
                  type(error).__name__)

    def done(self, worker, connection, result):
        registry, run = self._find(connection)
        self._check_fence(run)
        self._is_done = True
        finish(self.live, run, registry, SUCCEEDED, RunSucceededEvent,
               result=shortResult(result, self.live.masker))
        self._passing.passOn(connection)

    def failed(self, worker, connection, error):
        self._record(connection, lambda registry, run:
                     self._write_error(registry, run, error, worker))

    def cleaned(self, worker, connection):
        if self.live.is_lost or self.live.is_abandoned:
            raise RunLost('run %r: lost; its cleanup is not committed'
                          % self.live.run_id)

    def cleanupFailed(self, worker, connection, error):
        self._record(connection, lambda registry, run:
                     addCleanupTraceback(self.live, run, error), fenced=False)

    def ended(self, worker, error):
        self.leaveThread()
        self.live.end()

    def leaveThread(self):
        """Undo what `started` did to the calling thread."""
        setRun(None)
        runlog.capture(None)
        labelRecords(None)

    def refused(self, connection, error):
        """Write that no worker could be made because of *error*."""
        self._record(connection, lambda registry, run:
                     self._write_error(registry, run, error))

    def putBack(self, connection):
        """Let the run wait again; its work has not begun."""
        self._record(connection, lambda registry, run: writeInterruption(
            registry, run, must_not_rerun=False))

    # Finding and writing the run

    def noteFound(self, connection, registry, run):
        """Note that *registry* and *run* are those that *connection* has."""
        self.live.run_oid = run._p_oid
        self._found = connection, registry, run

    def _find(self, connection):
        found_in, registry, run = self._found
        try:
            if found_in is connection:
                structure.checkVersion(registry)
                return registry, run
            registry = process.findRegistry(connection, self.live.registry_oid)
        except NewerDatabase as error:
            self.live.is_lost = True
            raise RunLost('run %r: it is left to newer code; %s'
                          % (self.live.run_id, error)) from None
        if registry is None:
            self.live.is_lost = True
            raise RunLost('run %r: the registry was removed'
                          % self.live.run_id)
        run = registry.getRun(self.live.lane, self.live.serial)
        if run is None:
            self.live.is_lost = True
            raise RunLost('run %r was removed' % self.live.run_id)
        self.noteFound(connection, registry, run)
        return registry, run

    def _is_mine(self, run):
        return run.epoch == self._epoch and run.owner == self.live.owner

    def _is_committed(self, run):
        """Return whether the work was committed but the reply was lost."""
        return self._is_done and run.isFinished() and self._is_mine(run)

    def _check_fence(self, run):
        """Raise `RunLost` unless the run still belongs to this worker.

        This read alone would not make a later commit fail.  A job writes the
        run as well; other transactions call ``readCurrent`` for it.
        """
        if self.live.is_abandoned:
            raise RunLost('run %r was given up: its process shuts down'
                          % run.id)
        if isClosed(self.live.runtime.db):
            self.live.is_lost = True
            raise RunLost('run %r: its database was closed' % run.id)
        if self._is_claimed:
            held = run.state == RUNNING and self._is_mine(run)
        else:
            held = run.state == PENDING and run.epoch == self._epoch
        if not held:
            self.live.is_lost = True
            raise RunLost('run %r: expected to hold it, got one that is %r '
                          'by now' % (run.id, run.state))

    def _write_error(self, registry, run, error, worker=None):
        self.live.error = error

        def retry_delay(attempts):
            return self._retry_delay(worker, attempts, error)

        if (self._merged_before not in (
                None, run.countMergedStarts()) and not isinstance(
                error, (StopRequested, Snooze)) and self.live.stop is None):
            # Another start was merged into this run after it began, so its
            # data was stale.
            beginAgain(self.live, run, registry, error)
        else:
            writeError(self.live, run, registry, error, retry_delay)

    def _retry_delay(self, worker, attempts, error):
        """Return the seconds to the next attempt; None if there is none."""
        worker_type = self.live.worker_type
        if worker_type is None or attempts >= worker_type.max_attempts:
            return None
        try:
            delay = None if worker is None else callHook(
                '%s.retryDelay' % type(worker).__name__,
                hookOf(worker, 'retryDelay'), attempts, error)
            if delay is not None:
                return cleanDelay(delay)
        except Exception as failure:
            logError(log, failure, self.live.masker,
                     'Run %s: its retryDelay failed; the retry delay of its '
                     'type is used', self.live.run_id)
        return backOff(attempts, worker_type.retry_delay, RETRY_DELAY_CAP)

    def _record(self, connection, write, fenced=True):
        """Call *write* with registry and run in a transaction of its own.

        Retry for minutes, as a run without a recorded end looks alive.
        *fenced*: check before that the run still belongs to this worker.
        """
        is_cached = True   # objects may be in the cache that are packed away
        for tries in range(1, RECORDING_TRIES + 1):
            if self.live.is_abandoned or isClosed(self.live.runtime.db):
                return
            try:
                with ZopeTransaction(note='run %s' % self.live.run_id):
                    registry, run = self._find(connection)
                    if fenced and self._is_committed(run):
                        return
                    if fenced:
                        self._check_fence(run)
                        self._passing.takeBack()
                    # The thread may have left the site, or not entered it.
                    with ZopeSite(siteOf(registry)):
                        write(registry, run)
                    if fenced:
                        self._passing.passOn(connection)
                return
            except RunLost as lost:
                log.info('%s', lost)
                return
            except Exception as error:
                if isClosed(self.live.runtime.db):
                    return   # the error comes from the closed database
                if spoils(error):
                    self._found = (None, None, None)
                    forgetCaches(self.live.runtime.db)
                    with ZodbConnection(self.live.runtime.db) as another:
                        return self._record(another, write, fenced)
                if isinstance(error, POSKeyError) and is_cached:
                    self._found = (None, None, None)
                    connection.cacheMinimize()
                    is_cached = False
                    continue
                if isTransient(error, self.live.runtime.db):
                    log.debug('Run %s: %s; trying again', self.live.run_id,
                              type(error).__name__)
                else:
                    logError(log, error, self.live.masker,
                             'Run %s: its end could not be written',
                             self.live.run_id)
            time.sleep(backOff(tries, cap=20.0))
        self.live.is_unrecorded = True
        log.critical('Run %s: its end could not be written after %d tries; '
                     'it will become interrupted', self.live.run_id,
                     RECORDING_TRIES)


class JobRecorder(RunRecorder):
    """Records a job, through the *connection* that the executor opened."""

    _has_failed = False

    def __init__(self, live, epoch, is_claimed, connection):
        super().__init__(live, epoch, is_claimed)
        self._connection = connection
        self._is_spoiled = False   # the connection has to be renewed

    def connect(self, worker):
        if self._is_spoiled:
            self._connection = self.live.door.renew()
            self._is_spoiled = False
        return nullcontext(self._connection)

    def conflicted(self, worker, error):
        super().conflicted(worker, error)
        self._is_spoiled |= spoils(error)

    def failed(self, worker, connection, error):
        self._has_failed = True
        super().failed(worker, connection, error)

    def ended(self, worker, error):
        try:
            if not (self._is_done or self._has_failed
                    or isinstance(error, RunLost)):
                # The worker ended before its work began.
                self._record(self._connection, lambda registry, run:
                             self._write_unbegun(worker, registry, run,
                                                 error))
        finally:
            super().ended(worker, error)
            self.release()

    def release(self):
        """Let the run, which is committed, leave the cache.

        Finished runs would displace the objects of the application from it.
        """
        _, _, run = self._found
        if run is not None:
            run._p_deactivate()

    def _write_unbegun(self, worker, registry, run, error):
        if error is not None:
            self._write_error(registry, run, error)
        elif self.live.is_shutdown:
            writeInterruption(registry, run, must_not_rerun=False)
        elif stateOf(worker).stop_requested:
            writeStop(self.live, run, registry)
        else:
            finish(self.live, run, registry, SUCCEEDED,
                   RunSucceededEvent)


class LoopRecorder(RunRecorder):
    """Records a loop: iterations, then one end in its own transaction.

    The run is claimed by a commit before the first iteration.
    """

    _error = None   # the error of the last iteration

    # The framework keeps no cursor for a loop, so it cannot checkpoint.
    checkpoint = WorkObserver.checkpoint

    def connect(self, worker):
        self._found = (None, None, None)
        return super().connect(worker)

    def _began(self, worker, connection, registry, run):
        # This costs nothing if the iteration changes nothing.
        connection.readCurrent(run)

    def done(self, worker, connection, result):
        self._check_fence(self._find(connection)[1])
        _fence_all(connection)
        self._error = None

    def failed(self, worker, connection, error):
        self._error = error
        if isinstance(error, (ContextGone, SiteGone, StarterGone)):
            raise error   # the next iteration would fail in the same way

    def cleaned(self, worker, connection):
        super().cleaned(worker, connection)
        run = self._find(connection)[1]
        self._check_fence(run)
        connection.readCurrent(run)
        _fence_all(connection)

    def cleanupFailed(self, worker, connection, error):
        # An error of the work is kept rather than that of the cleanup.
        self._error = self._error or error

    def ended(self, worker, error):
        try:
            with ZodbConnection(worker.site_db) as connection:
                self._record(connection, lambda registry, run:
                             self._write_loop_end(worker, registry, run,
                                                  error))
        except Exception as failure:
            self.live.is_unrecorded = True
            if not isClosed(self.live.runtime.db):
                logError(log, failure, self.live.masker,
                         'Run %s: its end could not be written',
                         self.live.run_id)
        finally:
            super().ended(worker, error)

    def _write_loop_end(self, worker, registry, run, error):
        if stateOf(worker).stop_requested and isinstance(
                error, (StopRequested, type(None))):
            # This holds even if the last iteration failed, as the loop would
            # have gone on after it.
            writeStop(self.live, run, registry)
            return
        error = error or self._error
        if error is None:
            finish(self.live, run, registry, SUCCEEDED,
                   RunSucceededEvent)
        else:
            self._write_error(registry, run, error)


def _fence_all(connection):
    """Make the commit of the open transaction depend on the run.

    The commit checks ``readCurrent`` only if *connection* takes part in it.
    The work may have changed only another database, so let it take part.
    """
    if connection.transaction_manager.get()._resources:
        connection._register()
