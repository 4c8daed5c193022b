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
"""The log of a run: what its thread logs, kept apart up to a limit."""
import logging
import sys
import threading
from collections import deque

from cipher.background.forks import renewLock
from cipher.background.text import CUT
from cipher.background.text import clean


#: Characters.  The first and the last half are kept.
LOG_LIMIT = 262144

_FORMAT = logging.Formatter('%(asctime)s %(levelname)s %(name)s %(message)s')


class LogBuffer:
    """Lines of one run.  One thread writes, any may read."""

    def __init__(self, limit=LOG_LIMIT):
        self._half = limit // 2
        self._head = []
        self._head_size = 0
        self._tail = deque()
        self._tail_size = 0
        self._is_cut = False
        renewLock(self)

    def add(self, line):
        """Add *line* (text), cleaned."""
        line = clean(line, self._half)
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
        """Return the log so far; says where it is cut."""
        with self._lock:
            lines = self._head + ([CUT] if self._is_cut else [])
            return '\n'.join([*lines, *self._tail])


class _Router(logging.Handler):
    """Leads each record to the buffer of the thread that logs."""

    def __init__(self):
        super().__init__()
        self.local = threading.local()

    def handle(self, record):
        # No lock of the handler: a buffer has its own.
        self.emit(record)
        return True

    def emit(self, record):
        buffer = getattr(self.local, 'buffer', None)
        if buffer is not None:
            self.keep(buffer, record)

    def keep(self, buffer, record):
        """Add *record* to *buffer*; a bad one must not end its worker."""
        try:
            buffer.add(_FORMAT.format(record))
        except Exception:
            self.handleError(record)


_router = _Router()


class RunLogger(logging.LoggerAdapter):
    """The worker's `log`: always kept in its run from INFO on.

    Even where the logger it stands for is set to say less.
    """

    def __init__(self, logger, buffer):
        super().__init__(logger, {})
        self._buffer = buffer

    def isEnabledFor(self, level):
        """Return whether anybody listens."""
        return level >= logging.INFO or self.logger.isEnabledFor(level)

    def log(self, level, msg, *args, **kwargs):
        """Log, and keep what would not come to the root logger."""
        is_heard = self.logger.isEnabledFor(level)
        if is_heard:
            kwargs['stacklevel'] = kwargs.get('stacklevel', 1) + 1
            self.logger.log(level, msg, *args, **kwargs)
        if level >= logging.INFO and not (
                is_heard and _propagates(self.logger)):
            _router.keep(self._buffer, self.logger.makeRecord(
                self.logger.name, level, '', 0, msg, args,
                _exc_info(kwargs.get('exc_info'))))


def _exc_info(given):
    # What loggers take: an exception, a tuple, or something true.
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    return sys.exc_info() if given and not isinstance(
        given, tuple) else given


def _propagates(logger):
    """Return whether what *logger* is told comes to the root logger."""
    while logger.parent is not None:
        if not logger.propagate:
            return False
        logger = logger.parent
    return True


def capture(buffer):
    """From now on, keep in *buffer* what the calling thread logs.

    None: no longer.
    """
    _router.local.buffer = buffer


def install():
    """Begin to listen to the root logger.  May be called twice."""
    root = logging.getLogger()
    if _router not in root.handlers:
        root.addHandler(_router)
