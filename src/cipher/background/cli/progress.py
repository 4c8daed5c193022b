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
"""The progress of one run, in a terminal or as lines."""
import sys
import time

from cipher.background.cli.presenting import makePresenter
from cipher.background.interfaces import PENDING
from cipher.background.util.text import cleanLine


#: Seconds between two lines if stderr is not a terminal.
LINE_INTERVAL = 5.0


class Progress:
    """A context manager that shows the progress of a run on stderr.

    A bar if rich is installed and stderr is a terminal; otherwise lines.
    """

    def __init__(self, stream=None):
        self._stream = stream or sys.stderr
        self._presenter = makePresenter()
        self._bar = None
        self._shown = None
        self._shown_at = 0.0   # monotonic

    def __enter__(self):
        if self._stream.isatty():
            try:
                from cipher.background.cli import painting
                self._bar = painting.Bar(self._stream)
                self._bar.start()
            except ImportError:
                pass
        return self

    def __exit__(self, *error):
        if self._bar is not None:
            self._bar.stop()

    def show(self, status):
        """Show an `IRunStatus`."""
        if self._bar is not None:
            self._bar.update(
                status.progress_done, status.progress_total,
                describe(
                    self._presenter, status, with_numbers=False))
            return
        text, now = describe(self._presenter, status), time.monotonic()
        if text != self._shown and (
                self._shown is None
                or now - self._shown_at >= LINE_INTERVAL):
            self._shown, self._shown_at = text, now
            print('%s: %s' % (status.id, text), file=self._stream, flush=True)


def describe(presenter, status, with_numbers=True):
    """Return the state of an `IRunStatus` with its progress, as one line."""
    text = presenter.describeRun(status)['text']
    return ' '.join(filter(None, (
        text['state'] if status.state != PENDING else '', text['wait'],
        text['progress'] if with_numbers else '',
        cleanLine(status.message or ''))))
