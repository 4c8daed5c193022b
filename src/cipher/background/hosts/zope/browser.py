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
"""``++background++`` in an application of Zope.

Zope asks for a user only after the traversal.  So no step asks for a
permission, and the published view does.
"""
from zExceptions import HTTPException
from zExceptions import NotFound
from zope.component import adapter
from zope.component import queryMultiAdapter
from zope.component.interfaces import ISite
from zope.interface import implementer
from zope.publisher.browser import BrowserView
from zope.publisher.interfaces import NotFound as NothingPublished
from zope.publisher.interfaces.browser import IBrowserPublisher
from zope.publisher.interfaces.browser import IBrowserRequest
from zope.security.interfaces import Unauthorized
from zope.traversing.interfaces import ITraversable
from ZPublisher.interfaces import IPubFailure

from cipher.background.browser import traversing
from cipher.background.browser.interfaces import IBackgroundLayer
from cipher.background.browser.traversing import Publisher
from cipher.background.browser.traversing import parseStep
from cipher.background.browser.traversing import queryView
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerRun
from cipher.background.util.host import getHost
from cipher.background.util.logs import getLogger


log = getLogger(__name__)

#: Errors that say what a reader may not see, or asked for.
_EXPECTED = (HTTPException, NothingPublished, Unauthorized)


@adapter(IPubFailure)
def logFailure(event):
    """Subscriber: log the error that our page of a failure does not show.

    Zope logs only errors that no page answers.
    """
    error = event.exc_info[1]
    if IBackgroundLayer.providedBy(event.request) and not (
            event.retry or isinstance(error, _EXPECTED)):
        log.error('Publishing %s failed', event.request['ACTUAL_URL'],
                  exc_info=event.exc_info)


@implementer(ITraversable)
@adapter(ISite, IBrowserRequest)
class RegistryNamespace(traversing.RegistryNamespace):
    """The namespace ``++background++`` of a site."""

    def traverse(self, name, ignored):
        """Return the nearest registry; raise `LocationError`."""
        registry = super().traverse(name, ignored)
        # A step with a namespace would pass by our publisher.
        stack = self.request['TraversalRequestNameStack']
        for number, step in enumerate(stack):
            namespace, rest = parseStep(step)
            if namespace == 'view':
                stack[number] = rest
            elif namespace or step in ('.', '..'):
                stack[number] = '-'
        return registry


@implementer(IBrowserPublisher)
class Nothing(BrowserView):
    """Answers for a name that leads nowhere.

    Only those learn it who may see runs: ZCML asks for the permission.
    """

    def publishTraverse(self, request, name):
        return self

    def browserDefault(self, request):
        return self, ()

    def __call__(self):
        raise NotFound(self.request['ACTUAL_URL'])


@implementer(IBrowserPublisher)
class _Publisher(Publisher):

    def publishTraverse(self, request, name):
        view = queryView(self.context, request, name)
        if view is not None:
            return view
        return self.find(name) or queryMultiAdapter(
            (self.context, request), name='nothing.html')

    def find(self, name):
        return None


@adapter(IWorkerRegistry, IBrowserRequest)
class RegistryPublisher(_Publisher):
    """Publishes the views of a registry, and its runs by id."""

    def find(self, name):
        with getHost().trusted():
            return self.context.get(name)


@adapter(IWorkerRun, IBrowserRequest)
class RunPublisher(_Publisher):
    """Publishes the views of a run."""
