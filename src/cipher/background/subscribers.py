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
"""Event handlers for databases that are opened and registries that appear."""

from typing import Any

import zope.component.event  # noqa: F401 (it dispatches the events)
from zope.component import adapter
from zope.component import queryUtility
from zope.interface.interfaces import IRegistered
from zope.processlifetime import IDatabaseOpenedWithRoot
from zope.processlifetime import IProcessStarting

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import RuntimeRefused
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import rememberRegistry
from cipher.background.runtime.runtime import startRuntime
from cipher.background.runtime.startcheck import checkStart
from cipher.background.util import switchboard
from cipher.background.util.forks import listDatabases
from cipher.background.util.forks import noteDatabase
from cipher.background.util.host import getHost
from cipher.background.util.logs import getLogger
from cipher.background.util.transient import isClosed


log = getLogger(__name__)


@adapter(IDatabaseOpenedWithRoot)
def startRuntimeOfDatabase(event):
    """Start the runtime that ``<background:runtime>`` declared."""
    noteDatabase(event.database)
    settings = queryUtility(IRuntimeSettings)
    runtime: Any = switchboard.queryRuntime(event.database)
    if settings is not None and (runtime is None or runtime.is_implicit):
        try:
            startRuntime(event.database, settings)
        except RuntimeRefused as refused:
            # The application, and pages that only read, work without it.
            log.error('%s', refused)


@adapter(IDatabaseOpenedWithRoot)
def addRegistryToRoot(event):
    """Add a registry to every site in the root of the database.

    An application may subscribe this handler; our ZCML does not.
    """
    with ZodbConnection(event.database) as connection:
        with ZopeTransaction(note='add background registry'):
            for site in list(connection.root().values()):
                if getHost().isSite(site):
                    addRegistry(site)


@adapter(IProcessStarting)
def checkStartOfProcess(event):
    """Name in the log what the application on each open database lacks."""
    for db in listDatabases():
        if not isClosed(db):
            checkStart(db)


@adapter(IRegistered)
def registryRegistered(event):
    """Make a registry known to runtimes when an application registers it."""
    registration = event.object
    if getattr(registration, 'provided', None) is IWorkerRegistry:
        rememberRegistry(registration.component)
