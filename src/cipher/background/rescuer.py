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
"""Runs in work elsewhere: what becomes of them, and of those of the dead.

Called by the control thread only.
"""
import logging

from zope.event import notify

from cipher.background import clock
from cipher.background import process
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RunFailedEvent
from cipher.background.interfaces import RunInterruptedEvent
from cipher.background.interfaces import RunRequeuedEvent
from cipher.background.lifecycle import afterInterruption
from cipher.background.lifecycle import countInterruption
from cipher.background.sorting import LOST
from cipher.background.sorting import Sorter
from cipher.background.tickets import AWAY
from cipher.background.tickets import DONE
from cipher.background.transient import isTransient
from cipher.background.workertype import queryWorkerType


log = logging.getLogger(__name__)

#: Runs are looked at, at most so many in one turn.
BATCH = 500


class Rescuer:
    """Sees what becomes of runs of the lanes whose home is one runtime."""

    def __init__(self, runtime, census):
        self._runtime = runtime
        self._census = census
        self._looked = {}   # place -> serial looked at last

    # Processes

    def bury(self, connection):
        """Forget the processes that are dead.

        What they said they worked on is theirs from now on, by the same
        commit: so whoever comes next finds it lost.
        """
        if not (self._runtime.threads and self._runtime.is_taking):
            return False
        with ZopeTransaction(note=self._runtime.note('dead processes')):
            directory = process.getDirectory(connection)
            dead = self._census.findDead(directory)
            for record in dead:
                # Fails when the process beats after all.
                connection.readCurrent(record.beat)
                for (oid, run_id), told in record.live.runs.items():
                    self._claimFor(connection, record.id, oid, run_id, told)
                del directory.processes[record.id]
        for record in dead:
            log.warning('Process %s (%s) is dead; its work is taken over',
                        record.name, record.id)
        return bool(dead)

    def _claimFor(self, connection, owner, oid, run_id, told):
        try:
            run = connection.get(oid).findRun(run_id)
            if run is not None and run.state == PENDING and (
                    run.owner in (None, owner)):
                run.claim(owner, told[0], _mustNotRerun(run))
        except Exception as error:
            if isTransient(error, self._runtime.db):
                raise
            self._runtime.noteBroken((oid, run_id), None, error)

    # Runs

    def turn(self, connection):
        """Look what became of runs in work elsewhere; rescue the lost ones.

        Return whether to look again at once.
        """
        lost, is_more = [], False
        with ZopeTransaction():
            sorter = Sorter(self._runtime, connection)
            for place in self._runtime.tickets.lanes():
                is_more |= self._look_at(connection, sorter, place, lost)
        for ticket in lost:
            self._rescue_and_settle(connection, ticket)
        return is_more

    def _look_at(self, connection, sorter, place, lost):
        """Append to *lost*; return whether there is more to look at."""
        executor = self._runtime.executor
        away = self._runtime.tickets.away(place)
        after = self._looked.pop(place, 0)
        rest = [ticket for ticket in away if ticket.serial > after]
        for ticket in rest[:BATCH]:
            run = _find(connection, ticket)
            _, what = found = sorter.sort(place, ticket.serial, run)
            if what == LOST:
                lost.append(ticket)
            elif what != AWAY and not (
                    run is not None and run.state == PENDING
                    and executor.isUnderway(ticket, run)):
                executor.returned(ticket, run)
                self._runtime.tickets.settle(*found)
        if len(rest) > BATCH:
            self._looked[place] = rest[BATCH - 1].serial
            return True
        return False

    def rescueUnrecorded(self, connection):
        """Rescue runs of this process whose end could not be written."""
        unrecorded = self._runtime.unrecorded
        for ticket in list(unrecorded):
            self._rescue_and_settle(connection, ticket, is_unrecorded=True)
            unrecorded.discard(ticket)
        return False

    def _rescue_and_settle(self, connection, ticket, is_unrecorded=False):
        with ZopeTransaction(note=self._runtime.note('rescue')):
            registry = connection.get(ticket.registry_oid)
            run = registry.getRun(ticket.lane, ticket.serial)
            if run is not None and not run.isFinished() and (
                    is_unrecorded and run.owner in (None, self._runtime.id)
                    or self._isLost(connection, ticket, run)):
                self._rescue(registry, run)
        with ZopeTransaction():
            sorter = Sorter(self._runtime, connection)
            found, what = sorter.sort(
                ticket.place, ticket.serial, _find(connection, ticket))
            self._runtime.executor.returned(ticket, run)
            if what != LOST:
                if what != DONE:
                    found = found._replace(must_claim=True)
                self._runtime.tickets.settle(found, what)

    def _isLost(self, connection, ticket, run):
        # By now it may be ended, removed or taken.
        sorter = Sorter(self._runtime, connection)
        return sorter.sort(ticket.place, ticket.serial, run)[1] == LOST

    def _rescue(self, registry, run):
        worker_type = queryWorkerType(run.type)
        count = countInterruption(
            run.interruptions, worker_type is not None and worker_type.is_loop,
            run.started_at and clock.now() - run.started_at)
        stop = registry.stops.get(run.id)
        state = afterInterruption(run.must_not_rerun, count, stop is not None)
        log.warning('Run %s: its process ended while it ran%s; now %s',
                    run.id, run.owner and ' (%s)' % process.processName(
                        run.owner) or '', state)
        if state == PENDING:
            run.putBack(interruptions=count)
            notify(RunRequeuedEvent(run, registry))
        elif state == FAILED:
            registry.finish(
                run, FAILED, RunFailedEvent, interruptions=count,
                error=('ProcessDied', 'its process ended %d times while it '
                       'ran' % count))
        else:
            registry.finish(run, INTERRUPTED, RunInterruptedEvent,
                            interruptions=count, stop_request=stop)
            if stop is not None:
                del registry.stops[run.id]


def _find(connection, ticket):
    try:
        registry = connection.get(ticket.registry_oid)
    except KeyError:
        return None   # it was removed
    return registry.getRun(ticket.lane, ticket.serial)


def _mustNotRerun(run):
    # Not claimed, so it may be rerun: else it would have been.
    return run.must_not_rerun
