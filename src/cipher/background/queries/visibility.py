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
"""Whose runs whoever asks may see: the view permissions of worker types.

Who asks is the principal of the interaction.  Without one, as in the control
thread or a script, nothing is hidden.
"""
from zope.component import getUtilitiesFor
from zope.security.management import checkPermission
from zope.security.management import queryInteraction

from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.interfaces import IWorkerType


#: Stands for names of types where none is left to list: no type has it.
NOTHING = frozenset([None])


def maySee(registry, name):
    """Return whether who asks may see the runs of the worker type *name*."""
    return _may_see(registry, queryWorkerType(name))


def maySeeRegistry(ob):
    """Return whether who asks may see runs of the registry, or below, *ob*.
    """
    return queryInteraction() is None or checkPermission(VIEW_WORKERS, ob)


def _may_see(registry, worker_type):
    permission = worker_type and worker_type.view_permission
    return (permission is None or queryInteraction() is None
            or checkPermission(permission, registry))


def declaredTypes(registry):
    """Return {name: worker type} of those that who asks may see."""
    return {name: worker_type
            for name, worker_type in getUtilitiesFor(IWorkerType)
            if worker_type.current is None
            and _may_see(registry, worker_type)}


def hiddenTypes(registry):
    """Return the names of the declared types that who asks may not see."""
    return {name for name, worker_type in getUtilitiesFor(IWorkerType)
            if not _may_see(registry, worker_type)}


def visibleTypes(registry, names):
    """Return the names of types to list: of *names*, or of all if empty.

    `NOTHING` where none is left; empty where all are to be listed.
    """
    hidden = hiddenTypes(registry)
    if not hidden:
        return names
    names = set(names) or {name for lane in registry.lanes.values()
                           for name in lane.births.counts}
    return names - hidden or NOTHING
