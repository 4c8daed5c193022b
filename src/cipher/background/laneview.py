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
"""What a process knows of one lane: plain sets, no lock.

A run is *here* while it waits or works in this process.  The cursor of the
lane stays below it until an entry in the database stands for it: in the
lane's ``Due``, where it waits for its time, or on its ``Shelf``.  Entries, as
they are told here and to `shelves`::

    float           Due, to be written: when it is due
    int             Due, written: its key
    (name, key)     Shelf: type name and `cursor.shelfKey`
"""
import itertools


#: So many serials the cursor may stay behind what is looked at.  Beyond, those
#: that keep it back are put on the shelf, if they are few.
LAG = 1000


class LaneView:
    """How far one lane is known."""

    def __init__(self, position, inherited_below, is_guest=False):
        self.scanned = position       # serials below are known
        self.inherited_below = inherited_below   # 0: nothing is inherited
        self.is_guest = is_guest   # another process consumes the lane
        self.is_leaving = False    # another process is about to consume it
        self.here = set()     # serials
        self.waiting = {}     # serial -> ticket that nobody has begun
        self.begun = {}       # serial -> ticket that somebody has begun
        self.refused = []     # tickets that nobody may begin for now
        self.moving = {}      # serial -> entry to write instead of a ticket
        self.noted = {}       # serial -> written entry, of others here
        self.stale = {}       # serial -> written entry of what is finished

    def isWaiting(self, ticket):
        """Return whether nobody has begun *ticket*, and somebody may."""
        # An equal one may be of an earlier time, when the lane was ours too.
        return self.waiting.get(ticket.serial) is ticket

    def isKnown(self, serial):
        """Return whether the run is here, or is finished."""
        return serial in self.here or serial in self.stale

    def takeRefused(self):
        """Return the tickets that were refused, and forget that."""
        refused, self.refused = self.refused, []
        return [ticket for ticket in refused if self.isWaiting(ticket)]

    def takeOver(self, guest):
        """Take over what the view *guest* knows: the lane is ours now."""
        self.here.update(guest.here)
        self.waiting.update(guest.waiting)
        self.begun.update(guest.begun)
        self.refused.extend(guest.refused)
        self.noted.update(guest.noted)

    def leave(self, ticket, entry):
        """*ticket*, which was waiting, is to wait in the database."""
        del self.waiting[ticket.serial]
        if self.is_guest:
            self.finish(ticket.serial)   # it stands on the shelf already
        else:
            self.moving[ticket.serial] = entry

    def finish(self, serial):
        """There is nothing more to do for that run."""
        self.here.discard(serial)
        self.moving.pop(serial, None)
        entry = self.noted.pop(serial, None)
        if entry is not None and not self.is_guest:
            self.stale[serial] = entry

    # What the database is told

    def changes(self, limit):
        """Return at most *limit* entries each (new, old): write and remove.

        Both are lists of (serial, entry).
        """
        new = list(itertools.islice(self.moving.items(), limit))
        old = [(serial, self.noted[serial]) for serial, entry in new
               if self.noted.get(serial, entry) != entry]
        old += itertools.islice(self.stale.items(), limit)
        return new, old

    def written(self, new, old):
        """These changes are committed."""
        for serial, _ in old:
            self.noted.pop(serial, None)
            self.stale.pop(serial, None)
        for serial, entry in new:
            if self.moving.get(serial) == entry:
                del self.moving[serial]
                self.here.discard(serial)
                self.noted.pop(serial, None)

    def note(self, serial, entry):
        """*entry* is committed; it stands for a run that stays here."""
        if serial in self.here:
            self.noted[serial] = entry
        else:
            self.stale[serial] = entry   # finished meanwhile

    def position(self):
        """Return the least serial that nothing in the database stands for."""
        # What is here may lie beyond what was scanned.
        return min(self.scanned, min(self._loose(), default=self.scanned))

    def _loose(self):
        return self.here.difference(self.noted)

    def stragglers(self, limit):
        """Return at most *limit* serials that alone keep the cursor back."""
        loose = self._loose().difference(self.moving)
        first = min(loose, default=self.scanned)
        # Where there are many of them, they would gain nothing.
        if (self.scanned - first <= LAG
                or 2 * len(loose) > self.scanned - first):
            return []
        return [serial for serial in sorted(loose)[:limit]
                if serial < self.scanned - LAG]
