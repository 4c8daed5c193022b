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
"""What administrators do to a registry."""
from cipher.background import journal
from cipher.background import retrying
from cipher.background import services
from cipher.background import sight
from cipher.background import timetable
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import ProcessNotFound
from cipher.background.interfaces import RunNotRemovable
from cipher.background.interfaces import RunNotStoppable
from cipher.background.interfaces import RunStoppedEvent
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.journal import askedNow
from cipher.background.process import getDirectory
from cipher.background.text import safeRepr
from cipher.background.wakeup import wakeAfterCommit
from cipher.background.watch import Watch
from cipher.background.workertype import queryWorkerType


class Administration:
    """Mix-in of `registry.WorkerRegistry`; never commits."""

    # Runs

    def requestStop(self, run_id, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        run = self._get(run_id)
        if run.isFinished():
            raise RunNotStoppable(
                'run %r: expected a pending or running run to stop, got one '
                'that is %r; nothing is left to stop' % (run.id, run.state))
        asked = askedNow(reason)
        if run.state == PENDING == Watch(self).state(run):
            self.finish(run, STOPPED, RunStoppedEvent, stop_request=asked)
            journal.record(self, 'stop', run.id, asked)
            return STOPPED
        if run.id not in self.stops:
            self.stops[run.id] = asked
            journal.record(self, 'stop', run.id, asked)
            wakeAfterCommit(self._p_jar)
        return RUNNING

    def retry(self, run_id, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        return retrying.retry(self, self._get(run_id), reason)

    def remove(self, run_id, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        run = self._get(run_id)
        if not run.isFinished():
            raise RunNotRemovable(
                'run %r: expected a finished run to remove, got one that is '
                '%r; stop it first' % (run.id, Watch(self).state(run)))
        # Its entry among the finishes goes when the pruner finds it.
        self.lanes[run.lane].births.drop(run.serial, from_head=True)
        self.removed.add(run)
        services.forget(self, run)
        journal.record(self, 'remove', run.id, askedNow(reason))

    # Worker types

    def pauseType(self, name, is_paused=True, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        was_paused = isinstance(name, str) and name in self.pauses
        is_known = was_paused or isinstance(name, str) and (
            queryWorkerType(name) is not None or name in self.getCounts())
        if not is_known or not sight.maySee(self, name):
            raise UnknownWorkerType(
                'worker %s: expected a worker type that is declared or has '
                'runs, got neither; look at listTypes()' % safeRepr(name, 100))
        if bool(is_paused) == was_paused:
            return
        asked = askedNow(reason)
        if is_paused:
            self.pauses[name] = asked
        else:
            del self.pauses[name]
        self._tell('pause type' if is_paused else 'resume type', name, asked)

    # Processes

    def quietProcess(self, process_id, is_quiet=True, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        wish = self._get_process(process_id).wish
        if bool(is_quiet) == wish.is_quiet:
            return
        asked = askedNow(reason)
        wish.is_quiet = bool(is_quiet)
        if is_quiet:
            wish.asked = asked
        elif not wish.is_draining:
            wish.asked = None
        self._tell('quiet process' if is_quiet else 'unquiet process',
                   process_id, asked)

    def drainProcess(self, process_id, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        wish = self._get_process(process_id).wish
        if wish.is_draining:
            return
        wish.is_draining = True
        wish.asked = askedNow(reason)
        self._tell('drain process', process_id, wish.asked)

    def _get_process(self, process_id):
        directory = self._p_jar and getDirectory(self._p_jar)
        record = (directory.processes.get(process_id)
                  if directory and isinstance(process_id, str) else None)
        if record is None:
            raise ProcessNotFound(
                'process %s: expected the id of a process of this '
                'database; it may have ended' % safeRepr(process_id, 100))
        return record

    # Schedules

    def pauseSchedule(self, name, is_paused=True, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        asked = askedNow(reason)
        if timetable.pause(self, name, asked if is_paused else None):
            self._tell('pause schedule' if is_paused else 'resume schedule',
                       name, asked)

    def runSchedule(self, name):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        run = timetable.runNow(self, name)
        journal.record(self, 'run schedule', name, askedNow(None))
        return run

    # The journal

    def listActions(self, limit=50, before=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        return journal.listActions(self, limit, before)

    def _tell(self, verb, subject, asked):
        journal.record(self, verb, subject, asked)
        if self._p_jar is not None:
            wakeAfterCommit(self._p_jar)
