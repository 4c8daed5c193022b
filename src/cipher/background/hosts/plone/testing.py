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
"""A layer of plone.app.testing for applications: a site with the add-on.

A run waits until the test calls `runPending`.
"""
from plone.app.testing import FunctionalTesting
from plone.app.testing import PloneSandboxLayer
from plone.app.testing import applyProfile
from zope.component import hooks
from zope.globalrequest import getRequest
from zope.globalrequest import setRequest

import cipher.background.hosts.plone
from cipher.background import testing


class BackgroundLayer(PloneSandboxLayer):
    """A site that has installed the add-on.

    Use it as a base of the layer that loads the ZCML of the application.
    """

    def setUpZope(self, app, configurationContext):
        """Load our ZCML."""
        self.loadZCML(package=cipher.background.hosts.plone)

    def setUpPloneSite(self, portal):
        """Install the add-on."""
        applyProfile(portal, 'cipher.background.hosts.plone:default')


#: A base of layers.
BACKGROUND_FIXTURE = BackgroundLayer()

#: For tests that need nothing but the add-on.
BACKGROUND_FUNCTIONAL_TESTING = FunctionalTesting(
    bases=(BACKGROUND_FIXTURE,), name='Background:Functional')


def runPending(site=None, limit=1000):
    """Carry out pending runs that are due, now, in this thread; return them.

    See `cipher.background.testing.runPending`.  The work has a request of its
    own, as in a worker instance.
    """
    request, current = getRequest(), hooks.getSite()
    setRequest(None)
    try:
        return testing.runPending(site, limit)
    finally:
        setRequest(request)
        hooks.setSite(current)
