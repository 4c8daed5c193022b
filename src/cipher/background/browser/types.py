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
"""The worker types: what may be started, how it went, pause and resume."""
from urllib.parse import urlencode

import transaction
from zope.browserpage import ViewPageTemplateFile
from zope.component import queryUtility
from zope.security import checkPermission
from zope.security.interfaces import IPermission
from zope.security.proxy import removeSecurityProxy

from cipher.background.browser import situation
from cipher.background.browser.administration import AdministrationPage
from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.page import Refused
from cipher.background.browser.text import cleanLine
from cipher.background.i18n import _
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import START_WORKERS
from cipher.background.interfaces import UnknownWorkerType


#: So many runs of a type may wait until people start no more of it; an
#: application may.
WAITING_LIMIT = 10000


def findWorkerType(registry, name):
    """Return the declared worker type of that name that the principal may see.

    None if there is none.
    """
    return removeSecurityProxy(registry).getWorkerTypes().get(name)


def mayStart(worker_type, registry, context=None):
    """Return whether the principal may start that type.

    *context* is what the run is to be about; None: the site.
    """
    return (checkPermission(START_WORKERS, registry)
            and checkPermission(
                worker_type.permission,
                registry.getSite() if context is None else context))


def refuseFlood(registry, name):
    """Refuse a start by people where too many runs of that type wait."""
    counts = removeSecurityProxy(registry).getCounts()
    if counts.get(name, {}).get(PENDING, 0) >= WAITING_LIMIT:
        raise Refused(429, _('Too many runs of this worker type wait already.'
                             '  Try again later.'))


def noteStart(name, run_id):
    """Let the transaction say what somebody started."""
    transaction.get().note('Start background worker %s as run %s' % (
        cleanLine(name, 200), run_id))


class Types:
    """Collects what the page and the JSON show."""

    def listTypes(self):
        """Return the plain data of each worker type."""
        declared = removeSecurityProxy(self.registry.getWorkerTypes())
        return [self._describe(status, declared.get(status.name)) for status
                in removeSecurityProxy(self.registry.listTypes())]

    def _describe(self, status, worker_type):
        data = situation.describeType(self.presenter, status)
        data['may_start'] = (worker_type is not None
                             and mayStart(worker_type, self.registry))
        data['start_url'] = '%s/start.html?%s' % (
            self.registry_url,
            urlencode({'type': status.name}, errors='replace'))
        data['text']['permission'] = (
            worker_type and self._get_permission(worker_type))
        return data

    def _get_permission(self, worker_type):
        permission = queryUtility(IPermission, worker_type.permission)
        title = permission.title if permission is not None else ''
        return cleanLine(self.say(title) if title
                         else worker_type.permission)


class TypesPage(Types, AdministrationPage):
    """The page of the worker types."""

    template = ViewPageTemplateFile('templates/types.pt')
    title = _('Worker types')
    tab = 'types.html'
    verbs = ('pause', 'resume')
    words = {
        'pause': _('Pause'),
        'about_pause': _('No run of this type begins until it is resumed.  '
                         'What runs goes on, what is started waits.'),
        'resume': _('Resume'),
    }

    def collect(self):
        self.types = self.listTypes()

    def act(self, verb, name, reason):
        """Pause or resume that worker type."""
        try:
            self.registry.pauseType(name, verb == 'pause', reason)
        except UnknownWorkerType:
            raise Refused(404, _('There is no such worker type.'))


class TypesJSON(Types, JSONView):
    """The data of the worker types."""

    def collect(self):
        """Return the plain data."""
        return {'items': self.listTypes()}
