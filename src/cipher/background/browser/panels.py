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
"""Small charts: numbers turned into coordinates, labels and tables.

The template draws each panel as SVG that is stretched, with the labels as HTML
beside it.  Each panel has one scale and a table of the same numbers.
"""
import math
from functools import partial

from zope.browserpage import ViewPageTemplateFile

from cipher.background.browser.page import Page
from cipher.background.browser.page import getParameter
from cipher.background.i18n import _


#: Value of the parameter "days" for the charts of 14 days.
FORTNIGHT = '14'

#: Units of the drawing.
WIDTH = 240
HEIGHT = 100

#: Labels below a panel, about.
LABELS = 6
#: Bars that are higher than so many times a busy one are cut off, as they
#: would flatten all others.  Of ten bars with runs two are busier.
_BURST = 4
_BUSY = 0.8
#: Between two parts of a bar.
_GAP = 1

#: Seconds at which a logarithmic scale may begin, in ascending order.
_BEGINS = [digit * 10.0 ** power for power in range(-3, 9)
           for digit in (1, 2, 5)]
#: Factors from its begin to its middle, and from there to its end.
_FACTORS = [digit * 10.0 ** power for power in range(9)
            for digit in (1, 2, 5)][2:]


class Charted(Page):
    """Base of a page with charts of 24 hours or of 14 days."""

    panel_template = ViewPageTemplateFile('templates/panel.pt')

    @property
    def panel_macros(self):
        """The macros that draw `panels`."""
        return self.panel_template.macros

    @property
    def is_fortnight(self):
        """Whether the charts show 14 days."""
        return getParameter(self.request, 'days') == FORTNIGHT

    @property
    def charts_url(self) -> str:
        """URL of the page with the charts of 24 hours."""
        raise NotImplementedError

    @property
    def spans(self):
        """The two spans of time to choose from."""
        url = self.charts_url
        return [{'title': self.say(_('24 hours')), 'url': url,
                 'current': not self.is_fortnight},
                {'title': self.say(_('14 days')),
                 'url': '%s%sdays=%s' % (url, '&' if '?' in url else '?',
                                         FORTNIGHT),
                 'current': self.is_fortnight}]

    def choosePeriods(self, history):
        """Return (periods, period of all, names, unit) of the chosen span.

        *history* is an `ITypeHistory` or an `IActivity`.
        """
        format = self.presenter.format
        if self.is_fortnight:
            return (history.days, history.fortnight,
                    [format.day(period.ends_at - 1)
                     for period in history.days],
                    self.say(_('runs in 24 hours')))
        return (history.hours, history.day,
                [format.hour(period.begins_at) for period in history.hours],
                self.say(_('runs an hour')))

    def makeWaits(self, periods, whole, names):
        """Return the panel of the queue waits, or None."""
        return makeTimes(
            self.presenter, names, [one.waited_half for one in periods],
            [one.waited_most for one in periods],
            self.say(_('Queue wait')), 'waited',
            (whole.waited_half, whole.waited_most))


def makeBars(presenter, names, columns, kinds, title='', unit='', id=''):
    """Return the panel of stacked bars.

    *names* are the names of the bars.  *columns* is [(title, numbers)], from
    the bottom up.  *kinds* are the words for their colours.
    """
    format = presenter.format
    totals = [sum(numbers) for numbers in zip(
        *[numbers for _title, numbers in columns])]
    top = _get_top(totals)
    width = WIDTH / len(names)
    bars = []
    for index, name in enumerate(names):
        rects, y = [], float(HEIGHT)
        for kind, (_title, numbers) in zip(kinds, columns):
            if numbers[index]:
                # Even a small number must be visible.
                height = max(1.5, HEIGHT * numbers[index] / max(
                    top, totals[index]))
                y -= height
                gap = _GAP if rects and height > 2 * _GAP else 0
                rects.append({'kind': kind, 'y': '%.1f' % y,
                              'height': '%.1f' % (height - gap)})
        bars.append({
            'is_cut': totals[index] > top,
            'slot_x': '%.1f' % (index * width), 'slot_width': '%.1f' % width,
            'x': '%.1f' % ((index + .12) * width),
            'width': '%.1f' % (.76 * width), 'rects': rects,
            'title': '%s – %s' % (name, ', '.join(
                '%s: %s' % (title, format.number(numbers[index]))
                for title, numbers in columns))})
    return _panel(
        id, title, unit, names, columns, format.number, bars=bars,
        y=[format.number(top), format.number(top / 2) if top > 1 else '',
           format.number(0)],
        cut=', '.join('%s: %s' % (name, format.number(total))
                      for name, total in zip(names, totals) if total > top),
        keys=[{'kind': kind, 'text': '%s: %s' % (
            name, format.number(sum(numbers)))}
            for kind, (name, numbers) in zip(kinds, columns)]
        if len(columns) > 1 else [])


def makeTimes(presenter, names, half, most, title='', id='', within=(None,),
              usual=None):
    """Return the panel of two lines of seconds, on a logarithmic scale.

    *half* and *most* are lists of seconds or None, one for each of *names*.
    *within* are the two values for the whole time.  *usual* seconds are a
    line of their own.  Return None if nothing is known.
    """
    format = presenter.format
    return _make_lines(
        presenter, names, half, most, within, usual, format.rough,
        format.span, _bounds,
        id=id, title=title, unit=presenter.say(_('logarithmic')))


def makeMultiples(presenter, names, half, most, title='', id='',
                  within=(None,)):
    """Return the panel of multiples of what is usual, as `makeTimes`."""
    return _make_lines(
        presenter, names, half, most, within, 1.0, presenter.format.multiple,
        partial(presenter.format.multiple, digits=4), _bounds_of_multiples,
        id=id, title=title,
        unit=presenter.say(_('times the usual of its type')))


def _make_lines(presenter, names, half, most, within, usual, write, label,
                bounds, **about):
    say = presenter.say
    columns = [(say(_('Half within')), half), (say(_('95 % within')), most)]
    known = [value for value in (*half, *most, usual) if value is not None]
    if not any(value is not None for value in half):
        return None
    low, high = bounds(min(known), max(known))

    def y_of(value):
        share = math.log(max(low, value) / low) / math.log(high / low)
        return HEIGHT * (1 - share)

    width = WIDTH / len(names)
    lines, area = {'half': [], 'most': []}, []
    for begin, end in _stretches(half):
        xs = [(index + .5) * width for index in range(begin, end)]
        if len(xs) == 1:   # a line of one point would not be seen
            xs = [begin * width, (begin + 1) * width]
        drawn = {}
        for name, values in ('half', half), ('most', most):
            ys = [y_of(value) for value in values[begin:end]]
            drawn[name] = ['%.1f,%.1f' % point for point in zip(
                xs, ys if len(ys) > 1 else ys * 2)]
            lines[name].append(' '.join(drawn[name]))
        area.append(' '.join(drawn['most'] + drawn['half'][::-1]))
    slots = [{
        'slot_x': '%.1f' % (index * width), 'slot_width': '%.1f' % width,
        'rects': [], 'x': '0', 'width': '0', 'is_cut': False,
        'title': '%s – %s' % (name, ', '.join(
            '%s %s' % (title, write(values[index]))
            for title, values in columns) if half[index] is not None
            else say(_('nothing')))} for index, name in enumerate(names)]
    keys = [{'kind': kind, 'text': '%s %s' % (name, write(value))}
            for kind, (name, _values), value in zip(
                ('p50', 'p95'), columns, within)]
    if usual is not None:
        keys.append({'kind': 'usual', 'text': say(
            _('usual ${value}'), value=write(usual))})
    return _panel(
        names=names, columns=columns, format=write,
        bars=slots, area=area, lines=lines,
        usual=None if usual is None else '%.1f' % y_of(usual),
        y=list(map(label, (high, math.sqrt(low * high), low))), keys=keys,
        **about)


def _panel(id, title, unit, names, columns, format, **drawing):
    step = max(1, math.ceil(len(names) / LABELS))
    panel = {
        'id': id, 'title': title, 'unit': unit, 'area': [],
        'lines': {'half': [], 'most': []}, 'usual': None, 'cut': '',
        'links': [],
        # Each label is below the middle of its share of the plot.
        'x': names[step // 2::step],
        'columns': [name for name, _values in columns],
        'rows': [{'name': name,
                  'values': [format(values[index])
                             for _name, values in columns]}
                 for index, name in enumerate(names)]}
    panel.update(drawing)
    # The drawing has the same words as its key and its scale.
    panel['label'] = '; '.join(filter(None, (
        ' '.join(filter(None, (title, unit))),
        *[key['text'] for key in panel['keys']],
        '%s – %s' % (panel['y'][-1], panel['y'][0]))))
    return panel


def _stretches(values):
    """Yield (begin, end) of each stretch of known *values*."""
    begin = None
    for index, value in enumerate((*values, None)):
        if value is None and begin is not None:
            yield begin, index
            begin = None
        elif value is not None and begin is None:
            begin = index


def _get_top(totals):
    """Return the number of runs at the top of the scale of bars."""
    filled = sorted(filter(None, totals)) or [1]
    busy = filled[min(len(filled) - 1, int(_BUSY * len(filled)))]
    return roundUp(min(filled[-1], _BURST * busy))


def roundUp(number):
    """Return the least "round" number at or above *number* (> 0)."""
    size = 1
    while True:
        for digit in (1, 2, 4, 6, 8, 10):
            if digit * size >= number:
                return digit * size
        size *= 10


def _bounds_of_multiples(low, high):
    """Return the ends of a scale of multiples, powers of two."""
    low = min(-1, math.floor(math.log2(low)))
    high = max(3, math.ceil(math.log2(high)))
    return 2.0 ** low, 2.0 ** (high + (high - low) % 2)


def _bounds(low, high):
    """Return the ends of a logarithmic scale from *low* to *high* seconds.

    Its middle is a round number as well.
    """
    begin = max([one for one in _BEGINS if one <= low] or _BEGINS[:1])
    factor = next(one for one in _FACTORS if begin * one * one >= high)
    return begin, begin * factor * factor
