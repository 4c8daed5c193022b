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
"""Colours for a terminal, by rich; needs the extra [cli]."""
from rich.console import Console
from rich.progress import BarColumn
from rich.progress import Progress
from rich.progress import TaskProgressColumn
from rich.progress import TextColumn
from rich.progress import TimeElapsedColumn
from rich.text import Text


#: {text of a cell: style}
STYLES = {
    'running': 'cyan',
    'succeeded': 'green',
    'failed': 'bold red',
    'interrupted': 'red',
    'silent': 'bold red',
    'late': 'bold red',
    'stopped': 'yellow',
    'paused': 'yellow',
}
HEADER = 'bold'


def paintLine(stream, cells, style=''):
    """Write the padded *cells* as one line; *style* is for all of them.

    Without a style, a cell that is a key of `STYLES` has its own.
    """
    text = Text.assemble(*[
        (cell, style or STYLES.get(cell.strip(), '')) for cell in cells])
    text.rstrip()
    Console(file=stream, highlight=False, width=text.cell_len + 1).print(
        text, no_wrap=True, overflow='ignore')


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
