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
"""An application with pages, visitors and runs, for tests of the pages."""
import base64
import re
import threading
import time
import unittest

import transaction
import webtest
import zope.testbrowser.wsgi
from waitress import create_server
from zope.app.wsgi.testlayer import BrowserLayer
from zope.component.hooks import setSite
from zope.site.folder import Folder
from zope.site.site import LocalSiteManager

import cipher.background.tests.support
from cipher.background.events import RunFailedEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import RUNNING
from cipher.background.registry.installation import addRegistry
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.store.run import RunDetails
from cipher.background.tests.support.browserworld import Document
from cipher.background.tests.support.browserworld import SecretDocument


HOST = 'http://localhost'
#: Our addresses are paths: they lead to no other server.
PATH = '/++background++'
BASE = HOST + PATH
TOKEN = re.compile(r'name="csrf_token"\s+value="([^"]*)"')


def serve(test, application, threads, limit):
    """Serve a WSGI application on loopback until the end of *test*.

    Return its URL.  The server may take *limit* seconds to end.
    """
    server = create_server(
        application, host='127.0.0.1', port=0, threads=threads)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    test.addCleanup(thread.join, limit)
    test.addCleanup(server.task_dispatcher.shutdown)
    test.addCleanup(server.close)
    return 'http://127.0.0.1:%d' % int(server.effective_port)


class Layer(zope.testbrowser.wsgi.TestBrowserLayer, BrowserLayer):
    """The application of browser_ftesting.zcml."""


LAYER = Layer(cipher.background.tests.support, 'browser_ftesting.zcml',
              allowTearDown=True)


class BrowserTests(unittest.TestCase):
    """A root site with a registry, a site without one, and two documents."""

    layer = LAYER

    def setUp(self):
        self.root = self.layer.getRootFolder()
        self.registry = addRegistry(self.root)
        self.root['report'] = Document('A <b>report</b>')
        self.root['secret'] = SecretDocument('Nobody may know')
        self.root['other'] = Folder()
        self.root['other'].setSiteManager(LocalSiteManager(
            self.root['other']))
        transaction.commit()
        self.addCleanup(setSite, None)

    def app(self, user=None, **environ):
        """Return the application as *user* sees it."""
        if user is not None:
            login = base64.b64encode(('%s:%s' % (user, user)).encode())
            environ['HTTP_AUTHORIZATION'] = 'Basic ' + login.decode()
        return webtest.TestApp(
            self.layer.make_wsgi_app(), extra_environ=environ, cookiejar=None)

    def get(self, path, user='admin', **environ):
        """GET *path*; return the response, whatever its status."""
        return self.app(user, **environ).get(
            _url(path), expect_errors=True)

    def post(self, path, user='admin', headers=None, **form):
        """POST *form* to *path*; return the response, whatever its status."""
        form = {name.replace('__', '.'): value
                for name, value in form.items()}
        return self.app(user).post(
            _url(path), form, headers=headers, expect_errors=True)

    def token(self, path, user='admin'):
        """Return the token of the form at *path*."""
        return TOKEN.search(self.get(path, user).text)[1]

    def browser(self, user='admin'):
        """Return a browser of *user*."""
        browser = zope.testbrowser.wsgi.Browser()
        if user is not None:
            browser.addHeader('Authorization', 'Basic %s:%s' % (user, user))
        return browser

    def makeRun(self, type='plain', context=None, **input):
        """Store a waiting run by trusted code."""
        run = self.registry.start(type, context, **input)
        transaction.commit()
        return run

    def makeDelayed(self, type='plain', delay=3600.0):
        """Store a run that waits for its time."""
        run = self.registry.submit(type, delay=delay)
        transaction.commit()
        return run

    def makeRunning(self, **values):
        """Store a run that is running in a process."""
        run = self.registry.start('plain')
        record = self.addProcess()
        run.change(RUNNING, started_at=time.time() - 5, owner=record.id)
        record.live.runs[self.registry._p_oid, run.id] = (
            run.started_at, values.get('progress'), '', None)
        for name, value in values.items():
            setattr(run, name, value)
        transaction.commit()
        return run

    def addProcess(self):
        """Add and return the record of a living process."""
        now = time.time()
        record = ProcessRecord(
            'host:1:0123456789abcdef', 'host', 1, None, None, 4, 90.0, now)
        getDirectory(self.registry._p_jar).processes[record.id] = record
        return record

    def makeFailed(self, error=('ValueError', 'wrong'), traceback='',
                   log='', **values):
        """Store a run that failed."""
        run = self.registry.addRun(
            values.pop('type', 'plain'), starter='test.admin')
        run.change(RUNNING, started_at=time.time() - 5)
        self.registry.finish(
            run, FAILED, RunFailedEvent, error=error,
            details=RunDetails(traceback, log), **values)
        transaction.commit()
        return run

    def note(self):
        """Return (user, description) of the last transaction."""
        changes = self.registry._p_jar.db().storage.changes
        record = list(changes.iterator())[-1]
        return (record.user.decode().split()[-1],
                record.description.decode().splitlines()[-1])

    def sync(self):
        """Begin a transaction that sees the application's commits."""
        transaction.begin()
        self.registry._p_jar.sync()


def _url(path):
    return path if path.startswith('/') else '/++background++/' + path
