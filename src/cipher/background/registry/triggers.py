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
"""Triggers: event handlers that start runs."""
import logging

from zope.interface import implementer
from zope.lifecycleevent.interfaces import IObjectRemovedEvent
from zope.security.proxy import removeSecurityProxy

from cipher.background.interfaces import BY_TRIGGER
from cipher.background.interfaces import IRunEvent
from cipher.background.interfaces import ITrigger
from cipher.background.registry.installation import nearestRegistry
from cipher.background.registry.unattended import recordFailure
from cipher.background.registry.unattended import startAutomatically
from cipher.background.store.cause import Reason
from cipher.background.util.calling import callHook
from cipher.background.util.transient import isTransient


log = logging.getLogger(__name__)


@implementer(ITrigger)
class Trigger:
    """The handler that ``<background:trigger>`` subscribes."""

    def __init__(self, worker, condition=None, input=None, unique=None,
                 delay=0.0, priority=None, name=None):
        self.worker = worker
        self.name = name
        self.input = input
        self._condition = condition
        self._options = {'unique': unique, 'delay': delay,
                         'priority': priority}
        self._source = 'trigger of %r' % worker

    def __repr__(self):
        return '<Trigger of %r>' % self.worker

    def __call__(self, *objects):
        event = removeSecurityProxy(objects[-1])
        subject = objects[0] if len(objects) > 1 else getattr(
            event, 'object', None)
        registry, context = _place(event, removeSecurityProxy(subject))
        if registry is None:
            log.debug('%s: no registry above %r, nothing is started',
                      self._source, type(subject).__name__)
        elif self._holds(registry, objects):
            startAutomatically(
                registry, self._source, self.worker, context, self.input,
                *objects, reason=_reason(event), **self._options)

    def _holds(self, registry, objects):
        if self._condition is None:
            return True
        try:
            return callHook('%s: its condition' % self._source,
                            self._condition, *objects)
        except Exception as error:
            if isTransient(error, registry._p_jar and registry._p_jar.db()):
                raise
            recordFailure(registry, self._source, self.worker, error,
                          '%s: its condition failed; worker %r is not started',
                          reason=_reason(removeSecurityProxy(objects[-1])))
            return False


def _reason(event):
    return Reason(BY_TRIGGER, type(event).__name__,
                  event.object if IRunEvent.providedBy(event) else None)


def _place(event, subject):
    """Return (registry or None, context) of a run that *event* starts."""
    if IRunEvent.providedBy(event):
        # A chain: the next run has the context of the first.
        return event.registry, event.object.context
    if IObjectRemovedEvent.providedBy(event):
        # The removed object will be gone when the work begins, so the run is
        # about its former container.
        subject = removeSecurityProxy(event.oldParent)
    return nearestRegistry(subject), subject
