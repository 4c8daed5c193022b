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
"""Which runs the reader may see: the view permissions of worker types.

The reader is the principal of the interaction.  Without an interaction, as in
the control thread or a script, nothing is hidden.
"""
from zope.component import getUtilitiesFor

from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import VIEW_DETAILS
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.interfaces import IWorkerType
from cipher.background.util.host import getHost


#: Names of types that match no type.  An empty set would match every type.
NOTHING = frozenset([None])


def maySee(registry, name):
    """Return whether the reader may see runs of the worker type *name*."""
    return _may_see(registry, queryWorkerType(name))


def maySeeRegistry(ob):
    """Return whether the reader may see runs at the object *ob*.

    That is a registry or the root object of an application.
    """
    return _may(VIEW_WORKERS, ob)


def maySeeDetails(registry):
    """Return whether the reader may see the inputs of runs."""
    return _may(VIEW_DETAILS, registry)


def _may_see(registry, worker_type):
    permission = worker_type and worker_type.view_permission
    return permission is None or _may(permission, registry)


def _may(permission, ob):
    host = getHost()
    return not host.hasInteraction() or host.checkPermission(permission, ob)


def declaredTypes(registry):
    """Return {name: worker type} of the types that the reader may see."""
    return {name: worker_type
            for name, worker_type in getUtilitiesFor(IWorkerType)
            if worker_type.current is None
            and _may_see(registry, worker_type)}


def hiddenTypes(registry):
    """Return the names of the declared types that the reader may not see."""
    return {name for name, worker_type in getUtilitiesFor(IWorkerType)
            if not _may_see(registry, worker_type)}


def visibleTypes(registry, names):
    """Return those of the type *names* that the reader may see.

    Empty *names* stand for all types.  Return an empty collection if all
    types may be listed, and `NOTHING` if none may.
    """
    hidden = hiddenTypes(registry)
    if not hidden:
        return names
    names = set(names) or {name for lane in registry.lanes.values()
                           for name in lane.births.counts}
    return names - hidden or NOTHING
