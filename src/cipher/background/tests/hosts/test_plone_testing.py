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
"""The layer for applications: docs/howto/plone.rst is carried out."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.pages import readFiles
from cipher.background.tests.support.plonesite import HAS_PLONE


MORE = """
import unittest

import transaction
import zope.event
from plone.app.contentrules.api import assign_rule
from plone.app.contentrules.rule import Rule
from plone.app.testing import TEST_USER_ID
from plone.app.testing import FunctionalTesting
from plone.app.testing import PloneSandboxLayer
from plone.app.testing import setRoles
from plone.contentrules.engine.interfaces import IRuleStorage
from zope.component import getUtility
from zope.component.hooks import getSite
from zope.configuration import xmlconfig
from zope.globalrequest import getRequest
from zope.lifecycleevent import ObjectModifiedEvent
from zope.lifecycleevent.interfaces import IObjectModifiedEvent

from cipher.background.hosts.plone.contentrule import StartAction
from cipher.background.hosts.plone.testing import BACKGROUND_FIXTURE
from cipher.background.hosts.plone.testing import runPending
from cipher.background.registry.installation import getRegistry


def edit(worker):
    zope.event.notify(ObjectModifiedEvent(worker.context))
    return worker.context.absolute_url()


def touch(worker):
    worker.context.title = 'touched'
    worker.context.reindexObject()


def fail(worker):
    raise ValueError('refused')


ZCML = '''
<configure xmlns:background="http://namespaces.zope.org/background">
  <background:worker name="edit" handler="test_more.edit" />
  <background:worker name="touch" handler="test_more.touch" />
  <background:worker name="fail" handler="test_more.fail" max_attempts="1" />
</configure>
'''


class MoreLayer(PloneSandboxLayer):

    defaultBases = BACKGROUND_FIXTURE,

    def setUpZope(self, app, configurationContext):
        xmlconfig.string(ZCML, context=configurationContext)


TESTING = FunctionalTesting(bases=(MoreLayer(),), name='More')


class MoreTests(unittest.TestCase):

    layer = TESTING

    def setUp(self):
        self.portal = self.layer['portal']
        self.registry = getRegistry(self.portal)
        setRoles(self.portal, TEST_USER_ID, ['Manager'])
        self.portal.invokeFactory('Document', 'doc')
        transaction.commit()

    def test_one(self):
        self.registry.start('touch', self.portal['doc'])
        transaction.commit()
        request = getRequest()
        run, = runPending()
        self.assertEqual(run.starter, '/plone:' + TEST_USER_ID)
        self.assertEqual(self.portal['doc'].title, 'touched')
        self.assertEqual(len(self.portal.portal_catalog(Title='touched')), 1)
        # All is as it was.
        self.assertIs(getRequest(), request)
        self.assertEqual(getSite().getId(), 'plone')
        self.portal.invokeFactory('Document', 'second')

    # The storage of each test is its own, in any order.
    test_two = test_one

    def test_error_of_a_run_is_raised(self):
        self.registry.start('fail')
        transaction.commit()
        with self.assertRaisesRegex(ValueError, 'refused'):
            runPending()
        self.assertIs(getRequest(), self.layer['request'])

    def test_rule_acts_on_the_events_of_each_run(self):
        storage = getUtility(IRuleStorage)
        rule = storage['own'] = Rule()
        rule.event, rule.enabled = IObjectModifiedEvent, True
        action = StartAction()
        action.worker = 'touch'
        rule.actions.append(action)
        assign_rule(self.portal, 'own')
        transaction.commit()
        for _number in range(2):
            run = self.registry.start('edit', self.portal['doc'])
            transaction.commit()
            self.assertEqual(
                [one.type for one in runPending()], ['edit', 'touch'])
            self.assertEqual(run.result, 'http://nohost/plone/doc')
"""


@unittest.skipUnless(HAS_PLONE, 'Plone is not installed')
class LayerTests(unittest.TestCase):

    layer = Live

    def test_tests_of_an_application(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {**readFiles(requirePage('plone.rst')),
                               'test_more.py': MORE}.items():
                (Path(folder) / name).write_text(text, encoding='utf-8')
            done = subprocess.run(
                [sys.executable, '-m', 'zope.testrunner', '--test-path',
                 folder, '--tests-pattern', '^test_', '-vv'],
                cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertRegex(done.stdout, '5 tests, 0 failures, 0 errors')
