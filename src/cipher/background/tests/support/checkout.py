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
"""The checkout, or unpacked source distribution, that the tests belong to.

Files that are not part of the package, like the documentation, are looked for
above the package.  If the package is installed, they are looked for above the
current folder.
"""
import doctest
import unittest
from functools import partial
from pathlib import Path

from cipher.background.tests.support.layers import Live


_MARK = Path('src', 'cipher', 'background', 'tests', 'support',
             'checkout.py')


def _find():
    for start in Path(__file__).resolve(), Path.cwd() / 'x':
        for folder in start.parents:
            if (folder / _MARK).is_file():
                return folder
    return None


#: The folder of the checkout, or None.
CHECKOUT = _find()


def requireCheckout(*names):
    """Return the path of a file of the checkout; skip the test without it."""
    path = CHECKOUT and CHECKOUT.joinpath(*names)
    if not (path and path.exists()):
        raise unittest.SkipTest(_explain(names))
    return path


def needsCheckout(*names):
    """Return a decorator that skips a test or a class without that file."""
    return unittest.skipUnless(
        CHECKOUT and CHECKOUT.joinpath(*names).exists(), _explain(names))


def makePageSuite(*names, setUp, tearDown):
    """Return the tests of pages whose examples are carried out."""
    if CHECKOUT is None:
        return unittest.TestSuite([unittest.FunctionTestCase(
            partial(requireCheckout, *names), description='/'.join(names))])
    suite = doctest.DocFileSuite(
        str(CHECKOUT.joinpath(*names)), module_relative=False,
        setUp=setUp, tearDown=tearDown,
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in suite:
        test.layer = Live
    return suite


def _explain(names):
    return ('%s is only in a checkout: start the tests of an installed '
            'package in one' % '/'.join(names))
