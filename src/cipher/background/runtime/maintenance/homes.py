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
"""Choose the home of each lane: the process that begins its runs.

The home of a lane is the process that writes it, if that process lives and
begins new runs.  Otherwise a hash chooses one of the processes that do.  The
home is only a preference: any process may begin a run that it has claimed,
and the fence lets one of them finish it.

The `cursor.Cursor` of a lane names its home.  So one process at a time writes
the cursor and the waiting tree, and a death is noticed.  A living home leaves
a lane by itself.  The same commit records the runs of the lane that it still
works on as live.
"""
import zlib

from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.store.lanepool import getPool
from cipher.background.store.process import Living
from cipher.background.store.process import getDirectory


#: Lanes of this process beyond one for each thread.  So many transactions of
#: other threads, as those of the web server, start runs without a conflict.
SPARE_LANES = 4


def preferredHome(place, lane, takers):
    """Return which of *takers*, process ids, is to be the home of *lane*.

    Return None if there are none.
    """
    if lane.writer.id in takers:
        return lane.writer.id
    oid, number = place
    return max(takers, default=None, key=lambda taker: zlib.crc32(
        b'%s %d %s' % (taker.encode(), number, oid)))


class Homes:
    """The lanes whose home is one runtime."""

    def __init__(self, runtime, tell):
        self._runtime = runtime
        self._tell = tell     # writes what is live into our record

    def turn(self, connection):
        """Become the home of lanes that are ours now, and leave others."""
        if not self._runtime.threads:
            return False
        self._lease(connection)
        return self._choose(connection)

    def _choose(self, connection):
        runtime = self._runtime
        backlog = runtime.backlog
        added, left = [], []
        with ZopeTransaction(note=runtime.note('homes')):
            directory = getDirectory(connection)
            living = Living(directory, runtime.id, runtime.is_taking)
            known = set(backlog.lanes())
            found = set()
            for registry in directory.listRegistries():
                oid = registry._p_oid
                for lane in registry.lanes.values():
                    place = oid, lane.number
                    found.add(place)
                    self._choose_home(
                        place, lane, living, place in known, added, left)
            for place in known - found:
                backlog.dropLane(place)   # its registry is gone
            if left:
                self._leave(connection, left)
        for lane in added:
            backlog.addLane(*lane)
        return bool(added)

    def _choose_home(self, place, lane, living, is_known, added, left):
        cursor = lane.cursor
        me = self._runtime.id
        preferred = preferredHome(place, lane, living.takers)
        if cursor.home == me:
            if preferred not in (me, None):
                left.append((place, lane))
            elif not is_known:
                # The reply to the commit that made us the home was lost.
                added.append(self._arguments(place, lane, True))
        else:
            if is_known:
                self._runtime.backlog.dropLane(place)
            if preferred == me and cursor.home not in living.ids:
                added.append(self._arguments(
                    place, lane, cursor.home is not None))
                cursor.home = me

    def _arguments(self, place, lane, is_suspect):
        cursor = lane.cursor
        return (place, cursor.low, cursor.stragglers,
                lane.births.next_serial, is_suspect)

    def _leave(self, connection, left):
        # The order matters: a thread must get no ticket of the lane after its
        # live runs are recorded.
        for place, lane in left:
            position = self._runtime.backlog.position(place)
            self._runtime.backlog.dropLane(place)
            lane.cursor.home = None
            if position is not None:
                lane.cursor.low, lane.cursor.stragglers = position
        self._tell(connection)

    # Lanes to write

    def _lease(self, connection):
        """Lease as many lanes as transactions of this process write at once.
        """
        runtime = self._runtime
        if not runtime.is_taking:
            return
        with ZopeTransaction(note=runtime.note('lanes')):
            for registry in getDirectory(connection).listRegistries():
                getPool(runtime.db, registry._p_oid).leaseLanes(
                    registry, runtime.threads + SPARE_LANES)
