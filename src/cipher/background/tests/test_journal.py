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
import transaction
from ZODB.FileStorage import FileStorage
from zope.interface.verify import verifyObject
from zope.security.management import endInteraction

from cipher.background import journal
from cipher.background.installation import addRegistry
from cipher.background.interfaces import ACTIONS
from cipher.background.interfaces import IAction
from cipher.background.tests.administration_support import BEGIN
from cipher.background.tests.administration_support import AdministrationTests
from cipher.background.tests.administration_support import another
from cipher.background.tests.live_support import FileSiteTests
from cipher.background.tests.live_support import declareWorker


class JournalTests(AdministrationTests):

    def record(self, number, subject='run-%d', reason=None):
        for index in range(number):
            journal.record(self.registry, 'stop', subject % index,
                           journal.askedNow(reason))

    def subjects(self, *arguments):
        actions, key = self.registry.listActions(*arguments)
        return [action.subject for action in actions], key

    def test_empty(self):
        self.assertEqual(self.registry.listActions(), ([], None))

    def test_line_12_action(self):
        self.record(1, 'run %d', 'enough')
        (action,), key = self.registry.listActions()
        verifyObject(IAction, action)
        self.assertIsNone(key)
        self.assertEqual(action, ('stop', 'run 0', 'admin', BEGIN, 'enough'))
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
        self.assertEqual(self.subjects()[0], ['second 0', 'first 0'])

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

    def test_plain_data_is_stored(self):
        self.record(1)
        action, = self.registry.journal.values()
        self.assertIs(type(action), tuple)

    def test_nobody(self):
        endInteraction()
        self.record(1)
        self.assertIsNone(self.registry.listActions()[0][0].principal)
        self.assertEqual(transaction.get().description,
                         'cipher.background: stop run run-0')

    def test_line_37_texts_are_cleaned(self):
        self.record(1, 'a\nb\0%d', 'c\r\nd\u202e\ud800' + 'e' * 1000)
        action = self.registry.listActions()[0][0]
        self.assertEqual(action.subject, 'a b\ufffd0')
        self.assertEqual(action.reason[:6], 'c d\ufffd\ufffde')
        self.assertEqual(len(action.reason), 500)
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

    def test_registry_that_is_not_stored_has_no_note(self):
        site = type(self.site)()
        site.setSiteManager(type(self.site.getSiteManager())(site))
        self.site['below'] = site
        registry = addRegistry(site)
        transaction.abort()
        registry.pauseType('work')
        self.assertEqual(len(registry.journal), 1)
        self.assertEqual(transaction.get().description, '')


class NoteTests(FileSiteTests):
    """Of a storage that refuses notes over 64 kB."""

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
