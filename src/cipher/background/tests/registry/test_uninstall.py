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
"""A registry is removed from its site: refusals, what works, undo, again."""
import transaction
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite
from zope.component.persistentregistry import PersistentComponents
from zope.interface import Interface
from zope.schema import Password
from zope.security.interfaces import Unauthorized
from zope.security.management import endInteraction
from zope.site.folder import Folder
from zope.site.site import LocalSiteManager

from cipher.background.interfaces import DISCARD
from cipher.background.interfaces import MANAGE_WORKERS
from cipher.background.interfaces import STOP
from cipher.background.interfaces import STOP_WORKERS
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import RegistryInUse
from cipher.background.interfaces import RegistryNotFound
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.registry.installation import RegistryInstaller
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import getRegistry
from cipher.background.registry.installation import ownRegistry
from cipher.background.registry.installation import removeRegistry
from cipher.background.store.process import getDirectory
from cipher.background.tests.registry.test_installation import FlatSite
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import Grants
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import login
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util.host import NAME


class RemoveTests(SiteTests):

    def listed(self):
        return getDirectory(self.connection).listRegistries()

    def setUp(self):
        super().setUp()
        declareWorker('work', lambda worker: None)

    def start(self):
        run = self.registry.start('work')
        transaction.commit()
        return run

    def test_it_is_gone_from_the_site_and_from_the_directory(self):
        oid = self.registry._p_oid
        self.assertEqual(removeRegistry(self.site, reason='moved'), 0)
        transaction.commit()
        self.assertNotIn(NAME, self.site.getSiteManager())
        self.assertIsNone(ownRegistry(self.site))
        self.assertEqual(self.listed(), [])
        directory = getDirectory(self.connection)
        self.assertNotIn(oid, directory.registries)
        with self.assertRaises(RegistryNotFound):
            getRegistry(self.site)

    def test_another_one_can_be_added_and_begins_anew(self):
        run = self.start()
        removeRegistry(self.site, STOP)
        transaction.commit()
        registry = addRegistry(self.site)
        transaction.commit()
        self.assertIsNot(registry, self.registry)
        self.assertIs(getRegistry(self.site), registry)
        self.assertEqual(self.listed(), [registry])
        self.assertIsNone(registry.get(run.id))
        self.assertNotEqual(registry.secret, self.registry.secret)
        # What was done is known to who reads the journals.
        actions, _ = registry.listActions()
        self.assertEqual([(action.verb, action.reason) for action in actions],
                         [('remove registry', None)])

    def test_it_may_be_removed_and_added_in_one_transaction(self):
        removeRegistry(self.site)
        registry = addRegistry(self.site)
        transaction.commit()
        self.assertIs(getRegistry(self.site), registry)
        self.assertEqual(self.listed(), [registry])

    def test_abort_takes_it_back(self):
        removeRegistry(self.site)
        transaction.abort()
        self.assertIs(getRegistry(self.site), self.registry)
        self.assertEqual(self.listed(), [self.registry])

    def test_waiting_run_is_a_refusal_that_counts_and_changes_nothing(self):
        run = self.start()
        with self.assertRaises(RegistryInUse) as caught:
            removeRegistry(self.site)
        text = str(caught.exception)
        self.assertIn('0 in work and 1 that wait', text)
        self.assertIn("1 of 'work'", text)
        self.assertIn("'stop' or 'discard'", text)
        self.assertEqual(run.state, 'pending')
        self.assertIs(getRegistry(self.site), self.registry)

    def test_finished_runs_are_none(self):
        run = self.start()
        self.registry.requestStop(run.id)
        transaction.commit()
        self.assertEqual(removeRegistry(self.site), 0)

    def test_waiting_runs_are_stopped(self):
        for how in STOP, DISCARD:
            with self.subTest(how):
                run = self.start()
                self.assertEqual(removeRegistry(self.site, how, 'old'), 0)
                self.assertEqual(run.state, 'stopped')
                self.assertEqual(run.stop_request[2], 'old')
                transaction.abort()

    def test_odd_arguments_are_refused(self):
        for how in 'all', None, True, [], '':
            with self.subTest(how=how):
                with self.assertRaises(ValueError) as caught:
                    removeRegistry(self.site, how)
                self.assertIn("'refuse', 'stop', 'discard'",
                              str(caught.exception))

    def test_site_without_one_of_its_own_is_refused(self):
        sub = self.site['sub'] = Folder()
        for site in sub, object(), None:
            with self.assertRaises(RegistryNotFound) as caught:
                removeRegistry(site)
            self.assertIn('one of its own', str(caught.exception))
        sub.setSiteManager(LocalSiteManager(sub))
        with self.assertRaises(RegistryNotFound):
            removeRegistry(sub)
        self.assertIs(getRegistry(self.site), self.registry)

    def test_registry_of_a_site_below_leaves_that_above(self):
        sub = self.site['sub'] = Folder()
        sub.setSiteManager(LocalSiteManager(sub))
        addRegistry(sub)
        transaction.commit()
        removeRegistry(sub)
        transaction.commit()
        self.assertEqual(self.listed(), [self.registry])

    def test_site_manager_that_is_no_folder(self):
        site = self.connection.root()['flat'] = FlatSite()
        transaction.commit()
        registry = addRegistry(site)
        transaction.commit()
        self.assertIn(registry, self.listed())
        removeRegistry(site)
        transaction.commit()
        self.assertEqual(self.listed(), [self.registry])
        self.assertIsInstance(site.getSiteManager(), PersistentComponents)
        self.assertIsNot(addRegistry(site), registry)

    def test_registry_registered_under_a_name(self):
        manager = self.site.getSiteManager()
        removeRegistry(self.site)
        registry = manager['mine'] = type(self.registry)()
        manager.registerUtility(registry, IWorkerRegistry, name='x')
        transaction.commit()
        removeRegistry(self.site)
        transaction.commit()
        self.assertNotIn('mine', manager)
        self.assertIsNone(ownRegistry(self.site))

    def test_start_that_it_does_not_see_makes_it_conflict(self):
        removeRegistry(self.site)
        manager = transaction.TransactionManager()
        connection = self.db.open(manager)
        manager.begin()
        registry = connection.get(self.registry._p_oid)
        registry.start('work')
        manager.commit()
        connection.close()
        with self.assertRaises(ConflictError):
            transaction.commit()
        transaction.abort()
        with self.assertRaises(RegistryInUse):
            removeRegistry(self.site)

    def test_reason_shows_no_secret_of_a_run(self):
        declareWorker('secret', lambda worker, password: None, schema=ISecret)
        run = self.registry.start('secret', password='Sesame-4711')
        transaction.commit()
        removeRegistry(self.site, STOP, 'because of Sesame-4711')
        self.assertNotIn('Sesame', run.stop_request[2])
        directory = getDirectory(self.connection)
        row, = directory.journal.lasting.values()
        self.assertNotIn('Sesame', str(row))


class ISecret(Interface):

    password = Password(title='Password')


class PermissionTests(SiteTests):

    def setUp(self):
        super().setUp()
        self.grant = Grants(self)
        self.installer = RegistryInstaller(self.site)
        self.addCleanup(endInteraction)
        declareWorker('work', lambda worker: None)

    def assertRefused(self, *arguments):
        with self.assertRaises(Unauthorized):
            self.installer.uninstall(*arguments)
        self.assertIsNotNone(self.installer.queryRegistry())

    def test_it_takes_the_permission_to_manage(self):
        login('bob')
        self.assertFalse(self.installer.mayUninstall())
        self.assertRefused(DISCARD)
        self.grant('bob', self.site, MANAGE_WORKERS)
        self.assertTrue(self.installer.mayUninstall())
        self.assertEqual(self.installer.uninstall('refuse'), 0)
        self.assertFalse(self.installer.mayUninstall())

    def test_runs_take_the_permission_to_stop_as_well(self):
        self.registry.start('work')
        login('bob')
        self.grant('bob', self.site, MANAGE_WORKERS)
        self.assertEqual(self.installer.countUnfinished(), (0, 1))
        for how in STOP, DISCARD:
            self.assertRefused(how)
        self.grant('bob', self.site, STOP_WORKERS)
        self.assertEqual(self.installer.uninstall(STOP), 0)

    def test_what_is_hidden_is_not_removed(self):
        declareWorker('hidden', lambda worker: None,
                      view_permission='app.Secrets')
        login('bob')
        self.grant('bob', self.site, MANAGE_WORKERS, STOP_WORKERS)
        self.assertFalse(self.installer.mayUninstall())
        self.assertRefused(DISCARD)
        self.grant('bob', self.site, 'app.Secrets')
        self.assertTrue(self.installer.mayUninstall())


class LiveRemoveTests(LiveTests):
    """What the runtime makes of it."""

    def work(self, worker):
        getSite()['counter'].value += 1
        self.gate.stop()

    def begin_work(self, **values):
        declareWorker('work', self.work, **values)
        run_id = self.start('work')
        self.gate.waitReached()
        return run_id

    def remove(self, *arguments):
        return self.change(lambda: removeRegistry(self.site, *arguments))

    def assertIdle(self):
        waitUntil(lambda: not self.runtime.allLive(), 'the end of the work')
        self.waitTurn()
        self.assertNotIn('Traceback', self.logged.getvalue())
        self.assertEqual(self.runtime.listTroubles(), ())

    def assertWorksAgain(self):
        self.begin()
        self.registry = addRegistry(self.site)
        transaction.commit()
        declareWorker('again', lambda worker: None)
        self.assertEqual(self.carryOut('again').state, 'succeeded')

    def test_work_is_a_refusal(self):
        self.begin_work()
        with self.assertRaises(RegistryInUse) as caught:
            self.remove()
        self.assertIn('1 in work and 0 that wait', str(caught.exception))
        transaction.abort()
        self.gate.open()

    def test_work_is_stopped_and_then_the_registry_goes(self):
        run_id = self.begin_work()
        waiting = self.start('work', context=None)
        self.requestStop(waiting)
        self.assertEqual(self.remove(STOP), 1)
        self.assertIsNotNone(ownRegistry(self.site))
        self.assertEqual(self.remove(STOP), 1)   # it still works
        self.gate.open()
        self.waitFinished(run_id)
        self.assertEqual(self.remove(), 0)
        self.assertIdle()
        self.assertWorksAgain()

    def test_discarded_work_commits_nothing(self):
        for values in {}, {'on_interrupt': 'fail'}, {'max_running': 1}:
            with self.subTest(values):
                self.gate.__init__()
                run_id = self.begin_work(**values)
                run = self.registry.get(run_id)
                before = self.value()
                self.assertEqual(self.remove(DISCARD), 0)
                self.gate.open()
                self.assertIdle()
                self.assertEqual(self.value(), before)
                self.assertEqual(run.state, 'interrupted')
                self.assertWorksAgain()

    def test_discarded_loop_ends(self):
        rounds = []

        class Loop(BackgroundWorkerThread):
            def scheduleNextWork(self):
                return not self.wait(0.01)

            def doWork(self):
                rounds.append(getSite()['counter'].value)

        declareWorker('loop', factory=Loop, is_loop=True)
        self.start('loop')
        waitUntil(lambda: rounds)
        self.remove(DISCARD)
        self.assertIdle()

    def test_nothing_begins_that_waited(self):
        declareWorker('later', lambda worker: self.fail('it began'))
        with self.nothingDue():
            run_id = self.start('later')
            run = self.registry.get(run_id)
            self.waitTurn()
            self.remove(DISCARD)
        self.assertIdle()
        self.assertEqual(run.state, 'stopped')

    def test_undo_brings_it_back_and_it_works(self):
        declareWorker('work', lambda worker: None)
        run_id = self.carryOut('work').id
        self.assertEqual(self.remove(), 0)
        self.assertIsNone(ownRegistry(self.site))
        self.waitTurn()

        def undo():
            info = [one for one in self.db.undoInfo(0, 20)
                    if 'remove registry' in one['description']]
            self.db.undo(info[0]['id'])

        self.change(undo)
        self.begin()
        self.assertIs(ownRegistry(self.site), self.registry)
        self.assertEqual(self.registry.getStatus(run_id).state,
                         'succeeded')
        self.assertEqual(self.carryOut('work').state, 'succeeded')

    def test_site_that_is_removed_with_its_registry(self):
        def add():
            sub = self.site['sub'] = Folder()
            sub.setSiteManager(LocalSiteManager(sub))
            return addRegistry(sub)

        registry = self.change(add)
        declareWorker('work', lambda worker: self.gate.stop())
        run = self.change(lambda: registry.start('work'))
        self.gate.waitReached()
        self.change(lambda: self.site.__delitem__('sub'))
        self.gate.open()
        waitUntil(lambda: not self.runtime.allLive())
        self.waitTurn()
        self.begin()
        self.assertEqual(
            getDirectory(self.connection).listRegistries(), [self.registry])
        self.assertIsNone(run.context)
        self.assertEqual(self.carryOut('work').state, 'succeeded')

    def test_start_in_a_removed_registry_begins_nothing(self):
        declareWorker('work', lambda worker: None)
        self.remove()
        with self.assertRaises(UnknownWorkerType):
            self.registry.start('nothing')
        self.begin()
        with self.assertRaises(RegistryNotFound):
            self.registry.getSite()
