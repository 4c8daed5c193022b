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
"""Watch runs in work elsewhere, and rescue those of dead processes."""
from functools import partial

from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.events import RunFailedEvent
from cipher.background.events import RunInterruptedEvent
from cipher.background.events import RunRequeuedEvent
from cipher.background.interfaces import BROKEN_RUN
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FAILING_RESCUE
from cipher.background.interfaces import GONE
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import UNRECORDED
from cipher.background.runtime.queue.backlog import AWAY
from cipher.background.runtime.queue.backlog import READY
from cipher.background.runtime.queue.sorting import LOST
from cipher.background.store import attempts
from cipher.background.store import process
from cipher.background.store.attempts import Attempt
from cipher.background.store.lifecycle import afterInterruption
from cipher.background.store.lifecycle import countInterruption
from cipher.background.util import clock
from cipher.background.util.logs import getLogger
from cipher.background.util.plaindata import readNumber
from cipher.background.work.announcing import announce


log = getLogger(__name__)

#: Seconds.  A run that is live for less may be ended by its own thread, which
#: has not left it yet, or not be claimed yet.
LOOK_AFTER = 0.5

#: Runs in work elsewhere that one turn looks at in each lane.
BATCH = 500


class Rescuer:
    """Watches and rescues runs of the lanes whose home is the process *own*.

    *runs* are its `OwnRuns`.  Runs that cannot be rescued are noted in
    *troubles*.  *make_sorter* returns the `Sorter` of a connection, and
    *get_executor* the executor, which may change.
    """

    def __init__(self, own, runs, troubles, make_sorter, get_executor):
        self._own = own
        self._runs = runs
        self._troubles = troubles
        self._make_sorter = make_sorter
        self._get_executor = get_executor
        self._announce = partial(announce, troubles=troubles)
        self._looked = {}   # place -> serial looked at last

    def turn(self, connection):
        """Look at runs in work elsewhere; rescue the lost ones."""
        lost, is_more = [], False
        with ZopeTransaction():
            sorter = self._make_sorter(connection)
            for place in self._runs.backlog.lanes():
                is_more |= self._look_at(connection, sorter, place, lost)
        done = self.rescueAll(connection, lost)
        # A run that cannot be rescued rests; the next look skips it.
        return is_more or any(
            ticket not in done and not self._troubles.isResting(
                FAILING_RESCUE, ticket.run_id, ticket.registry_oid)
            for ticket in lost)

    def _look_at(self, connection, sorter, place, lost):
        """Look at a batch of a lane; return whether there is more.

        Append the tickets of lost runs to *lost*.
        """
        away = self._runs.backlog.away(place)
        if not away:
            return False
        executor = self._get_executor()
        registry = process.findRegistry(connection, place[0])
        lane = registry and registry.lanes.get(place[1])
        if lane is None:
            return False   # the lane was removed
        births = lane.births
        after = self._looked.pop(place, 0)
        rest = [ticket for ticket in away if ticket.serial > after]
        for ticket in rest[:BATCH]:
            _, what = found = sorter.sort(place, ticket.serial, births)
            if what == LOST:
                lost.append(ticket)
            elif what != AWAY:
                run = births.get(ticket.serial)
                if run is None or run.state != PENDING or (
                        not executor.isUnderway(ticket, run)):
                    executor.returned(ticket, run)
                    self._runs.backlog.settle(*found)
        if len(rest) > BATCH:
            self._looked[place] = rest[BATCH - 1].serial
            return True
        return False

    def rescueUnrecorded(self, connection):
        """Rescue runs of this process whose end could not be written."""
        unrecorded = self._runs.unrecorded
        tickets = list(unrecorded)
        for ticket in self.rescueAll(connection, tickets, True):
            unrecorded.discard(ticket)
        return False

    def abandonLost(self, connection):
        """Abandon work here on runs that another process ended or took.

        Other processes may not know yet that a run works here, and stop it as
        a pending one.
        """
        for live in self._runs.running.allLive():
            if live.is_abandoned:
                continue
            # Each has a transaction of its own, which sees the latest state.
            with self._troubles.guard(
                    BROKEN_RUN, live.run_id, live.registry_oid,
                    with_transient=False), ZopeTransaction():
                run = _find(connection, live.ticket)
                if run is not None and self._is_lost(live, run):
                    log.info('Run %s: it was taken over or ended by another '
                             'process', live.run_id)
                    live.abandon()
        return False

    def _is_lost(self, live, run):
        """Return whether another process took the live *run*, or ended it."""
        is_young = live.started_at > clock.now() - LOOK_AFTER
        if run.owner is not None:
            # Until the claim, the owner may be the dead process before.
            return run.owner != self._own.id and not (
                is_young and live.ticket.must_claim)
        # A stop that nobody asked for here was carried out elsewhere.
        return run.isFinished() and (
            not is_young
            or live.stop is None and run.stop_request is not None)

    def rescueAll(self, connection, tickets, is_unrecorded=False):
        """Rescue the runs of *tickets*; return the tickets that are settled.

        *is_unrecorded*: these are runs of this process whose end could not be
        written.
        """
        by_key = {(ticket.run_id, ticket.registry_oid): ticket
                  for ticket in tickets}
        done = self._troubles.doEach(
            FAILING_RESCUE, list(by_key),
            lambda *key: self._rescue_if_lost(
                connection, by_key[key], is_unrecorded),
            self._own.note('rescue'))
        settled = [by_key[key] for key in done]
        with ZopeTransaction():
            sorter = self._make_sorter(connection)
            for ticket in settled:
                if is_unrecorded:
                    self._runs.backlog.isAway(ticket)   # no longer here
                self._settle(connection, sorter, ticket)
        return settled

    def _settle(self, connection, sorter, ticket):
        """Let a rescued run wait here, if the home of its lane is here."""
        registry = process.findRegistry(connection, ticket.registry_oid)
        if registry is None:
            return
        births = registry.lanes[ticket.lane].births
        found, what = sorter.sort(ticket.place, ticket.serial, births)
        if what in (AWAY, LOST):
            return
        self._get_executor().returned(ticket, births.get(ticket.serial))
        if what == READY:
            # It is claimed before it works, so that a further death of its
            # process is counted.
            found = found._replace(must_claim=True)
        if self._runs.backlog.isHome(ticket.place):
            self._runs.backlog.settle(found, what)

    def _rescue_if_lost(self, connection, ticket, is_unrecorded):
        # Meanwhile the run may have been ended, removed or taken.
        run = _find(connection, ticket)
        if run is None or run.isFinished():
            return
        if is_unrecorded:
            is_lost = run.owner in (None, self._own.id)
        else:
            registry = process.findRegistry(connection, ticket.registry_oid)
            is_lost = self._make_sorter(connection).sort(
                ticket.place, ticket.serial,
                registry.lanes[ticket.lane].births)[1] == LOST
        if is_lost:
            registry = process.findRegistry(connection, ticket.registry_oid)
            if run.owner == self._own.id and run.state == PENDING and (
                    not is_unrecorded):
                run.putBack()   # it was taken, and cannot begin yet
                return
            self._keep_attempt(connection, registry, run, is_unrecorded)
            self._rescue(registry, run)

    def _keep_attempt(self, connection, registry, run, is_unrecorded):
        """Record what is known of the lost attempt."""
        if run.state != RUNNING and not (
                is_unrecorded or run.id in registry.stops):
            return   # it was taken, but did not begin
        outcome, ended_at = GONE, clock.now()
        ended = run.owner and process.getDirectory(connection).findEnded(
            run.owner)
        if ended:
            outcome, ended_at = ended.how, ended.ended_at
            ended.leave((registry._p_oid, run.id))
        elif is_unrecorded or run.owner == self._own.id:
            outcome = UNRECORDED
        owner = run.owner or (self._own.id if is_unrecorded else None)
        attempts.add(
            run, Attempt(readNumber(run.started_at), ended_at, owner, outcome),
            attempts.logOf(run))

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
            # Only attempts that end with an error are counted.
            run.giveBack(interruptions=count)
            self._announce(RunRequeuedEvent(run, registry))
        elif state == FAILED:
            registry.finish(
                run, FAILED, RunFailedEvent, self._announce,
                interruptions=count,
                error=('ProcessDied', 'its process ended %d times while it '
                       'ran' % count))
        else:
            registry.finish(run, INTERRUPTED, RunInterruptedEvent,
                            self._announce, interruptions=count,
                            stop_request=stop)
            if stop is not None:
                del registry.stops[run.id]


def _find(connection, ticket):
    registry = process.findRegistry(connection, ticket.registry_oid)
    return registry and registry.getRun(ticket.lane, ticket.serial)
