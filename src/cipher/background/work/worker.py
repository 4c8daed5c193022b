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
"""Stop, progress and checkpoints for the code of a worker.

The class of a worker belongs to its author, who may use any attribute name
for something else, on the class or on an instance.  So the framework keeps
what it has to know in a `WorkState` of its own.  From the worker it reads
only what the contract lets authors override.
"""
import math
import threading
from typing import Any

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


#: Characters of a transaction's note.  A note of more than 64 kB would fail
#: the commit; a character takes at most 4 bytes.
NOTES_LIMIT = 16000

# Integers of progress below this are kept exactly.  A greater one becomes a
# float: as text it could be too long for a page.
_EXACT_BELOW = 10 ** 15

_STATE = '_cipher_background_state'


class WorkState:
    """The state of one worker that the framework keeps.

    Methods without a docstring are those of `IWorker`.
    """

    run_id = None
    origin_id = None
    context = None
    cursor = None
    observer = None   # IWorkObserver; None: look up an adapter
    masker = SHOWS_ALL   # hides the secrets of the input
    is_set_up = False      # upstream's __init__ was called
    is_scheduled = False   # the one iteration of a job was scheduled
    progressed_at = None   # time of the last new progress or checkpoint
    first_progress = None   # (time, done) of the first progress with a number
    stop_requested = False
    _progress = None
    _stop = None   # an Event for those that wait: it takes 2 % of a small job

    def __init__(self, worker):
        self._worker = worker
        self.input = {}

    @property
    def progress(self):
        """(done, total, message) without secrets; None if never set."""
        return self._progress

    @progress.setter
    def progress(self, value):
        progress = value and self._fit(*value)
        if progress != self._progress:
            self.progressed_at = clock.now()
            if progress and progress[0] is not None and (
                    self.first_progress is None
                    or progress[0] < self.first_progress[1]):
                # A smaller number is that of another phase of the work.
                self.first_progress = self.progressed_at, progress[0]
        self._progress = progress

    def requestStop(self):
        # In this order: `wait` may just make the event.
        self.stop_requested = True
        if self._stop is not None:
            self._stop.set()

    def wait(self, seconds):
        stop = self.__dict__.setdefault('_stop', threading.Event())
        if self.stop_requested:
            stop.set()
        return stop.wait(seconds)

    def checkStop(self):
        if self.stop_requested:
            raise StopRequested

    def checkpoint(self, cursor=None):
        observer = self.observer or WorkObserver()
        observer.checkpoint(self._worker, plainCopy(cursor, 'cursor'))
        self.progressed_at = clock.now()
        self.checkStop()

    def setProgress(self, done, total=None, message=None):
        old_done, old_total, old_message = self.progress or (None, None, None)
        self.progress = (old_done if done is None else _number(done),
                         old_total if total is None else _number(total),
                         old_message if message is None else message)

    def _fit(self, done, total, message):
        return done, total, None if message is None else cleanLine(
            safeStr(message), MESSAGE_LIMIT, self.masker)

    def maskNote(self):
        """Mask secrets in the note and metadata of the open transaction."""
        if self.masker is not SHOWS_ALL:
            txn = transaction.get()
            txn.description = clean(txn.description, NOTES_LIMIT, self.masker)
            txn.extension = self.masker.data(txn.extension)

    def commitAndGoOn(self):
        """Commit the transaction of the work and begin another like it.

        Only observers call this.
        """
        self.maskNote()
        old = transaction.get()
        user, note = old.user, old.description
        transaction.commit()
        new = transaction.begin()
        new.user = user
        new.note(note)


def stateOf(worker):
    """Return the one `WorkState` of *worker*; make it if needed."""
    return worker.__dict__.get(_STATE) or worker.__dict__.setdefault(
        _STATE, WorkState(worker))


def hookOf(worker, name):
    """Return the attribute *name* of the class of *worker*, bound to it.

    The instance is not asked.  The name is not one of upstream's, so an
    author may keep something else in it.

    Raise AttributeError if the class has no such attribute.
    """
    for kind in type(worker).__mro__:
        if name in vars(kind):
            value = vars(kind)[name]
            bind = getattr(type(value), '__get__', None)
            return value if bind is None else bind(value, worker, type(worker))
    raise AttributeError(name)


class _Shows:
    """An attribute of a worker that shows one of its `WorkState`.

    It is not a data descriptor, so an author's own attribute wins.
    """

    def __set_name__(self, owner, name):
        self._name = name

    def __get__(self, worker, owner=None):
        return self if worker is None else getattr(
            stateOf(worker), self._name)


def _shown() -> Any:
    # A function, because a type checker would not let a `_Shows` be a str.
    return _Shows()


@implementer(IWorker)
class Worker:
    """The base of workers, for authors; the framework uses `WorkState`."""

    run_id: str | None = _shown()
    origin_id: str | None = _shown()
    context: Any = _shown()
    input: dict[str, Any] = _shown()
    cursor: Any = _shown()
    progress: tuple[float | None, float | None, str | None] | None = _shown()
    stop_requested: bool = _shown()

    def requestStop(self) -> None:
        stateOf(self).requestStop()

    def wait(self, seconds: float) -> bool:
        return stateOf(self).wait(seconds)

    def checkStop(self) -> None:
        stateOf(self).checkStop()

    def checkpoint(self, cursor: Any = None) -> None:
        stateOf(self).checkpoint(cursor)

    def setProgress(self, done: float | None, total: float | None = None,
                    message: str | None = None) -> None:
        stateOf(self).setProgress(done, total, message)


def _number(value):
    """Return *value* as a number that can be stored and shown, or None."""
    if type(value) is int and -_EXACT_BELOW < value < _EXACT_BELOW:
        return value
    try:
        value = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None
