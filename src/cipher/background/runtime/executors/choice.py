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
from cipher.background.interfaces import CELERY
from cipher.background.interfaces import RuntimeRefused
from cipher.background.runtime.executors.threads import ThreadsExecutor


_factories = {}   # name -> callable (runtime, threads)


def registerExecutor(name, factory):
    """Use *factory* for settings with ``executor="name"``.

    It is called with a runtime and a number of threads, and returns an
    `IExecutor`.
    """
    _factories[name] = factory


def makeExecutor(runtime, settings):
    """Return the executor of *runtime* that *settings* name.

    Raise `RuntimeRefused` if it was not registered.
    """
    if settings.executor != CELERY or not settings.threads:
        # A runtime without threads begins no runs, so it sends none either.
        return ThreadsExecutor(runtime, settings.threads)
    try:
        factory = _factories[settings.executor]
    except KeyError:
        raise RuntimeRefused(
            'runtime: expected a registered Celery application for '
            'executor="celery", got none; call '
            'cipher.background.celery.register before the database is '
            'opened') from None
    return factory(runtime, settings.threads)
