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
"""The controls of forms for numbers, dates and times.

Numbers are written in the language of the page.  Dates and times are read in
two forms: ISO 8601, which a browser's own controls send, and the form in which
pages show them.
"""
import re
from datetime import date
from datetime import datetime
from datetime import time
from decimal import Decimal

from z3c.form.browser.text import TextWidget
from z3c.form.converter import BaseDataConverter
from z3c.form.interfaces import IDataConverter
from z3c.form.interfaces import IFieldWidget
from z3c.form.interfaces import ITextWidget
from z3c.form.widget import FieldWidget
from zope.component import adapter
from zope.interface import implementer
from zope.interface import implementer_only
from zope.schema.interfaces import IDate
from zope.schema.interfaces import IDatetime
from zope.schema.interfaces import IDecimal
from zope.schema.interfaces import IFloat
from zope.schema.interfaces import IInt
from zope.schema.interfaces import ITime
from zope.schema.interfaces import ValidationError

from cipher.background.browser.formatting import Formatter
from cipher.background.browser.interfaces import IBackgroundLayer
from cipher.background.browser.text import cleanLine
from cipher.background.i18n import _


#: Characters.  A longer number is refused: reading it would take too long.
NUMBER_LIMIT = 1000


class Unreadable(ValidationError):
    """A text cannot be read; the argument says what to write instead."""

    def doc(self):
        """Return the message for the form."""
        return self.args[0]


class IControl(ITextWidget):
    """A control whose value the converters of this module convert."""


@implementer_only(IControl)
class Control(TextWidget):
    """Base: a control of a special kind, or a line of text.

    It is a line of text if a browser would drop its value.
    """

    kind = 'type="text"'
    # Matches the values that browsers accept; they drop any other value.
    takes = re.compile('')

    def render(self):
        markup = super().render()
        if self.takes.fullmatch(self.value or '') is None and self.value:
            return markup
        return markup.replace('type="text"', self.kind, 1)


class NumberControl(Control):
    """Numbers; a phone shows its keyboard for numbers."""

    kind = 'type="text" inputmode="decimal"'
    takes = re.compile('(?s).*')


class DateControl(Control):
    """Dates."""

    kind = 'type="date"'
    takes = re.compile('[0-9]{4}-[0-9]{2}-[0-9]{2}')


class TimeControl(Control):
    """Times of the day."""

    kind = 'type="time"'
    takes = re.compile(r'[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,3})?)?')


class DatetimeControl(Control):
    """Dates with a time."""

    kind = 'type="datetime-local"'
    takes = re.compile('%sT%s' % (
        DateControl.takes.pattern, TimeControl.takes.pattern))


def _make_control(kind, control):
    @implementer(IFieldWidget)
    @adapter(kind, IBackgroundLayer)
    def make(field, request):
        return FieldWidget(field, control(request))
    return make


IntWidget = _make_control(IInt, NumberControl)
FloatWidget = _make_control(IFloat, NumberControl)
DecimalWidget = _make_control(IDecimal, NumberControl)
DateWidget = _make_control(IDate, DateControl)
TimeWidget = _make_control(ITime, TimeControl)
DatetimeWidget = _make_control(IDatetime, DatetimeControl)


@implementer(IDataConverter)
class Converter(BaseDataConverter):
    """Base: an empty text is a missing value."""

    expected = None   # message that says what to write
    example = ''

    @property
    def format(self):
        return Formatter(self.widget.request)

    def write(self, value):
        """Return the text that shows *value*."""
        raise NotImplementedError

    def read(self, text):
        """Return the value of *text*; raise ``ValueError`` for none."""
        raise NotImplementedError

    def toWidgetValue(self, value):
        if value is self.field.missing_value:
            return ''
        return self.write(value)

    def toFieldValue(self, value):
        text = value.strip()
        if not text:
            return self.field.missing_value
        try:
            return self.read(text)
        except (ValueError, ArithmeticError):
            raise Unreadable(_(self.expected, mapping={
                'value': cleanLine(text, 80),
                'example': self.example})) from None


class NumberConverter(Converter):
    """Base of the numbers."""

    type: type   # makes such a number of one that was read
    expected = _('"${value}" is not a number in the format of this page.  '
                 'Write it like ${example}.')

    @property
    def example(self):
        """An example of such a number."""
        return self.format.plainNumber(1234.5)

    def write(self, value):
        return self.format.plainNumber(value)

    def read(self, text):
        if len(text) > NUMBER_LIMIT:
            raise ValueError('too long')
        return self.type(self.format.readNumber(text))


@adapter(IInt, IControl)
class IntConverter(NumberConverter):
    """Whole numbers."""

    type = int
    expected = _('"${value}" is not a whole number.  Write it like 1234.')


@adapter(IFloat, IControl)
class FloatConverter(NumberConverter):
    """Numbers with a fraction."""

    type = float


@adapter(IDecimal, IControl)
class DecimalConverter(NumberConverter):
    """Numbers with a fraction, exact."""

    type = Decimal


class MomentConverter(Converter):
    """Base of dates and times."""

    type = None

    def write(self, value):
        return value.isoformat()

    def read(self, text):
        return self.format.readMoment(self.type, text)


@adapter(IDate, IControl)
class DateConverter(MomentConverter):
    """Dates."""

    type = date
    expected = _('"${value}" is not a date.  Write it like 2026-01-31.')


@adapter(ITime, IControl)
class TimeConverter(MomentConverter):
    """Times of the day, without an offset: those would not compare."""

    type = time
    expected = _('"${value}" is not a time of day.  Write it like 17:00.')

    def read(self, text):
        moment = super().read(text)
        if moment.tzinfo is not None:
            raise ValueError(text)
        return moment


@adapter(IDatetime, IControl)
class DatetimeConverter(MomentConverter):
    """Dates with a time; with a zone if the field's bounds have one."""

    type = datetime
    expected = _('"${value}" is not a date with a time.  Write it like '
                 '2026-01-31T17:00.')

    def write(self, value):
        if value.tzinfo is not None and self.has_zone:
            value = value.astimezone(self.format.zone).replace(tzinfo=None)
        return super().write(value)

    def read(self, text):
        moment = super().read(text)
        if self.has_zone is None:
            return moment
        if self.has_zone:
            return self.format.withZone(moment)
        if moment.tzinfo is None:
            return moment
        return moment.astimezone(self.format.zone).replace(tzinfo=None)

    @property
    def has_zone(self):
        """Whether the bounds or the default of the field have a zone.

        None if there are neither.  Values with a zone do not compare with
        values without one.
        """
        for bound in self.field.min, self.field.max, self.field.default:
            if bound is not None:
                return bound.tzinfo is not None
        return None
