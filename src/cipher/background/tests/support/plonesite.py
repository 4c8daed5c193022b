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
"""A real site of Plone under waitress, driven by HTTP.

Plone is configured once for a process, so all tests share one instance.
"""
import contextlib
import sys
import tempfile
import unittest
from importlib.util import find_spec
from pathlib import Path

import transaction

from cipher.background.registry.installation import getRegistry
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.pages import readFiles
from cipher.background.tests.support.zopesite import DrivenCase


HAS_PLONE = find_spec('Products.CMFPlone') is not None if find_spec(
    'Products') is not None else False

ADDON = 'cipher.background.hosts.plone'
BASE = '/plone/++background++'

#: Users of the site, with the role of each.  Each name is the role in lower
#: case; all have one password.
ROLES = {'manager': 'Manager', 'admin': 'Site Administrator',
         'editor': 'Editor', 'member': 'Member'}

SITE = """
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:background="http://namespaces.zope.org/background"
    xmlns:browser="http://namespaces.zope.org/browser"
    xmlns:five="http://namespaces.zope.org/five"
    i18n_domain="test">
  <include package="Zope2.App" />
  <five:loadProducts file="meta.zcml" />
  <five:loadProducts />
  <five:loadProductsOverrides />
  <include file="background.zcml" />
  %s
</configure>
"""


@unittest.skipUnless(HAS_PLONE, 'Plone is not installed')
class PloneCase(DrivenCase):
    """Base of tests with a site of Plone; *zcml* declares their workers."""

    base = BASE
    zcml = ''

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        home = Path(folder.name)
        # The site of the page of the documentation.
        files = readFiles(requirePage('plone.rst'))
        (home / 'workers.py').write_text(files['workers.py'])
        sys.path.insert(0, str(home))
        cls.addClassCleanup(sys.path.remove, str(home))
        app = cls.makeInstance(
            site=SITE % cls.zcml, background=files['background.zcml'])
        cls.root.acl_users.userFolderAddUser(
            'owner', 'secret', ['Manager'], [])
        transaction.commit()
        cls.makeSite('plone')
        cls.install()
        cls.serve(app)

    @classmethod
    def makeSite(cls, name):
        """Add a site of Plone with users; return it."""
        from Products.CMFPlone.factory import addPloneSite
        from Testing.makerequest import makerequest
        with cls.acting('owner', cls.root.acl_users), cls.requesting():
            addPloneSite(makerequest(cls.root), name, extension_ids=(
                'plonetheme.barceloneta:default',
                'plone.app.contenttypes:default'))
        site = cls.root[name]
        for user, role in ROLES.items():
            site.acl_users.userFolderAddUser(user, 'secret', [role], [])
        transaction.commit()
        return site

    @classmethod
    def install(cls, site=None, profile='default'):
        """Install the add-on in *site*."""
        site = cls.root['plone'] if site is None else site
        with cls.acting('owner', cls.root.acl_users), cls.requesting(site):
            site.portal_setup.runAllImportStepsFromProfile(
                'profile-%s:%s' % (ADDON, profile))
        transaction.commit()

    @classmethod
    @contextlib.contextmanager
    def requesting(cls, site=None):
        """Work with a request, in *site*."""
        from Testing.makerequest import makerequest
        from zope.component.hooks import setSite
        from zope.globalrequest import clearRequest
        from zope.globalrequest import setRequest
        setRequest(makerequest(cls.root).REQUEST)
        setSite(site)
        try:
            yield
        finally:
            setSite(None)
            clearRequest()

    def setUp(self):
        transaction.begin()
        self.site = self.root['plone']
        self.registry = getRegistry(self.site)

    def add(self, container, name, portal_type='Document', **fields):
        """Add content, remove it after the test; return it."""
        with self.acting('owner', self.root.acl_users), self.requesting(
                self.site):
            container.invokeFactory(portal_type, name, **fields)
            transaction.commit()
        self.addCleanup(self.delete, container, name)
        return container[name]

    def delete(self, container, name):
        """Delete content, if it is there."""
        transaction.begin()
        if name in container.objectIds():
            with self.acting('owner', self.root.acl_users), self.requesting(
                    self.site):
                container.manage_delObjects([name])
        transaction.commit()
