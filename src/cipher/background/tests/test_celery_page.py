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
"""Carries out docs/celery.rst."""
import doctest
import unittest

import transaction
from zope.component import hooks

from cipher.background.executors import choice
from cipher.background.switchboard import queryRuntime
from cipher.background.tests import test_directives
from cipher.background.tests.table_support import DOCS


PAGE = DOCS / 'celery.rst'


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
    if not PAGE.exists():
        # Installed without its checkout.
        return unittest.TestSuite()
    return doctest.DocFileSuite(
        str(PAGE), module_relative=False, setUp=setUp, tearDown=tearDown,
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
