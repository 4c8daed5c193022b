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
"""The part of a registry that only reads."""
from zope.security.interfaces import NoInteraction
from zope.security.interfaces import Unauthorized

from cipher.background.declarations.workertype import getWorkerType
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import NEWEST
from cipher.background.interfaces import RegistryNotFound
from cipher.background.interfaces import RunNotFound
from cipher.background.queries import errors
from cipher.background.queries import history
from cipher.background.queries import paging
from cipher.background.queries import problems
from cipher.background.queries import summary
from cipher.background.queries import timetable
from cipher.background.queries import visibility
from cipher.background.queries.family import findFamily
from cipher.background.queries.filtering import Filter
from cipher.background.queries.health import findHealth
from cipher.background.queries.snapshot import Snapshot
from cipher.background.queries.status import RunDetailsStatus
from cipher.background.queries.status import RunPage
from cipher.background.queries.waits import Waits
from cipher.background.store.attempts import listAttempts
from cipher.background.store.run import RunDetails
from cipher.background.store.runstore import RunStore
from cipher.background.store.thresholds import Thresholds
from cipher.background.util.host import getHost
from cipher.background.util.masking import makeMasker
from cipher.background.util.masking import maskInput
from cipher.background.util.masking import secretNames
from cipher.background.util.plaindata import readInput
from cipher.background.util.plaindata import readText
from cipher.background.util.text import SHOWS_ALL
from cipher.background.util.text import TRACEBACK_LIMIT
from cipher.background.util.text import safeRepr


class RegistryReader(RunStore):
    """Base of `registry.WorkerRegistry`: `IWorkerRegistry`'s questions."""

    def get(self, run_id, default=None):
        run = self.findRun(run_id)
        if run is None or not visibility.maySee(self, run.type):
            return default
        return run

    def _get(self, run_id):
        run = self.get(run_id)
        if run is None:
            raise RunNotFound(
                'run %s: expected the id of a run of this registry; it may '
                'have been removed' % safeRepr(run_id, 40))
        return run

    def getStatus(self, run_id):
        return self._describe(Snapshot(self), [self._get(run_id)])[0]

    def _describe(self, snapshot, runs):
        waits = Waits(snapshot)
        return [snapshot.describe(run, waits) for run in runs]

    def getDetails(self, run_id):
        run = self._get(run_id)
        live = Snapshot(self).live(run)
        details = run.details
        if not isinstance(details, RunDetails):
            details = RunDetails()
        worker_type = queryWorkerType(run.type)
        schema = worker_type and worker_type.schema
        input = readInput(run.input)
        masker = SHOWS_ALL
        if run.details is not None and not _is_masked(details, schema):
            # The schema has passwords that it did not have when the run was
            # carried out.
            masker = makeMasker(schema, input)
        attempts, left_out, log = listAttempts(run, live, masker)
        shown = maskInput(schema, input)
        return RunDetailsStatus(
            input=shown,
            masked=tuple(name for name in shown
                         if shown[name] is not input[name]),
            traceback=masker.text(
                readText(details.traceback, TRACEBACK_LIMIT) or ''),
            log=log, attempts=attempts, left_out=left_out,
            history=[(one.began_at, max(0.0, one.ended_at - one.began_at),
                      one.error_type, one.error_text)
                     for one in attempts
                     if one.outcome == FAILED and None not in one[:2]])

    def getStack(self, run_id):
        return Snapshot(self).stack(self._get(run_id))

    def getFamily(self, run_id):
        snapshot = Snapshot(self)
        return findFamily(self, self._get(run_id), lambda runs:
                          self._describe(snapshot, runs) if runs else [])

    def getHealth(self, run_id):
        snapshot = Snapshot(self)
        return findHealth(self, snapshot, self._get(run_id),
                          lambda runs: self._describe(snapshot, runs))

    def getContext(self, run_id):
        return self._get(run_id).context

    def listRuns(self, states=(), types=(), contexts=(), starters=(),
                 text=None, since=None, until=None, order=NEWEST, limit=50,
                 before=None, unresolved=False, error=None):
        snapshot = Snapshot(self)
        search = Filter(snapshot, states, visibility.visibleTypes(self, types),
                        contexts, starters, text, since, until, order,
                        unresolved, error)
        found = paging.listRuns(
            self.lanes, search.wanted, search.matches, limit, before,
            snapshot.running(), search)
        return RunPage(self._describe(snapshot, found.runs), *found[1:])

    def getCounts(self):
        return self._count(Snapshot(self))

    def _count(self, snapshot):
        hidden = visibility.hiddenTypes(self)
        return {name: states for name, states in snapshot.counts().items()
                if name not in hidden}

    def getWorkerTypes(self):
        return visibility.declaredTypes(self)

    def listTypes(self):
        return summary.listTypes(self, Snapshot(self))

    def listErrors(self, types=(), limit=errors.LOOKS):
        return errors.listErrors(self, types, limit)

    def getHistory(self, name):
        return history.getHistory(
            self, name if visibility.maySee(self, name) else None)

    def getHours(self):
        return [] if visibility.hiddenTypes(self) else summary.getHours(self)

    def listProblems(self):
        snapshot = Snapshot(self)
        return problems.listProblems(self, snapshot, self._count(snapshot))

    def getThresholds(self):
        return Thresholds(self.thresholds)

    def listProcesses(self):
        return Snapshot(self).processes()

    def listEndedProcesses(self):
        return Snapshot(self).endedProcesses()

    def listSchedules(self):
        return timetable.listSchedules(self, with_recent=True)

    def getSite(self):
        return getHost().siteOf(self)

    def findSite(self):
        """Return the site that holds the registry, or None."""
        try:
            return self.getSite()
        except RegistryNotFound:
            return None   # it has no parent yet

    # Who may start

    def mayStart(self, name, context=None):
        host = getHost()
        if not host.hasInteraction():
            raise NoInteraction
        target = self.getSite() if context is None else context
        return host.checkPermission(getWorkerType(name).permission, target)

    def permit(self, name, context):
        """Return the permission of the worker type *name*.

        For this package.  Raise ``Unauthorized`` if the principal lacks the
        permission on *context*, or on the site if that is None.
        """
        permission = getWorkerType(name).permission
        if not self.mayStart(name, context):
            target = self.getSite() if context is None else context
            raise Unauthorized(target, 'start', permission)
        return permission


def _is_masked(details, schema):
    """Return whether *details* mask each password of the present *schema*."""
    return type(details.masked) is tuple and all(
        name in details.masked for name in secretNames(schema))
