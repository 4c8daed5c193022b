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
"""Record threads that an application makes and starts by hand."""
import time

from ZODB.POSException import ConflictError
from zope.component import adapter
from zope.event import notify
from zope.interface import implementer

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.events import RunStartedEvent
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import IBackgroundWorkerThread
from cipher.background.interfaces import IWorkObserver
from cipher.background.interfaces import RuntimeRefused
from cipher.background.runtime.runtime import startRuntime
from cipher.background.store import process
from cipher.background.store.lifecycle import backOff
from cipher.background.util import switchboard
from cipher.background.util.host import getHost
from cipher.background.util.logs import getLogger
from cipher.background.util.text import NOTE_LIMIT
from cipher.background.util.text import cleanLine
from cipher.background.util.transient import isTransient
from cipher.background.work.liverun import LiveRun
from cipher.background.work.liverun import Ticket
from cipher.background.work.observer import WorkObserver
from cipher.background.work.recorder import LoopRecorder


log = getLogger(__name__)

#: Tries to record the begin of a worker.  With their delays they take about
#: ten seconds; then the work begins without a record.
ENTRY_TRIES = 20


@implementer(IWorkObserver)
@adapter(IBackgroundWorkerThread)
class StandaloneRecorder(LoopRecorder):
    """Records a worker from its first iteration in a site with a registry.

    Without a registry it records nothing.
    """

    live = None
    _entering = None   # (LiveRun, epoch) of a try that may be committed

    def __init__(self, worker):
        self._class_name = '%s.%s' % (type(worker).__module__,
                                      type(worker).__qualname__)

    def started(self, worker):
        pass

    participations = WorkObserver.participations

    def opened(self, worker, connection):
        if self.live is None:
            host = getHost()
            registry = host.nearestRegistry(host.getSite())
            if registry is not None:
                self._try_to_enter(worker, registry)

    def _try_to_enter(self, worker, registry):
        # After an error the work goes on without a record.
        for tries in range(1, ENTRY_TRIES + 1):
            try:
                return self._enter(worker, registry)
            except Exception as error:
                if not isTransient(error, worker.site_db):
                    log.exception('%s: could not be recorded', worker.name)
                    return
                log.debug('%s: %s; trying again', worker.name,
                          type(error).__name__)
            time.sleep(backOff(tries, cap=1.0))

    def _enter(self, worker, registry):
        try:
            runtime = _runtime_of(worker.site_db)
            with ZopeTransaction(note=cleanLine(worker.name, NOTE_LIMIT)):
                if not self._is_recorded(registry):
                    self._write(worker, registry, runtime)
        except RuntimeRefused as error:
            self._forget()
            log.debug('%s: not recorded, %s', worker.name, error)
            return
        except BaseException as error:
            if isinstance(error, ConflictError) or not isTransient(
                    error, worker.site_db):
                self._forget()
            # Otherwise the commit may have succeeded.  The run stays live, so
            # no process takes it for lost.
            raise
        live, epoch = self._entering
        self._entering = None
        super().__init__(live, epoch, is_claimed=True)
        super().started(worker)

    def _is_recorded(self, registry):
        """Return whether an earlier try was committed without a reply."""
        if self._entering is None:
            return False
        live, epoch = self._entering
        run = registry.getRun(live.lane, live.serial)
        if run is not None and (
                run.owner, run.epoch, run.started_at, run.state) == (
                live.owner, epoch, live.started_at, RUNNING):
            return True
        self._forget()
        return False

    def _write(self, worker, registry, runtime):
        run = registry.addRun(
            self._class_name, starter=worker.user_name or None,
            title=cleanLine(worker.name))
        ticket = Ticket(registry._p_oid, run.lane, run.serial,
                        type=self._class_name)
        live = LiveRun(runtime, ticket, must_not_rerun=True)
        epoch = run.claim(live.owner, live.started_at, must_not_rerun=True)
        notify(RunStartedEvent(run, registry))
        # This comes before the commit: after it an executor may see the run.
        if not runtime.enter(live):
            if runtime.is_draining:
                raise RuntimeRefused('its process shuts down')
            raise ConflictError('another run got this id')
        self._entering = live, epoch

    def _forget(self):
        if self._entering is not None:
            live, _ = self._entering
            self._entering = None
            live.runtime.leave(live)

    def began(self, worker, connection):
        return self.live is not None and super().began(worker, connection)

    def conflicted(self, worker, error):
        if self.live is not None:
            super().conflicted(worker, error)

    def done(self, worker, connection, result):
        if self.live is not None:
            super().done(worker, connection, result)

    def cleaned(self, worker, connection):
        if self.live is not None:
            super().cleaned(worker, connection)

    def ended(self, worker, error):
        if self.live is None and self._entering is not None:
            self._find_entry(worker)
        if self.live is not None:
            super().ended(worker, error)

    def _find_entry(self, worker):
        """Find out whether the begin was recorded, so the end can be, too."""
        live, _ = self._entering
        with ZodbConnection(worker.site_db) as connection:
            for tries in range(1, ENTRY_TRIES + 1):
                try:
                    with ZopeTransaction():
                        registry = process.findRegistry(
                            connection, live.registry_oid)
                        if registry is None or not self._is_recorded(registry):
                            return self._forget()
                    break
                except Exception as error:
                    log.debug('%s: %s; trying again', worker.name,
                              type(error).__name__)
                time.sleep(backOff(tries, cap=1.0))
            else:
                log.error('%s: its begin may have been recorded; its end '
                          'could not be', worker.name)
                return self._forget()
        live, epoch = self._entering
        super().__init__(live, epoch, is_claimed=True)


def _runtime_of(db):
    """Return the runtime of *db*; start one without threads if there is none.

    A run that is recorded as running needs a process with a heartbeat.  Raise
    `RuntimeRefused` if no runtime can be started.
    """
    runtime = switchboard.queryRuntime(db)
    if runtime is None:
        try:
            runtime = startRuntime(
                db, RuntimeSettings(threads=0), is_implicit=True)
        except RuntimeRefused:
            runtime = switchboard.queryRuntime(db)
            if runtime is None:
                raise
    return runtime
