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
"""The filter of a list of runs: named values and the words of a search box.

The pages and the command line share it, so its words are the same.
"""
import re
from datetime import datetime
from datetime import timedelta
from datetime import timezone

from cipher.background.browser.formatting import inZone
from cipher.background.browser.paths import NoSuchObject
from cipher.background.browser.paths import traversePath
from cipher.background.browser.text import cleanLine
from cipher.background.browser.text import isSame
from cipher.background.i18n import _
from cipher.background.interfaces import NEWEST
from cipher.background.interfaces import ORDERS
from cipher.background.interfaces import STATES
from cipher.background.util import clock


#: Characters of a value in a filter, and values of one parameter, at most.
VALUE_LIMIT = 200
NUMBER_LIMIT = 50

#: The parameters of the URL, in their order.
PARAMETERS = ('q', 'state', 'type', 'user', 'context', 'error', 'since',
              'until', 'order', 'before')
#: The parameters that may have several values.
SEVERAL = ('state', 'type', 'user')

#: Value of "state" for failures that are not resolved.
UNRESOLVED = 'unresolved'

KEYS = ('type', 'state', 'user', 'id')

# In quotes, a backslash escapes a quote or a backslash.  Each character
# matches in one way only, so no text takes long.
_QUOTED = r'"((?:[^"\\]|\\.)*)"(?!\S)'
# word:value, word:"value with spaces", "words", or a word.
_TERM = re.compile(r'([^\W\d]+):(?:%s|(\S+))|%s|(\S+)' % (_QUOTED, _QUOTED))
_ESCAPED = re.compile(r'\\(["\\])')
_ERROR_KEY = re.compile('[0-9a-f]{16}')
_RUN_ID = re.compile('[0-9]{1,9}-[0-9]{1,15}', re.ASCII)


def _today(zone):
    now = datetime.fromtimestamp(clock.now(), timezone.utc).astimezone(zone)
    return inZone(datetime(now.year, now.month, now.day), zone).timestamp()


#: Words for a moment that moves on, so that an address keeps its meaning.
TODAY = 'today'
HOUR = 'hour'
_SINCE = {TODAY: _today, HOUR: lambda zone: clock.now() - 3600}


class InvalidFilter(ValueError):
    """The filter is not valid; *message* says why."""

    def __init__(self, message):
        super().__init__(message)
        self.message = message


class RunFilter:
    """A filter of *values*: {name in `PARAMETERS`: list of texts}.

    Raise `InvalidFilter`.  Times without a zone are in *zone*, a ``tzinfo``;
    None is the zone of the server.
    """

    #: The class of the errors.
    error = InvalidFilter

    def __init__(self, values, site, zone=None):
        self._site = site
        self._zone = zone
        self.values = {name: self._check_size(values.get(name, ()))
                       for name in PARAMETERS}
        self.q = self._one('q')
        self.states = list(self.values['state'])
        self.types = list(self.values['type'])
        self.starters = list(self.values['user'])
        self.ids = []
        self.text = self._read_box()
        self.order = self._one('order') or NEWEST
        self.before = self._one('before') or None
        self.since = self._read_time('since')
        self.until = self._read_time('until', is_end=True)
        self.context_path = self._one('context')
        self.error_key = self._one('error')
        self._check()

    def _check_size(self, given):
        values = [value for value in given if value]
        if len(values) > NUMBER_LIMIT or any(
                len(value) > VALUE_LIMIT for value in values):
            raise self.error(_('The filter is too long.'))
        return values

    def _one(self, name):
        return self.values[name][0] if self.values[name] else ''

    def _read_box(self):
        """Read the search box; return the words that are not filters."""
        free = []
        lists = {'type': self.types, 'state': self.states,
                 'user': self.starters, 'id': self.ids}
        for match in _TERM.finditer(self.q):
            kind, quoted, plain, phrase, word = match.groups()
            if kind is None or (plain or '').startswith('//'):
                # A plain word.  A URL with "://" is not a filter either.
                free.append(_unescape(phrase) if word is None and
                            phrase is not None else match.group())
            elif kind.lower() not in KEYS:
                raise self.error(_(
                    'Unknown filter "${key}:".  The filters are ${keys}.  '
                    'Put a text with a colon in quotes.', mapping={
                        'key': cleanLine(kind, 40),
                        'keys': ' '.join(key + ':' for key in KEYS)}))
            else:
                value = plain if quoted is None else _unescape(quoted)
                lists[kind.lower()].append(
                    value.lower() if kind.lower() == 'state' else value)
        return ' '.join(free) or None

    @property
    def run_id(self):
        """The id of a run if the filter has nothing else, or None."""
        q = self.q.strip()
        # The form always sends the order as well.
        is_alone = not any(values for name, values in self.values.items()
                           if name not in ('q', 'order'))
        return q if is_alone and _RUN_ID.fullmatch(q) else None

    def _read_time(self, name, is_end=False):
        text = self._one(name)
        if not text:
            return None
        if text.lower() in _SINCE and not is_end:
            return _SINCE[text.lower()](self._zone)
        try:
            # fromisoformat() of Python 3.10 does not accept Z.
            moment = datetime.fromisoformat(text.replace('Z', '+00:00'))
            if is_end and len(text) == len('2026-01-31'):
                moment += timedelta(days=1)   # the day is included
            return inZone(moment, self._zone).timestamp()
        except (ValueError, OverflowError, OSError):
            raise self.error(_(
                '"${value}" is not a date.  Write it like 2026-01-31 or '
                '2026-01-31T17:00.', mapping={'value': cleanLine(text, 40)}))

    def _check(self):
        for state in self.states:
            if state not in STATES and state != UNRESOLVED:
                raise self.error(_('There is no state "${state}".', mapping={
                    'state': cleanLine(state, 40)}))
        if self.error_key and _ERROR_KEY.fullmatch(self.error_key) is None:
            raise self.error(_('This error is not known.'))
        if self.order not in ORDERS:
            raise self.error(_('Runs cannot be sorted like that.'))

    def matches(self, status):
        """Return whether a run that was asked for by its id matches.

        Raise `error` for filters that only a list can apply.
        """
        if (self.text or self.context_path or self.since is not None
                or self.until is not None or self.unresolved
                or self.error_key):
            raise self.error(_('“id:” can be combined with state, type and '
                               'user only.'))
        return ((not self.states or status.state in self.states)
                and (not self.types or status.type in self.types)
                and (not self.starters or status.starter in self.starters))

    @property
    def unresolved(self):
        """Whether only unresolved failures are asked for."""
        return UNRESOLVED in self.states

    @property
    def is_costly(self):
        """Whether many runs must be loaded: too slow to repeat every 2 s."""
        return bool(self.text or self.starters or self.context_path
                    or self.unresolved or self.error_key
                    or self.order != NEWEST or self.before)

    @property
    def is_counted(self):
        """Whether `IWorkerRegistry.getCounts` gives the number of matches."""
        return not (self.text or self.ids or self.starters
                    or self.unresolved or self.error_key
                    or self.context_path or self.since is not None
                    or self.until is not None)

    @property
    def is_filtered(self):
        """Whether the filter may leave runs out."""
        return any(self.values[name] for name in PARAMETERS
                   if name not in ('order', 'before'))

    def getArguments(self):
        """Return the arguments of `IWorkerRegistry.listRuns`."""
        arguments = {
            'states': tuple(state for state in self.states
                            if state != UNRESOLVED),
            'unresolved': self.unresolved, 'types': tuple(self.types),
            'starters': tuple(self.starters), 'text': self.text,
            'since': self.since, 'until': self.until, 'order': self.order,
            'before': self.before, 'error': self.error_key or None}
        if self.context_path:
            try:
                arguments['contexts'] = (
                    self.findContext(self.context_path),)
            except NoSuchObject:
                raise self.error(_(
                    'The context path does not lead to an object that you '
                    'may see.'))
        return arguments

    def findContext(self, path):
        """Return the object at *path*; raise `NoSuchObject`."""
        return traversePath(self._site, path)

    def findRuns(self, checked, limit, **changes):
        """Return the `IRunPage` of the filter.

        *checked* is the `IVerbs` of the registry.  *changes* are arguments
        that replace those of the filter.
        """
        if self.ids:
            return self._get_by_id(checked)
        arguments = {**self.getArguments(), **changes}
        try:
            return checked.listRuns(limit=limit, **arguments)
        except ValueError:
            raise self.error(_('The address of this page is not valid.  '
                               'Start again from the newest runs.'))

    def _get_by_id(self, checked):
        found = [checked.getStatus(run_id)
                 for run_id in dict.fromkeys(self.ids)
                 if checked.get(run_id) is not None]
        return ById([status for status in found if self.matches(status)])

    def findTypes(self, checked, counts):
        """Replace each type by the one with that name but for its case.

        *counts* is the result of `IVerbs.getCounts`.
        """
        declared = checked.getWorkerTypes()

        def find(name):
            if name in declared or name in counts:
                return name
            return next((other for other in sorted({*declared, *counts})
                         if isSame(name, other)), name)

        self.types = [find(name) for name in self.types]


class ById:
    """An `IRunPage` of runs that were asked for by their ids."""

    older = None
    is_cut = False

    def __init__(self, items):
        self.items = items
        self.looked_at = len(items)


def _unescape(text):
    return _ESCAPED.sub(r'\1', text)
