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
"""Times, durations and numbers in the language of the reader.

A zone is a ``tzinfo``; None is the time zone of the server.
"""
import math
import re
from datetime import date
from datetime import datetime
from datetime import time
from datetime import timezone
from decimal import Decimal

from zope.component import queryUtility
from zope.i18n import negotiate
from zope.i18n import translate
from zope.i18n.format import DateTimeParseError
from zope.i18n.interfaces import INegotiator
from zope.i18n.interfaces import ITranslationDomain
from zope.i18n.locales import locales
from zope.i18nmessageid import Message
from zope.interface.common.idatetime import ITZInfo

from cipher.background.i18n import DOMAIN
from cipher.background.i18n import _
from cipher.background.util.clock import isoOf
from cipher.background.util.clock import momentOf


MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

#: The language of the message ids.
SOURCE = 'en'
_DIGITS = re.compile('[0-9]+')
# A sign and digits, in groups of three with one separator or without groups.
_WHOLE = re.compile(
    r'([+-]?)([0-9]{1,3}(?:([^0-9])[0-9]{3}(?:\3[0-9]{3})*)?|[0-9]+)?')
_SPACES = re.compile(r'\s+')   # no-break spaces included

# Corrections of the locales of zope.i18n.
#: Languages whose dates are ISO 8601.
ISO_DATES = {'lt'}
#: {language: separator of groups of digits}; this one is a thin space.
GROUPS = {'lt': '\u202f'}
#: From this size on, numbers are written without groups.
HUGE = 1e15


def getLanguage(request):
    """Return the code of the language of the messages."""
    domain = queryUtility(ITranslationDomain, DOMAIN)
    if domain is None:
        return SOURCE
    known = domain.getCatalogsInfo()
    # The same order as in zope.i18n.
    language = negotiate(request)
    if language is None:
        negotiator = queryUtility(INegotiator)
        if negotiator is not None:
            language = negotiator.getLanguage(list(known), request)
    return language if language in known else SOURCE


class Formatter:
    """Formats values in the language, locale and time zone of a request.

    A host sets the zone by an adapter of the request to
    `zope.interface.common.idatetime.ITZInfo`.  Without one it is the zone of
    the server.
    """

    def __init__(self, request):
        self.request = request
        self.language = getLanguage(request)
        self.zone = ITZInfo(request, None)
        self._locale = self._get_locale()
        self._formatters = {}

    def _get_locale(self):
        locale = self.request.locale
        if locale is None or not locale.id.language:
            # The request has no language: use international forms.
            return None
        if locale.id.language == self.language.partition('-')[0]:
            return locale
        # Numbers are formatted in the language of the texts of the page.
        return locales.getLocale(self.language, None, None)

    def say(self, message, **mapping):
        """Return *message* translated, with *mapping* filled in."""
        domain = getattr(message, 'domain', DOMAIN)
        if getattr(message, 'number', None) is not None:
            mapping.setdefault('number', self.number(message.number))
            if message.number != 1 and queryUtility(
                    ITranslationDomain, domain) is None:
                # Without catalogs, zope.i18n has the singular for any number.
                message = Message(message.msgid_plural, domain,
                                  mapping=message.mapping)
        if mapping:
            if not isinstance(message, Message):
                message = _(message)
            message = Message(
                message, mapping={**(message.mapping or {}), **mapping})
        return translate(
            message, context=self.request,
            target_language=self.language if domain == DOMAIN else None)

    def iso(self, at):
        """Return seconds since the epoch as ISO 8601 in UTC; None for None."""
        return isoOf(at)

    def dateTime(self, at):
        """Return seconds since the epoch in the locale's form, with zone."""
        moment = self._get_local(at)
        if moment is None:
            return ''
        if self._locale is None or self._locale.id.language in ISO_DATES:
            text = moment.replace(tzinfo=None).isoformat(
                ' ', timespec='seconds')
        else:
            text = self._format('dates', 'dateTime', moment, 'medium')
        return '%s %s' % (text, moment.tzname())

    def shortTime(self, at, now):
        """Return seconds since the epoch in a short form, without the zone.

        HH:MM on the day of *now*, the day and HH:MM within its year, and
        YYYY-MM-DD in another year.
        """
        moment, today = self._get_local(at), self._get_local(now)
        if moment is None:
            return ''
        if moment.date() == today.date():
            return self.hour(at)
        if moment.year != today.year:
            return moment.date().isoformat()
        if self._locale is None or self._locale.id.language in ISO_DATES:
            day = '%02d-%02d' % (moment.month, moment.day)
        else:
            month = self._locale.dates.calendars['gregorian'].months[
                moment.month][1]
            day = ('%d. %s' if self._locale.id.language == 'de'
                   else '%d %s') % (moment.day, month)
        return '%s %s' % (day, self.hour(at))

    def hour(self, at):
        """Return seconds since the epoch as HH:MM, without the zone."""
        moment = self._get_local(at)
        return '' if moment is None else '%02d:%02d' % (
            moment.hour, moment.minute)

    def day(self, at):
        """Return the day of seconds since the epoch, as short as may be."""
        moment = self._get_local(at)
        return '' if moment is None else '%02d-%02d' % (
            moment.month, moment.day)

    def zoneName(self, at):
        """Return the name of the zone at that time: ``UTC``, ``EEST``."""
        return self._get_local(at).tzname()

    def _get_local(self, at):
        moment = momentOf(at)
        try:
            return moment and moment.astimezone(self.zone)
        except (OverflowError, OSError, ValueError):
            return None

    def _format(self, kind, name, value, *length):
        key = kind, name
        if key not in self._formatters:
            self._formatters[key] = getattr(
                self._locale, kind).getFormatter(name, *length)
        if isinstance(value, datetime):
            value = value.replace(tzinfo=None)
        # Few fonts have the narrow no-break space of CLDR before "AM".
        return self._formatters[key].format(value).replace('\u202f', '\xa0')

    def duration(self, seconds):
        """Return seconds as a short text: ``4.2 s``, ``3 min 5 s``."""
        if seconds is None:
            return ''
        seconds = max(0.0, seconds)
        if seconds < 1:
            return self.say(_('${milliseconds} ms'),
                            milliseconds=int(seconds * 1000))
        if seconds < 10:
            return self.say(_('${seconds} s'), seconds=self._decimal(seconds))
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

    def span(self, seconds):
        """Return seconds as the label of a scale: ``10 ms``, ``17 min``."""
        for size, message in (
                (DAY, _('${number} d')), (HOUR, _('${number} h')),
                (MINUTE, _('${number} min')), (1, _('${number} s'))):
            if seconds >= size:
                return self.say(message, number=self.number(
                    round(seconds / size)))
        return self.say(_('${number} ms'), number=self.number(
            max(1, round(seconds * 1000))))

    def readMoment(self, kind, text):
        """Return *text* as a value of the class *kind*.

        *kind* is `date`, `time` or `datetime`.  *text* is in ISO 8601 or in
        the form in which pages show such values.  A datetime may end with the
        name of the zone.  Years have four digits.  Raise ``ValueError``.
        """
        text = _SPACES.sub(' ', text)
        try:
            return self._read_moment(kind, text)
        except ValueError:
            text, space, name = text.rpartition(' ')
            if kind is not datetime or not space:
                raise
            moment = inZone(self._read_moment(kind, text), self.zone)
            if name != moment.astimezone(self.zone).tzname():
                raise
            return _fixed(moment)

    def _read_moment(self, kind, text):
        try:
            # fromisoformat() of Python 3.10 does not accept Z.
            return kind.fromisoformat(
                text[:-1] + '+00:00' if text.endswith('Z') else text)
        except ValueError:
            if self._locale is None:
                raise
        name = {date: 'date', time: 'time', datetime: 'dateTime'}[kind]
        for length in ('medium', 'short'):
            formatter = self._locale.dates.getFormatter(name, length)
            # Accept months and days with one digit, and only years with four.
            pattern = re.sub('y+', 'yyyy', re.sub(
                r'(?<!M)MM(?!M)|dd', lambda match: match[0][0],
                formatter.getPattern()))
            try:
                return formatter.parse(text, pattern)
            except (DateTimeParseError, ValueError):
                pass
        raise ValueError(text)

    def withZone(self, moment):
        """Return *moment* with the zone of the request, if it has none."""
        return _fixed(inZone(moment, self.zone))

    def readNumber(self, text):
        """Return the number in *text* as Python writes it.

        *text* has the decimal sign of the language, and groups of three
        digits or none.  Raise ``ValueError``.
        """
        decimal, groups = '.', ' '
        if self._locale is not None:
            symbols = self._locale.numbers.symbols
            decimal, groups = symbols['decimal'], symbols['group']
        text = text.strip().replace('\N{MINUS SIGN}', '-')
        whole, sign, fraction = text.partition(decimal)
        match = _WHOLE.fullmatch(whole)
        if match is None or not (match[2] or fraction) or (
                sign and _DIGITS.fullmatch(fraction) is None):
            raise ValueError(text)
        if match[3] and match[3] != groups and not match[3].isspace():
            raise ValueError(text)
        digits = ''.join(_DIGITS.findall(match[2] or '0'))
        return match[1] + digits + (sign and '.' + fraction)

    def plainNumber(self, value):
        """Return a number with all its digits, as `readNumber` reads it."""
        text = format(Decimal(str(value)), 'f')
        if isinstance(value, float):
            text = text.removesuffix('.0')
        if self._locale is None:
            return text
        return text.replace('.', self._locale.numbers.symbols['decimal'])

    def number(self, value):
        """Return a number without needless decimals; '' for None."""
        if value is None:
            return ''
        if not math.isfinite(value):
            return str(value)
        is_whole = float(value).is_integer()
        if self._locale is not None and abs(value) < HUGE:
            text = self._format(
                'numbers', 'decimal', int(value) if is_whole
                else round(float(value), 2))
            group = GROUPS.get(self._locale.id.language)
            return text if group is None else text.replace(
                self._locale.numbers.symbols['group'], group)
        return '%d' % value if is_whole else '%.2f' % value

    def percent(self, rate):
        """Return a rate (0.0 to 1.0) as ``2.5 %``; '' for None."""
        if rate is None:
            return ''
        percent = 100 * rate
        return '%s %%' % (self._decimal(percent) if 0 < percent < 10
                          else self.number(round(percent)))

    def _decimal(self, value):
        """Return a number with one digit after the point."""
        text = '%.1f' % value
        if self._locale is None:
            return text
        return text.replace('.', self._locale.numbers.symbols['decimal'])


def inZone(moment, zone):
    """Return *moment* (a datetime), with *zone* if it has no zone."""
    if moment.tzinfo is not None:
        return moment
    if zone is None:
        try:
            return moment.astimezone()
        except (ValueError, OverflowError):
            # Python 3.13 looks a day ahead, which is beyond the last year.
            return moment.replace(tzinfo=timezone.utc)
    # The zones of pytz need localize(); replace() would give a wrong offset.
    localize = getattr(zone, 'localize', None)
    return localize(moment) if localize else moment.replace(tzinfo=zone)


def _fixed(moment):
    """Return *moment* with a fixed offset as its zone: that is plain data."""
    return moment.replace(tzinfo=timezone(moment.utcoffset()))


def plainValue(value, limit=10000):
    """Return plain data as a text, cut to *limit* characters; '' for None."""
    if value is None:
        return ''
    if isinstance(value, str):
        return value
    try:
        text = repr(value)
    except Exception as error:
        # For example, Python refuses to print a very long number.
        text = '<unprintable %s: %s>' % (
            type(value).__name__, type(error).__name__)
    return text if len(text) <= limit else text[:limit] + '…'
