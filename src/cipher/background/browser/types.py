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
"""The worker types: their starts, their numbers, pause and resume."""
from urllib.parse import urlencode

from zope.browserpage import ViewPageTemplateFile
from zope.component import queryUtility
from zope.security.interfaces import IPermission

from cipher.background.browser import descriptions
from cipher.background.browser.administration import AdministrationPage
from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.page import Published
from cipher.background.browser.page import Refused
from cipher.background.browser.paths import NoSuchObject
from cipher.background.browser.paths import findObject
from cipher.background.browser.text import cleanLine
from cipher.background.i18n import _
from cipher.background.interfaces import TooManyOfStarter
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.util.host import getHost


def mayStart(checked, name, path):
    """Return whether the principal may start the type *name*.

    *path* leads from the site to the context; it may be empty.
    """
    try:
        return checked.mayStart(name, findObject(checked.getSite(), path))
    except NoSuchObject:
        return False


def refuseFlood(error):
    """Refuse a start by a person because of *error*, a `TooManyWaiting`."""
    if isinstance(error, TooManyOfStarter):
        raise Refused(429, _('Too many of your runs are waiting.  Try '
                             'again when some of them are finished.'))
    raise Refused(429, _('Too many runs of this worker type are waiting.  '
                         'Try again later.'))


def noteStart(name, run_id):
    """Add the start of a run to the note of the transaction."""
    getHost().currentTransaction().note(
        'Start background worker %s as run %s' % (
            cleanLine(name, 200), run_id))


class Types(Published):
    """Collects the data of the page and the JSON."""

    def listTypes(self):
        """Return the plain data of each worker type."""
        declared = self.checked.getWorkerTypes()
        return [self.describeType(status, declared.get(status.name))
                for status in self.checked.listTypes()]

    def describeType(self, status, worker_type):
        """Return an `ITypeStatus` as a dict.

        *worker_type* is the `IWorkerType`, or None if it is not declared.
        """
        data = descriptions.describeType(self.presenter, status)
        data['may_start'] = (worker_type is not None
                             and self.checked.mayStart(status.name))
        data['start_url'] = '%s/start.html?%s' % (
            self.registry_url,
            urlencode({'type': status.name}, errors='replace'))
        data['text']['permission'] = (
            worker_type and self.getPermission(worker_type.permission))
        return data

    def getPermission(self, name):
        """Return the title of the permission *name*; '' for None."""
        permission = name and queryUtility(IPermission, name)
        title = permission.title if permission else ''
        return cleanLine(self.say(title) if title else name)


class TypesPage(Types, AdministrationPage):
    """The page of the worker types."""

    template = ViewPageTemplateFile('templates/types.pt')
    title = _('Worker types')
    tab = 'types.html'
    verbs = ('pause', 'resume')
    asks = 'pauseType'
    words = {
        'pause': _('Pause'),
        'about_pause': _('No run of this type begins until it is resumed.  '
                         'Running ones continue, new ones wait.'),
        'resume': _('Resume'),
    }

    def collect(self):
        self.types = self.listTypes()

    def act(self, verb, name, reason):
        """Pause or resume the worker type."""
        try:
            self.checked.pauseType(name, verb == 'pause', reason)
        except UnknownWorkerType:
            raise Refused(404, _('There is no such worker type.'))


class TypesJSON(Types, JSONView):
    """The data of the worker types."""

    def collect(self):
        """Return the plain data."""
        return {'items': self.listTypes()}
