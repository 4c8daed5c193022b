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
"""Weak references to objects of the database, for the context of a run."""
from persistent import Persistent
from ZODB.utils import z64

from cipher.background.interfaces import InvalidContext


#: Key of the `process.Directory` in the root of a database.
ROOT_KEY = 'cipher.background'

# The oid of the root object.
_ROOT = z64

# Levels of parents that are followed; parents may form a cycle.
_MAX_DEPTH = 1000
_SITE_MANAGER = '++etc++site'


class Reference:
    """A weak reference to an object of one database.

    ``persistent.wref.WeakRef`` does not serve: ZODB can export an object that
    holds one, but not import it.  A run stores it as plain data: see `pack`.
    """

    connection = None   # set while the reference is not stored yet

    def __init__(self, oid, mark):
        self.oid = oid
        self.mark = mark   # see databaseMark: the oid is valid only there

    def __reduce__(self):
        return Reference, (self.oid, self.mark)

    def __call__(self, connection):
        """Return the object; None if it is gone or of another database.

        *connection* is the connection of the run, or None if the run is not
        stored yet.
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
    """Return the random mark of the database, or None.

    It distinguishes a database from those to which its objects were exported.
    """
    return getattr(inRoot(connection, ROOT_KEY), 'mark', None)


def inRoot(connection, key):
    """Return the object at *key* in the root of the database, or None.

    Cheaper than ``connection.root().get``, which each start and each job
    would call several times.
    """
    try:
        return connection.get(_ROOT)[key]
    except KeyError:
        return None


def refer(obj, connection):
    """Return (`Reference` to *obj*, whether it is in its place) for a run.

    A new object that has a stored parent gets its oid now.  Raise
    `InvalidContext` if *obj* is not persistent, has no stored parent, or
    belongs to another connection.
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


def pack(reference):
    """Return what `refer` returned as plain data: (oid, mark, in place).

    Anything else is returned as it is.
    """
    if oidOf(reference) is None:
        return reference
    ref, was_in_place = reference
    return ref.oid, ref.mark, was_in_place


def unpack(packed):
    """Return what `pack` was given; anything that it did not make as it is."""
    if type(packed) is tuple and len(packed) == 3:
        oid, mark, was_in_place = packed
        if type(oid) is bytes and type(was_in_place) is bool:
            return Reference(oid, mark), was_in_place
    return packed


def resolve(reference, connection=None):
    """Return the object that `refer` was given; None if it is gone.

    An object also counts as gone if it was in its place then and is not now:
    a deleted object can be loaded until the database is packed.
    """
    if oidOf(reference) is None:
        return None
    ref, was_in_place = reference
    obj = ref(connection)
    if obj is None or (was_in_place and not isInPlace(obj)):
        return None
    return obj


def oidOf(reference):
    """Return the oid of the object that `refer` was given, or None."""
    if (type(reference) is tuple and len(reference) == 2
            and isinstance(reference[0], Reference)):
        return reference[0].oid
    return None


def findConnection(obj):
    """Return the connection of *obj* or of its nearest stored parent."""
    for obj in lineage(obj):
        connection = getattr(obj, '_p_jar', None)
        if connection is not None:
            return connection
    return None


def lineage(obj):
    """Yield *obj*, its parent, the parent of that, and so on."""
    for _ in range(_MAX_DEPTH):
        if obj is None:
            return
        yield obj
        obj = getattr(obj, '__parent__', None)


def root(obj):
    """Return the topmost parent of *obj*."""
    *_, last = lineage(obj)
    return last


def isInPlace(obj):
    """Return whether *obj* can be reached from the database root by names."""
    connection = getattr(obj, '_p_jar', None) or findConnection(obj)
    for _ in range(_MAX_DEPTH):
        parent = getattr(obj, '__parent__', None)
        if parent is None:
            break
        if not _holds(parent, obj):
            return False
        obj = parent
    if connection is None:
        return False
    root = connection.get(_ROOT)
    for key in root:
        if root[key] is obj:
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
    # A site manager, an annotation or an attribute is not an item of its
    # parent.
    get_site_manager = getattr(parent, 'getSiteManager', None)
    if name == _SITE_MANAGER and get_site_manager is not None:
        try:
            return get_site_manager() is obj
        except LookupError:
            return False
    return True
