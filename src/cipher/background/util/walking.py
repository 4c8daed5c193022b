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
"""Walk through a collection in batches: each item once, whatever changes.

A walk goes on behind a cursor, which is plain data.  The cursor names the
item that was done last, so it stays right when items are added or removed:

- Where items have keys, it is the last key.  Keys are visited in their order.
- In a set it is the mark of the last item; see `getMark`.
- Elsewhere it is a `_Place`: a position, and the marks of the items around.
"""
import collections.abc
import hashlib
import heapq
import inspect
from itertools import islice
from operator import index

import transaction
from BTrees.Interfaces import IKeyed
from BTrees.Interfaces import IMinimalDictionary
from zope.container.interfaces import IBTreeContainer
from zope.interface.common.mapping import IEnumerableMapping
from zope.security.proxy import removeSecurityProxy

from cipher.background.util.calling import checkValue
from cipher.background.util.plaindata import canonical
from cipher.background.util.plaindata import plainCopy
from cipher.background.util.text import cleanLine
from cipher.background.util.text import safeRepr
from cipher.background.util.text import safeStr


#: Items.  A place remembers the marks of so many that were done last: the
#: walk goes on behind the last of them that is still there.
REMEMBERED = 20


def walk(who, get, cursor):
    """Yield (cursor, item) for each item behind *cursor*; None is the start.

    A cursor is plain data, or a function that returns it.  Call it when the
    work for the item is done, since that may change how it is found again.

    *get* returns the collection: a BTree or a set of that kind, a container,
    a mapping, a set, a sequence, or any other iterable.  It is called more
    than once, and an iterator has to be a new one each time.  *who* names it
    in messages.  Raise ``TypeError`` for what cannot be walked through.
    """
    collection = get()
    if IKeyed.providedBy(collection):
        is_mapping = IMinimalDictionary.providedBy(collection)
        return _walkKeys(cursor, _rangeOf(
            collection.items if is_mapping else collection.keys, is_mapping))
    if IBTreeContainer.providedBy(collection):
        return _walkKeys(cursor, _itemsFrom(collection))
    if (isinstance(collection, collections.abc.Mapping)
            or IEnumerableMapping.providedBy(collection)):
        return _walkMapping(who, cursor, collection)
    if isinstance(collection, collections.abc.Set):
        return _walkSet(who, cursor, collection)
    _open(who, collection)
    if isinstance(collection, collections.abc.Sequence):
        return _walkSequence(who, collection, cursor)
    return _walkIterable(who, get, cursor)


def getMark(who, item):
    """Return a short text by which *item* is found again in its collection.

    It is made of the oid of a persistent object, or of plain data.  Raise
    ``TypeError`` for anything else.
    """
    mark = _describe(who, removeSecurityProxy(item))
    return hashlib.blake2b(
        mark.encode('utf-8', 'surrogatepass'), digest_size=9).hexdigest()


def _describe(who, item):
    if isinstance(item, (list, tuple)):
        return '[%s]' % ','.join(
            _describe(who, removeSecurityProxy(part)) for part in item)
    oid = _oidOf(item)
    if oid is not None:
        return 'oid ' + oid.hex()
    try:
        return canonical(plainCopy(item))
    except ValueError:
        raise _unfit(who, 'items that are stored objects or plain data, or a '
                     'mapping of them by keys', item) from None


def _oidOf(item):
    """Return the oid of a persistent object; None for anything else."""
    try:
        oid = item._p_oid
        if oid is None and hasattr(item, '_p_jar'):
            # An object that this transaction has added gets its oid now.
            transaction.savepoint(optimistic=True)
            oid = item._p_oid
    except AttributeError:
        return None
    return oid if type(oid) is bytes else None


# Collections with keys

def _rangeOf(method, is_mapping):
    """Return a function that returns the first (key, item) behind a key."""
    def find(key):
        found = method(min=key, excludemin=key is not None)
        for first in found:
            return first if is_mapping else (first, first)

    return find


def _itemsFrom(container):
    """Return such a function for an `IBTreeContainer`."""
    def find(key):
        for pair in container.items(key):
            if pair[0] != key:
                return pair

    return find


def _walkKeys(key, find):
    # Each step looks anew: the work may change the collection meanwhile.
    pair = find(key)
    while pair is not None:
        yield pair
        pair = find(pair[0])


def _walkMapping(who, key, mapping):
    while True:
        try:
            keys = [other for other in mapping.keys()
                    if key is None or other > key]
            heapq.heapify(keys)
        except TypeError as error:
            raise TypeError(
                '%s: expected keys that can be sorted, got "%s"; override '
                'items(cursor)' % (who, cleanLine(safeStr(error), 200))
            ) from None
        if not keys:
            return
        while keys:
            key = heapq.heappop(keys)
            if key in mapping:   # the work may have removed it
                yield key, mapping[key]


def _walkSet(who, mark, items):
    while True:
        marks = {getMark(who, item): item for item in items}
        behind = sorted(other for other in marks
                        if mark is None or other > mark)
        if not behind:
            return
        for mark in behind:
            if marks[mark] in items:
                yield mark, marks[mark]


# Collections without keys

class _Place:
    """A place in a collection without keys, behind the items that are done.

    Its form as a cursor is [position, marks of the items done last, mark of
    the next item or None].
    """

    def __init__(self, who, cursor):
        self._who = who
        self.position, self._done, self._next = 0, [], None
        if cursor is not None:
            try:
                position, done, following = cursor
                self.position = index(position)
                self._done = list(done)
                self._next = following
            except (TypeError, ValueError):
                raise _unfit(
                    who, 'the cursor of a collection without keys',
                    cursor) from None

    def step(self, item, following):
        """Step behind *item*, which is not done yet.

        *following* has the next item, if there is one.
        """
        self.position += 1
        self._item = item
        self._next = self._mark(following[0]) if following else None

    def getCursor(self):
        """Return the cursor; the work for the last item is done."""
        return [self.position, self._listDone(), self._next]

    def close(self):
        """Remember the last item; the work for it is done."""
        self._done = self._listDone()

    def _listDone(self):
        return [*self._done, self._mark(self._item)][-REMEMBERED:]

    def find(self, before, get):
        """Find the place anew in a collection that may have changed.

        *before* has the item before the old position, if there is one.  *get*
        returns the collection.  Return the position.
        """
        if self.position and (
                not before or self._mark(before[0]) != self._done[-1]):
            self.position = self._search(get)
        return self.position

    def _search(self, get):
        marks = list(map(self._mark, _open(self._who, get())))
        if not marks:
            return 0
        for mark, offset in (*((mark, 1) for mark in reversed(self._done)),
                             (self._next, 0)):
            found = [number + offset for number, other in enumerate(marks)
                     if other == mark]
            if found:
                # Equal items have equal marks.
                return min(found, key=lambda number: abs(
                    number - self.position))
        if self._next is None:
            return 0   # nothing was left, so all of these are new
        raise RuntimeError(
            '%s: expected one of the %d items done last, or the next one, got '
            'a collection without them; return a collection with keys, or '
            'override items(cursor)' % (self._who, len(self._done)))

    def _mark(self, item):
        return getMark(self._who, item)


def _walkSequence(who, sequence, cursor):
    place = _Place(who, cursor)
    while True:
        # The work may change the sequence, so each step looks anew.
        old = place.position
        position = place.find(
            sequence[old - 1:old] if old else (), lambda: sequence)
        if position >= len(sequence):
            return
        item, *following = sequence[position:position + 2]
        place.step(item, following)
        yield place.getCursor, item
        place.close()


def _walkIterable(who, get, cursor):
    place = _Place(who, cursor)
    items = _open(who, get())
    old = place.position
    position = place.find(list(islice(items, old - 1, old)) if old else (),
                          get)
    if position != old:
        items = islice(_open(who, get()), position, None)
    following = list(islice(items, 1))
    while following:
        item, = following
        following = list(islice(items, 1))
        place.step(item, following)
        yield place.getCursor, item
        place.close()


def _open(who, collection):
    """Return an iterator over *collection* from its beginning."""
    if not isinstance(collection, collections.abc.Generator):
        checkValue(who, collection)   # such as a coroutine
    elif inspect.getgeneratorstate(collection) != inspect.GEN_CREATED:
        raise TypeError(
            '%s: expected a new iterator at each call, got one that was used; '
            'make it anew' % who)
    if isinstance(collection, (str, bytes, bytearray)):
        raise _unfit(who, 'a collection of items', collection)
    try:
        return iter(collection)
    except TypeError:
        raise _unfit(who, 'a collection of items', collection) from None


def _unfit(who, expected, got):
    return TypeError('%s: expected %s, got %s; override items(cursor) for '
                     'another order or another source' % (
                         who, expected, cleanLine('%s %s' % (
                             type(got).__name__, safeRepr(got, 200)))))
