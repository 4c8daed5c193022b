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
"""A registry for a site, and where to find it."""
import transaction
from persistent import Persistent
from zope.component import hooks
from zope.component import provideAdapter
from zope.component.interfaces import ISite
from zope.component.persistentregistry import PersistentComponents
from zope.interface import Interface
from zope.interface import implementer
from zope.interface.verify import verifyObject
from zope.location.traversing import LocationPhysicallyLocatable
from zope.security.interfaces import NoInteraction
from zope.security.interfaces import Unauthorized
from zope.security.management import newInteraction
from zope.security.management import system_user
from zope.site.folder import Folder
from zope.site.folder import rootFolder
from zope.site.site import LocalSiteManager
from zope.site.site import SiteManagerAdapter

from cipher.background.interfaces import InvalidSite
from cipher.background.interfaces import IRegistryInstaller
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import RegistryNotFound
from cipher.background.registry.installation import RegistryInstaller
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import getRegistry
from cipher.background.registry.registry import WorkerRegistry
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.sites import Document
from cipher.background.tests.support.sites import Participation
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import declare
from cipher.background.tests.support.sites import login
from cipher.background.util.host import NAME


@implementer(ISite)
class FlatSite(Persistent):
    """A site whose manager is no folder."""

    __name__ = __parent__ = None

    def __init__(self):
        self._manager = PersistentComponents()

    def getSiteManager(self):
        return self._manager

    def setSiteManager(self, manager):
        self._manager = manager


class InstallationTests(SiteTests):

    def listed(self):
        return getDirectory(self.connection).listRegistries()

    def addSite(self, name='sub'):
        site = self.site[name] = Folder()
        site.setSiteManager(LocalSiteManager(site))
        return site

    def test_registry_is_in_the_site_manager_and_found(self):
        manager = self.site.getSiteManager()
        self.assertIs(manager[NAME], self.registry)
        self.assertIs(manager.queryUtility(IWorkerRegistry), self.registry)
        self.assertIs(self.registry.getSite(), self.site)
        self.assertEqual(self.listed(), [self.registry])

    def test_second_call_gives_the_same_registry(self):
        self.assertIs(addRegistry(self.site), self.registry)
        self.assertIs(addRegistry(self.site), self.registry)
        self.assertEqual(self.listed(), [self.registry])

    def test_site_below_has_a_registry_of_its_own(self):
        site = self.addSite()
        registry = addRegistry(site)
        transaction.commit()
        self.assertIsNot(registry, self.registry)
        self.assertNotEqual(registry.secret, self.registry.secret)
        self.assertIs(registry.getSite(), site)
        self.assertEqual(
            {item._p_oid for item in self.listed()},
            {registry._p_oid, self.registry._p_oid})

    def test_abort_takes_the_registry_back(self):
        site = self.addSite()
        transaction.commit()
        addRegistry(site)
        transaction.abort()
        self.assertNotIn(NAME, site.getSiteManager())
        self.assertEqual(self.listed(), [self.registry])
        self.assertIsNot(addRegistry(site), self.registry)

    def test_site_that_is_not_stored_is_refused(self):
        site = rootFolder()
        site.setSiteManager(LocalSiteManager(site))
        with self.assertRaises(InvalidSite) as caught:
            addRegistry(site)
        self.assertIn('stored in a database', str(caught.exception))
        self.assertNotIn(NAME, site.getSiteManager())

    def test_object_without_a_site_manager_is_refused(self):
        self.site['plain'] = Folder()
        for obj in self.site['plain'], Document(), object(), None:
            with self.subTest(obj=type(obj)):
                with self.assertRaises(InvalidSite) as caught:
                    addRegistry(obj)
                self.assertIn('without a site manager', str(caught.exception))

    def test_site_manager_that_is_no_folder_serves(self):
        provideAdapter(SiteManagerAdapter)
        site = self.connection.root()['flat'] = FlatSite()
        transaction.commit()
        registry = addRegistry(site)
        transaction.commit()
        self.assertIs(registry.getSite(), site)
        self.assertIs(getRegistry(site), registry)
        self.assertIn(registry, self.listed())
        self.assertIs(addRegistry(site), registry)

    def test_registry_registered_by_hand_is_listed(self):
        declare('<subscriber '
                'handler="cipher.background.subscribers.registryRegistered"'
                ' />')
        site = self.addSite()
        manager = site.getSiteManager()
        registry = manager['mine'] = WorkerRegistry()
        manager.registerUtility(registry, IWorkerRegistry)
        transaction.commit()
        self.assertIn(registry, self.listed())
        self.assertIs(addRegistry(site), registry)

    def test_registry_of_a_removed_site_is_not_listed(self):
        registry = addRegistry(self.addSite())
        transaction.commit()
        self.assertIn(registry, self.listed())
        del self.site['sub']
        transaction.commit()
        self.assertEqual(self.listed(), [self.registry])

    def test_installer_asks_for_the_permission(self):
        site = self.addSite()
        installer = RegistryInstaller(site)
        with self.assertRaises(NoInteraction):
            installer.install()
        login('bob')   # the policy of the tests permits nobody anything
        self.assertFalse(installer.mayInstall())
        with self.assertRaises(Unauthorized):
            installer.install()
        self.assertNotIn(NAME, site.getSiteManager())

    def test_installer_adapts_a_site(self):
        site = self.addSite()
        installer = RegistryInstaller(site)
        verifyObject(IRegistryInstaller, installer)
        newInteraction(Participation(system_user))
        self.assertTrue(installer.mayInstall())
        registry = installer.install()
        self.assertIs(site.getSiteManager()[NAME], registry)
        self.assertIs(installer.install(), registry)


class GetRegistryTests(SiteTests):

    def test_registry_of_the_current_site_is_found(self):
        hooks.setSite(self.site)
        self.assertIs(getRegistry(), self.registry)

    def test_nearest_registry_from_below_is_found(self):
        provideAdapter(SiteManagerAdapter)
        provideAdapter(LocationPhysicallyLocatable, (Interface,))
        sub = self.site['sub'] = Folder()
        sub.setSiteManager(LocalSiteManager(sub))
        self.assertIs(getRegistry(sub), self.registry)
        nearer = addRegistry(sub)
        self.assertIs(getRegistry(sub), nearer)

    def test_no_registry_is_an_error_that_says_what_to_do(self):
        with self.assertRaises(RegistryNotFound) as caught:
            getRegistry()
        self.assertIn('add it with addRegistry(site)', str(caught.exception))
