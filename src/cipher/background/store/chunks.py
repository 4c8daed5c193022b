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
"""Chunks: the older entries of a lane, by key.

A chunk also has the total number of entries of each kind in its lane, up to
its own.  A walk that looks for certain kinds bisects by these totals, and
skips chunks without such entries instead of loading them.

A *kind* is a number that stands for a worker type, or for a type and a
finished state.
"""
import struct

from persistent import Persistent


#: Recent entries that spill into a chunk.  The recent ones are written whole
#: at each new entry, the tree of chunks only once for this many.
SPILL = 16

#: Chunks that a walk leaves in the cache, the first ones that it passes.  A
#: long walk unloads the others, so that it does not fill the cache.
KEPT = 8

_MOST = 2 ** 32 - 1
_unpack_total = struct.Struct('<I').unpack_from


class Chunk(Persistent):
    """Entries that have spilled."""

    def __init__(self, entries, totals=(), moment=0):
        self.entries = entries   # a tuple of runs, or packed finishes
        # Entries of each kind in the lane so far, with those of this chunk.
        self.totals = struct.pack(
            '<%dI' % len(totals), *[min(n, _MOST) for n in totals])
        self.moment = moment     # of the last run

    def __getstate__(self):
        return self.entries, self.totals, self.moment

    def __setstate__(self, state):
        self.entries, self.totals, self.moment = state

    def getTotals(self):
        """Return a tuple: the number of entries of each kind."""
        return struct.unpack('<%dI' % (len(self.totals) // 4), self.totals)

    def total(self, kinds):
        """Return the number of entries of all *kinds* together."""
        totals = self.totals
        size = len(totals) // 4
        return sum([_unpack_total(totals, kind * 4)[0]
                    for kind in kinds if kind < size])


def walkDown(chunks, upto=None, kinds=None, known=None):
    """Yield (key, chunk) from *upto* down to the least key.

    Leave out chunks without entries of *kinds*, unless *kinds* is None.  Most
    of them are not loaded.  *known* is a function of a chunk: one for which
    it is true is yielded in any case, and not loaded.
    """
    cache = _Cache(chunks)
    key = _floor(chunks, upto)
    while key is not None:
        below = _floor(chunks, key - 1)
        if kinds is not None and not (known and known(chunks[key])):
            total = cache.get(key).total(kinds)
            if not total:
                return
            if below is not None and cache.get(below).total(kinds) == total:
                # This chunk has no such entry; many below it may have none.
                key = firstKey(
                    chunks, lambda chunk: chunk.total(kinds) >= total)
                below = _floor(chunks, key - 1)
        yield key, cache.get(key)
        cache.release(key)
        key = below


def walkUp(chunks, begin=None, kinds=None, known=None):
    """Yield (key, chunk) from *begin* up to the greatest key.

    *kinds* and *known* are as in `walkDown`.
    """
    cache = _Cache(chunks)
    key = _ceiling(chunks, begin)
    total = None   # of kinds, up to the chunk before; None: not looked up yet
    while key is not None:
        if kinds is not None and known and known(chunks[key]):
            total = None
        elif kinds is not None:
            if total is None:
                below = _floor(chunks, key - 1)
                total = 0 if below is None else chunks[below].total(kinds)
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
    """Return the least key for whose chunk *holds* is true, or None.

    *holds* must be true for all greater keys as well.
    """
    if not chunks:
        return None
    low, high = chunks.minKey(), chunks.maxKey()
    if holds(chunks[low]):
        return low
    if not holds(chunks[high]):
        return None
    while True:
        # It does not hold at low; it holds at high.
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
    """Remove the empty ones of the chunks *keys*; return their number."""
    keys = [key for key in keys
            if key in chunks and not chunks[key].entries]
    for key in keys:
        del chunks[key]
    return len(keys)


def capMoments(chunks, moment):
    """Set the moment of later chunks to *moment*: the clock was wrong."""
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
    """Loads chunks for a walk, and unloads those that a long walk passed."""

    def __init__(self, chunks):
        self._chunks = chunks
        self._loaded = set()   # keys of chunks that the walk loaded
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
