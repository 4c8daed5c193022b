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
"""Health and metrics of a registry, for programs that watch it.

ZCML makes these two views public, so they check their reader themselves.  A
reader has the permission to see runs, or bears the token of
``<background:monitoring>``.  Anybody else gets the answer of an unknown
address, except that ``health.json`` may be switched on for everybody.
"""
from zope.component import getUtility
from zope.component import queryUtility
from zope.security.interfaces import Unauthorized
from zope.security.proxy import removeSecurityProxy

from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.page import Published
from cipher.background.browser.page import Refused
from cipher.background.i18n import _
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.interfaces import IMonitor
from cipher.background.interfaces import IMonitoringSettings
from cipher.background.interfaces import MetricsUnavailable
from cipher.background.util.host import getHost


class Watched(Published):
    """Base of the views that check their reader themselves."""

    name = None
    #: Whether the reader sees all worker types: who bears the token does.
    sees_all = False
    #: Whether the reader is anybody, who is told whether all is well.
    is_anybody = False

    #: Without a parent the view has no path, which the publication would
    #: note in the transaction: the reader may not see the registry.
    __parent__ = None

    def checkMethod(self):
        """Check the reader first, so that others learn nothing."""
        self.settings = queryUtility(IMonitoringSettings)
        self.checkReader()
        super().checkMethod()

    def checkReader(self):
        """Set `sees_all` and `is_anybody`; refuse a reader without rights."""
        # The request takes this header out of those that it shows.
        authorization = self.request._auth
        settings = self.settings
        if settings is not None and settings.accepts(authorization):
            self.sees_all = True
        elif getHost().checkPermission(
                VIEW_WORKERS, removeSecurityProxy(self.context)):
            pass
        elif settings is not None and settings.refuses(authorization):
            self.request.response.setHeader('WWW-Authenticate', 'Bearer')
            raise Refused(401, _('This is not the token of this server.'))
        elif self.isOpen():
            self.is_anybody = True
        else:
            raise Unauthorized(self.context, self.name, VIEW_WORKERS)

    def isOpen(self):
        """Return whether the view answers everybody."""
        return False

    @property
    def monitor(self):
        """The utility that knows."""
        return getUtility(IMonitor)


class HealthJSON(Watched, JSONView):
    """The health: 200 or 503, and for readers with rights the reasons."""

    name = 'health.json'

    def isOpen(self):
        return self.settings is not None and self.settings.public_health

    def update(self):
        health = self.monitor.checkHealth(self.context, self.sees_all)
        served = health.isServed(
            self.settings is not None and self.settings.ignore_problems)
        self.data = {} if self.is_anybody else health.describe()
        self.data['ok'] = served
        self.request.response.setStatus(200 if served else 503)

    def collect(self):
        return self.data


class Metrics(Watched):
    """The metrics in the text format of Prometheus."""

    name = 'metrics'
    content_type = 'text/plain;charset=utf-8'

    def update(self):
        try:
            kind, self.text = self.monitor.makeMetrics(
                self.context, self.sees_all)
        except MetricsUnavailable as error:
            raise Refused(503, str(error))
        self.request.response.setHeader('Content-Type', kind)

    def render(self):
        return self.text

    def renderRefusal(self, refused):
        return self.say(refused.message) + '\n'
