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
"""The list of runs that match the filter in the URL: page, JSON and CSV."""
import csv
import io
import re
import unicodedata
from functools import cached_property
from urllib.parse import urlencode

from zope.browserpage import ViewPageTemplateFile

from cipher.background.browser.contextlinks import describeContext
from cipher.background.browser.filters import HOUR
from cipher.background.browser.filters import PARAMETERS
from cipher.background.browser.filters import TODAY
from cipher.background.browser.filters import UNRESOLVED
from cipher.background.browser.filters import ById
from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.page import Page
from cipher.background.browser.page import Published
from cipher.background.browser.page import getParameter
from cipher.background.browser.plurals import readOutcome
from cipher.background.browser.plurals import sayLookedAt
from cipher.background.browser.plurals import sayMatching
from cipher.background.browser.plurals import sayRows
from cipher.background.browser.query import BadFilter
from cipher.background.browser.query import RunQuery
from cipher.background.browser.query import Typed
from cipher.background.browser.text import cleanLine
from cipher.background.browser.verbs import METHODS
from cipher.background.browser.verbs import listVerbs
from cipher.background.i18n import _
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import NEWEST
from cipher.background.interfaces import OLDEST
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import SLOWEST
from cipher.background.interfaces import STATES
from cipher.background.interfaces import WAITED
from cipher.background.util.host import getHost


# The values of <input type="datetime-local">.
_MOMENT = re.compile('[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}', re.ASCII)

PAGE_SIZE = 50
#: Rows of one CSV at most.
CSV_LIMIT = 10000

ORDER_TITLES = {
    NEWEST: _('newest first'),
    OLDEST: _('oldest first'),
    SLOWEST: _('longest first'),
    WAITED: _('longest queue wait first'),
}
COLUMNS = ('id', 'state', 'type', 'title', 'starter', 'created_at',
           'started_at', 'finished_at', 'waited', 'took', 'attempts',
           'message', 'error_type', 'error_text', 'stop')


#: The characters that begin a formula; the last is the typographic minus sign.
FORMULA = tuple('=+-@\N{MINUS SIGN}')
#: Quotes, the replacement character, and letters without a visible shape.
UNSEEN = frozenset(
    '"\'\N{REPLACEMENT CHARACTER}\N{HANGUL FILLER}'
    '\N{HANGUL CHOSEONG FILLER}\N{HANGUL JUNGSEONG FILLER}'
    '\N{HALFWIDTH HANGUL FILLER}\N{BRAILLE PATTERN BLANK}')


class Runs(Published):
    """Reads the filter of the request and gets its runs."""

    def readFilter(self):
        """Read the filter; raise `BadFilter`."""
        self.query = RunQuery(self.request, self.checked.getSite(),
                              self.presenter.format.zone)
        self.query.findTypes(self.checked, self.counts)

    def listRuns(self, limit=PAGE_SIZE, **changes):
        """Return the `IRunPage` of the filter.

        *changes* are arguments that replace those of the filter.
        """
        return self.query.findRuns(self.checked, limit, **changes)

    def collect(self):
        """Return the plain data of one page of runs."""
        self.readFilter()
        return self.describePage(self.listRuns())

    def describePage(self, page):
        """Return the plain data of an `IRunPage`."""
        query = self.query
        return {
            'items': [self._describe(status) for status in page.items],
            'older': page.older,
            'older_url': page.older and self.getURL(before=page.older),
            'looked_at': page.looked_at,
            'is_cut': page.is_cut,
            'states': [cleanLine(state) for state in query.states],
            'types': [cleanLine(name) for name in query.types],
            'text': {'all': sayMatching(self.presenter, self._count()),
                     'counts': self._say_counts()},
        }

    @cached_property
    def counts(self):
        """{type name: {state: number of runs}} of all runs."""
        return self.checked.getCounts()

    def _say_counts(self):
        """Return {state, or "all": number of runs of the chosen types}."""
        number, totals = self.presenter.format.number, dict.fromkeys(STATES, 0)
        for name, states in self.counts.items():
            if not self.query.types or name in self.query.types:
                for state, count in states.items():
                    totals[state] += count
        return {'all': number(sum(totals.values())),
                **{state: number(totals[state]) for state in STATES}}

    def _count(self):
        """Return the number of matches; None if that needs a scan."""
        query, counts = self.query, self.counts
        if not query.is_counted:
            return None
        return sum(number for name, states in counts.items()
                   if not query.types or name in query.types
                   for state, number in states.items()
                   if not query.states or state in query.states)

    def _describe(self, status):
        data = self.presenter.describeRun(status)
        data['context'] = describeContext(
            self.checked, status.id, self.presenter, self.request)
        data['only'] = {
            'state': self.getURL(state=[status.state]),
            'type': self.getURL(type=[status.type]),
            'starter': status.starter and self.getURL(user=[status.starter])}
        return data

    def getURL(self, view='runs.html', **changes):
        """Return the URL of a list with the filter and *changes*."""
        return self.query.getURL(
            '%s/%s' % (self.registry_url, view), **changes)


#: The list of a filter that is not valid.
NO_RUNS = ById([])


class RunsPage(Runs, Page):
    """The page of the list."""

    template = ViewPageTemplateFile('templates/runs.pt')
    title = _('Runs')
    tab = 'runs.html'
    problem = None

    def update(self):
        try:
            self.readFilter()
            page = self.listRuns()
        except BadFilter as refused:
            # The form keeps the text, so that it can be corrected.
            self.problem = self.say(refused.message)
            self.request.response.setStatus(refused.status)
            self.query = Typed(self.request)
            page = NO_RUNS
        else:
            if self._leads_to_run(self.query.run_id):
                self.request.response.redirect('%s/%s/index.html' % (
                    self.registry_url, self.query.run_id), status=303)
                return
            if self._has_empty_parameter():
                order = self.query.order
                self.request.response.redirect(self.getURL(
                    order=None if order == NEWEST else order,
                    before=self.query.before), status=303)
                return
        self.data = self.describePage(page)
        query = self.query
        if not query.is_costly and self.problem is None:
            self.poll_url = self.getURL('runs.json')
        self.newest_url = self.getURL() if query.before else None
        self.csv_url = self.getURL('runs.csv')
        self.bulk_url = self.registry_url + '/bulk.html'

    def _has_empty_parameter(self):
        # A form sends each of its fields.
        return any(name in PARAMETERS and value in ('', ['', ''])
                   for name, value in self.request.form.items())

    def _leads_to_run(self, run_id):
        return run_id is not None and self.checked.get(run_id) is not None

    @property
    def message(self):
        """The outcome of the last act on many runs, or None."""
        return readOutcome(self.request, self.presenter)

    @property
    def rest_url(self):
        """URL to go on with that act; None if it changed all runs."""
        verb = getParameter(self.request, 'did')
        if verb not in METHODS or not getParameter(self.request, 'more'):
            return None
        return self.getURL('bulk.html', all=verb)

    @property
    def looked_at(self):
        """Sentence on a search that ended at its limit, or ''."""
        return sayLookedAt(self.presenter, self.data['looked_at']) if (
            self.data['is_cut']) else ''

    @property
    def csv_hint(self):
        """Sentence on the number of rows of the CSV."""
        return sayRows(self.presenter, CSV_LIMIT)

    @property
    def hidden_pairs(self):
        """[(name, value)] of the filter for hidden fields."""
        return self.query.getFields()

    @property
    def state_filters(self):
        """The states to choose from, with the counts of the chosen types."""
        query, counts = self.query, self.data['text']['counts']
        filters = [{
            'state': None, 'title': self.presenter.say(_('All')),
            'count': counts['all'],
            'live': 'text.counts.all',
            'url': self.getURL(state=None), 'current': not query.states}]
        for state in STATES:
            filters.append({
                'state': state,
                'title': self.presenter.getState(state),
                'count': counts[state],
                'live': 'text.counts.%s' % state,
                'url': self.getURL(state=[state]),
                'current': state in query.states})
        filters.append({
            'state': FAILED, 'title': self.presenter.say(_('not resolved')),
            # The number is unknown: the runs would have to be loaded.
            'count': '', 'live': None,
            'url': self.getURL(state=[UNRESOLVED]),
            'current': query.unresolved})
        return filters

    @property
    def presets(self):
        """Filters that are often asked for."""
        base = self.registry_url + '/runs.html'
        mine = getHost().currentPerson()
        pairs = [(_('Today'), {'since': [TODAY]}),
                 (_('Last hour'), {'since': [HOUR]}),
                 (_('Not resolved'), {'state': [UNRESOLVED]})]
        if mine is not None:
            pairs.append((_('Mine'), {'user': [mine]}))
        pairs.append((_('Waiting longest'),
                      {'state': [PENDING], 'order': [OLDEST]}))
        given = {name: values for name, values in self.query.values.items()
                 if values and name != 'before'}
        return [{'title': self.say(title),
                 'url': '%s?%s' % (base, urlencode(values, doseq=True)),
                 'current': 'true' if values == given else None}
                for title, values in pairs]

    @property
    def saved_names(self):
        """The parameters of the URL that belong to a saved search."""
        return ' '.join(name for name in PARAMETERS if name != 'before')

    @property
    def suggestions(self):
        """Texts that the search box suggests."""
        return [*('state:' + state for state in (*STATES, UNRESOLVED)),
                *('type:' + quoteValue(type['name'])
                  for type in self.type_filters),
                *('user:' + quoteValue(user) for user in self.users)]

    @property
    def users(self):
        """Users that the field for them suggests: those on the page."""
        return sorted({status['starter'] for status in self.data['items']}
                      - {None})

    @property
    def type_filters(self):
        """The worker types to choose from."""
        declared = self.checked.getWorkerTypes()
        return [{'name': cleanLine(name),
                 'title': self.presenter.sayTitle(
                     declared[name].title if name in declared else name),
                 'selected': name in self.query.types}
                for name in sorted({*declared, *self.counts})]

    @property
    def orders(self):
        """The orders to choose from."""
        return [{'name': name, 'title': self.say(title),
                 'selected': name == self.query.order}
                for name, title in ORDER_TITLES.items()]

    @property
    def box(self):
        """{name of a field: its text}"""
        return {name: cleanLine(' '.join(values), 1000)
                for name, values in self.query.values.items()}

    @property
    def chosen_states(self):
        """The states that were chosen outside the search box."""
        return [cleanLine(state) for state in self.query.values['state']]

    @property
    def times(self):
        """The two fields for times, with their texts."""
        return [{'name': name, 'title': self.say(title), 'value': value,
                 # A browser's own control drops values that it cannot read.
                 'type': 'datetime-local' if not value or _MOMENT.fullmatch(
                     value) else 'text'}
                for name, title, value in (
                    ('since', _('From'), self.box['since']),
                    ('until', _('To'), self.box['until']))]

    @property
    def zone_hint(self):
        """Sentence on the time zone of the times."""
        return self.say(_('Times are in ${zone}, as in the list.'),
                        zone=self.time_zone)

    @property
    def is_open(self):
        """Whether to open the details: a filter in them is set."""
        return any(self.query.values[name] for name in (
            'type', 'user', 'context', 'since', 'until', 'order'))

    @property
    def verbs(self):
        """The acts that the principal may do to many runs."""
        return [{'name': name, 'title': self.say(title)}
                for name, title in listVerbs(self.checked)]


class RunsJSON(Runs, JSONView):
    """The data of the list, for the script on the page and for others."""


class RunsCSV(Runs, Published):
    """The list as comma separated values, to download."""

    content_type = 'text/csv;charset=utf-8'

    def update(self):
        self.readFilter()
        self.page = self.listRuns(CSV_LIMIT)

    def render(self):
        self.request.response.setHeader(
            'Content-Disposition', 'attachment; filename="runs.csv"')
        rows = [COLUMNS]
        for status in self.page.items:
            data = self.presenter.describeRun(status)
            data['stop'] = data['text']['stop']
            rows.append([escapeCell(data[name]) for name in COLUMNS])
        # The byte order mark lets spreadsheets recognise UTF-8.
        return '\N{ZERO WIDTH NO-BREAK SPACE}' + writeCSV(rows)

    def renderRefusal(self, refused):
        return self.say(refused.message)


def quoteValue(value):
    """Return *value* as it stands behind a colon in the search box."""
    if value and not re.search(r'["\\\s]', value):
        return value
    return '"%s"' % re.sub(r'(["\\])', r'\\\1', value)


def writeCSV(rows):
    """Return *rows* of cells as CSV.

    Each cell has quotes, so that a reader that also splits at semicolons finds
    the same cells.
    """
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(rows)
    return out.getvalue()


def escapeCell(value):
    """Return *value* as a cell that no spreadsheet takes for a formula.

    The parts behind semicolons are escaped as well: some spreadsheets ignore
    quotes and begin a cell there.
    """
    if value is None:
        return ''
    text = cleanLine(value)
    if not isinstance(value, str):
        return text
    return ';'.join(map(_escape, text.split(';')))


def _escape(text):
    for position, character in enumerate(text):
        if not _is_passed_over(character):
            # Full width, small and raised forms count as the plain character.
            if unicodedata.normalize('NFKC', character)[:1] in FORMULA:
                return "'" + text
            break
    return text


def _is_passed_over(character):
    """Return whether a spreadsheet may skip it at the start of a cell."""
    return (character in UNSEEN
            or unicodedata.category(character)[0] in 'CMZ')
