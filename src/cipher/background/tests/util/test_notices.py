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
"""A process behind PostgreSQL hears of the commits of others at once."""
import os
import threading
import unittest
from types import SimpleNamespace
from unittest import mock

import transaction
from ZODB.DB import DB

from cipher.background.tests.support.cluster import LONG
from cipher.background.tests.support.cluster import PostgreSQLTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.servers import freePort
from cipher.background.util import notices


class NoticeTests(PostgreSQLTests):
    """The poll is further away than the limit of the test."""

    settings = {'threads': 2, 'poll': 10.0 * LONG, 'drain': 5.0}

    def setUp(self):
        self.before = threading.enumerate()
        super().setUp()

    def listeners(self):
        """Return how many sessions wait for notices."""
        connection = notices._connect(notices.findDSN(self.db))
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_stat_activity "
                               "WHERE query LIKE 'LISTEN%' "
                               "AND datname = current_database()")
                return cursor.fetchone()[0]
        finally:
            connection.close()

    def test_start_of_another_process_wakes(self):
        web = self.actWithout()
        waitUntil(self.listeners, 'the listener')
        for _ in range(3):
            run_id, = web.start('add')
            self.waitFinal(run_id, 'succeeded')
        self.assertEqual(self.value(), 3)

    def test_session_that_breaks_is_made_anew(self):
        web = self.actWithout()
        waitUntil(self.listeners, 'the listener')
        self.breakSessions()
        waitUntil(lambda: 'are heard again' in self.logged.getvalue(),
                  'the new session', LONG)
        run_id, = web.start('add')
        self.waitFinal(run_id, 'succeeded')
        self.assertEqual(
            self.logged.getvalue().count('are not heard'), 1)

    def breakSessions(self):
        """Let the server end the sessions for notices."""
        connection = notices._connect(notices.findDSN(self.db))
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'cipher.background notices' "
                    "AND pid != pg_backend_pid()")
        finally:
            connection.close()

    def test_shutdown_ends_the_session(self):
        waitUntil(self.listeners, 'the listener')
        self.runtime.shutdown()
        waitUntil(lambda: not self.listeners(), 'its end')

    def test_notice_of_the_last_commit_of_a_shutdown_leaves_no_thread(self):
        waitUntil(self.listeners, 'the listener')
        leave = self.runtime._leave

        def leave_and_send():
            leave()
            notices.send(self.db)   # as a commit that puts runs back

        self.runtime._leave = leave_and_send
        self.runtime.shutdown()
        self.assertEqual([thread.name for thread in threading.enumerate()
                          if thread.name == 'background-notices'
                          and thread not in self.before], [])

    def test_own_notices_wake_nobody(self):
        declareWorker('work', lambda worker: None)
        waitUntil(self.listeners, 'the listener')
        heard = []
        notices.unlisten(self.db)
        notices.listen(self.db, lambda: heard.append(True))
        waitUntil(lambda: heard, 'the first look')
        self.waitFinished(self.start('work'))
        connection = notices._connect(notices.findDSN(self.db))
        self.addCleanup(connection.close)
        notices._execute(connection, 'NOTIFY ' + notices.CHANNEL)
        waitUntil(lambda: len(heard) > 1, 'the notice of another one')
        self.assertEqual(len(heard), 2)


class BrokenTests(PostgreSQLTests):
    """Notices cannot be had: the poll serves."""

    def setUp(self):
        self.dsn = 'host=127.0.0.1 port=%d password=secret' % freePort()
        patch = mock.patch.dict(os.environ, {notices.VARIABLE: self.dsn})
        patch.start()
        self.addCleanup(patch.stop)
        super().setUp()

    def test_poll_finds_the_runs_and_one_line_says_so(self):
        declareWorker('work', lambda worker: None)
        for _ in range(3):
            self.waitFinished(self.start('work'))
        logged = self.logged.getvalue
        for text in 'No notice was sent', 'are not heard':
            waitUntil(lambda text=text: text in logged(), text, LONG)
            self.assertEqual(logged().count(text), 1)
        self.assertNotIn('secret', logged())


class SenderTests(unittest.TestCase):
    """A commit never waits for a notice."""

    def setUp(self):
        super().setUp()
        self.sender = notices._Sender('dbname=x')
        self.addCleanup(self.sender.end)
        self.sent = []
        self.patch('_notify', lambda sender, session: self.sent.append(True))

    def patch(self, name, value):
        patch = mock.patch.object(notices._Sender, name, value)
        patch.start()
        self.addCleanup(patch.stop)

    def test_notices_are_sent(self):
        for number in 1, 2:
            self.sender.send()
            waitUntil(lambda number=number: len(self.sent) == number)

    def test_thread_ends_with_its_database(self):
        db = DB(None)
        with mock.patch.object(notices, 'CLOSED', 0.01):
            sender = notices._Sender('dbname=x', db)
            sender.send()
            waitUntil(lambda: self.sent)
            self.assertTrue(sender._last.is_alive())
            db.close()   # by a process without a runtime
            sender._last.join(LONG)
        self.assertFalse(sender._last.is_alive())

    def test_notice_after_the_end_starts_no_thread(self):
        self.sender.end()
        self.sender.send()
        self.assertIsNone(self.sender._thread)
        self.assertEqual(self.sent, [])

    def test_end_waits_for_a_thread_that_failed(self):
        failed, go_on = threading.Event(), threading.Event()

        def fail(sender, session):
            raise OSError('the server is away')

        def close(sender, session):
            failed.set()
            go_on.wait(LONG)

        self.patch('_notify', fail)
        self.patch('_close', close)
        self.sender.send()
        self.assertTrue(failed.wait(LONG))
        thread = self.sender._last
        threading.Timer(0.05, go_on.set).start()
        self.sender.end()
        self.assertFalse(thread.is_alive())

    def test_thread_without_a_notice_ends_and_comes_back(self):
        self.sender._idle = 0.0
        self.sender.send()
        waitUntil(lambda: self.sender._thread is None)
        self.sender.send()
        waitUntil(lambda: len(self.sent) == 2)

    def test_failure_is_reported_once_and_followed_by_a_rest(self):
        calls = []

        def fail(sender, session):
            calls.append(True)
            raise OSError('host=x password=secret')

        self.patch('_notify', fail)
        with self.assertLogs(notices.log) as logged:
            for number in 1, 2:
                self.sender.send()
                waitUntil(lambda number=number: len(calls) == number)
                waitUntil(lambda: self.sender._thread is None)
                self.sender.send()   # a rest
                self.assertIsNone(self.sender._thread)
                self.sender._rests_until = 0.0
        self.assertEqual(len(logged.output), 1)
        self.assertNotIn('secret', logged.output[0])


class ListenerTests(unittest.TestCase):

    def test_end_of_a_thread_that_is_just_ending(self):
        listener = notices._Listener('dbname=x', lambda: None)
        listener._has_ended.set()   # it closes what `end` writes to
        listener.start()
        listener.join(LONG)
        listener.end()
        self.assertFalse(listener.is_alive())


class DSNTests(unittest.TestCase):

    def find(self, storage, given=None):
        environ = {} if given is None else {notices.VARIABLE: given}
        with mock.patch.dict(os.environ, environ):
            return notices.findDSN(SimpleNamespace(storage=storage))

    def storage(self, dsn='dbname=x',
                module='relstorage.adapters.postgresql.adapter'):
        adapter = type('Adapter', (), {'__module__': module})()
        adapter._dsn = dsn
        return SimpleNamespace(_adapter=adapter)

    def test_storage_that_has_none(self):
        for storage in (SimpleNamespace(), self.storage(None),
                        SimpleNamespace(base=SimpleNamespace()),
                        self.storage(module='relstorage.adapters.mysql')):
            self.assertIsNone(self.find(storage))
            self.assertIsNone(self.find(storage, 'dbname=y'))

    def test_dsn(self):
        try:
            import psycopg2  # noqa: F401
        except ImportError:
            self.skipTest('psycopg2 is not installed')
        storage = self.storage()
        wrapper = SimpleNamespace(base=storage)
        for given, expected in ((None, 'dbname=x'), ('', 'dbname=x'),
                                ('dbname=y', 'dbname=y'), ('off', None),
                                (' OFF ', None)):
            for each in storage, wrapper:
                self.assertEqual(self.find(each, given), expected)

    def test_commit_with_another_storage_sends_nothing(self):
        db = mock.Mock()
        db.storage = SimpleNamespace()
        notices.send(db)
        self.assertIsNone(notices._senders[db])
        transaction.abort()
