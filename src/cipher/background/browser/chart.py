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
"""The charts of the last 24 hours: numbers turned into coordinates.

The template stretches the drawing over its panel and writes the labels
beside it, so that they have one size at every width.  Numbers of runs and
durations have a panel and a scale of their own each.
"""
import math

from cipher.background.browser.plurals import sayDay
from cipher.background.i18n import _
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED


#: Units of the drawing.
SLOT = 10
BAR = 8
HEIGHT = 100
#: Between two states of a bar.
GAP = 1

#: The states of a bar, from the bottom up.
_STACK = (SUCCEEDED, STOPPED, INTERRUPTED, FAILED)
#: Hours between two labels of the axis; the label is below the middle one.
_LABEL_EVERY = 3
#: Bars that are higher than so many times a busy hour are cut off, as they
#: would flatten all others.  Of ten hours with runs two are busier.
_BURST = 4
_BUSY = 0.8


class Chart:
    """Makes the plain data of the charts of *hours* for the template."""

    def __init__(self, hours, presenter):
        self._hours = hours
        self._presenter = presenter

    def collect(self):
        """Return the data of the drawings, or None if no run finished."""
        totals = [sum(hour.counts.values()) for hour in self._hours]
        if not any(totals):
            return None
        format = self._presenter.format
        self._top = _get_top(totals)
        return {
            'width': SLOT * len(self._hours),
            'height': HEIGHT,
            'middle': HEIGHT // 2,
            'hours': [format.hour(hour.begins_at) for hour in self._hours[
                _LABEL_EVERY // 2::_LABEL_EVERY]],
            'labels': [format.number(self._top),
                       format.number(self._top / 2) if self._top > 1 else '',
                       format.number(0)],
            'slots': [self._slot(*pair) for pair in enumerate(self._hours)],
            'legend': [{'state': state, 'key': _KEYS[state],
                        'title': self._presenter.getState(state),
                        'count': format.number(sum(
                            hour.counts.get(state, 0)
                            for hour in self._hours))}
                       for state in _STACK],
            'cut': self._say_cut(totals),
            'durations': self._collect_durations(),
            'caption': sayDay(self._presenter, sum(totals), sum(
                hour.counts.get(FAILED, 0) for hour in self._hours)),
        }

    def _say_cut(self, totals):
        """Return the hours whose bars are cut off, with their numbers."""
        format = self._presenter.format
        return ', '.join(
            '%s: %s' % (format.hour(hour.begins_at), format.number(total))
            for hour, total in zip(self._hours, totals) if total > self._top)

    def _slot(self, number, hour):
        format = self._presenter.format
        total = sum(hour.counts.values())
        x = number * SLOT
        bars = []
        y = float(HEIGHT)
        for state in _STACK:
            count = hour.counts.get(state, 0)
            if count:
                # Even a small number must be visible.
                height = max(1.5, HEIGHT * count / max(self._top, total))
                y -= height
                gap = GAP if bars and height > 2 * GAP else 0
                bars.append({'state': state, 'key': _KEYS[state],
                             'y': '%.1f' % y,
                             'height': '%.1f' % (height - gap)})
        return {
            'x': x,
            'bar_x': x + (SLOT - BAR) // 2,
            'bars': bars,
            'is_cut': total > self._top,
            'hour': format.hour(hour.begins_at),
            'title': self._title(hour),
            'begins_at': format.iso(hour.begins_at),
            'counts': [{'state': state,
                        'count': format.number(hour.counts.get(state, 0))}
                       for state in _STACK],
            'mean': format.duration(hour.mean),
        }

    def _title(self, hour):
        presenter = self._presenter
        said = ['%s: %s' % (presenter.getState(state),
                            presenter.format.number(hour.counts[state]))
                for state in _STACK if hour.counts.get(state)]
        return '%s – %s' % (presenter.format.hour(hour.begins_at),
                            ', '.join(said) or presenter.say(_('nothing')))

    def _collect_durations(self):
        """Return the data of the panel of durations; None without any."""
        means = [hour.mean for hour in self._hours if hour.mean]
        if not means:
            return None
        presenter = self._presenter
        low, high = _get_decades(min(means), max(means))
        steps = []
        for number, hour in enumerate(self._hours):
            if hour.mean:
                share = (math.log10(hour.mean) - low) / (high - low)
                steps.append({
                    'x': number * SLOT, 'to': (number + 1) * SLOT,
                    'y': '%.1f' % (HEIGHT * (1 - share)),
                    'title': '%s – %s' % (
                        presenter.format.hour(hour.begins_at),
                        presenter.say(
                            _('took ${span} on average'),
                            span=presenter.format.duration(hour.mean)))})
        return {
            'steps': steps,
            'labels': [presenter.format.span(10.0 ** power) for power in (
                high, (high + low) // 2, low)],
            'caption': presenter.say(
                _('Mean duration in an hour: ${least} to ${most}.'),
                least=presenter.format.duration(min(means)),
                most=presenter.format.duration(max(means))),
        }


#: {state: kind of the colour}
_KEYS = {SUCCEEDED: 'good', STOPPED: 'wait', INTERRUPTED: 'stop',
         FAILED: 'bad'}


def _get_top(totals):
    """Return the number of runs at the top of the scale."""
    filled = sorted(filter(None, totals))
    busy = filled[min(len(filled) - 1, int(_BUSY * len(filled)))]
    return roundUp(min(filled[-1], _BURST * busy))


def _get_decades(least, most):
    """Return two powers of ten around both, with a whole one in the middle."""
    low = math.floor(math.log10(least))
    high = max(low + 2, math.ceil(math.log10(most)))
    return low, high + (high - low) % 2


def roundUp(number):
    """Return the least "round" number at or above *number* (> 0)."""
    size = 1
    while True:
        for digit in (1, 2, 4, 6, 8, 10):
            if digit * size >= number:
                return digit * size
        size *= 10
