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
"""Pass the slot of an ending run on to the next run of its limited type.

The commit that ends the run also claims the next one, which saves a commit.
The price is a risk: a commit that writes the next run at the same moment
makes the ending work conflict, and it is done again.  A fresh look at the
next run keeps that moment short.  Long work does not take the risk; it only
frees its slot.
"""
import transaction

from cipher.background.declarations.workertype import nameOf
from cipher.background.declarations.workertype import nameToday
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import PENDING
from cipher.background.store.bookmark import LIMIT
from cipher.background.store.conditions import waitsFor
from cipher.background.store.process import findRegistry
from cipher.background.store.slots import findSlot
from cipher.background.util import clock
from cipher.background.util.host import getHost
from cipher.background.util.transient import isTransient
from cipher.background.work.loop import WorkLoop


#: Seconds.  Work that took longer only frees its slot: repeating it after a
#: conflict would cost more than the commit that passing on saves.
SHORT = 1.0


class Passing:
    """The slot of one live run.  Only the worker's thread calls it.

    The claim of the next run and the end of this one are one commit.
    """

    def __init__(self, live):
        self._live = live
        self._next = None   # ticket of the run that gets the slot

    def passOn(self, connection):
        """Give the slot to the next run, in the open transaction.

        Do nothing unless this process knows a run that is next and may begin.
        """
        live, runtime = self._live, self._live.runtime
        if not self._may_pass():
            return
        name = nameOf(live.worker_type)
        slot = findSlot(connection, name, live.ticket[:3])
        if slot is None:
            return
        ticket = self._next = runtime.backlog.passOn(name)
        if ticket is None:
            return
        run = self._find(connection, ticket)
        if run is None:
            # It stays the next one of its type.  The end of this run lets it
            # try to begin, and then a thread finds its state.
            self._next = None
            runtime.backlog.park(ticket, (LIMIT, name))
            return
        slot.place = ticket[:3]
        epoch = run.claim(live.owner, clock.now(),
                          live.worker_type.on_interrupt == FAIL)
        # The commit may succeed even if its reply is lost.
        runtime.noteClaim(ticket, epoch)

    def _find(self, connection, ticket):
        """Return the run of *ticket* if it may begin now, or None."""
        live = self._live
        try:
            run = _find_waiting(connection, ticket, live.runtime.begins)
            return run if (
                run is not None
                # Else a thread here goes on with it, though it was lost.
                and live.runtime.findLive(
                    ticket.registry_oid, ticket.run_id) is None
                and nameToday(run.type) == nameOf(live.worker_type)
                and run.owner in (None, live.owner)
                and _is_current(connection, run)) else None
        except Exception as error:
            if isTransient(error, live.runtime.db):
                raise
            return None   # a broken record is not a failure of this work

    def _may_pass(self):
        live = self._live
        worker_type = live.worker_type
        if worker_type is None or worker_type.max_running is None or (
                worker_type.is_loop):
            return False
        if live.worker is not None and (
                type(live.worker).doCleanup is not WorkLoop.doCleanup):
            return False   # the cleanup still counts as work of the slot
        return (live.runtime.is_taking and live.runtime.executor.takes
                and 0.0 <= clock.now() - live.started_at <= SHORT)

    def takeBack(self):
        """Undo `passOn` after a try of the end that was not committed."""
        ticket, self._next = self._next, None
        if ticket is not None:
            backlog = self._live.runtime.backlog
            self._live.runtime.forgetClaim(ticket)
            backlog.park(ticket, (LIMIT, nameOf(self._live.worker_type)))

    def end(self):
        """Settle the next run; return whether it got the slot.

        To be called when the run has ended.
        """
        ticket, self._next = self._next, None
        if ticket is None:
            return False
        live, runtime = self._live, self._live.runtime
        if live.is_lost or live.is_abandoned or live.is_unrecorded:
            runtime.doubt(ticket)
        else:
            runtime.backlog.passed(ticket)
        return True


def _find_waiting(connection, ticket, begins):
    """Return the run of *ticket* if it is pending and may begin, or None."""
    registry = findRegistry(connection, ticket.registry_oid)
    if registry is None or not getHost().isInPlace(registry):
        return None
    run = registry.getRun(ticket.lane, ticket.serial)
    if run is None or run.state != PENDING or run.id in registry.stops or (
            waitsFor(registry, run, begins) is not None):
        return None
    return run


def _is_current(connection, run):
    """Return whether *run* was not written since the work began."""
    manager = transaction.TransactionManager(explicit=True)
    fresh = connection.db().open(manager)
    try:
        manager.begin()
        found = fresh.get(run._p_oid)
        found._p_activate()
        return found._p_serial == run._p_serial
    finally:
        manager.abort()
        fresh.close()
