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
"""Carries out docs/howto/alerts.rst, with servers on loopback."""
import contextlib
import json

import transaction
from zope.component import provideUtility

from cipher.background import getRegistry
from cipher.background.browser.alerttexts import AlertTexts
from cipher.background.interfaces import IAlertTexts
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.testing import runPending
from cipher.background.tests.docs import test_directives
from cipher.background.tests.support.checkout import makePageSuite
from cipher.background.tests.support.mailserver import HookServer
from cipher.background.tests.support.mailserver import MailServer
from cipher.background.util import clock


def setUp(test):
    """Make the shop, its servers, and short words for the page."""
    test_directives.setUp(test)
    provideUtility(AlertTexts(), IAlertTexts)
    mails, hooks = MailServer(), HookServer()
    errors = []

    def load(worker):
        raise ValueError(errors.pop())

    def run(name):
        started = getRegistry().start(name)
        transaction.commit()
        runPending()
        return getRegistry().get(started.id)

    def fail(text):
        errors.append(text)
        with contextlib.suppress(ValueError):
            run('import')

    def runAlerts(name='alerts'):
        return run(name).result

    def addProcess(name, beat_at):
        key = '%s:1:x' % name
        getDirectory(test.connection).processes[key] = ProcessRecord(
            key, name, 1, None, None, 1, 90.0, beat_at)
        transaction.commit()

    def addSilentProcess():
        addProcess('lost', 0.0)

    def removeSilentProcess():
        del getDirectory(test.connection).processes['lost:1:x']
        transaction.commit()

    addProcess('alive', clock.now())
    test.globs.update(
        mails=mails, hooks=hooks, load=load, fail=fail, runAlerts=runAlerts,
        addSilentProcess=addSilentProcess, json=json,
        removeSilentProcess=removeSilentProcess)


def tearDown(test):
    """Leave nothing of it behind."""
    transaction.abort()
    test.globs['mails'].close()
    test.globs['hooks'].close()
    test_directives.tearDown(test)


def test_suite():
    return makePageSuite('alerts.rst', setUp=setUp, tearDown=tearDown)
