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
"""Calls of the application's functions: what comes back is a value.

A coroutine, or a generator, has not run when the call is over.  Taken for a
value it would be work that never happens, or a condition that always holds.
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
# What hooks mostly return; the others are asked for more slowly.
_FINISHED = frozenset([type(None), bool, int, str, tuple])


def kindOf(function):
    """Return what a call of *function* leaves to be done; None if nothing.

    One of `COROUTINE`, `GENERATOR` and `ASYNC_GENERATOR`.
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
    """Return what *function* returns.

    Raise ``TypeError``, which names *who*, for what has yet to run.
    """
    return checkValue(who, function(*args, **kwargs))


def callWork(who, function, /, *args, **kwargs):
    """Likewise, but let a coroutine function run to its end, in this thread.

    Its event loop is one of its own and ends with it.
    """
    result = function(*args, **kwargs)
    if isUnfinished(result) and kindOf(function) == COROUTINE:
        result = _run(who, result)
    return checkValue(who, result)


def isUnfinished(value):
    """Return whether *value* has yet to run."""
    return type(value) not in _FINISHED and issubclass(
        type(removeSecurityProxy(value)), _UNFINISHED)


def checkValue(who, value):
    """Return *value*; raise ``TypeError`` if it has yet to run."""
    if not isUnfinished(value):
        return value
    unfinished = removeSecurityProxy(value)
    with suppress(Exception):
        unfinished.close()
    raise TypeError(
        '%s: expected a value, got %s, whose code has not run; await it, or '
        'make a list of it, and return what comes of that'
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
            '%s: expected a thread without an event loop, got one with; carry '
            'the run out elsewhere' % who)
    try:
        return asyncio.run(coroutine)
    except BaseException as error:
        signal = _signal_in(error)
        if signal is None or signal is error:
            raise
        raise signal from error


def _signal_in(error):
    """Return what a worker says by an exception, be it one of several."""
    leaves = list(leavesOf(error))
    for leaf in leaves:
        if isinstance(leaf, (StopRequested, RunLost)):
            return leaf
    if all(isinstance(leaf, (Snooze, Cancel)) for leaf in leaves):
        return leaves[0]
    return None
