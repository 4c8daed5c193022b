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
"""Weak references to objects of the database: they keep nothing alive."""
from persistent import Persistent

from cipher.background.interfaces import InvalidContext


#: Key of the `process.Directory` in the root of a database.
ROOT_KEY = 'cipher.background'

_MAX_DEPTH = 1000
_SITE_MANAGER = '++etc++site'


class Reference:
    """A weak reference to an object of one database.

    Not a ``persistent.wref.WeakRef``: ZODB can export an object that holds
    one, but not import it.  Pickles name this class: it stays here.
    """

    connection = None   # while the reference is not stored yet

    def __init__(self, oid, mark):
        self.oid = oid
        self.mark = mark   # of the database: elsewhere the oid says nothing

    def __reduce__(self):
        return Reference, (self.oid, self.mark)

    def __call__(self, connection):
        """Return the object or None.

        *connection* is that of the run, None if that is not stored yet.
        """
        connection = connection or self.connection
        if connection is None or databaseMark(connection) != self.mark:
            return None
        try:
            obj = connection.get(self.oid)
            obj._p_activate()
        except KeyError:
            return None   # deleted and packed
        return obj


def databaseMark(connection):
    """Return what tells a database from those that it was exported to."""
    return getattr(connection.root().get(ROOT_KEY), 'mark', None)


def refer(obj, connection):
    """Return what stands for *obj* in a run: plain data and a weak reference.

    An object that is about to be stored, below one that is, is given its place
    in the database.  Raise `InvalidContext` for what has none.
    """
    if not isinstance(obj, Persistent):
        raise InvalidContext(
            'context: expected a persistent object, got %s; pass the object '
            'that is stored in the database' % type(obj).__name__)
    jar = getattr(obj, '_p_jar', None)
    if jar is None:
        if findConnection(obj) is not connection or connection is None:
            raise InvalidContext(
                'context: expected an object of the database, got a %s that '
                'is not stored; add it to its container first'
                % type(obj).__name__)
        connection.add(obj)
    elif jar is not connection:
        raise InvalidContext(
            "context: expected an object of the registry's own connection, "
            'got a %s of another database or connection; load it from the '
            'connection of the site' % type(obj).__name__)
    reference = Reference(obj._p_oid, databaseMark(connection))
    reference.connection = connection
    return reference, isInPlace(obj)


def resolve(reference, connection=None):
    """Return the object that `refer` was given; None when it is gone.

    An object counts as gone, too, when it was in its place at that time and is
    not any more: a deleted object stays loadable until the database is packed.
    """
    if oidOf(reference) is None:
        return None
    ref, was_in_place = reference
    obj = ref(connection)
    if obj is None or (was_in_place and not isInPlace(obj)):
        return None
    return obj


def oidOf(reference):
    """Return the oid of what `refer` was given; None if there is none."""
    if (type(reference) is tuple and len(reference) == 2
            and isinstance(reference[0], Reference)):
        return reference[0].oid
    return None


def findConnection(obj):
    """Return the connection of *obj* or of what holds it, or None."""
    for obj in lineage(obj):
        connection = getattr(obj, '_p_jar', None)
        if connection is not None:
            return connection
    return None


def lineage(obj):
    """Yield *obj*, its parent, its parent's parent and so on."""
    for _ in range(_MAX_DEPTH):
        if obj is None:
            return
        yield obj
        obj = getattr(obj, '__parent__', None)


def root(obj):
    """Return the root object of the application that holds *obj*."""
    *_, last = lineage(obj)
    return last


def isInPlace(obj):
    """Return whether *obj* hangs below the root of its database by its names.
    """
    connection = findConnection(obj)
    for _ in range(_MAX_DEPTH):
        parent = getattr(obj, '__parent__', None)
        if parent is None:
            break
        if not _holds(parent, obj):
            return False
        obj = parent
    if connection is None:
        return False
    for value in connection.root().values():
        if value is obj:
            return True
    return False


def _holds(parent, obj):
    name = getattr(obj, '__name__', None)
    if name is not None and name != _SITE_MANAGER and hasattr(
            type(parent), '__getitem__'):
        try:
            return parent[name] is obj
        except (KeyError, TypeError, AttributeError):
            if not name.startswith('++'):
                return False
    # A site manager, an annotation, an attribute: not held by its name.
    get_site_manager = getattr(parent, 'getSiteManager', None)
    if name == _SITE_MANAGER and get_site_manager is not None:
        try:
            return get_site_manager() is obj
        except LookupError:
            return False
    return True
