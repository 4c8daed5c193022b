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
"""Signals that ask a process to end: the second one ends it at once."""
import os
import select
import signal


class Signals:
    """A context manager that catches SIGTERM and SIGINT in its block.

    For the main thread.  `wait` returns at the first signal.  The second one
    ends the process: its runs are rescued like those of a process that died.
    """

    def __init__(self):
        self.number = None   # of the first signal
        self._before = {}

    def __enter__(self):
        # A handler may interrupt any code of this thread, even that of a
        # lock.  So it only writes into a pipe.
        self._reader, self._writer = os.pipe()
        for number in signal.SIGTERM, signal.SIGINT:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def _handle(self, number, frame):
        if self.number is not None:
            os.write(2, b'A second signal: ends at once.\n')
            os._exit(128 + number)
        self.number = number
        os.write(self._writer, b'!')

    def wait(self, seconds):
        """Wait for the first signal, at most *seconds*.

        Return whether it has come.
        """
        if self.number is None:
            select.select([self._reader], [], [], seconds)
        return self.number is not None
