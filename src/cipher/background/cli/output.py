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
"""Print the answer of a command: plain text, tables or JSON.

In a terminal a table is as wide as the terminal, and coloured if rich is
installed.  In a file or a pipe each row is one line, however long.
"""
import json
import shutil
import sys
import textwrap
import unicodedata

from cipher.background.cli.command import OK


#: Columns of text in a terminal, at most; longer lines are hard to read.
TEXT_WIDTH = 100
#: Columns of the last column of a table, at least, if its texts are longer.
LAST = 20
GAP = '  '


class Output:
    """Writes to *stream*, by default stdout."""

    def __init__(self, stream=None):
        self.stream = stream or sys.stdout
        self.is_terminal = self.stream.isatty()
        #: Columns, or None if lines may have any length.
        self.width = (shutil.get_terminal_size().columns
                      if self.is_terminal else None)
        self._painting = None
        if self.is_terminal:
            try:
                from cipher.background.cli import painting
                self._painting = painting
            except ImportError:
                pass

    def write(self, text):
        """Write *text*; replace what the encoding of the stream lacks."""
        encoding = self.stream.encoding or 'utf-8'
        self.stream.write(text.encode(
            encoding, 'backslashreplace').decode(encoding))

    def line(self, text=''):
        """Write one line; a terminal wraps it between words."""
        if self.width:
            text = textwrap.fill(
                text, min(self.width, TEXT_WIDTH), break_on_hyphens=False,
                break_long_words=False)
        self.write(text + '\n')

    def json(self, data):
        """Write plain data as JSON in ASCII, which is safe in any encoding."""
        self.write(json.dumps(data, indent=2) + '\n')

    def jsonLine(self, data):
        """Write plain data as JSON on one line."""
        self.write(json.dumps(data) + '\n')

    def heading(self, text):
        """Write an empty line and a heading."""
        self.write('\n')
        self._draw([text], is_header=True)

    def _draw(self, cells, is_header=False):
        """Write a line of padded *cells*."""
        if self._painting is not None:
            self._painting.paintLine(
                self.stream, cells, self._painting.HEADER if is_header else '')
        else:
            self.write(''.join(cells).rstrip() + '\n')

    def pairs(self, pairs):
        """Write (name, text) pairs, the empty ones left out.

        Further lines of a text are indented.
        """
        pairs = [(name, text) for name, text in pairs if text]
        size = max((measure(name) for name, _ in pairs), default=0) + 2
        for name, text in pairs:
            lines = text.splitlines()
            if self.width:
                lines = [part for line in lines for part in textwrap.wrap(
                    line, max(20, self.width - size)) or ['']]
            self.write(_pad(name, size) + (
                '\n' + ' ' * size).join(lines) + '\n')

    def table(self, headers, rows, numbers=(), optional=()):
        """Write a table of texts; columns without any text are left out.

        *numbers* are the headers of columns to align to the right.
        *optional* are the headers of columns that a narrow terminal does not
        show, the first one first.
        """
        columns = [
            (header, [cell or '' for cell in cells])
            for header, *cells in zip(headers, *rows)]
        columns = [column for column in columns if any(column[1])]
        for header in optional:
            if self.width is None or _measure_all(columns) <= self.width:
                break
            columns = [column for column in columns if column[0] != header]
        sizes = [_measure_column(column) for column in columns]
        if self.width:
            # The last column is wrapped.
            sizes[-1] = min(sizes[-1], max(LAST, self.width - sum(
                sizes[:-1]) - len(GAP) * (len(sizes) - 1)))
        self._draw(_align([header for header, _ in columns], sizes, [
            header in numbers for header, _ in columns]), is_header=True)
        for row in zip(*[cells for _, cells in columns]):
            lines = [row[-1]]
            if self.width:
                lines = textwrap.wrap(row[-1], sizes[-1]) or ['']
            is_number = [header in numbers for header, _ in columns]
            for cells in [(*row[:-1], lines[0]), *(
                    (*[''] * (len(row) - 1), line) for line in lines[1:])]:
                self._draw(_align(cells, sizes, is_number))


def _measure_column(column):
    header, cells = column
    return max(map(measure, (header, *cells)))


def _measure_all(columns):
    """Return the width that *columns* need, with the last one wrapped."""
    sizes = list(map(_measure_column, columns))
    return sum(sizes[:-1]) + min(sizes[-1], LAST) + len(GAP) * (
        len(sizes) - 1)


def _align(cells, sizes, is_number):
    """Return the *cells*, padded, with a gap after each."""
    return [_pad(*cell) + GAP for cell in zip(cells, sizes, is_number)]


def measure(text):
    """Return the number of columns that *text* takes in a terminal."""
    return sum(0 if unicodedata.combining(char) else
               2 if unicodedata.east_asian_width(char) in 'WF' else 1
               for char in text)


def _pad(text, size, is_number=False):
    spaces = ' ' * (size - measure(text))
    return spaces + text if is_number else text + spaces


def answer(options, data, show):
    """Print *data* as JSON if the *options* ask for it.

    Else call *show* with an `Output`.  Return the exit code 0.
    """
    output = Output()
    if options.json:
        output.json(data)
    else:
        show(output)
    return OK
