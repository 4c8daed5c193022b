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

What an application imports is here, in `__all__`, and in `.interfaces`,
`.testing`, `.browser` and, for Celery, `.celeryworker`.  A name is loaded when
it is asked for: ``import cipher.background`` loads no other module.
"""


def lazy(package, homes):
    """Return the ``__getattr__`` and ``__dir__`` of *package* (PEP 562).

    *homes* is {name: dotted name of the module that has it}.
    """
    def __getattr__(name):
        if name not in homes:
            raise AttributeError(
                'module %r has no attribute %r' % (package, name))
        from importlib import import_module
        return getattr(import_module(homes[name]), name)

    def __dir__():
        from sys import modules
        return sorted({*vars(modules[package]), *homes})

    return __getattr__, __dir__


__getattr__, __dir__ = lazy(__name__, {
    'BackgroundError': 'cipher.background.interfaces',
    'BackgroundJob': 'cipher.background.thread',
    'BackgroundWorkerThread': 'cipher.background.thread',
    'Cancel': 'cipher.background.interfaces',
    'ItemsJob': 'cipher.background.job',
    'RecordFormatter': 'cipher.background.logs',
    'RuntimeSettings': 'cipher.background.settings',
    'Snooze': 'cipher.background.interfaces',
    'StopRequested': 'cipher.background.interfaces',
    'WebSettings': 'cipher.background.settings',
    'ZodbConnection': 'cipher.background.contextmanagers',
    'ZopeInteraction': 'cipher.background.contextmanagers',
    'ZopeSite': 'cipher.background.contextmanagers',
    'ZopeTransaction': 'cipher.background.contextmanagers',
    'addRegistry': 'cipher.background.installation',
    'evolveDatabase': 'cipher.background.evolve',
    'getRegistry': 'cipher.background.installation',
    'getRuntime': 'cipher.background.switchboard',
    'now': 'cipher.background.clock',
    'queryRuntime': 'cipher.background.switchboard',
    'removeRegistry': 'cipher.background.installation',
    'startRuntime': 'cipher.background.runtime',
})

# Checkers of types, which do not follow that, take this for true.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from cipher.background.clock import now
    from cipher.background.contextmanagers import ZodbConnection
    from cipher.background.contextmanagers import ZopeInteraction
    from cipher.background.contextmanagers import ZopeSite
    from cipher.background.contextmanagers import ZopeTransaction
    from cipher.background.evolve import evolveDatabase
    from cipher.background.installation import addRegistry
    from cipher.background.installation import getRegistry
    from cipher.background.installation import removeRegistry
    from cipher.background.interfaces import BackgroundError
    from cipher.background.interfaces import Cancel
    from cipher.background.interfaces import Snooze
    from cipher.background.interfaces import StopRequested
    from cipher.background.job import ItemsJob
    from cipher.background.logs import RecordFormatter
    from cipher.background.runtime import startRuntime
    from cipher.background.settings import RuntimeSettings
    from cipher.background.settings import WebSettings
    from cipher.background.switchboard import getRuntime
    from cipher.background.switchboard import queryRuntime
    from cipher.background.thread import BackgroundJob
    from cipher.background.thread import BackgroundWorkerThread

__all__ = [
    'BackgroundError',
    'BackgroundJob',
    'BackgroundWorkerThread',
    'Cancel',
    'ItemsJob',
    'RecordFormatter',
    'RuntimeSettings',
    'Snooze',
    'StopRequested',
    'WebSettings',
    'ZodbConnection',
    'ZopeInteraction',
    'ZopeSite',
    'ZopeTransaction',
    'addRegistry',
    'evolveDatabase',
    'getRegistry',
    'getRuntime',
    'now',
    'queryRuntime',
    'removeRegistry',
    'startRuntime',
]
