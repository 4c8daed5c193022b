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
"""Objects that were renamed or moved are found again.

A run stores the oid and the path of its context.  The root of the database
keeps the recent moves, so that an old path leads to a new one.
"""
import time

from Acquisition import aq_base
from BTrees.OOBTree import OOBTree
from OFS.interfaces import IItem
from zope.component import adapter
from zope.component.interfaces import ISite
from zope.lifecycleevent.interfaces import IObjectMovedEvent

from cipher.background.registry.installation import ownRegistry
from cipher.background.registry.installation import rememberRegistry


#: Key of the moves in the root of the database.
ROOT_KEY = 'cipher.background.moves'

#: Moves that are kept.  Each is followed only if an object is not in its
#: place, so the number bounds that search.
KEPT = 1000


@adapter(IItem, IObjectMovedEvent)
def followMove(ob, event):
    """Subscriber: note that an object, with all below it, has moved."""
    if event.newParent is not None and ISite.providedBy(ob):
        _place_registry(ob)
    if (aq_base(ob) is not aq_base(event.object)
            or event.oldParent is None or event.newParent is None):
        return
    connection = aq_base(event.newParent)._p_jar
    if connection is None:
        return
    old = (*event.oldParent.getPhysicalPath(), event.oldName)
    new = (*event.newParent.getPhysicalPath(), event.newName)
    root = connection.root()
    moves = root.get(ROOT_KEY)
    if moves is None:
        moves = root[ROOT_KEY] = OOBTree()
    moves[time.time(), old] = new
    if len(moves) > KEPT:
        del moves[moves.minKey()]


def _place_registry(site):
    """Give the registry of a site that has come here its path.

    A site may be a copy, or come with an import.
    """
    registry = ownRegistry(site)
    if registry is None or aq_base(registry).__parent__ is not aq_base(site):
        return
    place = site.getPhysicalPath()
    if registry.site_path != place:
        registry.site_path = place
        rememberRegistry(registry)


def listPlaces(connection, place):
    """Yield *place*, and where moves have led an object from there."""
    yield place
    for (moved_at, old), new in connection.root().get(ROOT_KEY, {}).items():
        if place[:len(old)] == old:
            place = new + place[len(old):]
            yield place
