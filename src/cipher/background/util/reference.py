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
from cipher.background.util.host import firstConnection
from cipher.background.util.host import getHost


#: Key of the `process.Directory` in the root of a database.
ROOT_KEY = 'cipher.background'

# The oid of the root object.
_ROOT = z64


class Reference:
    """A weak reference to an object of one database.

    ``persistent.wref.WeakRef`` does not serve: ZODB can export an object that
    holds one, but not import it.  A run stores it as plain data: see `pack`.
    """

    connection = None   # set while the reference is not stored yet

    def __init__(self, oid, mark, place=None):
        self.oid = oid
        self.mark = mark   # see databaseMark: the oid is valid only there
        self.place = place   # see IHost.placeOf

    def __reduce__(self):
        return Reference, (self.oid, self.mark, self.place)

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
    host = getHost()
    place, given = host.placeOf(obj), obj
    obj = host.unwrap(obj)
    if not isinstance(obj, Persistent):
        raise InvalidContext(
            'context: expected a persistent object, got %s; pass the object '
            'that is stored in the database' % type(obj).__name__)
    jar = getattr(obj, '_p_jar', None)
    if jar is None:
        if findConnection(given) is not connection or connection is None:
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
    reference = Reference(obj._p_oid, databaseMark(connection), place)
    reference.connection = connection
    return reference, host.isInPlace(given)


def pack(reference):
    """Return what `refer` returned as plain data: (oid, mark, in place).

    The place follows if the host needs one.  Anything else is returned as it
    is.
    """
    if oidOf(reference) is None:
        return reference
    ref, was_in_place = reference
    packed = ref.oid, ref.mark, was_in_place
    return packed if ref.place is None else (*packed, ref.place)


def unpack(packed):
    """Return what `pack` was given; anything that it did not make as it is."""
    if type(packed) is tuple and len(packed) in (3, 4):
        oid, mark, was_in_place, *place = packed
        if type(oid) is bytes and type(was_in_place) is bool:
            return Reference(oid, mark, *place), was_in_place
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
    if obj is None or not was_in_place:
        return obj
    return getHost().locate(obj, ref.place)


def oidOf(reference):
    """Return the oid of the object that `refer` was given, or None."""
    if (type(reference) is tuple and len(reference) == 2
            and isinstance(reference[0], Reference)):
        return reference[0].oid
    return None


def findConnection(obj):
    """Return the connection of *obj* or of its nearest stored parent."""
    return firstConnection(getHost().lineage(obj))


def root(obj):
    """Return the topmost parent of *obj*."""
    *_, last = getHost().lineage(obj)
    return last
