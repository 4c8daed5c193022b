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
"""Look at the new births of dirty lanes, and make tickets of them.

Executor threads and the control thread look, one at a time.
"""
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import FAILING_STEP
from cipher.background.runtime.queue.backlog import AWAY
from cipher.background.runtime.queue.backlog import READY
from cipher.background.runtime.queue.sorting import LOST
from cipher.background.store.lifecycle import backOff
from cipher.background.store.process import findRegistry


#: Seconds.  The pause after failures in a row grows up to this, which is how
#: long new runs may wait after the storage is back.
FAILURE_PAUSE = 5.0

#: The name under which its troubles are shown.
STEP = 'new runs'

#: Births that one transaction looks at.  More would keep the thread too long
#: from the tickets that it has found.
BATCH = 2000


#: Runs that a look leaves in the cache, the first ones that it finds.  It
#: releases the others, so that the objects of the application stay there.
KEPT = 16


class Poller:
    """Looks into the lanes whose home is the process *own*.

    *make_sorter* returns the `Sorter` of a connection.  *request_rescue* is
    called when a look has found a lost run.
    """

    def __init__(self, own, backlog, troubles, make_sorter, request_rescue):
        self._own = own
        self._backlog = backlog
        self._troubles = troubles
        self._make_sorter = make_sorter
        self._request_rescue = request_rescue
        self._failures = 0   # in a row

    def next(self, door):
        """Look at the dirty lanes; return the next ticket, or None.

        If this look found the run of the ticket, *door*, a `Door`, is left
        open for the work, with ``door.found``.  Otherwise it is closed.
        """
        found = {}
        self._try(lambda left: self._look(door.open(), left, found))
        ticket = self._backlog.poll()
        if ticket in found:
            door.found = found[ticket]
        else:
            # A later look may have found it.  Then this snapshot does not have
            # its run yet, and the run would be taken for a removed one.
            door.close()
        return ticket

    def lookAtAll(self, connection):
        """Look at all lanes; return whether there is more to look at.

        Only the control thread calls this.  No hook reports the births of
        other processes, so it looks from time to time.
        """
        def look(left):
            with ZopeTransaction():
                self._look(connection, left, {})

        return self._try(look, at_all=True)

    def _try(self, look, at_all=False):
        """Call *look* with the set of dirty places; return if some are left.

        *look* removes a place from the set when it has its tickets.  What is
        left after it, or after an error, is dirty again.
        """
        backlog = self._backlog
        dirty = backlog.beginLook(at_all)
        if dirty is None:
            return False
        left, pause = set(dirty), 0.0
        try:
            if dirty:
                # Its snapshot begins after the places were marked, so it
                # contains their births.
                look(left)
            self._failures = 0
            self._troubles.settle(FAILING_STEP, STEP)
        except BaseException as error:
            # This catches a SystemExit, too: other runs need the thread.
            self._failures += 1
            pause = backOff(self._failures, cap=FAILURE_PAUSE)
            self._troubles.note(error, FAILING_STEP, STEP)
        finally:
            backlog.endLook(left, pause, is_worker=not at_all)
        return bool(left) and not pause

    def _look(self, connection, left, ready):
        # The tickets that may begin are added to *ready*, a dict, each with
        # (registry, run).
        sorter = self._make_sorter(connection)
        troubles = self._troubles
        for place in list(left):
            is_more = False
            key = FAILING_STEP, '%s of lane %d' % (STEP, place[1]), place[0]
            # As `Troubles.guard`, which takes longer.
            try:
                is_more = self._look_at(connection, sorter, place, ready)
            except BaseException as error:
                # The poll looks again at a lane that cannot be loaded.
                if not troubles.guarded(error, key, with_transient=False):
                    raise
            else:
                troubles.settle(*key)
            if not is_more:
                left.discard(place)

    def _look_at_one(self, sorter, registry, place, only, ready):
        """Look at the one new run of a lane; return whether it is there.

        The births need not be loaded for it, which takes longer than all the
        rest of the look.
        """
        serial, oid = only
        found = sorter.sortOne(place, serial, oid)
        if found is None:
            return False
        ticket, what, run = found
        if what == READY:
            ready[ticket] = registry, run
        is_lost = what == LOST
        self._backlog.seen(
            place, [(serial, ticket, AWAY if is_lost else what)])
        if is_lost:
            self._request_rescue()
        return True

    def _look_at(self, connection, sorter, place, ready):
        """Look at one batch of a lane; return whether there is more."""
        oid, number = place
        registry = findRegistry(connection, oid)
        lane = registry and registry.lanes.get(number)
        if lane is None or lane.bookmark.home != self._own.id:
            return False   # the control thread will notice
        only = self._backlog.takeOnly(place)
        if only is not None and self._look_at_one(
                sorter, registry, place, only, ready):
            return False
        births = lane.births
        serials = self._backlog.toLook(place, births.next_serial)
        found = []
        is_lost = False
        try:
            for serial in serials[:BATCH]:
                ticket, what, run = sorter.find(place, serial, births)
                if what == LOST:
                    is_lost, what = True, AWAY
                elif what == READY:
                    ready[ticket] = registry, run
                found.append((serial, ticket, what))
                if len(found) > KEPT and run is not None:
                    run._p_deactivate()
        finally:
            # This keeps what was found before an error.
            self._backlog.seen(place, found)
        if is_lost:
            self._request_rescue()
        return len(serials) > BATCH
