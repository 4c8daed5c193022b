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
"""The part of a registry that carries out acts of administrators."""
from itertools import islice

from BTrees.OOBTree import OOBTree
from zope.event import notify

from cipher.background.declarations.workertype import allNames
from cipher.background.declarations.workertype import findPause
from cipher.background.declarations.workertype import maskerOf
from cipher.background.declarations.workertype import nameToday
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.events import RunInterruptedEvent
from cipher.background.events import RunRequeuedEvent
from cipher.background.events import RunStoppedEvent
from cipher.background.interfaces import ALREADY_DUE
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import KEPT_BACK
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
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.queries import actions
from cipher.background.queries import visibility
from cipher.background.queries.snapshot import Snapshot
from cipher.background.queries.waits import Waits
from cipher.background.registry import retry
from cipher.background.registry import schedules
from cipher.background.registry import services
from cipher.background.registry.reader import RegistryReader
from cipher.background.store import journal
from cipher.background.store import kept
from cipher.background.store import thresholds
from cipher.background.store.journal import askedNow
from cipher.background.store.process import getDirectory
from cipher.background.util.logs import getLogger
from cipher.background.util.logs import logError
from cipher.background.util.switchboard import wakeAfterCommit
from cipher.background.util.text import describeError
from cipher.background.util.text import safeRepr
from cipher.background.util.transient import isTransient


log = getLogger(__name__)

_BEGIN_OBSTACLES = {
    NOT_WAITING: 'that is %(state)r; only a waiting run can begin',
    PROCESS_GONE: 'whose process is gone; it begins as soon as another '
                  'process has rescued it',
    TYPE_UNDECLARED: 'of %(type)r, which no process takes; declare that with '
                     '<background:worker … />, or start a process that takes '
                     'it',
    TYPE_PAUSED: 'of %(type)r, which is paused; resume that type',
    LIMIT_REACHED: 'that is due; it begins when a run of %(type)r has '
                   'finished, because its max_running is reached',
    KEPT_BACK: 'that came with a copy of the registry; begin or remove the '
               'runs that are kept back',
    ALREADY_DUE: 'that is due; it begins as soon as a thread is free',
}


class Acted(list):
    """The ids of the runs that `Administration.actOnRuns` changed.

    `failed` is {run id: (type of the error, text)} of the runs that failed.
    """

    def __init__(self):
        super().__init__()
        self.failed = {}


class _Acts:
    """One act on many runs of a registry."""

    def __init__(self, registry, verb, reason):
        self._registry = registry
        self._verb = verb
        self._act = {'begin': registry._begin_now,
                     'stop': registry._stop,
                     'retry': registry._retry_by_principal,
                     'remove': registry._remove}[verb]
        self.reason = reason
        self.done = Acted()
        self.recorded = []
        self.types = set()

    def do(self, run_id):
        """Act on the run of that id, if it exists and can change."""
        run = self._registry.get(run_id)
        if run is None or self._verb == 'retry' and not (
                self._registry.mayRetry(run_id)):
            return
        recorded = []
        try:
            self._act(run, self.reason,
                      lambda verb, run, asked: recorded.append((run, asked)))
        except (RunNotBeginnable, RunNotStoppable, RunNotRetryable,
                RunNotRemovable):
            return
        for other, asked in recorded:   # empty if nothing had to change
            self.recorded.append(other.id)
            self.types.add(other.type)
            self.reason = asked[-1]   # without the secrets of this run
        if recorded:
            self.done.append(run_id)

    def tryToDo(self, run_id):
        """`do` that confines an error of a subscriber to this run."""
        manager = self._registry._p_jar.transaction_manager
        savepoint = manager.savepoint(optimistic=True)
        try:
            self.do(run_id)
        except Exception as error:
            if self._registry._is_transient(error):
                raise
            savepoint.rollback()
            masker = maskerOf(self._registry.get(run_id))
            logError(log, error, masker, 'Run %s: %s failed; the other runs '
                     'go on', run_id, self._verb)
            self.done.failed[run_id] = describeError(error, masker)


class Administration(RegistryReader):
    """Base of `registry.WorkerRegistry`: `IWorkerRegistry`'s acts."""

    # Runs

    def requestStop(self, run_id, reason=None):
        return self._stop(self._get(run_id), reason, self._record)

    def _stop(self, run, reason, record):
        if run.isFinished():
            raise RunNotStoppable(
                'run %r: expected a pending or running run to stop, got one '
                'that is %r; nothing is left to stop' % (run.id, run.state))
        asked = askedNow(reason, run)
        if kept.isKept(self, run) or (
                run.state == PENDING == Snapshot(self).state(run)):
            self.stops.pop(run.id, None)   # of the original
            self.finish(run, STOPPED, RunStoppedEvent, stop_request=asked)
            record('stop', run, asked)
            if self._p_jar is not None:
                # A process may have begun it without a report so far.
                wakeAfterCommit(self._p_jar)
            return STOPPED
        if run.id not in self.stops:
            self.stops[run.id] = asked
            record('stop', run, asked)
            wakeAfterCommit(self._p_jar)
        return RUNNING

    def beginNow(self, run_id, reason=None):
        self._begin_now(self._get(run_id), reason, self._record)

    def _begin_now(self, run, reason, record):
        obstacle = Waits(Snapshot(self)).obstacleOf(run)
        if obstacle is not None:
            raise RunNotBeginnable(
                'run %r: expected a run that waits for its time, got one '
                '%s' % (run.id, _BEGIN_OBSTACLES[obstacle] % {
                    'state': run.state, 'type': run.type}), obstacle)
        asked = askedNow(reason, run)
        run.due_at = asked[1]
        if self.hastened is None:
            self.hastened = OOBTree()
        # Its home process knows the old time and looks for changes here.
        self.hastened[run.id] = asked[1]
        record('begin', run, asked)
        if self._p_jar is not None:
            wakeAfterCommit(self._p_jar)

    def retry(self, run_id, reason=None):
        return retry.retry(
            self, self._get(run_id), reason, self._record)

    def retryByPrincipal(self, run_id, reason=None):
        return self._retry_by_principal(
            self._get(run_id), reason, self._record)

    def _retry_by_principal(self, run, reason, record):
        permission = None
        if queryWorkerType(run.type) is not None:
            permission = self.permit(run.type, run.context)
        return retry.retry(self, run, reason, record, permission)

    def remove(self, run_id, reason=None):
        self._remove(self._get(run_id), reason, self._record)

    def _remove(self, run, reason, record):
        if not run.isFinished():
            raise RunNotRemovable(
                'run %r: expected a finished run to remove, got one that is '
                '%r; stop it first' % (run.id, Snapshot(self).state(run)))
        asked = askedNow(reason, run)   # masks secrets of the run
        self._forget(run)
        record('remove', run, asked)

    def _forget(self, run):
        """Remove the finished *run*."""
        # Nothing else writes a finished run.  The pruner removes its entries
        # in births and finishes later.
        self.lanes[run.lane].births.dependOn(run.serial)
        self.removed_by_hand.add(run)
        services.forget(self, run)
        run.remove()

    def actOnRuns(self, verb, run_ids, reason=None, filter=None):
        run_ids = list(run_ids)
        savepoint = self._p_jar.transaction_manager.savepoint(
            optimistic=True)
        try:
            acts = _Acts(self, verb, reason)
            for run_id in run_ids:
                acts.do(run_id)
        except Exception as error:
            if self._is_transient(error):
                raise
            # Again, with a savepoint for each run.  This is slower, so it is
            # done only after an error.
            savepoint.rollback()
            acts = _Acts(self, verb, reason)
            for run_id in run_ids:
                acts.tryToDo(run_id)
        if len(acts.recorded) == 1 and filter is None:
            run_id, = acts.recorded
            journal.record(self, verb, run_id, askedNow(acts.reason),
                           acts.types)
        elif acts.recorded:
            journal.recordMany(self, verb, acts.recorded,
                               askedNow(acts.reason), acts.types, filter)
        return acts.done

    def _is_transient(self, error):
        return isTransient(error, self._p_jar and self._p_jar.db())

    def mayRetry(self, run_id):
        run = self._get(run_id)
        return (queryWorkerType(run.type) is None
                or self.mayStart(run.type, run.context))

    # Worker types

    def pauseType(self, name, is_paused=True, reason=None):
        was_paused = isinstance(name, str) and findPause(
            self, name) is not None
        is_known = was_paused or isinstance(name, str) and (
            queryWorkerType(name) is not None or name in self.getCounts())
        if not is_known or not visibility.maySee(self, name):
            raise UnknownWorkerType(
                'worker %s: expected a worker type that is declared or has '
                'runs, got neither; look at listTypes()' % safeRepr(name, 100))
        if bool(is_paused) == was_paused:
            return
        asked = askedNow(reason)
        if is_paused:
            self.pauses[nameToday(name)] = asked
        else:
            for one in allNames(name):
                if one in self.pauses:
                    del self.pauses[one]
        self._tell(self, 'pause type' if is_paused else 'resume type', name,
                   asked, (name,))

    # Processes

    def quietProcess(self, process_id, is_quiet=True, reason=None):
        directory = self._get_directory(process_id)
        request = directory.processes[process_id].request
        if not is_quiet:
            self.adoptDatabase(process_id, reason)
        if bool(is_quiet) == request.is_quiet:
            return
        asked = askedNow(reason)
        request.is_quiet = bool(is_quiet)
        if is_quiet:
            request.asked = asked
        elif not request.is_draining:
            request.asked = None
        self._tell(directory, 'quiet process' if is_quiet
                   else 'unquiet process', process_id, asked)

    def adoptDatabase(self, process_id, reason=None, keep_back=False):
        directory = self._get_directory(process_id)
        record = directory.processes[process_id]
        if record.copied is None:
            return False
        belonging = directory.belonging
        if record.deployment is not None:
            belonging.deployment = record.deployment
        belonging.place = None   # the process fills in the place of its file
        if keep_back:
            for registry in directory.listRegistries():
                kept.keepBack(registry)
        self._tell(directory, 'adopt database', process_id, askedNow(reason))
        return True

    def drainProcess(self, process_id, reason=None):
        directory = self._get_directory(process_id)
        request = directory.processes[process_id].request
        if request.is_draining:
            return
        request.is_draining = True
        request.asked = askedNow(reason)
        self._tell(directory, 'drain process', process_id, request.asked)

    def _get_directory(self, process_id):
        """Return the `Directory` with the process; raise `ProcessNotFound`."""
        directory = self._p_jar and getDirectory(self._p_jar)
        if not (directory and isinstance(process_id, str)
                and process_id in directory.processes):
            raise ProcessNotFound(
                'process %s: expected the id of a process of this '
                'database; it may have ended' % safeRepr(process_id, 100))
        return directory

    # Runs that came with a copy

    def beginKept(self, reason=None):
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
        """Release *run* from its owner in the original database."""
        worker_type = queryWorkerType(run.type)
        if worker_type is not None and worker_type.autostart or (
                run.state == RUNNING and run.must_not_rerun
                or run.id in self.stops):
            self._end_kept(run, INTERRUPTED, RunInterruptedEvent)
        elif run.state == RUNNING or run.owner is not None:
            run.giveBack()
            notify(RunRequeuedEvent(run, self))

    def _end_kept(self, run, state, event):
        # The run may have been asked to stop in the original.
        self.finish(run, state, event, stop_request=self.stops.get(run.id))
        self.stops.pop(run.id, None)

    def removeKept(self, reason=None, limit=1000):
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
        hidden = visibility.hiddenTypes(self)
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
        asked = askedNow(reason)
        if schedules.pause(self, name, asked if is_paused else None):
            self._tell(self, 'pause schedule' if is_paused
                       else 'resume schedule', name, asked,
                       (schedules.getWorker(self, name),))

    def runSchedule(self, name):
        return self._run_schedule(name, None)

    def mayRunSchedule(self, name):
        worker = schedules.getWorker(self, name)
        return queryWorkerType(worker) is None or self.mayStart(worker)

    def runScheduleByPrincipal(self, name):
        worker = schedules.getWorker(self, name)
        return self._run_schedule(
            name, None if queryWorkerType(worker) is None
            else self.permit(worker, None))

    def _run_schedule(self, name, permission):
        run = schedules.runNow(self, name)
        if run is not None and run.state == PENDING and permission:
            run.permission = permission   # checked again when it begins
        self._tell(self, 'run schedule', name, askedNow(None),
                   (schedules.getWorker(self, name),))
        return run

    # Problems

    def changeThresholds(self, values, reason=None):
        stored, news = thresholds.change(self.thresholds, values)
        if not news:
            return
        self.thresholds = stored
        self._tell(self, 'change thresholds', ' '.join(
            '%s=%s' % item for item in sorted(news.items())),
            askedNow(reason))

    # The journal

    def listActions(self, limit=50, before=None):
        directory = self._p_jar and getDirectory(self._p_jar)
        owners = [self, directory] if directory else [self]
        return actions.listActions(owners, self, limit, before)

    def _record(self, verb, run, asked):
        journal.record(self, verb, run.id, asked, (run.type,))

    def _tell(self, owner, verb, subject, asked, types=()):
        journal.record(owner, verb, subject, asked, types)
        if self._p_jar is not None:
            wakeAfterCommit(self._p_jar)
