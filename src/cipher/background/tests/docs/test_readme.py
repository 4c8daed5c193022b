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
import importlib
import os
import shutil
import sys
import tempfile

import transaction
from persistent import Persistent
from persistent.list import PersistentList
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import hooks
from zope.component import testing
from zope.configuration import xmlconfig
from zope.container.contained import Contained
from zope.event import notify
from zope.processlifetime import DatabaseOpenedWithRoot

from cipher.background.tests.support.checkout import makePageSuite
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.pages import readFiles
from cipher.background.tests.support.sites import makeSite
from cipher.background.util.switchboard import getRuntime


class Document(Contained, Persistent):
    """The document of the example."""

    def __init__(self, pages):
        self.pages = pages
        self.rendered = PersistentList()


def setUp(test):
    """Make the application of the README: its files, its site, a document."""
    testing.setUp()
    hooks.setHooks()
    test.folder = tempfile.mkdtemp()
    files = readFiles(requirePage('README.rst'))
    assert sorted(files) == ['dms/configure.zcml', 'dms/workers.py'], files
    files['dms/__init__.py'] = ''
    os.mkdir(os.path.join(test.folder, 'dms'))
    for name, text in files.items():
        with open(os.path.join(test.folder, name), 'w') as file:
            file.write(text)
    sys.path.insert(0, test.folder)
    xmlconfig.file('configure.zcml', importlib.import_module('dms'))
    test.db = DB(FileStorage(os.path.join(test.folder, 'Data.fs')))
    test.connection, site, registry = makeSite(test.db)
    notify(DatabaseOpenedWithRoot(test.db))
    hooks.setSite(site)
    document = site['letter'] = Document(['Dear reader,', 'yours.'])
    transaction.commit()
    test.globs.update(document=document, transaction=transaction)


def tearDown(test):
    """Leave nothing of it behind."""
    transaction.abort()
    hooks.setSite(None)
    getRuntime(test.db).shutdown()
    test.connection.close()
    test.db.close()
    sys.path.remove(test.folder)
    for name in [name for name in sys.modules if name.split('.')[0] == 'dms']:
        del sys.modules[name]
    testing.tearDown()
    shutil.rmtree(test.folder)


def test_suite():
    return makePageSuite('README.rst', setUp=setUp, tearDown=tearDown)
