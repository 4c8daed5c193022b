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
"""What administrators did is kept."""
from unittest import mock

import transaction
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError
from zope.component import provideHandler
from zope.interface.verify import verifyObject
from zope.security.management import endInteraction

from cipher.background.interfaces import ACTIONS
from cipher.background.interfaces import IAction
from cipher.background.interfaces import IRunEvent
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.registry import WorkerRegistry
from cipher.background.store import journal
from cipher.background.tests.support.administration import BEGIN
from cipher.background.tests.support.administration import AdministrationTests
from cipher.background.tests.support.administration import another
from cipher.background.tests.support.layers import Long
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import login


class JournalTests(AdministrationTests):

    def record(self, number, subject='run-%d', reason=None):
        for index in range(number):
            journal.record(
                self.registry, 'stop',
                subject % index if '%' in subject else subject,
                journal.askedNow(reason))

    def subjects(self, *arguments):
        actions, key = self.registry.listActions(*arguments)
        return [action.subject for action in actions], key

    def test_empty(self):
        self.assertEqual(self.registry.listActions(), ([], None))

    def test_action(self):
        self.record(1, 'run %d', 'enough')
        (action,), key = self.registry.listActions()
        verifyObject(IAction, action)
        self.assertIsNone(key)
        self.assertEqual(
            action[:5], ('stop', 'run 0', 'admin', BEGIN, 'enough'))
        self.assertEqual((action.times, action.last_at, action.number,
                          action.filter, action.run_ids),
                         (1, None, 1, None, []))
        self.assertIn(action.verb, ACTIONS)

    def test_pages(self):
        self.record(5)
        first, key = self.subjects(2)
        second, key = self.subjects(2, key)
        third, end = self.subjects(2, key)
        self.assertEqual((first, second, third, end), (
            ['run-4', 'run-3'], ['run-2', 'run-1'], ['run-0'], None))
        self.assertEqual(self.subjects(1, key), (['run-0'], None))
        self.assertEqual(self.subjects(5), (first + second + third, None))
        self.assertEqual(self.subjects(5, '1'), ([], None))

    def test_order_holds_though_the_clock_is_set_back(self):
        self.record(1, 'first %d')
        self.clock.advance(-3600.0)
        self.record(1, 'second %d')
        for number, verb in enumerate(('remove', 'stop', 'drain process')):
            journal.record(self.registry, verb, 'next %d' % number,
                           journal.askedNow(None))
        self.assertEqual(self.subjects()[0], [
            'next 2', 'next 1', 'next 0', 'second 0', 'first 0'])

    def test_wrong_key_is_refused(self):
        for key in '', 'x', '-1', '1' * 19, 4, b'4', '\u0664', ('4',):
            with self.subTest(key=key):
                with self.assertRaises(ValueError) as caught:
                    self.registry.listActions(before=key)
                self.assertIn('before: expected the key that the page before '
                              'gave', str(caught.exception))

    def test_last_thousand_are_kept(self):
        most = journal.LIMIT + journal.SURPLUS
        self.record(most)
        self.assertEqual(len(self.subjects(2000)[0]), most)
        self.record(1, 'last %d')
        subjects, key = self.subjects(2000)
        self.assertEqual(len(subjects), journal.LIMIT)
        self.assertEqual((subjects[:2], subjects[-1]), (
            ['last 0', 'run-%d' % (most - 1)],
            'run-%d' % (journal.SURPLUS + 1)))

    def times(self):
        """Return {(verb, subject): how many times} of what is shown."""
        return {(action.verb, action.subject): action.times
                for action in self.registry.listActions(5000)[0]}

    def test_repeated_act_is_one_row_with_a_count(self):
        for index in range(5000):
            self.registry.pauseType('work', index % 2 == 0, 'flush')
            self.clock.advance(0.5)
        self.assertEqual(self.times(), {
            ('pause type', 'work'): 2500, ('resume type', 'work'): 2500})
        resumed, paused = self.registry.listActions()[0]
        self.assertEqual((paused.at, paused.last_at),
                         (BEGIN, BEGIN + 2499.0))
        self.assertEqual((paused.reason, resumed.reason), ('flush', 'flush'))

    def test_row_is_of_one_hour(self):
        for number in range(4):
            self.registry.pauseType('work')
            self.registry.pauseType('work', False)
            self.clock.advance(1300.0)
        rows = [(action.verb, action.times, action.at - BEGIN)
                for action in self.registry.listActions()[0]]
        self.assertEqual(rows, [
            ('resume type', 1, 3900.0), ('pause type', 1, 3900.0),
            ('resume type', 3, 0.0), ('pause type', 3, 0.0)])

    def test_another_person_or_thing_has_a_row_of_its_own(self):
        declareWorker('other', lambda worker: None)
        for person in 'admin', 'eve':
            login(person)
            for name in 'work', 'other', 'work':
                self.registry.pauseType(name)
                self.registry.pauseType(name, False)
        rows = {(action.principal, action.verb, action.subject): action.times
                for action in self.registry.listActions()[0]}
        self.assertEqual(len(rows), 8)
        self.assertEqual(set(rows.values()), {1, 2})

    def test_no_reason_is_lost_by_another(self):
        for reason in 'incident 5', None, 'incident 5', 'x' * 2000, 'last':
            self.registry.pauseType('work', True, reason)
            self.registry.pauseType('work', False)
        paused = self.registry.listActions()[0][1]
        self.assertEqual(paused.times, 5)
        self.assertTrue(paused.reason.startswith('incident 5; xxx'))
        self.assertEqual(len(paused.reason), 500)

    def test_removals_and_drains_are_not_flushed(self):
        old = self.make()
        self.registry.remove(old.id)
        journal.record(self.registry, 'drain process', 'host:1:x',
                       journal.askedNow(None))
        login('eve')
        for days in 30, 30, 29:
            self.clock.advance(days * 86400.0)
            self.record(journal.LIMIT + journal.SURPLUS + 1, 'run %d-%%d'
                        % days)
        kept = self.times()
        self.assertIn(('remove', old.id), kept)
        self.assertIn(('drain process', 'host:1:x'), kept)

    def test_removals_do_not_drive_each_other_out(self):
        for index in range(3000):
            journal.record(self.registry, 'remove', '1-%d' % index,
                           journal.askedNow(None))
        self.assertEqual(len(self.times()), 3000)

    def test_removals_go_after_ninety_days_many_at_once(self):
        def remove(number):
            for index in range(number):
                journal.record(self.registry, 'remove', '1-%d' % index,
                               journal.askedNow(None))

        remove(journal.SURPLUS - 1)
        self.clock.advance(journal.LASTING_FOR + 1.0)
        remove(1)
        self.assertEqual(len(self.registry.journal.lasting), journal.SURPLUS)
        self.clock.advance(journal.LASTING_FOR + 1.0)
        remove(1)
        self.assertEqual(len(self.registry.journal.lasting), 1)

    def test_nobody_drives_out_what_others_did(self):
        self.record(10, 'mine-%d')
        self.registry.pauseType('work')
        login('eve')
        self.registry.pauseType('work', False, 'to be hidden')
        self.record(5000, 'run-%d')
        kept = self.times()
        self.assertIn(('pause type', 'work'), kept)
        self.assertLessEqual({('stop', 'mine-%d' % index)
                              for index in range(10)}, set(kept))
        # Nor another act of one's own.
        self.assertIn(('resume type', 'work'), kept)
        self.assertLessEqual(len(kept), journal.LIMIT + journal.SURPLUS)

    def test_nobody_drives_out_others_by_many_kinds_of_acts(self):
        for index in range(400):
            self.act('stop', 'mine-%d' % index)
        login('eve')
        for index in range(300):
            for verb in (verb for verb in ACTIONS
                         if verb not in journal.LASTING):
                self.act(verb, 'run-%d' % index)
        kept = list(self.registry.journal.recent.values())
        self.assertLessEqual(len(kept), journal.LIMIT + journal.SURPLUS)
        self.assertEqual(sum(row[2] == 'admin' for row in kept), 400)

    def act(self, verb, subject):
        journal.record(self.registry, verb, subject, journal.askedNow(None))

    def test_act_on_many_is_one_row(self):
        ids = [self.registry.start('work').id for _ in range(661)]
        transaction.commit()
        done = self.registry.actOnRuns('stop', ids, 'enough', 'state=pending')
        self.assertEqual(done, ids)
        action, = self.registry.listActions()[0]
        verifyObject(IAction, action)
        self.assertEqual(
            (action.verb, action.subject, action.principal, action.reason,
             action.number, action.filter, action.types, action.run_ids),
            ('stop', None, 'admin', 'enough', 661, 'state=pending',
             ('work',), ids))
        row, = self.registry.journal.recent.values()
        self.assertLess(len(row[8]), 3 * 661)
        self.assertEqual(transaction.get().description,
                         'cipher.background: stop 661 runs by admin: enough')
        # What was stopped is left out the second time, and has no row.
        self.assertEqual(self.registry.actOnRuns('stop', ids), [])
        self.assertEqual(len(self.registry.listActions()[0]), 1)
        self.registry.actOnRuns('remove', ids[:660], 'space')
        self.assertEqual(self.registry.listActions()[0][0].number, 660)
        self.assertEqual(len(self.registry.journal.lasting), 1)
        # Of one that was selected the row is as ever.
        self.registry.actOnRuns('remove', ids[660:])
        self.assertEqual(self.registry.listActions()[0][0].subject, ids[660])

    def test_act_on_many_says_that_of_those_it_changed(self):
        waiting, failed = self.registry.start('work'), self.make()
        self.registry.actOnRuns(
            'remove', ['x', '9-9', waiting.id, failed.id], None, '*')
        action, = self.registry.listActions()[0]
        self.assertEqual((action.number, action.run_ids), (1, [failed.id]))

    def test_act_on_many_counts_what_it_did_and_no_more(self):
        patch = mock.patch.object(
            WorkerRegistry, 'mayStart', lambda *arguments: True)
        patch.start()
        self.addCleanup(patch.stop)
        running, failed = self.makeRunning(), self.make()
        for verb, run_id in (('stop', running.id), ('retry', failed.id)):
            # The second time it was asked before, and has its retry.
            self.assertEqual(self.registry.actOnRuns(verb, [run_id]),
                             [run_id])
            self.assertEqual(self.registry.actOnRuns(verb, [run_id]), [])

    def test_act_on_many_goes_on_where_one_fails(self):
        patch = mock.patch.object(
            WorkerRegistry, 'mayStart', lambda *arguments: True)
        patch.start()
        self.addCleanup(patch.stop)
        failing = []

        def fail(event):
            run = event.object
            if run.id in failing or run.retry_of and '%d-%d' % (
                    run.retry_of[:2]) in failing:
                raise ValueError('wrong')

        provideHandler(fail, [IRunEvent])
        runs = [self.registry.start('work') for _ in range(3)]
        for verb, some in (('stop', runs),
                           ('retry', [self.make() for _ in range(3)])):
            with self.subTest(verb):
                transaction.commit()
                number = len(self.registry.listRuns().items)
                failing[:] = [some[1].id]
                acted = self.registry.actOnRuns(
                    verb, [run.id for run in some])
                self.assertEqual(acted, [some[0].id, some[2].id])
                self.assertEqual(
                    acted.failed, {some[1].id: ('ValueError', 'wrong')})
                transaction.commit()
                self.assertEqual(
                    len(self.registry.listRuns().items),
                    number + 2 * (verb == 'retry'))
                self.assertEqual(
                    self.registry.listActions()[0][0].run_ids, acted)
        self.assertEqual([run.state for run in runs],
                         ['stopped', 'pending', 'stopped'])

    def test_act_on_many_is_shown_where_all_its_types_are(self):
        declareWorker('audit', lambda worker: None)
        ids = [self.registry.start(name).id for name in ('work', 'audit')]
        self.registry.actOnRuns('stop', ids, filter='*')
        self.registry.pauseType('work')
        declareWorker('audit', lambda worker: None,
                      view_permission='test.Audit')
        # The policy of these tests permits nobody anything.
        self.assertEqual([action.verb for action
                          in self.registry.listActions()[0]], ['pause type'])

    def test_plain_data_is_stored(self):
        self.record(1)
        action, = self.registry.journal.recent.values()
        self.assertIs(type(action), tuple)
        self.assertEqual(len(action), 5)

    def test_nobody(self):
        endInteraction()
        self.record(1)
        self.assertIsNone(self.registry.listActions()[0][0].principal)
        self.assertEqual(transaction.get().description,
                         'cipher.background: stop run run-0')

    def test_texts_are_cleaned(self):
        self.record(1, 'a\nb\0%d', 'c\r\nd\u202e\ud800' + 'e' * 1000)
        action = self.registry.listActions()[0][0]
        self.assertEqual(action.subject, 'a b\ufffd0')
        self.assertEqual(action.reason[:6], 'c d\ufffd\ufffde')
        # Cut at 500, where the line break was of two characters.
        self.assertEqual(len(action.reason), 499)
        transaction.commit()

    def test_blank_reason_is_none(self):
        for reason in None, '', ' ', '\n\t':
            self.assertIsNone(journal.askedNow(reason)[2])

    def test_requests_to_stop_are_told_once(self):
        waiting = self.registry.start('work')
        running = self.makeRunning()
        self.registry.requestStop(waiting.id, 'one')
        self.registry.requestStop(running.id, 'two')
        self.registry.requestStop(running.id, 'three')
        self.assertEqual(self.actions(), [
            ('stop', waiting.id, 'admin', BEGIN, 'one'),
            ('stop', running.id, 'admin', BEGIN, 'two')])

    def test_run_of_a_silent_process_is_not_said_to_be_stopped(self):
        # It may be alive: what is shown as pending is told to stop.
        run = self.makeRunning()
        self.clock.advance(1000.0)
        self.assertEqual(self.registry.requestStop(run.id), 'running')
        self.assertEqual(run.state, 'running')

    def test_two_at_a_time_do_not_conflict(self):
        # Else a worker that stops others might have to work again.
        self.record(journal.LIMIT)
        transaction.commit()
        self.clock.advance(1.0)
        for _ in range(3):
            with another(self) as (manager, registry):
                journal.record(registry, 'stop', '1-1', journal.askedNow(''))
                self.clock.advance(0.001)
                self.record(1, '2-%d')
                transaction.commit()
                manager.commit()
            transaction.begin()
            self.assertEqual(self.subjects(2)[0], ['2-0', '1-1'])
            self.clock.advance(1.0)

    def test_same_act_of_two_at_a_time_is_done_again(self):
        # Both add to one row.
        self.record(1, 'run')
        transaction.commit()
        with another(self) as (manager, registry):
            journal.record(registry, 'stop', 'run', journal.askedNow(None))
            self.record(1, 'run')
            transaction.commit()
            with self.assertRaises(ConflictError):
                manager.commit()
            manager.abort()
            manager.begin()
            journal.record(registry, 'stop', 'run', journal.askedNow(None))
            manager.commit()
        transaction.begin()
        self.assertEqual(self.times(), {('stop', 'run'): 3})

    def test_removals_of_two_at_a_time_do_not_conflict(self):
        with another(self) as (manager, registry):
            journal.record(registry, 'remove', '1-1', journal.askedNow(''))
            self.clock.advance(0.001)
            journal.record(self.registry, 'remove', '1-2',
                           journal.askedNow(''))
            transaction.commit()
            manager.commit()

    def test_registry_that_is_not_stored_has_no_note(self):
        site = type(self.site)()
        site.setSiteManager(type(self.site.getSiteManager())(site))
        self.site['below'] = site
        registry = addRegistry(site)
        transaction.abort()
        registry.pauseType('work')
        self.assertEqual(len(registry.journal.recent), 1)
        self.assertEqual(transaction.get().description, '')


class NoteTests(FileSiteTests):
    """Of a storage that refuses notes over 64 kB."""

    layer = Long

    def setUp(self):
        super().setUp()
        declareWorker('work', lambda worker: None)

    def test_thousand_actions_at_once(self):
        self.assertIsInstance(self.db.storage, FileStorage)
        ids = [self.registry.start('work').id for _ in range(1000)]
        transaction.commit()
        for run_id in ids:
            self.registry.requestStop(run_id, '\u20ac' * 400)
        lines = transaction.get().description.split('\n')
        self.assertTrue(lines[0].startswith(
            'cipher.background: stop run %s: ' % ids[0]))
        self.assertTrue(lines[-1].endswith('[cut here]'))
        self.assertLess(len('\n'.join(lines)), journal.NOTES_LIMIT + 100)
        transaction.commit()
        for run_id in ids:
            self.registry.retry(run_id, '\u20ac' * 400)
        transaction.commit()
        for run_id in ids:
            self.registry.remove(run_id)
        transaction.commit()
        self.assertEqual(
            self.registry.getCounts(), {'work': {'pending': 1000}})

    def test_note_of_the_host_is_kept(self):
        transaction.get().note('/app/stop')
        self.registry.pauseType('work', reason='why')
        self.assertEqual(
            transaction.get().description,
            '/app/stop\ncipher.background: pause type work: why')
        transaction.abort()
        transaction.get().note('x' * 60000)
        self.registry.pauseType('work')
        transaction.commit()
