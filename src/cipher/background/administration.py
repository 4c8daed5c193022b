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
from BTrees.OOBTree import OOBTree

from cipher.background import actions
from cipher.background import journal
from cipher.background import retrying
from cipher.background import services
from cipher.background import sight
from cipher.background import thresholds
from cipher.background import timetable
from cipher.background.interfaces import ALREADY_DUE
from cipher.background.interfaces import LIMIT_REACHED
from cipher.background.interfaces import NOT_WAITING
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import PROCESS_GONE
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import TYPE_PAUSED
from cipher.background.interfaces import TYPE_UNDECLARED
from cipher.background.interfaces import ProcessNotFound
from cipher.background.interfaces import RunNotBeginnable
from cipher.background.interfaces import RunNotRemovable
from cipher.background.interfaces import RunNotRetryable
from cipher.background.interfaces import RunNotStoppable
from cipher.background.interfaces import RunStoppedEvent
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.journal import askedNow
from cipher.background.process import getDirectory
from cipher.background.switchboard import wakeAfterCommit
from cipher.background.text import safeRepr
from cipher.background.watch import Watch
from cipher.background.workertype import queryWorkerType


_BEGIN_OBSTACLES = {
    NOT_WAITING: 'that is %(state)r; only what waits can begin',
    PROCESS_GONE: 'whose process is gone; it begins as soon as another '
                  'process has looked after it',
    TYPE_UNDECLARED: 'of %(type)r; declare that with <background:worker … />',
    TYPE_PAUSED: 'of %(type)r, which is paused; resume that type',
    LIMIT_REACHED: 'that is due; it begins when a run of %(type)r has '
                   'finished, for no more may run at a time',
    ALREADY_DUE: 'that is due; it begins as soon as a thread is free',
}


class Administration:
    """Mix-in of `registry.WorkerRegistry`; never commits."""

    # Runs

    def requestStop(self, run_id, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        return self._stop(self._get(run_id), reason, self._record)

    def _stop(self, run, reason, record):
        if run.isFinished():
            raise RunNotStoppable(
                'run %r: expected a pending or running run to stop, got one '
                'that is %r; nothing is left to stop' % (run.id, run.state))
        asked = askedNow(reason, run)
        if run.state == PENDING == Watch(self).state(run):
            self.finish(run, STOPPED, RunStoppedEvent, stop_request=asked)
            record('stop', run, asked)
            return STOPPED
        if run.id not in self.stops:
            self.stops[run.id] = asked
            record('stop', run, asked)
            wakeAfterCommit(self._p_jar)
        return RUNNING

    def beginNow(self, run_id, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        self._begin_now(self._get(run_id), reason, self._record)

    def _begin_now(self, run, reason, record):
        obstacle = Watch(self).beginObstacle(run)
        if obstacle is not None:
            raise RunNotBeginnable(
                'run %r: expected a run that waits for its time, got one '
                '%s' % (run.id, _BEGIN_OBSTACLES[obstacle] % {
                    'state': run.state, 'type': run.type}), obstacle)
        asked = askedNow(reason, run)
        run.due_at = asked[1]
        if self.hastened is None:
            self.hastened = OOBTree()
        # Its home knows it by the old time, and looks here.
        self.hastened[run.id] = asked[1]
        record('begin', run, asked)
        if self._p_jar is not None:
            wakeAfterCommit(self._p_jar)

    def retry(self, run_id, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        return retrying.retry(
            self, self._get(run_id), reason, self._record)

    def retryByPrincipal(self, run_id, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        return self._retry_by_principal(
            self._get(run_id), reason, self._record)

    def _retry_by_principal(self, run, reason, record):
        permission = None
        if queryWorkerType(run.type) is not None:
            permission = self.permit(run.type, run.context)
        return retrying.retry(self, run, reason, record, permission)

    def remove(self, run_id, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        self._remove(self._get(run_id), reason, self._record)

    def _remove(self, run, reason, record):
        if not run.isFinished():
            raise RunNotRemovable(
                'run %r: expected a finished run to remove, got one that is '
                '%r; stop it first' % (run.id, Watch(self).state(run)))
        # Nobody else writes a finished run.  Its places among births and
        # finishes go when the pruner finds them.
        self.lanes[run.lane].births.dependOn(run.serial)
        self.removed.add(run)
        services.forget(self, run)
        record('remove', run, askedNow(reason, run))
        run.remove()

    def actOnRuns(self, verb, run_ids, reason=None, filter=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        act = {'begin': self._begin_now, 'stop': self._stop,
               'retry': self._retry_by_principal,
               'remove': self._remove}[verb]
        done, recorded, types = [], [], set()

        def record(verb, run, asked):
            nonlocal reason
            recorded.append(run.id)
            types.add(run.type)
            reason = asked[-1]   # the secrets of this run are masked

        for run_id in run_ids:
            run = self.get(run_id)
            if run is None or verb == 'retry' and not self.mayRetry(run_id):
                continue
            before = len(recorded)
            try:
                act(run, reason, record)
            except (RunNotBeginnable, RunNotStoppable, RunNotRetryable,
                    RunNotRemovable):
                continue
            if len(recorded) > before:   # else somebody did it before
                done.append(run_id)
        if len(recorded) == 1 and filter is None:
            journal.record(self, verb, *recorded, askedNow(reason), types)
        elif recorded:
            journal.recordMany(
                self, verb, recorded, askedNow(reason), types, filter)
        return done

    def mayRetry(self, run_id):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        run = self._get(run_id)
        return (queryWorkerType(run.type) is None
                or self.mayStart(run.type, run.context))

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
        self._tell(self, 'pause type' if is_paused else 'resume type', name,
                   asked, (name,))

    # Processes

    def quietProcess(self, process_id, is_quiet=True, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        directory = self._get_directory(process_id)
        wish = directory.processes[process_id].wish
        if bool(is_quiet) == wish.is_quiet:
            return
        asked = askedNow(reason)
        wish.is_quiet = bool(is_quiet)
        if is_quiet:
            wish.asked = asked
        elif not wish.is_draining:
            wish.asked = None
        self._tell(directory, 'quiet process' if is_quiet
                   else 'unquiet process', process_id, asked)

    def drainProcess(self, process_id, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        directory = self._get_directory(process_id)
        wish = directory.processes[process_id].wish
        if wish.is_draining:
            return
        wish.is_draining = True
        wish.asked = askedNow(reason)
        self._tell(directory, 'drain process', process_id, wish.asked)

    def _get_directory(self, process_id):
        """Return the `Directory`, which knows that process."""
        directory = self._p_jar and getDirectory(self._p_jar)
        if not (directory and isinstance(process_id, str)
                and process_id in directory.processes):
            raise ProcessNotFound(
                'process %s: expected the id of a process of this '
                'database; it may have ended' % safeRepr(process_id, 100))
        return directory

    # Schedules

    def pauseSchedule(self, name, is_paused=True, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        asked = askedNow(reason)
        if timetable.pause(self, name, asked if is_paused else None):
            self._tell(self, 'pause schedule' if is_paused
                       else 'resume schedule', name, asked,
                       (timetable.getWorker(self, name),))

    def runSchedule(self, name):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        return self._run_schedule(name, None)

    def mayRunSchedule(self, name):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        worker = timetable.getWorker(self, name)
        return queryWorkerType(worker) is None or self.mayStart(worker)

    def runScheduleByPrincipal(self, name):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        worker = timetable.getWorker(self, name)
        return self._run_schedule(
            name, None if queryWorkerType(worker) is None
            else self.permit(worker, None))

    def _run_schedule(self, name, permission):
        run = timetable.runNow(self, name)
        if run is not None and run.state == PENDING and permission:
            run.permission = permission   # asked again when it begins
        self._tell(self, 'run schedule', name, askedNow(None),
                   (timetable.getWorker(self, name),))
        return run

    # Problems

    def changeThresholds(self, values, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        stored, news = thresholds.change(self.thresholds, values)
        if not news:
            return
        self.thresholds = stored
        self._tell(self, 'change thresholds', ' '.join(
            '%s=%s' % item for item in sorted(news.items())),
            askedNow(reason))

    # The journal

    def listActions(self, limit=50, before=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        directory = self._p_jar and getDirectory(self._p_jar)
        owners = [self, directory] if directory else [self]
        return actions.listActions(owners, self, limit, before)

    def _record(self, verb, run, asked):
        journal.record(self, verb, run.id, asked, (run.type,))

    def _tell(self, owner, verb, subject, asked, types=()):
        journal.record(owner, verb, subject, asked, types)
        if self._p_jar is not None:
            wakeAfterCommit(self._p_jar)
