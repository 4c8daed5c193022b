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
"""What the home of a lane keeps of it: how far it came, and what waits.

Every unfinished run of a lane is at or above the low mark of its `Cursor`,
among the stragglers there, or in its `Waiting`.  The home alone writes both.

Pickles name the classes of this module: they stay here.
"""
from BTrees.LLBTree import LLBTree
from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree
from persistent import Persistent


class Cursor(Persistent):
    """How far the home of a lane came."""

    def __init__(self):
        self.home = None       # id of the process that was home last
        self.low = 1           # serial
        self.stragglers = ()   # unfinished serials under the low mark

    def __getstate__(self):
        return self.home, self.low, self.stragglers

    def __setstate__(self, state):
        self.home, self.low, self.stragglers = state


#: What a run waits for: the first part of a key of `Waiting`.  The second
#: one is the name of the worker type, for `DUE` the empty text.
DUE = 'due'       # its time
PAUSE = 'pause'   # the end of the pause of its type
TYPE = 'type'     # a process that knows its type
LIMIT = 'limit'   # a place among those that may run at a time
KEPT = 'kept'     # what an administrator decides: it came with a copy

FOR_TIME = DUE, ''

#: The order of a run holds the priority above so many bits of the serial.
_SERIAL_BITS = 43
_MOST = 2 ** (62 - _SERIAL_BITS)


def orderOf(priority, serial):
    """Return the order of a run: the urgent first, then the old."""
    return -max(-_MOST, min(_MOST, priority)) << _SERIAL_BITS | serial


def urgencyOf(order):
    """Return the part of an `orderOf` that stands for the priority."""
    return order >> _SERIAL_BITS


class Waiting(Persistent):
    """Runs of a lane that cannot begin for now, by what they wait for.

    An entry stays until its run is finished or waits for something else.
    """

    def __init__(self):
        # (what for, type name) -> {order: serial}; the order of those that
        # wait for their time is that time in microseconds, made unique.
        self.trees = OOBTree()
        self.places = LOBTree()   # serial -> (key, order) of its one entry

    def __getstate__(self):
        return self.trees, self.places

    def __setstate__(self, state):
        self.trees, self.places = state

    def add(self, key, order, serial):
        """Let the run *serial* wait for *key*, and for nothing else."""
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
        """Forget the entry of that run, if there is one."""
        key, order = self.places.pop(serial, (None, None))
        tree = self.trees.get(key) if key is not None else None
        if tree is not None:
            tree.pop(order, None)
            if not tree:
                del self.trees[key]

    def upTo(self, now):
        """Yield the serials whose time has come at *now*, in order."""
        tree = self.trees.get(FOR_TIME)
        if tree:
            yield from tree.values(max=int(now * 1000000))

    def serials(self, key, after=None):
        """Yield (order, serial) of what waits for *key*, behind *after*."""
        tree = self.trees.get(key)
        if tree:
            yield from tree.items(after, excludemin=after is not None)

    def walk(self, below):
        """Yield the serials under *below*, the greatest first."""
        while self.places:
            try:
                serial = self.places.maxKey(below - 1)
            except ValueError:
                return
            yield serial
            below = serial
