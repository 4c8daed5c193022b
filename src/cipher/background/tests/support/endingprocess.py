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
"""A process for the tests of endings; it ends in one of many ways.

Its folder has the database, and files that are barriers for its workers.
"""
import logging
import os
import sys
import threading
import time

import transaction
import zope.component.event  # noqa: F401  (it dispatches the events)
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import hooks

from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.runtime.runtime import startRuntime
from cipher.background.tests.support.crashingprocess import declareWorkers
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.servers import touch
from cipher.background.thread import BackgroundWorkerThread


def _close(db, _runtime=None):
    try:
        db.close()
    except KeyError:
        # ZODB fails like this if another thread closes one of its connections
        # at the same moment.  It has closed the others.
        db.storage.close()


def _shut_down_meanwhile(db, runtime):
    threading.Thread(target=runtime.shutdown, daemon=True).start()
    while not runtime.is_draining:
        time.sleep(0.01)
    _close(db)


def _close_twice(db, runtime):
    _close(db)
    db.close()


def _close_and_shut_down(db, runtime):
    _close(db)
    runtime.shutdown()
    runtime.shutdown()


def _interrupt(db, runtime):
    raise KeyboardInterrupt


#: {way: function by which the main thread ends}
WAYS = {
    'nothing': lambda db, runtime: None,
    'exit': lambda db, runtime: sys.exit(3),
    'interrupt': _interrupt,
    'close': _close,
    'close twice': _close_twice,
    'close, shut down': _close_and_shut_down,
    'close in the drain': _shut_down_meanwhile,
    'close the storage': lambda db, runtime: db.storage.close()}


def main(folder, way, drain, *names):
    """Start a runtime and the runs of these names; end in that *way*."""
    logging.basicConfig()
    hooks.setHooks()
    declareWorkers(folder)

    def stubborn(worker):
        while not os.path.exists(os.path.join(folder, 'go-on')):
            touch(folder, 'inside')
            time.sleep(0.01)
        # Uses the database, so a closed one is noticed.
        hooks.getSite()['counter'].value += 1

    class Loop(BackgroundWorkerThread):

        def scheduleNextWork(self):
            return not self.wait(0.01)

        def doWork(self):
            hooks.getSite()['counter'].cleaned = True
            touch(folder, 'inside')

    declareWorker('stubborn', stubborn)
    declareWorker('loop', factory=Loop, is_loop=True)
    db = DB(FileStorage(os.path.join(folder, 'Data.fs')))
    connection = db.open()
    site = connection.root()['Application']
    registry = site.getSiteManager()['background']
    runtime = startRuntime(db, RuntimeSettings(
        threads=2, drain=float(drain), poll=0.05))
    ids = [registry.start(name).id for name in names]
    transaction.commit()
    while not (os.path.exists(os.path.join(folder, 'inside'))
               if names else runtime.backlog.lanes()):
        time.sleep(0.01)
    transaction.abort()
    connection.close()
    touch(folder, 'started', ' '.join(ids))
    WAYS[way](db, runtime)


if __name__ == '__main__':
    main(*sys.argv[1:])
