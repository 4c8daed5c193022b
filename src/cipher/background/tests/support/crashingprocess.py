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

Files in its folder are barriers: a worker writes `NAME` when it reaches one,
and goes on when `go-on` exists.
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
from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.runtime.runtime import startRuntime
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.servers import touch
from cipher.background.tests.support.sites import LIMIT
from cipher.background.thread import BackgroundJob
from cipher.background.thread import BackgroundWorkerThread


def declareWorkers(folder):
    """Declare the worker types of these tests."""

    def barrier(name):
        touch(folder, name)
        deadline = time.monotonic() + LIMIT
        while not os.path.exists(os.path.join(folder, 'go-on')):
            if time.monotonic() > deadline:
                raise AssertionError('nobody let it go on')
            time.sleep(0.01)

    def work(worker):
        hooks.getSite()['counter'].value += 1
        barrier('inside')

    def polite(worker):
        hooks.getSite()['counter'].value += 1
        touch(folder, 'inside')
        worker.wait(LIMIT)
        worker.checkStop()

    def add(worker):
        hooks.getSite()['counter'].value += 1

    def tell(worker):
        # A short line is written atomically.
        with open(os.path.join(folder, 'tell'), 'a') as told:
            told.write('%s:%d\n' % (worker.run_id, os.getpid()))

    def tell_slowly(worker):
        tell(worker)
        worker.wait(0.05)

    def kill(worker):
        os.kill(os.getpid(), signal.SIGKILL)

    def commit(worker):
        hooks.getSite()['counter'].value += 1
        tpc_finish = FileStorage.tpc_finish

        def finish(*args):
            tpc_finish(*args)
            kill(worker)

        FileStorage.tpc_finish = finish

    class Taken(BackgroundJob):
        # The object is made after the run is claimed, before its work begins.
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            barrier('taken')

        def doWork(self):
            hooks.getSite()['counter'].value += 1

    class Second(BackgroundJob):
        # Kills its process just before the second run begins.
        begun = []

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            if self.begun:
                kill(self)
            self.begun.append(self)

        def doWork(self):
            hooks.getSite()['counter'].value += 1

    class Cleaning(BackgroundJob):
        def doWork(self):
            hooks.getSite()['counter'].value += 1

        def doCleanup(self):
            hooks.getSite()['counter'].cleaned = True
            barrier('inside')

    class Loop(BackgroundWorkerThread):
        def scheduleNextWork(self):
            self.wait(LIMIT)

    declareWorker('loop', factory=Loop, is_loop=True)
    declareWorker('commit', commit)
    declareWorker('taken rerun', factory=Taken, max_running=1)
    declareWorker('taken fail', factory=Taken, on_interrupt=FAIL)
    declareWorker('cleaning', factory=Cleaning)
    declareWorker('second', factory=Second, max_running=1)
    declareWorker('limited', tell, max_running=2)
    declareWorker('rerun', work)
    declareWorker('fail', work, on_interrupt=FAIL)
    declareWorker('polite', polite)
    declareWorker('add', add)
    declareWorker('tell', tell)
    declareWorker('slowtell', tell_slowly)
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
    # A shell ignores the signal in processes that it starts in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ids = [registry.start(name).id for name in names]
    transaction.commit()
    touch(folder, 'started', ' '.join(ids))
    try:
        while not ended.wait(0.02):
            transaction.begin()
            record = getDirectory(connection).processes.get(runtime.id)
            if record is not None and record.live.runs:
                touch(folder, 'told')   # the live runs are reported
            if os.path.exists(os.path.join(folder, 'stop')):
                os.remove(os.path.join(folder, 'stop'))
                registry.requestStop(ids[0], 'enough')
                transaction.commit()
                touch(folder, 'asked')
    except KeyboardInterrupt:
        pass   # the first one; a second one ends the shutdown
    transaction.abort()
    connection.close()

    def tell_end():
        # A second signal is to come in the drain, not before it.
        while not runtime.is_draining:
            time.sleep(0.01)
        touch(folder, 'ending')

    threading.Thread(target=tell_end, daemon=True).start()
    runtime.shutdown()
    db.close()
    touch(folder, 'closed')


if __name__ == '__main__':
    main(*sys.argv[1:])
