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
from collections.abc import Mapping
from io import StringIO
from types import ModuleType
from typing import Any

import transaction
from ZODB.DB import DB
from ZODB.DemoStorage import DemoStorage
from ZODB.POSException import POSKeyError
from ZODB.utils import z64
from zope.component import hooks
from zope.configuration import xmlconfig
from zope.security.management import endInteraction
from zope.site.folder import rootFolder
from zope.site.site import LocalSiteManager

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.declarations.workertype import allNames
from cipher.background.declarations.workertype import findPause
from cipher.background.declarations.workertype import getWorkerType
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerRun
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import getRegistry
from cipher.background.runtime.runtime import Runtime
from cipher.background.store.kept import isKept
from cipher.background.util import clock
from cipher.background.util.host import getHost
from cipher.background.util.masking import maskInput
from cipher.background.util.plaindata import plainCopy
from cipher.background.util.plaindata import readInput
from cipher.background.util.switchboard import queryRuntime
from cipher.background.util.text import safeRepr
from cipher.background.work.liverun import Ticket


class _Diversion(logging.StreamHandler):
    """Diverts what *logger* logs to *buffer*."""

    def __init__(self, buffer: StringIO, logger: logging.Logger) -> None:
        super().__init__(buffer)
        self.propagate_before = logger.propagate
        self.level_before = logger.level


def setUpLogging(logger: logging.Logger,
                 level: int | str = logging.DEBUG) -> StringIO:
    """Divert records of *logger* from *level* on; return a text buffer.

    The buffer gets the records.  None are propagated until `tearDownLogging`.
    """
    buffer = StringIO()
    handler = _Diversion(buffer, logger)
    logger.propagate = False
    logger.addHandler(handler)
    logger.setLevel(level)
    return buffer


def tearDownLogging(logger: logging.Logger) -> None:
    """Undo `setUpLogging`; do nothing if it was not called."""
    for handler in logger.handlers:
        if isinstance(handler, _Diversion):
            logger.removeHandler(handler)
            logger.propagate = handler.propagate_before
            logger.setLevel(handler.level_before)
            break


def waitForRun(run: IWorkerRun, timeout: float = 10.0) -> str:
    """Wait until *run* is finished; return its state.

    Begin transactions of the run's connection: uncommitted changes are lost.
    Raise ``AssertionError`` after *timeout* seconds.  Raise ``ValueError`` if
    the start of the run is not committed.
    """
    run_id = run.id
    if run._p_jar is None:
        raise _uncommitted(run_id)
    manager = run._p_jar.transaction_manager
    deadline = time.monotonic() + timeout
    while True:
        manager.begin()
        if run._p_jar is None or run._p_serial == z64:
            raise _uncommitted(run_id)   # it was in a savepoint only
        try:
            if run.isFinished():
                return run.state
        except POSKeyError:
            raise _uncommitted(run_id) from None
        if time.monotonic() > deadline:
            raise AssertionError(
                'run %r: expected it to be finished within %s s, got state %r'
                % (run.id, timeout, run.state))
        time.sleep(0.005)


def _uncommitted(run_id: str) -> ValueError:
    return ValueError(
        'run %r: expected a stored run, got one whose start is not '
        'committed; call transaction.commit() first' % run_id)


class SetClock:
    """A context manager that sets the clock of the package.

    The clock stands still at *now*, by default the real time, until `advance`
    is called.
    """

    def __init__(self, now: float | None = None) -> None:
        self.now = time.time() if now is None else now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self.now += seconds

    def __enter__(self) -> 'SetClock':
        clock.setClock(self)
        return self

    def __exit__(self, *error: Any) -> None:
        clock.setClock()


class _InlineRuntime(Runtime):
    """Carries runs out in the calling thread, one after another."""

    def __init__(self, db: DB) -> None:
        super().__init__(db, RuntimeSettings(threads=0))
        self.error: BaseException | None = None

    def leave(self, live: Any) -> None:
        super().leave(live)
        self.error = live.error


def runPending(site: Any = None, limit: int = 1000) -> list[IWorkerRun]:
    """Carry out pending runs that are due, now, in this thread; return them.

    The greatest priority goes first, then the oldest run.  Runs that these
    start are carried out as well, *limit* runs at most.  Loops are left out:
    they would go on for ever.

    *site* is a site with a registry, by default the current site.  Commit
    before: uncommitted changes are lost.  If a run fails, its error is
    recorded and then raised here.
    """
    registry: Any = getRegistry(site)
    runtime = _InlineRuntime(registry._p_jar.db())
    waiting = _Waiting(registry)
    runs: list[IWorkerRun] = []
    with getHost().trusted():
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
                                     'got one that is still pending' % run.id)
            waiting.add(run)
    return runs


class _Waiting:
    """The pending runs of a registry, sorted; each birth is read once."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry
        # lane number -> the next serial to read
        self._begins: dict[int, int] = {}
        self._ready: list[Any] = []   # heap of (rank, run)
        self._later: list[Any] = []   # heap of (due_at, rank, run)
        # Runs of types that are paused or not declared.
        self._held: list[Any] = []

    def take(self) -> Any:
        """Return the next run that can begin, or None."""
        self._find_new()
        run = self._pop()
        if run is None:
            # A worker may have declared or resumed a type since then.
            held, self._held = self._held, []
            for run in held:
                self.add(run)
            run = self._pop()
        return run

    def _find_new(self) -> None:
        for number, lane in self._registry.lanes.items():
            for run in lane.births.walkUp(self._begins.get(number, 1)):
                self.add(run)
            self._begins[number] = lane.births.next_serial

    def add(self, run: Any) -> None:
        """Sort *run* in if it is pending and can be carried out here."""
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

    def _pop(self) -> Any:
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


def _rank(run: Any) -> tuple[int, float, int, int]:
    return -run.priority, run.created_at, run.lane, run.serial


def assertStarted(place: Any, name: str, context: Any = None,
                  input: Mapping[str, Any] | None = None,
                  count: int | None = None) -> list[IWorkerRun]:
    """Check that worker type *name* was started; return the runs of it.

    *place* is a registry, or an object at or below a site that has one; None
    is the current site.  Of the type's runs those count that are about
    *context*, unless it is None, and whose input has the values of *input*;
    it may have more.  *count* is their number; None means one or more, 0 that
    there must be none.

    All runs that the registry keeps count, whatever their state, as do starts
    that are not committed.  Begin and commit no transaction.

    Raise ``AssertionError``, which lists what was started instead.  Raise
    `UnknownWorkerType` for a name that is not declared.
    """
    __tracebackhide__ = True   # of pytest
    getWorkerType(name)
    registry = (place if IWorkerRegistry.providedBy(place)
                else getRegistry(place))
    runs = _list_runs(registry)
    names = allNames(name)
    wanted = {} if input is None else plainCopy(dict(input), 'input')
    found = [run for run in runs if run.type in names
             and (context is None or _is_same(run.context, context))
             and wanted.items() <= readInput(run.input).items()]
    if len(found) == count or count is None and found:
        return found
    raise AssertionError('worker %r: expected %s%s%s, got %s; %s' % (
        name,
        'a start' if count is None else '%d start%s' % (
            count, '' if count == 1 else 's'),
        '' if context is None else ' about %s' % safeRepr(context, 200),
        '' if input is None else ' with the input %s' % safeRepr(
            maskInput(getWorkerType(name).schema, wanted), 1000),
        len(found) or 'none', _say_started(runs)))


def _list_runs(registry: Any) -> list[Any]:
    """Return the runs that *registry* keeps, oldest first."""
    runs = []
    for lane in registry.lanes.values():
        for run in lane.births.walkUp():
            run._v_parent = registry
            runs.append(run)
    return sorted(runs, key=lambda run: (run.created_at, run.lane, run.serial))


def _is_same(one: Any, other: Any) -> bool:
    """Return whether both are one object, maybe of different connections."""
    return one is other or (
        getattr(one, '_p_oid', None) is not None
        and one._p_oid == getattr(other, '_p_oid', None))


def _say_started(runs: list[Any]) -> str:
    if not runs:
        return 'nothing was started'
    return 'these were started:' + ''.join(
        '\n  %s %r with %s%s, %s' % (
            run.id, run.type, safeRepr(_mask_input(run), 1000),
            '' if run.context is None else ' about %s' % safeRepr(
                run.context, 200), run.state)
        for run in runs)


def _mask_input(run: Any) -> dict[str, Any]:
    worker_type = queryWorkerType(run.type)
    return maskInput(worker_type and worker_type.schema, readInput(run.input))


class BackgroundLayer:
    """A layer for zope.testrunner with ZCML and a new database for each test.

    *zcml* is the name of a file in *package* that includes all that the tests
    need.  Without a package, *zcml* is the path of the file.  ``site`` is a
    root site with a registry; it is the current site.  The layer needs
    ``zope.testing``, which the rest of this module does not.
    """

    __bases__ = ()

    db: DB
    connection: Any
    registry: IWorkerRegistry
    site: Any

    def __init__(self, package: ModuleType | None, zcml: str = 'ftesting.zcml',
                 name: str = 'BackgroundLayer') -> None:
        self.__module__ = package.__name__ if package else __name__
        self.__name__ = name
        self._package = package
        self._zcml = zcml

    def setUp(self) -> None:
        """Load the ZCML."""
        from zope.testing import cleanup
        cleanup.setUp()
        hooks.setHooks()
        xmlconfig.file(self._zcml, self._package)

    def tearDown(self) -> None:
        """Unload the ZCML."""
        from zope.testing import cleanup
        cleanup.tearDown()

    def testSetUp(self) -> None:
        """Make the database and its site."""
        self.db = DB(DemoStorage())
        self.connection = self.db.open()
        self.site = self.connection.root()['Application'] = rootFolder()
        self.site.setSiteManager(LocalSiteManager(self.site))
        transaction.commit()
        self.registry = addRegistry(self.site)
        transaction.commit()
        hooks.setSite(self.site)

    def testTearDown(self) -> None:
        """Drop the database, and end its runtime if there is one."""
        hooks.setSite(None)
        endInteraction()
        clock.setClock()
        transaction.abort()
        runtime = queryRuntime(self.db)
        if runtime is not None:
            runtime.shutdown()
        self.connection.close()
        self.db.close()
