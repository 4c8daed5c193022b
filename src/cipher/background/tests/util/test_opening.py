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
"""Several processes that open an empty database at the same moment."""
import unittest
from unittest import mock

from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import ConflictError

from cipher.background.util.opening import TRIES
from cipher.background.util.opening import makeDB


class Raced(MappingStorage):
    """A storage whose root another process makes at the last moment."""

    is_raced = False

    def tpc_begin(self, transaction, *args):
        if not self.is_raced:
            self.is_raced = True
            DB(self)
        return super().tpc_begin(transaction, *args)


class MakeDBTests(unittest.TestCase):

    def setUp(self):
        patcher = mock.patch('cipher.background.util.opening.PAUSE', 0)
        patcher.start()
        self.addCleanup(patcher.stop)

    def test_other_process_makes_the_root(self):
        self.assertRaises(ConflictError, DB, Raced())
        db = makeDB(Raced(), pool_size=3)
        self.addCleanup(db.close)
        self.assertEqual(db.getPoolSize(), 3)
        with db.transaction() as connection:
            connection.root()['found'] = True

    def test_conflict_that_stays(self):
        with mock.patch('cipher.background.util.opening.DB',
                        side_effect=ConflictError) as make:
            self.assertRaises(ConflictError, makeDB, MappingStorage())
        self.assertEqual(make.call_count, TRIES)
