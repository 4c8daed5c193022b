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
"""A copy of a database, or of a site, does not do the original's work."""
import io
import json
import os
import shutil
import stat

import transaction
from ZODB.FileStorage import FileStorage
from ZODB.scripts import repozo
from zope.component import provideUtility
from zope.copy import clone

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.declarations.schedule import Schedule
from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.declarations.workertype import getWorkerType
from cipher.background.interfaces import COPIED_DATABASE
from cipher.background.interfaces import KEPT_RUNS
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import RuntimeRefused
from cipher.background.registry.bound import checkStarter
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import rememberRegistries
from cipher.background.runtime.runtime import startRuntime
from cipher.background.store import deployment
from cipher.background.store.kept import keepBack
from cipher.background.store.process import Belonging
from cipher.background.store.process import getDirectory
from cipher.background.store.slots import takeSlot
from cipher.background.testing import runPending
from cipher.background.tests.support.cluster import LONG
from cipher.background.tests.support.cluster import ZEOTests
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.live import Database
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import inFork
from cipher.background.tests.support.live import waitForLanes
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.servers import openDatabase
from cipher.background.tests.support.sites import login
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util import switchboard


#: Turns of a control thread after which it would have begun something.
TURNS = 5


class Loop(BackgroundWorkerThread):
    """Runs until it is stopped."""

    def scheduleNextWork(self):
        return not self.wait(0.01)


class Elsewhere:
    """A database that is open a second time, as another process would."""

    def __init__(self, test, db):
        self.db = db
        test.addCleanup(db.close)
        self.connection = db.open()
        test.addCleanup(self.connection.close)
        test.addCleanup(transaction.abort)
        transaction.begin()
        self.site = self.connection.root()['Application']
        self.registry = self.site.getSiteManager()['background']
        self._test = test

    def run(self, **settings):
        """Start a runtime; return it."""
        self.runtime = startRuntime(self.db, RuntimeSettings(**dict(
            {'threads': 1, 'poll': 0.05, 'drain': 1.0}, **settings)))
        self._test.addCleanup(self.runtime.shutdown)
        return self.runtime

    def states(self):
        """Return the states of all runs, as they are stored."""
        transaction.begin()
        return {run.id: run.state for lane in self.registry.lanes.values()
                for run in lane.births.walkUp()}

    def waitTurns(self):
        """Wait for some turns of the control thread."""
        maintenance = self.runtime._maintenance
        turn, turns = maintenance.turn, []

        def counted(*args):
            result = turn(*args)
            turns.append(result)
            return result

        maintenance.turn = counted
        waitUntil(lambda: len(turns) > TURNS, 'some turns')
        maintenance.turn = turn

    def problems(self, kind=None):
        """Return the problems (of that kind)."""
        transaction.begin()
        return [problem for problem in self.registry.listProblems()
                if kind in (None, problem.kind)]


class OriginalTests(FileSiteTests):
    """Has an original with two runs that wait, and copies of it."""

    settings = {}

    def setUp(self):
        super().setUp()
        self.done = []
        declareWorker('work', lambda worker: self.done.append(
            worker.run_id if hasattr(worker, 'run_id') else 'run'))
        # A process of the original, which says where the database is.
        runtime = startRuntime(self.db, RuntimeSettings(
            **dict({'threads': 1, 'poll': 0.05, 'drain': 1.0},
                   **self.settings)))
        waitUntil(lambda: self.belongs(), 'that it says so')
        runtime.shutdown()
        self.runs = [self.registry.start('work').id for _ in range(2)]
        transaction.commit()

    def belongs(self, connection=None):
        self.begin()
        belonging = getDirectory(connection or self.connection).belonging
        return belonging and (belonging.place or belonging.deployment)

    def copyFolder(self):
        """Return the copy of the whole folder, opened."""
        folder = os.path.join(self.folder.name, 'copy')
        shutil.copytree(self.folder.name, folder, ignore=lambda *_: (
            'copy', 'Data.fs.lock'))
        return self.openCopy(os.path.join(folder, 'Data.fs'))

    def openCopy(self, path):
        return Elsewhere(self, Database(FileStorage(path), pool_size=30))

    def assertBeginsNothing(self, copy, **settings):
        with self.assertLogs('cipher.background', 'WARNING') as logged:
            copy.run(**settings)
        self.assertIn('the database is a copy', logged.output[0])
        self.assertTrue(copy.runtime.is_quiet)
        before = copy.states()
        new = copy.registry.start('work').id
        transaction.commit()
        copy.waitTurns()
        self.assertEqual(copy.states(), {**before, new: 'pending'})
        self.assertEqual(self.done, [])
        problem, = copy.problems(COPIED_DATABASE)
        self.assertEqual(problem.process, copy.runtime.id)
        return new

    def assertAdopts(self, copy, new):
        """An administrator lets it begin; it stays so."""
        login('admin')
        copy.problems()
        self.assertTrue(
            copy.registry.adoptDatabase(copy.runtime.id, 'staging'))
        transaction.commit()
        waitUntil(lambda: set(copy.states().values()) == {'succeeded'},
                  'the end of all runs')
        self.assertIn(new, copy.states())
        self.assertFalse(copy.runtime.is_quiet)
        self.assertEqual(copy.problems(), [])
        action = copy.registry.listActions()[0][0]
        self.assertEqual(
            (action.verb, action.subject, action.principal, action.reason),
            ('adopt database', copy.runtime.id, 'admin', 'staging'))
        copy.runtime.shutdown()
        self.assertFalse(copy.run().is_quiet)


class FileCopyTests(OriginalTests):
    """No deployment has an id: the places of the files decide."""

    layer = Live

    def test_copy_of_the_folder_begins_quiet(self):
        copy = self.copyFolder()
        self.assertAdopts(copy, self.assertBeginsNothing(copy))

    def test_copy_of_the_file_alone_begins_quiet(self):
        repository = os.path.join(self.folder.name, 'repozo')
        os.mkdir(repository)
        path = os.path.join(self.folder.name, 'Restored.fs')
        repozo.main(['-B', '-r', repository, '-f',
                     os.path.join(self.folder.name, 'Data.fs')])
        repozo.main(['-R', '-r', repository, '-o', path])
        copy = self.openCopy(path)
        self.assertAdopts(copy, self.assertBeginsNothing(copy))

    def test_original_goes_on_in_its_place(self):
        self.connection.close()
        self.db.pack()
        self.db.close()
        original = self.openCopy(os.path.join(self.folder.name, 'Data.fs'))
        self.assertFalse(original.run().is_quiet)
        waitUntil(lambda: len(self.done) == 2, 'the end of the runs')

    def test_file_beside_is_for_its_owner_and_says_where_it_is(self):
        path = os.path.join(self.folder.name, 'Data.fs.background')
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with open(path) as file:
            told = json.load(file)
        self.assertEqual(told['path'], os.path.realpath(path[:-11]))
        self.assertEqual(told['token'], self.belongs())
        self.assertEqual(os.listdir(self.folder.name).count(
            'Data.fs.background'), 1)

    def move(self, **changes):
        """Let the file beside say something else; return the database."""
        self.connection.close()
        self.db.close()
        path = os.path.join(self.folder.name, 'Data.fs')
        beside = path + '.background'
        if changes:
            with open(beside) as file:
                told = json.load(file)
            with open(beside, 'w') as file:
                json.dump({**told, **changes}, file)
        return self.openCopy(path)

    def test_other_machine(self):
        copy = self.move(machine='another')
        self.assertEqual(deployment.getMachine() is None,
                         not copy.run().is_quiet)

    def test_machine_that_nobody_knows_is_not_compared(self):
        self.patch('cipher.background.store.deployment._MACHINE_IDS', ())
        self.assertFalse(self.move(machine='another').run().is_quiet)

    def test_machine_is_not_compared_where_both_name_the_deployment(self):
        getDirectory(self.connection).belonging.deployment = 'production'
        transaction.commit()
        copy = self.move(machine='another')
        self.assertFalse(copy.run(deployment='production').is_quiet)

    def test_file_beside_that_says_nothing(self):
        beside = os.path.join(self.folder.name, 'Data.fs.background')
        for content in (b'', b'[]', b'{}', b'\xff', b'[' * 50000,
                        b'{"token": null}', b'{"token": [1], "path": {}}'):
            with self.subTest(content[:20]):
                with open(beside, 'wb') as file:
                    file.write(content)
                origin = deployment.Origin(self.db, None)
                self.begin()
                copied, reason = origin.judge(
                    getDirectory(self.connection).belonging)
                self.assertEqual(copied.kind, 'place')
                self.assertIn(beside, reason)

    def test_database_of_before_is_no_copy(self):
        # Neither it nor the folder knows anything.
        os.remove(os.path.join(self.folder.name, 'Data.fs.background'))
        getDirectory(self.connection).belonging = None
        transaction.commit()
        original = self.move()
        self.assertFalse(original.run().is_quiet)
        waitUntil(lambda: len(self.done) == 2, 'the end of the runs')
        waitUntil(lambda: self.belongs(original.connection), 'the place')

    def test_folder_that_cannot_be_written(self):
        origin = deployment.Origin(self.db, None)
        origin._place.path = os.path.join(self.folder.name, 'gone', 'x')
        belonging = Belonging()
        with self.assertLogs('cipher.background', 'WARNING') as logged:
            origin.settle(belonging)
            origin.settle(belonging)
        self.assertEqual(len(logged.output), 1)
        self.assertIsNone(belonging.place)
        self.assertIsNone(origin.judge(belonging))

    def test_processes_of_the_original_are_silent_and_no_problem(self):
        runtime = startRuntime(self.db, RuntimeSettings(threads=1, poll=0.05))
        self.addCleanup(runtime.shutdown)
        waitUntil(lambda: len(self.done) == 2, 'the end of the runs')
        del self.done[:]
        waitUntil(lambda: self.begin() or self.registry.listProcesses())
        copy = self.copyFolder()
        self.assertBeginsNothing(copy)
        self.assertEqual(len(copy.problems()), 1)
        shown = {status.id: status
                 for status in copy.registry.listProcesses()}
        self.assertTrue(shown[runtime.id].is_silent)
        self.assertFalse(shown[copy.runtime.id].is_silent)
        self.assertTrue(shown[copy.runtime.id].is_copy)
        # Nobody is buried by a copy; afterwards it is.
        copy.registry.adoptDatabase(copy.runtime.id)
        transaction.commit()
        waitUntil(lambda: copy.states() and len(
            copy.registry.listProcesses()) == 1, 'that it is alone')

    def test_schedules_and_services_wait_and_nothing_is_removed(self):
        copy = self.copyFolder()
        copy.registry.keep = copy.registry.keep_days = 0
        done = copy.registry.start('work').id
        transaction.commit()
        copy.registry.requestStop(done)
        transaction.commit()
        schedule = Schedule('often', 'work', '* * * * *')
        provideUtility(schedule, ISchedule, 'often')
        declareWorker('service', factory=Loop, is_loop=True, autostart=True)
        self.assertBeginsNothing(copy)
        self.assertEqual(list(copy.registry.schedules), [])
        self.assertEqual(list(copy.registry.services), [])
        self.assertEqual(copy.states()[done], 'stopped')

    def test_runtime_without_threads_rescues_and_buries_nobody(self):
        with ZodbConnection(self.db) as connection:
            transaction.begin()
            run = connection.root()['Application'].getSiteManager()[
                'background'].findRun(self.runs[0])
            run.claim('dead:1:x', 1.0, False)
            transaction.commit()
        copy = self.copyFolder()
        copy.run(threads=0)
        copy.waitTurns()
        self.assertEqual(copy.states()[self.runs[0]], 'running')

    def test_new_work_only(self):
        copy = self.copyFolder()
        self.assertBeginsNothing(copy)
        login('admin')
        copy.registry.adoptDatabase(copy.runtime.id, keep_back=True)
        transaction.commit()
        waitUntil(lambda: not copy.runtime.is_quiet, 'its begin')
        new = copy.registry.start('work').id
        transaction.commit()
        waitUntil(lambda: copy.states()[new] == 'succeeded', 'the new run')
        copy.waitTurns()
        self.assertEqual(len(self.done), 1)
        problem, = copy.problems()
        self.assertEqual((problem.kind, problem.number), (KEPT_RUNS, 3))

    def test_end_of_quiet_of_the_process_is_the_same(self):
        copy = self.copyFolder()
        self.assertBeginsNothing(copy)
        copy.runtime.quiet(False)   # of the process itself: not enough
        copy.waitTurns()
        self.assertTrue(copy.runtime.is_quiet)
        copy.states()
        copy.registry.quietProcess(copy.runtime.id, False)
        transaction.commit()
        waitUntil(lambda: len(self.done) == 3, 'the end of all runs')

    def test_one_that_is_no_copy_is_not_adopted(self):
        original = self.move()
        original.run()
        waitUntil(lambda: len(self.done) == 2, 'the end of the runs')
        original.states()
        self.assertFalse(
            original.registry.adoptDatabase(original.runtime.id))
        self.assertEqual(original.registry.listActions()[0], [])


class DeploymentTests(OriginalTests):

    layer = Live

    settings = {'deployment': 'production'}

    def test_other_deployment_begins_quiet(self):
        copy = self.copyFolder()
        os.environ[deployment.VARIABLE] = ' staging '
        self.addCleanup(os.environ.pop, deployment.VARIABLE)
        new = self.assertBeginsNothing(copy, deployment='production')
        self.assertEqual(copy.problems(COPIED_DATABASE)[0].subject,
                         'production')
        self.assertAdopts(copy, new)
        self.assertEqual(getDirectory(copy.connection).belonging.deployment,
                         'staging')

    def test_copy_of_the_folder_with_the_same_id_is_a_copy(self):
        self.assertBeginsNothing(self.copyFolder(), deployment='production')

    def test_process_without_an_id_is_not_compared(self):
        self.begin()
        origin = deployment.Origin(self.db, None)
        with self.assertLogs('cipher.background', 'WARNING') as logged:
            self.assertIsNone(origin.look(
                getDirectory(self.connection).belonging))
        self.assertIn("'production'", logged.output[0])

    def test_database_without_an_id_takes_none_while_it_is_a_copy(self):
        getDirectory(self.connection).belonging.deployment = None
        transaction.commit()
        copy = self.copyFolder()
        self.assertBeginsNothing(copy, deployment='staging')
        self.assertIsNone(getDirectory(copy.connection).belonging.deployment)

    def test_bad_id_is_refused(self):
        for bad in ('a\nb', 'x' * 101, '\udcff', '\x1b'):
            with self.subTest(bad):
                with self.assertRaises(ValueError):
                    RuntimeSettings(deployment=bad)
                self.patch('os.environ', {**os.environ,
                                          deployment.VARIABLE: bad})
                with self.assertRaisesRegex(
                        RuntimeRefused, deployment.VARIABLE):
                    startRuntime(self.db, RuntimeSettings(threads=0))
        self.assertIsNone(switchboard.queryRuntime(self.db))


class KeptTests(FileSiteTests):
    """Sites that come by a copy or an import."""

    layer = Live

    def setUp(self):
        super().setUp()
        self.done = []
        for name in 'work', 'other':
            declareWorker(name, lambda worker, name=name: self.done.append(
                name))
        declareWorker('fail', lambda worker: self.done.append('fail'),
                      on_interrupt='fail')
        declareWorker('once', lambda worker: self.done.append('once'),
                      unique='type', max_running=1)
        declareWorker('service', factory=Loop, is_loop=True)

    def copySite(self):
        """Copy the site within its database; return the new registry."""
        self.site['copy'] = clone(self.site)
        transaction.commit()
        registry = self.site['copy'].getSiteManager()['background']
        return registry

    def importSite(self):
        """Import the site into this database; return the new registry."""
        exported = io.BytesIO()
        self.connection.exportFile(self.site._p_oid, exported)
        exported.seek(0)
        site = self.connection.importFile(exported)
        self.connection.root()['Second'] = site
        transaction.commit()
        return site.getSiteManager()['background']

    def run_(self, **settings):
        runtime = startRuntime(self.db, RuntimeSettings(**dict(
            {'threads': 1, 'poll': 0.05, 'drain': 1.0}, **settings)))
        self.addCleanup(runtime.shutdown)
        return runtime

    def states(self, registry, *runs):
        self.begin()
        return [registry.getStatus(run).state for run in runs]

    def test_site_that_comes_again_by_an_import(self):
        for come in self.copySite, self.importSite:
            with self.subTest(come.__name__):
                old = [self.registry.start(name).id
                       for name in ('work', 'other')]
                delayed = self.registry.submit('work', delay=0.01).id
                transaction.commit()
                registry = come()
                new = registry.start('work').id
                transaction.commit()
                runtime = self.run_()
                waitUntil(lambda: self.states(registry, new) == ['succeeded'],
                          'what is started from now on')
                waitUntil(lambda: self.states(
                    self.registry, *old, delayed) == 3 * ['succeeded'],
                    'the original')
                self.assertEqual(
                    self.states(registry, *old, delayed), 3 * ['pending'])
                self.assertEqual(len(self.done), 4)
                status = registry.getStatus(old[0])
                self.assertTrue(status.is_kept)
                self.assertFalse(registry.getStatus(new).is_kept)
                problem, = registry.listProblems()
                self.assertEqual((problem.kind, problem.number),
                                 (KEPT_RUNS, 3))
                login('admin')
                self.assertEqual(registry.beginKept('fine'), 3)
                transaction.commit()
                waitUntil(lambda: self.states(
                    registry, *old, delayed) == 3 * ['succeeded'],
                    'what came with the copy')
                self.assertEqual(registry.listProblems(), [])
                self.assertIsNone(registry.kept)
                action = registry.listActions()[0][0]
                self.assertEqual(
                    (action.verb, action.number, action.principal,
                     action.reason, sorted(action.run_ids)),
                    ('begin kept', 3, 'admin', 'fine',
                     sorted([*old, delayed])))
                runtime.shutdown()
                del self.done[:]

    def test_what_came_is_removed(self):
        old = [self.registry.start('work').id for _ in range(5)]
        transaction.commit()
        registry = self.copySite()
        rememberRegistries(self.connection)
        transaction.commit()
        self.assertEqual(registry.removeKept('no', limit=3), 3)
        transaction.commit()
        self.assertEqual([registry.get(run) is None for run in old],
                         [True] * 3 + [False] * 2)
        self.assertEqual(registry.removeKept(), 2)
        transaction.commit()
        self.assertEqual(registry.removeKept(), 0)
        self.assertIsNone(registry.kept)
        self.assertEqual(registry.getCounts(), {})
        self.assertEqual(self.registry.getCounts(), {'work': {'pending': 5}})
        self.assertEqual(
            [(action.verb, action.number)
             for action in registry.listActions()[0]],
            [('remove kept', 2), ('remove kept', 3)])

    def test_what_ran_in_the_original_runs_nowhere_here(self):
        runs = [self.registry.start(name).id
                for name in ('work', 'fail', 'other')]
        transaction.commit()
        runtime = self.run_(threads=0)
        waitUntil(lambda: self.begin() or self.registry.listProcesses())
        # As its process, which lives, had begun the first two.
        for run, must_not_rerun in zip(runs, (False, True)):
            self.registry.findRun(run).claim(
                runtime.id, 1.0, must_not_rerun)
        self.registry.findRun(runs[2]).owner = runtime.id   # taken
        self.registry.requestStop(runs[0])
        transaction.commit()
        registry = self.copySite()
        rememberRegistries(self.connection)
        transaction.commit()
        self.assertEqual(self.states(self.registry, *runs)[:2],
                         ['running', 'running'])
        self.assertEqual(self.states(registry, *runs), 3 * ['pending'])
        self.assertTrue(registry.getStatus(runs[0]).is_orphaned)
        self.assertEqual(registry.getCounts()['work'], {'pending': 1})
        self.assertEqual(registry.requestStop(runs[0]), 'stopped')
        self.assertEqual(list(registry.stops), [])
        transaction.commit()
        self.assertEqual(registry.beginKept(), 2)
        transaction.commit()
        self.assertEqual(self.states(registry, *runs),
                         ['stopped', 'interrupted', 'pending'])
        runtime.shutdown()
        self.run_()
        waitUntil(lambda: self.states(
            registry, runs[2]) == ['succeeded'], 'the one that was taken')

    def test_unique_start_is_not_merged_into_one_that_is_kept_back(self):
        old = self.registry.start('once').id
        transaction.commit()
        registry = self.copySite()
        new = registry.start('once').id
        transaction.commit()
        self.assertNotEqual(old, new)
        self.assertEqual(registry.start('once').id, new)
        transaction.commit()
        self.run_()
        waitUntil(lambda: self.states(registry, new) == ['succeeded'],
                  'the new one')

    def test_one_that_ran_in_the_original_holds_no_slot(self):
        old = self.registry.start('once')
        transaction.commit()
        takeSlot(self.connection, getWorkerType('once'), (
            self.registry._p_oid, old.lane, old.serial))
        old.claim('x:1:y', 1.0, False)
        keepBack(self.registry)
        new = self.registry.start('once').id
        transaction.commit()
        self.run_()
        waitUntil(lambda: self.states(self.registry, new) == ['succeeded'],
                  'the new one')
        self.assertEqual(self.states(self.registry, old.id), ['pending'])

    def test_service_is_started_anew(self):
        declareWorker('service', factory=Loop, is_loop=True, autostart=True)
        old = self.registry.start('service').id
        transaction.commit()
        registry = self.importSite()
        del self.connection.root()['Application']
        transaction.commit()
        self.run_()

        def others():
            self.begin()
            return [status.id for status in registry.listRuns(
                states=('running',)).items]
        new, = waitUntil(others, 'the service')
        self.assertNotEqual(new, old)
        registry.beginKept()
        transaction.commit()
        self.assertEqual(self.states(registry, old, new),
                         ['interrupted', 'running'])

    def test_kept_ones_do_not_keep_their_starter_from_starting(self):
        login('bob')
        self.registry.waiting_per_starter = 3
        for _ in range(3):
            self.registry.start('work')
        transaction.commit()
        registry = self.copySite()
        self.run_()
        waitUntil(lambda: self.begin() or registry.kept, 'the copy')
        waitUntil(lambda: len(self.done) == 3, 'the original')
        waitUntil(lambda: self.begin() or sum(
            len(lane.waiting.places) for lane in registry.lanes.values()),
            'that they are set apart')
        checkStarter(registry, 'bob')
        self.assertEqual(len(self.done), 3)

    def test_hidden_types_are_neither_counted_nor_begun(self):
        self.registry.start('work')
        self.registry.start('other')
        transaction.commit()
        registry = self.copySite()
        rememberRegistries(self.connection)
        transaction.commit()
        self.patch('cipher.background.queries.visibility.hiddenTypes',
                   lambda registry: {'other'})
        problem, = [problem for problem in registry.listProblems()
                    if problem.kind == KEPT_RUNS]
        self.assertEqual(problem.number, 1)
        self.assertEqual(registry.beginKept(), 1)
        transaction.commit()
        self.run_()
        waitUntil(lambda: len(self.done) == 3, 'the visible ones')
        self.assertEqual(self.done.count('other'), 1)
        self.assertEqual(
            [run.type for run in registry._list_kept()], [])
        self.assertIsNotNone(registry.kept)

    def test_registry_that_was_moved_is_no_copy(self):
        self.registry.start('work')
        transaction.commit()
        root = self.connection.root()
        root['Moved'] = self.site
        del root['Application']
        transaction.commit()
        rememberRegistries(self.connection)
        self.assertIsNone(self.registry.kept)

    def test_copy_without_anything_that_waits_has_no_problem(self):
        registry = self.copySite()
        addRegistry(self.site['copy'])
        transaction.commit()
        self.assertIsNone(registry.kept)
        self.assertNotEqual(registry.place, self.registry.place)

    def test_runPending_leaves_them_alone(self):
        self.registry.start('work')
        transaction.commit()
        registry = self.copySite()
        addRegistry(self.site['copy'])
        registry.start('other')
        transaction.commit()
        runPending(self.site['copy'])
        self.assertEqual(self.done, ['other'])


class ForkTests(FileSiteTests):

    layer = Live

    def test_child_is_refused_the_storage_of_its_parent(self):
        declareWorker('work', lambda worker: None)

        def check():
            with self.assertRaisesRegex(
                    RuntimeRefused, 'inherited by a fork.*after the fork'):
                startRuntime(self.db)

        self.assertEqual(inFork(check), 0)
        # The parent may.
        startRuntime(self.db, RuntimeSettings(threads=0)).shutdown()

    def test_storage_that_nobody_noted(self):
        path = os.path.join(self.folder.name, 'Other.fs')
        db = Database(FileStorage(path))
        self.addCleanup(db.close)

        def check():
            with self.assertRaises(RuntimeRefused):
                startRuntime(db)

        self.assertEqual(inFork(check), 0)

    def test_child_that_opens_a_storage_itself(self):
        path = os.path.join(self.folder.name, 'Other.fs')

        def check():
            db = Database(FileStorage(path))
            startRuntime(db, RuntimeSettings(threads=0)).shutdown()
            db.close()

        self.assertEqual(inFork(check), 0)

    def test_parent_that_carries_out_what_its_child_starts(self):
        declareWorker('work', lambda worker: None)
        runtime = startRuntime(self.db, RuntimeSettings(
            threads=1, poll=60.0, drain=1.0))
        self.addCleanup(runtime.shutdown)
        waitForLanes(runtime)
        # A thread that is at the storage has its lock, and stays behind.
        idle = []
        waitUntil(lambda: idle.append(
            runtime._maintenance.steps.current is None) or (
                len(idle) > 100 and all(idle[-100:])), 'that it is idle')
        self.begin()

        def check():
            with self.assertLogs('cipher.background', 'WARNING') as logged:
                self.registry.start('work')
                self.registry.start('work')
                transaction.abort()
            self.assertEqual(len(logged.output), 1)
            self.assertIn(runtime.name, logged.output[0])

        self.assertEqual(inFork(check), 0)


class ServerTests(ZEOTests):
    """Two deployments have one database of a ZEO server open."""

    settings = dict(ZEOTests.settings, deployment='production')

    def test_deployments_on_one_server(self):
        staging = self.actWithout()
        id = staging.begin(deployment='staging')
        self.waitAllIdle()
        # It begins nothing, though nobody else would.
        self.runtime.quiet()
        waitUntil(lambda: self.begin() or any(
            status.is_quiet for status in self.registry.listProcesses()
            if status.is_here), 'that it is quiet')
        run = self.start('add')
        for _ in range(5):
            self.waitTurn()
        self.assertEqual(staging.live(), [])
        self.assertEqual(self.status(run).state, 'pending')
        self.runtime.quiet(False)
        self.waitFinal(run, 'succeeded')
        # An administrator of the copy.
        self.begin()
        self.assertTrue(self.registry.adoptDatabase(id))
        transaction.commit()
        waitUntil(lambda: self.runtime.is_quiet, 'the original', LONG)
        run = self.start('add')
        self.waitFinal(run, 'succeeded')
        self.assertEqual(self.status(run).owner.split(':')[1],
                         str(staging.pid))

    def waitAllIdle(self):
        def both():
            self.begin()
            return [status.is_copy for status
                    in self.registry.listProcesses()] == [False, True]
        waitUntil(both, 'both processes', LONG)


class ServerForkTests(ZEOTests):

    def test_child_of_a_client_of_a_server(self):
        db = openDatabase(self.uri, factory=Database)
        self.addCleanup(db.close)

        def check():
            with self.assertRaises(RuntimeRefused):
                startRuntime(db)

        with ZodbConnection(db) as connection:
            transaction.begin()
            connection.root()['Application'].getSiteManager()[
                'background'].start('add')
            transaction.abort()
        self.assertEqual(inFork(check), 0)
