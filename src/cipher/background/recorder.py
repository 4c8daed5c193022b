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
"""The observer that writes what a worker does into its run."""
import logging
import time
from contextlib import nullcontext

from transaction.interfaces import TransientError
from zope.component import queryUtility
from zope.event import notify

from cipher.background import runlog
from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.environment import WorkerEnvironment
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import ContextGone
from cipher.background.interfaces import IWorkerEnvironment
from cipher.background.interfaces import RunFailedEvent
from cipher.background.interfaces import RunInterruptedEvent
from cipher.background.interfaces import RunLost
from cipher.background.interfaces import RunRequeuedEvent
from cipher.background.interfaces import RunStartedEvent
from cipher.background.interfaces import RunStoppedEvent
from cipher.background.interfaces import RunSucceededEvent
from cipher.background.interfaces import SiteGone
from cipher.background.interfaces import StopRequested
from cipher.background.lifecycle import backOff
from cipher.background.plaindata import shortResult
from cipher.background.reference import isInPlace
from cipher.background.run import RunDetails
from cipher.background.text import describeError
from cipher.background.text import formatTraceback
from cipher.background.thread import WorkObserver


log = logging.getLogger(__name__)

#: How often the end of a run is tried to be written.  Back-off included that
#: is about three minutes; then the lease makes the run interrupted.
RECORDING_TRIES = 20


class RunRecorder(WorkObserver):
    """Records one run; see `~cipher.background.interfaces.IWorkObserver`.

    *live* is the `live.LiveRun` of the run, which tells the outside world
    what only memory knows.
    """

    def __init__(self, live, epoch, is_claimed):
        self.live = live
        self._epoch = epoch
        self._is_claimed = is_claimed
        self._is_done = False   # done() was called: perhaps committed
        self._found = (None, None, None)   # connection, registry, run

    # The worker's calls

    def started(self, worker):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        worker.run_id = self.live.run_id
        worker.log = runlog.RunLogger(worker.log, self.live.log)
        runlog.capture(self.live.log)
        self.live.begin(worker)

    def participations(self, worker, connection):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        environment = queryUtility(
            IWorkerEnvironment, default=_default_environment)
        return environment.participations(
            worker.user_name, self._find(connection)[1])

    def began(self, worker, connection):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        registry, run = self._find(connection)
        if self._is_done and run.isFinished() and self._is_mine(run):
            return True
        self._check_fence(run)
        worker.checkStop()
        if not isInPlace(registry):
            raise SiteGone('run %r: the site is gone; it was deleted after '
                           'the start' % run.id)
        worker.context = run.context
        if worker.context is None and run.reference is not None:
            raise ContextGone(
                'run %r: the context is gone; it was deleted after the start'
                % run.id)
        self._began(worker, connection, registry, run)
        return False

    def _began(self, worker, connection, registry, run):
        notify(RunStartedEvent(run, registry))

    def conflicted(self, worker, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        self.live.conflicts += 1
        log.debug('Run %s: %s; trying again', self.live.run_id,
                  type(error).__name__)

    def done(self, worker, connection, result):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        registry, run = self._find(connection)
        self._check_fence(run)
        self._is_done = True
        self._finish(registry, run, SUCCEEDED, RunSucceededEvent,
                     result=shortResult(result))

    def failed(self, worker, connection, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        self._record(connection, lambda registry, run:
                     self._write_end(registry, run, error))

    def cleanupFailed(self, worker, connection, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        self._record(connection, lambda registry, run:
                     self._add_traceback(run, error), fenced=False)

    def ended(self, worker, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        runlog.capture(None)
        self.live.end()

    def putBack(self, connection):
        """Let the run wait again, in the open transaction: nothing began."""
        registry, run = self._find(connection)
        writeInterruption(registry, run, must_not_rerun=False)

    # The run

    def _find(self, connection):
        found_in, registry, run = self._found
        if found_in is connection:
            return registry, run
        try:
            registry = connection.get(self.live.registry_oid)
            run = registry.getRun(self.live.lane, self.live.serial)
        except KeyError:
            raise RunLost('run %r: the registry was removed'
                          % self.live.run_id) from None
        if run is None:
            raise RunLost('run %r was removed' % self.live.run_id)
        self._found = connection, registry, run
        return registry, run

    def _is_mine(self, run):
        return run.epoch == self._epoch and run.owner == self.live.runtime.id

    def _check_fence(self, run):
        """Raise `RunLost` unless the run still is this worker's.

        Reading alone would not make a commit fail that comes later; a job
        writes the run, and whoever does not depends on it by readCurrent.
        """
        if self.live.is_abandoned:
            raise RunLost('run %r was given up: its process shuts down'
                          % run.id)
        if self._is_claimed:
            held = run.state == RUNNING and self._is_mine(run)
        else:
            held = run.state == PENDING and run.epoch == self._epoch
        if not held:
            raise RunLost('run %r: expected to hold it, got one that is %r '
                          'by now' % (run.id, run.state))

    def _finish(self, registry, run, state, event, **values):
        live = self.live
        if not self._is_claimed:
            values.update(owner=live.runtime.id, started_at=live.started_at,
                          attempts=run.attempts + 1)
        text = live.log.getText()
        if text or 'traceback' in values:
            values['details'] = RunDetails(values.pop('traceback', ''), text)
        registry.finish(
            run, state, event, progress=live.progress,
            stop_request=live.stop and tuple(live.stop), **values)

    def _write_end(self, registry, run, error):
        if not isinstance(error, StopRequested):
            self._finish(registry, run, FAILED, RunFailedEvent,
                         error=describeError(error),
                         traceback=formatTraceback(error))
        elif self.live.is_shutdown:
            writeInterruption(registry, run, self.live.must_not_rerun)
        else:
            self._finish(registry, run, STOPPED, RunStoppedEvent)

    def _add_traceback(self, run, error):
        details = run.details
        if details is None:
            details = run.details = RunDetails()
        details.traceback += 'In the cleanup:\n' + formatTraceback(error)

    def _record(self, connection, write, fenced=True):
        """Call *write* with registry and run in a transaction of its own.

        Tries for long: a run that does not tell its end looks alive.
        """
        for tries in range(1, RECORDING_TRIES + 1):
            try:
                with ZopeTransaction(note='run %s' % self.live.run_id):
                    registry, run = self._find(connection)
                    if fenced:
                        self._check_fence(run)
                    write(registry, run)
                return
            except RunLost as lost:
                log.info('%s', lost)
                return
            except TransientError as error:
                log.debug('Run %s: %s; writing again', self.live.run_id,
                          type(error).__name__)
            except Exception:
                log.exception('Run %s: its end could not be written',
                              self.live.run_id)
            time.sleep(backOff(tries, cap=20.0))
        log.critical('Run %s: its end could not be written after %d tries; '
                     'it will count as interrupted', self.live.run_id,
                     RECORDING_TRIES)


class JobRecorder(RunRecorder):
    """For jobs: the executor has opened the connection already."""

    def __init__(self, live, epoch, is_claimed, connection):
        super().__init__(live, epoch, is_claimed)
        self._connection = connection

    def connect(self, worker):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        return nullcontext(self._connection)


class LoopRecorder(RunRecorder):
    """For loops: many iterations, then one end, written apart.

    The run is claimed by a commit before the first iteration.
    """

    _error = None   # of the last iteration

    def connect(self, worker):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        self._found = (None, None, None)
        return super().connect(worker)

    def _began(self, worker, connection, registry, run):
        # Costs nothing where the iteration changes nothing.
        connection.readCurrent(run)

    def done(self, worker, connection, result):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        self._check_fence(self._find(connection)[1])
        self._error = None

    def failed(self, worker, connection, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        self._error = error

    cleanupFailed = failed

    def ended(self, worker, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        try:
            with ZodbConnection(worker.site_db) as connection:
                self._record(connection, lambda registry, run:
                             self._write_loop_end(worker, registry, run,
                                                  error or self._error))
        except Exception:
            log.exception('Run %s: its end could not be written',
                          self.live.run_id)
        finally:
            super().ended(worker, error)

    def _write_loop_end(self, worker, registry, run, error):
        if worker.stop_requested and isinstance(
                error, (StopRequested, type(None))):
            self._write_end(registry, run, StopRequested())
        elif error is None:
            self._finish(registry, run, SUCCEEDED, RunSucceededEvent)
        else:
            self._write_end(registry, run, error)


def writeInterruption(registry, run, must_not_rerun):
    """Write that the process of *run* ended in good order while it ran.

    It waits again, or is interrupted where it *must_not_rerun*; neither the
    attempt nor an interruption is counted.
    """
    if must_not_rerun:
        registry.finish(run, INTERRUPTED, RunInterruptedEvent)
    else:
        run.putBack(attempts=run.attempts - (run.state == RUNNING))
        notify(RunRequeuedEvent(run, registry))


_default_environment = WorkerEnvironment()
