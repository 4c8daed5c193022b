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
"""Tables for a terminal, drawn by rich; needs the extra [cli]."""
from rich.console import Console
from rich.progress import BarColumn
from rich.progress import Progress
from rich.progress import TaskProgressColumn
from rich.progress import TextColumn
from rich.progress import TimeElapsedColumn
from rich.table import Table
from rich.text import Text


#: {word that a cell consists of: style}
STYLES = {
    'running': 'cyan',
    'succeeded': 'green',
    'failed': 'bold red',
    'interrupted': 'red',
    'silent': 'bold red',
    'stopped': 'yellow',
    'paused': 'yellow',
    'late': 'bold red',
}


def drawTable(stream, width, headers, rows, numbers):
    """Write a table of at most *width* columns to *stream*.

    *numbers* are the indexes of the columns that are aligned to the right.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0),
                  header_style='bold')
    for index, header in enumerate(headers):
        table.add_column(
            header, overflow='fold',
            justify='right' if index in numbers else 'left')
    for row in rows:
        table.add_row(*[Text(cell, style=STYLES.get(cell, ''))
                        for cell in row])
    Console(file=stream, width=width, highlight=False).print(table)


def drawHeading(stream, width, text):
    """Write the heading *text*."""
    Console(file=stream, width=width).print(Text(text, style='bold'))


class Bar:
    """A progress bar that is drawn anew in its place."""

    def __init__(self, stream):
        self._progress = Progress(
            TextColumn('{task.description}', markup=False), BarColumn(),
            TaskProgressColumn(), TimeElapsedColumn(),
            console=Console(file=stream), transient=True)
        self._task = self._progress.add_task('', total=None)
        self.start = self._progress.start
        self.stop = self._progress.stop

    def update(self, done, total, text):
        """Show *text*, and a bar for *done* of *total* or None."""
        self._progress.update(self._task, description=text, total=total,
                              completed=done or 0)
