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
"""The view of an input that docs/howto/ui.rst shows."""
import sys
from types import ModuleType
from unittest import mock

from zope.component import getGlobalSiteManager
from zope.configuration import xmlconfig

from cipher.background.browser.interfaces import IBackgroundLayer
from cipher.background.browser.interfaces import IInputView
from cipher.background.interfaces import IWorkerRun
from cipher.background.tests.docs.test_rotterdam import read_code
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.checkout import needsCheckout


HEADING = 'The input of a run'


@needsCheckout('docs')
class InputViewTests(BrowserTests):

    def setUp(self):
        super().setUp()
        browser = ModuleType('dms.browser')
        exec(read_code(HEADING, 'python'), vars(browser))
        with mock.patch.dict(sys.modules, {
                'dms': ModuleType('dms'), 'dms.browser': browser}):
            xmlconfig.string(
                '<configure xmlns="http://namespaces.zope.org/zope">%s'
                '</configure>' % read_code(HEADING, 'xml'),
                self.layer.context)
        self.addCleanup(
            getGlobalSiteManager().unregisterAdapter, None,
            (IWorkerRun, IBackgroundLayer), IInputView, 'publish')

    def test_it_shows_the_runs_of_its_type(self):
        run = self.makeRun('publish', title='<Letter>', secret='Sesame')
        page = self.get(run.id).text
        self.assertIn('<p>Title is &lt;Letter&gt;; ', page)
        self.assertNotIn('Sesame', page)
        self.assertNotIn('Title is', self.get(self.makeRun().id).text)
