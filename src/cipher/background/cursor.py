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
from persistent import Persistent


class Cursor(Persistent):
    """Who consumes a lane, and the serial from which it has to look."""

    def __init__(self):
        self.owner = None
        self.position = 1

    def __getstate__(self):
        return self.owner, self.position

    def __setstate__(self, state):
        self.owner, self.position = state


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
        self.serials.discard(self.tree.pop(key))

    def walk(self, below):
        """Yield the serials under *below*, the greatest first."""
        while self.serials:
            try:
                serial = self.serials.maxKey(below - 1)
            except ValueError:
                return
            yield serial
            below = serial
