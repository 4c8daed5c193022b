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
"""Call functions of the application and check that they return a value.

The code of a coroutine or a generator has not run when the call returns.
Taken for a value, it would be work that never happens or a condition that is
always true.
"""
import asyncio
import collections.abc
import functools
import inspect
import types
from contextlib import suppress

from zope.security.proxy import removeSecurityProxy

from cipher.background.interfaces import Cancel
from cipher.background.interfaces import RunLost
from cipher.background.interfaces import Snooze
from cipher.background.interfaces import StopRequested
from cipher.background.util.text import leavesOf


COROUTINE = 'a coroutine function'
GENERATOR = 'a generator function'
ASYNC_GENERATOR = 'an asynchronous generator function'

_KINDS = ((inspect.iscoroutinefunction, COROUTINE),
          (inspect.isasyncgenfunction, ASYNC_GENERATOR),
          (inspect.isgeneratorfunction, GENERATOR))
_UNFINISHED = (collections.abc.Awaitable, types.GeneratorType,
               types.AsyncGeneratorType)
# Types that hooks return most often.  Checking the others takes longer.
_FINISHED = frozenset([type(None), bool, int, str, tuple])


def kindOf(function):
    """Return which kind of unfinished value a call of *function* returns.

    The kind is `COROUTINE`, `GENERATOR` or `ASYNC_GENERATOR`.  Return None
    for a plain function.
    """
    function = removeSecurityProxy(function)
    while isinstance(function, functools.partial):
        function = function.func
    if not isinstance(function, type) and not inspect.isroutine(function):
        function = getattr(type(function), '__call__', function)
    for is_kind, kind in _KINDS:
        if is_kind(function):
            return kind
    return None


def callHook(who, function, /, *args, **kwargs):
    """Call *function* and return its value.

    Raise ``TypeError`` if the value is unfinished.  *who* names the function
    in the message.
    """
    return checkValue(who, function(*args, **kwargs))


def callWork(who, function, /, *args, **kwargs):
    """Call *function* as `callHook` does, but run a coroutine to its end.

    The coroutine runs in this thread, in an event loop of its own.
    """
    result = function(*args, **kwargs)
    if not isUnfinished(result):
        return result
    if kindOf(function) == COROUTINE:
        result = _run(who, result)
    return checkValue(who, result)


def isUnfinished(value):
    """Return whether *value* stands for code that has not run yet."""
    return type(value) not in _FINISHED and issubclass(
        type(removeSecurityProxy(value)), _UNFINISHED)


def checkValue(who, value):
    """Return *value*; raise ``TypeError`` if it is unfinished."""
    if not isUnfinished(value):
        return value
    unfinished = removeSecurityProxy(value)
    with suppress(Exception):
        unfinished.close()
    raise TypeError(
        '%s: expected a value, got %s, whose code has not run; await it, or '
        'make a list of it, and return the result'
        % (who, _name(type(unfinished))))


def _name(kind):
    name = kind.__name__.replace('_', ' ')
    return '%s %s' % ('an' if name[0] in 'aeio' else 'a', name)


def _run(who, coroutine):
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        coroutine.close()
        raise RuntimeError(
            '%s: expected a thread without an event loop, got a thread with a '
            'running one; carry the run out in another thread' % who)
    try:
        return asyncio.run(coroutine)
    except BaseException as error:
        signal = _signal_in(error)
        if signal is None or signal is error:
            raise
        raise signal from error


def _signal_in(error):
    """Return the signal of a worker in *error*, or None.

    *error* is an exception or a group.  Stopping and losing the run win over
    errors; `Snooze` and `Cancel` count only if the group has nothing else.
    """
    leaves = list(leavesOf(error))
    for leaf in leaves:
        if isinstance(leaf, (StopRequested, RunLost)):
            return leaf
    if all(isinstance(leaf, (Snooze, Cancel)) for leaf in leaves):
        return leaves[0]
    return None
