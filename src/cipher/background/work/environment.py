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
"""The principals that a worker runs as in a Zope Toolkit application."""
from zope.authentication.interfaces import IAuthentication
from zope.authentication.interfaces import PrincipalLookupError
from zope.component import queryUtility
from zope.component.hooks import getSite
from zope.interface import implementer
from zope.security.interfaces import IParticipation
from zope.security.interfaces import IPrincipal
from zope.security.management import checkPermission
from zope.security.management import endInteraction
from zope.security.management import newInteraction
from zope.security.management import system_user

from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import AS_STARTER
from cipher.background.interfaces import AS_SYSTEM
from cipher.background.interfaces import IWorkerEnvironment
from cipher.background.interfaces import StarterGone


@implementer(IParticipation)
class Participation:
    """A principal without a request."""

    interaction = None

    def __init__(self, principal):
        self.principal = principal


@implementer(IPrincipal)
class NamedPrincipal:
    """A starter of whom only the id is known.

    Used if the application has no authentication utility.
    """

    title = description = ''

    def __init__(self, id):
        self.id = id


@implementer(IWorkerEnvironment)
class WorkerEnvironment:
    """The environment in an application of the Zope Toolkit."""

    def participations(self, user_name, run):
        if run is None:
            # As upstream: no participation, so everything is allowed.
            return ()
        if run.permission:
            _check(run)
        worker_type = queryWorkerType(run.type)
        run_as = worker_type.run_as if worker_type is not None else AS_STARTER
        if run_as == AS_STARTER:
            return _people(run)
        return (Participation(system_user if run_as == AS_SYSTEM
                              else _resolve(run, run_as)),)


def _people(run):
    """Return participations of the starter and of the one who asked to retry.

    A security policy allows only what both of them may do.  So neither gains
    the rights of the other.
    """
    ids = [run.starter] if run.asker is None else [run.starter, run.asker]
    return tuple([Participation(_resolve(run, id)) for id in ids])


def _resolve(run, id):
    if id is None:
        return system_user
    authentication = queryUtility(IAuthentication)
    if authentication is None:
        return NamedPrincipal(id)
    try:
        return authentication.getPrincipal(id)
    except PrincipalLookupError:
        raise StarterGone(
            'run %r: expected the principal %r to exist, as the run has its '
            'permissions, got none of that id; start it anew'
            % (run.id, id)) from None


def _check(run):
    target = getSite() if run.reference is None else run.context
    if target is None:
        return   # The context is gone, so no work will be done.
    newInteraction(*_people(run))
    try:
        permitted = checkPermission(run.permission, target)
    finally:
        endInteraction()
    if not permitted:
        raise StarterGone(
            'run %r: expected its starter %r still to have the permission '
            '%r, got none; start it anew'
            % (run.id, run.starter, run.permission))
