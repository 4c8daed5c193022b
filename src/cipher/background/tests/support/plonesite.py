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
import base64
import contextlib
import json
import re
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import transaction

from cipher.background.interfaces import FINISHED_STATES
from cipher.background.registry.installation import getRegistry
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.pages import readFiles


HAS_PLONE = find_spec('Products.CMFPlone') is not None if find_spec(
    'Products') is not None else False

ADDON = 'cipher.background.hosts.plone'
BASE = '/plone/++background++'

#: Users of the site, with the role of each.  Each name is the role in lower
#: case; all have one password.
ROLES = {'manager': 'Manager', 'admin': 'Site Administrator',
         'editor': 'Editor', 'member': 'Member'}

CONF = """
%%define INSTANCE %s
instancehome $INSTANCE
<zodb_db main>
  <filestorage>
    path $INSTANCE/Data.fs
  </filestorage>
  mount-point /
</zodb_db>
"""

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


class _NoRedirect(urllib.request.HTTPRedirectHandler):

    def redirect_request(self, *arguments):
        return None


def _serve(server):
    try:
        server.run()
    except OSError:
        pass   # its socket was closed


@unittest.skipUnless(HAS_PLONE, 'Plone is not installed')
class PloneCase(unittest.TestCase):
    """Base of tests with a site of Plone; *zcml* declares their workers."""

    layer = Live
    zcml = ''

    @classmethod
    def setUpClass(cls):
        from waitress.server import create_server
        from Zope2.Startup.run import make_wsgi_app
        from ZPublisher.httpexceptions import HTTPExceptionHandler
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        home = Path(folder.name)
        (home / 'etc').mkdir()
        (home / 'etc' / 'site.zcml').write_text(SITE % cls.zcml)
        # The site of the page of the documentation.
        files = readFiles(requirePage('plone.rst'))
        (home / 'etc' / 'background.zcml').write_text(
            files['background.zcml'])
        (home / 'workers.py').write_text(files['workers.py'])
        sys.path.insert(0, str(home))
        cls.addClassCleanup(sys.path.remove, str(home))
        (home / 'zope.conf').write_text(CONF % home)
        app = make_wsgi_app({}, str(home / 'zope.conf'))
        import Zope2
        cls.root = Zope2.app()
        cls.root.acl_users.userFolderAddUser(
            'owner', 'secret', ['Manager'], [])
        transaction.commit()
        cls.makeSite('plone')
        cls.install()
        server = create_server(
            HTTPExceptionHandler(app), host='127.0.0.1', port=0)
        cls.url = 'http://127.0.0.1:%d' % int(server.effective_port)
        thread = threading.Thread(target=_serve, args=[server], daemon=True)
        thread.start()
        cls.addClassCleanup(cls._end, server, thread)

    @classmethod
    def _end(cls, server, thread):
        from cipher.background.util.switchboard import queryRuntime
        server.close()
        thread.join(10)
        transaction.abort()
        db = cls.root._p_jar.db()
        cls.root._p_jar.close()
        queryRuntime(db).shutdown()
        db.close()

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

    @classmethod
    @contextlib.contextmanager
    def acting(cls, user, folder):
        from AccessControl.SecurityManagement import newSecurityManager
        from AccessControl.SecurityManagement import noSecurityManager
        newSecurityManager(None, folder.getUserById(user).__of__(folder))
        try:
            yield
        finally:
            noSecurityManager()

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

    def get(self, path, user=None, data=None, **headers):
        """Return (status, headers, text) of the answer."""
        request = urllib.request.Request(
            self.url + path, data=data, headers=headers)
        if user:
            given = base64.b64encode(b'%s:secret' % user.encode())
            request.add_header('Authorization', 'Basic ' + given.decode())
        try:
            answer = urllib.request.build_opener(_NoRedirect).open(
                request, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with contextlib.closing(answer):
            return answer.status, answer.headers, answer.read().decode()

    def send(self, path, user, body, base=BASE):
        """POST JSON with the token of *user*; return (status, data)."""
        status, _headers, text = self.get(base + '/token.json', user)
        token = json.loads(text)['csrf_token'] if status == 200 else ''
        status, headers, text = self.get(
            base + path, user, json.dumps(body).encode(),
            **{'Content-Type': 'application/json', 'X-CSRF-Token': token})
        is_json = 'json' in headers['Content-Type']
        return status, json.loads(text) if text and is_json else text

    def fill(self, path, user, **values):
        """Send the form of the page *path* with *values*.

        Return (status, headers, text).
        """
        text = self.get(path, user)[2]
        fields = dict(re.findall(
            r'<(?:input|button)[^>]*name="([^"]*)"[^>]*value="([^"]*)"',
            text))
        return self.get(path, user, urllib.parse.urlencode(
            {**fields, **values}).encode())

    def wait(self, run_id, registry=None):
        """Wait until the run is finished; return its status."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            transaction.begin()
            status = (registry or self.registry).getStatus(run_id)
            if status.state in FINISHED_STATES:
                return status
            time.sleep(0.05)
        self.fail('run %s does not end' % run_id)
