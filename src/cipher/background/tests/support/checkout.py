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


def listPages():
    """Return the paths of the README and of all pages; skip without them."""
    return [requireCheckout('README.rst'),
            *sorted(requireCheckout('docs').rglob('*.rst'))]


def requirePage(name):
    """Return the path of the one page with the file name *name*."""
    found = [path for path in listPages() if path.name == name]
    if len(found) != 1:
        raise LookupError('%s: expected one page, got %r' % (
            name, list(map(str, found))))
    return found[0]


def needsCheckout(*names):
    """Return a decorator that skips a test or a class without that file."""
    return unittest.skipUnless(
        CHECKOUT and CHECKOUT.joinpath(*names).exists(), _explain(names))


def makePageSuite(name, setUp, tearDown):
    """Return the tests of the examples of the page *name*."""
    if CHECKOUT is None:
        return unittest.TestSuite([unittest.FunctionTestCase(
            partial(requireCheckout, name), description=name)])
    suite = doctest.DocFileSuite(
        str(requirePage(name)), module_relative=False,
        setUp=setUp, tearDown=tearDown,
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in suite:
        test.layer = Live
    return suite


def _explain(names):
    return ('%s is only in a checkout: start the tests of an installed '
            'package in one' % '/'.join(names))
