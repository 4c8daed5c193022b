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
"""A plain host: each piece that it lacks is named when it starts."""
import base64
import io
import logging
import re
import socket
import sys
import tempfile
import unittest
from contextlib import closing
from pathlib import Path
from unittest import mock

import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage
from zope.app.appsetup import appsetup
from zope.authentication.interfaces import IAuthentication
from zope.component import getGlobalSiteManager
from zope.component import getUtility
from zope.component import hooks
from zope.component import provideUtility
from zope.event import notify
from zope.interface import implementer
from zope.interface.verify import verifyObject
from zope.principalregistry.principalregistry import principalRegistry
from zope.processlifetime import ProcessStarting
from zope.publisher.browser import BrowserPage
from zope.security.management import endInteraction
from zope.security.management import setSecurityPolicy
from zope.security.simplepolicies import ParanoidSecurityPolicy
from zope.testing.cleanup import cleanUp

import cipher.background
from cipher.background.browser.pieces import pages
from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.hosts import ztk
from cipher.background.hosts.ztk import HostError
from cipher.background.hosts.ztk import makeApplication
from cipher.background.hosts.ztk import openDatabase
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import IStartCheck
from cipher.background.runtime import startcheck
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.testing import setUpLogging
from cipher.background.testing import tearDownLogging
from cipher.background.tests.support.layers import Long
from cipher.background.util.clock import now


SITE = '''
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:background="http://namespaces.zope.org/background"
    xmlns:browser="http://namespaces.zope.org/browser"
    i18n_domain="test"
    package="cipher.background">
  %s
  <background:worker
      name="greet" handler=".tests.hosts.test_ztk.greet" />
  <subscriber handler="cipher.background.subscribers.addRegistryToRoot" />
  <principal id="test.admin" title="Administrator"
      login="admin" password="admin" />
  <grantAll principal="test.admin" />
</configure>
'''

#: The pages that a host is tried with.
PATHS = ('', 'index.html', 'runs.html', 'runs.json', 'start.html?type=greet')

#: The line of a host in a unit test, which starts no runtime.
NO_RUNTIME = (
    'expected a process that carries out runs, got none: this one has no '
    'runtime, and no other lives; put <background:runtime threads="4" /> '
    'into the ZCML, or start a worker process')


def greet(worker):
    """A worker that does nothing."""


class OwnPage(BrowserPage):
    """A page that an application has for everything."""

    def __call__(self):
        return 'own'


def readHost():
    """Return what is in host.zcml, to be put into another file."""
    package, = cipher.background.__path__
    text = Path(package, 'host.zcml').read_text('utf-8')
    return re.search('<configure[^>]*>(.*)</configure>', text, re.S)[1]


def listParts(text):
    """Return each directive of *text*."""
    return re.findall(r'<[\w:]+ [^>]*/>', text)


class HostTests(unittest.TestCase):

    def setUp(self):
        self.databases = []
        self.clean()
        self.addCleanup(self.clean)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        root = logging.getLogger()
        # The level counts: nothing but warnings.
        self.logged = setUpLogging(root, logging.WARNING)
        self.addCleanup(tearDownLogging, root)

    def clean(self):
        cleanUp()
        principalRegistry._clear()
        setSecurityPolicy(ParanoidSecurityPolicy)
        appsetup._configured = False
        endInteraction()
        hooks.setSite(None)
        transaction.abort()
        while self.databases:
            self.databases.pop().close()

    def write(self, text):
        path = self.folder / 'site.zcml'
        path.write_text(text, 'utf-8')
        return path

    def make(self, text=None):
        """Return (application, database) of that ZCML."""
        db = DB(None)
        self.databases.append(db)
        zcml = self.write(SITE % readHost() if text is None else text)
        return makeApplication(zcml, db), db

    def lines(self):
        """Return the lines about missing pieces; empty the log."""
        lines = re.findall('^Start: (.*)$', self.logged.getvalue(), re.M)
        self.logged.truncate(0)
        self.logged.seek(0)
        return lines

    def call(self, application, path, user='admin'):
        """Return the status of a request."""
        statuses = []
        path, _mark, query = path.partition('?')
        environ = {
            'REQUEST_METHOD': 'GET', 'PATH_INFO': path, 'QUERY_STRING': query,
            'SERVER_NAME': 'localhost', 'SERVER_PORT': '80',
            'HTTP_HOST': 'localhost', 'SERVER_PROTOCOL': 'HTTP/1.1',
            'wsgi.url_scheme': 'http', 'wsgi.input': io.BytesIO(),
            'wsgi.errors': sys.stderr}
        if user is not None:
            token = base64.b64encode(('%s:%s' % (user, user)).encode())
            environ['HTTP_AUTHORIZATION'] = 'Basic ' + token.decode()
        list(application(environ, lambda status, headers, error=None: (
            statuses.append(int(status[:3])))))
        return statuses[-1]

    def isWhole(self, application):
        """Return whether all pages work, and only for those who log in."""
        return all(
            self.call(application, '/++background++/' + path) == 200
            for path in PATHS) and self.call(
                application, '/@@/cipher-background.css', None
            ) == 200 and self.call(
                application, '/++background++/index.html', None) == 401


class WholeTests(HostTests):

    def test_whole_application_lacks_nothing(self):
        application, db = self.make()
        self.assertEqual(self.lines(), [NO_RUNTIME])
        self.assertTrue(self.isWhole(application))
        provideUtility(RuntimeSettings(threads=1), IRuntimeSettings)
        startcheck.checkStart(db)
        self.assertEqual(self.lines(), [])

    def test_root_leads_to_the_pages(self):
        application, _db = self.make()
        for path in '/', '/index.html':
            self.assertEqual(self.call(application, path), 303)
            self.assertEqual(self.call(application, path, None), 401)
        self.assertEqual(self.call(application, '/none.html'), 404)

    def test_root_without_a_registry(self):
        application, _db = self.make((SITE % readHost()).replace(
            '<subscriber handler='
            '"cipher.background.subscribers.addRegistryToRoot" />', ''))
        self.assertEqual(self.call(application, '/'), 404)

    def test_page_of_the_application_for_its_root(self):
        application, _db = self.make((SITE % readHost()).replace(
            '<grantAll', '''
            <browser:page name="index.html" permission="zope.Public"
                for="zope.interface.Interface"
                class=".tests.hosts.test_ztk.OwnPage" />
            <grantAll'''))
        self.assertEqual(self.call(application, '/', None), 200)

    def test_contract(self):
        self.make()
        verifyObject(IStartCheck, pages)
        self.assertIs(getUtility(IStartCheck, 'pages'), pages)


class MissingTests(HostTests):
    """One piece after the other is removed from a whole application."""

    layer = Long

    def test_each_directive(self):
        host = readHost()
        parts = listParts(host) + listParts(SITE)
        self.assertGreater(len(parts), 35)
        fates = {'refused': 0, 'named': 0, 'whole': 0}
        for part in parts:
            with self.subTest(' '.join(part.split())):
                self.clean()
                text = (SITE % host).replace(part, '', 1)
                fate = self.tryOut(text)
                fates[fate] += 1
        # Each of them happens, so the test can fail.
        self.assertGreater(fates['refused'], 5, fates)
        self.assertGreater(fates['named'], 15, fates)

    def tryOut(self, text):
        """Return what comes of an application without a piece."""
        self.lines()
        try:
            application, _db = self.make(text)
        except HostError as error:
            lines = self.lines()
            if lines:
                self.assertNamed(lines)
                return 'named'
            self.assertRegex(str(error), r'File ".*\.zcml", line \d+')
            return 'refused'
        lines = [line for line in self.lines() if line != NO_RUNTIME]
        if lines:
            self.assertNamed(lines)
            return 'named'
        self.assertTrue(self.isWhole(application), 'nothing was said')
        return 'whole'

    def assertNamed(self, lines):
        for line in lines:
            if not line.startswith('not everything could be checked'):
                self.assertRegex(
                    line, '^expected .+, got (no|none|the).*[;:] .+')

    def assertLine(self, part, pattern, new=''):
        text = SITE % readHost()
        self.assertIn(part, text)
        _application, db = self.make(text.replace(part, new))
        line, = (line for line in self.lines() if line != NO_RUNTIME)
        self.assertRegex(line, pattern)
        return db

    def test_no_pages(self):
        host = re.sub(r'(?s)<browser:page\s.*?/>', '', readHost()).replace(
            '<include package="." />', '')
        self.make(SITE % host)
        line, = self.lines()
        self.assertRegex(line, 'expected the pages .*host.zcml')

    def test_no_registry(self):
        self.assertLine(
            '<subscriber handler='
            '"cipher.background.subscribers.addRegistryToRoot" />',
            r'expected a registry of runs .* addRegistry\(site\), or open '
            r'@@background.html of a site$')

    def test_no_login(self):
        self.assertLine(
            '<include package="zope.login" />', 'configuration of zope.login')
        self.clean()
        self.assertLine(
            '<principal id="test.admin" title="Administrator"\n'
            '      login="admin" password="admin" />',
            'expected users who can log in, got none; declare one')

    POLICY = ('component="zope.securitypolicy.zopepolicy.ZopeSecurityPolicy"',
              'component="zope.security.simplepolicies.%sSecurityPolicy"')

    def test_no_security_policy(self):
        self.assertLine(
            self.POLICY[0], 'expected that visitors without a login may not '
            'manage .* got the security policy PermissiveSecurityPolicy',
            self.POLICY[1] % 'Permissive')
        self.clean()
        self.assertLine(
            self.POLICY[0], 'expected a security policy that grants',
            self.POLICY[1] % 'Paranoid')

    def test_grant_to_all_visitors(self):
        self.assertLine(
            '<grantAll principal="test.admin" />', 'expected that visitors',
            '<grantAll principal="zope.Anybody" />')

    def test_permission_that_nobody_has(self):
        text = SITE.replace('<grantAll principal="test.admin" />', '''
            <grant principal="test.admin" permissions="
                zope.View cipher.background.ViewWorkers
                cipher.background.ViewDetails cipher.background.StartWorkers
                cipher.background.StopWorkers" />
            <permission id="test.Greet" title="Greet" />
        ''').replace('name="greet"', 'name="greet" permission="test.Greet"')
        self.make(text % readHost())
        lines = self.lines()
        lines.remove(NO_RUNTIME)
        self.assertEqual(lines, [
            'expected somebody with each permission of the pages and the '
            'worker types, got nobody with cipher.background.ManageWorkers, '
            'test.Greet; grant them, with <grant principal="…" '
            'permission="cipher.background.ManageWorkers" /> for example'])

    def test_principals_that_cannot_be_listed(self):
        @implementer(IAuthentication)
        class Other:
            def unauthenticatedPrincipal(self):
                return None

        _application, db = self.make()
        self.lines()
        getGlobalSiteManager().registerUtility(Other(), IAuthentication)
        startcheck.checkStart(db)
        self.assertEqual(self.lines(), [NO_RUNTIME])

    def test_no_runtime(self):
        _application, db = self.make()
        self.lines()
        provideUtility(RuntimeSettings(threads=0), IRuntimeSettings)
        startcheck.checkStart(db)
        line, = self.lines()
        self.assertIn('this one has a runtime without threads, and', line)

    def test_another_process_is_enough(self):
        _application, db = self.make()
        self.lines()
        for threads, lines in (0, [NO_RUNTIME]), (1, []):
            manager = transaction.TransactionManager()
            with closing(db.open(manager)) as connection:
                record = ProcessRecord(
                    'other:1:1', 'other', 1, 'machine', 1, threads, 60.0,
                    now())
                getDirectory(connection).processes[record.id] = record
                manager.commit()
            startcheck.checkStart(db)
            self.assertEqual(self.lines(), lines)

    def test_check_that_fails(self):
        def fail(registries):
            yield 'expected one, got another; do something'
            raise ValueError('odd')

        _application, db = self.make()
        self.lines()
        provideUtility(fail, IStartCheck, 'fail')
        with mock.patch.object(
                startcheck, '_listOwn', side_effect=ValueError('own')):
            startcheck.checkStart(db)
        self.assertEqual(self.lines(), [
            'not everything could be checked: own',
            'expected one, got another; do something',
            'not everything could be checked: odd'])

    def test_database_that_cannot_be_read(self):
        _application, db = self.make()
        self.lines()
        with mock.patch.object(db, 'open', side_effect=OSError('away')):
            startcheck.checkStart(db)
        self.assertEqual(self.lines(), ['the database cannot be read'])

    def test_host_that_starts_in_its_own_way(self):
        self.make()
        self.assertEqual(self.lines(), [NO_RUNTIME])
        notify(ProcessStarting())
        self.assertEqual(self.lines(), [NO_RUNTIME])

    def test_transaction_of_the_caller_stays(self):
        _application, db = self.make()
        with closing(db.open()) as connection:
            connection.root()['mine'] = 1
            startcheck.checkStart(db)
            self.assertEqual(connection.root()['mine'], 1)
            transaction.abort()


class RefusedTests(HostTests):

    def test_zcml_that_is_not_there(self):
        with self.assertRaisesRegex(
                HostError, 'expected a ZCML file, got none at .*none.zcml; '):
            makeApplication(self.folder / 'none.zcml', DB(None))

    def test_zcml_with_an_error(self):
        for text, reason in (
                ('<configure xmlns="http://namespaces.zope.org/zope">\n'
                 '  <include package="no.such.package" /></configure>',
                 'site.zcml", line 2.*No module named'),
                ('<configure', 'site.zcml'), ('', 'site.zcml')):
            self.clean()
            with self.assertRaisesRegex(
                    HostError, '(?s)expected ZCML that loads, got an error in '
                    'it:\n.*%s' % reason):
                makeApplication(self.write(text), DB(None))

    def test_database_that_does_not_open(self):
        path = self.folder / 'Data.fs'
        locked = FileStorage(str(path))
        self.addCleanup(locked.close)
        for db, reason in (
                (path, 'LockError'), (str(path), 'LockError'),
                (self.folder / 'none' / 'Data.fs', 'FileNotFoundError'),
                ('nothing://here', 'there is no scheme|NoResolver')):
            with self.assertRaisesRegex(
                    HostError, 'expected a database that opens, got (%s)'
                    % reason):
                openDatabase(db)

    def test_databases_that_open(self):
        path = self.folder / 'Data.fs'
        for db in path, str(path), 'file://%s' % path, MappingStorage():
            opened = openDatabase(db, 3)
            self.assertEqual(opened.getPoolSize(), 3 + ztk.SPARE_CONNECTIONS)
            self.assertIs(openDatabase(opened), opened)
            opened.close()
        provideUtility(RuntimeSettings(threads=5), IRuntimeSettings)
        opened = openDatabase('memory://', 3)
        self.assertEqual(opened.getPoolSize(), 8 + ztk.SPARE_CONNECTIONS)
        opened.close()

    def test_address_that_is_not_ours(self):
        with self.assertRaisesRegex(
                HostError, "host: expected a name or an address of this "
                "machine, got 'no such host' .*; try 127.0.0.1"):
            ztk.bind('no such host', 0)

    def test_port_in_use(self):
        with mock.patch.object(
                socket.socket, 'bind', side_effect=OSError(98, 'in use')):
            with self.assertRaisesRegex(
                    HostError, 'expected to listen at 127.0.0.1 port 80, got '
                    '"in use"; give another port'):
                ztk.bind('127.0.0.1', 80)
            with self.assertRaisesRegex(
                    SystemExit, 'serve: expected to listen at'):
                ztk.serve('site.zcml', port=80)

    def test_url_of_an_address(self):
        for address, url in ((('0.0.0.0', 80), 'http://localhost:80'),
                             (('::1', 8080, 0, 0), 'http://[::1]:8080'),
                             (('127.0.0.1', 1), 'http://127.0.0.1:1')):
            sock = mock.Mock()
            sock.getsockname.return_value = address
            self.assertEqual(ztk.getURL(sock), url)
