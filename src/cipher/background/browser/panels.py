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

from cipher.background.browser.chart import roundUp
from cipher.background.i18n import _


#: Units of the drawing.
WIDTH = 240
HEIGHT = 100

#: Labels below a panel, about.
LABELS = 6
#: Factor from the least to the greatest value of a logarithmic scale, at
#: least.
LEAST_FACTOR = 10
#: Seconds at which such a scale may end, in ascending order.
_ENDS = [digit * 10.0 ** power for power in range(-3, 9)
         for digit in (1, 2, 5)]


def makeBars(presenter, names, columns, kinds, title='', unit='', id=''):
    """Return the panel of stacked bars.

    *names* are the names of the bars.  *columns* is [(title, numbers)], from
    the bottom up.  *kinds* are the words for their colours.
    """
    format = presenter.format
    totals = [sum(numbers) for numbers in zip(
        *[numbers for _title, numbers in columns])]
    top = roundUp(max(1, *totals))
    width = WIDTH / len(names)
    bars = []
    for index, name in enumerate(names):
        rects, y = [], HEIGHT
        for kind, (_title, numbers) in zip(kinds, columns):
            if numbers[index]:
                # Even a small number must be visible.
                height = max(1.5, HEIGHT * numbers[index] / top)
                y -= height
                rects.append({'kind': kind, 'y': '%.1f' % y,
                              'height': '%.1f' % height})
        bars.append({
            'slot_x': '%.1f' % (index * width), 'slot_width': '%.1f' % width,
            'x': '%.1f' % ((index + .12) * width),
            'width': '%.1f' % (.76 * width), 'rects': rects,
            'title': '%s – %s' % (name, ', '.join(
                '%s: %s' % (title, format.number(numbers[index]))
                for title, numbers in columns))})
    return _panel(
        id, title, unit, names, columns, format.number, bars=bars,
        y=[format.number(top), format.number(top / 2) if top > 1 else '',
           '0'], keys=[{'kind': kind, 'text': '%s: %s' % (
               name, format.number(sum(numbers)))}
               for kind, (name, numbers) in zip(kinds, columns)]
        if len(columns) > 1 else [])


def makeTimes(presenter, names, half, most, title='', id='', within=(None,)):
    """Return the panel of two lines of seconds, on a logarithmic scale.

    *half* and *most* are lists of seconds or None, one for each of *names*.
    *within* are the two values for the whole time.
    """
    say, duration = presenter.say, presenter.format.duration
    columns = [(say(_('Half within')), half), (say(_('95 % within')), most)]
    known = [value for value in (*half, *most) if value is not None]
    if not known:
        return None
    low, high = _bounds(min(known), max(known))

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
        'rects': [], 'x': '0', 'width': '0',
        'title': '%s – %s' % (name, ', '.join(
            '%s %s' % (title, duration(values[index]))
            for title, values in columns) if half[index] is not None
            else say(_('nothing')))} for index, name in enumerate(names)]
    return _panel(
        id, title, say(_('logarithmic')), names, columns, duration,
        bars=slots, area=area, lines=lines,
        y=list(map(presenter.format.span,
                   (high, math.sqrt(low * high), low))),
        keys=[{'kind': kind, 'text': '%s %s' % (name, duration(value))}
              for kind, (name, _values), value in zip(
                  ('p50', 'p95'), columns, within)])


def _panel(id, title, unit, names, columns, format, **drawing):
    step = max(1, math.ceil(len(names) / LABELS))
    panel = {
        'id': id, 'title': title, 'unit': unit, 'area': [],
        'lines': {'half': [], 'most': []},
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


def _bounds(low, high):
    """Return the ends of a logarithmic scale from *low* to *high* seconds."""
    low = 10.0 ** math.floor(math.log10(max(low, .001)))
    high = max(high, LEAST_FACTOR * low)
    return low, next((end for end in _ENDS if end >= high), high)
