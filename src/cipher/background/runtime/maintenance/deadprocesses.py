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
"""Remove the records of dead processes, and claim for them what they did."""
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import BROKEN_RUN
from cipher.background.interfaces import GONE
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import SILENT
from cipher.background.store import attempts
from cipher.background.store import process
from cipher.background.util.logs import getLogger


log = getLogger(__name__)


class DeadProcesses:
    """Removes the records of processes that *liveness* found dead.

    *own* is the process that removes them.  Runs whose record is broken are
    noted in *troubles*.
    """

    def __init__(self, own, liveness, troubles):
        self._own = own
        self._liveness = liveness
        self._troubles = troubles

    def remove(self, connection):
        """Remove the records of dead processes; return whether there were any.

        The same commit claims for them the runs that their records name as
        live.  So the next process that looks at these runs finds them lost.
        """
        with ZopeTransaction(note=self._own.note('dead processes')):
            directory = process.getDirectory(connection)
            dead = self._liveness.findDead(directory)
            for record in dead:
                # The commit conflicts if the process sends a heartbeat.
                connection.readCurrent(record.heartbeat)
                ended = directory.end(
                    record, GONE if self._liveness.isGone(record) else SILENT)
                for (oid, run_id), report in record.live.runs.items():
                    self._claim_for(connection, ended, oid, run_id, report)
        for record in dead:
            log.warning('Process %s (%s) is dead; its work is taken over',
                        record.name, record.id)
        return bool(dead)

    def _claim_for(self, connection, ended, oid, run_id, report):
        """Claim a run for the dead process *ended*, which worked on it.

        *report* is that of `LiveRun.getReport`.
        """
        started_at, _, log, *_ = report
        with self._troubles.guard(
                BROKEN_RUN, run_id, oid, with_transient=False):
            registry = process.findRegistry(connection, oid)
            run = registry and registry.findRun(run_id)
            if run is None or run.isFinished() or (
                    run.owner not in (None, ended.id)):
                return
            if run.state == PENDING:
                run.claim(ended.id, started_at, run.must_not_rerun)
            if log:
                # The end of the log, as last reported.
                attempts.keepLog(run, log)
            ended.leave((oid, run_id))
