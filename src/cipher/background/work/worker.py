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
"""What a worker's code may use: stop, progress, checkpoints.

The class of a worker is its author's: any attribute may be taken for
something else, on the class or on the instance.  So what the framework has to
know stands in a `WorkState` of its own, and of the worker it asks for nothing
but what the contract lets authors override.
"""
import math
import threading

import transaction
from zope.interface import implementer

from cipher.background.interfaces import IWorker
from cipher.background.interfaces import StopRequested
from cipher.background.util import clock
from cipher.background.util.plaindata import plainCopy
from cipher.background.util.text import MESSAGE_LIMIT
from cipher.background.util.text import SHOWS_ALL
from cipher.background.util.text import clean
from cipher.background.util.text import cleanLine
from cipher.background.util.text import safeStr
from cipher.background.work.observer import WorkObserver


#: Characters.  A note of more than 64 kB would fail the commit.
NOTES_LIMIT = 16000

# Above, a number may be too long for a text, and a float is as good.
_MOST = 10 ** 15

_STATE = '_cipher_background_state'


class WorkState:
    """What the framework knows of one worker."""

    run_id = None
    origin_id = None
    context = None
    cursor = None
    observer = None   # IWorkObserver; None: ask for an adapter
    masker = SHOWS_ALL   # hides the secrets of the input
    is_set_up = False      # Worker.__init__ was called
    is_scheduled = False   # of a job: its one iteration was asked for
    progressed_at = None   # when the progress changed, or work was committed
    _progress = None

    def __init__(self, worker):
        self._worker = worker
        self._stop_wish = threading.Event()
        self.input = {}

    @property
    def progress(self):
        """(done, total, message) for watchers, without secrets; or None."""
        return self._progress

    @progress.setter
    def progress(self, value):
        progress = value and self._fit(*value)
        if progress != self._progress:
            self.progressed_at = clock.now()
        self._progress = progress

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
        observer.checkpoint(self._worker, plainCopy(cursor, 'cursor'))
        self.progressed_at = clock.now()
        self.checkStop()

    def setProgress(self, done, total=None, message=None):
        """See `~cipher.background.interfaces.IWorker`."""
        old_done, old_total, old_message = self.progress or (None, None, None)
        self.progress = (old_done if done is None else _number(done),
                         old_total if total is None else _number(total),
                         old_message if message is None else message)

    def _fit(self, done, total, message):
        return done, total, None if message is None else cleanLine(
            safeStr(message), MESSAGE_LIMIT, self.masker)

    def maskNote(self):
        """Mask what the work added to the note of its transaction."""
        if self.masker is not SHOWS_ALL:
            txn = transaction.get()
            txn.description = clean(txn.description, NOTES_LIMIT, self.masker)
            txn.extension = self.masker.data(txn.extension)

    def commitAndGoOn(self):
        """Commit the transaction of the work, begin another like it.

        For observers.
        """
        self.maskNote()
        old = transaction.get()
        user, note = old.user, old.description
        transaction.commit()
        new = transaction.begin()
        new.user = user
        new.note(note)


def stateOf(worker):
    """Return the `WorkState` of *worker*; always the same one."""
    return worker.__dict__.get(_STATE) or worker.__dict__.setdefault(
        _STATE, WorkState(worker))


def hookOf(worker, name):
    """Return what the class of *worker* says for *name*.

    Whatever the instance has under that name: it is not one of upstream's, so
    an author may use it for something else.
    """
    for kind in type(worker).__mro__:
        if name in vars(kind):
            value = vars(kind)[name]
            bind = getattr(type(value), '__get__', None)
            return value if bind is None else bind(value, worker, type(worker))
    raise AttributeError(name)


class _Shown:
    """An attribute of a worker that shows one of its state.

    Not a data descriptor: an author's own attribute goes first.
    """

    def __set_name__(self, owner, name):
        self._name = name

    def __get__(self, worker, owner=None):
        return self if worker is None else getattr(
            stateOf(worker), self._name)


@implementer(IWorker)
class Worker:
    """See `~cipher.background.interfaces.IWorker`.

    For authors; the framework uses the `WorkState`.
    """

    run_id = _Shown()
    origin_id = _Shown()
    context = _Shown()
    input = _Shown()
    cursor = _Shown()
    progress = _Shown()
    stop_requested = _Shown()

    def requestStop(self):
        """See `~cipher.background.interfaces.IWorker`."""
        stateOf(self).requestStop()

    def wait(self, seconds):
        """See `~cipher.background.interfaces.IWorker`."""
        return stateOf(self).wait(seconds)

    def checkStop(self):
        """See `~cipher.background.interfaces.IWorker`."""
        stateOf(self).checkStop()

    def checkpoint(self, cursor=None):
        """See `~cipher.background.interfaces.IWorker`."""
        stateOf(self).checkpoint(cursor)

    def setProgress(self, done, total=None, message=None):
        """See `~cipher.background.interfaces.IWorker`."""
        stateOf(self).setProgress(done, total, message)


def _number(value):
    """Return *value* as a number that can be stored and shown, or None."""
    if type(value) is int and -_MOST < value < _MOST:
        return value
    try:
        value = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None
