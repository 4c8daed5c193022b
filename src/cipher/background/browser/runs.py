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
"""The list of runs: filtered by what the URL says, newest first."""
from urllib.parse import urlencode

from zope.browserpage import ViewPageTemplateFile
from zope.component import getUtilitiesFor
from zope.security.proxy import removeSecurityProxy

from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.page import Page
from cipher.background.browser.page import Refused
from cipher.background.browser.page import getParameter
from cipher.background.browser.page import getParameters
from cipher.background.browser.text import cleanLine
from cipher.background.i18n import _
from cipher.background.interfaces import STATES
from cipher.background.interfaces import IWorkerType


PAGE_SIZE = 50
#: Longest thing that a filter may say.
VALUE_LIMIT = 200


class BadFilter(Refused):
    """The URL asks for something that makes no sense."""

    def __init__(self, message):
        super().__init__(400, message)


class Runs:
    """Reads the filter of the request and gets its runs."""

    def readFilter(self):
        """Read the filter; raise `BadFilter`."""
        self.states = self._read('state')
        self.types = self._read('type')
        self.before = getParameter(self.request, 'before') or None
        for state in self.states:
            if state not in STATES:
                raise BadFilter(_('There is no state "${state}".', mapping={
                    'state': cleanLine(state, 40)}))
        if len(self.before or '') > VALUE_LIMIT:
            raise BadFilter(_('The address of this page is not valid.  '
                              'Begin again with the newest runs.'))

    def _read(self, name):
        values = [value for value in getParameters(self.request, name)
                  if value]
        if len(values) > 50 or any(len(value) > VALUE_LIMIT
                                   for value in values):
            raise BadFilter(_('The filter is too long.'))
        return values

    def collect(self):
        """Return the plain data of one page of runs."""
        self.readFilter()
        try:
            page = removeSecurityProxy(self.registry.listRuns(
                states=tuple(self.states), types=tuple(self.types),
                limit=PAGE_SIZE, before=self.before))
        except ValueError:
            raise BadFilter(_('The address of this page is not valid.  '
                              'Begin again with the newest runs.'))
        return {
            'items': [self.presenter.describeRun(status)
                      for status in page.items],
            'older': page.older,
            'older_url': page.older and self.getURL(before=page.older),
            'states': [cleanLine(state) for state in self.states],
            'types': [cleanLine(name) for name in self.types],
        }

    def getURL(self, view='runs.html', **changes):
        """Return the URL of a list with the filter as it is, or *changes*."""
        query = dict({'state': self.states, 'type': self.types}, **changes)
        query = {name: value for name, value in query.items() if value}
        url = '%s/%s' % (self.registry_url, view)
        if not query:
            return url
        return '%s?%s' % (url, urlencode(query, doseq=True,
                                         errors='replace'))


class RunsPage(Runs, Page):
    """The page of the list."""

    template = ViewPageTemplateFile('templates/runs.pt')
    title = _('Runs')
    tab = 'runs.html'

    def update(self):
        self.data = self.collect()
        counts = removeSecurityProxy(self.registry.getCounts())
        self.type_names = sorted(
            {name for name, _type in getUtilitiesFor(IWorkerType)}
            | set(counts))
        self._counts = [
            counts[name] for name in counts
            if not self.types or name in self.types]
        changes = {'before': self.before} if self.before else {}
        self.poll_url = self.getURL('runs.json', **changes)
        self.newest_url = self.getURL() if self.before else None

    @property
    def state_filters(self):
        """The states to choose from, with the counts of the chosen types."""
        filters = [{
            'state': None, 'title': self.presenter.say(_('All')),
            'count': sum(sum(counts.values()) for counts in self._counts),
            'url': self.getURL(state=None), 'current': not self.states}]
        for state in STATES:
            filters.append({
                'state': state,
                'title': self.presenter.getState(state),
                'count': sum(counts.get(state, 0)
                             for counts in self._counts),
                'url': self.getURL(state=[state]),
                'current': state in self.states})
        return filters

    @property
    def type_filters(self):
        """The worker types to choose from."""
        declared = dict(getUtilitiesFor(IWorkerType))
        return [{'name': cleanLine(name),
                 'title': (cleanLine(declared[name].title)
                           if name in declared else cleanLine(name)),
                 'selected': name in self.types}
                for name in self.type_names]


class RunsJSON(Runs, JSONView):
    """The data of the list, for the script on the page."""
