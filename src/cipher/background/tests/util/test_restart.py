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
"""A ZEO server begins again in good order, and gives oids a second time."""
import signal
import time

import transaction
from persistent import Persistent
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite

from cipher.background.registry.installation import getRegistry
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.live import Database
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.pages import listBlocks
from cipher.background.tests.support.servers import ZEOServer
from cipher.background.tests.support.servers import openDatabase
from cipher.background.tests.support.servers import requireServer
from cipher.background.tests.support.sites import LIMIT
from cipher.background.util.spoiled import CacheSpoiled
from cipher.background.work.recorder import JobRecorder


class Account(Persistent):
    """Has a class default: what is read of one that lost its connection."""

    total = 0


class RestartTests(LiveTests):
    """Two clients: the process of the runtime, and another one."""

    #: The other client stores so many objects.
    NUMBER = 40

    def setUp(self):
        super().setUp()
        self.connection.root()['accounts'] = PersistentMapping()
        transaction.commit()
        self.begun = []
        declareWorker('work', self.work)

    def makeDatabase(self):
        requireServer(self, ZEOServer.findMissing())
        self.server = ZEOServer(self.folder.name)
        self.server.start()
        self.addCleanup(self.server.kill)
        return openDatabase(self.server.uri, factory=Database)

    def work(self, worker):
        """Read and change what the other client stored, create more."""
        self.begun.append(worker.run_id)
        root = getSite()._p_jar.root()
        accounts = root['accounts']
        if '0' not in accounts:
            self.gate.stop()
            raise ConflictError   # try again, with what there is by now
        total = sum(accounts[str(number)].total
                    for number in range(self.NUMBER))
        accounts['0'].total += 1
        root['new'] = new = PersistentMapping()
        for number in range(3):
            new[str(number)] = Account()
        return {'sum': total}

    def restart(self):
        """End the server by SIGTERM, start it again, let others store."""
        # Enough is in stock to meet what the others store.
        while len(self.db.storage._oids) < self.NUMBER:
            self.db.storage.new_oid()
        self.server.process.send_signal(signal.SIGTERM)
        self.server.process.wait(LIMIT)
        self.server.start()
        db = openDatabase(self.server.uri)
        try:
            with db.transaction() as connection:
                accounts = connection.root()['accounts']
                for number in range(self.NUMBER):
                    account = accounts[str(number)] = Account()
                    account.total = 1
        finally:
            db.close()

    def stored(self):
        """Return the total of each account, as a new client sees it."""
        db = openDatabase(self.server.uri)
        try:
            with db.transaction() as connection:
                accounts = connection.root()['accounts']
                return [accounts[str(number)].total
                        for number in range(self.NUMBER)]
        finally:
            db.close()

    def keepStock(self):
        """Let nobody drop a stock of oids, as with a ZEO of another make."""
        self.patch('cipher.background.util.spoiled._drop_stock',
                   lambda storage: None)

    def check(self):
        """Let the work meet the other client's objects."""
        run_id = self.start('work')
        self.gate.waitReached()
        self.restart()
        self.gate.open()
        begin = time.monotonic()
        status = self.waitFinished(run_id)
        self.assertEqual((status.state, status.result),
                         ('succeeded', {'sum': self.NUMBER}),
                         self.logged.getvalue())
        self.assertEqual(self.stored(), [2] + [1] * (self.NUMBER - 1))
        # The pauses alone were longer.
        self.assertLess(time.monotonic() - begin, 8)

    def test_no_lost_update(self):
        self.check()

    def test_nor_where_stale_oids_stay_in_stock(self):
        self.keepStock()
        errors = []
        self.patch('cipher.background.work.recorder.JobRecorder.conflicted',
                   lambda recorder, worker, error: (
                       errors.append(error),
                       conflicted(recorder, worker, error)))
        self.check()
        self.assertTrue([error for error in errors
                         if isinstance(error, CacheSpoiled)], errors)

    def test_of_a_request_that_starts_a_run(self):
        """It fails; the next one works with what is stored."""
        self.keepStock()
        self.runtime.shutdown()   # so that nothing else takes oids
        declareWorker('other')
        self.restart()
        waitUntil(self.isSeen, 'what the other client stored')
        failed = 0
        while True:
            connection = self.db.open()
            try:
                transaction.begin()
                root = connection.root()
                accounts = root['accounts']
                self.assertEqual(
                    [accounts[str(number)].total
                     for number in range(self.NUMBER)],
                    [1] * self.NUMBER)
                accounts['0'].total += 1
                root['new'] = Account()
                getRegistry(root['Application']).start('other')
                transaction.commit()
                break
            except ValueError:
                failed += 1
                transaction.abort()
            except TransientError:
                transaction.abort()
            finally:
                connection.close()
        self.assertGreater(failed, 0)
        self.assertEqual(self.stored(), [2] + [1] * (self.NUMBER - 1))

    def test_what_the_docs_advise_for_requests_of_the_application(self):
        from ZEO.ClientStorage import ClientStorage  # it may be missing
        self.keepStock()
        self.patch('ZEO.ClientStorage.ClientStorage.notify_connected',
                   ClientStorage.notify_connected)   # so it comes back
        advice, = [block.text for block in listBlocks(requirePage('zeo.rst'))
                   if 'notify_connected' in block.text]
        exec(advice, {})
        self.runtime.shutdown()
        self.restart()
        waitUntil(self.isSeen, 'what the other client stored')
        with self.db.transaction() as connection:
            accounts = connection.root()['accounts']
            for number in range(self.NUMBER):
                accounts[str(number)].total += 1
                connection.root()['new'] = Account()
        self.assertEqual(self.stored(), [2] * self.NUMBER)

    def isSeen(self):
        with self.db.transaction() as connection:
            return '0' in connection.root()['accounts']


conflicted = JobRecorder.conflicted
