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
"""What hangs on the work: packs, undo, blobs, mail; and much of anything."""
import gc
import os
import threading

import transaction
from transaction.interfaces import TransientError
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage
from ZODB.POSException import UndoError
from zope.component.hooks import getSite
from zope.sendmail.delivery import DirectMailDelivery

from cipher.background.tests.support.live import Counter
from cipher.background.tests.support.live import Database
from cipher.background.tests.support.live import FailingTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.util.text import TRACEBACK_LIMIT


class PackTests(LiveTests):

    def test_pack_during_the_work(self):
        def work(worker):
            getSite()['new'] = Counter()
            getSite()['counter'].value += 1
            self.gate.stop()
            getSite()['new'].value = getSite()['counter'].value

        declareWorker('work', work)
        run_id = self.start('work')
        self.gate.waitReached()
        self.db.pack()
        self.gate.open()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.db.pack()
        self.begin()
        self.assertEqual((self.value(), self.site['new'].value), (1, 1))
        self.assertEqual(self.status(run_id).state, 'succeeded')
        self.assertEqual(self.registry.getCounts(),
                         {'work': {'succeeded': 1}})

    def test_undo_of_a_work_transaction(self):
        def work(worker):
            getSite()['counter'].value += 1

        declareWorker('work', work)
        run_id = self.carryOut('work').id
        self.undoWork()
        # Effect and run go back together.
        self.assertEqual(self.value(), 0)
        self.assertEqual(self.status(run_id).state, 'pending')
        self.assertEqual(self.registry.getCounts(), {'work': {'pending': 1}})
        # Nobody does again by itself what somebody has undone.
        self.waitTurn()
        self.carryOut('work')
        self.assertEqual(self.status(run_id).state, 'pending')
        self.assertEqual(self.value(), 1)
        self.writeBookmarksNow()   # the bookmark of its lane is behind it
        self.begin()
        self.assertIn(run_id, [
            run.id for run in self.registry.listRuns().items])
        # It can be stopped, and is then an ordinary finished run.
        self.assertEqual(self.requestStop(run_id), 'stopped')
        self.assertEqual(self.registry.getCounts(),
                         {'work': {'succeeded': 1, 'stopped': 1}})

    def test_undo_of_an_older_work_is_refused_as_a_whole(self):
        def work(worker):
            worker.context.value += 1

        declareWorker('work', work)
        self.begin()
        self.site['other'] = other = Counter()
        transaction.commit()
        # One thread, so one lane for the finishes, as soon as it has one.
        self.runtime.shutdown()
        self.runtime = self.startRuntime(threads=1)
        self.carryOut('work', other)
        first = self.carryOut('work', self.counter).id
        self.carryOut('work', other)
        with self.assertRaises(UndoError):
            self.undoWork(first)
        transaction.abort()
        self.assertEqual(self.value(), 1)
        self.assertEqual(self.status(first).state, 'succeeded')

    def undoWork(self, run_id=''):
        """Undo the last work, or that of a run."""
        for entry in self.db.undoLog(0, 20):
            note = entry['description']
            if note.startswith('work') and note.endswith(run_id):
                self.db.undo(entry['id'])
                transaction.commit()
                return
        raise AssertionError('there is no such transaction')


class BlobTests(FailingTests):

    def makeDatabase(self):
        return Database(FileStorage(
            os.path.join(self.folder.name, 'Data.fs'),
            blob_dir=os.path.join(self.folder.name, 'blobs')))

    def setUp(self):
        super().setUp()
        # Where the file of a blob is that no connection knows yet.
        self.patch('tempfile.tempdir', self.folder.name)

    def files(self):
        """Return the names of the files of blobs, but marks and locks."""
        gc.collect()
        return sorted(
            name for _, _, names in os.walk(self.folder.name)
            for name in names if not name.startswith(('.', 'Data.fs')))

    def test_thread_dies_with_open_blobs(self):
        opened = []

        def work(worker, error=ValueError):
            new = worker.context.new = Blob()
            stored = worker.context.stored
            files = [new.open('w'), stored.open('w')]
            for file in files:
                file.write(b'x' * 100000)
                file.flush()
            opened.append(self.files())
            raise error

        def exit(worker):
            work(worker, SystemExit)

        self.begin()
        self.counter.stored = Blob()
        with self.counter.stored.open('w') as file:
            file.write(b'as it was')
        transaction.commit()
        before = self.files()
        self.assertEqual(len(before), 1, before)
        for name, handler, error in ('work', work, 'ValueError'), (
                'exit', exit, 'SystemExit'):
            declareWorker(name, handler)
            status = self.carryOut(name, self.counter)
            self.assertEqual((status.state, status.error_type),
                             ('failed', error))
            self.assertGoesOn()
        self.assertEqual([len(files) for files in opened], [3, 3])
        waitUntil(lambda: self.files() == before, 'the end of the files')
        self.begin()
        with self.counter.stored.open() as file:
            self.assertEqual(file.read(), b'as it was')

    def test_opened_anew_at_each_attempt(self):
        errors = [TransientError(), ValueError()]

        def work(worker):
            if not hasattr(worker.context, 'blob'):
                worker.context.blob = Blob()
            with worker.context.blob.open('a') as file:
                file.write(b'once')
            if errors:
                raise errors.pop(0)

        declareWorker('work', work, max_attempts=2, retry_delay=0.0)
        status = self.carryOut('work', self.counter)
        self.assertEqual((status.state, status.attempts), ('succeeded', 2))
        self.begin()
        with self.counter.blob.open() as file:
            self.assertEqual(file.read(), b'once')
        waitUntil(lambda: len(self.files()) == 1)


class Mailer:
    """Takes what would go to a mail server."""

    def __init__(self):
        self.sent = []

    def vote(self, *args):
        """Not needed by this one."""

    abort = vote

    def send(self, sender, recipients, message):
        self.sent.append(message)


class MailTests(FailingTests):

    MESSAGE = ('From: a@example.org\nTo: b@example.org\nSubject: %s\n'
               'Date: Mon, 02 Nov 2026 10:00:00 +0000\n'
               'Message-Id: <%s@example.org>\n\nHello\n')

    def setUp(self):
        super().setUp()
        self.mailer = Mailer()
        self.delivery = DirectMailDelivery(self.mailer)
        self.keys = []

    def work(self, worker):
        self.keys.append(worker.run_id)   # what a server outside would see
        self.delivery.send(
            'a@example.org', ['b@example.org'],
            (self.MESSAGE % (worker.run_id, worker.run_id)).encode())
        worker.context.value += 1
        if len(self.keys) < 4:
            other = threading.Thread(target=self.disturb)
            other.start()
            other.join(LIMIT)

    def disturb(self):
        connection = self.db.open()
        connection.root()['Application']['counter'].value += 10
        transaction.commit()
        connection.close()

    def test_mail_under_conflicts_is_sent_once(self):
        declareWorker('work', self.work)
        status = self.carryOut('work', self.counter)
        self.assertEqual((status.state, status.attempts), ('succeeded', 1))
        self.assertEqual(self.value(), 31)
        self.assertEqual(len(self.mailer.sent), 1)
        # The same key at each try tells a server outside that it is one.
        self.assertEqual(self.keys, [status.id] * 4)

    def test_mail_of_work_that_fails_is_not_sent(self):
        def work(worker):
            self.work(worker)
            raise ValueError

        self.keys.extend('xxxx')
        declareWorker('work', work, max_attempts=2, retry_delay=0.0)
        status = self.carryOut('work', self.counter)
        self.assertEqual((status.state, status.attempts), ('failed', 2))
        self.assertEqual(self.mailer.sent, [])
        self.assertEqual(self.keys[4:], [status.id] * 2)


class MuchTests(FailingTests):

    def test_traceback_of_ten_megabytes(self):
        def work(worker):
            raise ValueError('begin ' + 'x' * 10000000 + ' end')

        status, details = self.failIn(work, error_type='ValueError')
        self.assertLess(len(details.traceback), TRACEBACK_LIMIT + 1)
        self.assertIn('cut here', details.traceback)
        self.assertIn('in work', details.traceback)
        self.assertTrue(details.traceback.endswith(' end\n'))
        self.assertLessEqual(len(status.error_text), 500)

    def test_gigabyte_of_log(self):
        line = 'x' * 2 ** 20

        def work(worker):
            worker.log.info('begin')
            for _ in range(1024):
                worker.log.info(line)
            worker.log.info('end')

        # Only the run's own log is of interest.
        self.logger.handlers[-1].setLevel('CRITICAL')
        declareWorker('work', work)
        size = self.db.storage.getSize()
        status = self.carryOut('work')
        log = self.registry.getDetails(status.id).log
        self.assertIn('begin', log)
        self.assertIn('cut here', log)
        self.assertIn('end', log)
        self.assertLess(len(log), 2 ** 20)
        self.assertLess(self.db.storage.getSize() - size, 2 ** 20)

    def test_a_million_calls_of_setProgress(self):
        commits = []

        def work(worker):
            before = self.commits()
            for n in range(10 ** 6):
                worker.setProgress(n, 10 ** 6)
            commits.append(self.commits() - before)

        declareWorker('work', work)
        status = self.carryOut('work')
        self.assertEqual((status.progress_done, status.progress_total),
                         (10 ** 6 - 1, 10 ** 6))
        # The control thread tells of them every few seconds, no call does.
        self.assertLess(commits[0], 100)

    def commits(self):
        return len(list(self.db.storage.iterator()))
