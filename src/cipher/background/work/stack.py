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
"""The stack of a thread, as a text for people that contains no values."""
import functools
import gc
import os
import signal
import sys
import threading
import traceback
from threading import __file__ as _THREADING

from cipher.background import interfaces
from cipher.background.util.text import CUT
from cipher.background.util.text import clean


#: Characters of a stack.  If it is longer, the innermost calls are kept: they
#: show where the work hangs.  The process record stores one for each stopping
#: run, so the text is short.
STACK_LIMIT = 4096

#: Innermost calls that are formatted; more would not fit into `STACK_LIMIT`.
_DEPTH = 60

# Code of this package except the demo and the tests, which contain workers.
_PACKAGE = os.path.join(
    os.path.dirname(os.path.abspath(interfaces.__file__)), '')
_WORKING = tuple(os.path.join(_PACKAGE, name, '')
                 for name in ('demo', 'tests'))


# The garbage collector is off while a thread holds it.
_uncollected = threading.RLock()

if hasattr(os, 'register_at_fork'):
    os.register_at_fork(before=_uncollected.acquire,
                        after_in_parent=_uncollected.release,
                        after_in_child=_uncollected.release)


def frameOf(thread_id):
    """Return the innermost frame of a thread of this process, or None.

    In Python 3.11 the whole process can hang for ever if the garbage collector
    runs meanwhile (gh-106883 of CPython).
    """
    with _uncollected:
        is_enabled = gc.isenabled()
        gc.disable()
        try:
            frames = sys._current_frames()
        finally:
            if is_enabled:
                gc.enable()
    return frames.get(thread_id)


def getStack(thread_id):
    """Return the stack of a thread of this process; None if it has ended.

    The innermost call is the last, as in a traceback.  The outer calls of this
    package and of `threading`, the same for each worker, are left out.
    """
    frame = frameOf(thread_id)
    if frame is None:
        return None
    # The innermost calls, of which the outermost comes first.
    calls = traceback.extract_stack(frame, limit=_DEPTH)
    del frame
    begin = 0
    while begin < len(calls) and _is_machinery(calls[begin].filename):
        begin += 1
    lines = traceback.format_list(calls[begin:] or calls)
    text = clean(''.join(lines), sys.maxsize).rstrip()
    if len(text) > STACK_LIMIT:
        text = text[-STACK_LIMIT + len(CUT) + 1:]
        text = '%s\n%s' % (CUT, text.partition('\n')[2])
    return text


def getPosition(thread_id):
    """Return a number that stands for the place a thread is at, or None.

    It differs if the thread has moved, but for a chance in 2 ** 61.  It keeps
    nothing alive.
    """
    frame = frameOf(thread_id)
    if frame is None:
        return None
    places = []
    while frame is not None and len(places) < _DEPTH:
        # Not f_lineno, which Python has to compute.
        places.append((id(frame.f_code), frame.f_lasti))
        frame = frame.f_back
    return hash(tuple(places))


def isInSignalHandler():
    """Return whether the calling thread is inside a signal handler.

    The interrupted code may hold any lock, so a handler must not wait for
    other threads.  A handler is recognized if it is a Python function that
    still refers to its arguments.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    codes = {_code(signal.getsignal(number))
             for number in signal.valid_signals()} - {None}
    frame = sys._getframe(1)
    while frame is not None:
        # The interpreter passes the interrupted frame to a handler.
        if frame.f_code in codes and any(
                value is frame.f_back or isinstance(value, tuple)
                and any(one is frame.f_back for one in value)
                for value in frame.f_locals.values()):
            return True
        frame = frame.f_back
    return False


def _code(handler):
    while isinstance(handler, functools.partial):
        handler = handler.func
    if not callable(handler):
        return None
    function = getattr(handler, '__func__', handler)
    if not hasattr(function, '__code__'):
        function = getattr(type(handler).__call__, '__func__',
                           type(handler).__call__)
    return getattr(function, '__code__', None)


def _is_machinery(filename):
    return filename == _THREADING or (
        filename.startswith(_PACKAGE)
        and not filename.startswith(_WORKING))
