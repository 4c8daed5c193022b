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
"""One worker type: is it getting slower, what waits, and what are its limits.
"""
from functools import cached_property
from urllib.parse import urlencode

from zope.browserpage import ViewPageTemplateFile
from zope.component import getGlobalSiteManager

from cipher.background.browser import descriptions
from cipher.background.browser import panels
from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.page import Refused
from cipher.background.browser.page import getParameter
from cipher.background.browser.text import cleanLine
from cipher.background.browser.types import Types
from cipher.background.browser.types import TypesPage
from cipher.background.browser.verbs import mayDo
from cipher.background.i18n import _
from cipher.background.interfaces import AS_STARTER
from cipher.background.interfaces import AS_SYSTEM
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import ITrigger


#: Running and waiting runs that the page shows; the list of runs has the
#: others.
LIMIT = 20


class TypeData(Types):
    """Collects the data of the page and the JSON."""

    @cached_property
    def name(self):
        """Name of the worker type, from the URL."""
        return getParameter(self.request, 'name')

    def findStatus(self):
        """Return the `ITypeStatus`; refuse an unknown or hidden type."""
        for status in self.checked.listTypes():
            if status.name == self.name:
                return status
        raise Refused(404, self.say(
            _('There is no worker type "${name}".'),
            name=cleanLine(self.name, 100)))

    def describe(self):
        """Return the plain data of the worker type."""
        status = self.findStatus()
        worker_type = self.checked.getWorkerTypes().get(self.name)
        data = self.describeType(status, worker_type)
        self.history = self.checked.getHistory(self.name)
        runs = self.checked.listRuns(
            types=(self.name,), states=(PENDING, RUNNING), limit=LIMIT)
        number = self.presenter.format.number
        return {
            'type': data,
            'running': number(status.counts.get(RUNNING, 0)),
            'waiting': number(status.counts.get(PENDING, 0)),
            'runs': [self.presenter.describeRun(run) for run in runs.items],
            'day': self._describe(self.history.day),
            'fortnight': self._describe(self.history.fortnight),
            'hours': [self._describe(period)
                      for period in self.history.hours],
            'days': [self._describe(period) for period in self.history.days],
            'durations': [{'seconds': seconds, 'number': runs}
                          for seconds, runs in self.history.buckets],
        }

    def _describe(self, period):
        format = self.presenter.format
        total = sum(period.counts.values())
        failed = period.counts.get(FAILED, 0)
        return {
            'begins_at': format.iso(period.begins_at),
            'ends_at': format.iso(period.ends_at),
            'counts': dict(period.counts),
            'took_half': period.took_half, 'took_most': period.took_most,
            'waited_half': period.waited_half,
            'waited_most': period.waited_most,
            'text': {
                'took_half': format.rough(period.took_half) or '–',
                'took_most': self._say_most(period.took_most),
                'waited_half': format.rough(period.waited_half) or '–',
                'waited_most': self._say_most(period.waited_most),
                'failed': self.say(
                    _('${done} of ${total}'), done=format.number(failed),
                    total=format.number(total)),
                'rate': format.percent(failed / total) if total else '',
            },
        }

    def _say_most(self, seconds):
        return '' if seconds is None else self.say(
            _('95 % within ${span}'),
            span=self.presenter.format.rough(seconds))


class TypePage(panels.Charted, TypeData, TypesPage):
    """The page of one worker type."""

    template = ViewPageTemplateFile('templates/type.pt')

    def collect(self):
        self.data = self.describe()
        self.poll_url = '%s/type.json?%s' % (
            self.registry_url, _query(self.name))
        self.errors_url = '%s/errors.html?%s' % (
            self.registry_url, urlencode({'type': self.name},
                                         errors='replace'))
        self.can_stop = mayDo(self.checked, 'stop')
        self.can_retry = False   # no run here has finished
        self.worker_type = self.checked.getWorkerTypes().get(self.name)

    def act(self, verb, name, reason):
        """Pause or resume the worker type."""
        super().act(verb, name, reason)
        return 'type.html?' + _query(name)

    @property
    def title(self):
        """The title of the worker type."""
        # A refused page has no data.
        return (self.data['type']['title'] if 'data' in self.__dict__
                else _('Worker types'))

    @property
    def breadcrumbs(self):
        return super().breadcrumbs + [{
            'title': _('Worker types'),
            'url': self.registry_url + '/types.html'}]

    @property
    def action_url(self):
        return self.registry_url + '/type.html'

    @property
    def charts_url(self):
        return '%s/type.html?%s' % (self.registry_url, _query(self.name))

    @property
    def panels(self):
        """The charts of the chosen span."""
        presenter = self.presenter
        periods, whole, names, unit = self.choosePeriods(self.history)
        usual = None if self.is_fortnight else self.history.fortnight.took_half
        return list(filter(None, [
            panels.makeTimes(
                presenter, names, [one.took_half for one in periods],
                [one.took_most for one in periods],
                self.say(_('Duration')), 'took',
                (whole.took_half, whole.took_most), usual),
            self.makeWaits(periods, whole, names),
            panels.makeBars(
                presenter, names, [
                    (presenter.getState(SUCCEEDED), [
                        one.counts.get(SUCCEEDED, 0) for one in periods]),
                    (presenter.getState(STOPPED), [
                        one.counts.get(STOPPED, 0) for one in periods])],
                ('good', 'wait'), self.say(_('Finished')), unit, 'finished'),
            panels.makeBars(
                presenter, names, [
                    (presenter.getState(FAILED), [
                        one.counts.get(FAILED, 0) for one in periods]),
                    (presenter.getState(INTERRUPTED), [
                        one.counts.get(INTERRUPTED, 0) for one in periods])],
                ('bad', 'stop'), self.say(_('Failed')), unit, 'failed'),
            self._get_durations()]))

    def _get_durations(self):
        """Return the panel of the durations of 14 days, or None."""
        buckets = self.history.buckets
        used = [index for index, (_seconds, number) in enumerate(buckets)
                if number]
        if not used:
            return None
        begin = max(0, used[0] - 1)
        shown = buckets[begin:used[-1] + 2]
        span = self.presenter.format.span
        return panels.makeBars(
            self.presenter,
            [span(seconds) if seconds is not None else self.say(
                _('longer')) for seconds, _number in shown],
            [(self.say(_('Runs')), [number for _seconds, number in shown])],
            ('run',), self.say(_('Durations of 14 days')),
            self.say(_('runs that took at most as long as named')),
            'durations')

    @property
    def schedules(self):
        """The schedules that start the worker type."""
        format = self.presenter.format
        return [{
            'name': cleanLine(status.name),
            'expression': cleanLine(status.expression),
            'next_at': format.iso(status.next_at),
            'history': descriptions.describeTicks(
                self.presenter, status.recent),
            'next': (descriptions.sayPause(self.presenter, status)
                     or format.dateTime(status.next_at)),
        } for status in self.checked.listSchedules()
            if status.worker == self.name]

    @property
    def triggers(self):
        """The events that start the worker type."""
        found = []
        for registration in getGlobalSiteManager().registeredHandlers():
            if ITrigger.providedBy(registration.handler) and (
                    registration.handler.worker == self.name):
                found.append(', '.join(
                    cleanLine(required.__name__)
                    for required in registration.required))
        return sorted(found)

    @property
    def facts(self):
        """[(what, value)]: the limits and the rights of the worker type."""
        worker_type = self.worker_type
        if worker_type is None:
            return []
        say, format = self.say, self.presenter.format
        return [
            (say(_('At a time')), format.number(worker_type.max_running)
             or say(_('as many as there are threads'))),
            (say(_('Attempts')), format.number(worker_type.max_attempts)),
            (say(_('Wait before the second attempt')),
             format.duration(worker_type.retry_delay)
             if worker_type.max_attempts > 1 else ''),
            (say(_('Reacts to a stop within')),
             format.duration(worker_type.stop_timeout)),
            (say(_('Days that runs are kept')),
             format.number(worker_type.keep_days)),
            (say(_('Runs that are kept')), format.number(worker_type.keep)),
            (say(_('Permission to start it')),
             self.data['type']['text']['permission']),
            (say(_('Permission to see it')),
             self.getPermission(worker_type.view_permission)),
            (say(_('Works with the rights of')), self._say_rights()),
        ]

    def _say_rights(self):
        run_as = self.worker_type.run_as
        if run_as == AS_STARTER:
            return self.say(_('its starter'))
        if run_as == AS_SYSTEM:
            return self.say(_('the system'))
        return self.presenter.getPrincipal(run_as)


class TypeJSON(TypeData, JSONView):
    """The data of one worker type, for the script on the page."""

    def collect(self):
        """Return the plain data."""
        return self.describe()


def _query(name):
    return urlencode({'name': name}, errors='replace')
