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
"""The condition that a pending run waits for: a time, or a key of `Waiting`.
"""
from cipher.background.declarations.workertype import findPause
from cipher.background.declarations.workertype import nameToday
from cipher.background.store.bookmark import KEPT
from cipher.background.store.bookmark import LIMIT
from cipher.background.store.bookmark import PAUSE
from cipher.background.store.bookmark import TYPE
from cipher.background.store.kept import isKept
from cipher.background.util import clock


def waitsFor(registry, run, begins):
    """Return the time or the key that *run*, which is pending, waits for.

    Return None if it can begin.  The key of a limit is not among them: see
    `limitOf`.  *begins* is the method of the `IRuntime`.
    """
    if isKept(registry, run):
        return KEPT, run.type
    if clock.isLater(run.due_at):
        return run.due_at
    return typeWaitsFor(registry, run.type, begins)


def typeWaitsFor(registry, name, begins):
    """Return the key that all runs of the type *name* wait for, or None."""
    if not begins(name):
        return TYPE, name
    if findPause(registry, name) is not None:
        return PAUSE, name
    return None


def limitOf(run):
    """Return the key of *run* while its type runs at its ``max_running``."""
    return LIMIT, nameToday(run.type)
