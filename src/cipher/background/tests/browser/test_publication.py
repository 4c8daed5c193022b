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
"""Nothing is published but views: all that is registered is tried."""
import shutil
import tempfile
import unittest
from io import BytesIO
from pathlib import Path

import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.app.publication.zopepublication import ZopePublication
from zope.app.wsgi import WSGIPublisherApplication
from zope.component import getGlobalSiteManager
from zope.component import getMultiAdapter
from zope.component import getUtilitiesFor
from zope.component.hooks import setSite
from zope.component.testlayer import ZCMLFileLayer
from zope.event import notify
from zope.interface import Interface
from zope.location.interfaces import LocationError
from zope.processlifetime import DatabaseOpened
from zope.publisher.browser import TestRequest
from zope.publisher.http import HTTPRequest
from zope.publisher.interfaces import NotFound
from zope.publisher.interfaces.browser import IBrowserPublisher
from zope.publisher.interfaces.browser import IBrowserRequest
from zope.publisher.interfaces.browser import IBrowserSkinType
from zope.publisher.interfaces.browser import IDefaultBrowserLayer
from zope.publisher.skinnable import applySkin
from zope.publisher.xmlrpc import XMLRPCRequest
from zope.security.interfaces import IPermission
from zope.securitypolicy.interfaces import IPrincipalPermissionManager
from zope.traversing.interfaces import ITraversable

import cipher.background.demo
from cipher.background.browser.interfaces import IBackgroundLayer
from cipher.background.browser.traversing import markRequest
from cipher.background.demo.documents import Document
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import getRegistry
from cipher.background.tests.browser.test_security import findViews
from cipher.background.tests.support import addresses as walk
from cipher.background.tests.support.browser import BrowserTests


#: Stands in what no answer but that of a view shows.
MARK = 'Sesame'


class ISkin(IDefaultBrowserLayer):
    """A skin of the host."""


def addSkin(test):
    """Add a skin for the time of a test."""
    manager = getGlobalSiteManager()
    manager.registerUtility(ISkin, IBrowserSkinType, 'Skin')
    test.addCleanup(
        manager.unregisterUtility, ISkin, IBrowserSkinType, 'Skin')


def makeRequest():
    """Return a request that has come below ++background++."""
    request = TestRequest()
    applySkin(request, IBackgroundLayer)
    return request


class PublicationWalk(walk.Walk):
    """What holds of all that is tried."""

    skin = 'Skin'

    def start(self):
        addSkin(self)
        walk.addNamespaces(self)
        self.namespaces = walk.findNamespaces()

    def findViewNames(self, ob):
        """Return the names of the views of ours for *ob*."""
        return {registration.name for registration, _view in findViews()
                if registration.required[0].providedBy(ob)
                and registration.required[0] is not Interface
                and registration.name}

    def check(self, objects, views):
        """Walk; *views* are the names that may answer, by path."""
        count = 0
        tid = self.db.lastTransaction()
        for path, namespace, name, user, method, answer in self.walk(objects):
            count += 1
            what = '%s %s ++%s++%s as %s' % (
                method, path, namespace, name, user)
            if answer.error is not None:
                self.fail('%s: %r' % (what, answer.error))
            if self.db.lastTransaction() != tid:
                self.fail('%s: %s, committed' % (what, answer.status))
            if self.answers(namespace, name, views.get(path, ())):
                continue
            if answer.is_shown:
                self.fail('%s: %s' % (what, answer.status))
            self.assertNotIn(MARK.encode(), answer.body, what)
            if method in walk.BROWSER and self.isOurs(path):
                self.assertIn('Content-Security-Policy', answer.headers, what)
                self.assertIn('X-Content-Type-Options', answer.headers, what)
        return count

    def answers(self, namespace, name, views):
        return namespace == 'view' and name in views

    def isOurs(self, path):
        """Return whether the answer is one of our own pages."""
        return '++background++' in path


class TestBelowRegistry(PublicationWalk, BrowserTests):

    users = (None, 'viewer', 'editor', 'admin', 'stranger')
    turns = 2

    def setUp(self):
        super().setUp()
        self.start()
        other = self.root['other']
        addRegistry(other)
        grants = IPrincipalPermissionManager(other)
        for permission, _utility in getUtilitiesFor(IPermission):
            if permission != 'zope.Public':
                grants.grantPermissionToPrincipal(permission, 'test.stranger')
        self.failed = self.makeFailed(error=('ValueError', MARK))
        self.run_id = self.failed.id
        with_run = addRegistry(other)
        self.other_run = with_run.start('plain')
        transaction.commit()
        self.db = self.registry._p_jar.db()
        self.application = WSGIPublisherApplication(self.db)
        self.values = (self.run_id, 'plain')

    def test_nothing_but_views_is_published_below_a_registry(self):
        request = makeRequest()
        objects, views = {}, {}
        everything = walk.findOtherNames()
        everything |= {'', 'en', 'http:evil.example:80', 'errors', 'source'}
        for path, ob in (
                ('/++background++', self.registry),
                ('/++background++/' + self.run_id, self.failed),
                ('/++etc++site/background', self.registry),
                ('/other/++background++', getRegistry(self.root['other'])),
                ('/other/++background++/' + self.other_run.id,
                 self.other_run)):
            names = walk.findNames(ob) | walk.findViewNames(ob, request)
            everything |= names
            objects[path] = ob, names
            views[path] = self.findViewNames(ob)
        self.assertIn('requestStop', everything)
        self.assertIn('cipher-background.js', everything)
        self.assertIn('index.html', views['/++background++'])
        self.assertGreater(self.check(objects, views), 5000)
        self.turns = 1
        objects = {path: (ob, everything - names)
                   for path, (ob, names) in list(objects.items())[:1]}
        self.assertGreater(self.check(objects, views), 2000)

    def test_layer_is_for_browsers(self):
        for factory in XMLRPCRequest, HTTPRequest:
            request = factory(BytesIO(), {})
            # As ++skin++ does with each request.
            applySkin(request, ISkin)
            self.assertTrue(IBrowserRequest.providedBy(request))
            with self.assertRaises(NotFound):
                markRequest(request)
            with self.assertRaises(LocationError):
                getMultiAdapter((self.root, request), ITraversable,
                                'background').traverse('', ())
            self.assertFalse(IBackgroundLayer.providedBy(request))
        # Nor can anybody ask for it as a skin.
        self.assertNotIn(IBackgroundLayer, [
            skin for _name, skin in getUtilitiesFor(IBrowserSkinType)])

    def test_nothing_is_published_below_a_view(self):
        objects = {}
        for path, ob in (('', self.root), ('/other', self.root['other']),
                         ('/++background++', self.registry),
                         ('/++background++/' + self.run_id, self.failed)):
            for registration, view in findViews():
                if (registration.name and registration.required[0].providedBy(
                        ob) and registration.required[0] is not Interface
                        and IBrowserPublisher.providedBy(view)):
                    names = walk.findNames(view) | {'context', 'registry', ''}
                    objects['%s/@@%s' % (path, registration.name)] = (
                        view, names)
        self.assertGreater(len(objects), 25)
        self.assertGreater(self.check(objects, {}), 5000)


class DemoLayer(ZCMLFileLayer):
    """The demo without a runtime: only requests change its database."""

    def __init__(self):
        super().__init__(
            cipher.background.demo, 'application.zcml', 'QuietDemoLayer')

    def testSetUp(self):
        super().testSetUp()
        self.folder = tempfile.mkdtemp()
        self.db = DB(FileStorage(str(Path(self.folder, 'data.fs'))))
        notify(DatabaseOpened(self.db))

    def testTearDown(self):
        self.db.close()
        shutil.rmtree(self.folder)
        super().testTearDown()


DEMO_LAYER = DemoLayer()


class TestDemo(PublicationWalk, unittest.TestCase):

    layer = DEMO_LAYER
    users = (None, 'viewer', 'editor', 'admin')
    turns = 2

    def setUp(self):
        self.start()
        self.db = self.layer.db
        self.application = WSGIPublisherApplication(self.db)
        connection = self.db.open()
        self.addCleanup(connection.close)
        self.addCleanup(transaction.abort)
        self.addCleanup(setSite, None)
        self.root = connection.root()[ZopePublication.root_name]
        self.document = self.root['documents']['mark'] = Document(
            MARK, MARK)
        self.registry = getRegistry(self.root)
        self.run = self.registry.start('flaky', chance=0.25)
        transaction.commit()
        self.values = (self.run.id, 'documents')

    def test_nothing_but_views_is_published_in_the_demo(self):
        request = makeRequest()
        site_manager = self.root.getSiteManager()
        objects, views = {}, {}
        for path, ob in (
                ('/', self.root),
                ('/documents', self.root['documents']),
                ('/documents/mark', self.document),
                ('/++background++', self.registry),
                ('/++background++/' + self.run.id, self.run),
                ('/++etc++site', site_manager),
                ('/++etc++site/default', site_manager['default']),
                ('/++etc++site/background', self.registry)):
            names = walk.findNames(ob) | walk.findViewNames(ob, request)
            if hasattr(ob, 'keys') and path.count('/') < 3:
                names |= set(ob.keys())
            objects[path] = ob, names
            views[path] = self.findViewNames(ob)
        self.assertIn('__delitem__', objects['/documents'][1])
        self.assertGreater(self.check(objects, views), 4000)

    def answers(self, namespace, name, views):
        # The way to the registry and to the stylesheets.
        return super().answers(namespace, name, views) or (
            namespace, name) == ('background', '') or (
            namespace == 'view' and name == '')
