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
"""Carries the README out as its reader would."""
import doctest
import os
import re
import shutil
import sys
import tempfile
import unittest

import transaction
from zope.testing import cleanup


HERE = os.path.dirname(os.path.abspath(__file__))
README = os.path.normpath(os.path.join(
    HERE, *[os.pardir] * 4, 'README.rst'))

# "``dms/workers.py``::" and the indented block below it.
_FILE = re.compile(r'``(dms/[\w.]+)``::\n\n((?:    .*\n|\n)+)')


def setUp(test):
    """Write the files that the README shows; let them be imported."""
    cleanup.setUp()
    test.folder = tempfile.mkdtemp()
    with open(README, encoding='utf-8') as readme:
        files = dict(_FILE.findall(readme.read()))
    assert len(files) == 3, sorted(files)
    files['dms/__init__.py'] = ''
    os.mkdir(os.path.join(test.folder, 'dms'))
    for name, text in files.items():
        with open(os.path.join(test.folder, name), 'w') as file:
            file.write(re.sub('^    ', '', text, flags=re.MULTILINE))
    sys.path.insert(0, test.folder)
    test.globs['path_of_the_database'] = os.path.join(test.folder, 'Data.fs')


def tearDown(test):
    """Leave nothing of it behind."""
    transaction.abort()
    sys.path.remove(test.folder)
    for name in [name for name in sys.modules if name.split('.')[0] == 'dms']:
        del sys.modules[name]
    cleanup.tearDown()
    shutil.rmtree(test.folder)


def test_suite():
    if not os.path.exists(README):
        # Installed without its checkout.
        return unittest.TestSuite()
    return doctest.DocFileSuite(
        README, module_relative=False, setUp=setUp, tearDown=tearDown,
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
