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
"""The registry: the runs of a site, in lanes."""
from persistent import Persistent
from zope.container.contained import Contained
from zope.interface import implementer
from zope.security.proxy import removeSecurityProxy

from cipher.background.declarations.workertype import getWorkerType
from cipher.background.interfaces import InvalidContext
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.queries.snapshot import Snapshot
from cipher.background.registry import services
from cipher.background.registry.administration import Administration
from cipher.background.registry.bound import checkStarter
from cipher.background.registry.uniqueness import findPending
from cipher.background.registry.uniqueness import findStarted
from cipher.background.store.lifecycle import checkOptions
from cipher.background.store.process import makeKnown
from cipher.background.store.uniquekeys import onceKey
from cipher.background.store.uniquekeys import rightsOf
from cipher.background.store.uniquekeys import uniqueKey
from cipher.background.util import clock
from cipher.background.util.principal import currentPrincipal
from cipher.background.util.principal import currentPrincipals
from cipher.background.util.reference import refer
from cipher.background.util.switchboard import wakeAfterCommit


@implementer(IWorkerRegistry)
class WorkerRegistry(Administration, Contained, Persistent):
    """The runs of a site, with their schedules, services and journal."""

    # Starting

    def start(self, name, /, context=None, **input):
        return self._start(name, context, input, None)

    def startByPrincipal(self, name, /, context=None, **input):
        return self._start(name, context, input, self.permit(name, context))

    def startOnce(self, since, name, context=None, input=None):
        permission = self.permit(name, context)
        worker_type = getWorkerType(name)
        key = onceKey(
            worker_type.name, currentPrincipal(),
            self._refer(removeSecurityProxy(context)),
            worker_type.cleanInput(_given(input), self.findSite()))
        run = findStarted(self, key, since)
        if run is None:
            run = self._start(name, context, _given(input), permission)
            # A second click at the same time conflicts, and then finds it.
            self.unique_keys[key] = run.lane, run.serial
        return run

    def submit(self, name, context=None, input=None, delay=0.0, unique=None,
               priority=None):
        checkOptions(delay, unique, priority)
        return self._start(name, context, _given(input), None, delay, unique,
                           priority)

    def _start(self, name, context, input, permission, delay=0.0, unique=None,
               priority=None):
        worker_type = getWorkerType(name)
        if self._p_jar is not None and makeKnown(self):
            # The registry may be a copy.  Its waiting runs are then kept
            # back, so none of them may stand for this start.
            wakeAfterCommit(self._p_jar)
        input = worker_type.cleanInput(input, self.findSite()) or None
        reference = self._refer(removeSecurityProxy(context))
        if worker_type.autostart:
            run = services.findLiving(self, worker_type)
            if run is not None:
                return run
        starter, asker = currentPrincipals()
        key = uniqueKey(
            unique or worker_type.unique, worker_type.name, reference, input,
            rightsOf(worker_type, starter, asker))
        if key is not None:
            snapshot = Snapshot(self)
            run = findPending(self, key, lambda run: snapshot.live(run))
            if run is not None:
                return run
        if permission is not None:
            checkStarter(self, starter)
        run = self.addRun(
            worker_type.name, reference=reference, input=input,
            permission=permission, starter=starter, asker=asker,
            due_at=clock.now() + float(delay) if delay > 0 else None,
            priority=int(
                worker_type.priority if priority is None else priority),
            unique_key=key)
        if worker_type.autostart:
            services.adopt(self, worker_type, run)
        return run

    def _refer(self, context):
        if context is None:
            return None
        if self._p_jar is None:
            raise InvalidContext(
                'context: expected a registry that is stored in a database, '
                'got one that is not; commit it first')
        return refer(context, self._p_jar)


def _given(input):
    return {} if input is None else input
