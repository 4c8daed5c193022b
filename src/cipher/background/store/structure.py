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
"""The number of the stored structure, which says what code may use a record.

The directory of a database and each registry carry the number, so it travels
with an import.  Code with a lower number neither reads nor writes them.  A
change of a shape that a release has stored gets the next number and a
migration in `evolve`.
"""
from ZODB.broken import Broken

from cipher.background.interfaces import InvalidDatabase
from cipher.background.interfaces import NewerDatabase


#: The number of the structure that this code writes.
VERSION = 1

#: The lowest number that this code reads.
OLDEST = 1


class Structured:
    """Base of the classes that carry the number."""

    #: Code with a lower number must not use the record.  Records stored
    #: before there was a number have number 1.
    structure_version = 1
    #: The place that the migration to `structure_version` has reached,
    #: plain data.
    #: None: the migration is done.
    evolving = None


def _version_of(record):
    # An object of another class may be in its place.
    return getattr(record, 'structure_version', None)


def isUsable(record):
    """Return whether this code can use *record*."""
    version = _version_of(record)
    return type(version) is int and OLDEST <= version <= VERSION


def isNewer(record):
    """Return whether *record* is of newer code."""
    version = _version_of(record)
    return type(version) is int and version > VERSION


def checkVersion(record):
    """Raise an error unless this code can use *record*.

    Raise `NewerDatabase` for a record of newer code, and `InvalidDatabase`
    for any other that it cannot use.
    """
    version = _version_of(record)
    if type(version) is int and OLDEST <= version <= VERSION:
        return   # as `isUsable`; each job and each start comes here often
    if isNewer(record):
        raise NewerDatabase(
            '%s: expected structure %d or older, got structure %d; a newer '
            'release of cipher.background has used this database: install '
            'that release here, or restore an older backup; nothing was '
            'written' % (describe(record), VERSION, version), version)
    raise InvalidDatabase(
        '%s: expected a structure from %d to %d, got %.40r; it is damaged or '
        'of a release that this one does not know: restore it, or remove it '
        'and add a new one; nothing was written'
        % (describe(record), OLDEST, VERSION, version))


def checkClass(obj, who):
    """Raise `InvalidDatabase` if the class of *obj* or of a part is missing.

    *who* names the object in the message.
    """
    activate = getattr(obj, '_p_activate', None)
    if activate is not None and not isinstance(obj, Broken):
        activate()
    for part in (obj, *getattr(obj, '__dict__', {}).values()):
        if isinstance(part, Broken):
            kind = type(part)
            raise InvalidDatabase(
                '%s: expected the class %s.%s, got none of that name; install '
                'the release of cipher.background, or the package, that has '
                'it; nothing was written'
                % (who, kind.__module__, kind.__name__))


def checkRegistry(registry):
    """Raise an error as `checkVersion` unless this code can use *registry*.

    Check the classes of the registry and its lanes, not those of runs.
    """
    checkClass(registry, 'registry')
    checkVersion(registry)
    for lane in registry.lanes.values():
        # Once is enough: a lane is never written, and each page checks.
        if not getattr(lane, '_v_is_whole', False):
            checkClass(lane, describe(registry))
            lane._v_is_whole = True


def describe(record):
    """Return a text by which a person knows the directory or a registry."""
    getSite = getattr(record, 'getSite', None)
    if getSite is None:
        return 'directory'
    try:
        return 'registry of the site %r' % getSite().__name__
    except Exception:
        return 'registry %r' % (getattr(record, '__name__', None),)
