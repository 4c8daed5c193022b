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
"""Test support for applications and for this package."""
import heapq
import logging
import time
from contextlib import contextmanager
from io import StringIO

import transaction
from ZODB.DB import DB
from ZODB.DemoStorage import DemoStorage
from ZODB.POSException import POSKeyError
from ZODB.utils import z64
from zope.component import hooks
from zope.configuration import xmlconfig
from zope.security.management import endInteraction
from zope.security.management import queryInteraction
from zope.security.management import restoreInteraction
from zope.security.management import thread_local
from zope.site.folder import rootFolder
from zope.site.site import LocalSiteManager

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.declarations.workertype import findPause
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import PENDING
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import getRegistry
from cipher.background.runtime.runtime import Runtime
from cipher.background.store.kept import isKept
from cipher.background.util import clock
from cipher.background.work.liverun import Ticket


class _Diversion(logging.StreamHandler):
    """Diverts what *logger* logs to *buffer*."""

    def __init__(self, buffer, logger):
        super().__init__(buffer)
        self.propagate_before = logger.propagate
        self.level_before = logger.level


def setUpLogging(logger, level=logging.DEBUG):
    """Divert what *logger* logs from *level* on; return where it goes to.

    That is a text buffer; nothing is propagated until `tearDownLogging`.
    """
    buffer = StringIO()
    handler = _Diversion(buffer, logger)
    logger.propagate = False
    logger.addHandler(handler)
    logger.setLevel(level)
    return buffer


def tearDownLogging(logger):
    """Undo `setUpLogging`; do nothing where there is nothing to undo."""
    for handler in logger.handlers:
        if isinstance(handler, _Diversion):
            logger.removeHandler(handler)
            logger.propagate = handler.propagate_before
            logger.setLevel(handler.level_before)
            break


def waitForRun(run, timeout=10.0):
    """Wait until *run* is finished; return its state.

    Begins transactions of the run's connection: what is not committed there
    is lost.  Raise ``AssertionError`` after *timeout* seconds, and
    ``ValueError`` for a run that is not stored.
    """
    run_id = run.id
    if run._p_jar is None:
        raise _uncommitted(run_id)
    manager = run._p_jar.transaction_manager
    deadline = time.monotonic() + timeout
    while True:
        manager.begin()
        if run._p_jar is None or run._p_serial == z64:
            raise _uncommitted(run_id)   # it stood in a savepoint
        try:
            if run.isFinished():
                return run.state
        except POSKeyError:
            raise _uncommitted(run_id) from None
        if time.monotonic() > deadline:
            raise AssertionError(
                'run %r: expected it to be finished within %s s, got one that '
                'is %r' % (run.id, timeout, run.state))
        time.sleep(0.005)


def _uncommitted(run_id):
    return ValueError(
        'run %r: expected one that is stored, got one whose start is not '
        'committed; call transaction.commit() before' % run_id)


class SetClock:
    """The clock of the package, set by hand.

    A context manager; begins at *now*, by default at the real time.
    """

    def __init__(self, now=None):
        self.now = time.time() if now is None else now

    def __call__(self):
        return self.now

    def advance(self, seconds):
        """Let so many seconds pass."""
        self.now += seconds

    def __enter__(self):
        clock.setClock(self)
        return self

    def __exit__(self, *error):
        clock.setClock()


class _InlineRuntime(Runtime):
    """Carries runs out in the calling thread, one after the other."""

    def __init__(self, db):
        super().__init__(db, RuntimeSettings(threads=0))
        self.error = None

    def leave(self, live):
        super().leave(live)
        self.error = live.error


def runPending(site=None, limit=1000):
    """Carry out what waits and is due, in this thread, now.

    Those with the greater priority first, then the oldest; what they start in
    turn as well, *limit* runs at the most.  *site* is a site with a registry,
    by default the current one.  Commit first: what is not committed is lost.
    Loops are left out, they would go on for ever.  Return the runs.

    The error of a run that failed is raised, after it was recorded.
    """
    registry = getRegistry(site)
    runtime = _InlineRuntime(registry._p_jar.db())
    waiting = _Waiting(registry)
    runs = []
    with _without_interaction():
        while len(runs) < limit:
            transaction.begin()
            run = waiting.take()
            if run is None:
                return runs
            runs.append(run)
            epoch = run.epoch
            runtime.executor.carryOut(Ticket(
                registry._p_oid, run.lane, run.serial))
            transaction.begin()
            if run.state == FAILED and runtime.error is not None:
                raise runtime.error
            if run.state == PENDING and run.epoch == epoch:
                raise AssertionError('run %r: expected it to be carried out, '
                                     'it still waits' % run.id)
            waiting.add(run)
    return runs


class _Waiting:
    """The runs of a registry that wait; each is looked at once."""

    def __init__(self, registry):
        self._registry = registry
        self._begins = {}   # lane number -> the serial to look at next
        self._ready = []    # heap of (rank, run)
        self._later = []    # heap of (due_at, rank, run)
        self._held = []     # of types that are paused or not declared

    def take(self):
        """Return the run that is next, or None."""
        self._find_new()
        run = self._pop()
        if run is None:
            # A worker may have declared or resumed a type meanwhile.
            held, self._held = self._held, []
            for run in held:
                self.add(run)
            run = self._pop()
        return run

    def _find_new(self):
        for number, lane in self._registry.lanes.items():
            for run in lane.births.walkUp(self._begins.get(number, 1)):
                self.add(run)
            self._begins[number] = lane.births.next_serial

    def add(self, run):
        """Look at *run*, which may wait."""
        if run.state != PENDING or isKept(self._registry, run):
            return
        worker_type = queryWorkerType(run.type)
        if worker_type is None or findPause(
                self._registry, run.type) is not None:
            self._held.append(run)
        elif clock.isLater(run.due_at):
            heapq.heappush(self._later, (run.due_at, *_rank(run), run))
        elif not worker_type.is_loop:
            heapq.heappush(self._ready, (*_rank(run), run))

    def _pop(self):
        while self._later and not clock.isLater(self._later[0][0]):
            self.add(heapq.heappop(self._later)[-1])
        while self._ready:
            run = heapq.heappop(self._ready)[-1]
            if self._registry.getRun(run.lane, run.serial) is not run:
                continue   # it was removed
            if (run.state == PENDING and not clock.isLater(run.due_at)
                    and findPause(self._registry, run.type) is None):
                return run
            self.add(run)
        return None


def _rank(run):
    return -run.priority, run.created_at, run.lane, run.serial


@contextmanager
def _without_interaction():
    interaction = queryInteraction()
    endInteraction()
    try:
        yield
    finally:
        if interaction is not None:
            # That of the last worker would be restored.
            thread_local.previous_interaction = interaction
            restoreInteraction()


class BackgroundLayer:
    """A layer for zope.testrunner: ZCML, and for each test a new database.

    *package* and *zcml* name a file that includes what the tests need.  Tests
    have `site`, a root site with a registry, which is the current one.  Only
    the layer needs ``zope.testing``: install it beside zope.testrunner.
    """

    __bases__ = ()

    def __init__(self, package, zcml='ftesting.zcml', name='BackgroundLayer'):
        self.__module__ = package.__name__
        self.__name__ = name
        self._package = package
        self._zcml = zcml

    def setUp(self):
        """Load the ZCML."""
        from zope.testing import cleanup
        cleanup.setUp()
        hooks.setHooks()
        xmlconfig.file(self._zcml, self._package)

    def tearDown(self):
        """Forget the ZCML."""
        from zope.testing import cleanup
        cleanup.tearDown()

    def testSetUp(self):
        """Make the database."""
        self.db = DB(DemoStorage())
        self.connection = self.db.open()
        self.site = self.connection.root()['Application'] = rootFolder()
        self.site.setSiteManager(LocalSiteManager(self.site))
        transaction.commit()
        self.registry = addRegistry(self.site)
        transaction.commit()
        hooks.setSite(self.site)

    def testTearDown(self):
        """Forget the database."""
        hooks.setSite(None)
        endInteraction()
        clock.setClock()
        transaction.abort()
        self.connection.close()
        self.db.close()
