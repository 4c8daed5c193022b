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
"""Records threads that an application made and started by hand."""
import logging

from zope.component import adapter
from zope.component import queryUtility
from zope.event import notify
from zope.interface import implementer

from cipher.background import switchboard
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import IBackgroundWorkerThread
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkObserver
from cipher.background.interfaces import RunStartedEvent
from cipher.background.interfaces import RuntimeRefused
from cipher.background.live import LiveRun
from cipher.background.live import Ticket
from cipher.background.recorder import LoopRecorder
from cipher.background.runtime import RuntimeSettings
from cipher.background.runtime import startRuntime
from cipher.background.text import cleanLine
from cipher.background.thread import WorkObserver


log = logging.getLogger(__name__)


@implementer(IWorkObserver)
@adapter(IBackgroundWorkerThread)
class HandMadeRecorder(LoopRecorder):
    """Records a worker from its first iteration in a site with a registry.

    Without a registry it observes nothing.
    """

    live = None

    def __init__(self, worker):
        self._class_name = '%s.%s' % (type(worker).__module__,
                                      type(worker).__qualname__)

    def started(self, worker):
        """See `~cipher.background.interfaces.IWorkObserver`."""

    participations = WorkObserver.participations

    def opened(self, worker, connection):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        if self.live is None:
            registry = queryUtility(IWorkerRegistry)
            if registry is not None:
                self._enter(worker, connection, registry)

    def _enter(self, worker, connection, registry):
        runtime = _runtime_of(worker.site_db)
        if runtime is None:
            log.debug('%s: not recorded, its process shuts down', worker.name)
            return
        with ZopeTransaction(note=worker.name):
            run = registry.addRun(
                self._class_name, starter=worker.user_name or None,
                title=cleanLine(worker.name))
            ticket = Ticket(registry._p_oid, run.lane, run.serial)
            live = LiveRun(runtime, ticket, must_not_rerun=True)
            epoch = run.claim(runtime.id, live.started_at,
                              must_not_rerun=True)
            notify(RunStartedEvent(run, registry))
        if runtime.enter(live):
            super().__init__(live, epoch, is_claimed=True)
            super().started(worker)

    def began(self, worker, connection):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        return self.live is not None and super().began(worker, connection)

    def conflicted(self, worker, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        if self.live is not None:
            super().conflicted(worker, error)

    def done(self, worker, connection, result):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        if self.live is not None:
            super().done(worker, connection, result)

    def ended(self, worker, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        if self.live is not None:
            super().ended(worker, error)


def _runtime_of(db):
    """Return the runtime of *db*; one that takes no runs where there is none.

    A run that is recorded as running needs a process that beats.
    """
    runtime = switchboard.getRuntime(db)
    if runtime is None:
        try:
            runtime = startRuntime(db, RuntimeSettings(threads=0))
        except RuntimeRefused:
            runtime = switchboard.getRuntime(db)
    return runtime
