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
"""The consumer's part of a lane: what has been looked at, what is due.

Pickles name the classes of this module: they stay here.
"""
from BTrees.LLBTree import LLBTree
from BTrees.LLBTree import LLTreeSet
from BTrees.OOBTree import OOBTree
from persistent import Persistent


class Cursor(Persistent):
    """Who consumes a lane, and the serial from which it has to look."""

    def __init__(self):
        self.owner = None
        self.position = 1
        self.shelf = None   # Shelf, from when one was needed on

    def __getstate__(self):
        return self.owner, self.position, self.shelf

    def __setstate__(self, state):
        self.owner, self.position, self.shelf = state

    def getShelf(self):
        """Return the `Shelf` to write, a new one if need be."""
        if self.shelf is None:
            self.shelf = Shelf()
        return self.shelf


class Due(Persistent):
    """Runs of a lane that wait for their time; written by its consumer."""

    def __init__(self):
        self.tree = LLBTree()   # due_at in microseconds, unique -> serial
        self.serials = LLTreeSet()   # the same, for lists

    def __getstate__(self):
        return self.tree, self.serials

    def __setstate__(self, state):
        self.tree, self.serials = state

    def add(self, due_at, serial):
        """Note that the run *serial* waits until *due_at*."""
        key = int(due_at * 1000000)
        while key in self.tree:
            if self.tree[key] == serial:
                return   # a process before this one noted it already
            key += 1
        self.tree[key] = serial
        self.serials.insert(serial)

    def upTo(self, now):
        """Yield (key, serial) of what is due at *now*, the earliest first."""
        if self.tree:
            yield from self.tree.items(max=int(now * 1000000))

    def remove(self, key):
        """Forget the entry *key*."""
        serial = self.tree.pop(key, None)
        if serial is not None:
            self.serials.discard(serial)

    def walk(self, below):
        """Yield the serials under *below*, the greatest first."""
        return _walk(self.serials, below)


#: A key of a shelf holds the priority above so many bits of the serial.
_SERIAL_BITS = 43
_MOST = 2 ** (62 - _SERIAL_BITS)


def shelfKey(priority, serial):
    """Return the key of a run on a shelf: the urgent first, then the old."""
    return -max(-_MOST, min(_MOST, priority)) << _SERIAL_BITS | serial


def serialOf(key):
    """Return the serial that a key of a shelf stands for."""
    return key & (1 << _SERIAL_BITS) - 1


class Shelf(Persistent):
    """Runs that the cursor of a lane has passed though they are not finished.

    They cannot begin for the time being, or take longer than the cursor
    waits.  Written by the consumer of the lane.
    """

    def __init__(self):
        self.types = OOBTree()       # type name -> LLTreeSet of shelfKey
        self.serials = LLTreeSet()   # the same, for lists

    def __getstate__(self):
        return self.types, self.serials

    def __setstate__(self, state):
        self.types, self.serials = state

    def add(self, name, key):
        """Put a run of the type *name* there; it may be there already."""
        keys = self.types.get(name)
        if keys is None:
            keys = self.types[name] = LLTreeSet()
        keys.insert(key)
        self.serials.insert(serialOf(key))

    def remove(self, name, key):
        """Take a run away, if it is there."""
        keys = self.types.get(name)
        if keys is None:
            return
        keys.discard(key)
        self.serials.discard(serialOf(key))
        if not keys:
            del self.types[name]

    def keys(self, name, after=None):
        """Yield the keys of a type behind the key *after*, in order."""
        keys = self.types.get(name)
        if keys:
            yield from keys.keys(after, excludemin=after is not None)

    def walk(self, below):
        """Yield the serials under *below*, the greatest first."""
        return _walk(self.serials, below)


def _walk(serials, below):
    while serials:
        try:
            serial = serials.maxKey(below - 1)
        except ValueError:
            return
        yield serial
        below = serial
