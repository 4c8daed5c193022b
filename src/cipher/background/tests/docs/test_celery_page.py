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
"""Carries out docs/howto/celery.rst."""
import transaction
from zope.component import hooks

from cipher.background.runtime.executors import choice
from cipher.background.tests.docs import test_directives
from cipher.background.tests.support.checkout import makePageSuite
from cipher.background.util.switchboard import queryRuntime


def setUp(test):
    """Make the shop."""
    test_directives.setUp(test)
    test.globs.update(
        hooks=hooks, transaction=transaction, loadZCML=lambda: None,
        makeDatabase=lambda: test.db)


def tearDown(test):
    """Leave nothing of it behind."""
    queryRuntime(test.db).shutdown()
    choice._factories.pop('celery', None)
    test.globs['app'].close()
    test_directives.tearDown(test)


def test_suite():
    return makePageSuite(
        'celery.rst', setUp=setUp, tearDown=tearDown)
