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
"""What a run needs is gone when its work is to begin."""
import transaction
from zope.authentication.interfaces import IAuthentication
from zope.authentication.interfaces import PrincipalLookupError
from zope.component import provideUtility
from zope.component.hooks import getSite
from zope.interface import implementer
from zope.security.management import endInteraction
from zope.security.management import setSecurityPolicy
from zope.security.simplepolicies import PermissiveSecurityPolicy

from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import StarterGone
from cipher.background.tests.support.live import FailingTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import Document
from cipher.background.tests.support.sites import Principal
from cipher.background.tests.support.sites import login
from cipher.background.tests.support.sites import makeSite
from cipher.background.thread import BackgroundWorkerThread


@implementer(IAuthentication)
class Authentication:
    """Knows bob."""

    error = PrincipalLookupError

    def getPrincipal(self, id):
        if id != 'bob':
            raise self.error(id)
        return Principal(id)


class GoneTests(FailingTests):
    """What the run needs is not there any more."""

    def setUp(self):
        super().setUp()
        self.runtime.shutdown()
        self.addCleanup(setSecurityPolicy, setSecurityPolicy(
            PermissiveSecurityPolicy))

    def resume(self):
        self.begin()
        transaction.commit()
        self.runtime = self.startRuntime()

    def assertFails(self, run_id, error_type):
        status = self.waitFinished(run_id)
        self.assertEqual((status.state, status.error_type),
                         ('failed', error_type))
        self.assertEqual(self.value(), 0)
        return status

    def declare_both(self):
        """Declare a job and a loop; return their names."""
        def work(worker):
            getSite()['counter'].value += 1

        class Loop(BackgroundWorkerThread):
            def scheduleNextWork(self):
                return not self.stop_requested

            def doWork(self):
                work(self)

        declareWorker('job', work)
        declareWorker('loop', factory=Loop, is_loop=True)
        return 'job', 'loop'

    def test_context_deleted(self):
        for name in self.declare_both():
            for is_packed in False, True:
                with self.subTest('%s %s' % (name, is_packed)):
                    self.begin()
                    self.site['doomed'] = doomed = Document()
                    run_id = self.registry.start(name, doomed).id
                    transaction.commit()
                    del self.site['doomed'], doomed
                    transaction.commit()
                    if is_packed:
                        self.db.pack()
                    self.resume()
                    status = self.assertFails(run_id, 'ContextGone')
                    self.assertIn('the context is gone', status.error_text)
                    self.runtime.shutdown()

    def test_context_of_a_run_whose_permission_is_checked(self):
        name, _ = self.declare_both()
        login('bob')
        self.begin()
        self.site['doomed'] = doomed = Document()
        run_id = self.registry.startByPrincipal(name, doomed).id
        transaction.commit()
        endInteraction()
        del self.site['doomed'], doomed
        transaction.commit()
        setSecurityPolicy(RefusingPolicy)
        self.resume()
        self.assertFails(run_id, 'ContextGone')

    def test_principal_that_is_gone(self):
        provideUtility(Authentication(), IAuthentication)
        for name in self.declare_both():
            with self.subTest(name):
                login('alice')
                run_id = self.start(name)
                endInteraction()
                self.resume()
                status = self.assertFails(run_id, StarterGone.__name__)
                self.assertIn('got none of that id', status.error_text)
                self.runtime.shutdown()

    def test_principal_that_is_there(self):
        provideUtility(Authentication(), IAuthentication)
        name, _ = self.declare_both()
        login('bob')
        run_id = self.start(name)
        endInteraction()
        self.resume()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def test_authentication_that_exits(self):
        provideUtility(Authentication(), IAuthentication)
        self.patch(__name__ + '.Authentication.error', SystemExit)
        for name in self.declare_both():
            with self.subTest(name):
                login('alice')
                run_id = self.start(name)
                endInteraction()
                self.resume()
                self.assertFails(run_id, 'SystemExit')
                self.assertGoesOn()
                self.runtime.shutdown()

    def test_permission_that_was_revoked(self):
        for name in self.declare_both():
            with self.subTest(name):
                setSecurityPolicy(PermissiveSecurityPolicy)
                login('bob')
                self.begin()
                run_id = self.registry.startByPrincipal(name).id
                trusted = self.registry.start('job').id
                transaction.commit()
                endInteraction()
                setSecurityPolicy(RefusingPolicy)
                self.resume()
                status = self.waitFinished(run_id)
                self.assertEqual((status.state, status.error_type),
                                 ('failed', StarterGone.__name__))
                # Trusted code is not asked.
                self.assertEqual(self.waitFinished(trusted).state,
                                 'succeeded')
                self.runtime.shutdown()

    def remove_site(self):
        manager = transaction.TransactionManager()
        connection, site, registry = makeSite(self.db, 'Other', manager)
        self.addCleanup(connection.close)
        self.addCleanup(manager.abort)
        self.resume()
        return manager, connection, registry

    def test_site_removed_before_the_work(self):
        for name in self.declare_both():
            with self.subTest(name):
                manager, connection, registry = self.remove_site()
                # If the control thread notices first, it forgets the lane.
                self.runtime._maintenance._homes.turn = lambda connection: None
                self.waitTurn()
                manager.begin()
                run = registry.start(name)
                del connection.root()['Other']
                manager.commit()

                def is_finished(run=run, manager=manager):
                    manager.begin()
                    return run.isFinished()

                waitUntil(is_finished)
                self.assertEqual(run.error[0], 'SiteGone')
                self.assertIn('the site is gone', run.error[1])
                self.assertGoesOn()
                self.runtime.shutdown()

    def test_registry_removed_from_its_site(self):
        name, _ = self.declare_both()
        manager, connection, registry = self.remove_site()
        manager.begin()
        place = registry._p_oid, registry.start(name).lane
        site = connection.root()['Other']
        site.getSiteManager().unregisterUtility(
            registry, IWorkerRegistry)
        del site.getSiteManager()['background']
        manager.commit()
        self.assertGoesOn()
        # A thread notices, or the control thread before that.
        waitUntil(lambda: 'was removed' in self.logged.getvalue()
                  or not self.runtime.backlog.isHome(place))
        waitUntil(lambda: not self.runtime.allLive())
        self.assertNotIn('trying again', self.logged.getvalue())

    def test_site_removed_and_packed_while_it_works(self):
        def work(worker):
            self.gate.stop()
            raise ValueError('planned')

        declareWorker('job', work)
        manager, connection, registry = self.remove_site()
        manager.begin()
        registry.start('job')
        manager.commit()
        self.gate.waitReached()
        manager.begin()
        del connection.root()['Other']
        manager.commit()
        self.db.pack()
        self.gate.open()
        waitUntil(lambda: not self.runtime.allLive(), 'its end')
        self.assertGoesOn()
        self.assertNotIn('could not be written', self.logged.getvalue())
        self.assertIn('the registry was removed', self.logged.getvalue())

    def test_site_removed_and_packed(self):
        name, _ = self.declare_both()
        manager, connection, registry = self.remove_site()
        # The one thread is busy while the run becomes known and goes away.
        self.runtime.shutdown()
        self.runtime = self.startRuntime(threads=1)
        declareWorker('wait', lambda worker: self.gate.stop())
        self.start('wait')
        self.gate.waitReached()
        manager.begin()
        registry.start(name)
        manager.commit()
        del connection.root()['Other']
        manager.commit()
        self.db.pack()
        self.gate.open()
        self.assertGoesOn()
        self.waitTurn()
        self.runtime.shutdown()
        self.assertNotIn('could not be written', self.logged.getvalue())
        self.assertNotIn('trying again', self.logged.getvalue())
        self.assertNotIn('Turn of the runtime', self.logged.getvalue())


class RefusingPolicy(PermissiveSecurityPolicy):
    """Permits nothing."""

    def checkPermission(self, permission, object):
        return False
