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
from urllib.parse import urlencode

from zope.browserpage import ViewPageTemplateFile

from cipher.background.browser.descriptions import sayReason
from cipher.background.browser.filters import UNRESOLVED
from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.page import Page
from cipher.background.browser.page import Published
from cipher.background.browser.page import getParameters
from cipher.background.browser.text import cleanLine
from cipher.background.browser.verbs import mayDo
from cipher.background.i18n import _
from cipher.background.i18n import plural


#: Groups that are shown.
LIMIT = 100
#: Failed runs up to which the page renews itself: more take too long.
LIVE_LIMIT = 500

#: Units of the drawing of the small chart.
SLOT = 5
HEIGHT = 20


class ErrorGroups(Published):
    """Collects the data of the page and its JSON."""

    def collect(self):
        """Return the plain data of the errors."""
        self.names = [name for name in getParameters(self.request, 'type')
                      if name][:50]
        found = self.checked.listErrors(tuple(self.names))
        self.declared = self.checked.getWorkerTypes()
        may_retry = mayDo(self.checked, 'retry')
        return {
            'items': [self._describe(group, may_retry)
                      for group in found.groups[:LIMIT]],
            'number': len(found.groups),
            'looked_at': found.looked_at,
            'is_cut': found.is_cut,
        }

    def _describe(self, group, may_retry):
        presenter, format = self.presenter, self.presenter.format
        filter = {'error': group.key}
        if self.names:
            filter['type'] = self.names
        name, message = sayReason(presenter, group)
        return {
            'id': group.key,
            'error_type': name,
            'message': message,
            'number': group.number,
            'unresolved': group.unresolved,
            'first_at': format.iso(group.first_at),
            'last_at': format.iso(group.last_at),
            'types': [{
                'name': cleanLine(name), 'number': number,
                'title': presenter.sayTitle(
                    self.declared[name].title if name in self.declared
                    else name),
                'url': self._make_url('type.html', name=name),
            } for name, number in sorted(group.types.items())],
            'hours': group.hours,
            'runs_url': self._make_url('runs.html', **filter),
            'retry_url': may_retry and group.unresolved and self._make_url(
                'bulk.html', all='retry', state=UNRESOLVED, **filter) or None,
            'last_run': group.last_run,
            'last_url': '%s/%s/index.html' % (
                self.registry_url, group.last_run),
            'text': {
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

    def _make_url(self, view, **query):
        return '%s/%s?%s' % (self.registry_url, view, urlencode(
            query, doseq=True, errors='replace'))


class ErrorsPage(ErrorGroups, Page):
    """The page of the errors."""

    template = ViewPageTemplateFile('templates/errors.pt')
    title = _('Errors')
    tab = 'errors.html'

    def update(self):
        self.data = self.collect()
        for group in self.data['items']:
            group['bars'] = _draw(group['hours'])

    @property
    def part(self):
        """Name of the piece that the script renews; None if it is costly."""
        return 'errors' if self.data['looked_at'] <= LIVE_LIMIT else None

    @property
    def cut(self):
        """Sentence on failures that are left out, or ''."""
        format = self.presenter.format
        said = []
        if self.data['is_cut']:
            said.append(self.say(
                _('Only the last ${number} failures are counted.'),
                number=format.number(self.data['looked_at'])))
        if self.data['number'] > LIMIT:
            said.append(self.say(
                _('Only the first ${number} errors are shown.'),
                number=format.number(LIMIT)))
        return '  '.join(said)

    @property
    def all_url(self):
        """URL of the errors of all types; None if these are all."""
        return self.names and '%s/errors.html' % self.registry_url or None


class ErrorsJSON(ErrorGroups, JSONView):
    """The data of the errors."""


def _draw(hours):
    """Return the bars of the small chart."""
    top = max(1, *hours)
    return [{'x': index * SLOT, 'y': '%.1f' % (HEIGHT * (1 - number / top)),
             'height': '%.1f' % (HEIGHT * number / top)}
            for index, number in enumerate(hours) if number]
