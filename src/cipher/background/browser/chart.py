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
"""The chart of the last 24 hours: numbers turned into coordinates.

The template draws it as SVG, with a table of the same numbers below it.
"""
from cipher.background.browser.plurals import sayDay
from cipher.background.i18n import _
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED


#: Units of the drawing.
SLOT = 30
BAR = 22
HEIGHT = 120
LEFT = 60
TOP = 16
BOTTOM = 26

#: The states of a bar, from the bottom up.
_STACK = (SUCCEEDED, STOPPED, INTERRUPTED, FAILED)
#: Hours between two labels of the axis.
_LABEL_EVERY = 3


class Chart:
    """Makes the plain data of a chart of hours for the template."""

    def __init__(self, hours, presenter):
        self._hours = hours
        self._presenter = presenter

    def collect(self):
        """Return the data of the drawing, or None if no run finished."""
        totals = [sum(hour.counts.values()) for hour in self._hours]
        if not any(totals):
            return None
        format = self._presenter.format
        top = roundUp(max(totals))
        slowest = max(hour.mean or 0.0 for hour in self._hours)
        width = LEFT + SLOT * len(self._hours)
        return {
            'view_box': '0 0 %d %d' % (width, TOP + HEIGHT + BOTTOM),
            'right': width,
            'left': LEFT,
            'middle': TOP + HEIGHT // 2,
            'top': TOP,
            'base': TOP + HEIGHT,
            'label_at': LEFT - 6,
            'top_label': format.number(top),
            'middle_label': format.number(top / 2) if top > 1 else '',
            'slots': [self._slot(number, hour, top, slowest)
                      for number, hour in enumerate(self._hours)],
            'legend': [{'state': state,
                        'title': self._presenter.getState(state)}
                       for state in _STACK],
            'slowest': format.duration(slowest) if slowest else '',
            'caption': sayDay(self._presenter, sum(totals), sum(
                hour.counts.get(FAILED, 0) for hour in self._hours)),
        }

    def _slot(self, number, hour, top, slowest):
        format = self._presenter.format
        x = LEFT + number * SLOT + (SLOT - BAR) // 2
        bars = []
        y = TOP + HEIGHT
        for state in _STACK:
            count = hour.counts.get(state, 0)
            if count:
                # Even a small number must be visible.
                height = max(1.5, HEIGHT * count / top)
                y -= height
                bars.append({'state': state, 'y': '%.1f' % y,
                             'height': '%.1f' % height})
        mean = hour.mean
        return {
            'x': x,
            'width': BAR,
            'bars': bars,
            'middle': x + BAR // 2,
            'mean_y': mean and '%.1f' % (
                TOP + HEIGHT * (1 - mean / slowest)),
            'hour': format.hour(hour.begins_at),
            'is_named': number % _LABEL_EVERY == 0,
            'title': self._title(hour),
            'begins_at': format.iso(hour.begins_at),
            'counts': [{'state': state,
                        'count': format.number(hour.counts.get(state, 0))}
                       for state in _STACK],
            'mean': format.duration(mean),
        }

    def _title(self, hour):
        presenter = self._presenter
        said = ['%s: %s' % (presenter.getState(state),
                            presenter.format.number(hour.counts[state]))
                for state in _STACK if hour.counts.get(state)]
        if hour.mean is not None:
            said.append(presenter.say(
                _('took ${span} on average'),
                span=presenter.format.duration(hour.mean)))
        return '%s – %s' % (presenter.format.hour(hour.begins_at),
                            ', '.join(said) or presenter.say(_('nothing')))


def roundUp(number):
    """Return the least "round" number at or above *number* (> 0)."""
    size = 1
    while True:
        for digit in (1, 2, 4, 6, 8, 10):
            if digit * size >= number:
                return digit * size
        size *= 10
