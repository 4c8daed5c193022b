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
"""The filter of a list of runs: parameters of the URL and the search box."""
import re
from datetime import datetime
from datetime import timedelta
from urllib.parse import urlencode

from cipher.background.browser.formatting import inZone
from cipher.background.browser.page import Refused
from cipher.background.browser.page import getParameter
from cipher.background.browser.page import getParameters
from cipher.background.browser.paths import NoSuchObject
from cipher.background.browser.paths import traversePath
from cipher.background.browser.text import cleanLine
from cipher.background.i18n import _
from cipher.background.interfaces import NEWEST
from cipher.background.interfaces import ORDERS
from cipher.background.interfaces import STATES


#: Characters of a value in a filter, and values of one parameter, at most.
VALUE_LIMIT = 200
NUMBER_LIMIT = 50

#: The parameters of the URL, in their order.
PARAMETERS = ('q', 'state', 'type', 'user', 'context', 'since', 'until',
              'order', 'before')
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
_RUN_ID = re.compile('[0-9]{1,9}-[0-9]{1,15}', re.ASCII)


class BadFilter(Refused):
    """The filter in the URL is not valid."""

    def __init__(self, message):
        super().__init__(400, message)


class RunQuery:
    """The filter of a request.  Raise `BadFilter`.

    Times without a zone are in *zone*, a ``tzinfo``; None is the zone of the
    server.
    """

    def __init__(self, request, site, zone=None):
        self._request = request
        self._site = site
        self._zone = zone
        self.values = {name: self._read(name) for name in PARAMETERS}
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
        self._check()

    def _read(self, name):
        given = getParameters(self._request, name)
        values = [value for value in given if value]
        if name in self._request.form and not given or (
                name not in SEVERAL and len(given) > 1):
            # Ignoring a parameter would make the list longer, and an act on
            # all of it would change more runs than asked for.
            raise BadFilter(_('The filter is not valid.'))
        if len(values) > NUMBER_LIMIT or any(
                len(value) > VALUE_LIMIT for value in values):
            raise BadFilter(_('The filter is too long.'))
        return values

    def _one(self, name):
        return getParameter(self._request, name)

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
                raise BadFilter(_(
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
        try:
            # fromisoformat() of Python 3.10 does not accept Z.
            moment = datetime.fromisoformat(text.replace('Z', '+00:00'))
            if is_end and len(text) == len('2026-01-31'):
                moment += timedelta(days=1)   # the day is included
            return inZone(moment, self._zone).timestamp()
        except (ValueError, OverflowError, OSError):
            raise BadFilter(_(
                '"${value}" is not a date.  Write it like 2026-01-31 or '
                '2026-01-31T17:00.', mapping={'value': cleanLine(text, 40)}))

    def _check(self):
        for state in self.states:
            if state not in STATES and state != UNRESOLVED:
                raise BadFilter(_('There is no state "${state}".', mapping={
                    'state': cleanLine(state, 40)}))
        if self.order not in ORDERS:
            raise BadFilter(_('Runs cannot be sorted like that.'))

    def matches(self, status):
        """Return whether a run that was asked for by its id matches.

        Raise `BadFilter` for filters that only a list can apply.
        """
        if (self.text or self.context_path or self.since is not None
                or self.until is not None or self.unresolved):
            raise BadFilter(_('“id:” can be combined with state, type and '
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
                    or self.unresolved or self.order != NEWEST or self.before)

    @property
    def is_counted(self):
        """Whether `IWorkerRegistry.getCounts` gives the number of matches."""
        return not (self.text or self.ids or self.starters
                    or self.unresolved
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
            'before': self.before}
        if self.context_path:
            try:
                arguments['contexts'] = (
                    traversePath(self._site, self.context_path),)
            except NoSuchObject:
                raise BadFilter(_(
                    'The context path does not lead to an object that you '
                    'may see.'))
        return arguments

    def getPairs(self, **changes):
        """Return [(name, value)] of the filter with *changes*.

        It is for the first page of the list unless *changes* have *before*.
        """
        values = {**self.values, 'before': [], **{
            name: value if isinstance(value, list) else
            [value] if value else [] for name, value in changes.items()}}
        return [(name, value) for name in values for value in values[name]]

    def getFields(self):
        """Return [(name, value)] for the hidden fields of a form."""
        return [(name, cleanLine(value)) for name, value in self.getPairs()]

    def getURL(self, base, **changes):
        """Return the URL *base* of a list with the filter and *changes*."""
        pairs = self.getPairs(**changes)
        if not pairs:
            return base
        return '%s?%s' % (base, urlencode(pairs, errors='replace'))


class Typed(RunQuery):
    """The text of a filter that is not valid, to show it in the form."""

    def __init__(self, request):
        self.values = {name: [
            value for value in getParameters(request, name)[:NUMBER_LIMIT]
            if value] for name in PARAMETERS}
        self.states = self.values['state']
        self.types = self.values['type']
        self.order = ''.join(self.values['order'][:1])
        # The list is empty.
        self.starters = self.ids = ()
        self.text = self.context_path = self.before = self.since = None
        self.until = None


def _unescape(text):
    return _ESCAPED.sub(r'\1', text)
