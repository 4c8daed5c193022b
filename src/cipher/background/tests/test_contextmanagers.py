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
"""Upstream's contract of the context managers."""
import re
import threading
import unittest
from pathlib import Path

import transaction
from ZODB.DB import DB
from zope.component import hooks
from zope.security.management import ExistingInteraction
from zope.security.management import queryInteraction

import cipher.background
from cipher.background.contextmanagers import Door
from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeInteraction
from cipher.background.contextmanagers import ZopeSite
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.contextmanagers import closeConnection
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import ComponentTests
from cipher.background.tests.support.sites import Participation
from cipher.background.tests.support.sites import Principal


class Site:
    """Enough of a site for `hooks.setSite`."""

    def getSiteManager(self):
        return None


class Resource:
    """A data manager that tells what becomes of it."""

    transaction_manager = transaction.manager

    def __init__(self, error=None):
        self.told = []
        self.error = error

    def sortKey(self):
        return 'resource'

    def abort(self, txn):
        self.told.append('aborted')

    def tpc_begin(self, txn):
        pass

    def commit(self, txn):
        self.told.append('committed')
        if self.error is not None:
            raise self.error

    def tpc_vote(self, txn):
        pass

    def tpc_finish(self, txn):
        pass

    def tpc_abort(self, txn):
        pass


class InteractionTests(ComponentTests):

    def test_interaction_is_there_inside_and_over_after(self):
        self.assertIsNone(queryInteraction())
        with ZopeInteraction() as given:
            self.assertIsNotNone(queryInteraction())
            self.assertIsNone(given)
        self.assertIsNone(queryInteraction())

    def test_participations_take_part(self):
        participation = Participation(Principal('bob'))
        with ZopeInteraction(participation):
            self.assertEqual(
                queryInteraction().participations, [participation])

    def test_interaction_is_over_after_an_error(self):
        with self.assertRaises(KeyError):
            with ZopeInteraction():
                raise KeyError
        self.assertIsNone(queryInteraction())

    def test_second_interaction_is_refused_and_the_first_stays(self):
        with ZopeInteraction():
            first = queryInteraction()
            with self.assertRaises(ExistingInteraction):
                with ZopeInteraction():
                    self.fail('nothing happens inside')
            self.assertIs(queryInteraction(), first)


class ConnectionTests(unittest.TestCase):

    def setUp(self):
        self.db = DB(None)
        self.addCleanup(self.db.close)

    def test_connection_is_open_inside_and_closed_after(self):
        with ZodbConnection(self.db) as connection:
            self.assertIs(connection.db(), self.db)
            self.assertIsNotNone(connection.opened)
        self.assertIsNone(connection.opened)

    def test_connection_is_closed_after_an_error(self):
        with self.assertRaises(KeyError):
            with ZodbConnection(self.db) as connection:
                raise KeyError
        self.assertIsNone(connection.opened)


class _Lock:
    """A lock that shows whether a thread wants it."""

    def __init__(self, lock):
        self._lock = lock
        self.wanted = threading.Event()

    def __enter__(self):
        if threading.current_thread() is not threading.main_thread():
            self.wanted.set()
        return self._lock.__enter__()

    def __exit__(self, *error):
        return self._lock.__exit__(*error)


class ClosingTests(unittest.TestCase):
    """`DB.close` closes the connections of all threads."""

    def test_connection_is_not_closed_by_two_threads_at_a_time(self):
        db = DB(None)
        db._lock = lock = _Lock(db._lock)
        connection = db.open(transaction.TransactionManager())
        connection.onCloseCallback(lambda: closed.append(
            threading.current_thread()))
        closed = []
        thread = threading.Thread(
            target=closeConnection, args=(db, connection))
        with lock:
            thread.start()
            self.assertTrue(lock.wanted.wait(LIMIT))
            db.close()
        thread.join(LIMIT)
        self.assertFalse(thread.is_alive())
        self.assertEqual(closed, [threading.main_thread()])

    def test_nothing_closes_a_connection_in_another_way(self):
        package = Path(cipher.background.__file__).parent
        found = {
            str(path.relative_to(package))
            for path in package.rglob('*.py')
            if not {'tests', 'demo'} & set(path.parts)
            and re.search(r'connection\.close\(', path.read_text('utf-8'))}
        # The layer for tests of applications closes that of its one thread.
        self.assertEqual(found, {'contextmanagers.py', 'testing.py'},
                         'call contextmanagers.closeConnection')


class DoorTests(unittest.TestCase):

    def setUp(self):
        self.db = DB(None)
        self.addCleanup(self.db.close)
        self.addCleanup(transaction.abort)
        self.door = Door(self.db)

    def commit(self, value):
        manager = transaction.TransactionManager()
        connection = self.db.open(manager)
        connection.root()['value'] = value
        manager.commit()
        connection.close()

    def test_what_was_opened_is_gone_on_with_and_closed(self):
        opened = self.door.open()
        with self.door as connection:
            self.assertIs(connection, opened)
            self.assertIsNotNone(connection.opened)
        self.assertIsNone(opened.opened)

    def test_what_was_not_opened_is_opened(self):
        for _ in range(2):
            with self.door as connection:
                self.assertIsNotNone(connection.opened)
            self.assertIsNone(connection.opened)

    def test_error_closes_it(self):
        opened = self.door.open()
        with self.assertRaises(KeyError):
            with self.door:
                raise KeyError
        self.assertIsNone(opened.opened)

    def test_open_shows_what_was_committed_meanwhile(self):
        for value in 1, 2:
            self.commit(value)
            self.assertEqual(self.door.open().root()['value'], value)
        # One after the other, rather than two at a time.
        self.assertEqual(
            sum(bool(each['opened'])
                for each in self.db.connectionDebugInfo()), 1)
        self.door.close()

    def test_close(self):
        opened = self.door.open()
        self.door.close()
        self.door.close()
        self.assertIsNone(opened.opened)

    def test_close_raises_nothing(self):
        connection = self.door.open()
        connection.root()['value'] = 1   # so it cannot be closed
        with self.assertLogs('cipher.background.contextmanagers', 'DEBUG'):
            self.door.close()
        transaction.abort()
        connection.close()


class SiteTests(ComponentTests):

    def test_site_is_set_inside_and_reset_after(self):
        site = Site()
        with ZopeSite(site) as given:
            self.assertIs(given, site)
            self.assertIs(hooks.getSite(), site)
        self.assertIsNone(hooks.getSite())

    def test_outer_site_comes_back(self):
        outer = Site()
        with ZopeSite(outer):
            with ZopeSite(Site()):
                self.assertIsNot(hooks.getSite(), outer)
            self.assertIs(hooks.getSite(), outer)

    def test_site_is_reset_after_an_error(self):
        with self.assertRaises(KeyError):
            with ZopeSite(Site()):
                raise KeyError
        self.assertIsNone(hooks.getSite())


class TransactionTests(unittest.TestCase):

    def setUp(self):
        transaction.abort()
        self.addCleanup(transaction.abort)

    def test_transaction_is_the_one_of_the_thread(self):
        with ZopeTransaction() as txn:
            self.assertIs(txn, transaction.get())

    def test_transaction_has_neither_user_nor_note_unless_given(self):
        with ZopeTransaction() as txn:
            self.assertEqual((txn.user, txn.description), ('', ''))

    def test_user_has_the_root_as_path(self):
        with ZopeTransaction(user='admin') as txn:
            self.assertEqual(txn.user, '/ admin')

    def test_path_goes_with_the_user(self):
        with ZopeTransaction(user='bob', path='/folder') as txn:
            self.assertEqual(txn.user, '/folder bob')

    def test_note_is_kept(self):
        with ZopeTransaction(note='tidying up') as txn:
            self.assertEqual(txn.description, 'tidying up')

    def test_arguments_come_as_user_note_path(self):
        with ZopeTransaction('bob', 'tidying up', '/folder') as txn:
            self.assertEqual(
                (txn.user, txn.description), ('/folder bob', 'tidying up'))

    def test_success_is_committed(self):
        resource = Resource()
        with ZopeTransaction() as txn:
            txn.join(resource)
            self.assertEqual(resource.told, [])
        self.assertEqual(resource.told, ['committed'])

    def test_error_aborts_and_goes_on(self):
        resource = Resource()
        with self.assertRaises(KeyError):
            with ZopeTransaction() as txn:
                txn.join(resource)
                raise KeyError
        self.assertEqual(resource.told, ['aborted'])

    def test_exit_of_the_system_aborts_and_goes_on(self):
        for error in SystemExit, KeyboardInterrupt, GeneratorExit:
            with self.subTest(error=error):
                resource = Resource()
                with self.assertRaises(error):
                    with ZopeTransaction() as txn:
                        txn.join(resource)
                        raise error
                self.assertEqual(resource.told, ['aborted'])

    def test_failed_commit_leaves_a_clean_thread(self):
        with self.assertRaises(ValueError):
            with ZopeTransaction() as txn:
                txn.join(Resource(error=ValueError()))
        self.assertIsNot(transaction.get(), txn)
        transaction.commit()   # would raise TransactionFailedError

    def test_what_was_pending_is_aborted(self):
        resource = Resource()
        transaction.get().join(resource)
        with ZopeTransaction():
            self.assertEqual(resource.told, ['aborted'])
        self.assertEqual(resource.told, ['aborted'])

    def test_work_may_end_the_transaction_and_begin_another(self):
        second = Resource()
        with ZopeTransaction() as txn:
            transaction.commit()
            transaction.begin()
            transaction.get().join(second)
        self.assertIsNot(transaction.get(), txn)
        self.assertEqual(second.told, ['committed'])
