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
"""A process that enqueues and works until it is killed.

The driver forks it: nothing of the driver may be a thread or a connection.
"""
import faulthandler
import gc
import logging
import math
import os
import random
import signal
import threading
import time
from functools import partial

import transaction
from ZODB.POSException import ConflictError
from zope.component import hooks
from zope.component import provideHandler

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import abortQuietly
from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.interfaces import IRunStartedEvent
from cipher.background.registry import uniqueness
from cipher.background.runtime.executors import sharing
from cipher.background.runtime.maintenance import clockwatch
from cipher.background.runtime.maintenance import pruner
from cipher.background.runtime.queue import backlog
from cipher.background.runtime.runtime import startRuntime
from cipher.background.store.process import getDirectory
from cipher.background.tests.chaos import copies
from cipher.background.tests.chaos import enqueuer
from cipher.background.tests.chaos import wallclocks
from cipher.background.tests.chaos.enqueuer import Enqueuer
from cipher.background.tests.chaos.world import Ledger
from cipher.background.tests.chaos.world import declareKinds
from cipher.background.tests.chaos.world import getWorld
from cipher.background.util import clock


log = logging.getLogger('chaos')

#: Those who start runs, in each process.
STARTERS = 2

THREADS = 2

#: The least that a runtime accepts.
LEASE = 3.0

#: Seconds that a server may be away when a process begins.
OPEN_LIMIT = 30.0

#: Seconds until something more of what is left must be finished.
DRAIN_LIMIT = 60.0

#: Whether the runs of all types share commits.
shares = False


def shareCommits():
    """Let the runs share commits, even if some of them take long."""
    global shares
    shares = True
    sharing.SHORT = 1.0
    sharing.REST = sharing.REST_CAP = 0.02
    enqueuer.batch = 60
    enqueuer.MOST_WAITING = 600


class _CountedGroup(sharing.Group):
    """Writes into the ledger how many runs it committed."""

    ledger = None

    def _commit(self, guard):
        super()._commit(guard)
        self.ledger.write('group', len(self._lives))

    def takeOver(self):
        given = super().takeOver()
        if given:
            self.ledger.write('given', len(given))
        return given


def setUp(folder, boot):
    """Prepare the process for its work; return its ledger."""
    logging.basicConfig(
        filename=os.path.join(folder, 'log'), level=logging.INFO, force=True,
        format='%%(asctime)s boot %s %%(threadName)s %%(levelname)s '
               '%%(name)s: %%(message)s' % boot)
    faulthandler.enable(open(os.path.join(folder, 'faults'), 'a'))
    faulthandler.register(
        signal.SIGUSR1, open(os.path.join(folder, 'stacks'), 'a'))
    hooks.setHooks()
    ledger = Ledger(folder, boot)
    declareKinds(ledger)
    _CountedGroup.ledger = ledger
    sharing.Group = _CountedGroup
    backlog.NEAR = 0.5   # that due runs wait in the database
    return ledger


def run(storage, folder, slot, boot, ready, works=True, clocks=None):
    """Enqueue, and work if it *works*, until SIGTERM.

    It goes by the clock number *slot* of *clocks*, `wallclocks.WallClocks`.
    *ready*, a file descriptor, is told of each run that it begins, or of
    each step of its starters if it does not work.
    """
    if clocks is not None:
        wallclocks.use(clocks, slot)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ledger = setUp(folder, boot)
    db, strangers = _open_patiently(storage, ended)
    if works:
        provideHandler(lambda event: _tell(ready), [IRunStartedEvent])
        runtime = startRuntime(db, RuntimeSettings(
            threads=THREADS, poll=0.2, lease=LEASE, drain=2.0,
            deployment=copies.ORIGINAL, share=shares))
    starters = [
        threading.Thread(target=_enqueue, name='starter-%d' % number, args=(
            db, slot * STARTERS + number, ended,
            (lambda: None) if works else partial(_tell, ready)))
        for number in range(STARTERS)]
    for thread in starters:
        thread.start()
    while not ended.wait(0.1):
        pass
    for thread in starters:
        thread.join()
    if works:
        runtime.shutdown()
    tellLeaks(ledger, db, strangers)


def _open_patiently(storage, ended):
    """Open the database, whose server may be away for a while.

    Return it and the threads that storages left which could not be opened.
    """
    deadline = time.monotonic() + OPEN_LIMIT
    while True:
        strangers = threading.enumerate()
        try:
            return storage.open(), strangers
        except Exception as error:
            if ended.is_set():
                raise SystemExit(0) from None
            if time.monotonic() > deadline:
                raise
            log.warning('Opening: %s: %s', type(error).__name__, error)
            time.sleep(0.1)


def _enqueue(db, number, ended, tell):
    while not ended.is_set():
        try:
            with ZodbConnection(db) as connection:
                _enqueue_with(connection, number, ended, tell)
        except Exception as error:
            log.info('starter: %s: %s', type(error).__name__, error)
            ended.wait(0.05)


def _enqueue_with(connection, number, ended, tell):
    enqueuer = Enqueuer(connection, number)
    try:
        while not ended.wait(random.uniform(0.0, 0.03)):
            try:
                enqueuer.step()
                tell()
            except ConflictError as error:
                transaction.abort()
                log.info('starter: %s', error)
    finally:
        abortQuietly()


def _tell(ready):
    try:
        os.write(ready, b'.')
    except OSError:
        pass   # it is full, or nobody reads any more


def tellLeaks(ledger, db, strangers=()):
    """Close *db*; write into the ledger what is left then.

    But for the threads *strangers*.
    """
    deadline = time.monotonic() + 5.0
    # What worked longer than the drain has lost its run, and looks at that
    # only now.
    while (count := _count_open(db)) and time.monotonic() < deadline:
        time.sleep(0.01)
    if count and not db.has_failed:
        ledger.write('leak', '%d connections are open at its end' % count)
    db.close()
    deadline = time.monotonic() + 5.0
    while True:
        others = [thread for thread in threading.enumerate()
                  if thread is not threading.main_thread()
                  and thread not in strangers]
        if not others:
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    ledger.write('leak', 'threads live at its end: %s' % ', '.join(
        thread.name for thread in others))


def _count_open(db):
    gc.collect()
    return sum(connection.opened is not None
               for connection in list(db.pool.all))


def drain(storage, folder, boot, has_jumps=False):
    """Carry out what is left; end in good order.

    *has_jumps*: clocks were wrong, so it does that some days later: what was
    put off then has come.
    """
    ledger = setUp(folder, boot)
    if has_jumps:
        clock.setClock(lambda: time.time() + 2 * wallclocks.MOST)
    pruner.INTERVAL = 0.2   # it forgets the claims
    clockwatch.LONG_AGO = math.inf   # though that clock is days ahead
    uniqueness.STALE_FOR = 0.2
    db = storage.open()
    runtime = startRuntime(db, RuntimeSettings(
        threads=4, poll=0.05, lease=LEASE, deployment=copies.ORIGINAL))
    rest = None
    while rest != '':
        with db.transaction() as connection:
            rest, before = describeRest(connection), rest
        if rest != before:
            deadline = time.monotonic() + DRAIN_LIMIT
        elif time.monotonic() > deadline:
            ledger.write('leak', 'left without progress: %s' % rest)
            break
        time.sleep(0.1)
    runtime.shutdown()
    tellLeaks(ledger, db)


def describeRest(connection):
    """Return a text that tells what is not over yet, '' if all is."""
    _, registry = getWorld(connection)
    waiting = sum(number for states in registry.getCounts().values()
                  for state, number in states.items()
                  if state in ('pending', 'running'))
    due = sum(len(lane.waiting.places)
              for lane in registry.lanes.values())
    others = len(getDirectory(connection).processes) - 1
    figures = (waiting, due, len(registry.stops), len(registry.unique_keys),
               others)
    return '' if not any(figures) else (
        '%d runs, %d due entries, %d stop requests, %d claims, %d other '
        'processes' % figures)
