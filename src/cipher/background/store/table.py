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
"""A table: a mapping in which changes of different keys never conflict.

A BTree conflicts when a bucket splits, for any keys.  A table has a fixed
number of buckets instead.  Each bucket resolves conflicts of different keys,
even in a server without the classes of this package.  Two transactions that
change the same key conflict.
"""
import hashlib
from collections.abc import MutableMapping

from BTrees.OOBTree import OOBucket
from persistent import Persistent


class Table(Persistent, MutableMapping):
    """A mapping with *size* buckets.

    Keys are texts, or tuples of texts and bytes.  The table itself is written
    only when it is made.
    """

    def __init__(self, size):
        self._buckets = tuple(OOBucket() for _ in range(size))
        for bucket in self._buckets:
            # A bucket that becomes empty would conflict.
            bucket[None] = None

    def _bucket(self, key):
        digest = hashlib.blake2b(digest_size=8)
        for part in key if isinstance(key, tuple) else (key,):
            digest.update(part if isinstance(part, bytes) else part.encode(
                'utf-8', 'surrogatepass'))
        return self._buckets[
            int.from_bytes(digest.digest(), 'big') % len(self._buckets)]

    def __getitem__(self, key):
        return self._bucket(key)[key]

    def __setitem__(self, key, value):
        self._bucket(key)[key] = value

    def __delitem__(self, key):
        del self._bucket(key)[key]

    def __contains__(self, key):
        return key in self._bucket(key)

    def __iter__(self):
        for bucket in self._buckets:
            for key in bucket:
                if key is not None:
                    yield key

    def __len__(self):
        return sum(len(bucket) - 1 for bucket in self._buckets)

    def size(self):
        """Return the number of buckets."""
        return len(self._buckets)

    def walk(self, begin=0, end=None):
        """Yield (bucket number, key, value) for buckets *begin* to *end*."""
        for number, bucket in enumerate(self._buckets[begin:end], begin):
            for key, value in bucket.items():
                if key is not None:
                    yield number, key, value


def dependOnTree(tree):
    """Let the transaction conflict if the BTree *tree* changes meanwhile.

    This is for small trees: it loads the whole tree.  ``readCurrent(tree)``
    alone does not notice a change in a bucket.
    """
    jar = tree._p_jar
    tree._p_activate()
    jar.readCurrent(tree)
    bucket = tree._firstbucket
    while bucket is not None:
        if bucket._p_jar is not None:   # else it is stored in the tree
            bucket._p_activate()
            jar.readCurrent(bucket)
        bucket = bucket._next
