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
"""Pages of a database that this server's code cannot use."""
import transaction
from persistent import Persistent
from zope.component import getSiteManager

from cipher.background.interfaces import IWorkerRegistry
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.browser import BrowserTests


PAGES = ('index.html', 'runs.html', 'types.html', 'type.html?name=plain',
         'errors.html',
         'schedules.html', 'processes.html', '1-1/index.html', 'nothing-there')


class Other(Persistent):
    """What stands where a registry was."""


class TestStructure(BrowserTests):

    def lastTransaction(self):
        return self.registry._p_jar.db().lastTransaction()

    def assertRefused(self, title, explanation):
        transaction.commit()
        before = self.lastTransaction()
        for page in PAGES:
            with self.subTest(page):
                answer = self.get(page)
                self.assertEqual(answer.status_int, 503)
                self.assertIn(title, answer.text)
                self.assertIn(explanation, answer.text)
                self.assertNotIn('Application', answer.text)
        answer = self.get('index.json')
        self.assertEqual(answer.status_int, 503)
        self.assertEqual(answer.json, {'status': 503, 'error': title})
        answer = self.post('index.html')
        self.assertEqual(answer.status_int, 503)
        self.assertEqual(self.lastTransaction(), before)

    def restore(self, record):
        record.structure_version = 1
        transaction.commit()

    def test_newer_registry(self):
        self.registry.structure_version = 4
        self.addCleanup(self.restore, self.registry)
        self.assertRefused(
            'The database is newer than this server',
            'structure 4.  Install that release on this server')

    def test_newer_directory(self):
        directory = getDirectory(self.registry._p_jar)
        directory.structure_version = 2
        self.addCleanup(self.restore, directory)
        self.assertRefused(
            'The database is newer than this server', 'structure 2.')

    def test_unknown_structure(self):
        self.registry.structure_version = 'x'
        self.addCleanup(self.restore, self.registry)
        self.assertRefused('The database cannot be used',
                           'The log names them')

    def test_no_registry_in_its_place(self):
        manager = self.root.getSiteManager()
        manager.unregisterUtility(self.registry, IWorkerRegistry)
        manager.registerUtility(Other(), IWorkerRegistry)
        self.assertRefused('The database cannot be used',
                           'The log names them')
        self.assertIsNotNone(getSiteManager())
