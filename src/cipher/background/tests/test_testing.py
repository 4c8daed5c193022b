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
from zope.component import queryUtility
from zope.interface import Interface
from zope.schema import TextLine

from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import RuntimeNotFound
from cipher.background.testing import runPending
from cipher.background.testing import setUpLogging
from cipher.background.testing import tearDownLogging
from cipher.background.testing import waitForRun
from cipher.background.tests.support.live import declareWorker
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
