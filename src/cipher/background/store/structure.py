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
"""The number of the stored structure: which code may use a record.

The directory of a database and each of its registries carry the number, so it
travels with an import.  Code of a lower number neither reads nor writes them.
A change of what released code has stored gets the next number and a step in
`evolve`.
"""
from ZODB.broken import Broken

from cipher.background.interfaces import InvalidDatabase
from cipher.background.interfaces import NewerDatabase


#: The number of the structure that this code writes.
VERSION = 1

#: The lowest number that this code reads.
OLDEST = 1


class Structured:
    """Base of what carries the number."""

    #: Code of a lower number must not use the record.  Stored records of
    #: before there was a number have the first one.
    structure_version = 1
    #: How far the step that leads to `structure_version` came, plain data.
    #: None: it is done.
    evolving = None


def _version_of(record):
    # Whatever may stand in its place.
    return getattr(record, 'structure_version', None)


def isUsable(record):
    """Return whether this code can use *record*."""
    version = _version_of(record)
    return type(version) is int and OLDEST <= version <= VERSION


def isNewer(record):
    """Return whether newer code wrote *record*, or may do so at any time."""
    version = _version_of(record)
    return type(version) is int and version > VERSION


def checkVersion(record):
    """Raise `NewerDatabase` or `InvalidDatabase` unless we may use *record*.
    """
    if isUsable(record):
        return
    version = _version_of(record)
    if isNewer(record):
        raise NewerDatabase(
            '%s: expected structure %d or older, got structure %d; a newer '
            'release of cipher.background has used this database: install '
            'that release here, or restore a backup of before; nothing was '
            'written' % (describe(record), VERSION, version), version)
    raise InvalidDatabase(
        '%s: expected a structure from %d to %d, got %.40r; it is damaged or '
        'of a release that this one knows nothing of: restore it, or remove '
        'it and add a new one; nothing was written'
        % (describe(record), OLDEST, VERSION, version))


def checkClass(obj, who):
    """Raise `InvalidDatabase` if the class of *obj* or of a part is gone."""
    activate = getattr(obj, '_p_activate', None)
    if activate is not None and not isinstance(obj, Broken):
        activate()
    for part in (obj, *getattr(obj, '__dict__', {}).values()):
        if isinstance(part, Broken):
            kind = type(part)
            raise InvalidDatabase(
                '%s: expected the class %s.%s, got none of that name; what '
                'stored it is not installed here: install the release of '
                'cipher.background, or the package, that has it; nothing was '
                'written' % (who, kind.__module__, kind.__name__))


def checkRegistry(registry):
    """Raise `InvalidDatabase` unless this code can use *registry*.

    Looks at the registry and its lanes, not at runs.
    """
    checkClass(registry, 'registry')
    checkVersion(registry)
    for lane in registry.lanes.values():
        # A lane is never written, and each page looks.
        if not getattr(lane, '_v_is_whole', False):
            checkClass(lane, describe(registry))
            lane._v_is_whole = True


def describe(record):
    """Return what a person knows the directory or a registry by."""
    getSite = getattr(record, 'getSite', None)
    if getSite is None:
        return 'directory'
    try:
        return 'registry of the site %r' % getSite().__name__
    except Exception:
        return 'registry %r' % (getattr(record, '__name__', None),)
