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
"""The pages that are shown after an error.

They repeat nothing of the request's URL, and show only the kind of the error.
The rest is in the log.
"""
from typing import Any

from zope.browser.interfaces import ISystemErrorView
from zope.browserpage import ViewPageTemplateFile
from zope.component import queryUtility
from zope.error.interfaces import IErrorReportingUtility
from zope.interface import implementer
from zope.security.proxy import removeSecurityProxy

from cipher.background.browser.jsonview import JSON_TYPE
from cipher.background.browser.jsonview import dumpJSON
from cipher.background.browser.page import Page
from cipher.background.browser.page import setHeaders
from cipher.background.browser.text import encode
from cipher.background.i18n import _
from cipher.background.interfaces import InvalidDatabase
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import NewerDatabase
from cipher.background.util.host import getHost


class ErrorPage(Page):
    """Base of the pages about exceptions; JSON if the request wants JSON."""

    status = 500
    explanation = ''
    tabs = ()
    # An error may come from what a count would read.
    wrong: Any = {}
    breadcrumbs = ()
    home = None
    template = ViewPageTemplateFile('templates/error.pt')

    def __call__(self):
        response = self.request.response
        wants_json = self._get_last_name().endswith('.json')
        if wants_json:
            setHeaders(response, JSON_TYPE)
        else:
            setHeaders(response, self.content_type, self.policy)
        response.setStatus(self.status)
        self.update()
        if self.request.method == 'HEAD' or (
                response.getStatus() in (301, 302, 303) and not wants_json):
            # The publication sends the body of an error page even for HEAD.
            # A redirect of the authentication needs no body.
            return b''
        if wants_json:
            return encode(dumpJSON({'status': response.getStatus(),
                                    'error': self.say(self.title)}))
        return encode(self.template())

    def _get_last_name(self):
        # If traversal failed at a missing run, the view is still the first
        # entry of the stack.
        stack = self.request.getTraversalStack()
        return stack[0] if stack else self.request.getURL()


class UnauthorizedPage(ErrorPage):
    """Asks an anonymous principal to log in; refuses anybody else."""

    status = 403
    title = _('Not allowed')
    explanation = _('You are not allowed to see this page or to do this.')

    def update(self):
        getHost().challenge(self.request)


class NotFoundPage(ErrorPage):
    """The address leads nowhere."""

    status = 404
    title = _('Not found')
    explanation = _('There is nothing at this address.  It may have been '
                    'removed, or the address is wrong.')

    @property
    def registry(self):
        return getattr(self.context, 'ob', None)

    @property
    def tabs(self):
        # The guards raise NotFound below a registry only for readers who may
        # see runs, so the tabs reveal nothing.
        is_below = IWorkerRegistry.providedBy(self.registry)
        return super(ErrorPage, self).tabs if is_below else ()


@implementer(ISystemErrorView)
class SystemErrorPage(ErrorPage):
    """Any other error, or a request that cannot be read."""

    status = 500
    title = _('Something went wrong')
    explanation = _('The server could not do this.  The error is in its '
                    'log; nothing was changed.')

    def update(self):
        error = removeSecurityProxy(self.context)
        if isinstance(error, InvalidDatabase):
            self._explain(error)
        # An error before the authentication means that the request itself is
        # bad: its form or its credentials cannot be read.
        elif getHost().principalOf(self.request) is None and isinstance(
                error, (ValueError, LookupError)):
            self.title = _('Bad request')
            self.explanation = _(
                'The server does not understand this request.  Nothing was '
                'changed.')
            self.request.response.setStatus(400)

    def _explain(self, error):
        self.request.response.setStatus(503)
        if isinstance(error, NewerDatabase):
            self.title = _('The database is newer than this server')
            self.explanation = _(
                'A newer release has used this database, which now has '
                'structure ${number}.  Install that release on this '
                'server, or restore a backup.  Nothing was changed.',
                mapping={'number': error.version})
        else:
            self.title = _('The database cannot be used')
            self.explanation = _(
                'The records of the background work are damaged, or belong '
                'to another release than this server.  The log names '
                'them.  Nothing was changed.')

    def isSystemError(self):
        """Return whether the publication has to log the error.

        False if the error reporting utility has logged it already.
        """
        utility = queryUtility(IErrorReportingUtility)
        return not getattr(utility, 'copy_to_zlog', False)
