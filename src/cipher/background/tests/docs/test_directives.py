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
"""Carries out docs/reference/directives.rst."""
import sys
import types

import transaction
from ZODB.DB import DB
from zope.component import hooks
from zope.component import provideAdapter
from zope.component import testing
from zope.interface import Interface
from zope.interface import implementer
from zope.location.traversing import LocationPhysicallyLocatable

from cipher.background.tests.support.checkout import makePageSuite
from cipher.background.tests.support.sites import Document
from cipher.background.tests.support.sites import declare
from cipher.background.tests.support.sites import makeSite
from cipher.background.util import clock


class IProduct(Interface):
    """What the shop of the example sells."""


@implementer(IProduct)
class Product(Document):
    """A product."""

    title = ''


def setUp(test):
    """Make the shop: a module for the example's own code, and a site."""
    testing.setUp()
    hooks.setHooks()
    shop = sys.modules['shop'] = types.ModuleType('shop')
    shop.IProduct = IProduct
    declare('<include package="zope.component" />')
    provideAdapter(LocationPhysicallyLocatable, (Interface,))
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
    testing.tearDown()


def test_suite():
    return makePageSuite(
        'directives.rst', setUp=setUp, tearDown=tearDown)
