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
"""Carries out the pages of docs/ whose examples happen in one shop."""
import unittest

import transaction

from cipher.background import getRegistry
from cipher.background.runtime.executors import choice
from cipher.background.testing import SetClock
from cipher.background.testing import runPending
from cipher.background.testing import waitForRun
from cipher.background.tests.docs import test_directives
from cipher.background.tests.support.checkout import makePageSuite
from cipher.background.tests.support.live import waitUntil


PAGES = ('events.rst', 'executor.rst', 'languages.rst', 'limits.rst',
         'log.rst', 'retry.rst', 'services.rst', 'sharing.rst',
         'starting.rst', 'waiting.rst')


def setUp(test):
    """Make the shop."""
    test_directives.setUp(test)

    def waitFor(condition):
        def isFulfilled():
            transaction.begin()
            return condition()
        waitUntil(isFulfilled, 'what the page says')

    test.globs.update(
        SetClock=SetClock, db=test.db, getRegistry=getRegistry,
        runPending=runPending, transaction=transaction, waitForRun=waitForRun,
        waitUntil=waitFor)


def tearDown(test):
    """Leave nothing of it behind."""
    transaction.abort()
    choice._factories.pop('traced', None)
    test_directives.tearDown(test)


def test_suite():
    return unittest.TestSuite(
        makePageSuite(name, setUp=setUp, tearDown=tearDown)
        for name in PAGES)
