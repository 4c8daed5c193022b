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
"""Chunks: what no longer stands in the head of a lane, by key.

A chunk also knows how many of each kind there were in its lane when it was
made.  So a walk passes over the chunks that hold nothing of the kinds it is
after without loading them: it bisects.

Pickles name `Chunk`: it stays here.
"""
import struct

from persistent import Persistent


#: Entries that a head holds before they go into a chunk.  The head is
#: written whole each time, the tree only once for so many.
SPILL = 16

#: A walk leaves so many chunks in the cache, those that it met first.
KEPT = 8

_MOST = 2 ** 32 - 1


class Chunk(Persistent):
    """Entries that no longer stand in a head."""

    def __init__(self, entries, totals=(), moment=0):
        self.entries = entries   # a tuple of runs, or packed finishes
        # How many of each kind there were so far, with those in here.
        self.totals = struct.pack(
            '<%dI' % len(totals), *[min(n, _MOST) for n in totals])
        self.moment = moment     # of the last of the runs

    def __getstate__(self):
        return self.entries, self.totals, self.moment

    def __setstate__(self, state):
        self.entries, self.totals, self.moment = state

    def getTotals(self):
        """Return a tuple: how many there were of each kind."""
        return struct.unpack('<%dI' % (len(self.totals) // 4), self.totals)

    def total(self, kinds):
        """Return how many there were of *kinds* (numbers) together."""
        size = len(self.totals) // 4
        return sum(struct.unpack_from('<I', self.totals, kind * 4)[0]
                   for kind in kinds if kind < size)


def walkDown(chunks, upto=None, kinds=None):
    """Yield (key, chunk) from *upto* down to the least key.

    *kinds* (numbers) or None: chunks with nothing of these are left out;
    most of them are not even loaded.
    """
    cache = _Cache(chunks)
    key = _floor(chunks, upto)
    while key is not None:
        below = _floor(chunks, key - 1)
        if kinds is not None:
            total = cache.get(key).total(kinds)
            if not total:
                return
            if below is not None and cache.get(below).total(kinds) == total:
                # So there is nothing in this one, nor in many, perhaps.
                key = firstKey(
                    chunks, lambda chunk: chunk.total(kinds) >= total)
                below = _floor(chunks, key - 1)
        yield key, cache.get(key)
        cache.release(key)
        key = below


def walkUp(chunks, begin=None, kinds=None):
    """Yield (key, chunk) from *begin* up to the greatest key, likewise."""
    cache = _Cache(chunks)
    key = _ceiling(chunks, begin)
    total = 0
    if kinds is not None and key is not None:
        below = _floor(chunks, key - 1)
        total = 0 if below is None else chunks[below].total(kinds)
    while key is not None:
        if kinds is not None:
            if cache.get(key).total(kinds) == total:
                key = firstKey(
                    chunks, lambda chunk: chunk.total(kinds) > total)
                if key is None:
                    return
            total = cache.get(key).total(kinds)
        yield key, cache.get(key)
        cache.release(key)
        key = _ceiling(chunks, key + 1)


def firstKey(chunks, holds):
    """Return the least key of whose chunk *holds* is true, or None.

    It has to be true of all greater keys as well.
    """
    if not chunks:
        return None
    low, high = chunks.minKey(), chunks.maxKey()
    if holds(chunks[low]):
        return low
    if not holds(chunks[high]):
        return None
    while True:
        # It does not hold at low, it does at high.
        middle = (low + high) // 2
        key = chunks.maxKey(middle)
        if key == low:
            key = chunks.minKey(middle + 1)
            if key == high:
                return high
        if holds(chunks[key]):
            high = key
        else:
            low = key


def drop(chunks, keys):
    """Remove the chunks of these *keys* that are empty; return how many."""
    keys = [key for key in keys
            if key in chunks and not chunks[key].entries]
    for key in keys:
        del chunks[key]
    return len(keys)


def capMoments(chunks, moment):
    """Let no chunk be of a later moment: a clock was wrong for a while."""
    key = _floor(chunks, None)
    while key is not None and chunks[key].moment > moment:
        chunks[key].moment = moment
        key = _floor(chunks, key - 1)


def _floor(chunks, key):
    try:
        return chunks.maxKey() if key is None else chunks.maxKey(key)
    except ValueError:
        return None


def _ceiling(chunks, key):
    try:
        return chunks.minKey() if key is None else chunks.minKey(key)
    except ValueError:
        return None


class _Cache:
    """Loads chunks, and ghosts again those that a long walk passed."""

    def __init__(self, chunks):
        self._chunks = chunks
        self._loaded = set()   # keys of what was no part of the cache before
        self._passed = 0

    def get(self, key):
        chunk = self._chunks[key]
        if chunk._p_changed is None:
            self._loaded.add(key)
        return chunk

    def release(self, key):
        self._passed += 1
        if self._passed > KEPT and key in self._loaded:
            self._chunks[key]._p_deactivate()
            self._loaded.discard(key)
