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
"""Find the attribute whose value cannot be stored.

The error of a failed commit names the value at most, never the attribute.
But its traceback contains the object and the state that were to be stored.
They are examined only after a failure, so good commits cost nothing more.
"""
import io
import itertools
import pickle

from persistent import Persistent
from zope.security.proxy import Proxy
from zope.security.proxy import removeSecurityProxy

from cipher.background.util.text import shortRepr


# Bounds of the search, since each value is pickled on its own: levels of
# containers, and items of one container.
_MAX_DEPTH = 8
_MAX_ITEMS = 10000


def explain(error):
    """Return a text that names the unstorable value behind *error*.

    For example "Document.lock: expected what can be stored, got a lock".
    *error* is that of a commit.  Return None if it has another cause, or if
    the value is not found.
    """
    try:
        obj, state, jar = _in_work(error)
        if state is None:
            return None
        probe = _Probe(jar)
        found = _find(type(obj).__name__, state, probe, _items_of(obj))
        if found is None:
            return None
        path, value = found
        return '%s: expected what can be stored, got %s' % (
            path, probe.describe(value))
    except Exception:
        return None   # an explanation is not worth another error


def _in_work(error):
    """Return (object, its state, connection) of the failed store."""
    obj = state = jar = None
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_globals.get('__name__') == 'ZODB.serialize':
            if frame.f_code.co_name == 'serialize':
                obj = frame.f_locals.get('obj')
            elif frame.f_code.co_name == '_dump':
                state = frame.f_locals.get('state')
                jar = frame.f_locals['self']._jar
        traceback = traceback.tb_next
    return obj, state, jar


class _Probe:
    """Finds out whether a value can be stored through the connection *jar*."""

    def __init__(self, jar):
        self._jar = jar

    def isFit(self, value):
        """Return whether *value*, with what it contains, can be stored."""
        pickler = _Pickler(self)
        try:
            pickler.dump(value)
        except Exception:
            return False
        return True

    def isForeign(self, obj):
        """Return whether *obj* belongs to another, unrelated connection."""
        jar = obj._p_jar
        if jar is None or jar is self._jar or self._jar is None:
            return False
        try:
            return self._jar.get_connection(
                jar.db().database_name) is not jar
        except Exception:
            return True

    def describe(self, value):
        """Return a few words that say what is wrong with *value*."""
        name = type(removeSecurityProxy(value)).__name__
        if type(value) is Proxy:
            return ('a %s in a security proxy; call removeSecurityProxy() '
                    'on it' % name)
        if isinstance(value, Persistent):
            return ('a %s of another connection; load it through the '
                    "worker's" % name)
        return 'a %s' % name


class _Pickler(pickle.Pickler):
    """Pickles, for nobody, what *probe* takes for fit to be stored."""

    def __init__(self, probe):
        super().__init__(io.BytesIO(), 3)
        self._probe = probe

    def persistent_id(self, obj):
        if type(obj) is Proxy:
            raise ValueError('a proxy')
        if isinstance(obj, Persistent):
            if self._probe.isForeign(obj):
                raise ValueError('of another connection')
            return 'stored apart'
        return None


def _find(path, value, probe, items, depth=0):
    """Return (path, value) of the part of *value* that cannot be stored.

    None if there is no such part.  *path* is the text that leads to *value*,
    *items* is a function like `_items`.
    """
    if type(value) is not Proxy and probe.isFit(value):
        return None
    if depth < _MAX_DEPTH:
        for name, item, its_items in itertools.islice(
                items(value), _MAX_ITEMS):
            found = _find(path + name, item, probe, its_items, depth + 1)
            if found is not None:
                return found
    return path, value


# The functions below take a container.  For each item in it they yield the
# text that leads to the item, the item, and the function for its own items.

def _items_of(obj):
    """Return the function that walks the state of *obj*."""
    if type(obj).__module__.startswith('BTrees.'):
        return _btree_items
    return _attributes


def _attributes(state):
    if type(state) is not dict:
        yield from _items(state)
        return
    for name, item in state.items():
        yield '.%s' % (name,), item, _items


def _btree_items(state):
    # The state is ((key, value, key, value ...), ...), perhaps in further
    # tuples of one item.
    for n, item in enumerate(state if type(state) is tuple else ()):
        if n == 0 and type(item) is tuple:
            yield '', item, _btree_items
        elif n % 2:
            yield '[%s]' % shortRepr(state[n - 1]), item, _items
        else:
            yield ' key', item, _items


def _items(value):
    if type(value) is dict:
        for key, item in value.items():
            yield '[%s]' % shortRepr(key), item, _items
            yield ' key', key, _items
    elif type(value) in (list, tuple):
        for n, item in enumerate(value):
            yield '[%d]' % n, item, _items
    elif type(value) in (set, frozenset):
        for item in value:
            yield ' item', item, _items
    elif type(value) is not Proxy and not isinstance(
            value, (Persistent, type)):
        for name, item in getattr(value, '__dict__', {}).items():
            yield '.' + name, item, _items
