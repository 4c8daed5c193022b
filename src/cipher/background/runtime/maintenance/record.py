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
"""Keep the record of this process, and apply the requests in it."""
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.store import process
from cipher.background.store import structure
from cipher.background.util import clock
from cipher.background.util.logs import getLogger


log = getLogger(__name__)


class OwnRecord:
    """Keeps the record of the process *own*.

    *runs* are its `OwnRuns`.  *admission* gets the requests of the record.
    *reports* writes the parts that change often.  *evolving* knows whether
    newer code has used the database.  *make_due* is `Steps.makeDue`.
    """

    def __init__(self, own, runs, admission, reports, evolving, make_due):
        self._own = own
        self._runs = runs
        self._admission = admission
        self._reports = reports
        self._evolving = evolving
        self._make_due = make_due

    def turn(self, connection):
        """Write the record; apply the requests in it.

        Return whether there is one.
        """
        own, backlog = self._own, self._runs.backlog
        with ZopeTransaction():
            directory = process.getDirectory(connection)
            is_newer = self._evolving.isNewer(directory)
            known = {oid for oid, _ in backlog.lanes()}
            if backlog.takeUnknown() or any(
                    r._p_oid not in known
                    for r in directory.listRegistries()):
                self._make_due('homes')
            is_known = own.id in directory.processes
        if not is_newer or is_known:
            # Live runs may end here before newer code changes the structure.
            self._write(connection)
        elif own.is_recorded:
            own.is_recorded = False
            self._give_up()
        if is_newer and not self._admission.is_quiet:
            self._admission.quiet()
        return own.is_recorded

    def _give_up(self):
        """Others took this process for dead, and its lanes.

        This comes before a new record is committed.  A thread that begins a
        run meanwhile claims it with the old id, or as the new process.
        """
        log.error('Process %s: it was silent for too long; what it worked on '
                  'is taken over by others', self._own.name)
        self._runs.forgetAll()
        self._own.takeNewId()

    def _write(self, connection):
        own, admission = self._own, self._admission
        asked = admission.requested_quiet
        with ZopeTransaction(note=own.note('begins')):
            directory = process.getDirectory(connection)
            copied, reason = self._judge(directory)
            processes = directory.processes
            record = processes.get(own.id)
            was_lost = record is None and own.is_recorded
            if record is None:
                # Newer code looks at the processes before it raises the
                # number.  So it sees this process, or this process sees the
                # number.
                structure.checkVersion(directory)
                connection.readCurrent(directory)
                if was_lost:
                    # As after a pause of the machine.
                    self._give_up()
                record = self._make()
                processes[own.id] = record
            threads, lease = own.threads, own.settings.lease
            if (record.threads, record.lease) != (threads, lease):
                record.threads, record.lease = threads, lease
            if (record.deployment, record.copied) != (
                    own.deployment, copied and tuple(copied)):
                record.deployment = own.deployment
                record.copied = copied and tuple(copied)
            request = record.request
            if self._runs.running.is_draining and not request.is_draining:
                request.is_draining = True   # so others give it no runs
                request.asked = None         # no person asked for it
            if asked not in (None, request.is_quiet):
                request.is_quiet = asked
                request.asked = None
        is_news = admission.copied != copied
        admission.setCopied(copied, reason)
        if is_news and copied is None:
            self._make_due()
        if not own.is_recorded or was_lost:
            own.is_recorded = True
            self._reports.begin()
        if request.is_draining:
            admission.drain_asked = request.asked
        admission.applyRequest(asked, request.is_quiet, request.is_draining)

    def _judge(self, directory):
        """Find out whether the database is a copy.

        Return (`deployment.Copied`, reason), or (None, None) if it is not.
        If the origin is not recorded yet, record it.
        """
        origin = self._own.origin
        if directory.belonging is None:
            directory.belonging = process.Belonging()
        judged = origin.judge(directory.belonging)
        if judged is None:
            origin.settle(directory.belonging)
        return judged or (None, None)

    def _make(self):
        own = self._own
        record = process.ProcessRecord(
            own.id, own.host, own.pid, process.machineId(),
            process.pidStarted(own.pid), own.threads, own.settings.lease,
            clock.now())
        record.request.is_quiet = self._admission.is_asked_quiet
        return record
