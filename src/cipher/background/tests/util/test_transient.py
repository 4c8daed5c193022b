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
"""Which errors another try may not meet again."""
import types
import unittest
from types import SimpleNamespace
from unittest import mock

import transaction
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from ZODB.DB import DB
from ZODB.POSException import ConflictError

from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.util.transient import isTransient


class Disconnected(Exception):
    """What a driver raises, whoever uses it."""


class ServerException(Exception):
    """As that of ZEO is called."""


class UnableToAcquireLockError(Exception):
    """As that of RelStorage is called."""


def make_storage():
    """Return a storage that passes for RelStorage's."""
    module = types.ModuleType('relstorage.storage')
    exec('class RelStorage:\n'
         '    def load(self, error):\n'
         '        raise error\n', module.__dict__)
    storage = module.RelStorage()
    storage._adapter = SimpleNamespace(driver=SimpleNamespace(
        disconnected_exceptions=(Disconnected,)))
    return storage


def raised(function, *args):
    """Return what *function* raises."""
    try:
        function(*args)
    except Exception as error:
        return error


class TransientTests(unittest.TestCase):
    """Errors, and the databases in whose transactions they came up."""

    def setUp(self):
        self.storage = make_storage()
        self.db = SimpleNamespace(storage=self.storage)

    def assertIs(self, expected, error, db=None):
        super().assertIs(isTransient(error, db or self.db), expected)

    def test_what_says_so(self):
        for error in ConflictError(), TransientError():
            self.assertIs(True, error)
            self.assertIs(True, error, SimpleNamespace())   # a closed one

    def test_anything_else(self):
        self.assertIs(False, ValueError())
        self.assertIs(False, raised(self.storage.load, ValueError()))

    def test_connection_of_the_storage_that_is_lost(self):
        self.assertIs(True, raised(self.storage.load, Disconnected()))

    def test_same_error_of_what_the_work_does_itself(self):
        def work():
            raise Disconnected

        self.assertIs(False, raised(work))

    def test_lock_that_took_too_long(self):
        self.assertIs(True, UnableToAcquireLockError())

    def test_server_that_fails(self):
        module = types.ModuleType('ZEO.ClientStorage')
        exec('class ClientStorage:\n    pass\n', module.__dict__)
        db = SimpleNamespace(storage=module.ClientStorage())
        error = ServerException(('builtins.SystemError', ('read',)))
        self.assertIs(True, error, db)
        self.assertIs(False, ValueError(), db)
        self.assertIs(False, error)   # of another database, within the work

    def test_oid_that_was_given_twice(self):
        db = DB(None)
        self.addCleanup(db.close)
        connection = db.open()
        self.addCleanup(connection.close)
        self.addCleanup(transaction.abort)
        root = connection.root()
        root['first'] = first = PersistentMapping()
        transaction.commit()
        connection.new_oid = lambda: first._p_oid
        root['second'] = PersistentMapping()
        error = raised(transaction.commit)
        self.assertIs(True, error, db)
        self.assertIs(False, raised(self.storage.load, ValueError(
            *error.args)), db)

    def test_other_storages(self):
        db = DB(None)
        self.addCleanup(db.close)
        self.assertIs(False, raised(self.storage.load, Disconnected()), db)
        self.assertIs(False, UnableToAcquireLockError(), db)


class AbortTests(unittest.TestCase):
    """A storage that is away makes the abort fail as well."""

    def setUp(self):
        synchronizer = mock.Mock()
        synchronizer.afterCompletion.side_effect = Disconnected
        transaction.manager.registerSynch(synchronizer)
        self.addCleanup(transaction.manager.unregisterSynch, synchronizer)

    def test_first_error_goes_on(self):
        with self.assertRaises(KeyError):
            with ZopeTransaction():
                raise KeyError

    def test_error_of_the_commit_goes_on(self):
        manager = mock.Mock(**{'tpc_vote.side_effect': KeyError,
                               'sortKey.return_value': ''})
        del manager.should_retry
        with self.assertRaises(Disconnected) as caught:
            with ZopeTransaction() as txn:
                txn.join(manager)
        self.assertIsInstance(caught.exception.__context__, KeyError)
        manager.tpc_abort.assert_called_once()
