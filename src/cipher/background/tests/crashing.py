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
"""A process that the tests of crashes start and kill.

Files in its folder are the barriers: `NAME` is written when something is
reached, and the worker goes on when `go-on` is there.
"""
import os
import signal
import sys
import threading
import time

import transaction
import zope.component.event  # noqa: F401  (it dispatches the events)
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import hooks

from cipher.background.interfaces import FAIL
from cipher.background.process import getDirectory
from cipher.background.runtime import RuntimeSettings
from cipher.background.runtime import startRuntime
from cipher.background.tests.live_support import declareWorker
from cipher.background.tests.support import LIMIT


def touch(folder, name, text=''):
    """Write a file, whole from the first moment."""
    path = os.path.join(folder, name)
    # Two threads may write it at a time.
    new_path = '%s.%d' % (path, threading.get_ident())
    with open(new_path, 'w') as new:
        new.write(text)
    os.rename(new_path, path)


def declareWorkers(folder):
    """Declare the worker types of these tests."""

    def work(worker):
        hooks.getSite()['counter'].value += 1
        touch(folder, 'inside')
        deadline = time.monotonic() + LIMIT
        while not os.path.exists(os.path.join(folder, 'go-on')):
            if time.monotonic() > deadline:
                raise AssertionError('nobody let it go on')
            time.sleep(0.01)

    def polite(worker):
        hooks.getSite()['counter'].value += 1
        touch(folder, 'inside')
        worker.wait(LIMIT)
        worker.checkStop()

    def kill(worker):
        os.kill(os.getpid(), signal.SIGKILL)

    declareWorker('rerun', work)
    declareWorker('fail', work, on_interrupt=FAIL)
    declareWorker('polite', polite)
    declareWorker('kill', kill)


def main(folder, threads, drain, *names):
    """Start a runtime and the runs of these names; wait for a signal."""
    hooks.setHooks()
    declareWorkers(folder)
    db = DB(FileStorage(os.path.join(folder, 'Data.fs')))
    connection = db.open()
    site = connection.root()['Application']
    registry = site.getSiteManager()['background']
    runtime = startRuntime(db, RuntimeSettings(
        threads=int(threads), drain=float(drain), poll=0.05))
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    ids = [registry.start(name).id for name in names]
    transaction.commit()
    touch(folder, 'started', ' '.join(ids))
    while not ended.wait(0.02):
        transaction.begin()
        record = getDirectory(connection).processes.get(runtime.id)
        if record is not None and record.live.runs:
            touch(folder, 'told')   # other processes know what works here
        if os.path.exists(os.path.join(folder, 'stop')):
            os.remove(os.path.join(folder, 'stop'))
            registry.requestStop(ids[0], 'enough')
            transaction.commit()
            touch(folder, 'asked')
    transaction.abort()
    connection.close()
    runtime.shutdown()
    db.close()
    touch(folder, 'closed')


if __name__ == '__main__':
    main(*sys.argv[1:])
