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
"""The test support: upstream's for logging, and ours for runs."""
import logging
import unittest
from collections import Counter
from unittest import mock

import transaction
from zope.component import hooks
from zope.component import queryUtility
from zope.interface import Interface
from zope.schema import Int
from zope.schema import List
from zope.schema import Password
from zope.schema import TextLine

from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import RegistryNotFound
from cipher.background.interfaces import RuntimeNotFound
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.testing import assertStarted
from cipher.background.testing import runPending
from cipher.background.testing import setUpLogging
from cipher.background.testing import tearDownLogging
from cipher.background.testing import waitForRun
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import Document
from cipher.background.tests.support.sites import SiteTests
from cipher.background.util.switchboard import getRuntime
from cipher.background.util.switchboard import queryRuntime


class LoggingTests(unittest.TestCase):

    def setUp(self):
        self.logger = logging.getLogger('cipher.background.tests.logging')
        self.logger.setLevel(logging.WARNING)
        self.logger.propagate = True

    def tearDown(self):
        self.logger.handlers[:] = []
        self.logger.setLevel(logging.NOTSET)
        self.logger.propagate = True

    def test_log_goes_to_the_buffer(self):
        buffer = setUpLogging(self.logger)
        self.logger.debug('a detail of %s', 'it')
        self.assertEqual(buffer.getvalue(), 'a detail of it\n')

    def test_log_goes_nowhere_else(self):
        setUpLogging(self.logger)
        self.assertFalse(self.logger.propagate)

    def test_level_can_be_given(self):
        buffer = setUpLogging(self.logger, level=logging.ERROR)
        self.logger.warning('quiet')
        self.logger.error('loud')
        self.assertEqual(buffer.getvalue(), 'loud\n')

    def test_tear_down_restores_the_logger(self):
        buffer = setUpLogging(self.logger)
        tearDownLogging(self.logger)
        self.logger.error('too late')
        self.assertEqual(buffer.getvalue(), '')
        self.assertEqual(self.logger.handlers, [])
        self.assertEqual(self.logger.level, logging.WARNING)
        self.assertTrue(self.logger.propagate)

    def test_tear_down_keeps_what_did_not_propagate(self):
        self.logger.propagate = False
        setUpLogging(self.logger)
        tearDownLogging(self.logger)
        self.assertFalse(self.logger.propagate)

    def test_tear_down_leaves_other_handlers(self):
        other = logging.NullHandler()
        self.logger.addHandler(other)
        setUpLogging(self.logger)
        tearDownLogging(self.logger)
        self.assertEqual(self.logger.handlers, [other])

    def test_tear_down_without_set_up_does_nothing(self):
        tearDownLogging(self.logger)
        self.assertEqual(self.logger.level, logging.WARNING)


class WaitForRunTests(SiteTests):

    def setUp(self):
        super().setUp()
        declareWorker('work', lambda worker: None)

    def test_run_that_is_finished(self):
        run = self.registry.start('work')
        transaction.commit()
        runPending(self.site)
        self.assertEqual(waitForRun(run), 'succeeded')

    def test_run_that_is_not_committed_says_what_to_do(self):
        run = self.registry.start('work')
        with self.assertRaisesRegex(
                ValueError, "run '.*': expected a stored run, got one "
                'whose start is not committed; call transaction.commit'):
            waitForRun(run)

    def test_run_of_a_savepoint_says_what_to_do(self):
        run = self.registry.start('work')
        transaction.savepoint()
        with self.assertRaisesRegex(ValueError, 'transaction.commit'):
            waitForRun(run)

    def test_run_that_waits_too_long(self):
        run = self.registry.start('work')
        transaction.commit()
        with self.assertRaisesRegex(AssertionError, "'pending'"):
            waitForRun(run, timeout=0.01)


class IMail(Interface):

    to = TextLine(title='To')
    copies = Int(title='Copies', default=1, required=False)
    tags = List(title='Tags', value_type=TextLine(), required=False)
    password = Password(title='Password', required=False)


class AssertStartedTests(SiteTests):

    maxDiff = None

    def setUp(self):
        super().setUp()
        declareWorker('mail', lambda worker, **input: None, schema=IMail)
        declareWorker('tidy', lambda worker: None)
        declareWorker('post', lambda worker, **input: None, current='mail',
                      schema=IMail)

    def mail(self, to='ann', context=None, **input):
        return self.registry.start('mail', context, to=to, **input)

    def refuse(self, *args, **options):
        """Return the text of the refusal."""
        with self.assertRaises(AssertionError) as caught:
            assertStarted(*args, **options)
        return str(caught.exception)

    def test_one_that_is_not_committed_counts(self):
        run = self.mail()
        self.assertEqual([run], assertStarted(self.registry, 'mail'))

    def test_one_that_is_taken_back_does_not_count(self):
        self.mail()
        transaction.abort()
        self.assertEqual(
            "worker 'mail': expected a start, got none; nothing was started",
            self.refuse(self.registry, 'mail'))

    def test_one_that_is_finished_counts(self):
        run = self.mail()
        transaction.commit()
        runPending(self.site)
        self.assertEqual('succeeded', run.state)
        self.assertEqual([run], assertStarted(self.registry, 'mail'))

    def test_runs_of_all_lanes_in_their_order(self):
        runs = [self.mail(str(number)) for number in range(120)]
        transaction.commit()
        self.assertEqual(runs, assertStarted(
            self.registry, 'mail', count=120))

    def test_place(self):
        document = self.site['document'] = Document()
        run = self.mail()
        hooks.setSite(self.site)
        self.addCleanup(hooks.setSite)
        for place in None, self.site, document, self.registry:
            self.assertEqual([run], assertStarted(place, 'mail'))
        with self.assertRaises(RegistryNotFound):
            assertStarted(Document(), 'mail')

    def test_count(self):
        self.mail()
        self.mail()
        assertStarted(self.registry, 'mail', count=2)
        self.assertEqual([], assertStarted(self.registry, 'tidy', count=0))
        for count, text in (
                (0, 'expected 0 starts, got 2; '),
                (1, 'expected 1 start, got 2; '),
                (3, 'expected 3 starts, got 2; ')):
            self.assertIn(text, self.refuse(
                self.registry, 'mail', count=count))

    def test_input_has_these_values_and_maybe_others(self):
        run = self.mail('ann', copies=2, tags=['a', 'b'])
        self.mail('bob')
        for input in ({'to': 'ann'}, {'copies': 2}, {'tags': ['a', 'b']},
                      {'to': 'ann', 'copies': 2}):
            self.assertEqual([run], assertStarted(
                self.registry, 'mail', input=input, count=1), input)
        assertStarted(self.registry, 'mail', input={'copies': 1}, count=1)
        assertStarted(self.registry, 'mail', input={}, count=2)
        for input in {'to': 'eve'}, {'too': 'ann'}, {'to': 'ann', 'copies': 1}:
            self.refuse(self.registry, 'mail', input=input)

    def test_context(self):
        document = self.site['document'] = Document()
        other = self.site['other'] = Document()
        run = self.mail(context=document)
        self.mail()
        self.assertEqual([run], assertStarted(
            self.registry, 'mail', context=document, count=1))
        self.refuse(self.registry, 'mail', context=other)
        transaction.commit()
        # The same document of another connection.
        connection = self.db.open(transaction.TransactionManager())
        self.addCleanup(connection.close)
        assertStarted(self.registry, 'mail', count=1,
                      context=connection.get(document._p_oid))

    def test_what_was_started_instead_is_listed(self):
        document = self.site['document'] = Document()
        transaction.commit()
        first = self.mail('bob', document, password='open sesame')
        second = self.registry.start('tidy')
        self.assertEqual(
            "worker 'mail': expected a start about %r with the input "
            "{'to': 'ann', 'password': '•••'}, got none; these were "
            "started:\n"
            "  %s 'mail' with {'to': 'bob', 'copies': 1, 'tags': None, "
            "'password': '•••'} about %r, pending\n"
            "  %s 'tidy' with {}, pending" % (
                document, first.id, document, second.id),
            self.refuse(self.registry, 'mail', document,
                        input={'to': 'ann', 'password': 'swordfish'}))

    def test_name_that_is_not_declared(self):
        for count in None, 0:
            with self.assertRaisesRegex(UnknownWorkerType, 'nobody'):
                assertStarted(self.registry, 'nobody', count=count)

    def test_former_name(self):
        run = self.registry.start('post', to='ann')
        for name in 'mail', 'post':
            self.assertEqual([run], assertStarted(self.registry, name))

    def test_it_changes_nothing(self):
        self.mail()
        txn = transaction.get()
        assertStarted(self.registry, 'mail')
        self.refuse(self.registry, 'tidy')
        self.assertIs(txn, transaction.get())
        transaction.commit()
        self.mail('bob')
        transaction.abort()
        self.assertEqual(1, len(assertStarted(self.registry, 'mail')))


class RuntimeTests(SiteTests):

    def test_no_runtime_says_what_to_do(self):
        self.assertIsNone(queryRuntime(self.db))
        for db in self.db, None:
            with self.assertRaisesRegex(
                    RuntimeNotFound, 'declare <background:runtime />'):
                getRuntime(db).shutdown()


class LinearTests(SiteTests):

    def test_runPending_looks_at_each_run_a_few_times(self):
        looks = Counter()

        def query(name):
            looks[name] += 1
            return queryWorkerType(name)

        declareWorker('work', lambda worker: None)
        numbers = 20, 200
        with mock.patch('cipher.background.testing.queryWorkerType', query):
            for number in numbers:
                looks.clear()
                for _ in range(number):
                    self.registry.start('work')
                transaction.commit()
                self.assertEqual(len(runPending(self.site)), number)
                self.assertLess(looks['work'], 4 * number + sum(numbers))

    def test_order_is_by_priority_then_age_whoever_starts_it(self):
        done = []

        def work(worker, name):
            done.append(name)
            if name == 'first':
                self.start('urgent', priority=5)
                self.start('last')

        declareWorker('work', work, schema=type(Interface)(
            'ISchema', (Interface,), {'name': TextLine(__name__='name')}))
        self.start('second')
        self.start('first', priority=9)
        transaction.commit()
        runPending(self.site)
        self.assertEqual(done, ['first', 'urgent', 'second', 'last'])

    def start(self, name, **options):
        registry = queryUtility(IWorkerRegistry) or self.registry
        registry.submit('work', input={'name': name}, **options)
