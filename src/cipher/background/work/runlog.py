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
"""The log of a run: what its worker logs, up to a limit.

The worker's own logger writes into it directly.  Records of other loggers
come by a handler of the root logger.  It catches the records of the worker's
thread, and of code in a copy of its context: asyncio tasks that it starts,
and ``asyncio.to_thread``.
"""
import logging
import sys
from collections import deque
from contextvars import ContextVar

from cipher.background.store.attempts import LOG_LIMIT
from cipher.background.util.forks import Locked
from cipher.background.util.logs import changed
from cipher.background.util.text import CUT
from cipher.background.util.text import SHOWS_ALL
from cipher.background.util.text import clean
from cipher.background.util.text import indent


_FORMAT = logging.Formatter('%(asctime)s %(levelname)s %(name)s %(message)s')


class LogBuffer(Locked):
    """Lines of one run.  Any thread may write and read.

    It keeps the first and the last lines, *limit* characters in all.
    `masker` hides the secrets of the run's input.
    """

    masker = SHOWS_ALL

    def __init__(self, limit=LOG_LIMIT):
        super().__init__()
        self._half = limit // 2
        self._head = []
        self._head_size = 0
        self._tail = deque()
        self._tail_size = 0
        self._is_cut = False

    def add(self, line):
        """Clean *line*, the text of a record, mask its secrets and add it."""
        line = clean(indent(clean(line, self._half, self.masker)), self._half)
        with self._lock:
            if not self._tail and self._head_size + len(line) <= self._half:
                self._head.append(line)
                self._head_size += len(line) + 1
                return
            self._tail.append(line)
            self._tail_size += len(line) + 1
            while self._tail_size > self._half and len(self._tail) > 1:
                self._tail_size -= len(self._tail.popleft()) + 1
                self._is_cut = True

    def getText(self):
        """Return the log so far, with a mark where lines are left out."""
        with self._lock:
            lines = self._head + ([CUT] if self._is_cut else [])
            return '\n'.join([*lines, *self._tail])


_current = ContextVar('cipher.background.work.runlog', default=None)


class _Router(logging.Handler):
    """Passes each record to the buffer of the run that logs it."""

    def handle(self, record):
        # Without the lock of the handler: a buffer has its own.
        self.emit(record)
        return True

    def emit(self, record):
        buffer = _current.get()
        if buffer is not None:
            self.keep(buffer, record)

    def keep(self, buffer, record):
        """Add *record* to *buffer*; handle errors, so the worker goes on."""
        try:
            buffer.add(_FORMAT.format(record))
        except Exception:
            self.handleError(record)


_router = _Router()


class RunLogger(logging.LoggerAdapter):
    """The worker's `log`.

    Records of level INFO and above are kept in the run, whatever the level of
    the wrapped *logger*.  That logger gets its records with masked secrets
    and with the labels of the run, which *get_labels* returns.
    """

    def __init__(self, logger, buffer, get_labels=dict):
        super().__init__(logger, {})
        self._buffer = buffer
        self._get_labels = get_labels

    def isEnabledFor(self, level):
        """Return whether the run or the logger takes records of *level*."""
        return level >= logging.INFO or self.logger.isEnabledFor(level)

    def log(self, level, msg, *args, **kwargs):
        """Log to the wrapped logger, and keep the record in the run."""
        if not self.isEnabledFor(level):
            return
        record = self.logger.makeRecord(
            self.logger.name, level, '', 0, msg, args,
            _exc_info(kwargs.get('exc_info')))
        masker = self._buffer.masker
        # Without secrets, nothing has to be changed here: the buffer and the
        # logger each clean what they get.
        text = None if masker is SHOWS_ALL else changed(record, masker)
        if text is not None:
            msg, args, kwargs['exc_info'] = '%s', (text,), None
            record.msg, record.args = text, ()
            record.exc_info = record.exc_text = None
        elif args and masker is not SHOWS_ALL:
            # A handler may show arguments that the format leaves out.
            msg, args = '%s', (record.getMessage(),)
        extra = kwargs.get('extra')
        kwargs['extra'] = {**(masker.data(extra) if extra else {}),
                           **self._get_labels()}
        is_kept = level >= logging.INFO
        if is_kept:
            _router.keep(self._buffer, record)
        if self.logger.isEnabledFor(level):
            kwargs['stacklevel'] = kwargs.get('stacklevel', 1) + 1
            # The router must not keep the record a second time.
            token = _current.set(None) if is_kept else None
            try:
                self.logger.log(level, msg, *args, **kwargs)
            finally:
                if token is not None:
                    _current.reset(token)


def _exc_info(given):
    # Loggers accept an exception, a tuple, or any true value.
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    return sys.exc_info() if given and not isinstance(
        given, tuple) else given


def capture(buffer):
    """Keep in *buffer* what the calling thread's context logs from now on.

    None: keep nothing any more.
    """
    _current.set(buffer)


def install():
    """Add the handler to the root logger, unless it is there already."""
    root = logging.getLogger()
    if _router not in root.handlers:
        root.addHandler(_router)
