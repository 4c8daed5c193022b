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
"""What fails for the same reason: the errors as groups of runs."""
from typing import Any
from typing import Optional
from urllib.parse import urlencode

from zope.browserpage import ViewPageTemplateFile

from cipher.background.browser import panels
from cipher.background.browser.contextlinks import describeContext
from cipher.background.browser.descriptions import sayReason
from cipher.background.browser.filters import UNRESOLVED
from cipher.background.browser.formatting import HOUR
from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.page import Page
from cipher.background.browser.page import Published
from cipher.background.browser.page import Refused
from cipher.background.browser.page import getParameter
from cipher.background.browser.page import getParameters
from cipher.background.browser.runpage import getAgainURL
from cipher.background.browser.text import cleanLine
from cipher.background.browser.text import cleanText
from cipher.background.browser.verbs import mayDo
from cipher.background.i18n import _
from cipher.background.i18n import plural
from cipher.background.interfaces import UNSUCCESSFUL_STATES
from cipher.background.interfaces import RunNotFound


#: Groups that are shown.
LIMIT = 100
#: Runs of one error that its page shows; the list of runs has the others.
RUNS = 20
#: Failed runs up to which the page renews itself: more take too long.
LIVE_LIMIT = 500

#: Units of the drawing of the small chart.
SLOT = 5
HEIGHT = 20


class Groups(Published):
    """Finds and describes groups of errors."""

    def findGroups(self, names, *limit):
        """Find the errors of the types *names*; () stands for all."""
        self.names = names
        self.found = self.checked.listErrors(tuple(names), *limit)

    def readNames(self):
        """Return the names of types in the request."""
        return [name for name in getParameters(self.request, 'type')
                if name][:50]

    def describeGroups(self, groups):
        """Return the plain data of some `IErrorGroup`."""
        self._declared = self.checked.getWorkerTypes()
        may_retry = mayDo(self.checked, 'retry')
        return [self._describe(group, may_retry) for group in groups]

    def drawGroups(self, groups):
        """Return the plain data of some groups, with their small charts."""
        return [{**group, 'bars': _draw(group['hours'])}
                for group in self.describeGroups(groups)]

    def sayCut(self):
        """Return the sentence on failures that are left out, or ''."""
        return self.say(
            _('Only the last ${number} failures are counted.'),
            number=self.presenter.format.number(self.found.looked_at)) if (
                self.found.is_cut) else ''

    def _make_url(self, view, **query):
        return '%s/%s?%s' % (self.registry_url, view, urlencode(
            query, doseq=True, errors='replace'))

    def _describe(self, group, may_retry):
        presenter, format = self.presenter, self.presenter.format
        filter = {'error': group.key}
        if self.names:
            filter['type'] = self.names
        error_type, message = sayReason(presenter, group)
        types = [{
            'name': cleanLine(name), 'number': number,
            'text': format.number(number),
            'title': presenter.sayTitle(
                self._declared[name].title if name in self._declared
                else name),
            'url': self._make_url('type.html', name=name),
        } for name, number in sorted(group.types.items())]
        return {
            'id': group.key,
            'error_type': error_type,
            'message': message,
            'number': group.number,
            'unresolved': group.unresolved,
            'first_at': format.iso(group.first_at),
            'last_at': format.iso(group.last_at),
            'types': types,
            'hours': group.hours,
            'days': group.days,
            'url': self._make_url('error.html', **filter),
            'runs_url': self._make_url('runs.html', **filter),
            'retry_url': may_retry and group.unresolved and self._make_url(
                'bulk.html', all='retry', state=UNRESOLVED, **filter) or None,
            'last_run': group.last_run,
            'last_url': '%s/%s/index.html' % (
                self.registry_url, group.last_run),
            'text': {
                'types': ', '.join(one['title'] for one in types),
                'total': format.number(group.number),
                'unresolved': format.number(group.unresolved),
                'number': self.say(
                    _('${done} of ${total}'),
                    done=format.number(group.unresolved),
                    total=format.number(group.number)),
                'retry': self.say(
                    _('Retry ${number}…'),
                    number=format.number(group.unresolved)),
                'first': format.dateTime(group.first_at),
                'first_short': presenter.sayShort(group.first_at),
                'last': format.dateTime(group.last_at),
                'last_short': presenter.sayShort(group.last_at),
                'hours': self.say(
                    plural('${number} run in the last 24 hours',
                           '${number} runs in the last 24 hours',
                           sum(group.hours))),
            },
        }


class ErrorGroups(Groups):
    """Collects the data of the page and its JSON."""

    def collect(self):
        """Return the plain data of the errors."""
        self.findGroups(self.readNames())
        return {
            'items': self.describeGroups(self.found.groups[:LIMIT]),
            'number': len(self.found.groups),
            'looked_at': self.found.looked_at,
            'is_cut': self.found.is_cut,
        }


class ErrorsPage(Groups, Page):
    """The page of the errors."""

    template = ViewPageTemplateFile('templates/errors.pt')
    title = _('Errors')
    tab = 'errors.html'

    def update(self):
        self.findGroups(self.readNames())
        self.groups = self.drawGroups(self.found.groups[:LIMIT])

    @property
    def part(self):
        """Name of the piece that the script renews; None if it is costly."""
        return 'errors' if self.found.looked_at <= LIVE_LIMIT else None

    @property
    def cut(self):
        """Sentence on failures that are left out, or ''."""
        said = [self.sayCut()]
        if len(self.found.groups) > LIMIT:
            said.append(self.say(
                _('Only the first ${number} errors are shown.'),
                number=self.presenter.format.number(LIMIT)))
        return '  '.join(filter(None, said))

    @property
    def all_url(self):
        """URL of the errors of all types; None if these are all."""
        return self.names and '%s/errors.html' % self.registry_url or None


class ErrorPage(panels.Charted, Groups, Page):
    """The page of one error: its runs, their times and one traceback."""

    template = ViewPageTemplateFile('templates/errorgroup.pt')
    tab = 'errors.html'
    group: Optional[dict[str, Any]] = None

    def update(self):
        self.key = getParameter(self.request, 'error')
        self.findGroups(self.readNames())
        groups = [group for group in self.found.groups
                  if group.key == self.key]
        if not groups:
            raise Refused(404, _(
                'There is no such error, or none of its runs is left among '
                'the last failures.'))
        self.group, = self.describeGroups(groups)
        found = self.checked.listRuns(
            states=UNSUCCESSFUL_STATES, types=tuple(self.names),
            error=self.key, limit=RUNS)
        self.runs = [self.presenter.describeRun(run) for run in found.items]
        self._find_last(groups[0].last_run)

    def _find_last(self, run_id):
        """Find the traceback of the last run, and where its work is redone."""
        self.traceback = self.again_url = None
        if not self.can_see_details:
            return
        try:
            details = self.checked.getDetails(run_id)
            name = self.checked.getStatus(run_id).type
            context = describeContext(
                self.checked, run_id, self.presenter, self.request)
        except RunNotFound:
            return   # it went in the meantime
        self.traceback = cleanText(details.traceback) or None
        self.again_url = getAgainURL(
            self.checked, self.registry_url, name, run_id, details.input,
            context)

    @property
    def title(self):
        """The class of the error."""
        return self.group['error_type'] if self.group else _('Errors')

    @property
    def breadcrumbs(self):
        return super().breadcrumbs + [{
            'title': _('Errors'), 'url': self.registry_url + '/errors.html'}]

    @property
    def part(self):
        """Name of the piece that the script renews; None if it is costly."""
        return 'error' if self.found.looked_at <= LIVE_LIMIT else None

    @property
    def charts_url(self):
        filter = {'error': self.key}
        if self.names:
            filter['type'] = self.names
        return self._make_url('error.html', **filter)

    @property
    def panel(self):
        """The chart of the runs."""
        numbers, names, unit = self._choose()
        return panels.makeBars(
            self.presenter, names, [(self.say(_('Runs')), numbers)],
            ('bad',), self.say(_('Failed')), unit, 'failed')

    def _choose(self):
        format = self.presenter.format
        end = (int(self.presenter.now) // HOUR + 1) * HOUR
        if self.is_fortnight:
            days = self.group['days']
            return days, [format.day(end - 24 * HOUR * back - 1)
                          for back in range(len(days))][::-1], (
                              self.say(_('runs in 24 hours')))
        hours = self.group['hours']
        return hours, [format.hour(end - HOUR * (back + 1))
                       for back in range(len(hours))][::-1], (
                           self.say(_('runs an hour')))


class ErrorsJSON(ErrorGroups, JSONView):
    """The data of the errors."""


def _draw(hours):
    """Return the bars of the small chart."""
    top = max(1, *hours)
    return [{'x': index * SLOT, 'y': '%.1f' % (HEIGHT * (1 - number / top)),
             'height': '%.1f' % (HEIGHT * number / top)}
            for index, number in enumerate(hours) if number]
