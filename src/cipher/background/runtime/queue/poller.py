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
"""Looks at new births: from dirty lanes to tickets.

Whoever has something to begin may look: a thread of the executor, or the
control thread.  One looks at a time.
"""
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import FAILING_STEP
from cipher.background.runtime.queue.backlog import AWAY
from cipher.background.runtime.queue.backlog import READY
from cipher.background.runtime.queue.sorting import LOST
from cipher.background.runtime.queue.sorting import Sorter
from cipher.background.store.lifecycle import backOff
from cipher.background.store.process import findRegistry


#: Seconds.  After failures in a row nobody looks for longer.
FAILURE_PAUSE = 5.0

#: What it is called where its troubles are shown.
STEP = 'new runs'

#: So many births are looked at in one transaction.
BATCH = 2000


class Poller:
    """Looks into the lanes whose home is one runtime."""

    def __init__(self, runtime):
        self._runtime = runtime
        self._failures = 0   # in a row

    def next(self, door):
        """Look at all that is dirty; return a ticket if there is one now.

        If this look found its run, *door*, a `Door`, is open for the work.
        """
        found = set()
        self._try(lambda left: self._look(door.open(), left, found))
        ticket = self._runtime.backlog.poll()
        if ticket not in found:
            # It may be of a look that saw more: its run is not there yet in
            # this snapshot, and would be taken for one that was removed.
            door.close()
        return ticket

    def lookAtAll(self, connection):
        """Look as if each lane were dirty; return whether there is more to do.

        For the control thread: no hook knows of the births of other
        processes.
        """
        def look(left):
            with ZopeTransaction():
                self._look(connection, left, set())

        return self._try(look, at_all=True)

    def _try(self, look, at_all=False):
        """Let *look* look at what is dirty; return whether there is more.

        Nothing that is dirty is forgotten before its tickets are there.
        """
        backlog = self._runtime.backlog
        dirty = backlog.beginLook(at_all)
        if dirty is None:
            return False
        left, pause = set(dirty), 0.0
        try:
            if dirty:
                # Its snapshot begins behind the dirt: it shows all of it.
                look(left)
            self._failures = 0
            self._runtime.troubles.settle(FAILING_STEP, STEP)
        except BaseException as error:
            # An exit as well: threads are needed for other runs.
            self._failures += 1
            pause = backOff(self._failures, cap=FAILURE_PAUSE)
            self._runtime.troubles.note(error, FAILING_STEP, STEP)
        finally:
            backlog.endLook(left, pause, is_worker=not at_all)
        return bool(left) and not pause

    def _look(self, connection, left, ready):
        # *ready* gets the tickets that may begin.
        sorter = None
        for place in list(left):
            sorter = sorter or Sorter(self._runtime, connection)
            is_more = False
            # A lane that cannot be loaded is looked at again by the poll.
            with self._runtime.troubles.guard(
                    FAILING_STEP, '%s of lane %d' % (STEP, place[1]),
                    place[0], with_transient=False):
                is_more = self._look_at(
                    connection, sorter, place, ready)
            if not is_more:
                left.discard(place)

    def _look_at(self, connection, sorter, place, ready):
        """Return whether there is more to look at in that lane."""
        runtime = self._runtime
        oid, number = place
        registry = findRegistry(connection, oid)
        lane = registry and registry.lanes.get(number)
        if lane is None or lane.cursor.home != runtime.id:
            return False   # the control thread will notice
        births = lane.births
        serials = runtime.backlog.toLook(place, births.next_serial)
        found = []
        is_lost = False
        try:
            for serial in serials[:BATCH]:
                ticket, what = sorter.sort(place, serial, births)
                if what == LOST:
                    is_lost, what = True, AWAY
                elif what == READY:
                    ready.add(ticket)
                found.append((serial, ticket, what))
        finally:
            # What was found before an error stays found.
            runtime.backlog.seen(place, found)
        if is_lost:
            runtime.requestRescue()
        return len(serials) > BATCH
