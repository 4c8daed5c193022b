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
"""The worker types: what may be started, and its counts."""
from urllib.parse import urlencode

from zope.browserpage import ViewPageTemplateFile
from zope.component import getUtilitiesFor
from zope.component import queryUtility
from zope.security import checkPermission
from zope.security.interfaces import IPermission
from zope.security.proxy import removeSecurityProxy

from cipher.background.browser.page import Page
from cipher.background.browser.text import cleanLine
from cipher.background.browser.text import cleanText
from cipher.background.i18n import _
from cipher.background.interfaces import START_WORKERS
from cipher.background.interfaces import STATES
from cipher.background.interfaces import IWorkerType


def mayStart(worker_type, registry):
    """Return whether the principal may start that type on the site."""
    return (checkPermission(START_WORKERS, registry)
            and checkPermission(worker_type.permission, registry.getSite()))


class TypesPage(Page):
    """The page of the worker types."""

    template = ViewPageTemplateFile('templates/types.pt')
    title = _('Worker types')
    tab = 'types.html'

    def update(self):
        counts = removeSecurityProxy(self.registry.getCounts())
        declared = dict(getUtilitiesFor(IWorkerType))
        self.types = [
            self._describe(name, declared.get(name), counts.get(name, {}))
            for name in sorted(set(declared) | set(counts))]

    def _describe(self, name, worker_type, counts):
        url, query = self.registry_url, urlencode(
            {'type': name}, errors='replace')
        return {
            'name': cleanLine(name),
            'title': cleanLine(worker_type.title if worker_type else name),
            'description': (cleanText(worker_type.description)
                            if worker_type else ''),
            'is_declared': worker_type is not None,
            'is_loop': worker_type is not None and worker_type.is_loop,
            'permission': worker_type and self._get_permission(worker_type),
            'may_start': (worker_type is not None
                          and mayStart(worker_type, self.registry)),
            'start_url': '%s/start.html?%s' % (url, query),
            'runs_url': '%s/runs.html?%s' % (url, query),
            'counts': [
                {'state': state, 'title': self.presenter.getState(state),
                 'count': counts[state],
                 'url': '%s/runs.html?state=%s&%s' % (url, state, query)}
                for state in STATES if counts.get(state)],
        }

    def _get_permission(self, worker_type):
        permission = queryUtility(IPermission, worker_type.permission)
        title = permission.title if permission is not None else ''
        return cleanLine(self.say(title) if title
                         else worker_type.permission)
