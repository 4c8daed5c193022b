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
"""The overview: problems, running runs, recent errors and charts."""
from typing import Any
from urllib.parse import urlencode

from zope.browserpage import ViewPageTemplateFile
from zope.component import queryAdapter

from cipher.background.browser import descriptions
from cipher.background.browser import panels
from cipher.background.browser.addresses import getURL
from cipher.background.browser.administration import AdministrationPage
from cipher.background.browser.errorgroups import Groups
from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.page import Published
from cipher.background.browser.page import Refused
from cipher.background.browser.processes import GONE
from cipher.background.i18n import _
from cipher.background.i18n import plural
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STATES
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import IRegistryInstaller
from cipher.background.interfaces import ProcessNotFound


#: Errors that the overview shows, and failed runs that it looks at.  These
#: are few, as the successes since the oldest are read as well, to know what is
#: resolved; the page of the errors has more.
LIMIT = 10
LOOKS = 100
#: Runs that the table of running runs shows; the list of runs has the others.
RUNNING_LIMIT = 50

#: Multiple of its usual duration from which a type is named as slow, and the
#: types that are named.
SLOW = 1.5
SLOW_LIMIT = 3

#: {state: kind of its colour}, from the bottom of a bar up.
_KEYS = {SUCCEEDED: 'good', STOPPED: 'wait', INTERRUPTED: 'stop',
         FAILED: 'bad'}


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


class OverviewPage(panels.Charted, Groups, Overview,
                   AdministrationPage):
    """The page of the overview; it offers the acts on a copied database."""

    template = ViewPageTemplateFile('templates/overview.pt')
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
        self.findGroups((), LOOKS)
        self.activity = self.checked.getActivity()
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
    def groups(self):
        """The errors, those with unresolved runs first."""
        groups = sorted(self.found.groups,
                        key=lambda group: not group.unresolved)
        return self.drawGroups(groups[:LIMIT])

    @property
    def unresolved(self):
        """Sentence on the unresolved runs, or ''."""
        number = sum(group.unresolved for group in self.found.groups)
        return number and self.say(plural(
            '${number} run is not resolved', '${number} runs are not resolved',
            number)) or ''

    @property
    def cut(self):
        """Sentence on failures that are left out, or ''."""
        return self.sayCut()

    @property
    def charts_url(self):
        return self.registry_url + '/index.html'

    @property
    def charts_title(self):
        return (_('The last 14 days') if self.is_fortnight
                else _('The last 24 hours'))

    @property
    def panels(self):
        """The charts of the chosen span; none if no run finished."""
        periods, whole, names, unit = self.choosePeriods(self.activity)
        if not any(period.counts for period in periods):
            return []
        presenter = self.presenter
        multiples = panels.makeMultiples(
            presenter, names, [one.pace_half for one in periods],
            [one.pace_most for one in periods],
            self.say(_('Duration against usual')), 'paces',
            (whole.pace_half, whole.pace_most))
        if multiples is not None:
            multiples['links'] = self._list_slow()
        return list(filter(None, [
            panels.makeBars(presenter, names, [
                (presenter.getState(state), [
                    one.counts.get(state, 0) for one in periods])
                for state in _KEYS], list(_KEYS.values()),
                self.say(_('Finished')), unit, 'finished'),
            self.makeWaits(periods, whole, names), multiples]))

    def _list_slow(self):
        """Return the types that got slower in the last 24 hours, as links."""
        paces = self.activity.paces
        slow = sorted((name for name, pace in paces.items() if pace >= SLOW),
                      key=paces.get, reverse=True)
        types = self.checked.getWorkerTypes()
        return [{
            'text': '%s %s' % (
                self.presenter.sayTitle(
                    types[name].title if name in types else name),
                self.presenter.format.multiple(paces[name])),
            'url': '%s/type.html?%s' % (self.registry_url, urlencode(
                {'name': name}, errors='replace')),
        } for name in slow[:SLOW_LIMIT]]

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
