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
from itertools import islice

from zope.event import notify

from cipher.background import journal
from cipher.background import kept
from cipher.background import retrying
from cipher.background import services
from cipher.background import sight
from cipher.background import timetable
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import ProcessNotFound
from cipher.background.interfaces import RunInterruptedEvent
from cipher.background.interfaces import RunNotRemovable
from cipher.background.interfaces import RunNotRetryable
from cipher.background.interfaces import RunNotStoppable
from cipher.background.interfaces import RunRequeuedEvent
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
        return self._stop(self._get(run_id), reason, self._record)

    def _stop(self, run, reason, record):
        if run.isFinished():
            raise RunNotStoppable(
                'run %r: expected a pending or running run to stop, got one '
                'that is %r; nothing is left to stop' % (run.id, run.state))
        asked = askedNow(reason, run)
        if kept.isKept(self, run) or (
                run.state == PENDING == Watch(self).state(run)):
            self.stops.pop(run.id, None)   # of the original
            self.finish(run, STOPPED, RunStoppedEvent, stop_request=asked)
            record('stop', run, asked)
            return STOPPED
        if run.id not in self.stops:
            self.stops[run.id] = asked
            record('stop', run, asked)
            wakeAfterCommit(self._p_jar)
        return RUNNING

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
        asked = askedNow(reason, run)   # masks secrets of the run
        self._forget(run)
        record('remove', run, asked)

    def _forget(self, run):
        """Remove the finished *run*."""
        # Nobody else writes a finished run.  Its places among births and
        # finishes go when the pruner finds them.
        self.lanes[run.lane].births.dependOn(run.serial)
        self.removed.add(run)
        services.forget(self, run)
        run.remove()

    def actOnRuns(self, verb, run_ids, reason=None, filter=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        act = {'stop': self._stop, 'retry': self._retry_by_principal,
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
            except (RunNotStoppable, RunNotRetryable, RunNotRemovable):
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
        if not is_quiet:
            self.adoptDatabase(process_id, reason)
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

    def adoptDatabase(self, process_id, reason=None, keep_back=False):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        directory = self._get_directory(process_id)
        record = directory.processes[process_id]
        if record.copied is None:
            return False
        belonging = directory.belonging
        if record.deployment is not None:
            belonging.deployment = record.deployment
        belonging.place = None   # the process writes where its file is
        if keep_back:
            for registry in directory.listRegistries():
                kept.keepBack(registry)
        self._tell(directory, 'adopt database', process_id, askedNow(reason))
        return True

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

    # What came with a copy

    def beginKept(self, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        runs = self._list_kept()
        if not runs:
            return 0
        for run in runs:
            self._let_go(run)
        types = {run.type for run in runs}
        kept.release(self, types)
        self._tell_kept('begin kept', runs, reason)
        return len(runs)

    def _let_go(self, run):
        """Take *run* from whoever had it in the original."""
        worker_type = queryWorkerType(run.type)
        if worker_type is not None and worker_type.autostart or (
                run.state == RUNNING and run.must_not_rerun
                or run.id in self.stops):
            self._end_kept(run, INTERRUPTED, RunInterruptedEvent)
        elif run.state == RUNNING or run.owner is not None:
            run.putBack(attempts=run.attempts - (run.state == RUNNING))
            notify(RunRequeuedEvent(run, self))

    def _end_kept(self, run, state, event):
        # Somebody may have asked the original to stop.
        self.finish(run, state, event, stop_request=self.stops.get(run.id))
        self.stops.pop(run.id, None)

    def removeKept(self, reason=None, limit=1000):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        runs = self._list_kept(limit)
        if not runs:
            return 0
        for run in runs:
            if run.state == PENDING:
                self._end_kept(run, STOPPED, RunStoppedEvent)
            else:
                self._end_kept(run, INTERRUPTED, RunInterruptedEvent)
            self._forget(run)
        kept.forgetIfEmpty(self)
        self._tell_kept('remove kept', runs, reason)
        return len(runs)

    def _list_kept(self, limit=None):
        hidden = sight.hiddenTypes(self)
        return list(islice(
            (run for run in kept.walk(self) if run.type not in hidden),
            limit))

    def _tell_kept(self, verb, runs, reason):
        journal.recordMany(
            self, verb, [run.id for run in runs], askedNow(reason),
            {run.type for run in runs}, 'came with a copy')
        if self._p_jar is not None:
            wakeAfterCommit(self._p_jar)

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

    # The journal

    def listActions(self, limit=50, before=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        directory = self._p_jar and getDirectory(self._p_jar)
        owners = [self, directory] if directory else [self]
        return journal.listActions(owners, self, limit, before)

    def _record(self, verb, run, asked):
        journal.record(self, verb, run.id, asked, (run.type,))

    def _tell(self, owner, verb, subject, asked, types=()):
        journal.record(owner, verb, subject, asked, types)
        if self._p_jar is not None:
            wakeAfterCommit(self._p_jar)
