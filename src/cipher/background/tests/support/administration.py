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
"""A registry with an administrator, finished runs, a second administrator."""
from contextlib import contextmanager

import transaction
from ZODB.DB import DB
from ZODB.DemoStorage import DemoStorage

from cipher.background.events import RunFailedEvent
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import login


BEGIN = 1000000.0
PROCESS = 'host:1:abc'


def other(registry):
    """Return (new transaction manager, the registry in its connection)."""
    manager = transaction.TransactionManager()
    connection = registry._p_jar.db().open(transaction_manager=manager)
    manager.begin()
    return manager, connection.get(registry._p_oid)


@contextmanager
def another(test):
    """Log in another administrator, whose transaction is open meanwhile.

    Yield (transaction manager, registry).
    """
    manager, registry = other(test.registry)
    try:
        yield manager, registry
    finally:
        manager.abort()
        registry._p_jar.close()


class AdministrationTests(SiteTests):
    """The administrator "admin", a clock set by hand, and no runtime."""

    def setUp(self):
        super().setUp()
        self.clock = self.setClock(BEGIN)
        declareWorker('work', lambda worker, **input: None)
        login('admin')

    def makeDatabase(self):
        # In memory.  Unlike the mapping storage, it resolves conflicts.
        return DB(DemoStorage())

    def make(self, state=FAILED, type='work', **values):
        """Return a finished run that is committed."""
        run = self.registry.addRun(type, **values)
        self.registry.finish(
            run, state, RunSucceededEvent if state == SUCCEEDED
            else RunFailedEvent)
        transaction.commit()
        return run

    def makeRunning(self, type='work'):
        """Return a run that is running in a process that is alive."""
        run = self.registry.start(type)
        getDirectory(self.connection).processes[PROCESS] = ProcessRecord(
            PROCESS, 'host', 1, None, None, 4, 90.0, self.clock.now)
        run.claim(PROCESS, self.clock.now, True)
        transaction.commit()
        return run

    def actions(self):
        """Return (verb, subject, principal, time, reason) of each action.

        The oldest comes first.
        """
        actions, key = self.registry.listActions(1000)
        self.assertIsNone(key)
        return [tuple(action[:5]) for action in reversed(actions)]
