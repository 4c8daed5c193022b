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
"""A real instance of Zope under waitress, driven by HTTP.

Zope is configured once for a process, so all tests share one instance.
"""
import base64
import contextlib
import json
import re
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
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import getRegistry
from cipher.background.tests.support.layers import Live


HAS_ZOPE = find_spec('Zope2') is not None

BASE = '/site/++background++'

#: Seconds that an answer, or the work of a run, may take.
LIMIT = 60

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
    xmlns:five="http://namespaces.zope.org/five"
    xmlns:meta="http://namespaces.zope.org/meta"
    i18n_domain="test">
  <include package="Zope2.App" />
  <five:loadProducts file="meta.zcml" />
  <five:loadProducts />
  <include package="cipher.background.hosts.zope" />
  %s
</configure>
"""

VIEW = 'Background: see runs and worker types'
START = 'Background: start workers'
#: These pages ask for it themselves, as a starter may stop without it.
STOP = 'Background: stop runs'

#: {user: role}
USERS = {'viewer': 'Viewer', 'editor': 'Editor', 'boss': 'Manager'}


class _NoRedirect(urllib.request.HTTPRedirectHandler):

    def redirect_request(self, *arguments):
        return None


def _serve(server):
    try:
        server.run()
    except OSError:
        pass   # its socket was closed


class DrivenCase(unittest.TestCase):
    """Base of tests that drive an instance."""

    layer = Live
    base = BASE   # of the addresses of `send`
    limit = LIMIT

    @classmethod
    def makeInstance(cls, **files):
        """Make an instance with these *files* of its etc; return its WSGI.

        Set *root*, the root object.
        """
        from Zope2.Startup.run import make_wsgi_app
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        home = Path(folder.name)
        (home / 'etc').mkdir()
        for name, text in files.items():
            (home / 'etc' / (name + '.zcml')).write_text(text)
        (home / 'zope.conf').write_text(CONF % home)
        app = make_wsgi_app({}, str(home / 'zope.conf'))
        import Zope2
        cls.root = Zope2.app()
        return app

    @classmethod
    def serve(cls, app):
        """Serve *app* until the tests of the class have ended; set *url*."""
        from waitress.server import create_server
        from ZPublisher.httpexceptions import HTTPExceptionHandler
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
    @contextlib.contextmanager
    def acting(cls, user, folder):
        from AccessControl.SecurityManagement import newSecurityManager
        from AccessControl.SecurityManagement import noSecurityManager
        newSecurityManager(None, folder.getUserById(user).__of__(folder))
        try:
            yield
        finally:
            noSecurityManager()

    def get(self, path, user=None, data=None, **headers):
        """Return (status, headers, text) of the answer."""
        request = urllib.request.Request(
            self.url + path, data=data, headers=headers)
        if user:
            given = base64.b64encode(b'%s:secret' % user.encode())
            request.add_header('Authorization', 'Basic ' + given.decode())
        try:
            answer = urllib.request.build_opener(_NoRedirect).open(
                request, timeout=self.limit)
        except urllib.error.HTTPError as error:
            answer = error
        with contextlib.closing(answer):
            return answer.status, answer.headers, answer.read().decode()

    def send(self, path, user, body, base=None):
        """POST JSON with the token of *user*; return (status, data)."""
        base = base or self.base
        status, _headers, text = self.get(base + '/token.json', user)
        token = json.loads(text)['csrf_token'] if status == 200 else ''
        status, headers, text = self.get(
            base + path, user, json.dumps(body).encode(),
            **{'Content-Type': 'application/json', 'X-CSRF-Token': token})
        is_json = 'json' in (headers['Content-Type'] or '')
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

    def waitFor(self, look, what):
        """Wait until look() returns something; return it."""
        end = time.monotonic() + self.limit
        while time.monotonic() < end:
            transaction.begin()
            found = look()
            if found:
                return found
            time.sleep(0.05)
        self.fail('not in time: %s' % what)

    def wait(self, run_id, registry=None):
        """Wait until the run is finished; return its status."""
        registry = registry or self.registry

        def look():
            status = registry.getStatus(run_id)
            return status if status.state in FINISHED_STATES else None

        return self.waitFor(look, 'the end of run %s' % run_id)


@unittest.skipUnless(HAS_ZOPE, 'Zope is not installed')
class ZopeCase(DrivenCase):
    """Base of tests with a site in Zope; *zcml* declares their workers."""

    zcml = ''

    @classmethod
    def setUpClass(cls):
        from five.localsitemanager import make_objectmanager_site
        from OFS.Folder import manage_addFolder
        app = cls.makeInstance(site=SITE % cls.zcml)
        manage_addFolder(cls.root, 'site')
        make_objectmanager_site(cls.root.site)
        manage_addFolder(cls.root.site, 'inner')
        manage_addFolder(cls.root, 'other')
        make_objectmanager_site(cls.root.other)
        cls.root._addRole('Viewer')
        cls.root._addRole('Editor')
        users = cls.root.acl_users
        for user, role in USERS.items():
            users.userFolderAddUser(user, 'secret', [role], [])
        cls.root.manage_permission(VIEW, ['Manager', 'Editor', 'Viewer'], 0)
        cls.root.manage_permission(START, ['Manager', 'Editor'], 0)
        cls.root.site.inner.manage_addUserFolder()
        cls.root.site.inner.acl_users.userFolderAddUser(
            'boss', 'other', ['Manager'], [])
        transaction.commit()
        addRegistry(cls.root.site)
        transaction.commit()
        cls.serve(app)

    def setUp(self):
        from OFS.Folder import manage_addFolder
        transaction.begin()
        self.site = self.root.site
        self.registry = getRegistry(self.site)
        for name in 'one', 'two', 'three':
            manage_addFolder(self.site, name)
            self.addCleanup(self.delete, self.site, name)
        manage_addFolder(self.site.three, 'below')
        transaction.commit()

    def add(self, name, is_site=True):
        """Return a new folder of the root; it is deleted after the test."""
        from five.localsitemanager import make_objectmanager_site
        from OFS.Folder import manage_addFolder
        manage_addFolder(self.root, name)
        folder = self.root[name]
        if is_site:
            make_objectmanager_site(folder)
        transaction.commit()
        self.addCleanup(self.delete, self.root, name)
        return folder

    def delete(self, container, name):
        """Delete an object, if it is there."""
        transaction.begin()
        if name in container.objectIds():
            container.manage_delObjects([name])
        transaction.commit()
