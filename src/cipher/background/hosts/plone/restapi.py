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
"""Services of plone.restapi: ``@background-runs`` of a site.

They answer by the views of our JSON, so both check one input and ask for the
same permissions.  An error has the form of plone.restapi.

plone.restapi checks no form token: its clients send a token of their login in
a header, and only a script of the site can do that.  A browser sends a cookie
or a login by Basic also with a form of another site.  So these logins need our
own token for a POST.
"""
from http import HTTPStatus

from plone.restapi.services import Service
from zExceptions import Unauthorized as HTTPUnauthorized
from zope.component import hooks
from zope.interface import implementer
from zope.interface import noLongerProvides
from zope.publisher.interfaces import IPublishTraverse
from zope.security.interfaces import Unauthorized

from cipher.background.browser.api import JSONAction
from cipher.background.browser.api import RetryJSON
from cipher.background.browser.api import StartJSON
from cipher.background.browser.api import StopJSON
from cipher.background.browser.interfaces import IBackgroundLayer
from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.jsonview import dumpJSON
from cipher.background.browser.page import Published
from cipher.background.browser.page import Refused
from cipher.background.browser.runpage import GONE
from cipher.background.browser.runpage import RunJSON
from cipher.background.browser.runs import RunsJSON
from cipher.background.browser.traversing import markRequest
from cipher.background.browser.traversing import queryRegistry
from cipher.background.i18n import _
from cipher.background.interfaces import IVerbs
from cipher.background.util.host import getHost


NAME = '@background-runs'


class _Answer(JSONView):
    """Base: an answer in the form of plone.restapi."""

    def addressOf(self, run_id=None):
        """Return the address of a run, or that of the list."""
        url = '%s/%s' % (
            getHost().getURL(hooks.getSite(), self.request), NAME)
        return url if run_id is None else '%s/%s' % (url, run_id)

    def renderRefusal(self, refused):
        return dumpJSON({
            'type': HTTPStatus(refused.status).phrase.replace(' ', ''),
            'message': self.say(refused.message)})


class RunList(_Answer, RunsJSON):
    """A page of runs."""

    def collect(self):
        """Return the plain data."""
        data = super().collect()
        for item in data['items']:
            item['@id'] = self.addressOf(item['id'])
        return {'@id': self.addressOf(), **data}


class OneRun(_Answer, RunJSON):
    """One run."""

    def collect(self):
        """Return the plain data."""
        return {'@id': self.addressOf(self.run_id), **super().collect()}


class _Action(_Answer, JSONAction):

    def checkSender(self):
        # No other site can let a browser send this header.
        scheme = (self.request._auth or '').partition(' ')[0]
        if scheme.lower() != 'bearer':
            super().checkSender()

    def answer(self, run_id, state):
        """Return the id and state of a run and its addresses."""
        data = super().answer(run_id, state)
        url = self.addressOf(run_id)
        self.request.response.setHeader('Location', url)
        return {'@id': url, **data}


class Start(_Action, StartJSON):
    """Starts a worker."""


class Stop(_Action, StopJSON):
    """Asks a run to stop."""


class Retry(_Action, RetryJSON):
    """Retries a finished run."""


class Missing(_Answer):
    """Answers for a *message* about what is not there."""

    def __init__(self, context, request, message):
        super().__init__(context, request)
        self.message = message

    def checkMethod(self):
        raise Refused(404, self.message)


@implementer(IPublishTraverse)
class _Runs(Service):
    """Base: finds the view that answers."""

    #: {the step behind the id of a run: view of that run}
    run_views: dict[str | None, type[Published]] = {}
    list_view: type[Published]

    def __init__(self, context, request):
        super().__init__(context, request)
        self.steps = []

    def publishTraverse(self, request, name):
        self.steps.append(name)
        return self

    def render(self):
        self.check_permission()
        markRequest(self.request)
        try:
            return self.find()()
        except Exception as error:
            # Not our pages of errors, but the JSON of plone.rest.
            noLongerProvides(self.request, IBackgroundLayer)
            if isinstance(error, Unauthorized):
                raise HTTPUnauthorized(
                    'You are not authorized to do this.') from error
            raise

    def find(self):
        """Return the view that answers."""
        registry = queryRegistry(self.context)
        if registry is None:
            return Missing(self.context, self.request, _(
                'This site has no registry of background runs.'))
        if not self.steps:
            return self.list_view(registry, self.request)
        run_id, verb, *rest = *self.steps, None
        view = None if rest[1:] else self.run_views.get(verb)
        run = IVerbs(registry).get(run_id)
        if run is None or view is None:
            return Missing(self.context, self.request, GONE)
        return view(run, self.request)


class RunsGet(_Runs):
    """``GET @background-runs`` and ``GET @background-runs/RUN``."""

    list_view = RunList
    run_views = {None: OneRun}


class RunsPost(_Runs):
    """``POST @background-runs`` and ``POST @background-runs/RUN/VERB``."""

    list_view = Start
    run_views = {'stop': Stop, 'retry': Retry}
