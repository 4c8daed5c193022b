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
import os
import re
import shutil
import sys
import tempfile

import transaction
from zope.component import testing

from cipher.background.tests.support.checkout import makePageSuite
from cipher.background.tests.support.checkout import requireCheckout


# "``dms/workers.py``::" and the indented block below it.
_FILE = re.compile(r'``(dms/[\w.]+)``::\n\n((?:    .*\n|\n)+)')


def setUp(test):
    """Write the files that the README shows; let them be imported."""
    testing.setUp()
    test.folder = tempfile.mkdtemp()
    files = dict(_FILE.findall(
        requireCheckout('README.rst').read_text(encoding='utf-8')))
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
    testing.tearDown()
    shutil.rmtree(test.folder)


def test_suite():
    return makePageSuite('README.rst', setUp=setUp, tearDown=tearDown)
