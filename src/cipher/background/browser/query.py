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
"""The filter of a list of runs in the parameters of a URL."""
from urllib.parse import urlencode

from cipher.background.browser.filters import NUMBER_LIMIT
from cipher.background.browser.filters import PARAMETERS
from cipher.background.browser.filters import SEVERAL
from cipher.background.browser.filters import RunFilter
from cipher.background.browser.page import Refused
from cipher.background.browser.page import getParameters
from cipher.background.browser.text import cleanLine
from cipher.background.i18n import _


class BadFilter(Refused):
    """The filter in the URL is not valid."""

    def __init__(self, message):
        super().__init__(400, message)


class RunQuery(RunFilter):
    """The filter of a request.  Raise `BadFilter`."""

    error = BadFilter

    def __init__(self, request, site, zone=None):
        super().__init__({name: self._read(request, name)
                          for name in PARAMETERS}, site, zone)

    def _read(self, request, name):
        given = getParameters(request, name)
        if name in request.form and not given or (
                name not in SEVERAL and len(given) > 1):
            # Ignoring a parameter would make the list longer, and an act on
            # all of it would change more runs than asked for.
            raise BadFilter(_('The filter is not valid.'))
        return given

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
        self.until = self.error_key = None
