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
"""The charts and tables of the documentation, from the file of ``--json``.

    bin/python bench/main.py chart FILE FOLDER

Into FOLDER it writes ``throughput.svg`` and ``latency.svg`` with the peers,
``pages.svg`` with the time of pages against the number of runs, and for each
command a table for the documentation, ``COMMAND.txt``.  A chart is readable on
a light and on a dark page.
"""
import argparse
import math
import os
import re
from xml.sax.saxutils import escape

from bench.peerprogram import PEERS
from bench.rounds import readJSON


WIDTH = 640
LEFT = 190          # for the names
RIGHT = 70          # for the numbers
ROW = 26

STYLE = '''
  text { font: 13px sans-serif; fill: #222; }
  .note { fill: #555; font-size: 11px; }
  .page { fill: #fff; }
  .axis { stroke: #bbb; stroke-width: 1; }
  .own { fill: #0b62a4; stroke: #0b62a4; }
  .other { fill: #8a8f98; stroke: #8a8f98; }
  .line { fill: none; stroke-width: 2; }
  .c0 { stroke: #0b62a4; } .c1 { stroke: #b35900; } .c2 { stroke: #2e7d32; }
  .c3 { stroke: #8e24aa; } .c4 { stroke: #555; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e4e4; }
    .note { fill: #aaa; }
    .page { fill: #1b1b1b; }
    .axis { stroke: #555; }
    .own { fill: #5cb3f5; stroke: #5cb3f5; }
    .other { fill: #9aa0a8; stroke: #9aa0a8; }
    .c0 { stroke: #5cb3f5; } .c1 { stroke: #ffab5c; }
    .c2 { stroke: #7fd184; } .c3 { stroke: #d59cf0; } .c4 { stroke: #bbb; }
  }
'''

#: Pages of the chart.
PAGES = ('overview', 'runs', 'runs, words', 'a run, failed',
         'poll of the overview')


def svg(title, height, parts):
    """Return a chart of that *height* (pixels) with the *parts* in it."""
    return '\n'.join([
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" '
        'width="%d" height="%d" role="img">' % (WIDTH, height, WIDTH, height),
        '<title>%s</title>' % escape(title), '<style>%s</style>' % STYLE,
        '<rect class="page" width="%d" height="%d"/>' % (WIDTH, height),
        text(10, 22, title), *parts, '</svg>', ''])


def text(x, y, what, anchor='start', name=''):
    """Return an element with the text *what*."""
    return '<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>' % (
        x, y, anchor, name and ' class="%s"' % name, escape(what))


def line(x, y, to_x, to_y, name):
    """Return an element with a straight line."""
    return '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>' % (
        x, y, to_x, to_y, name)


def color(name):
    """Return the class of the color of *name*."""
    return 'own' if name.startswith('ours') else 'other'


def listPeers(figures):
    """Return the names of ours and of the peers in *figures*."""
    return [name for name in (
        'ours, shared', 'ours, shared, ZEO', 'ours', 'ours, ZEO', *PEERS)
        if any(key.startswith(name + ', drain/s') for key in figures)]


def drawThroughput(figures):
    """Return the bars of the best drain of each."""
    best = {
        name: max(values['median'] for key, values in figures.items()
                  if key.startswith(name + ', drain/s, '))
        for name in listPeers(figures)}
    order = sorted(best, key=best.get, reverse=True)
    scale = (WIDTH - LEFT - RIGHT) / max(best.values())
    parts = []
    for n, name in enumerate(order):
        y = 40 + n * ROW
        parts += [
            text(LEFT - 8, y + 14, name, 'end'),
            '<rect x="%d" y="%d" width="%.1f" height="%d" class="%s"/>' % (
                LEFT, y + 2, max(1.0, best[name] * scale), ROW - 8,
                color(name)),
            text(LEFT + best[name] * scale + 6, y + 14,
                 format_number(best[name]))]
    height = 40 + len(order) * ROW + 30
    parts.append(text(10, height - 12, 'Small jobs a second, median; the '
                      'better of the numbers of threads.', name='note'))
    return svg('Throughput', height, parts)


def drawLatency(figures):
    """Return a line from p50 to p95 for each, on a logarithmic scale."""
    found = {name: tuple(
        max(0.05, figures['%s, latency, %s ms' % (name, p)]['median'])
        for p in ('p50', 'p95'))
        for name in listPeers(figures)
        if '%s, latency, p50 ms' % name in figures}
    order = sorted(found, key=found.get)
    scale = Scale([value for pair in found.values() for value in pair])
    height = 40 + len(order) * ROW + 50
    parts = scale.draw(40, 40 + len(order) * ROW, format_number)
    for n, name in enumerate(order):
        y = 40 + n * ROW + ROW / 2
        left, right = map(scale.place, found[name])
        parts += [text(LEFT - 8, y + 4, name, 'end'),
                  line(left, y, right, y, 'line ' + color(name))]
        parts += ['<circle cx="%.1f" cy="%.1f" r="%d" class="%s"/>' % (
            x, y, radius, color(name))
            for x, radius in ((left, 5), (right, 3))]
    parts.append(text(10, height - 12, 'Milliseconds from the start to the '
                      'work: p50 (large dot) and p95, medians.', name='note'))
    return svg('Latency', height, parts)


def drawPages(figures):
    """Return the lines of the warm time of pages against the runs."""
    found = {}
    for key, values in figures.items():
        match = re.fullmatch(r'(.*), (\d+) runs, warm cpu ms', key)
        if match and match[1] in PAGES:
            found.setdefault(match[1], {})[int(match[2])] = values['median']
    sizes = sorted({size for points in found.values() for size in points})
    scale = Scale(sizes)
    top, bottom = 40, 260
    most = max(value for points in found.values()
               for value in points.values())

    def height_of(value):
        return bottom - (bottom - top - 10) * value / most

    parts = scale.draw(top, bottom, '{:,}'.format, sizes)
    for value in (0, most / 2, most):
        parts += [line(LEFT, height_of(value), WIDTH - RIGHT,
                       height_of(value), 'axis'),
                  text(LEFT - 8, height_of(value) + 4,
                       '%.3g ms' % value, 'end', 'note')]
    for n, (name, points) in enumerate(found.items()):
        parts.append('<polyline class="line c%d" points="%s"/>' % (
            n % 5, ' '.join('%.1f,%.1f' % (
                scale.place(size), height_of(value))
                for size, value in sorted(points.items()))))
        y = bottom + 44 + n * 18
        parts += [line(LEFT, y - 4, LEFT + 30, y - 4, 'line c%d' % (n % 5)),
                  text(LEFT + 38, y, name)]
    height = bottom + 44 + len(found) * 18 + 20
    parts.append(text(10, height - 10, 'Processor time of a warm request, '
                      'against the number of runs; medians.', name='note'))
    return svg('Pages', height, parts)


class Scale:
    """A logarithmic scale from left to right, of these *values*."""

    def __init__(self, values):
        self._low = math.log10(min(values))
        self._high = math.log10(max(values))
        if self._high == self._low:
            self._high += 1

    def place(self, value):
        """Return the x of *value*."""
        return LEFT + (WIDTH - LEFT - RIGHT) * (
            (math.log10(value) - self._low) / (self._high - self._low))

    def draw(self, top, bottom, format_value, values=None):
        """Return the lines at *values*; by default at powers of ten."""
        if values is None:
            values = [10.0 ** n for n in range(
                math.ceil(self._low), math.floor(self._high) + 1)]
        return [part for value in values for part in (
            line(self.place(value), top, self.place(value), bottom, 'axis'),
            text(self.place(value), bottom + 14, format_value(value),
                 'middle', 'note'))]


def format_number(value):
    """Return *value* as a reader wants it: three digits or whole."""
    if value == 0:
        return '0'
    if abs(value) >= 100:
        return '{:,.0f}'.format(value)
    return '%.*f' % (max(0, 2 - math.floor(math.log10(abs(value)))), value)


def formatTable(result, shown=''):
    """Return a table of the documentation with the figures of a command.

    If names contain the pattern *shown*, show no others.
    """
    figures = result['figures']
    figures = {name: values for name, values in figures.items()
               if re.search(shown, name)} or figures
    lines = ['.. list-table::', '   :header-rows: 1', '',
             '   * - Measured', '     - Median', '     - Least', '     - Most']
    for name, values in figures.items():
        lines.append('   * - ' + name)
        lines += ['     - ' + format_number(values[key])
                  for key in ('median', 'least', 'most')]
    return '\n'.join(lines + ['', describe(result), ''])


def describe(result):
    """Return a line with the date, the versions and the machine."""
    options = result['options']
    return 'Measured on %s, %d cores, load %s at the end; %s%s.  %s.' % (
        result['date'][:10], result['machine']['cores'],
        result['machine']['load'][0],
        'one round' if options.get('rounds', 1) == 1
        else '%d rounds' % options['rounds'],
        ''.join(', {:,} {}'.format(options[name], said)
                for name, said in SIZES if type(options.get(name)) is int),
        ', '.join('%s %s' % pair for pair in sorted(
            result['versions'].items()) if pair[0] != 'cipher.background'))


#: Options that a reader has to know, and how to say them.
SIZES = (('jobs', 'jobs'), ('runs', 'runs'), ('finished', 'finished runs'),
         ('delayed', 'delayed runs'), ('types', 'types'))

#: {file: (command, function that draws it)}
CHARTS = {'throughput.svg': ('peers', drawThroughput),
          'latency.svg': ('peers', drawLatency),
          'pages.svg': ('polls', drawPages)}

#: Patterns of the names in long tables; the file has all figures.
SHOWN = {'pages': r' ms$', 'polls': r'100000 runs, (warm cpu ms|bytes)$'}


def draw(results):
    """Return {name of a file: its text}."""
    files = {name: function(results[command]['figures'])
             for name, (command, function) in CHARTS.items()
             if command in results}
    files.update({
        command.replace(', ', '-') + '.txt': formatTable(
            result, SHOWN.get(command, ''))
        for command, result in results.items()})
    return files


def main(argv=None):
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('file', help='made by --json of the other commands')
    parser.add_argument('folder')
    options = parser.parse_args(argv)
    os.makedirs(options.folder, exist_ok=True)
    for name, content in draw(readJSON(options.file)).items():
        with open(os.path.join(options.folder, name), 'w',
                  encoding='utf-8') as target:
            target.write(content)
        print(os.path.join(options.folder, name))
