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
"""The control panel of a real site of Plone in a real browser.

It needs Plone, which is not in the environment of the other tests.
"""
import transaction
from zope.component import getGlobalSiteManager

from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import IWebSettings
from cipher.background.tests.support.hostwalk import ZCML
from cipher.background.tests.support.hostwalk import Walk
from cipher.background.tests.support.plonesite import PloneCase


class BrowserTests(PloneCase):

    zcml = ZCML

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # With a base URL, forms at another address are refused.
        getGlobalSiteManager().unregisterUtility(provided=IWebSettings)

    def test_from_the_control_panel_to_a_retried_run(self):
        walk = Walk(self, 'admin')
        # Plone shows no theme at 127.0.0.1.
        walk.page.goto(self.url.replace('127.0.0.1', 'localhost')
                       + '/plone/@@overview-controlpanel')
        walk.follow('Background workers')
        ids = walk.startStopRetry()
        transaction.begin()
        self.assertEqual(
            [(status.state, status.starter) for status in map(
                self.registry.getStatus, ids)],
            [(STOPPED, '/plone:admin')] * 2)
        self.assertEqual(self.registry.getStatus(ids[0]).retried_as, ids[1])
