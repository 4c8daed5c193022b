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

The `bookmark.Bookmark` of a lane names its home.  So one process at a time
writes the bookmark and the waiting tree, and a death is noticed.  A living
home leaves a lane by itself.  The same commit records the runs of the lane
that it still works on as live.
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
    """The lanes whose home is the process *own*, which *backlog* has.

    *admission* decides whether it takes lanes.  *report_live* is called with
    the connection when it leaves some: it writes the runs that are live into
    the record of the process.
    """

    def __init__(self, own, backlog, admission, report_live):
        self._own = own
        self._backlog = backlog
        self._admission = admission
        self._report_live = report_live

    def turn(self, connection):
        """Become the home of lanes that are ours now, and leave others."""
        if not self._own.threads:
            return False
        self._become_writer(connection)
        return self._choose(connection)

    def _choose(self, connection):
        own, backlog = self._own, self._backlog
        added, left = [], []
        with ZopeTransaction(note=own.note('homes')):
            directory = getDirectory(connection)
            living = Living(directory, own.id, self._admission.is_taking)
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
        bookmark = lane.bookmark
        me = self._own.id
        preferred = preferredHome(place, lane, living.takers)
        if bookmark.home == me:
            if preferred not in (me, None):
                left.append((place, lane))
            elif not is_known:
                # The reply to the commit that made us the home was lost.
                added.append(self._arguments(place, lane, True))
        else:
            if is_known:
                self._backlog.dropLane(place)
            if preferred == me and bookmark.home not in living.ids:
                added.append(self._arguments(
                    place, lane, bookmark.home is not None))
                bookmark.home = me

    def _arguments(self, place, lane, is_suspect):
        bookmark = lane.bookmark
        return (place, bookmark.low, bookmark.stragglers,
                lane.births.next_serial, is_suspect)

    def _leave(self, connection, left):
        # The order matters: a thread must get no ticket of the lane after its
        # live runs are recorded.
        for place, lane in left:
            position = self._backlog.position(place)
            self._backlog.dropLane(place)
            lane.bookmark.home = None
            if position is not None:
                lane.bookmark.low, lane.bookmark.stragglers = position
        self._report_live(connection)

    # Lanes to write

    def _become_writer(self, connection):
        """Become the writer of as many lanes as transactions write at once.
        """
        own = self._own
        if not self._admission.is_taking:
            return
        with ZopeTransaction(note=own.note('lanes')):
            for registry in getDirectory(connection).listRegistries():
                getPool(own.db, registry._p_oid).becomeWriter(
                    registry, own.threads + SPARE_LANES)
