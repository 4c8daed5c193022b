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
"""Make the executor that the settings of a runtime name."""
from collections.abc import Callable

from cipher.background.interfaces import CELERY
from cipher.background.interfaces import THREADS
from cipher.background.interfaces import IExecutor
from cipher.background.interfaces import IRuntime
from cipher.background.interfaces import RuntimeRefused
from cipher.background.runtime.executors.threads import ThreadsExecutor


_factories = {}   # name -> callable (runtime, threads)


def registerExecutor(
        name: str, factory: Callable[[IRuntime, int], IExecutor]) -> None:
    """Use *factory* for settings with ``executor="name"``.

    It is called with a runtime and a number of threads, and returns an
    `IExecutor`, such as a subclass of `ThreadsExecutor`.  Register it before
    the ZCML that names it is loaded.
    """
    _factories[name] = factory


def checkExecutor(name):
    """Raise ``ValueError`` unless *name* may be the executor of settings."""
    known = sorted({THREADS, CELERY, *_factories})
    if name not in known:
        raise ValueError(
            'runtime: expected executor to be one of %s, got %r; call '
            'cipher.background.registerExecutor before the ZCML is loaded'
            % (', '.join(map(repr, known)), name))


def makeExecutor(runtime, settings):
    """Return the executor of *runtime* that *settings* name.

    Raise `RuntimeRefused` if it was not registered.
    """
    if settings.executor == THREADS or not settings.threads:
        # A runtime without threads begins no runs, whatever its executor.
        return ThreadsExecutor(runtime, settings.threads)
    try:
        factory = _factories[settings.executor]
    except KeyError:
        raise RuntimeRefused(
            'runtime: expected executor="threads" or a registered one%s, got '
            '%r; call cipher.background.celery.register for "celery", and '
            'cipher.background.registerExecutor for any other, before the '
            'database is opened' % (
                ''.join(', %r' % name for name in sorted(_factories)),
                settings.executor)) from None
    return factory(runtime, settings.threads)
