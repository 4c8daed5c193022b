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
"""The overview: running runs, recent failures and problems."""
from typing import Any

from zope.browserpage import ViewPageTemplateFile
from zope.component import queryAdapter

from cipher.background.browser import descriptions
from cipher.background.browser.addresses import getURL
from cipher.background.browser.administration import AdministrationPage
from cipher.background.browser.chart import Chart
from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.page import Published
from cipher.background.browser.page import Refused
from cipher.background.browser.processes import GONE
from cipher.background.i18n import _
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STATES
from cipher.background.interfaces import IRegistryInstaller
from cipher.background.interfaces import ProcessNotFound


#: Runs that each table of the overview shows.
LIMIT = 10
#: Runs that the table of running runs shows; the list of runs has the others.
RUNNING_LIMIT = 50


class Overview(Published):
    """Collects the data of the page and its JSON."""

    def collect(self):
        """Return the plain data of the overview."""
        checked, presenter = self.checked, self.presenter
        by_type = checked.getCounts()
        counts = {state: sum(counts.get(state, 0)
                             for counts in by_type.values())
                  for state in STATES}
        return {
            'counts': counts,
            'text': {'counts': {
                state: presenter.format.number(counts[state])
                for state in STATES}},
            'running': self._list((RUNNING,), RUNNING_LIMIT),
            'failed': self._list((FAILED, INTERRUPTED), LIMIT),
            'processes': [
                descriptions.describeProcess(presenter, process)
                for process in checked.listProcesses()],
            'problems': [
                descriptions.describeProblem(
                    presenter, problem, self.can_see_details,
                    checked.may('adoptDatabase'), checked.may('beginKept'))
                for problem in self.problems],
        }

    def _list(self, states, limit):
        page = self.checked.listRuns(states=states, limit=limit)
        return [self.presenter.describeRun(status) for status in page.items]


class OverviewPage(Overview, AdministrationPage):
    """The page of the overview; it offers the acts on a copied database."""

    template = ViewPageTemplateFile('templates/overview.pt')
    chart_template = ViewPageTemplateFile('templates/chart.pt')
    title = _('Background workers: overview')
    tab = 'index.html'
    breadcrumbs = ()
    verbs = ('adopt', 'adopt_new', 'begin_kept', 'remove_kept')

    def act(self, verb, name, reason):
        """Adopt a copied database, or release or remove its kept runs."""
        if verb == 'begin_kept':
            self.checked.beginKept(reason)
        elif verb == 'remove_kept':
            self.checked.removeKept(reason)
        else:
            try:
                self.checked.adoptDatabase(
                    name, reason, keep_back=verb == 'adopt_new')
            except ProcessNotFound:
                raise Refused(404, GONE)

    def collect(self):
        self.data = super().collect()
        hours = self.checked.getHours()
        self.has_chart = bool(hours)
        self.chart = Chart(hours, self.presenter).collect()
        self.poll_url = self.registry_url + '/index.json'
        self.may_start = any(map(self.checked.mayStart,
                                 self.checked.getWorkerTypes()))
        self.may_change_thresholds = self.checked.may('changeThresholds')

    @property
    def remove_url(self):
        """URL to remove the registry; None without the permission."""
        site = self.checked.getSite()
        # Some hosts have no pages of a site.
        installer: Any = queryAdapter(site, IRegistryInstaller)
        if installer is None or not installer.mayUninstall():
            return None
        return '%s/@@removeBackground.html' % getURL(site, self.request)

    @property
    def chart_macros(self):
        """The macros that draw `chart`."""
        return self.chart_template.macros

    @property
    def counts(self):
        """The states with their counts and the URLs of their runs."""
        return [{'state': state,
                 'title': self.presenter.getState(state),
                 'count': self.data['text']['counts'][state],
                 'url': '%s/runs.html?state=%s' % (self.registry_url, state)}
                for state in STATES]


class OverviewJSON(Overview, JSONView):
    """The data of the overview, for the script on the page."""
