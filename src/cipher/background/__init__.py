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
"""Background work for applications that keep their objects in the ZODB.

The public API is `__all__` here and in `.interfaces`, `.testing`, `.browser`
and, for Celery, `.celery`.  A name is loaded when it is first used: ``import
cipher.background`` loads no other module.
"""


def lazy(package: str, homes: dict[str, str]) -> tuple:
    """Return ``__getattr__`` and ``__dir__`` for *package* (PEP 562).

    *homes* is {name: dotted name of the module that defines it}.
    """
    def __getattr__(name: str) -> object:
        if name not in homes:
            raise AttributeError(
                'module %r has no attribute %r' % (package, name))
        from importlib import import_module
        return getattr(import_module(homes[name]), name)

    def __dir__() -> list[str]:
        from sys import modules
        return sorted({*vars(modules[package]), *homes})

    return __getattr__, __dir__


# Type checkers do not follow `lazy`; they take this name for true.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from cipher.background.contextmanagers import ZodbConnection
    from cipher.background.contextmanagers import ZopeInteraction
    from cipher.background.contextmanagers import ZopeSite
    from cipher.background.contextmanagers import ZopeTransaction
    from cipher.background.declarations.settings import MonitoringSettings
    from cipher.background.declarations.settings import RuntimeSettings
    from cipher.background.declarations.settings import WebSettings
    from cipher.background.interfaces import BackgroundError
    from cipher.background.interfaces import Cancel
    from cipher.background.interfaces import Snooze
    from cipher.background.interfaces import StopRequested
    from cipher.background.job import ItemsJob
    from cipher.background.python.directives import declareAlerts
    from cipher.background.python.directives import declareMonitoring
    from cipher.background.python.directives import declareRuntime
    from cipher.background.python.directives import declareSchedule
    from cipher.background.python.directives import declareTrigger
    from cipher.background.python.directives import declareWeb
    from cipher.background.python.directives import declareWorker
    from cipher.background.python.scanning import scan
    from cipher.background.python.scanning import scheduled
    from cipher.background.python.scanning import triggeredBy
    from cipher.background.python.scanning import worker
    from cipher.background.registry.installation import addRegistry
    from cipher.background.registry.installation import getRegistry
    from cipher.background.registry.installation import removeRegistry
    from cipher.background.runtime.executors.choice import registerExecutor
    from cipher.background.runtime.executors.threads import ThreadsExecutor
    from cipher.background.runtime.runtime import startRuntime
    from cipher.background.store.evolve import evolveDatabase
    from cipher.background.thread import BackgroundJob
    from cipher.background.thread import BackgroundWorkerThread
    from cipher.background.util.clock import now
    from cipher.background.util.logs import RecordFormatter
    from cipher.background.util.logs import RunFilter
    from cipher.background.util.switchboard import getRuntime
    from cipher.background.util.switchboard import queryRuntime
else:
    __getattr__, __dir__ = lazy(__name__, {
        'BackgroundError': 'cipher.background.interfaces',
        'BackgroundJob': 'cipher.background.thread',
        'BackgroundWorkerThread': 'cipher.background.thread',
        'Cancel': 'cipher.background.interfaces',
        'ItemsJob': 'cipher.background.job',
        'MonitoringSettings': 'cipher.background.declarations.settings',
        'RecordFormatter': 'cipher.background.util.logs',
        'RunFilter': 'cipher.background.util.logs',
        'RuntimeSettings': 'cipher.background.declarations.settings',
        'Snooze': 'cipher.background.interfaces',
        'StopRequested': 'cipher.background.interfaces',
        'ThreadsExecutor': 'cipher.background.runtime.executors.threads',
        'WebSettings': 'cipher.background.declarations.settings',
        'ZodbConnection': 'cipher.background.contextmanagers',
        'ZopeInteraction': 'cipher.background.contextmanagers',
        'ZopeSite': 'cipher.background.contextmanagers',
        'ZopeTransaction': 'cipher.background.contextmanagers',
        'addRegistry': 'cipher.background.registry.installation',
        'declareAlerts': 'cipher.background.python.directives',
        'declareMonitoring': 'cipher.background.python.directives',
        'declareRuntime': 'cipher.background.python.directives',
        'declareSchedule': 'cipher.background.python.directives',
        'declareTrigger': 'cipher.background.python.directives',
        'declareWeb': 'cipher.background.python.directives',
        'declareWorker': 'cipher.background.python.directives',
        'evolveDatabase': 'cipher.background.store.evolve',
        'getRegistry': 'cipher.background.registry.installation',
        'getRuntime': 'cipher.background.util.switchboard',
        'now': 'cipher.background.util.clock',
        'queryRuntime': 'cipher.background.util.switchboard',
        'registerExecutor': 'cipher.background.runtime.executors.choice',
        'removeRegistry': 'cipher.background.registry.installation',
        'scan': 'cipher.background.python.scanning',
        'scheduled': 'cipher.background.python.scanning',
        'startRuntime': 'cipher.background.runtime.runtime',
        'triggeredBy': 'cipher.background.python.scanning',
        'worker': 'cipher.background.python.scanning',
    })

__all__ = [
    'BackgroundError',
    'BackgroundJob',
    'BackgroundWorkerThread',
    'Cancel',
    'ItemsJob',
    'MonitoringSettings',
    'RecordFormatter',
    'RunFilter',
    'RuntimeSettings',
    'Snooze',
    'StopRequested',
    'ThreadsExecutor',
    'WebSettings',
    'ZodbConnection',
    'ZopeInteraction',
    'ZopeSite',
    'ZopeTransaction',
    'addRegistry',
    'declareAlerts',
    'declareMonitoring',
    'declareRuntime',
    'declareSchedule',
    'declareTrigger',
    'declareWeb',
    'declareWorker',
    'evolveDatabase',
    'getRegistry',
    'getRuntime',
    'now',
    'queryRuntime',
    'registerExecutor',
    'removeRegistry',
    'scan',
    'scheduled',
    'startRuntime',
    'triggeredBy',
    'worker',
]
