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
"""Tests of runs that share one commit."""
import threading
from unittest import mock

import transaction
from ZODB.POSException import ConflictError
from zope.component import provideHandler
from zope.component.hooks import getSite
from zope.security.management import queryInteraction

from cipher.background.contextmanagers import Door
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import Cancel
from cipher.background.interfaces import IRunSucceededEvent
from cipher.background.interfaces import Snooze
from cipher.background.runtime.executors import sharing
from cipher.background.runtime.executors.gate import SHORT_JOB
from cipher.background.tests.support.live import Counter
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.thread import BackgroundJob


class Foreign:
    """A data manager that is no connection of the ZODB."""

    transaction_manager = None

    def __init__(self, calls):
        self._calls = calls

    def sortKey(self):
        return '~foreign'

    def abort(self, txn):
        pass

    def tpc_finish(self, txn):
        self._calls.append('finish')

    def commit(self, txn):
        pass

    tpc_begin = tpc_vote = tpc_abort = commit


class SharingTestCase(LiveTests):
    """Runs of a runtime with one thread, which are ready together."""

    settings = dict(LiveTests.settings, threads=1)

    def setUp(self):
        super().setUp()
        # No type rests, so that each test finds its own group.
        self.patch('cipher.background.runtime.executors.sharing.REST', 0.0)
        # However busy the machine is.
        for name in 'SHORT', 'SECONDS', 'COMMIT':
            self.patch('cipher.background.runtime.executors.sharing.' + name,
                       LIMIT)
        self.patch('cipher.background.runtime.executors.threads.SECONDS',
                   LIMIT)
        self.runtime.executor._gate._short_job = LIMIT
        backlog = self.runtime.backlog
        may_look = backlog._may_look
        # A group ends early if there are new runs to look at.
        backlog._may_look = lambda now: not backlog._ready and may_look(now)
        self.called = []
        declareWorker('good', self.good, share=True)

    def good(self, worker):
        self.called.append(worker.run_id)
        getSite()['counter'].value += 1
        worker.log.info('good')

    def hold(self, *names, **options):
        """Start runs of these types; return their ids when all are ready.

        To be called in `nothingDue`.
        """
        self.begin()
        ids = [self.registry.start(name, **options).id for name in names]
        transaction.commit()
        waitUntil(lambda: self.runtime.backlog.counts()[0] == len(ids),
                  'the tickets')
        return ids

    def together(self, *names):
        """Carry out runs that are ready together; return their statuses."""
        with self.nothingDue():
            ids = self.hold(*names)
            self.last = self.db.lastTransaction()
        return [self.waitFinished(run_id) for run_id in ids]

    def commits(self):
        """Return (user, note, number of objects) of the commits since."""
        return [(txn.user.decode(), txn.description.decode(), len(list(txn)))
                for txn in self.db.storage.iterator(self.last)
                if txn.tid > self.last
                and b'run' in txn.description]

    def interruptions(self, status):
        lane, serial = map(int, status.id.split('-'))
        return self.registry.getRun(lane, serial).interruptions


class SharingTests(SharingTestCase):

    def test_many_runs_in_one_commit(self):
        statuses = self.together(*['good'] * 20)
        self.assertEqual({each.state for each in statuses}, {'succeeded'})
        self.assertEqual({each.attempts for each in statuses}, {1})
        self.assertEqual(self.value(), 20)
        self.assertEqual(self.called, [each.id for each in statuses])
        commits = self.commits()
        self.assertEqual(len(commits), 1, commits)
        (user, note, _), = commits
        self.assertEqual(user, '')
        self.assertEqual(note, 'shared commit of 20 runs: ' + ', '.join(
            self.called))

    def test_fifty_at_most(self):
        self.patch('cipher.background.runtime.executors.sharing.RUNS', 5)
        self.together(*['good'] * 12)
        self.assertEqual(self.value(), 12)
        self.assertEqual([note.split(':')[0] for _, note, _ in self.commits()],
                         ['shared commit of 5 runs', 'shared commit of 5 runs',
                          'shared commit of 2 runs'])

    def test_one_ready_run_is_done_alone(self):
        self.assertEqual(len(self.together('good')), 1)
        (_, note, _), = self.commits()
        self.assertNotIn('shared', note)

    def test_nothing_is_shared_by_default(self):
        declareWorker('default', self.good)
        self.together('default', 'default')
        self.assertEqual(len(self.commits()), 2)

    def test_all_types_of_a_runtime(self):
        self.runtime.settings.share = True
        declareWorker('default', self.good)
        declareWorker('not', self.good, share=False)
        declareWorker('claimed', self.good, on_interrupt=FAIL)
        declareWorker('limited', self.good, max_running=1)

        class Cleaning(BackgroundJob):
            def doCleanup(self):
                pass

        declareWorker('cleaning', factory=Cleaning)
        for name, is_shared in (('default', True), ('not', False),
                                ('claimed', False), ('limited', False),
                                ('cleaning', False)):
            with self.subTest(name):
                self.together(name, name)
                self.assertEqual(
                    [note.startswith('shared') for _, note, _
                     in self.commits()] == [True], is_shared)

    def test_executor_that_carries_out_each_run_itself(self):
        class Own(type(self.runtime.executor)):
            def carryOut(self, ticket, door=None):
                super().carryOut(ticket, door)

        self.runtime.executor.__class__ = Own
        self.together('good', 'good')
        self.assertEqual(len(self.commits()), 2)

    def test_other_types_keep_their_turn(self):
        declareWorker('alone', self.good)
        self.together('good', 'good', 'alone', 'good', 'good')
        self.assertEqual(
            ['shared' in note for _, note, _ in self.commits()],
            [True, False, True])
        self.assertEqual(self.value(), 5)

    def test_users_and_notes(self):
        def work(worker):
            transaction.get().note('of ' + worker.run_id)

        declareWorker('noting', work, share=True)
        with self.nothingDue():
            ids = self.hold('noting', 'good')
            self.last = self.db.lastTransaction()
        for run_id in ids:
            self.waitFinished(run_id)
        (user, note, _), = self.commits()
        heading, *notes = note.split('\n')
        self.assertEqual(
            heading, 'shared commit of 2 runs: %s, %s' % tuple(ids))
        self.assertEqual(notes, [
            'run %s: noting, run %s' % (ids[0], ids[0]), 'of ' + ids[0]])

    def test_common_user(self):
        for starters, user in ((('ann', 'ann'), '/ ann'),
                               (('ann', 'bob'), '')):
            with self.subTest(starters):
                with mock.patch.object(
                        sharing._Labels, 'begin', autospec=True,
                        side_effect=_begin_as(iter(starters))):
                    self.together('good', 'good')
                self.assertEqual(
                    [each for each, _, _ in self.commits()], [user])

    def test_environment_of_each(self):
        seen = []

        def look(worker):
            self.assertIsNotNone(queryInteraction())
            self.assertEqual(worker.context.__name__, 'd')
            seen.append((worker.run_id, worker.input))

        declareWorker('look', look, share=True)
        self.begin()
        self.site['d'] = document = Named()
        document.__name__, document.__parent__ = 'd', self.site
        transaction.commit()
        with self.nothingDue():
            self.begin()
            ids = [self.registry.start('look', document).id for _ in range(3)]
            transaction.commit()
            waitUntil(lambda: self.runtime.backlog.counts()[0] == 3)
            self.last = self.db.lastTransaction()
        for run_id in ids:
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertEqual([run_id for run_id, _ in seen], ids)
        self.assertEqual(len(self.commits()), 1)

    def test_logs_are_kept_apart(self):
        def log(worker):
            worker.log.info('I am %s', worker.run_id)

        declareWorker('log', log, share=True)
        for status in self.together('log', 'log', 'log'):
            text = self.registry.getDetails(status.id).log
            self.assertIn('I am ' + status.id, text)
            self.assertEqual(text.count('I am'), 1)

    def test_events_of_each(self):
        seen = []
        provideHandler(lambda event: seen.append(event.object.id),
                       [IRunSucceededEvent])
        ids = [each.id for each in self.together('good', 'good')]
        self.assertEqual(seen, ids)

    def test_run_that_the_snapshot_lacks_is_not_lost(self):
        prepare = self.runtime.executor.prepareShared

        def blind(connection, live, guard, found=None):
            if self.called:
                return None   # as if the run was not there yet
            return prepare(connection, live, guard, found)

        self.runtime.executor.prepareShared = blind
        statuses = self.together('good', 'good', 'good')
        self.assertEqual([each.state for each in statuses],
                         ['succeeded'] * 3)
        self.assertEqual(self.value(), 3)

    def test_undo_takes_the_whole_group(self):
        self.together('good', 'good')
        tid = self.db.lastTransaction()
        self.begin()
        self.db.undo(next(
            entry['id'] for entry in self.db.undoInfo(0, 20)
            if entry['description'].startswith('shared commit')))
        transaction.commit()
        self.assertEqual(self.value(), 0)
        self.assertNotEqual(self.db.lastTransaction(), tid)


def _begin_as(users):
    begin = sharing._Labels.begin

    def begin_as(labels, guard, user, note):
        return begin(labels, guard, next(users), note)

    return begin_as


class Named(Counter):
    """An object in the site."""


class FailureTests(SharingTestCase):
    """Each way in which one member may spoil the group."""

    def setUp(self):
        super().setUp()
        self.foreign = []

    def add(self, number):
        getSite()['counter'].value += number

    def fails(self, worker):
        self.add(100)
        raise ValueError('broken')

    def conflicts(self, worker):
        self.add(100)
        if self.called.count(worker.run_id) < 3:
            raise ConflictError('once more')

    def checkpoints(self, worker):
        if worker.cursor is None:
            self.add(100)
            worker.checkpoint(1)
        self.add(10)

    def checkpoints_and_handles_all(self, worker):
        try:
            self.checkpoints(worker)
        except Exception:
            self.called.append('handled')

    def stops(self, worker):
        self.add(100)
        worker.requestStop()
        worker.checkStop()

    def snoozes(self, worker):
        self.add(100)
        if self.called.count(worker.run_id) < 2 + self.is_shared:
            raise Snooze(0.0)

    def cancels(self, worker):
        self.add(100)
        raise Cancel('not needed')

    def exits(self, worker):
        self.add(100)
        raise SystemExit(3)

    def commits_itself(self, worker):
        self.add(100)
        transaction.commit()
        self.add(10)

    def commits_and_handles_all(self, worker):
        self.add(100)
        try:
            transaction.commit()
        except Exception:
            self.called.append('handled')

    def aborts_itself(self, worker):
        self.add(100)
        transaction.abort()
        self.add(10)

    def begins_itself(self, worker):
        self.add(100)
        transaction.begin()
        self.add(10)

    def dooms(self, worker):
        self.add(100)
        transaction.doom()

    def joins(self, worker):
        self.add(100)
        transaction.get().join(Foreign(self.foreign))

    def writes_metadata(self, worker):
        self.add(100)
        transaction.get().setExtendedInfo('request', 'x')

    def cannot_be_stored(self, worker):
        getSite()['counter'].lock = threading.Lock()

    def removes_its_run(self, worker):
        self.add(100)
        worker.context.value   # there is none

    kinds = ('fails', 'conflicts', 'checkpoints',
             'checkpoints_and_handles_all', 'stops', 'snoozes', 'cancels',
             'exits', 'commits_itself', 'commits_and_handles_all',
             'aborts_itself', 'begins_itself', 'dooms', 'joins',
             'writes_metadata', 'cannot_be_stored', 'removes_its_run')

    def outcome(self, kind, names, is_shared):
        """Return what becomes of a run of *kind*, among *names*."""
        self.is_shared = is_shared
        work = getattr(self, kind)

        def count_and_work(worker):
            self.called.append(worker.run_id)
            return work(worker)

        declareWorker(kind, count_and_work, share=is_shared)
        before = self.value()
        self.called.clear()
        statuses = self.together(*names)
        bad, = (each for each in statuses if each.type == kind)
        outcome = (bad.state, bad.attempts, bad.error_type, bad.error_text,
                   self.interruptions(bad),
                   self.value() - before - names.count('good'))
        return outcome, bad, [each for each in statuses if each is not bad]

    def test_each_kind_in_each_place(self):
        for kind in self.kinds:
            alone, _, _ = self.outcome(kind, [kind], False)
            for place in 0, 1, 2:
                names = ['good', 'good']
                names.insert(place, kind)
                with self.subTest(kind, place=place):
                    self.runtime.executor._sharing._never.clear()
                    together, bad, good = self.outcome(kind, names, True)
                    self.assertEqual(together, alone)
                    for status in good:
                        self.assertEqual(
                            (status.state, status.attempts,
                             self.interruptions(status)),
                            ('succeeded', 1, 0))
                    self.assertNotIn('handled', self.called[:-1])
                    # It was tried together, and then alone.
                    self.assertEqual(self.called.count(good[0].id),
                                     1 + (place > 0 or kind ==
                                          'cannot_be_stored'))
                    self.assertGreater(self.called.count(bad.id), 1)
                    # A run that snoozed may share when it begins again.
                    self.assertFalse(any(
                        'shared' in note and bad.id in note
                        for _, note, _ in self.commits())
                        and kind != 'snoozes')

    def test_failing_subscriber(self):
        def refuse(event):
            if event.object.type == 'bad':
                raise ValueError('no')

        provideHandler(refuse, [IRunSucceededEvent])
        declareWorker('bad', self.good, share=True)
        bad, good = self.together('bad', 'good')
        self.assertEqual((bad.state, bad.error_text), ('failed', 'no'))
        self.assertEqual((good.state, good.attempts), ('succeeded', 1))
        self.assertEqual(self.value(), 1)

    def test_data_manager_acts_once_and_is_remembered(self):
        declareWorker('joins', self.joins, share=True)
        self.together('joins', 'good')
        # Aborted with the group, finished alone.
        self.assertEqual(self.foreign, ['finish'])
        self.together('joins', 'joins', 'good', 'good')
        self.assertEqual(self.foreign, 3 * ['finish'])
        self.assertEqual(len(self.commits()), 3)
        self.assertIn('because of a data manager', self.logged.getvalue())

    def test_savepoints_are_allowed(self):
        def work(worker):
            self.add(1)
            savepoint = transaction.savepoint()
            self.add(10)
            savepoint.rollback()

        declareWorker('savepoint', work, share=True)
        self.together('savepoint', 'savepoint', 'good')
        self.assertEqual(self.value(), 3)
        self.assertEqual(len(self.commits()), 1)

    def test_commit_in_conflict_with_another_process(self):
        others = [1]

        def work(worker):
            self.add(1)
            if others:
                others.pop()
                manager = transaction.TransactionManager()
                connection = self.db.open(manager)
                root = connection.root()['Application']
                root['counter'].value += 50
                manager.commit()
                connection.close()

        declareWorker('work', work, share=True)
        statuses = self.together('work', 'good')
        self.assertEqual([(each.state, each.attempts) for each in statuses],
                         [('succeeded', 1)] * 2)
        self.assertEqual(self.value(), 52)
        self.assertEqual(self.runtime.conflicts, 1)

    def test_logs_say_that_work_was_done_again(self):
        declareWorker('bad', self.fails, share=True)
        good, bad = self.together('good', 'bad')
        text = self.registry.getDetails(good.id).log
        self.assertEqual(text.count('INFO'), 2)
        self.assertIn('done again alone', text)
        self.assertIn('broken', self.registry.getDetails(bad.id).traceback)
        # The error is logged once.
        self.assertEqual(self.logged.getvalue().count('Exception in'), 1)

    def test_retries_count_attempts_as_ever(self):
        declareWorker('bad', self.fails, share=True, max_attempts=3,
                      retry_delay=0.0)
        bad, good = self.together('bad', 'good')
        self.assertEqual((bad.state, bad.attempts), ('failed', 3))
        self.assertEqual((good.state, good.attempts), ('succeeded', 1))

    def test_lost_reply_of_the_commit(self):
        finish = type(self.db.storage).tpc_finish
        lost = [1]

        def lose(storage, txn, *args):
            result = finish(storage, txn, *args)
            if lost and b'shared' in txn.description:
                lost.pop()
                raise OSError('the reply is lost')
            return result

        self.patchFinish(lose)
        statuses = self.together('good', 'good')
        self.assertEqual([(each.state, each.attempts) for each in statuses],
                         [('succeeded', 1)] * 2)
        self.assertEqual(self.value(), 2)
        self.assertEqual(lost, [])

    def test_storage_that_is_away_at_the_begin(self):
        away = [1]
        open = self.db.open

        def refuse(*args, **kwargs):
            if away and threading.current_thread().name == 'background-1':
                away.pop()
                raise OSError('away')
            return open(*args, **kwargs)

        with self.nothingDue():
            ids = self.hold('good', 'good', 'good')
            self.db.open = refuse
        for run_id in ids:
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertEqual(away, [])
        self.assertEqual(self.value(), 3)


class RestTests(SharingTestCase):

    def test_type_that_spoiled_a_group_rests(self):
        sharing.REST = LIMIT
        declareWorker('bad', _fail, share=True)
        self.together('good', 'bad')
        self.together('good', 'bad', 'bad', 'good', 'good')
        self.assertEqual(
            ['shared' in note for _, note, _ in self.commits()],
            [False, False, False, True])

    def test_long_type_rests(self):
        sharing.SHORT = 0.0
        sharing.REST = LIMIT
        self.together('good', 'good')
        self.assertEqual(len(self.commits()), 1)
        self.together('good', 'good')
        self.assertEqual(len(self.commits()), 2)

    def test_rest_doubles_and_ends_with_a_good_group(self):
        now = [100.0]
        with mock.patch.object(sharing.time, 'monotonic', lambda: now[0]):
            sharing.REST = 1.0
            rests = sharing.Sharing(
                self.runtime.backlog, lambda: False)
            seconds = []
            for _ in range(8):
                rests.rest('good')
                seconds.append(rests._rests['good'].until - now[0])
            self.assertEqual(seconds, [1, 2, 4, 8, 16, 32, 60, 60])
            rests.committed([declareWorker('good', self.good)])
            rests.rest('good')
            self.assertEqual(rests._rests['good'].until, 101.0)


def _fail(worker):
    raise ValueError('broken')


class StopTests(SharingTestCase):

    def test_stop_of_a_run_in_work(self):
        def work(worker):
            if not self.called.count('stopping'):
                self.called.append('stopping')
                self.gate.stop()
            getSite()['counter'].value += 100
            worker.checkStop()

        declareWorker('work', work, share=True)
        with self.nothingDue():
            ids = self.hold('good', 'work', 'good')
        self.gate.waitReached()
        live = self.runtime.getLive(self.registry._p_oid, ids[0])
        self.assertIsNotNone(live)   # done, but not committed
        # One thread is at work, on the second one.
        self.assertEqual(self.runtime.running.countJobs(), 1)
        self.assertIsNone(
            self.runtime.getStack(self.registry._p_oid, ids[0]))
        self.assertIn('self.gate.stop()', self.runtime.getStack(
            self.registry._p_oid, ids[1]))
        self.requestStop(ids[1])
        waitUntil(lambda: self.runtime.findLive(
            self.registry._p_oid, ids[1]).stop)
        self.gate.open()
        self.assertEqual([self.waitFinished(each).state for each in ids],
                         ['succeeded', 'stopped', 'succeeded'])
        self.assertEqual(self.value(), 2)

    def test_shutdown_leaves_the_others_waiting(self):
        def work(worker):
            self.gate.stop()
            worker.wait(LIMIT)
            worker.checkStop()

        declareWorker('work', work, share=True)
        with self.nothingDue():
            ids = self.hold('good', 'work', 'good')
        self.gate.waitReached()
        self.gate.open()
        self.runtime.shutdown(1.0)
        for run_id in ids:
            status = self.status(run_id)
            self.assertEqual((status.state, status.attempts), ('pending', 0))
        self.assertEqual(self.value(), 0)
        declareWorker('work', self.good, share=True)
        self.runtime = self.startRuntime()
        for run_id in ids:
            status = self.waitFinished(run_id)
            self.assertEqual((status.state, status.attempts,
                              self.interruptions(status)),
                             ('succeeded', 1, 0))
        self.assertEqual(self.value(), 3)

    def test_abandoned_runs_commit_nothing(self):
        def work(worker):
            self.gate.stop()

        declareWorker('work', work, share=True)
        with self.nothingDue():
            ids = self.hold('good', 'work')
        self.gate.waitReached()
        self.runtime.shutdown(0.0)
        threads = self.runtime.executor._threads
        self.gate.open()
        for thread in threads:
            thread.join(LIMIT)
            self.assertFalse(thread.is_alive())
        self.assertEqual(self.value(), 0)
        self.assertEqual({self.status(each).state for each in ids},
                         {'pending'})


class SlowTests(SharingTestCase):
    """One run takes long, and the others of its group do not wait for it."""

    def setUp(self):
        super().setUp()
        self.slow = 1   # at which call it is slow

        def work(worker):
            self.called.append(worker.run_id)
            self.slow -= 1
            if self.slow == 0:
                self.gate.stop()
            getSite()['counter'].value += 100

        declareWorker('slow', work, share=True)
        declareWorker('bad', _fail, share=True)

    def begin_group(self, *names):
        """Begin a group of these types; return the ids of its runs.

        The slow run is in work, and is longer than a short one from now on.
        """
        with self.nothingDue():
            ids = self.hold(*names)
            self.last = self.db.lastTransaction()
        self.gate.waitReached()
        self.runtime.executor._gate._short_job = SHORT_JOB
        return ids

    def work(self):
        """Return another thread, which does what is ready."""
        def main():
            while (ticket := self.runtime.backlog.poll()) is not None:
                self.runtime.executor._work(ticket, Door(self.db))

        thread = threading.Thread(target=main)
        thread.start()
        return thread

    def assertWorked(self, thread):
        thread.join(LIMIT)
        self.assertFalse(thread.is_alive())

    def assertSucceeded(self, ids):
        for run_id in ids:
            status = self.waitFinished(run_id)
            self.assertEqual((status.state, status.attempts),
                             ('succeeded', 1))

    def have_no_spare(self):
        self.runtime.executor._has_spare = lambda: True

    def test_spare_thread_takes_over_what_is_done(self):
        ids = self.begin_group('good', 'good', 'slow')
        self.assertSucceeded(ids[:2])
        self.assertEqual(self.value(), 2)
        # They shared a commit again, and their logs say so.
        (_, note, _), = self.commits()
        self.assertEqual(note, 'shared commit of 2 runs: %s, %s'
                         % tuple(ids[:2]))
        self.assertIn('A shared commit was given up',
                      self.registry.getDetails(ids[0]).log)
        self.gate.open()
        self.assertSucceeded(ids[2:])
        self.assertEqual(self.value(), 102)
        self.assertEqual(self.called.count(ids[2]), 2)

    def test_thread_that_waits_with_a_run_takes_over(self):
        self.have_no_spare()
        ids = self.begin_group('good', 'slow', 'good')
        self.assertWorked(self.work())
        self.assertSucceeded([ids[0], ids[2]])
        self.assertEqual(self.value(), 2)
        self.gate.open()
        self.assertSucceeded(ids)
        self.assertEqual(self.value(), 102)

    def test_first_run_that_is_slow_is_done_once(self):
        self.have_no_spare()

        def work(worker):
            self.called.append(worker.run_id)
            self.gate.stop()

        declareWorker('first', work, share=True)
        ids = self.begin_group('first', 'good', 'good')
        self.assertWorked(self.work())
        self.assertSucceeded(ids[1:])
        self.gate.open()
        self.assertSucceeded(ids)
        self.assertEqual(self.called, [*ids])
        self.assertEqual(self.value(), 2)

    def test_run_that_is_slow_when_done_again(self):
        self.slow = 2
        ids = self.begin_group('slow', 'good', 'bad')
        self.assertSucceeded(ids[1:2])
        self.assertEqual(self.waitFinished(ids[2]).state, 'failed')
        self.gate.open()
        self.assertSucceeded(ids[:1])
        self.assertEqual(self.value(), 101)

    def test_ticket_in_hand_does_not_wait_for_what_is_done_again(self):
        self.have_no_spare()

        def work(worker):
            self.called.append(worker.run_id)
            if self.called.count(worker.run_id) == 2:
                self.gate.stop()

        declareWorker('again', work, share=True)
        declareWorker('alone', self.good)
        ids = self.begin_group('again', 'again', 'bad', 'alone')
        # The ticket is in hand, but the second one has to be done again.
        first = self.work()
        waitUntil(lambda: self.called.count(ids[1]) == 2)
        self.assertNotIn(ids[3], self.called)
        second = self.work()
        self.assertSucceeded(ids[3:])
        self.assertEqual(self.waitFinished(ids[2]).state, 'failed')
        self.gate.open()
        self.assertSucceeded(ids[:2])
        for thread in first, second:
            self.assertWorked(thread)

    def test_group_that_commits_is_not_taken_over(self):
        self.slow = 0
        given = []
        finish = type(self.db.storage).tpc_finish

        def take_over(storage, txn, *args):
            if b'shared' in txn.description:
                given.append(self.runtime.executor._sharing._group.takeOver())
            return finish(storage, txn, *args)

        self.patchFinish(take_over)
        self.together('good', 'slow')
        self.assertEqual(given, [None])
        self.assertEqual(self.value(), 101)
        self.assertEqual(len(self.commits()), 1)

    def test_run_waits_for_the_commit_of_a_group(self):
        # Their effects would conflict.
        self.have_no_spare()
        self.patch('cipher.background.runtime.executors.sharing.RUNS', 2)
        finish = type(self.db.storage).tpc_finish
        wait = sharing.Group.waitOver

        def stop(storage, txn, *args):
            if b'shared' in txn.description:
                self.gate.stop()
            return finish(storage, txn, *args)

        def open_and_wait(group, seconds):
            self.assertEqual(len(self.called), 2)
            self.gate.open()
            wait(group, seconds)

        self.patchFinish(stop)
        self.patch('cipher.background.runtime.executors.sharing.Group'
                   '.waitOver', open_and_wait)
        ids = self.begin_group('good', 'good', 'good')
        self.assertWorked(self.work())
        self.assertSucceeded(ids)
        self.assertEqual(self.value(), 3)
        self.assertEqual(self.runtime.conflicts, 0)

    def test_no_thread_for_the_spare_one(self):
        def refuse(thread):
            raise RuntimeError("can't start new thread")

        with mock.patch.object(threading.Thread, 'start', refuse):
            ids = [each.id for each in self.together('good', 'good')]
        self.assertSucceeded(ids)
        self.assertEqual(len(self.commits()), 2)
        self.assertIn('No thread for shared commits', self.logged.getvalue())

    def test_there_is_one_spare_thread(self):
        # The thread that starts it is passed meanwhile.
        executor, start, started = (
            self.runtime.executor, threading.Thread.start, [])
        other = threading.Thread(target=executor._has_spare)

        def start_slowly(thread):
            if thread.name == 'background-spare':
                started.append(thread)
                if len(started) == 1:
                    start(other)
                    other.join(0.2)   # until it waits
            start(thread)

        with mock.patch.object(threading.Thread, 'start', start_slowly):
            self.assertTrue(executor._has_spare())
            other.join(LIMIT)
        self.assertEqual(started, [executor._spare])

    def test_spare_thread_that_begins_at_the_end_is_waited_for(self):
        executor = self.runtime.executor
        joined = []

        class Last(threading.Thread):
            def join(self, timeout=None):
                executor._spare = Spare()

        class Spare(threading.Thread):
            def join(self, timeout=None):
                joined.append(self)

        for kind in Last, Spare:
            kind.is_alive = lambda thread: True
        threads, executor._threads = executor._threads, [Last()]
        executor.join(LIMIT)
        executor._threads, executor._spare = threads, None
        self.assertEqual(len(joined), 1)

    def test_spare_thread_ends_with_the_others(self):
        self.together('good', 'good')
        spare = self.runtime.executor._spare
        self.assertTrue(spare.is_alive())
        self.runtime.shutdown(LIMIT)
        self.assertFalse(spare.is_alive())
