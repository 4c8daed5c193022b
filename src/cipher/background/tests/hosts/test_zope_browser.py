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
"""The management interface of a real instance of Zope in a real browser.

It needs Zope, which is not in the environment of the other tests.
"""
import transaction

from cipher.background.interfaces import STOPPED
from cipher.background.registry.installation import getRegistry
from cipher.background.registry.installation import nearestRegistry
from cipher.background.tests.support.hostwalk import ZCML
from cipher.background.tests.support.hostwalk import Walk
from cipher.background.tests.support.zopesite import ZopeCase


class BrowserTests(ZopeCase):

    zcml = ZCML + '  <background:runtime poll="0.2" />\n'

    def test_from_the_tab_of_a_site_to_a_retried_run(self):
        self.assertIsNone(nearestRegistry(self.root.other))
        walk = Walk(self, 'boss')
        walk.page.goto(self.url + '/other/manage_main')
        walk.follow('Background')
        walk.press('Add')
        self.assertEqual(walk.page.url,
                         self.url + '/other/++background++/index.html')
        ids = walk.startStopRetry()
        transaction.begin()
        registry = getRegistry(self.root.other)
        self.assertEqual(
            [(status.state, status.starter) for status in map(
                registry.getStatus, ids)], [(STOPPED, '/:boss')] * 2)
        self.assertEqual(registry.getStatus(ids[0]).retried_as, ids[1])
