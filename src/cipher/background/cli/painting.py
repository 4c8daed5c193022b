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
