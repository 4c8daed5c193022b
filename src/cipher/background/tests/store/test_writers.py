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
"""Which process writes which lane: without coordination, without heartbeat."""
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
from unittest import mock

import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from cipher.background.registry.installation import getRegistry
from cipher.background.store import lanepool as pool
from cipher.background.store import process
from cipher.background.store import writers
from cipher.background.store.lane import Lane
from cipher.background.store.lanepool import getPool
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.store.writers import Identity
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.layers import Long
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import inFork
from cipher.background.tests.support.servers import ZEOServer
from cipher.background.tests.support.servers import openDatabase
from cipher.background.tests.support.servers import programEnvironment
from cipher.background.tests.support.servers import requireServer
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import ComponentTests
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import makeSite
from cipher.background.util import clock


NOW = 1800000000.0


class RuleTests(SiteTests):
    """When a lane is free again."""

    def setUp(self):
        super().setUp()
        self.clock = self.setClock(NOW)
        self.lane = Lane(7)
        self.alive = {}

    def isFree(self):
        return writers.isFree(self.lane, self.alive)

    def write(self, began_at=NOW, **values):
        """A process that began then writes the lane now."""
        self.lane.writer.become(Identity('p', began_at=began_at, **values))
        self.lane.births.last_at = NOW

    def test_lane_without_a_writer_is_free(self):
        self.assertTrue(self.isFree())

    def test_lane_of_a_living_runtime_is_not_free_however_long_it_rests(self):
        self.write(has_runtime=True)
        self.alive['p'] = object()
        self.clock.advance(10 ** 6)
        self.assertFalse(self.isFree())

    def test_lane_of_a_runtime_that_has_no_record_is_free_at_once(self):
        self.write(began_at=NOW - 1000, has_runtime=True)
        self.assertTrue(self.isFree())

    def test_lane_of_a_process_on_this_machine_is_free_when_that_is_gone(self):
        pid = os.getpid()
        here = dict(machine=process.machineId(), pid=pid)
        self.write(pid_started=process.pidStarted(pid), **here)
        self.clock.advance(10 ** 6)
        self.assertFalse(self.isFree())
        self.write(began_at=NOW - 1000, pid_started='another', **here)
        self.assertTrue(self.isFree())

    def test_process_elsewhere_is_taken_to_live_a_quarter_longer(self):
        self.write(began_at=NOW - 60)
        self.clock.advance(14)
        self.assertFalse(self.isFree())
        self.clock.advance(2)
        self.assertTrue(self.isFree())

    def test_finish_is_a_sign_of_life_as_well(self):
        self.write(began_at=NOW - 60)
        self.lane.finishes.last_key = int((NOW + 30) * 1000000)
        self.clock.advance(50)
        self.assertFalse(self.isFree())
        self.clock.advance(10)
        self.assertTrue(self.isFree())

    def test_nobody_keeps_a_lane_for_more_than_an_hour_of_rest(self):
        self.write(began_at=NOW - 10 ** 7)
        self.clock.advance(writers.LONGEST - 1)
        self.assertFalse(self.isFree())
        self.clock.advance(2)
        self.assertTrue(self.isFree())

    def test_clock_that_was_ahead_does_not_keep_a_lane_for_years(self):
        self.write(began_at=NOW - 1000)
        self.lane.births.last_at = NOW + 10 ** 8
        self.assertTrue(self.isFree())

    def test_where_pids_cannot_be_read_time_decides(self):
        self.write(began_at=NOW - 60)
        with mock.patch.object(process, 'machineId', lambda: None):
            self.assertFalse(self.isFree())
            self.clock.advance(61)
            self.assertTrue(self.isFree())

    def test_writer_is_stored_whole(self):
        identity = Identity('p', True, 'm', 1, '2', 3.0)
        self.lane.writer.become(identity)
        copy = writers.Writer.__new__(writers.Writer)
        copy.__setstate__(self.lane.writer.__getstate__())
        self.assertEqual(Identity(*copy.__getstate__()), identity)


class IdentityTests(SiteTests):

    layer = Live

    def identity(self):
        return writers.identify(self.connection)[0]

    def test_it_stays_the_same(self):
        self.assertEqual(self.identity(), self.identity())
        self.assertFalse(self.identity().has_runtime)

    def test_runtime_counts_from_when_it_has_a_record(self):
        plain = self.identity()
        runtime = mock.Mock(id='host:1:runtime')
        with mock.patch('cipher.background.util.switchboard.queryRuntime',
                        lambda db: runtime):
            self.assertEqual(self.identity(), plain)
            getDirectory(self.connection).processes[runtime.id] = (
                ProcessRecord(runtime.id, 'host', 1, None, None, 1, 9.0, 0.0))
            self.assertEqual(self.identity()[:2], (runtime.id, True))

    def test_lanes_of_before_the_runtime_get_a_writer_again(self):
        declareWorker('work')
        lane = self.registry.start('work').lane
        transaction.commit()
        plain = self.registry.lanes[lane].writer.id
        runtime = mock.Mock(id='host:1:runtime')
        getDirectory(self.connection).processes[runtime.id] = ProcessRecord(
            runtime.id, 'host', 1, None, None, 1, 9.0, 0.0)
        with mock.patch('cipher.background.util.switchboard.queryRuntime',
                        lambda db: runtime):
            self.assertEqual(self.registry.start('work').lane, lane)
            self.assertEqual(self.registry.lanes[lane].writer.id, runtime.id)
            transaction.commit()
        # And those of a runtime that ended.
        del getDirectory(self.connection).processes[runtime.id]
        self.assertEqual(self.registry.start('work').lane, lane)
        self.assertEqual(self.registry.lanes[lane].writer.id, plain)

    def test_fork_is_another_process(self):
        plain = self.identity().id

        def check():
            identity = self.identity()
            assert identity.id != plain, identity
            assert identity.pid == os.getpid()

        self.assertEqual(inFork(check), 0)


class SavepointTests(SiteTests):

    def setUp(self):
        super().setUp()
        declareWorker('work')

    def check(self):
        """A writer that a savepoint takes back is made again."""
        savepoint = transaction.savepoint()
        self.registry.start('work')
        savepoint.rollback()
        run = self.registry.start('work')
        transaction.commit()
        transaction.begin()
        self.assertIs(self.registry.findRun(run.id), run)
        self.assertEqual(self.registry.lanes[run.lane].writer.id,
                         writers.identify(self.connection)[0].id)
        self.assertEqual(len(self.registry.listRuns().items), 1)

    def test_of_a_lane_that_is_there(self):
        self.check()

    def test_of_a_lane_that_is_made(self):
        self.registry.lanes[1].writer.become(Identity('x', has_runtime=True))
        getDirectory(self.connection).processes['x'] = ProcessRecord(
            'x', 'host', 1, None, None, 1, 9.0, 0.0)
        transaction.commit()
        self.check()

    def test_lane_stored_by_a_savepoint_is_seen_in_its_new_state(self):
        """Its parts are ghosts at the commit: they know no serial of it."""
        self.registry.start('work')
        transaction.commit()
        manager = transaction.TransactionManager()
        early = self.db.open(manager)
        self.addCleanup(early.close)
        manager.begin()
        early.root()['Application']   # its snapshot is that of now
        run = self.registry.start('work')
        transaction.savepoint()
        self.connection.cacheMinimize()
        transaction.commit()
        registry = getRegistry(early.root()['Application'])
        self.assertNotEqual(registry.start('work').lane, run.lane)
        manager.abort()


class BecomeWriterTests(SiteTests):

    def test_as_many_as_are_wanted(self):
        pool = getPool(self.db, self.registry._p_oid)
        numbers = pool.becomeWriter(self.registry, 5)
        transaction.commit()
        self.assertEqual(len(set(numbers)), 5)
        self.assertIn(1, numbers)
        me = writers.identify(self.connection)[0].id
        self.assertEqual({lane.writer.id for lane
                          in self.registry.lanes.values()}, {me})
        for number in 5, 3:
            self.assertEqual(
                set(pool.becomeWriter(self.registry, number)), set(numbers))

    def test_start_meanwhile_does_not_conflict(self):
        declareWorker('work')
        manager = transaction.TransactionManager()
        other = self.db.open(manager)
        self.addCleanup(other.close)
        manager.begin()
        site = other.root()['Application']
        pool = getPool(self.db, self.registry._p_oid)
        pool.becomeWriter(self.registry, 1)
        self.assertNotEqual(getRegistry(site).start('work').lane, 1)
        manager.abort()
        transaction.commit()


class ManyProcessesTests(ComponentTests):
    """Web processes start runs at a time, over ZEO."""

    layer = Live

    def setUp(self):
        super().setUp()
        requireServer(self, ZEOServer.findMissing())
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        server = ZEOServer(folder.name)
        server.start()
        self.addCleanup(server.kill)
        self.uri = server.uri
        self.db = openDatabase(self.uri)
        self.addCleanup(self.db.close)
        connection, _, self.registry = makeSite(self.db)
        self.addCleanup(connection.close)
        self.addCleanup(transaction.abort)

    def begin(self, threads, number, seconds):
        starter = subprocess.Popen(
            [sys.executable, '-m',
             'cipher.background.tests.support.startingprocess',
             self.uri, str(threads), str(number), str(seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=programEnvironment())
        self.addCleanup(starter.stdout.close)
        self.addCleanup(starter.stdin.close)
        self.addCleanup(starter.kill)
        return starter

    def start(self, processes, threads, number, seconds=0.02):
        """Start runs; return (conflicts, those with a new writer)."""
        starters = [self.begin(threads, number, seconds)
                    for _ in range(processes)]
        for starter in starters:
            self.assertEqual(starter.stdout.readline(), 'ready\n')
        for starter in starters:
            starter.stdin.write('go\n')
            starter.stdin.flush()
        results = [json.loads(starter.stdout.readline())
                   for starter in starters]
        for starter in starters:
            self.assertEqual(starter.wait(LIMIT), 0)
        transaction.begin()
        return tuple(map(sum, zip(*results)))

    def lanes(self):
        return len(self.registry.lanes)

    def test_no_request_conflicts_because_of_others(self):
        conflicts, of_new_writers = self.start(4, 2, 125)
        self.assertEqual(self.registry.getCounts(),
                         {'work': {'pending': 1000}})
        self.assertEqual(conflicts, 0)
        self.assertLessEqual(of_new_writers, 8)
        self.assertLessEqual(self.lanes(), 16)

    def test_nor_with_many_more_threads(self):
        conflicts, of_new_writers = self.start(2, 8, 30)
        self.assertEqual(conflicts, 0)
        self.assertLessEqual(of_new_writers, 16)
        before = self.lanes()
        # Processes that come later write the lanes of those that ended.
        conflicts, _ = self.start(2, 8, 10)
        self.assertEqual(conflicts, 0)
        self.assertLessEqual(self.lanes(), before + 8)

    def test_processes_one_after_another_write_one_lane(self):
        for _ in range(4):
            self.start(1, 1, 2, 0.0)
        self.assertEqual(self.lanes(), 1)
        self.assertEqual(self.registry.getCounts(),
                         {'work': {'pending': 8}})


class SizeTests(FileSiteTests):

    def size(self, name):
        """Return how many bytes a start of the type *name* writes."""
        before = self.db.storage.getSize()
        transaction.begin()
        self.registry.start(name)
        transaction.commit()
        return self.db.storage.getSize() - before

    def test_start_writes_no_names_of_types_that_were_born_before(self):
        names = ['some.application.workers.module%d.Worker%d' % (n, n)
                 for n in range(150)]
        for name in names:
            declareWorker(name)
        few = min([self.size(names[0]) for _ in range(3)])
        for name in names:
            self.size(name)
        many = min([self.size(names[0]) for _ in range(3)])
        # The run's number has more digits, and the head holds more runs.
        self.assertLess(many, few + 300)
        transaction.begin()
        self.assertEqual(sum(
            states['pending']
            for states in self.registry.getCounts().values()), 156)


class ShortLivedTests(SiteTests):
    """A thousand processes on other machines, in simulated time."""

    layer = Long

    def makeDatabase(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return DB(FileStorage(os.path.join(folder.name, 'Data.fs')))

    def setUp(self):
        super().setUp()
        declareWorker('work')
        self.clock = self.setClock(NOW)
        self.random = random.Random(10)
        self.numbers = itertools.count(1)
        self.conflicts = 0

    def new(self, shortest, longest):
        """Return a process that begins now: (its state, when it ends)."""
        this = writers._Process()
        this._plain = Identity('p%d' % next(self.numbers), False, 'elsewhere',
                               1, '1', clock.now())
        return this, clock.now() + self.random.uniform(shortest, longest)

    def start(self, this):
        writers._processes[self.db] = this
        pool._pools.pop(self.db, None)
        transaction.begin()
        self.registry.start('work')
        transaction.commit()

    def check(self, together, shortest, longest):
        self.addCleanup(writers._processes.pop, self.db, None)
        alive = [self.new(shortest, longest) for _ in range(together)]
        while next(self.numbers) < 1000:
            self.clock.advance(0.25)
            now = clock.now()
            for index, (this, ends_at) in enumerate(alive):
                if self.random.random() < 0.5 or ends_at <= now:
                    self.start(this)
                if ends_at <= now:
                    alive[index] = self.new(shortest, longest)
        self.assertLessEqual(len(self.registry.lanes), 2 * together)

    def test_few_that_live_for_seconds(self):
        self.check(2, 1.0, 4.0)

    def test_many_that_live_for_seconds(self):
        self.check(12, 1.0, 4.0)

    def test_some_live_much_longer(self):
        self.check(6, 1.0, 60.0)


class InProcessTests(FileSiteTests):

    def test_start_that_does_not_see_the_lanes_of_the_runtime(self):
        """Its connection was opened before the runtime had its lanes."""
        declareWorker('work')
        manager = transaction.TransactionManager()
        early = self.db.open(manager)
        self.addCleanup(early.close)
        manager.begin()
        site = early.root()['Application']   # its snapshot is that of now
        getPool(self.db, self.registry._p_oid).becomeWriter(self.registry, 3)
        transaction.commit()
        getRegistry(site).start('work')
        manager.commit()
