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
"""Name the pieces that an application lacks, when its process starts.

Each line has the form "expected …, got …; do …".  `IStartCheck` utilities add
their own: the pages have one.
"""
from typing import Any

from transaction import TransactionManager
from zope.component import getGlobalSiteManager
from zope.component import getUtilitiesFor
from zope.component import queryUtility

from cipher.background.contextmanagers import closeConnection
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import IStartCheck
from cipher.background.interfaces import IWorkerType
from cipher.background.store.process import getDirectory
from cipher.background.util import switchboard
from cipher.background.util.host import getHost
from cipher.background.util.logs import getLogger
from cipher.background.util.text import safeStr


log = getLogger(__name__)


def checkStart(db):
    """Log a warning for each missing piece of the application on *db*.

    Never raise an ``Exception``.  The thread's transaction stays untouched.
    """
    manager = TransactionManager()
    try:
        connection = db.open(transaction_manager=manager)
        try:
            directory = getDirectory(connection)
            registries = directory.listRegistries() if directory else []
            _log(lambda registries: _listOwn(db, registries), registries)
            for _name, check in sorted(getUtilitiesFor(IStartCheck)):
                _log(check, registries)
        finally:
            manager.abort()
            closeConnection(db, connection)
    except Exception:
        log.warning('Start: the database cannot be read', exc_info=True)


def _log(check, registries):
    try:
        for text in check(registries):
            log.warning('Start: %s', text)
    except Exception as error:
        # Most often because of a piece that was named before.
        log.warning('Start: not everything could be checked: %s',
                    safeStr(error), exc_info=True)


def _listOwn(db, registries):
    if not registries:
        yield ('expected a registry of runs in a site, got none, so nothing '
               'can be started; %s' % getHost().registry_advice)
    if not any(getGlobalSiteManager().getUtilitiesFor(IWorkerType)):
        yield ('expected worker types, got none; declare one with '
               '<background:worker name="…" handler="…" />')
    runtime: Any = switchboard.queryRuntime(db)
    settings = queryUtility(IRuntimeSettings) if (
        runtime is None) else runtime.settings
    if (settings is None or not settings.threads) and not any(
            process.threads and not process.is_silent
            for registry in registries[:1]
            for process in registry.listProcesses()):
        yield ('expected a process that carries out runs, got none: this one '
               'has %s, and no other lives; put <background:runtime '
               'threads="4" /> into the ZCML, or start a worker process' % (
                   'no runtime' if settings is None
                   else 'a runtime without threads'))
