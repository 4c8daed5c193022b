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
"""The log of a run."""
import logging
import threading
import unittest

from cipher.background.tests.support.sites import LIMIT
from cipher.background.util.text import CUT
from cipher.background.work import runlog
from cipher.background.work.runlog import LogBuffer
from cipher.background.work.runlog import RunLogger


class BufferTests(unittest.TestCase):

    def test_lines_come_in_order(self):
        buffer = LogBuffer()
        for line in 'one', 'two', 'three':
            buffer.add(line)
        self.assertEqual(buffer.getText(), 'one\ntwo\nthree')

    def test_empty_buffer_has_an_empty_text(self):
        self.assertEqual(LogBuffer().getText(), '')

    def test_first_and_last_lines_are_kept(self):
        buffer = LogBuffer(100)
        for number in range(1000):
            buffer.add('line %03d' % number)
        lines = buffer.getText().split('\n')
        cut = lines.index(CUT)
        self.assertEqual(lines[:3], ['line 000', 'line 001', 'line 002'])
        self.assertEqual(lines[-1], 'line 999')
        last = len(lines) - cut - 1
        self.assertGreater(last, 3)
        self.assertEqual(
            lines[cut + 1:],
            ['line %03d' % number for number in range(1000 - last, 1000)])

    def test_log_that_just_fits_is_not_cut(self):
        buffer = LogBuffer(100)
        for number in range(9):
            buffer.add('line %03d' % number)
        self.assertNotIn(CUT, buffer.getText())
        self.assertEqual(buffer.getText().count('line'), 9)

    def test_size_is_bounded_whatever_the_lines(self):
        for length in (0, 1, 7, 49, 50, 51, 99, 100, 10000):
            with self.subTest(length=length):
                buffer = LogBuffer(100)
                for _ in range(500):
                    buffer.add('x' * length)
                self.assertLessEqual(
                    len(buffer.getText()), 100 + len(CUT) + 2)

    def test_huge_line_is_cut(self):
        buffer = LogBuffer(1000)
        buffer.add('x' * 1024 ** 2)
        text = buffer.getText()
        self.assertLessEqual(len(text), 500)
        self.assertTrue(text.endswith(CUT))

    def test_short_line_after_a_long_one_keeps_its_place(self):
        buffer = LogBuffer(100)
        for line in 'a' * 40, 'b' * 40, 'c':
            buffer.add(line)
        self.assertEqual(
            buffer.getText(), '\n'.join(('a' * 40, 'b' * 40, 'c')))

    def test_lines_are_made_fit(self):
        buffer = LogBuffer()
        buffer.add('a\x00b\ud800c\x1b[31m')
        self.assertEqual(buffer.getText(), 'a\ufffdb\ufffdc\ufffd[31m')

    def test_threads_may_read_while_one_writes(self):
        buffer = LogBuffer(1000)
        errors = []
        is_over = threading.Event()

        def read():
            while not is_over.is_set():
                try:
                    buffer.getText()
                except Exception as error:
                    errors.append(error)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for number in range(5000):
            buffer.add('line %d' % number)
        is_over.set()
        for reader in readers:
            reader.join(LIMIT)
        self.assertEqual(errors, [])


class CaptureTests(unittest.TestCase):

    def setUp(self):
        self.buffer = LogBuffer()
        self.logger = logging.getLogger('cipher.background.tests.runlog')
        self.logger.setLevel(logging.WARNING)
        root = logging.getLogger()
        handlers, level = list(root.handlers), root.level
        runlog.install()

        def restore():
            runlog.capture(None)
            self.logger.setLevel(logging.NOTSET)
            root.handlers[:] = handlers
            root.setLevel(level)

        self.addCleanup(restore)

    def test_what_the_thread_logs_is_kept(self):
        runlog.capture(self.buffer)
        self.logger.warning('%d of %d', 1, 2)
        self.assertRegex(
            self.buffer.getText(),
            r'^\d+-\d+-\d+ \S+ WARNING cipher\.background\.tests\.runlog '
            r'1 of 2$')

    def test_what_another_thread_logs_is_not_kept(self):
        runlog.capture(self.buffer)
        thread = threading.Thread(target=self.logger.warning, args=('no',))
        thread.start()
        thread.join(LIMIT)
        self.assertEqual(self.buffer.getText(), '')

    def test_nothing_is_kept_any_more_after_the_end(self):
        runlog.capture(self.buffer)
        runlog.capture(None)
        self.logger.warning('no')
        self.assertEqual(self.buffer.getText(), '')

    def test_second_install_keeps_lines_single(self):
        runlog.install()
        runlog.capture(self.buffer)
        self.logger.warning('once')
        self.assertEqual(self.buffer.getText().count('once'), 1)

    def test_traceback_is_kept(self):
        runlog.capture(self.buffer)
        try:
            raise KeyError('missing')
        except KeyError:
            self.logger.exception('failed')
        self.assertIn("KeyError: 'missing'", self.buffer.getText())

    def test_record_that_cannot_be_formatted_raises_nothing(self):
        runlog.capture(self.buffer)
        raise_exceptions = logging.raiseExceptions
        logging.raiseExceptions = False
        self.addCleanup(
            setattr, logging, 'raiseExceptions', raise_exceptions)
        self.logger.warning('%d of %d', 1)
        self.logger.warning('next')
        self.assertIn('next', self.buffer.getText())

    def test_log_of_the_worker_is_kept_from_info_on(self):
        runlog.capture(self.buffer)
        log = RunLogger(self.logger, self.buffer)
        log.debug('a detail')
        log.info('informed')
        log.warning('warned')
        lines = self.buffer.getText().split('\n')
        self.assertEqual(
            [line.split()[2:] for line in lines],
            [['INFO', self.logger.name, 'informed'],
             ['WARNING', self.logger.name, 'warned']])

    def test_log_of_the_worker_takes_all_that_a_logger_takes(self):
        runlog.capture(self.buffer)
        log = RunLogger(self.logger, self.buffer)
        log.info('%(a)s', {'a': 'mapped'})
        try:
            raise KeyError('missing')
        except KeyError:
            log.info('quietly', exc_info=True)
            log.exception('loudly')
        text = self.buffer.getText()
        self.assertIn('mapped', text)
        self.assertEqual(text.count("KeyError: 'missing'"), 2)

    def test_log_of_the_worker_bears_a_wrong_format(self):
        runlog.capture(self.buffer)
        log = RunLogger(self.logger, self.buffer)
        raise_exceptions = logging.raiseExceptions
        logging.raiseExceptions = False
        self.addCleanup(
            setattr, logging, 'raiseExceptions', raise_exceptions)
        log.info('%d of %d', 1)

    def test_log_of_the_worker_is_kept_where_logging_is_disabled(self):
        log = RunLogger(self.logger, self.buffer)
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        log.info('kept all the same')
        self.assertIn('kept', self.buffer.getText())

    def test_level_of_the_log_can_be_asked(self):
        log = RunLogger(self.logger, self.buffer)
        self.assertFalse(log.isEnabledFor(logging.DEBUG))
        self.assertTrue(log.isEnabledFor(logging.INFO))
        self.logger.setLevel(logging.DEBUG)
        self.assertTrue(log.isEnabledFor(logging.DEBUG))
