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
"""Upstream's contract of the test support for logging."""
import logging
import unittest

from cipher.background.testing import setUpLogging
from cipher.background.testing import tearDownLogging


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
