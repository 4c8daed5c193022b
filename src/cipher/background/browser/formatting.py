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
"""Times, durations and numbers as the reader of a page knows them."""
from datetime import datetime
from datetime import timezone

from zope.i18n import translate

from cipher.background.i18n import _


MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Formatter:
    """Says values in the language and the locale of a request."""

    def __init__(self, request):
        self.request = request
        self._date_time = None

    def say(self, message, **mapping):
        """Return *message* translated, with *mapping* filled in."""
        if mapping:
            message = _(message, mapping=mapping)
        return translate(message, context=self.request)

    def iso(self, at):
        """Return seconds since the epoch as ISO 8601 in UTC; None of None."""
        moment = _moment(at)
        if moment is None:
            return None
        return moment.isoformat(timespec='milliseconds') + 'Z'

    def dateTime(self, at):
        """Return seconds since the epoch in the request's form, in UTC."""
        moment = _moment(at)
        if moment is None:
            return ''
        formatter = self._get_date_time_formatter()
        if formatter is None:
            # Nobody told a language: the form that everybody reads.
            return '%s UTC' % moment.isoformat(' ', timespec='seconds')
        # CLDR writes a narrow no-break space before AM that few fonts have.
        text = formatter.format(moment).replace('\u202f', '\xa0')
        return '%s UTC' % text

    def _get_date_time_formatter(self):
        locale = self.request.locale
        if self._date_time is None and locale is not None and (
                locale.id.language):
            self._date_time = locale.dates.getFormatter('dateTime', 'medium')
        return self._date_time

    def duration(self, seconds):
        """Return seconds as a short text: ``4.2 s``, ``3 min 5 s``."""
        if seconds is None:
            return ''
        seconds = max(0.0, seconds)
        if seconds < 1:
            return self.say(_('${milliseconds} ms'),
                            milliseconds=int(seconds * 1000))
        if seconds < 10:
            return self.say(_('${seconds} s'), seconds='%.1f' % seconds)
        seconds = int(round(seconds))
        if seconds < MINUTE:
            return self.say(_('${seconds} s'), seconds=seconds)
        if seconds < HOUR:
            return self.say(_('${minutes} min ${seconds} s'),
                            minutes=seconds // MINUTE,
                            seconds=seconds % MINUTE)
        if seconds < DAY:
            return self.say(_('${hours} h ${minutes} min'),
                            hours=seconds // HOUR,
                            minutes=seconds % HOUR // MINUTE)
        return self.say(_('${days} d ${hours} h'), days=seconds // DAY,
                        hours=seconds % DAY // HOUR)

    def number(self, value):
        """Return a number without needless decimals; '' for None."""
        if value is None:
            return ''
        if float(value).is_integer():
            return '%d' % value
        return '%.2f' % value


def plainValue(value, limit=10000):
    """Return plain data as a text that people read."""
    if value is None:
        return ''
    if isinstance(value, str):
        return value
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + '…'


def _moment(at):
    if at is None:
        return None
    try:
        moment = datetime.fromtimestamp(at, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return None
    return moment.replace(tzinfo=None)
