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
"""Several processes in one thread, whose every step the test decides.

A `Cluster` has clocks and processes over one ``DB``.  A process is a runtime
that was not started: the test calls its turns one by one.  Runs work in
threads of their own, but only one thread runs at a time.  A worker stops at
each `pause` until the test lets it go on or kills it.
"""
import itertools
import threading
import weakref
from contextlib import contextmanager
from contextlib import suppress
from functools import partial
from unittest import mock

import transaction
from ZODB.POSException import ConflictError
from zope.component import getGlobalSiteManager

from cipher.background.contextmanagers import Door
from cipher.background.contextmanagers import ZodbConnection
from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import IWorkerType
from cipher.background.runtime.executors.gate import Visit
from cipher.background.runtime.executors.threads import CONFLICT_DELAY
from cipher.background.runtime.maintenance.bookmarks import ownLanes
from cipher.background.runtime.maintenance.pruner import Pruner
from cipher.background.runtime.runtime import Runtime
from cipher.background.store import lanepool
from cipher.background.store import writers
from cipher.background.testing import SetClock
from cipher.background.tests.support.flakystorage import Away
from cipher.background.tests.support.flakystorage import Flaky
from cipher.background.tests.support.sites import LIMIT
from cipher.background.util import clock
from cipher.background.util import switchboard


#: Modules that read the monotonic time, except for those that really wait.
_TIMED = (
    'runtime.running', 'queries.merging', 'runtime.maintenance.liveness',
    'runtime.maintenance.unblocking', 'queries.paging',
    'runtime.maintenance.pruner', 'work.recorder',
    'runtime.maintenance.bookmarks', 'runtime.maintenance.taker',
    'runtime.queue.backlog', 'work.loop')

NOW = 1800000000.0


class Killed(BaseException):
    """The process of the worker is gone."""


class Actor:
    """A thread that runs only while the test waits for it."""

    _local = threading.local()

    def __init__(self, target, is_steady=False):
        self._target = target
        self.is_steady = is_steady   # the storage neither fails nor pauses it
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._is_killed = False
        self._error = None
        self.is_over = False
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()

    def _main(self):
        self._local.actor = self
        self._go.acquire()
        try:
            if not self._is_killed:
                self._target()
        except BaseException as error:
            if not isinstance(error, Killed):
                self._error = error
        finally:
            transaction.abort()
            self.is_over = True
            self._back.release()

    def resume(self):
        """Let it go on to its next pause or to its end."""
        self._go.release()
        if not self._back.acquire(timeout=3 * LIMIT):
            raise AssertionError('an actor did not come back')
        if self.is_over:
            self._thread.join(LIMIT)
            if self._error is not None:
                raise self._error

    def kill(self):
        """End it at its present pause."""
        self._is_killed = True
        self.resume()

    @classmethod
    def pause(cls):
        """Wait for `resume`; called in the thread of the actor."""
        actor = cls._local.actor
        actor._back.release()
        actor._go.acquire()
        actor._check()

    def _check(self):
        if self._is_killed:
            raise Killed

    @classmethod
    def current(cls):
        """Return the actor of the current thread, or None."""
        actor = getattr(cls._local, 'actor', None)
        if actor is not None:
            actor._check()   # a killed actor does nothing more
        return actor


class PassingTime:
    """Replaces the module ``time``; its sleep takes no time."""

    def __init__(self):
        self.seconds = 1000.0

    def monotonic(self):
        """See ``time``."""
        return self.seconds

    def sleep(self, seconds):
        """See ``time``."""


class Process:
    """A process with or without a runtime."""

    def __init__(self, cluster, runtime=None):
        self._cluster = cluster
        self._pools = {}
        self._writer = writers._Process()
        self.runtime = runtime
        self.actors = []
        self.unknown = set()   # names of types that it does not declare
        self._turning = None   # the actor in a turn
        self.beaten_at = cluster.time.seconds
        if runtime is not None:
            # The test prunes; the runtime itself never does.
            runtime._maintenance._pruner = mock.Mock(**{
                'turn.return_value': False})
            self._pruner = Pruner(runtime.own, partial(
                ownLanes, runtime.own, runtime.backlog))

    @contextmanager
    def here(self):
        """Make this process the current one."""
        db = self._cluster.db
        old = (switchboard._runtimes.pop(id(db), None),
               lanepool._pools.get(db, {}),
               writers._processes.get(db, writers._Process()))
        lanepool._pools[db] = self._pools
        writers._processes[db] = self._writer
        if self.runtime is not None:
            switchboard._runtimes[id(db)] = self.runtime
        types = {name: queryWorkerType(name) for name in self.unknown}
        manager = getGlobalSiteManager()
        for name, worker_type in types.items():
            manager.unregisterUtility(worker_type, IWorkerType, name)
        try:
            yield
        finally:
            for name, worker_type in types.items():
                manager.registerUtility(worker_type, IWorkerType, name)
            switchboard._runtimes.pop(id(db), None)
            if old[0] is not None:
                switchboard._runtimes[id(db)] = old[0]
            lanepool._pools[db] = old[1]
            writers._processes[db] = old[2]

    def turn(self):
        """Do a turn of the control thread, or go on with a paused one."""
        cluster = self._cluster
        cluster.had_loss |= any(
            other is not self
            and cluster.time.seconds - other.beaten_at > cluster.lease
            for other in cluster.processes)
        if not self.isTurning():
            self._turning = Actor(self._have_turn)
            self.actors.append(self._turning)
        self.resume(self._turning)

    def _have_turn(self):
        # Like the control thread, which has another turn after a conflict.
        with suppress(ConflictError):
            self.runtime._maintenance.turn(True)

    def isTurning(self):
        """Return whether a turn is paused at a commit."""
        return self._turning is not None and not self._turning.is_over

    def writeBookmarks(self):
        """Write bookmarks and waiting trees, as a shutdown does."""
        with self.here(), self._cluster.flaky(), suppress(ConflictError):
            with ZodbConnection(self._cluster.db) as connection:
                self.runtime._maintenance.writeBookmarks(connection)

    def beat(self):
        """Send a heartbeat and report the live runs."""
        with self.here(), self._cluster.flaky():
            maintenance = self.runtime._maintenance
            maintenance.beat()
            if not self.isTurning():
                with ZodbConnection(self._cluster.db) as connection:
                    maintenance.writeLive(connection)
                    maintenance.writeBookmarks(connection)
        self.beaten_at = self._cluster.time.seconds

    def prune(self):
        """Prune one batch."""
        with self.here():
            connection = self._cluster.db.open()
            try:
                self._pruner.prune(connection)
            finally:
                transaction.abort()
                connection.close()

    def hasFreeThread(self):
        """Return whether another job may begin."""
        # Runs that wait for a shared commit need no thread.
        return sum(live.thread_id is not None or live.worker is None
                   for live in self.runtime.allLive()) < self.runtime.threads

    def take(self):
        """Let a thread take a run; return whether there was one."""
        runtime = self.runtime
        if runtime.is_draining or not self.hasFreeThread():
            return False
        found = []
        actor = Actor(lambda: self._look_and_carry_out(found.append))
        self.actors.append(actor)
        self.resume(actor)
        return found != [None]

    def _look_and_carry_out(self, report):
        # Like a thread of the executor.
        executor = self.runtime.executor
        door = Door(self.runtime.db)
        ticket = self.runtime.poller.next(door)
        report(ticket)
        if ticket is None:
            return
        try:
            if not self._share(ticket, door):
                executor.carryOut(ticket, door)
        except (ConflictError, Away) as error:
            executor._try_again(ticket, error, CONFLICT_DELAY)

    def _share(self, ticket, door):
        executor = self.runtime.executor
        executor._has_spare = lambda: True   # the other actors take over
        with Visit(executor._gate) as visit:
            if not executor._sharing.isHolding(ticket):
                return executor._share(ticket, door, visit)
            door.close()
            self.runtime.backlog.later(ticket, 0.0)
            executor._settle(door, visit)
            return True

    def call(self, function):
        """Let an actor begin to call *function* in this process."""
        actor = Actor(function, is_steady=True)
        self.actors.append(actor)
        self.resume(actor)

    def resume(self, actor):
        """Let one of the actors go on."""
        with self.here(), self._cluster.flaky():
            try:
                actor.resume()
            finally:
                if actor.is_over:
                    self.actors.remove(actor)

    def work(self):
        """Carry out all waiting runs and let all actors end."""
        while self.actors or self.take():
            for actor in list(self.actors):
                self.resume(actor)

    def drain(self):
        """Begin to drain, as at a shutdown."""
        self.runtime.running.startDraining()
        self.runtime.executor.stop()
        self.runtime.running.stopAll()

    def leave(self):
        """End in good order, even if runs still work."""
        self.runtime._maintenance.steps.end()
        with self.here(), self._cluster.flaky():
            self.runtime.running.abandonAll()
            had_loss, self._cluster.had_loss = self._cluster.had_loss, True
            self.runtime._control.leave()
            self._cluster.had_loss = had_loss   # nothing was lost
        while self.actors:
            self.resume(self.actors[0])

    def die(self):
        """End as after ``kill -9``."""
        self._cluster.had_loss = True
        if self.runtime is not None:
            for live in self.runtime.allLive():
                live.is_abandoned = True
        with self.here():
            while self.actors:
                self.actors.pop().kill()


class Cluster:
    """Processes over the database *db*, and the clocks of their machine."""

    lease = 30.0

    def __init__(self, test, db):
        self.db = db
        self.processes = []
        self.fail_in = None     # number of calls until the storage fails
        self.stand_in = None    # number of commits until an actor pauses
        self._is_flaky = False
        self.had_loss = False   # a process died or counted as dead
        self.time = PassingTime()
        self.clock = SetClock(NOW)
        self._numbers = itertools.count(1)
        clock.setClock(self.clock)
        test.addCleanup(clock.setClock)
        for name in _TIMED:
            test.patch('cipher.background.%s.time' % name, self.time)
        test.patch(
            'cipher.background.store.process.newProcessId', self._new_id)
        test.patch(
            'cipher.background.work.loop.backOff', lambda *args, **kw: 0)
        test.patch('cipher.background.store.lanepool._pools',
                   weakref.WeakKeyDictionary())
        self.web = Process(self)   # without a runtime
        flaky = Flaky(self.fails, with_ends=True)
        flaky.__enter__()
        test.addCleanup(flaky.__exit__)
        test.addCleanup(self._end)

    def _new_id(self, host, pid):
        return 'host:%d:%d' % (pid, next(self._numbers))

    def add(self, threads=2):
        """Add a process; return it."""
        process = Process(self, Runtime(self.db, RuntimeSettings(
            threads=threads, lease=self.lease)))
        self.processes.append(process)
        return process

    def remove(self, process):
        """Remove a process that has ended."""
        self.processes.remove(process)

    def fails(self, name, number):
        """Return whether the call of the storage has to fail; for `Flaky`."""
        actor = Actor.current()
        if not self._is_flaky or actor is not None and actor.is_steady:
            return False
        if name == 'tpc_begin' and actor is not None and self.stand_in:
            self.stand_in -= 1
            if not self.stand_in:
                actor.pause()
        if self.fail_in is None:
            return False
        self.fail_in -= 1
        if self.fail_in > 0:
            return False
        self.fail_in = None
        return True

    @contextmanager
    def flaky(self):
        """Let calls of the storage fail in the block."""
        was_flaky, self._is_flaky = self._is_flaky, True
        try:
            yield
        except Away:
            transaction.abort()   # like a thread that survives the failure
        finally:
            self._is_flaky = was_flaky

    def advance(self, seconds):
        """Advance all clocks by *seconds*."""
        self.time.seconds += seconds
        self.clock.advance(seconds)

    def _end(self):
        for process in [self.web, *self.processes]:
            process.die()
