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
"""Registry and runtimes against a plain model, with steps drawn by chance.

Several processes of one database live in one thread (`model_support`).  What
they do, in which order, and what dies when, is hypothesis's to choose; after
each step all that the registry tells has to agree with the model.

The suite draws a few, always the same for the same loaded modules: this module
alone draws others than the whole layer.  For many, each time others::

    CIPHER_BACKGROUND_EXAMPLES=5000 bin/test -m test_model

What fails is shown as it was drawn: to make it smaller takes hours.
"""
import logging
import os
import sys
import threading
import unittest
from collections import Counter as Numbers
from copy import copy
from unittest import mock

import transaction
from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import initialize
from hypothesis.stateful import invariant
from hypothesis.stateful import precondition
from hypothesis.stateful import rule
from hypothesis.stateful import run_state_machine_as_test
from persistent.list import PersistentList
from ZODB.DB import DB
from ZODB.DemoStorage import DemoStorage
from ZODB.POSException import ConflictError
from zope.component import getGlobalSiteManager
from zope.component import provideUtility
from zope.component.hooks import getSite
from zope.interface import Interface
from zope.schema import Int

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.declarations.schedule import Schedule
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import NEWEST
from cipher.background.interfaces import OLDEST
from cipher.background.interfaces import ORDERS
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STATES
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import UNIQUE
from cipher.background.interfaces import Cancel
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import RunNotBeginnable
from cipher.background.interfaces import RunNotRemovable
from cipher.background.interfaces import RunNotStoppable
from cipher.background.interfaces import Snooze
from cipher.background.queries.snapshot import Snapshot
from cipher.background.registry.uniqueness import BUCKETS
from cipher.background.registry.uniqueness import STALE_FOR
from cipher.background.store.process import getDirectory
from cipher.background.store.runstore import KEY_BUCKETS
from cipher.background.store.uniquekeys import uniqueKey
from cipher.background.tests.support.flakystorage import Away
from cipher.background.tests.support.layers import Long
from cipher.background.tests.support.live import Counter
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.steppedprocesses import Actor
from cipher.background.tests.support.steppedprocesses import Cluster
from cipher.background.tests.support.steppedprocesses import Killed
from cipher.background.thread import BackgroundWorkerThread


EXAMPLES = int(os.environ.get('CIPHER_BACKGROUND_EXAMPLES', 0))

MOST_RUNS = 200

#: Seconds between two ticks of the schedule.
EVERY = 50.0

#: What nobody starts by hand.
AUTOMATIC = 'ticked', 'service'

#: What is bounded, so small that a few runs are too many.
SMALL = {
    'runtime.queue.backlog.CAPACITY': 8, 'runtime.queue.backlog.DELAYED': 2,
    'runtime.queue.backlog.PARKED': 2, 'runtime.queue.backlog.STRAGGLERS': 2,
    'runtime.queue.backlog.GAP': 1, 'runtime.queue.backlog.UNWRITTEN': 4,
    'runtime.maintenance.bookmarks.BATCH': 2,
    'runtime.maintenance.unblocking.BATCH': 3, 'runtime.queue.poller.BATCH': 3,
    'runtime.maintenance.rescuer.BATCH': 2}


class Planned(Exception):
    """A failure of the work that was to be."""


class INumber(Interface):
    """Which plan."""

    n = Int(default=0)


class Plan:
    """What a work is to do, and what it did."""

    def __init__(self, outcomes=('done',), parts=0, pauses=(),
                 is_obedient=True, is_shared=False, starts=None):
        self.outcomes = outcomes
        self.parts = parts           # checkpoints, or iterations of a loop
        self.pauses = pauses
        self.is_obedient = is_obedient
        self.is_shared = is_shared   # it changes what others change
        self.starts = starts         # type name of what it starts in turn
        self.begun = 0

    def pause(self, where):
        """Stand still there, if that is planned."""
        if where in self.pauses:
            Actor.pause()

    def next(self):
        """Begin; return the outcome."""
        self.begun += 1
        # Nothing is put off for ever.
        return (self.outcomes[self.begun - 1]
                if self.begun <= len(self.outcomes)
                else self.outcomes[-1].replace('snooze', 'done'))


class Known:
    """A run as the model knows it."""

    def __init__(self, run_id, type, plan, key, place):
        self.id = run_id
        self.type = type
        self.plan = plan
        self.key = key         # of uniqueness
        self.place = place     # number of its counter
        self.first_part = 0    # where it goes on
        self.begun = 0
        self.final = None      # what was seen of it when it was finished
        self.is_gone = False   # removed or pruned


class Loop(BackgroundWorkerThread):
    """A loop without a thread of its own: that of the executor serves."""

    machine = None

    def __init__(self, *args, n=0, **kw):
        super().__init__(*args, **kw)
        self._n = n
        self._iterations = 0

    def start(self):
        self.run()

    def scheduleNextWork(self):
        plan = self.machine.plans[self._n]
        if self._iterations == 0:
            self._outcome = plan.next()
        self._iterations += 1
        return self._iterations <= plan.parts + 1

    def doWork(self):
        plan = self.machine.plans[self._n]
        known = self.machine.known[self.run_id]
        known.begun += 1
        plan.pause('begin')
        getSite()['counters'][known.place].parts += 1
        plan.pause('effect')
        if self._outcome == 'fail' and self._iterations > plan.parts:
            raise Cancel('planned')


class Service(Loop):
    """One that is kept running, and ends by itself now and then."""

    def scheduleNextWork(self):
        self._iterations += 1
        return self._iterations <= 3

    def doWork(self):
        known = self.machine._meet(self.run_id, 'service')
        known.begun += 1
        Actor.pause()
        getSite()['counters'][known.place].parts += 1


class _Fixture(SiteTests):

    def makeDatabase(self):
        # Not one that knows that no other process has it open.
        return DB(DemoStorage(), pool_size=50)

    def patch(self, target, value):
        patcher = mock.patch(target, value)
        patcher.start()
        self.addCleanup(patcher.stop)


class _Errors(logging.Handler):
    """Remembers the errors that nobody planned."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.found = []

    def emit(self, record):
        error = record.exc_info and record.exc_info[1]
        if record.levelno >= logging.ERROR and not isinstance(
                error, (Planned, Cancel, Snooze, Killed)) and (
                    'silent for too long' not in record.msg):
            self.found.append(self.format(record))


_plans = st.builds(
    Plan,
    outcomes=st.lists(st.sampled_from(
        ['done', 'done', 'fail', 'snooze', 'cancel']), min_size=1,
        max_size=3),
    parts=st.sampled_from([0, 0, 0, 1, 2]),
    pauses=st.sampled_from([(), ('begin',), ('effect',), ('part',),
                            ('begin', 'effect', 'part')]),
    is_obedient=st.booleans(), is_shared=st.booleans(),
    starts=st.sampled_from([None, None, None, 'plain', 'by-type']))

_types = st.sampled_from(
    ['plain', 'plain', 'again', 'outside', 'one', 'two', 'by-type',
     'by-context', 'by-input', 'loop'])
_index = st.integers(0, 30)


class Machine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self):
        super().__init__()
        self.fixture = fixture = _Fixture('setUp')
        fixture.setUp()
        try:
            self._set_up(fixture)
        except BaseException:
            fixture.doCleanups()
            raise

    def _set_up(self, fixture):
        logger = logging.getLogger('cipher.background')
        self.errors = _Errors()
        logger.addHandler(self.errors)
        fixture.addCleanup(logger.removeHandler, self.errors)
        propagate, logger.propagate = logger.propagate, False
        fixture.addCleanup(setattr, logger, 'propagate', propagate)
        self.cluster = Cluster(fixture, fixture.db)
        self.site, self.registry = fixture.site, fixture.registry
        self._declare()
        self.site['counters'] = counters = PersistentList()
        for _ in range(2 * MOST_RUNS):
            counters.append(Counter())
            counters[-1].parts = 0
        self.site['shared'] = Counter()
        self.documents = [None] + [
            fixture.addDocument('document %d' % n) for n in range(2)]
        transaction.commit()
        self.plans = []
        self.known = {}       # run id -> Known
        self.children = {}    # run id -> arguments of _born
        self.actions = []     # (verb, subject) of the journal
        self.undeclared = set()   # names that a process did not know once
        self.done_shared = 0
        self.ticked = 0       # runs of the schedule
        self.forward = 0.0    # seconds that the clock went forward
        self.now = self.cluster.clock.now
        for _ in range(2):
            self.cluster.add().turn()

    def _declare(self, is_sharing=False):
        Loop.machine = self

        def declare(name, **values):
            share = 'max_running' not in values and name != 'outside'
            declareWorker(name, self._work, schema=INumber,
                          share=share and is_sharing, **values)

        declare('plain', keep=4)
        declare('again', max_attempts=3, retry_delay=5.0, keep_days=0.01)
        declare('outside', on_interrupt='fail', max_attempts=2)
        declare('one', max_running=1, priority=1)
        declare('two', max_running=2)
        for unique in UNIQUE[1:]:
            declare('by-' + unique, unique=unique, max_attempts=2,
                    retry_delay=40.0)
        declareWorker('loop', factory=Loop, schema=INumber, is_loop=True)
        declare('ticked', keep=4)
        self.keep_service(False)

    def keep_service(self, is_kept):
        declareWorker('service', factory=Service, is_loop=True,
                      autostart=is_kept)

    def keep_schedule(self, is_kept):
        if is_kept:
            provideUtility(Schedule(
                'tick', 'ticked', every=EVERY,
                input=lambda: {'n': self._plan(Plan())}), ISchedule, 'tick')
        else:
            getGlobalSiteManager().unregisterUtility(
                provided=ISchedule, name='tick')

    # The work

    def _work(self, worker, n):
        plan = self.plans[n]
        known = self._meet(worker.run_id, 'ticked', n)
        known.begun += 1
        outcome = plan.next()
        counter = getSite()['counters'][known.place]
        plan.pause('begin')
        worker.setProgress(0, plan.parts, outcome)
        for part in range(worker.cursor or 0, plan.parts):
            counter.parts += 1
            worker.setProgress(part + 1)
            worker.checkpoint(part + 1)
            plan.pause('part')
        if plan.is_obedient:
            worker.checkStop()
        counter.value += 1
        if plan.is_shared:
            getSite()['shared'].value += 1
        if plan.starts is not None and len(self.known) < MOST_RUNS - 20 and (
                queryWorkerType(plan.starts) is not None):
            self._start_child(plan.starts)
        plan.pause('effect')
        if plan.is_obedient:
            worker.checkStop()
        if outcome == 'fail':
            raise Planned('planned')
        if outcome == 'cancel':
            raise Cancel('planned')
        if outcome == 'snooze':
            raise Snooze(20.0)
        return 'result'

    def _start_child(self, name):
        registry = getSite().getSiteManager().getUtility(IWorkerRegistry)
        run = registry.start(name, n=self._plan(Plan()))
        self.children[run.id] = (
            name, run.input['n'], self._key(name, None, run))

    def _meet(self, run_id, name=None, n=None):
        """Return a run, perhaps one that no act of the model has started.

        It is the child of a work, or of the type *name*.
        """
        if run_id not in self.known:
            child = self.children.get(run_id)
            # A child that was rolled back may have had the id before.
            if child is not None and child[1] == n:
                self._born(run_id, *child)
            else:
                if n is None:
                    n = self._plan(Plan(parts=2))
                self._born(run_id, name, n, None)
                self.ticked += name == 'ticked'
        return self.known[run_id]

    def _plan(self, plan):
        self.plans.append(plan)
        return len(self.plans) - 1

    # What the model is told

    def _born(self, run_id, name, n, key):
        """A run was stored by a commit."""
        assert run_id not in self.known, run_id
        known = self.known[run_id] = Known(
            run_id, name, self.plans[n], key, len(self.known))
        return known

    def _begin(self):
        transaction.begin()
        return {run.id: run for lane in self.registry.lanes.values()
                for run in lane.births.walk() if not run.is_removed}

    @property
    def kept(self):
        return {run_id: known for run_id, known in self.known.items()
                if not known.is_gone}

    def _nth(self, things, index):
        things = list(things)
        return things[index % len(things)]

    def _process(self, index):
        """Return a process; perhaps the one without a runtime."""
        return self._nth([self.cluster.web, *self.cluster.processes], index)

    # Starting

    @initialize(types=st.lists(_types, min_size=1, max_size=3), plan=_plans,
                index=_index, is_small=st.booleans(),
                is_sharing=st.booleans())
    def begin(self, types, plan, index, is_small=False, is_sharing=False):
        """Few types meet more often than many; something is in work."""
        self.types = types
        if is_sharing:
            self._declare(is_sharing)
            for name, value in (('REST', 0.0), ('SHORT', LIMIT),
                                ('COMMIT', 0.0)):
                self.fixture.patch(
                    'cipher.background.runtime.executors.sharing.' + name,
                    value)
        for name, value in SMALL.items() if is_small else ():
            self.fixture.patch('cipher.background.' + name, value)
        for number in range(2):
            for name in range(len(types)):
                self._start_many(2, index + number, plan, name)
        if index % 3:
            self._work_all(2)

    @precondition(lambda self: len(self.known) < MOST_RUNS // 2)
    @rule(index=_index, name=st.integers(0, 2), plan=_plans,
          place=st.integers(0, 2), is_worked=st.booleans(),
          unique=st.sampled_from([None] * 4 + list(UNIQUE)),
          delay=st.sampled_from([0] * 6 + [5, 25, 60, 400]),
          priority=st.sampled_from([None, None, 0, 5, -3]),
          what=st.sampled_from(['commit'] * 6 + [
              'abort', 'rollback', 'commit after rollback']),
          same=st.booleans())
    def start(self, name, is_worked, **values):
        self._start(name=self._nth(self.types, name), **values)
        if is_worked:
            self._work_all(2)

    def _start(self, index, name, plan, place, unique, delay, priority, what,
               same):
        n = self._plan(plan)
        if same and self.known:
            n = self._nth(range(len(self.plans)), index)
        if name in self._process(index).unknown:
            return None
        with self._process(index).here():
            runs = self._begin()
            before = set(runs)
            live = {run_id for run_id, run in runs.items()
                    if Snapshot(self.registry).live(run) is not None}
            savepoint = transaction.savepoint()
            values = dict(input={'n': n}, context=self.documents[place],
                          delay=delay, unique=unique, priority=priority)
            run = self.registry.submit(name, **values)
            if what in ('rollback', 'commit after rollback'):
                savepoint.rollback()
            if what == 'commit after rollback':
                run = self.registry.submit(name, **values)
            if what == 'abort':
                return transaction.abort()
            if what == 'rollback':
                return transaction.commit()
            key = self._key(name, unique, run)
            try:
                transaction.commit()
            except ConflictError:
                # The one that it was given had begun unseen.
                assert run.id in before
                return transaction.abort()
        rivals = [run_id for run_id, known in self.kept.items()
                  if key is not None and known.key == key
                  and runs[run_id].state == PENDING]
        if run.id in before:
            assert run.id in rivals, (run.id, rivals)
            assert run.id not in live
            # Who begins with it sees what was done by then.
            assert run.type == name
        else:
            assert not [rival for rival in rivals if rival not in live
                        and not self.known[rival].begun
                        and runs[rival].cursor is None], rivals
            self._born(run.id, name, run.input['n'] if run.input else 0, key)

    def _key(self, name, unique, run):
        if unique is None and name.startswith('by-'):
            unique = name[3:]
        return uniqueKey(unique, name, run.reference, run.input)

    @precondition(lambda self: len(self.known) < MOST_RUNS // 2)
    @rule(number=st.sampled_from([2, 3, 4, 25]), index=_index, plan=_plans,
          name=st.integers(0, 2), is_worked=st.booleans())
    def start_many(self, is_worked, **values):
        """In one transaction; perhaps more than the head of a lane holds."""
        self._start_many(**values)
        if is_worked:
            self._work_all(2)

    def _start_many(self, number, index, plan, name):
        name = self._nth(self.types, name)
        if name in self._process(index).unknown:
            return
        with self._process(index).here():
            self._begin()
            runs = [self.registry.submit(
                name, input={'n': self._plan(copy(plan))}, unique='no')
                for _ in range(number)]
            transaction.commit()
        for run in runs:
            self._born(run.id, name, run.input['n'], None)

    # Processes

    @rule(index=_index, number=st.integers(1, 3), is_told=st.booleans())
    @precondition(lambda self: self.cluster.processes)
    def work(self, index, number, is_told):
        """One process has a turn, and its threads take runs."""
        process = self._nth(self.cluster.processes, index)
        self._work_in(process, number)
        if is_told:
            process.beat()

    @rule(number=st.integers(1, 3), is_told=st.booleans())
    def work_all(self, number, is_told):
        """All do."""
        self._work_all(number)
        for process in self.cluster.processes:
            if is_told:
                process.beat()

    def _work_all(self, number):
        for process in self.cluster.processes:
            self._work_in(process, number)

    def _work_in(self, process, number):
        process.turn()
        for _ in range(number):
            process.take()

    @rule(index=_index)
    def resume(self, index):
        actors = [(process, actor) for process in [
            self.cluster.web, *self.cluster.processes]
            for actor in process.actors]
        if actors:
            process, actor = self._nth(actors, index)
            process.resume(actor)

    @rule(silent=st.integers(0, 4), rounds=st.integers(1, 6),
          seconds=st.sampled_from([2, 10]))
    def goes_on(self, silent, rounds, seconds):
        """Time passes, for all processes, perhaps but one."""
        processes = list(self.cluster.processes)
        if silent < len(processes):
            del processes[silent]
        for _ in range(rounds):
            self.cluster.advance(seconds)
            for process in processes:
                process.turn()
                process.beat()
                process.take()

    @rule(calls=st.integers(1, 60))
    def storage_fails(self, calls):
        """At any call of a process, soon, once."""
        self.cluster.fail_in = calls

    @rule(commits=st.integers(1, 8))
    def commit_stands(self, commits):
        """One that a turn or a worker makes, soon; all others go on."""
        self.cluster.stand_in = commits

    @rule(seconds=st.sampled_from([0.1, 3, 31, 100, 5000]),
          is_set=st.booleans())
    def advance(self, seconds, is_set):
        """Time passes, or the clock is set, forward or back."""
        if is_set:
            self.cluster.clock.advance(seconds * (-1) ** int(seconds))
        else:
            self.cluster.advance(seconds)

    @rule(is_kept=st.booleans(), kind=st.sampled_from(
        ['service', 'service', 'schedule']))
    def keep(self, is_kept, kind):
        """Declare what starts by itself, or do so no more."""
        getattr(self, 'keep_' + kind)(is_kept)

    @precondition(lambda self: len(self.cluster.processes) > 1)
    @rule(index=_index, name=st.integers(0, 2), plan=_plans,
          is_told=st.booleans())
    def home_does_not_know_what_the_dead_took(
            self, index, name, plan, is_told):
        """A process takes what its home does not know, and dies."""
        cluster = self.cluster
        home = self._nth(cluster.processes, index)
        taker = self._nth(cluster.processes, index + 1)
        name = self._nth(self.types, name)
        if len(self.known) < MOST_RUNS // 2:
            self._start_many(4, 1 + cluster.processes.index(home), plan,
                             self.types.index(name))
        cluster.fail_in = cluster.stand_in = None
        self.declare(home, name, False)
        for _ in range(3):
            home.turn()
            home.beat()
        taker.turn()
        if is_told:
            taker.beat()
        dead = taker.runtime.id
        self.kill(taker)
        for number in range(50):
            cluster.advance(cluster.lease / 4)
            home.beat()
            home.work()   # what it worked on itself, and looks at again
            for _ in range(MOST_RUNS // 8):
                home.turn()
            if number < 8:
                continue
            runs = self._begin()
            if home.runtime.is_draining or dead in getDirectory(
                    self.registry._p_jar).processes:
                return   # nobody is there to bury it
            left = [run for run in runs.values()
                    if not run.isFinished() and run.owner == dead
                    and self.registry.lanes[
                        run.lane].bookmark.home == home.runtime.id]
            if not left:
                return   # where bounds are small, each look finds a few
        raise AssertionError(left)

    @rule(index=_index, is_so=st.booleans(), what=st.sampled_from([
        'boot', 'boot', 'kill', 'drain', 'leave', 'shutdown', 'quiet',
        'quiet_other', 'prune', 'pause_type', 'declare', 'write_bookmarks']))
    def disturb(self, index, is_so, what):
        processes = self.cluster.processes
        if what == 'boot':
            if len(processes) < 3:
                self.boot((2, 1, 2, 0)[index % 4])
        elif what == 'pause_type':
            self.pause_type(self._nth(self.types, index), is_so)
        elif processes:
            arguments = (is_so,) if what.startswith('quiet') else ()
            if what == 'declare':
                arguments = self._nth(self.types, index), is_so
            getattr(self, what)(self._nth(processes, index), *arguments)

    def boot(self, threads):
        self.cluster.add(threads).turn()

    def kill(self, process):
        self.cluster.remove(process)
        process.die()

    def drain(self, process):
        process.drain()

    def leave(self, process):
        if process.runtime.is_draining:
            process.leave()
            self.cluster.remove(process)

    def shutdown(self, process):
        process.drain()
        self.leave(process)

    def write_bookmarks(self, process):
        process.writeBookmarks()

    def declare(self, process, name, is_known):
        if is_known:
            process.unknown.discard(name)
        else:
            process.unknown.add(name)
            self.undeclared.add(name)

    def quiet(self, process, is_quiet):
        with process.here():
            process.runtime.quiet(is_quiet)

    def prune(self, process):
        before = self._begin()
        process.prune()
        after = self._begin()
        kept = Numbers(run.type for run in after.values()
                       if run.isFinished())
        for run_id in set(before) - set(after):
            known = self.known[run_id]
            assert before[run_id].isFinished()
            assert (known.type == 'plain' and kept['plain'] >= 4
                    or known.type == 'again'
                    or self.cluster.clock.now - known.final[1]
                    > 14 * 86400), run_id
            known.is_gone = True

    # Administrators

    @precondition(lambda self: self.kept)
    @rule(index=_index, who=_index, is_slow=st.booleans(),
          verb=st.sampled_from(['stop', 'stop', 'stop', 'begin_now', 'retry',
                                'remove']))
    def administer(self, index, who, is_slow, verb):
        run_id = self._nth(self.kept, index)

        def act():
            transaction.begin()
            tell = getattr(self, '_' + verb)(
                self._open_registry(), run_id)
            if is_slow:
                Actor.pause()
            try:
                transaction.commit()
            except ConflictError:
                return
            if tell is not None:
                tell()

        self._process(who).call(act)

    def _open_registry(self):
        connection = self.cluster.db.open()
        # Closed by whoever is told of the end of the transaction.
        txn = transaction.get()
        txn.addAfterCommitHook(lambda success: connection.close())
        txn.addAfterAbortHook(connection.close)
        return connection.get(self.registry._p_oid)

    def _stop(self, registry, run_id):
        run = registry.get(run_id)
        if run is None:
            return None
        try:
            was_asked = run_id in registry.stops
            state = registry.requestStop(run_id)
        except RunNotStoppable:
            assert run.isFinished()
            return None
        assert state in (STOPPED, RUNNING)
        assert run.state != STOPPED or state == STOPPED
        if state == STOPPED or not was_asked:
            return lambda: self.actions.append(('stop', run_id))
        return None

    def _begin_now(self, registry, run_id):
        if registry.get(run_id) is None:
            return None
        try:
            registry.beginNow(run_id)
        except RunNotBeginnable:
            return None
        return lambda: self.actions.append(('begin', run_id))

    def _retry(self, registry, run_id):
        run = registry.get(run_id)
        if run is None or not run.isFinished() or (
                queryWorkerType(run.type) is None) or run.type == 'service':
            return None
        before = run.retried_as
        new = registry.retry(run_id)
        if before is not None:
            assert new.id == before
            return None
        new_id, key, cursor = new.id, self._key(run.type, None, new), (
            new.cursor)
        # By the time of `tell` the connection is closed.
        name, n = run.type, run.input['n']
        is_own = new.retry is not None and new.retry.run_id == run_id
        if is_own and run.state != SUCCEEDED:
            assert cursor == run.cursor

        def tell():
            self.actions.append(('retry', run_id))
            if new_id not in self.known:
                assert is_own
                self._born(new_id, name, n, key).first_part = cursor or 0
        return tell

    def _remove(self, registry, run_id):
        run = registry.get(run_id)
        if run is None:
            return None
        try:
            registry.remove(run_id)
        except RunNotRemovable:
            assert not run.isFinished()
            return None

        def tell():
            self.known[run_id].is_gone = True
            self.actions.append(('remove', run_id))
        return tell

    def pause_type(self, name, is_paused):
        transaction.begin()
        was_paused = name in self.registry.pauses
        self.registry.pauseType(name, is_paused)
        transaction.commit()
        if was_paused != is_paused:
            self.actions.append(
                ('pause type' if is_paused else 'resume type', name))

    def quiet_other(self, process, is_quiet):
        transaction.begin()
        directory = getDirectory(self.registry._p_jar)
        record = directory and directory.processes.get(process.runtime.id)
        if record is None:
            return
        if record.request.is_quiet != is_quiet:
            self.actions.append(
                ('quiet process' if is_quiet else 'unquiet process',
                 record.id))
        self.registry.quietProcess(record.id, is_quiet)
        transaction.commit()

    # What has to hold

    @invariant()
    def nobody_failed(self):
        assert not self.errors.found, self.errors.found[0]

    def _meet_all(self):
        """Return {id: run} of all there are; the model knows each."""
        runs = self._begin()
        for run_id, run in runs.items():
            if run_id in self.children or run.type in AUTOMATIC:
                self._meet(run_id, run.type, run.input and run.input['n'])
        return runs

    @invariant()
    def runs_are_as_known(self):
        runs = self._meet_all()
        assert set(runs) == set(self.kept), (
            set(runs) ^ set(self.kept))
        for run_id, run in runs.items():
            self._check(run, self.known[run_id])
        assert self.site['shared'].value == self.done_shared
        for most, name in enumerate(('one', 'two'), 1):
            assert sum(run.type == name and run.state == RUNNING
                       for run in runs.values()) <= most

    @invariant()
    def each_tick_starts_one_run(self):
        self._meet_all()
        now = self.cluster.clock.now
        self.forward += max(0.0, now - self.now)
        self.now = now
        assert self.ticked <= 1 + self.forward / EVERY, (
            self.ticked, self.forward)

    @invariant()
    def one_service_is_kept_running(self):
        runs = self._meet_all().values()
        assert sum(run.type == 'service' and not run.isFinished()
                   for run in runs) <= 1
        for state in self.registry.services.values():
            if state.run is not None:
                # It is known, or it was removed.
                run_id = '%d-%d' % state.run
                assert self.known[run_id].type == 'service'

    @invariant()
    def what_is_not_finished_is_found(self):
        runs = self._begin()
        for run in runs.values():
            if run.isFinished():
                continue
            # I1, in the database.
            lane = self.registry.lanes[run.lane]
            assert (run.serial >= lane.bookmark.low
                    or run.serial in lane.bookmark.stragglers
                    or run.serial in lane.waiting.places), run
            # In memory there is a ticket before its lane is clean.
            for process in self.cluster.processes:
                place = self.registry._p_oid, run.lane
                view = process.runtime.backlog._lanes.get(place)
                if view is not None and (
                        lane.bookmark.home == process.runtime.id):
                    assert (run.serial >= view.seen
                            or run.serial in view.tickets
                            or run.serial in view.away
                            or run.serial in view.parked
                            or run.serial in view.stragglers
                            or run.serial in lane.waiting.places), run

    @invariant()
    def what_a_living_process_claimed_is_known_to_it(self):
        """Nobody else would ever begin, end or rescue it."""
        runs = self._begin()
        recorded = getDirectory(self.registry._p_jar).processes
        for process in self.cluster.processes:
            runtime, oid = process.runtime, self.registry._p_oid
            if runtime.id not in recorded or process.isTurning():
                continue
            for run in runs.values():
                if run.isFinished() or run.owner != runtime.id:
                    continue
                live = runtime.findLive(oid, run.id)
                assert (
                    live is not None and not live.is_abandoned
                    or (runtime.claims.has(oid, run) if run.state == RUNNING
                        else (oid, run.id) in runtime.backlog._taken
                        or runtime.backlog.isHome((oid, run.lane)))
                    or any(ticket.run_id == run.id for ticket in (
                        *runtime.runs.unrecorded,
                        *runtime.claims.listDoubtful()))), run

    @invariant()
    def each_ticket_is_to_be_begun(self):
        for process in self.cluster.processes:
            runtime = process.runtime
            backlog = runtime.backlog
            if runtime.is_draining:
                continue
            waiting = {id(ticket) for _, _, ticket in backlog._delayed}
            for turns in (backlog._ready, backlog._passed,
                          *backlog._limited.values()):
                waiting.update(map(id, turns))
            for live in runtime.allLive():
                if live.passing is not None:   # its commit is under way
                    waiting.add(id(live.passing._next))
            for lane in backlog._lanes.values():
                for ticket in lane.tickets.values():
                    assert (
                        id(ticket) in waiting
                        or ticket in runtime.runs.unrecorded
                        or runtime.findLive(
                            ticket.registry_oid, ticket.run_id)), ticket

    @invariant()
    def one_process_writes_a_lane_and_one_its_bookmark(self):
        self._begin()
        for lane in self.registry.lanes.values():
            place = self.registry._p_oid, lane.number
            homes = [process for process in self.cluster.processes
                     if process.runtime.backlog.isHome(place)
                     and process.runtime.id == lane.bookmark.home]
            assert len(homes) <= 1
            for serial, (key, order) in lane.waiting.places.items():
                assert lane.waiting.trees[key][order] == serial
            assert sum(map(len, lane.waiting.trees.values())) == len(
                lane.waiting.places)

    def _check(self, run, known):
        counter = self.site['counters'][known.place]
        if run.type not in ('loop', 'service'):
            assert counter.value == (run.state == SUCCEEDED), run.id
            parts = (run.cursor or 0) - known.first_part
            assert counter.parts == parts, (run.id, counter.parts, parts)
            if run.state == SUCCEEDED:
                assert (run.cursor or 0) == known.plan.parts
        elif run.state == SUCCEEDED:
            assert counter.parts > known.plan.parts
        if run.state == SUCCEEDED:
            assert known.begun
        assert not run.interruptions or self.cluster.had_loss, run.id
        final = (run.state, run.finished_at, run.attempts, run.started_at,
                 run.result, run.error, run.epoch, run.owner, run.progress)
        if known.final is not None:
            assert final == known.final, (known.final, final)
        elif run.isFinished():
            known.final = final
            self._check_end(run, known)

    def _check_end(self, run, known):
        self.done_shared += (known.plan.is_shared and run.type != 'loop'
                             and run.state == SUCCEEDED)
        if run.state == FAILED:
            assert run.error[0] in ('Planned', 'Cancel', 'ProcessDied') or (
                run.error[0] == 'UnknownWorkerType'
                and run.type in self.undeclared), run.error
        if run.state == STOPPED:
            assert ('stop', run.id) in self.actions or any(
                process.actors for process in [
                    self.cluster.web, *self.cluster.processes])
        if run.state == INTERRUPTED:
            assert (run.type == 'outside'
                    or ('stop', run.id) in self.actions), run.id

    @invariant()
    def counts_and_types_agree(self):
        for process in [self.cluster.web, *self.cluster.processes]:
            with process.here():
                self._check_counts()

    def _check_counts(self):
        runs = self._begin()
        snapshot = Snapshot(self.registry)
        expected = {}
        for run in runs.values():
            state = self._counted(snapshot, run)
            counts = expected.setdefault(run.type, {})
            counts[state] = counts.get(state, 0) + 1
        assert self.registry.getCounts() == expected, (
            self.registry.getCounts(), expected)
        types = {status.name: status for status in self.registry.listTypes()}
        assert {name: status.counts for name, status in types.items()
                if status.counts} == expected
        assert {name for name, status in types.items()
                if status.is_paused} == set(self.registry.pauses)

    def _counted(self, snapshot, run):
        """Return the state that a run is counted by."""
        state = snapshot.state(run)
        if state == RUNNING and snapshot.live(run) is None:
            return PENDING   # claimed, but its process has not told so yet
        return state

    @rule(viewer=_index, order=st.sampled_from(ORDERS),
          states=st.sets(st.sampled_from(STATES), max_size=3),
          types=st.sets(_types, max_size=2), limit=st.integers(1, 9),
          context=st.integers(0, 2), text=st.sampled_from(
              [None, None, 'PLANNED', 'by-', 'nobody']))
    def look(self, viewer, order, states, types, limit, context, text):
        with self._process(viewer).here():
            runs = self._begin()
            filters = dict(
                states=states, types=types, order=order, text=text,
                limit=limit,
                contexts=[self.documents[context]] if context else ())
            found, before = [], None
            while True:
                page = self.registry.listRuns(before=before, **filters)
                assert len(page.items) <= limit and not page.is_cut
                found += [status.id for status in page.items]
                before = page.older
                if before is None:
                    break
            expected = self._expected(runs, order, states, types,
                                      context and self.documents[context],
                                      text)
            assert found == expected, (found, expected)
        self.journal(limit)

    def _expected(self, runs, order, states, types, context, text):
        snapshot = Snapshot(self.registry)
        by_finish = order in ('slowest', 'waited') or bool(
            states and states <= set(FINISHED_STATES))
        if by_finish:
            keys = {'%d-%d' % (entry.lane, entry.serial): (
                entry.key, entry.lane, entry.serial,
                entry.waited if order == 'waited' else entry.took)
                for lane in self.registry.lanes.values()
                for entry in lane.finishes.walk()}
        ordered = []
        for run in runs.values():
            if by_finish:
                if run.id not in keys:
                    continue
                *key, span = keys[run.id]
                if order in ('slowest', 'waited'):
                    if span is None:
                        continue
                    key = [span, *key]
            else:
                key = int(run.created_at * 1000000), run.lane, run.serial
            if states and (snapshot.state(run) not in states or (
                    snapshot.state(run) == RUNNING and states == {RUNNING}
                    and snapshot.live(run) is None)):
                continue
            if types and run.type not in types:
                continue
            if context is not None and context and (
                    run.reference is None
                    or run.reference[0].oid != context._p_oid):
                continue
            if text and not any(
                    text.casefold() in str(part).casefold() for part in (
                        run.type, *(run.error or ()),
                        self._message(snapshot, run))):
                continue
            ordered.append((tuple(key), run.id))
        ordered.sort(reverse=order != OLDEST)
        return [run_id for _, run_id in ordered]

    def _message(self, snapshot, run):
        live = snapshot.live(run)
        progress = live and live.progress or run.progress
        return progress and progress[2]

    def journal(self, limit):
        transaction.begin()
        found, before = [], None
        while True:
            actions, before = self.registry.listActions(limit, before)
            assert len(actions) <= limit
            found += [(action.verb, action.subject) for action in actions
                      for _ in range(action.times)]
            if before is None:
                break
        assert sorted(found) == sorted(self.actions), (found, self.actions)

    # The end

    def teardown(self):
        try:
            if sys.exc_info()[0] is None:   # all went well so far
                self._finish_all()
        finally:
            self.fixture.doCleanups()

    def _finish_all(self):
        cluster = self.cluster
        self.keep_service(False)
        self.keep_schedule(False)
        self._end_actors()
        for name in list(self.registry.pauses):
            self.pause_type(name, False)
        cluster.fail_in = cluster.stand_in = None
        for process in list(cluster.processes):
            process.unknown.clear()
            with process.here():
                process.runtime.quiet(False)
            if process.runtime.is_draining:
                process.leave()
                cluster.remove(process)
        if not any(process.runtime.threads for process in cluster.processes):
            cluster.add()
        # However often it was set back.
        cluster.clock.advance(200000)
        for _ in range(60):
            cluster.advance(10)
            for process in cluster.processes:
                process.turn()
                process.beat()
                process.work()
            runs = self._begin()
            if all(run.isFinished() for run in runs.values()):
                break
        self.runs_are_as_known()
        waiting = {run.id: (run.type, run.state, run.due_at)
                   for run in runs.values() if not run.isFinished()}
        assert not waiting, waiting
        self._leave_nothing()
        self.nobody_failed()
        self.counts_and_types_agree()
        self.journal(7)
        self.look(0, NEWEST, set(), set(), 7, 0, None)
        self.look(0, OLDEST, set(FINISHED_STATES), set(), 7, 0, None)

    def _end_actors(self):
        for process in [self.cluster.web, *self.cluster.processes]:
            while process.actors:
                process.resume(process.actors[0])

    def _leave_nothing(self):
        cluster = self.cluster
        for number in range(100):
            cluster.advance(10)
            for process in cluster.processes:
                process.turn()
                process.beat()
                process.work()
            self._begin()
            # A turn removes a few, where the bounds are small.
            if number >= 10 and not any(
                    lane.waiting.places
                    for lane in self.registry.lanes.values()):
                break
        for process in cluster.processes:
            backlog = process.runtime.backlog
            assert not process.runtime.allLive()
            assert backlog.isIdle(), backlog.counts()
            assert not any(map(backlog.away, backlog.lanes()))
            assert not (backlog._taken or process.runtime.claims.list())
            for _ in range(KEY_BUCKETS // BUCKETS):
                process.prune()   # it sees which claims are stale
            cluster.advance(STALE_FOR)
            for _ in range(KEY_BUCKETS // BUCKETS):
                process.prune()
        for run_id in set(self.kept) - set(self._begin()):
            self.known[run_id].is_gone = True
        registry = self.registry
        directory = getDirectory(registry._p_jar)
        assert set(directory.processes) == {
            process.runtime.id for process in cluster.processes}
        assert not any(record.live.runs
                       for record in directory.processes.values())
        assert not directory.unknown
        assert not registry.stops, list(registry.stops.items())
        assert not registry.unique_keys, list(registry.unique_keys.items())
        for lane in registry.lanes.values():
            assert lane.bookmark.home in directory.processes
            assert not lane.waiting.places and not lane.waiting.trees
            assert not lane.bookmark.stragglers
            assert lane.bookmark.low == lane.births.next_serial, (
                lane.number, lane.bookmark.low, lane.births.next_serial)
        for process in [cluster.web, *cluster.processes]:
            for pool in process._pools.values():
                assert not [number for number, txn in pool._checkouts.items()
                            if txn() is not None]


class ModelTests(unittest.TestCase):

    layer = Long

    def test_process_that_comes_back_holds_nothing_of_before(self):
        machine = Machine()
        machine.begin(['outside'], Plan(pauses=['begin']), 10)
        first, second = machine.cluster.processes
        self.assertEqual(len(second.actors), 2)
        for _ in range(4):
            machine.cluster.advance(10)
            first.turn()
            first.beat()
        machine.cluster.advance(2)
        first.turn()
        transaction.begin()
        self.assertNotIn(second.runtime.id, getDirectory(
            machine.registry._p_jar).processes)
        # One of its runs is not rescued yet as it comes back.
        second.turn()
        second.beat()
        machine.teardown()

    def test_run_that_begins_while_its_process_comes_back(self):
        """However far its thread is by then, the run ends, and once."""
        for before in range(4):
            for meanwhile in range(4):
                with self.subTest(before=before, meanwhile=meanwhile):
                    self.check_return(before, meanwhile)

    def check_return(self, before, meanwhile):
        """A process that was silent returns while its thread begins a run.

        *before* and *meanwhile* are the steps that the thread does before the
        process notices, and before its new record is committed.
        """
        machine = Machine()
        machine.begin(['outside'], Plan(), 9)
        first, second = machine.cluster.processes
        runtime = second.runtime

        def paused(function, is_after=False):
            def pause_and_call(*args):
                if not is_after:
                    Actor.pause()
                found = function(*args)
                if is_after:
                    Actor.pause()
                return found
            return pause_and_call

        executor, own = runtime.executor, runtime.own
        enter, claim = executor.enter, executor._claim_once
        executor.enter = paused(enter, is_after=True)
        executor._claim_once = paused(paused(claim), is_after=True)
        machine._start_many(2, 2, Plan(), 0)
        second.turn()
        worker = None

        def go_on(steps):
            nonlocal worker
            for _ in range(steps):
                if worker is not None:
                    if not worker.is_over:
                        second.resume(worker)
                elif second.take():   # else what it knew is given up
                    worker = second.actors[-1]

        go_on(before)
        for _ in range(6):
            machine.cluster.advance(10)
            first.turn()
            first.beat()
        transaction.begin()
        self.assertNotIn(runtime.id, getDirectory(
            machine.registry._p_jar).processes)
        take_new_id = own.takeNewId
        own.takeNewId = paused(take_new_id, is_after=True)
        second.turn()
        self.assertTrue(second.isTurning())
        go_on(meanwhile)
        executor.enter, executor._claim_once = enter, claim
        own.takeNewId = take_new_id
        second.turn()
        machine.what_a_living_process_claimed_is_known_to_it()
        machine.teardown()

    def test_take_whose_reply_is_lost(self):
        self.check_take('take', is_committed=True)

    def test_end_while_the_storage_fails_once(self):
        """What is let go in good order counts as no interruption."""
        for calls in range(1, 16):
            with self.subTest(calls=calls):
                machine = Machine()
                machine.begin(['one'], Plan(pauses=('begin',)), 10)
                for process in machine.cluster.processes:
                    process.beat()   # others know what is live
                process, = (
                    process for process in machine.cluster.processes
                    if process.runtime.allLive())
                machine.cluster.fail_in = calls
                machine.shutdown(process)
                machine.teardown()

    def test_ticket_of_a_look_that_saw_more(self):
        """A thread gets a run that another look found behind its own."""
        machine = Machine()
        process = machine.cluster.processes[0]
        runtime = process.runtime
        end_look = runtime.backlog.endLook
        born = []

        def look_meanwhile():
            n = machine._plan(Plan())
            with ZodbConnection(runtime.db) as connection:
                with ZopeTransaction():
                    run = connection.get(machine.registry._p_oid).submit(
                        'plain', input={'n': n})
                    born.append(machine._born(run.id, 'plain', n, None))
            with ZodbConnection(runtime.db) as connection:
                runtime.poller.lookAtAll(connection)

        def end_look_and_wait(*args, is_worker):
            end_look(*args, is_worker=is_worker)
            if is_worker and not born:
                thread = threading.Thread(target=look_meanwhile)
                thread.start()
                thread.join(LIMIT)

        runtime.backlog.endLook = end_look_and_wait
        runtime.backlog.mark(runtime.backlog.lanes())
        self.assertTrue(process.take())
        self.assertTrue(born)
        machine.teardown()

    def test_take_that_fails(self):
        self.check_take('take', is_committed=False)

    def test_what_is_given_back_and_the_reply_is_lost(self):
        self.check_take('give back', is_committed=True)

    def test_what_cannot_be_given_back(self):
        self.check_take('give back', is_committed=False)

    def check_take(self, note, is_committed):
        """Take, and give back; the first commit of that *note* fails.

        *is_committed*: but nobody knows that it got through.
        """
        machine = Machine()
        machine.types = ['plain', 'one']
        cluster = machine.cluster
        _, second = cluster.processes
        commit = transaction.Transaction.commit
        failed = []

        def fail(txn):
            is_it = (not failed and txn.description.endswith(': ' + note)
                     and any(txn._resources))
            if is_committed or not is_it:
                commit(txn)
            if is_it:
                failed.append(txn)
                raise Away('no reply')

        machine.fixture.patch(
            'transaction._transaction.Transaction.commit', fail)
        for name in range(2):
            machine._start_many(25, 1, Plan(), name)   # in the first
        cluster.processes[0].turn()
        second.turn()
        cluster.advance(6)
        second.turn()
        self.assertTrue(failed)
        machine.teardown()

    def test_registry_and_runtimes_are_as_the_model(self):
        run_state_machine_as_test(Machine, settings=settings(
            max_examples=EXAMPLES or 45, stateful_step_count=40,
            deadline=None, derandomize=not EXAMPLES, database=None,
            report_multiple_bugs=False, phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck)))
