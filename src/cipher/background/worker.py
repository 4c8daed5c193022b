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
"""What a worker's code may use: stop, progress, checkpoints."""
import math
import threading

from zope.interface import implementer

from cipher.background.interfaces import IWorker
from cipher.background.interfaces import StopRequested
from cipher.background.observer import WorkObserver
from cipher.background.plaindata import plainCopy
from cipher.background.text import MESSAGE_LIMIT
from cipher.background.text import SHOWS_ALL
from cipher.background.text import cleanLine
from cipher.background.text import safeStr


# Above, a number may be too long for a text, and a float is as good.
_MOST = 10 ** 15


@implementer(IWorker)
class Worker:
    """See `~cipher.background.interfaces.IWorker`."""

    run_id = None
    context = None
    input = {}
    cursor = None
    observer = None   # IWorkObserver; None: ask for an adapter
    masker = SHOWS_ALL   # hides the secrets of the input
    _progress = None

    def setUpWorker(self):
        """Make what each worker has of its own."""
        self._stop_wish = threading.Event()

    @property
    def progress(self):
        """(done, total, message) for watchers, without secrets; or None."""
        return self._progress

    @progress.setter
    def progress(self, value):
        self._progress = value and self._fit(*value)

    @property
    def stop_requested(self):
        """See `~cipher.background.interfaces.IWorker`."""
        return self._stop_wish.is_set()

    def requestStop(self):
        """See `~cipher.background.interfaces.IWorker`."""
        self._stop_wish.set()

    def wait(self, seconds):
        """See `~cipher.background.interfaces.IWorker`."""
        return self._stop_wish.wait(seconds)

    def checkStop(self):
        """See `~cipher.background.interfaces.IWorker`."""
        if self._stop_wish.is_set():
            raise StopRequested

    def checkpoint(self, cursor=None):
        """See `~cipher.background.interfaces.IWorker`."""
        observer = self.observer or WorkObserver()
        observer.checkpoint(self, plainCopy(cursor, 'cursor'))
        self.checkStop()

    def setProgress(self, done, total=None, message=None):
        """See `~cipher.background.interfaces.IWorker`."""
        old_done, old_total, old_message = self.progress or (None, None, None)
        # Here as well: a subclass may have a plain attribute instead.
        self.progress = self._fit(
            old_done if done is None else _number(done),
            old_total if total is None else _number(total),
            old_message if message is None else message)

    def _fit(self, done, total, message):
        return done, total, None if message is None else cleanLine(
            safeStr(message), MESSAGE_LIMIT, self.masker)


def _number(value):
    """Return *value* as a number that can be stored and shown, or None."""
    if type(value) is int and -_MOST < value < _MOST:
        return value
    try:
        value = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None
