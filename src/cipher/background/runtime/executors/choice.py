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
"""Which executor a runtime has: what its settings say."""
from cipher.background.interfaces import CELERY
from cipher.background.interfaces import RuntimeRefused
from cipher.background.runtime.executors.threads import ThreadsExecutor


_factories = {}   # name -> callable (runtime, threads)


def registerExecutor(name, factory):
    """Let ``executor="name"`` of settings stand for *factory*."""
    _factories[name] = factory


def makeExecutor(runtime, settings):
    """Return the executor of *runtime* that *settings* ask for.

    Raise `RuntimeRefused` where it was not registered.
    """
    if settings.executor != CELERY or not settings.threads:
        # Who has no threads takes no runs: nothing is to be sent.
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
