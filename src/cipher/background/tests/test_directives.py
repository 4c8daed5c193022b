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
"""Carries out docs/directives.rst."""
import doctest
import os
import sys
import types
import unittest

import transaction
from ZODB.DB import DB
from zope.component import hooks
from zope.interface import Interface
from zope.interface import implementer

from cipher.background import clock
from cipher.background.tests.support import Document
from cipher.background.tests.support import cleanup
from cipher.background.tests.support import declare
from cipher.background.tests.support import makeSite


HERE = os.path.dirname(os.path.abspath(__file__))
DIRECTIVES = os.path.normpath(os.path.join(
    HERE, *[os.pardir] * 4, 'docs', 'directives.rst'))


class IProduct(Interface):
    """What the shop of the example sells."""


@implementer(IProduct)
class Product(Document):
    """A product."""

    title = ''


def setUp(test):
    """Make the shop: a module for the example's own code, and a site."""
    cleanup.setUp()
    hooks.setHooks()
    shop = sys.modules['shop'] = types.ModuleType('shop')
    shop.IProduct = IProduct
    declare('<include package="zope.component" />')
    test.db = DB(None)
    test.connection, site, registry = makeSite(test.db)
    hooks.setSite(site)

    def declare_in_shop(directives, **code):
        vars(shop).update(code)
        declare(directives)

    test.globs.update(site=site, registry=registry, Product=Product,
                      declare=declare_in_shop)


def tearDown(test):
    """Leave nothing of it behind."""
    hooks.setSite(None)
    transaction.abort()
    test.connection.close()
    test.db.close()
    del sys.modules['shop']
    clock.setClock()
    cleanup.tearDown()


def test_suite():
    if not os.path.exists(DIRECTIVES):
        # Installed without its checkout.
        return unittest.TestSuite()
    return doctest.DocFileSuite(
        DIRECTIVES, module_relative=False, setUp=setUp, tearDown=tearDown,
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
