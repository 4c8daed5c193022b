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
"""The notes of a lane's home: its place in the lane, and runs that wait.

Every unfinished run of a lane is at or above the low mark of its `Bookmark`,
among the stragglers there, or in its `Waiting`.  The home alone writes both.
"""
from BTrees.LLBTree import LLBTree
from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree
from persistent import Persistent


class Bookmark(Persistent):
    """The place that the home of a lane has reached."""

    def __init__(self):
        self.home = None       # id of the last process that was the home
        self.low = 1           # the low mark, a serial
        self.stragglers = ()   # serials of unfinished runs under the low mark

    def __getstate__(self):
        return self.home, self.low, self.stragglers

    def __setstate__(self, state):
        self.home, self.low, self.stragglers = state


#: The condition that a run waits for: the first part of a key of `Waiting`.
#: The second part is the name of the worker type, and '' for `DUE`.
DUE = 'due'       # its time
PAUSE = 'pause'   # the end of the pause of its type
TYPE = 'type'     # a process that declares its type
LIMIT = 'limit'   # a slot of its type
KEPT = 'kept'     # the decision of an administrator; see `kept`

FOR_TIME = DUE, ''

#: Bits of the serial in an order; the priority is above them.  Together they
#: fit into the 64 bits of a key of an LLBTree.
_SERIAL_BITS = 43
_MOST = 2 ** (62 - _SERIAL_BITS)


def orderOf(priority, serial):
    """Return a number that sorts runs: by priority, then by serial."""
    return -max(-_MOST, min(_MOST, priority)) << _SERIAL_BITS | serial


def urgencyOf(order):
    """Return the part of *order*, of `orderOf`, that holds the priority."""
    return order >> _SERIAL_BITS


class Waiting(Persistent):
    """Runs of a lane that cannot begin yet, by the key that they wait for.

    A run has one entry at most.  The entry stays until the run is finished or
    waits for something else.
    """

    def __init__(self):
        # key (condition, type name) -> {order: serial}.  The order of runs
        # that wait for their time is that time in microseconds, made unique.
        self.trees = OOBTree()
        self.places = LOBTree()   # serial -> (key, order) of its entry

    def __getstate__(self):
        return self.trees, self.places

    def __setstate__(self, state):
        self.trees, self.places = state

    def add(self, key, order, serial):
        """Let the run *serial* wait for *key* alone."""
        old = self.places.get(serial)
        if old is not None:
            if old == (key, order):
                return
            self.remove(serial)
        tree = self.trees.get(key)
        if tree is None:
            tree = self.trees[key] = LLBTree()
        while order in tree:
            order += 1
        tree[order] = serial
        self.places[serial] = key, order

    def remove(self, serial):
        """Remove the entry of the run *serial*, if there is one."""
        key, order = self.places.pop(serial, (None, None))
        tree = self.trees.get(key) if key is not None else None
        if tree is not None:
            tree.pop(order, None)
            if not tree:
                del self.trees[key]

    def upTo(self, now):
        """Yield the serials of runs that are due at *now*, in order."""
        tree = self.trees.get(FOR_TIME)
        if tree:
            yield from tree.values(max=int(now * 1000000))

    def serials(self, key, after=None):
        """Yield (order, serial) of runs that wait for *key*.

        Begin behind the order *after*, if it is given.
        """
        tree = self.trees.get(key)
        if tree:
            yield from tree.items(after, excludemin=after is not None)

    def walk(self, below):
        """Yield the serials of waiting runs under *below*, greatest first."""
        while self.places:
            try:
                serial = self.places.maxKey(below - 1)
            except ValueError:
                return
            yield serial
            below = serial
