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
"""The end of a run of a limited type passes its slot on to the next one.

By its own commit, so that the next run needs none to begin.  That writes the
next run, so a commit that writes that run at the same moment makes the work
that ends conflict and be done again.  A fresh look keeps that moment short.
Long work only frees its slot: it is not put at risk to save a commit.
"""
import transaction

from cipher.background.declarations.workertype import nameOf
from cipher.background.declarations.workertype import nameToday
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import PENDING
from cipher.background.store.conditions import waitsFor
from cipher.background.store.cursor import LIMIT
from cipher.background.store.process import findRegistry
from cipher.background.store.slots import findSlot
from cipher.background.util import clock
from cipher.background.util.reference import isInPlace
from cipher.background.util.transient import isTransient
from cipher.background.work.loop import WorkLoop


#: Seconds.  What has worked for longer only frees its slot.
SHORT = 1.0


class Passing:
    """What becomes of the slot of one live run.  For the worker's thread.

    The claim of the next run is in the commit of the end: both are there, or
    neither.
    """

    def __init__(self, live):
        self._live = live
        self._next = None   # ticket of the run that gets the slot

    def passOn(self, connection):
        """Let the next run have the slot, in the open transaction.

        If there is one that may begin, and that is next for all this process
        knows.
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
            # The look of a thread says what is with it.
            self._next = None
            runtime.backlog.later(ticket, 0.0)
            return
        slot.place = ticket[:3]
        epoch = run.claim(runtime.id, clock.now(),
                          live.worker_type.on_interrupt == FAIL)
        # The commit may get through though nobody says so.
        runtime.noteClaim(ticket, epoch)

    def _find(self, connection, ticket):
        """Return the run of *ticket* if it may begin now, or None."""
        live = self._live
        try:
            run = _find_waiting(connection, ticket)
            return run if (
                run is not None
                and nameToday(run.type) == nameOf(live.worker_type)
                and run.owner in (None, live.runtime.id)
                and _is_current(connection, run)) else None
        except Exception as error:
            if isTransient(error, live.runtime.db):
                raise
            return None   # a broken record is no failure of this work

    def _may_pass(self):
        live = self._live
        worker_type = live.worker_type
        if worker_type is None or worker_type.max_running is None or (
                worker_type.is_loop):
            return False
        if live.worker is not None and (
                type(live.worker).doCleanup is not WorkLoop.doCleanup):
            return False   # it is not over yet for those beside it
        return (live.runtime.is_taking and live.runtime.executor.takes
                and 0.0 <= clock.now() - live.started_at <= SHORT)

    def takeBack(self):
        """An earlier try of the end surely was not committed."""
        ticket, self._next = self._next, None
        if ticket is not None:
            backlog = self._live.runtime.backlog
            self._live.runtime.forgetClaim(ticket)
            backlog.park(ticket, (LIMIT, nameOf(self._live.worker_type)))

    def end(self):
        """The run has ended; return whether its slot was passed on."""
        ticket, self._next = self._next, None
        if ticket is None:
            return False
        live, runtime = self._live, self._live.runtime
        if live.is_lost or live.is_abandoned or live.is_unrecorded:
            runtime.doubt(ticket)
        else:
            runtime.backlog.passed(ticket)
        return True


def _find_waiting(connection, ticket):
    """Return the run of *ticket* if it is pending and may begin, or None."""
    registry = findRegistry(connection, ticket.registry_oid)
    if registry is None or not isInPlace(registry):
        return None
    run = registry.getRun(ticket.lane, ticket.serial)
    if run is None or run.state != PENDING or run.id in registry.stops or (
            waitsFor(registry, run) is not None):
        return None
    return run


def _is_current(connection, run):
    """Return whether nobody has written *run* since the work began."""
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
