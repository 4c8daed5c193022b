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
"""Write the bookmarks and waiting trees of the lanes whose home is here.

Only the home of a lane writes these objects.
"""
import time

from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.store.process import findRegistry


#: Entries of one lane that one commit writes at most, so that it stays short.
BATCH = 500

#: Serials.  A low mark that moved by as many is written in the next turn.
MOVED = 64

#: Seconds after which each low mark that moved is written.  It bounds the
#: runs that are looked at again after a crash.
INTERVAL = 10.0


class Bookmarks:
    """Writes the bookmarks and waiting trees of the lanes of one process.

    *own* is the process, *backlog* knows what has changed.
    """

    def __init__(self, own, backlog):
        self._own = own
        self._backlog = backlog
        self._written_at = time.monotonic()   # when all marks were written

    def turn(self, connection):
        """Write entries, and low marks that moved far or long ago."""
        now = time.monotonic()
        is_due = now - self._written_at >= INTERVAL
        is_more = self.write(connection, 1 if is_due else MOVED)
        if is_due:
            self._written_at = now
        return is_more

    def write(self, connection, least=1):
        """Write entries, and low marks that moved by *least* serials.

        Return whether there are more entries.
        """
        backlog = self._backlog
        written = []
        with ZopeTransaction(note=self._own.note('bookmarks')):
            for place, lane in ownLanes(self._own, backlog, connection):
                new, old = backlog.changes(place, BATCH)
                self._write(lane, new, old)
                if new or old:
                    written.append((place, new, old))
                # The mark passes the runs of these entries only in a later
                # turn, when the entries are committed.
                position = backlog.position(place)
                if position is not None:
                    low, stragglers = position
                    writePosition(lane, low, stragglers, least)
        for changes in written:
            backlog.written(*changes)
        return any(len(new) >= BATCH or len(old) >= BATCH
                   for _, new, old in written)

    def _write(self, lane, new, old):
        for serial in old:
            lane.waiting.remove(serial)
        for serial, key, order in new:
            lane.waiting.add(key, order, serial)


def writePosition(lane, low, stragglers, least=1):
    """Write the bookmark of *lane*, if its low mark moved by *least* serials.

    If *least* is 1, write it at any change.
    """
    bookmark = lane.bookmark
    has_moved = low - bookmark.low >= least
    if has_moved or least == 1 and (
            (low, stragglers) != (bookmark.low, bookmark.stragglers)):
        bookmark.low, bookmark.stragglers = low, stragglers


def ownLanes(own, backlog, connection):
    """Yield (place, lane) of the lanes of *backlog* whose home is *own*.

    Lanes that have another home in the open transaction are left out, as they
    must not be written.
    """
    for place in backlog.lanes():
        oid, number = place
        registry = findRegistry(connection, oid)
        lane = registry and registry.lanes.get(number)
        if lane is not None and lane.bookmark.home == own.id:
            yield place, lane
