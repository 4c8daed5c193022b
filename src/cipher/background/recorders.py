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
"""The two recorders: of jobs, and of loops."""
from contextlib import nullcontext

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import ContextGone
from cipher.background.interfaces import RunLost
from cipher.background.interfaces import RunSucceededEvent
from cipher.background.interfaces import SiteGone
from cipher.background.interfaces import StarterGone
from cipher.background.interfaces import StopRequested
from cipher.background.logs import getLogger
from cipher.background.logs import logError
from cipher.background.observer import WorkObserver
from cipher.background.recorder import RunRecorder
from cipher.background.recording import finish
from cipher.background.recording import writeInterruption
from cipher.background.recording import writeStop
from cipher.background.spoiled import spoils
from cipher.background.transient import isClosed
from cipher.background.worker import stateOf


log = getLogger(__name__)


class JobRecorder(RunRecorder):
    """For jobs: the executor has opened the connection already."""

    _has_failed = False

    def __init__(self, live, epoch, is_claimed, connection):
        super().__init__(live, epoch, is_claimed)
        self._connection = connection
        self._is_spoiled = False   # the connection

    def connect(self, worker):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        if self._is_spoiled:
            self._connection = self.live.door.renew()
            self._is_spoiled = False
        return nullcontext(self._connection)

    def conflicted(self, worker, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        super().conflicted(worker, error)
        self._is_spoiled |= spoils(error)

    def failed(self, worker, connection, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        self._has_failed = True
        super().failed(worker, connection, error)

    def ended(self, worker, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        try:
            if not (self._is_done or self._has_failed
                    or isinstance(error, RunLost)):
                # It ended before its work began.
                self._record(self._connection, lambda registry, run:
                             self._write_unbegun(worker, registry, run,
                                                 error))
        finally:
            super().ended(worker, error)

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
    """For loops: many iterations, then one end, written apart.

    The run is claimed by a commit before the first iteration.
    """

    _error = None   # of the last iteration

    # A loop keeps its place itself.
    checkpoint = WorkObserver.checkpoint

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
        _fence_all(connection)
        self._error = None

    def failed(self, worker, connection, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        self._error = error
        if isinstance(error, (ContextGone, SiteGone, StarterGone)):
            raise error   # the next iteration would not find it either

    def cleaned(self, worker, connection):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        super().cleaned(worker, connection)
        run = self._find(connection)[1]
        self._check_fence(run)
        connection.readCurrent(run)
        _fence_all(connection)

    def cleanupFailed(self, worker, connection, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        # Not instead of an error of the work.
        self._error = self._error or error

    def ended(self, worker, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""
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
            # Even if the last iteration failed: the loop would have gone on.
            writeStop(self.live, run, registry)
            return
        error = error or self._error
        if error is None:
            finish(self.live, run, registry, SUCCEEDED,
                   RunSucceededEvent)
        else:
            self._write_error(registry, run, error)


def _fence_all(connection):
    """Let whatever the open transaction commits depend on the run.

    What *connection* depends on by ``readCurrent`` is looked at only if it
    takes part itself: the work may have changed another database alone.
    """
    if connection.transaction_manager.get()._resources:
        connection._register()
