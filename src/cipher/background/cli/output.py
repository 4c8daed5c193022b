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

Tables are drawn by rich if that is installed and stdout is a terminal.  In a
file or a pipe a row is one line, however long.
"""
import json
import shutil
import sys
import textwrap
import unicodedata

from cipher.background.cli.command import OK


#: Columns of text in a terminal, at most; longer lines are hard to read.
TEXT_WIDTH = 100


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
        if self._painting is not None:
            self._painting.drawHeading(self.stream, self.width, text)
        else:
            self.write(text + '\n')

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

    def table(self, headers, rows, numbers=()):
        """Write a table of texts; columns without any text are left out.

        *numbers* are the headers of columns to align to the right.
        """
        rows = [[cell or '' for cell in row] for row in rows]
        used = [index for index, _ in enumerate(headers)
                if any(row[index] for row in rows)]
        headers, numbers = [headers[index] for index in used], {
            place for place, index in enumerate(used)
            if headers[index] in numbers}
        rows = [[row[index] for index in used] for row in rows]
        if self._painting is not None:
            self._painting.drawTable(
                self.stream, self.width, headers, rows, numbers)
            return
        sizes = [max(map(measure, column))
                 for column in zip(headers, *rows)]
        for row in [headers, *rows]:
            line = '  '.join(
                _pad(cell, size, index in numbers)
                for index, (cell, size) in enumerate(zip(row, sizes)))
            self.write(line.rstrip() + '\n')


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
