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
"""Upstream's contract of the worker thread."""
import logging
import threading
from unittest import mock

import transaction
from zope.component.hooks import getSite
from zope.interface.verify import verifyClass
from zope.interface.verify import verifyObject
from zope.security.management import endInteraction
from zope.security.management import newInteraction
from zope.security.management import queryInteraction

from cipher.background import thread
from cipher.background.interfaces import IBackgroundWorkerThread
from cipher.background.interfaces import IWorkObserver
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.thread import BackgroundJob
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.work.observer import WorkObserver


class Worker(BackgroundWorkerThread):
    """Does some iterations, and notes what it is called for."""

    rounds = 1

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.calls = []

    def scheduleNextWork(self):
        self.calls.append('schedule')
        self.rounds -= 1
        return self.rounds >= 0

    def doWork(self):
        self.calls.append('work')
        self.work()

    def doCleanup(self):
        self.calls.append('cleanup')
        self.cleanup()

    def work(self):
        """For the test."""

    def cleanup(self):
        """For the test."""


class WorkerTests(FileSiteTests):
    """Workers that run in the test's own thread."""

    def setUp(self):
        super().setUp()
        self.opened = []
        self._open = self.db.open
        self.db.open = self._open_noted
        self.patch_wait(lambda state, seconds: state.stop_requested)

    def patch_wait(self, wait):
        """No test waits for the time after a failure."""
        patcher = mock.patch(
            'cipher.background.work.worker.WorkState.wait', wait)
        patcher.start()
        self.addCleanup(patcher.stop)

    def _open_noted(self, *args, **kwargs):
        connection = self._open(*args, **kwargs)
        self.opened.append(connection)
        return connection

    def make(self, class_=Worker, **values):
        worker = class_.forSite(self.site, 'user')
        vars(worker).update(values)
        return worker

    def carry_out(self, worker):
        """Run *worker* here; then see what it committed."""
        transaction.abort()
        worker.run()
        transaction.begin()

    def assertNothingLeft(self):
        self.assertIsNone(getSite())
        self.assertIsNone(queryInteraction())
        self.assertEqual([c for c in self.opened if c.opened], [])
        self.assertEqual(transaction.get()._resources, [])

    def last_transactions(self, number):
        """Return (user, note) of the last transactions of the storage."""
        return [(record.user.decode(), record.description.decode())
                for record in self.db.storage.iterator()][-number:]


class DefaultsTests(WorkerTests):

    def test_class_attributes(self):
        self.assertEqual(
            BackgroundWorkerThread.description,
            'background worker thread (%(class_name)s) for %(site_name)s')
        self.assertEqual(
            BackgroundWorkerThread.work_transaction_note, '%(thread_name)s')
        self.assertEqual(
            BackgroundWorkerThread.cleanup_transaction_note,
            '%(thread_name)s cleanup')
        self.assertIs(BackgroundWorkerThread.log, thread.log)
        self.assertEqual(thread.log.name, 'cipher.background.thread')
        self.assertTrue(issubclass(BackgroundWorkerThread, threading.Thread))

    def test_interfaces(self):
        verifyClass(IBackgroundWorkerThread, BackgroundWorkerThread)
        worker = BackgroundWorkerThread(None, b'', 'site', 'user')
        verifyObject(IBackgroundWorkerThread, worker)
        verifyObject(IBackgroundWorkerThread,
                     BackgroundJob(None, b'', 'site', 'user'))
        verifyObject(IWorkObserver, WorkObserver())

    def test_constructor_keeps_its_arguments(self):
        worker = BackgroundWorkerThread('db', b'12345678', 'site', 'user')
        self.assertEqual(
            (worker.site_db, worker.site_oid, worker.site_name,
             worker.user_name), ('db', b'12345678', 'site', 'user'))
        self.assertTrue(worker.daemon)
        self.assertFalse(worker.is_alive())

    def test_constructor_takes_keywords(self):
        worker = BackgroundWorkerThread(
            site_db='db', site_oid=b'1', site_name='site', user_name='user',
            daemon=False)
        self.assertFalse(worker.daemon)

    def test_description_names_the_thread(self):
        class Named(BackgroundWorkerThread):
            description = '%(class_name)s in %(site_name)s of %(user_name)s'

        self.assertEqual(Named(None, b'', 'here', 'bob').name,
                         'Named in here of bob')
        self.assertEqual(
            BackgroundWorkerThread(None, b'', 'here', 'bob').name,
            'background worker thread (BackgroundWorkerThread) for here')

    def test_forSite_takes_what_is_needed_from_the_site(self):
        worker = Worker.forSite(self.site, 'bob', daemon=False)
        self.assertIsInstance(worker, Worker)
        self.assertIs(worker.site_db, self.db)
        self.assertEqual(worker.site_oid, self.site._p_oid)
        self.assertEqual(worker.site_name, self.site.__name__)
        self.assertEqual(worker.user_name, 'bob')
        self.assertFalse(worker.daemon)
        self.assertTrue(Worker.forSite(self.site, 'bob').daemon)

    def test_getSite_loads_from_the_given_connection(self):
        other = self.db.open(transaction.TransactionManager())
        self.addCleanup(other.close)
        site = self.make().getSite(other)
        self.assertEqual(site._p_oid, self.site._p_oid)
        self.assertIs(site._p_jar, other)

    def test_notes(self):
        class Noted(Worker):
            work_transaction_note = (
                '%(thread_name)s, %(class_name)s, %(site_name)s, '
                '%(user_name)s')
            cleanup_transaction_note = 'cleaning of %(class_name)s'

        worker = Noted(None, b'', 'here', 'bob')
        worker.name = 'Tom'
        self.assertEqual(worker.getTransactionNote(), 'Tom, Noted, here, bob')
        self.assertEqual(worker.getCleanupNote(), 'cleaning of Noted')
        plain = Worker(None, b'', 'here', 'bob')
        plain.name = 'Tom'
        self.assertEqual(plain.getTransactionNote(), 'Tom')
        self.assertEqual(plain.getCleanupNote(), 'Tom cleanup')

    def test_base_class_schedules_nothing(self):
        worker = BackgroundWorkerThread.forSite(self.site, 'user')
        self.assertIs(worker.scheduleNextWork(), False)
        self.assertIsNone(worker.doWork())
        self.assertIsNone(worker.doCleanup())
        self.carry_out(worker)
        self.assertEqual(self.opened, [])

    def test_job_schedules_itself_once(self):
        job = BackgroundJob(None, b'', 'site', 'user', number=5)
        self.assertEqual(job.input, {'number': 5})
        self.assertTrue(job.scheduleNextWork())
        self.assertFalse(job.scheduleNextWork())


class IterationTests(WorkerTests):

    def test_order_of_calls(self):
        worker = self.make(rounds=2)
        self.carry_out(worker)
        self.assertEqual(worker.calls, [
            'schedule', 'work', 'cleanup', 'schedule', 'work', 'cleanup',
            'schedule'])

    def test_work_has_site_interaction_and_connection(self):
        seen = []

        def look():
            seen.append((getSite(), queryInteraction()))
            self.assertIs(getSite()._p_jar, self.opened[-1])

        self.carry_out(self.make(work=look, cleanup=look))
        (site, interaction), (cleanup_site, _) = seen
        self.assertEqual(site._p_oid, self.site._p_oid)
        self.assertIs(site, cleanup_site)
        self.assertEqual(list(interaction.participations), [])
        self.assertNothingLeft()

    def test_schedule_has_nothing(self):
        worker = self.make()
        worker.scheduleNextWork = lambda: self.assertNothingLeft()
        self.carry_out(worker)
        self.assertEqual(self.logged.getvalue(), '')

    def test_an_iteration_opens_one_connection(self):
        self.carry_out(self.make(rounds=3))
        self.assertEqual(len(self.opened), 3)
        self.assertNothingLeft()

    def test_work_and_cleanup_are_two_transactions(self):
        def work():
            getSite()['counter'].value += 1

        def cleanup():
            getSite()['counter'].value += 10

        self.carry_out(self.make(work=work, cleanup=cleanup, _name='Tom'))
        self.assertEqual(self.last_transactions(2), [
            ('/ user', 'Tom'), ('/ user', 'Tom cleanup')])
        self.assertEqual(self.site['counter'].value, 11)
        self.assertNothingLeft()

    def test_failing_work_is_aborted_and_cleaned_up(self):
        def work():
            getSite()['counter'].value = 5
            raise ValueError('broken')

        def cleanup():
            getSite()['counter'].value += 1

        worker = self.make(work=work, cleanup=cleanup, _name='Tom', rounds=2)
        self.carry_out(worker)
        self.assertEqual(self.site['counter'].value, 2)
        self.assertEqual(worker.calls.count('cleanup'), 2)
        self.assertEqual(self.logged.getvalue().count(
            'Exception in Tom\nTraceback'), 2)
        self.assertIn('ValueError: broken', self.logged.getvalue())
        self.assertNotIn('terminated', self.logged.getvalue())
        self.assertNothingLeft()

    def test_doomed_work_does_not_hinder_the_cleanup(self):
        def cleanup():
            getSite()['counter'].value += 1

        self.carry_out(self.make(work=transaction.doom, cleanup=cleanup))
        self.assertEqual(self.site['counter'].value, 1)
        self.assertIn('DoomedTransaction', self.logged.getvalue())
        self.assertNothingLeft()

    def test_failing_cleanup_is_logged_and_the_loop_goes_on(self):
        def work():
            getSite()['counter'].value += 1

        def cleanup():
            getSite()['counter'].value = 100
            raise ValueError('dirty')

        worker = self.make(work=work, cleanup=cleanup, rounds=2)
        self.carry_out(worker)
        self.assertEqual(self.site['counter'].value, 2)
        self.assertEqual(self.logged.getvalue().count('ValueError: dirty'), 2)
        self.assertNothingLeft()

    def test_errors_of_work_and_cleanup_are_both_told(self):
        def work():
            raise ValueError('broken')

        def cleanup():
            raise KeyError('dirty')

        self.carry_out(self.make(work=work, cleanup=cleanup, _name='Tom'))
        log = self.logged.getvalue()
        self.assertEqual(log.count('Exception in Tom\n'), 2)
        self.assertIn('ValueError: broken', log)
        self.assertIn("KeyError: 'dirty'", log)
        self.assertNothingLeft()

    def test_error_of_schedule_terminates_the_thread(self):
        def schedule():
            raise ValueError('broken')

        self.carry_out(self.make(scheduleNextWork=schedule, _name='Tom'))
        self.assertIn('Exception in Tom, thread terminated\nTraceback',
                      self.logged.getvalue())
        self.assertNothingLeft()

    def test_site_that_cannot_be_loaded(self):
        worker = self.make(site_oid=b'\x7f' * 8)
        self.carry_out(worker)
        self.assertNotIn('work', worker.calls)
        self.assertIn('POSKeyError', self.logged.getvalue())
        self.assertNothingLeft()

    def test_interaction_left_by_others_ends_the_iteration(self):
        newInteraction()
        self.addCleanup(endInteraction)
        worker = self.make()
        self.carry_out(worker)
        self.assertNotIn('work', worker.calls)
        self.assertIn('ExistingInteraction', self.logged.getvalue())
        self.assertEqual([c for c in self.opened if c.opened], [])

    def test_work_that_ended_its_transaction_itself(self):
        def work():
            getSite()['counter'].value += 1
            transaction.commit()
            getSite()['counter'].value += 1
            transaction.abort()
            getSite()['counter'].value += 1

        self.carry_out(self.make(work=work))
        self.assertEqual(self.site['counter'].value, 2)
        self.assertNothingLeft()

    def test_what_was_pending_in_the_thread_is_aborted(self):
        def schedule():
            connection = self._open()
            connection.root()['Application']['counter'].value = 100
            worker.scheduleNextWork = lambda: False
            worker.pending = connection
            return True

        worker = self.make(scheduleNextWork=schedule)
        self.carry_out(worker)
        worker.pending.close()
        self.assertEqual(self.site['counter'].value, 0)

    def test_own_logger(self):
        logger = logging.getLogger('cipher.background.tests.own')

        class Own(Worker):
            log = logger

            def work(self):
                raise ValueError

        with self.assertLogs(logger, 'ERROR') as logged:
            self.carry_out(self.make(Own, _name='Tom'))
        self.assertEqual([r.getMessage() for r in logged.records],
                         ['Exception in Tom'])
