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
"""Stored structure has a number, and is brought up to date by migrations."""
import tempfile
import unittest
from unittest import mock

import transaction
from persistent import Persistent
from persistent.wref import WeakRef
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite
from zope.site.folder import rootFolder
from zope.site.site import LocalSiteManager

from cipher.background.interfaces import NEWER_DATABASE
from cipher.background.interfaces import OLDER_PROCESS
from cipher.background.interfaces import InvalidDatabase
from cipher.background.interfaces import NewerDatabase
from cipher.background.interfaces import OlderProcess
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.registry import WorkerRegistry
from cipher.background.registry.verbs import of
from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.runtime.runtime import startRuntime
from cipher.background.store import evolve
from cipher.background.store import structure
from cipher.background.store.evolve import evolveDatabase
from cipher.background.store.process import Belonging
from cipher.background.store.process import Directory
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.tests.support import golden
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import ComponentTests
from cipher.background.tests.support.structure2 import MIGRATION
from cipher.background.tests.support.structure2 import shapesOf
from cipher.background.tests.support.structure2 import structure2
from cipher.background.util import switchboard


class StepTests(unittest.TestCase):

    def test_each_number_has_its_step(self):
        self.assertEqual(
            [migration.version for migration in evolve.MIGRATIONS],
            list(range(structure.OLDEST + 1, structure.VERSION + 1)))


class NumberTests(FileSiteTests):

    layer = Live

    def test_new_records_carry_the_number(self):
        with mock.patch.object(structure, 'VERSION', 7):
            for record in (Directory(), WorkerRegistry(), ProcessRecord(
                    'h:1:a', 'h', 1, None, None, 1, 30.0, 0.0)):
                self.assertEqual(record.structure_version, 7)
                self.assertEqual(record.__dict__['structure_version'], 7)

    def test_records_of_before_the_number(self):
        for record in self.registry, getDirectory(self.connection):
            del record.structure_version
        transaction.commit()
        self.assertEqual(self.registry.structure_version, 1)
        runtime = startRuntime(self.db, RuntimeSettings(threads=0))
        self.addCleanup(runtime.shutdown)

    def test_number_travels_with_an_import(self):
        self.registry.structure_version = 5
        transaction.commit()
        with tempfile.TemporaryFile() as file:
            self.connection.exportFile(self.site._p_oid, file)
            file.seek(0)
            self.connection.root()['copy'] = self.connection.importFile(file)
        transaction.commit()
        registry = self.connection.root()['copy'].getSiteManager()[
            'background']
        self.assertIsNot(registry, self.registry)
        self.assertEqual(registry.structure_version, 5)


class RefusedTests(FileSiteTests):
    """A database that this code cannot use."""

    def setUp(self):
        super().setUp()
        declareWorker('work', lambda worker: None)
        self.run_id = self.registry.start('work').id
        transaction.commit()

    def refuse(self, kind, pattern, act):
        """Assert that *act* raises, and that nothing was written."""
        transaction.commit()
        before = self.db.lastTransaction()
        with self.assertRaisesRegex(kind, pattern):
            act()
            transaction.commit()
        transaction.abort()
        self.assertEqual(self.db.lastTransaction(), before)

    def doors(self):
        """Return what people and programs do."""
        registry = self.registry
        return {
            'runtime': lambda: startRuntime(self.db, RuntimeSettings()),
            'evolve': lambda: evolveDatabase(self.db, 0.0),
            'add': lambda: addRegistry(self.site),
            'page': lambda: of(registry).listRuns(),
        }

    def acts(self):
        registry = self.registry
        return {
            'start': lambda: registry.start('work'),
            'submit': lambda: registry.submit('work', delay=9.0),
            'stop': lambda: registry.requestStop(self.run_id),
            'pause': lambda: registry.pauseType('work'),
        }

    def test_newer_registry(self):
        self.registry.structure_version = 3
        for name, act in {**self.doors(), **self.acts()}.items():
            with self.subTest(name):
                self.refuse(
                    NewerDatabase,
                    '^registry .*: expected structure 1 or older, got '
                    'structure 3; .*install that release', act)
        self.assertIsNone(switchboard.queryRuntime(self.db))

    def test_newer_directory(self):
        getDirectory(self.connection).structure_version = 2
        for name, act in self.doors().items():
            with self.subTest(name):
                self.refuse(
                    NewerDatabase, '^directory: expected structure 1 or '
                    'older, got structure 2; ', act)
        site = self.site['other'] = rootFolder()
        site.setSiteManager(LocalSiteManager(site))
        self.refuse(NewerDatabase, '^directory: ', lambda: addRegistry(site))

    def test_unknown_number(self):
        for number in (0, -1, None, '1', True, 1.0):
            self.registry.structure_version = number
            for name, act in {**self.doors(), **self.acts()}.items():
                with self.subTest(name, number=number):
                    self.refuse(InvalidDatabase, 'expected a structure from 1 '
                                'to 1, got %r; ' % number, act)

    def test_class_that_is_gone(self):
        directory = getDirectory(self.connection)
        lane = self.registry.lanes[1]
        directory.processes['h:1:a'] = ProcessRecord(
            'h:1:a', 'h', 1, None, None, 1, 30.0, 0.0)
        for where, owner, name in (
                ('directory', directory, 'journal'),
                ('process', directory.processes['h:1:a'], 'request'),
                ('registry', self.registry, 'journal'),
                ('lane', lane, 'bookmark'), ('births', lane.births, 'books')):
            with self.subTest(where):
                kept = getattr(owner, name)
                setattr(owner, name, Gone())
                self.lose()
                for door, act in self.doors().items():
                    if door in ('runtime', 'add', 'page') and (
                            door == 'runtime'
                            or where in ('registry', 'lane')):
                        with self.subTest(door):
                            self.refuse(
                                InvalidDatabase,
                                r'expected the class gone\.Gone, got none of '
                                r'that name; .*install the release', act)
                setattr(owner, name, kept)
                transaction.commit()

    def lose(self):
        """Commit, with `Gone` under a name that nothing has."""
        with mock.patch.object(Gone, '__module__', 'gone'), \
                mock.patch.dict('sys.modules', {
                    'gone': mock.Mock(Gone=Gone)}):
            transaction.commit()
        self.connection.cacheMinimize()
        for connection in self.db.pool.all:
            connection.cacheMinimize()

    def test_registry_whose_class_is_gone(self):
        directory = getDirectory(self.connection)
        gone = Gone()
        self.connection.add(gone)
        directory.registries[gone._p_oid] = WeakRef(gone)
        self.connection.root()['gone'] = gone
        self.lose()
        self.refuse(
            InvalidDatabase, r'^registry: expected the class gone\.Gone',
            self.doors()['runtime'])


class Gone(Persistent):
    """Its class is not there any more."""


class EvolveTests(FileSiteTests):

    def setUp(self):
        super().setUp()
        declareWorker('work', lambda worker: None)
        for _ in range(40):
            self.registry.start('work')
        transaction.commit()
        self.directory = getDirectory(self.connection)

    def numbers(self):
        self.begin()
        return [(record.structure_version, record.evolving)
                for record in (self.directory, self.registry)]

    def test_step_in_small_commits(self):
        self.assertEqual(shapesOf(self.db, self.registry), {tuple})
        with structure2(), mock.patch.object(evolve, 'LIMIT', 15):
            # The directory twice, then 40 runs.
            self.assertEqual(evolveDatabase(self.db, 0.0), 2 + 3)
            self.assertEqual(self.numbers(), [(2, None), (2, None)])
            self.assertEqual(shapesOf(self.db, self.registry), {dict})
            self.assertEqual(evolveDatabase(self.db, 0.0), 0)
            self.assertEqual(
                self.registry.getCounts(), {'work': {'pending': 40}})

    def test_nothing_to_do(self):
        before = self.db.lastTransaction()
        self.assertEqual(evolveDatabase(self.db, 0.0), 0)
        self.assertEqual(self.db.lastTransaction(), before)

    def test_older_code_refuses_what_is_half_done(self):
        def fail(registry, place, limit):
            if place:
                raise RuntimeError('enough')
            return MIGRATION.registry(registry, place, limit)

        with structure2(MIGRATION._replace(registry=fail)), \
                mock.patch.object(evolve, 'LIMIT', 15):
            with self.assertRaisesRegex(RuntimeError, 'enough'):
                evolveDatabase(self.db, 0.0)
        self.assertEqual(self.numbers(), [(2, None), (2, (1, 16))])
        with self.assertRaises(NewerDatabase):
            self.registry.start('work')
        transaction.abort()
        with structure2():
            # Older shapes are read until then, and it goes on where it was.
            self.assertEqual(shapesOf(self.db, self.registry), {tuple, dict})
            self.assertEqual(
                self.registry.getCounts(), {'work': {'pending': 40}})
            self.assertEqual(evolveDatabase(self.db, 0.0), 1)
        self.assertEqual(self.numbers(), [(2, None), (2, None)])

    def test_conflict_makes_batches_smaller(self):
        limits = []

        def conflict(registry, place, limit):
            limits.append(limit)
            if len(limits) < 5:
                raise ConflictError('somebody works')
            return MIGRATION.registry(registry, place, limit)

        with structure2(MIGRATION._replace(registry=conflict)), \
                mock.patch.object(evolve, 'LIMIT', 16), \
                mock.patch.object(evolve, 'backOff', return_value=0.0):
            evolveDatabase(self.db, 0.0)
        self.assertEqual(limits[:7], [16, 8, 4, 2, 1, 2, 4])
        self.assertEqual(self.numbers(), [(2, None), (2, None)])

    def test_number_without_a_step(self):
        with mock.patch.object(structure, 'VERSION', 2):
            with self.assertRaisesRegex(
                    InvalidDatabase, 'expected a migration to structure 2'):
                evolveDatabase(self.db, 0.0)
        self.assertEqual(self.numbers(), [(1, None), (1, None)])

    def test_several_steps_one_after_the_other(self):
        calls = []

        def migration(number):
            def do(record, place, limit):
                calls.append((number, type(record).__name__, place))
                return None if place else 'more'
            return evolve.Migration(number, 'try', do, do)

        with mock.patch.object(structure, 'VERSION', 3), \
                mock.patch.object(evolve, 'MIGRATIONS',
                                  (migration(3), migration(2))):
            evolveDatabase(self.db, 0.0)
        self.assertEqual(calls, [
            (number, name, place)
            for name in ('Directory', 'WorkerRegistry')
            for number in (2, 3) for place in ((), 'more')])
        self.assertEqual(self.numbers(), [(3, None), (3, None)])

    def test_older_process_that_lives(self):
        self.directory.processes['old:1:a'] = record = ProcessRecord(
            'old:1:a', 'old', 1, None, None, 1, 0.2, 0.0)
        transaction.commit()
        exclusive = mock.patch(
            'cipher.background.store.evolve.isExclusive', return_value=False)
        with structure2(), exclusive:
            with self.assertRaisesRegex(
                    OlderProcess, 'got old:1; end it, or start it'):
                evolveDatabase(self.db, 0.0)
            self.assertEqual(self.numbers(), [(1, None), (1, None)])
            # When it is silent for its lease, it is dead.
            self.assertGreater(evolveDatabase(self.db, 30.0), 2)
        self.assertIn(record.id, self.directory.processes)
        self.assertEqual(self.numbers(), [(2, None), (2, None)])

    def test_process_that_beats_after_all(self):
        self.directory.processes['old:1:a'] = record = ProcessRecord(
            'old:1:a', 'old', 1, None, None, 1, 0.2, 0.0)
        transaction.commit()
        beats = []

        def beat(*arguments):
            if not beats:
                beats.append(1)
                manager = transaction.TransactionManager()
                connection = self.db.open(manager)
                manager.begin()
                getDirectory(connection).processes[
                    record.id].heartbeat.count += 1
                manager.commit()
                connection.close()
            return False

        with structure2(), mock.patch(
                'cipher.background.store.evolve.isExclusive',
                return_value=True), mock.patch(
                'cipher.background.store.process.isKnownDead', beat):
            deaths = evolve._Deaths(self.db)
            deaths._is_exclusive = False
            deaths._beats[record.id] = 0, -999.0
            self.assertTrue(deaths.isDead(record))
            with self.assertRaises(ConflictError):
                self.directory.evolving = None
                self.directory._p_changed = True
                transaction.commit()
            transaction.abort()


class KeptTests(ComponentTests):
    """The database of structure 1 that is kept."""

    layer = Live

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.db = DB(FileStorage(golden.unpack(folder.name)), pool_size=30)
        self.addCleanup(self.db.close)
        self.connection = self.db.open()
        self.addCleanup(self.connection.close)
        self.addCleanup(transaction.abort)
        self.site = self.connection.root()['Application']
        self.registry = self.site.getSiteManager()['background']
        for name in 'good', 'held', 'bad', 'long':
            declareWorker(name, lambda worker, **input: None,
                          schema=golden.IInput)

    def look(self):
        """Return all that can be seen of it, but for times."""
        transaction.begin()
        registry = self.registry
        runs = registry.listRuns(limit=1000).items
        return (
            registry.getCounts(), runs,
            [(details.input, details.traceback, details.log, details.history)
             for details in (registry.getDetails(run.id) for run in runs)],
            [(type.name, type.counts, type.is_paused)
             for type in registry.listTypes()],
            registry.getActivity(),
            registry.listActions(), registry.listProcesses())

    def test_newer_code_reads_evolves_and_works(self):
        before = self.look()
        self.assertEqual(len(before[1]), sum(
            sum(states.values()) for states in before[0].values()))
        self.assertEqual(shapesOf(self.db, self.registry), {tuple})
        with structure2():
            self.connection.cacheMinimize()
            self.assertEqual(self.look(), before)
            self.assertGreater(evolveDatabase(self.db, 0.0), 2)
            self.connection.cacheMinimize()
            self.assertEqual(self.look(), before)
            self.assertEqual(shapesOf(self.db, self.registry), {dict})
            # It is a copy at another place: here it may begin all the same.
            transaction.begin()
            getDirectory(self.connection).belonging = Belonging()
            transaction.commit()
            runtime = startRuntime(
                self.db, RuntimeSettings(threads=2, poll=0.05))
            self.addCleanup(runtime.shutdown)
            transaction.begin()
            self.registry.pauseType('held', False)
            transaction.commit()

            def counts():
                transaction.begin()
                return self.registry.getCounts()['held']

            waitUntil(lambda: counts() == {'succeeded': 2})
            runtime.shutdown()
            self.connection.cacheMinimize()


class RuntimeTests(LiveTests):
    """A process that lives while the number changes."""

    def problems(self):
        self.begin()
        return {problem.kind: problem.subject
                for problem in self.registry.listProblems()}

    def test_higher_number_makes_it_quiet(self):
        declareWorker('work', lambda worker: self.gate.stop())
        run_id, _, waiting = [self.start('work') for _ in range(3)]
        waitUntil(lambda: len(self.runtime.allLive()) == 2)
        self.gate.waitReached()
        self.begin()
        getDirectory(self.connection).structure_version = 2
        transaction.commit()
        waitUntil(lambda: self.runtime.is_quiet)
        waitUntil(lambda: NEWER_DATABASE in self.problems())
        self.assertEqual(self.problems()[NEWER_DATABASE], '2')
        self.assertIn('its release is older than the database: directory '
                      'has structure 2, this code knows 1; ',
                      self.logged.getvalue())
        # What works ends, and nothing begins.
        self.gate.open()
        self.waitFinished(run_id)
        self.assertEqual(self.status(run_id).state, 'succeeded')
        with self.assertRaises(NewerDatabase):
            self.start('work')
        transaction.abort()
        self.waitTurn()
        self.assertEqual(self.status(waiting).state, 'pending')
        # Nobody can let it begin all the same.
        self.change(lambda: self.registry_unquiet())
        self.waitTurn()
        self.waitTurn()
        self.assertTrue(self.runtime.is_quiet)
        self.assertEqual(self.status(waiting).state, 'pending')

    def registry_unquiet(self):
        directory = getDirectory(self.connection)
        directory.processes[self.runtime.id].request.is_quiet = False

    def test_unusable_registry_does_not_stop_the_others(self):
        declareWorker('work', lambda worker: None)
        other = self.site['other'] = rootFolder()
        other.setSiteManager(LocalSiteManager(other))
        bad = addRegistry(other)
        bad.structure_version = 'x'
        transaction.commit()
        self.assertEqual(self.carryOut('work').state, 'succeeded')
        self.waitTurn()
        self.assertFalse(self.runtime.is_quiet)
        self.assertEqual(self.runtime.listTroubles(), ())

    def test_work_writes_nothing_into_a_newer_registry(self):
        def work(worker):
            getSite()['counter'].value += 1
            self.gate.stop()
            raise ValueError('no')

        declareWorker('work', work)
        run_id = self.start('work')
        self.gate.waitReached()
        self.begin()
        self.registry.structure_version = 2
        transaction.commit()
        self.gate.open()
        waitUntil(lambda: self.runtime.is_quiet)
        waitUntil(lambda: not self.runtime.allLive())
        self.assertEqual(self.value(), 0)
        self.assertFalse(self.registry.get(run_id).isFinished())
        self.assertIn('it is left to newer code', self.logged.getvalue())

    def test_runtime_evolves_as_it_begins(self):
        declareWorker('work', lambda worker: None)
        self.runtime.shutdown()
        ids = [self.start('work') for _ in range(5)]
        with structure2():
            self.runtime = self.startRuntime()
            for run_id in ids:
                self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
            waitUntil(lambda: self.evolved())
            self.assertEqual(shapesOf(self.db, self.registry), {dict})
            self.runtime.shutdown()

    def evolved(self):
        self.begin()
        return self.registry.structure_version == 2 and (
            self.registry.evolving is None)

    def test_older_process_is_a_problem(self):
        self.runtime.shutdown()
        self.begin()
        getDirectory(self.connection).processes['old:1:a'] = ProcessRecord(
            'old:1:a', 'old', 1, None, None, 1, 300.0, 0.0)
        transaction.commit()
        with structure2(), mock.patch(
                'cipher.background.store.evolve.isExclusive',
                return_value=False), mock.patch(
                    'cipher.background.runtime.maintenance.liveness'
                    '.isExclusive', return_value=False):
            self.runtime = self.startRuntime()
            waitUntil(lambda: OLDER_PROCESS in self.problems())
            self.assertEqual(self.problems()[OLDER_PROCESS], 'old:1:a')
            self.assertFalse(self.evolved())
            self.begin()
            del getDirectory(self.connection).processes['old:1:a']
            transaction.commit()
            waitUntil(self.evolved)
            waitUntil(lambda: OLDER_PROCESS not in self.problems())
            self.runtime.shutdown()

    def test_older_process_is_one_problem_whoever_meets_it(self):
        self.begin()
        for number in range(2):
            record = ProcessRecord('new:%d:a' % number, 'new', number, None,
                                   None, 1, 300.0, 0.0)
            record.heartbeat.troubles = (
                (OLDER_PROCESS, 'old:1:a', 1.0, '', None, None),)
            getDirectory(self.connection).processes[record.id] = record
        with mock.patch('cipher.background.queries.snapshot.Snapshot.isSilent',
                        return_value=False):
            self.assertEqual([
                problem.subject for problem in self.registry.listProblems()
                if problem.kind == OLDER_PROCESS], ['old:1:a'])
        transaction.abort()

    def test_kind_of_problem_that_only_newer_code_knows(self):
        self.begin()
        record = ProcessRecord(
            'new:1:a', 'new', 1, None, None, 1, 300.0, 0.0)
        record.heartbeat.troubles = (
            ('of-tomorrow', 'what', 1.0, 'KeyError', None, None),)
        getDirectory(self.connection).processes[record.id] = record
        transaction.commit()
        self.assertNotIn('of-tomorrow', self.problems())
