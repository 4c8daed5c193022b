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
"""What comes into the server's log, and what a text there cannot do."""
import asyncio
import importlib
import logging
import re
import threading
import unittest
from io import StringIO
from pathlib import Path

import cipher.background
from cipher.background import testing
from cipher.background.hosts.ztk import logTo
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import SiteTests
from cipher.background.thread import BackgroundJob
from cipher.background.thread import log
from cipher.background.util import logs
from cipher.background.util.logs import RecordFormatter
from cipher.background.util.masking import Masker
from cipher.background.util.text import MASK
from cipher.background.util.text import SHOWS_ALL
from cipher.background.work import loop
from cipher.background.work import runlog
from cipher.background.work.runlog import LogBuffer
from cipher.background.work.runlog import RunLogger


FORGED = '2026-01-01 00:00:00,000 INFO root: all is well'
#: Whatever ends a line somewhere.
LINE_ENDS = ('\n', '\r\n', '\r', '\n\n', '\x0b', '\x0c', '\x1c', '\x1d',
             '\x1e', '\x85', '\u2028', '\u2029')
ESCAPES = ('\x1b[2J', '\x1b]0;title\x07', '\x9b31m', '\x08\x08', '\x00',
           '\u202e', '\ud800')


class Listener:
    """A handler of *logger* for the length of a test."""

    def __init__(self, test, logger, formatter=None):
        self.stream = StringIO()
        handler = logging.StreamHandler(self.stream)
        handler.setFormatter(formatter)
        logger.addHandler(handler)
        test.addCleanup(logger.removeHandler, handler)

    @property
    def text(self):
        return self.stream.getvalue()


class FormatterTests(unittest.TestCase):

    def format(self, *args, error=None, format='%(levelname)s %(message)s'):
        return RecordFormatter(format).format(logging.LogRecord(
            'x', logging.INFO, '', 0, *args,
            error and (type(error), error, error.__traceback__)))

    def test_no_text_begins_a_line(self):
        for end in LINE_ENDS:
            with self.subTest(ascii(end)):
                text = 'said ' + end + FORGED
                try:
                    raise KeyError(text) from ValueError(text)
                except KeyError as caught:
                    error = caught
                for shown in (self.format('%s', (text,)),
                              self.format(text, ()),
                              self.format('x', (), error=error)):
                    first, *others = shown.splitlines()
                    self.assertTrue(first.startswith('INFO '))
                    for line in others:
                        self.assertRegex(line, '^    ')

    def test_no_text_commands_a_terminal(self):
        for escape in ESCAPES:
            with self.subTest(ascii(escape)):
                shown = self.format('%s', ('a%sb' % escape,))
                for sign in escape:
                    if not sign.isprintable():
                        self.assertNotIn(sign, shown)

    def test_good_record_stays_as_it_is(self):
        self.assertEqual(self.format('good %s', ('\u017eodis\tx',)),
                         'INFO good \u017eodis\tx')


#: Applications that stand in no environment with these tests.
INSTALLED_ALONE = ('cipher.background.hosts.zope.',
                   'cipher.background.hosts.plone.')


class OwnLoggerTests(unittest.TestCase):
    """Loggers of this package; also without any formatter."""

    def setUp(self):
        self.logger = logs.getLogger('cipher.background.tests.logs')
        self.logger.propagate = False
        self.listener = Listener(self, self.logger)

    def test_control_characters_are_replaced(self):
        for escape in ESCAPES:
            self.logger.error('a%sb', escape)
            self.logger.error('a%sb' % escape)
            self.logger.error('x', exc_info=ValueError(escape))
        for sign in ''.join(ESCAPES):
            if not sign.isprintable():
                self.assertNotIn(sign, self.listener.text)
        self.assertIn('a\ufffd[2Jb', self.listener.text)

    def test_every_module_that_logs_foreign_texts_does_so(self):
        folder = Path(cipher.background.__file__).parent
        found = []
        others = ('browser', 'demo', 'tests')
        for path in folder.rglob('*.py'):
            if path.relative_to(folder).parts[0] in others:
                continue
            text = path.read_text('utf-8')
            if re.search(r'^log = ', text, re.MULTILINE) and re.search(
                    r'log\.exception|exc_info|logError\(', text):
                name = '.'.join(('cipher.background', *path.relative_to(
                    folder).with_suffix('').parts))
                found.append(name)
                self.assertIn(
                    'from cipher.background.util.logs import getLogger\n',
                    text, name)
                if name.startswith(INSTALLED_ALONE):
                    continue
                module = importlib.import_module(name)
                self.assertIn(logs._own_records, module.log.filters, name)
        self.assertIn(loop.__name__, found)
        self.assertGreater(len(found), 5)

    def test_filter_is_added_once(self):
        logs.getLogger(self.logger.name)
        self.assertEqual(len(self.logger.filters), 1)

    def test_good_record_is_not_touched(self):
        records = []
        self.listener_handler = logging.Handler()
        self.listener_handler.emit = records.append
        self.logger.addHandler(self.listener_handler)
        self.addCleanup(self.logger.removeHandler, self.listener_handler)
        error = ValueError('two\nlines')
        self.logger.error('%s\n%d', 'a', 1, exc_info=error)
        record, = records
        self.assertEqual((record.msg, record.args), ('%s\n%d', ('a', 1)))
        self.assertIs(record.exc_info[1], error)

    def test_error_is_logged_without_secrets(self):
        masker = Masker(('sesame',))
        for masker, said in ((masker, 'open ' + MASK), (Masker(None), MASK),
                             (SHOWS_ALL, 'open sesame')):
            listener = Listener(self, self.logger)
            try:
                raise ValueError('open sesame')
            except ValueError as error:
                logs.logError(self.logger, error, masker, 'Run %s', '1-1')
            lines = listener.text.splitlines()
            self.assertEqual(lines[0], 'Run 1-1')
            self.assertIn('test_logs.py', listener.text)
            self.assertEqual(lines[-1], 'ValueError: ' + said)

    def test_record_that_cannot_be_formatted_shows_no_secret(self):
        record = logging.LogRecord(
            'x', 20, '', 0, '%d of sesame', ('sesame',), None)
        self.assertEqual(
            logs.changed(record, Masker(('sesame',))),
            'a record that cannot be formatted: %d of ' + MASK)
        self.assertIsNone(logs.changed(record, SHOWS_ALL))

    def test_record_of_a_run_with_secrets_is_bounded(self):
        text = logs.fit('x' * 10 ** 6, Masker(('sesame',)))
        self.assertEqual(len(text), logs.RECORD_LIMIT)


class DemoLogTests(unittest.TestCase):

    def test_demo_lets_no_text_begin_a_line(self):
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        root.handlers.clear()
        stream = StringIO()
        try:
            logTo(stream)
            logging.getLogger('elsewhere').info('said\n%s\x1b', FORGED)
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
        self.assertRegex(
            stream.getvalue(),
            r'\A\S+ \S+ INFO elsewhere: said\n    %s\ufffd\n\Z' % FORGED)


class ThreadLogTests(SiteTests):
    """The log of upstream's threads, seen as upstream's tests see it."""

    def setUp(self):
        super().setUp()
        self.buffer = testing.setUpLogging(log)
        self.addCleanup(testing.tearDownLogging, log)

    def run_job(self, text):
        class Job(BackgroundJob):

            def doWork(self):
                self.name = 'a job'
                raise ValueError(text)

        job = Job.forSite(self.site, 'somebody')
        job.start()
        job.join(LIMIT)
        return self.buffer.getvalue()

    def test_good_record_is_byte_for_byte_as_upstreams(self):
        shown = self.run_job('two\nlines')
        self.assertRegex(
            shown, r'\AException in a job\nTraceback \(most recent call '
                   r'last\):\n(  .*\n)+ValueError: two\nlines\n\Z')
        self.assertEqual(log.name, 'cipher.background.thread')
        self.assertIs(type(log), logging.Logger)

    def test_escape_sequence_does_not_reach_the_log(self):
        shown = self.run_job('\x1b[31mred\x07')
        self.assertNotIn('\x1b', shown)
        self.assertIn('ValueError: \ufffd[31mred\ufffd', shown)
        self.assertTrue(shown.startswith('Exception in a job\nTraceback'))


class RunLogTests(unittest.TestCase):
    """The log of a run."""

    def setUp(self):
        self.buffer = LogBuffer()
        self.logger = logging.getLogger('cipher.background.tests.logs2')
        self.logger.propagate = False
        self.logger.setLevel(logging.INFO)
        self.listener = Listener(self, self.logger)
        self.log = RunLogger(self.logger, self.buffer)

    def test_no_text_begins_a_line(self):
        for end in LINE_ENDS:
            self.log.info('said %s', end + FORGED)
            self.log.info('x', exc_info=ValueError(end + FORGED))
        lines = self.buffer.getText().splitlines()
        own = [line for line in lines if not line.startswith('    ')]
        self.assertEqual(len(own), 2 * len(LINE_ENDS))
        for line in own:
            self.assertRegex(line, r'^\S+ \S+ INFO %s ' % self.logger.name)

    def test_log_of_many_lines_is_bounded(self):
        buffer = LogBuffer(1000)
        for _ in range(10):
            buffer.add('\n' * 900)
        self.assertLess(len(buffer.getText()), 1100)

    def test_server_gets_what_the_run_gets(self):
        self.buffer.masker = Masker(('sesame',))
        self.log.info('say %s', 'sesame')
        self.log.info('say %(what)s', {'what': 'sesame'})
        self.log.info('say sesame, 100%')
        self.log.error('say', exc_info=ValueError('sesame'))
        self.log.info('%d of it', 'sesame')
        for text in self.buffer.getText(), self.listener.text:
            self.assertNotIn('sesame', text)
            self.assertGreaterEqual(text.count(MASK), 4)
        self.assertIn('say %s, 100%%' % MASK, self.listener.text)
        self.assertIn('ValueError: ' + MASK, self.listener.text)

    def test_multi_line_secret_is_masked_before_it_is_indented(self):
        self.buffer.masker = Masker(('one\ntwo',))
        self.log.info('is one\ntwo')
        self.assertTrue(self.buffer.getText().endswith('is ' + MASK))

    def test_handlers_of_the_root_logger_do_not_matter(self):
        root = logging.getLogger()
        handlers, root.handlers[:] = root.handlers[:], []
        self.addCleanup(root.handlers.extend, handlers)
        self.logger.propagate = True
        self.addCleanup(setattr, self.logger, 'propagate', False)
        self.log.info('kept')
        self.assertIn('kept', self.buffer.getText())

    def test_caller_of_the_log_is_known(self):
        handler = logging.StreamHandler(StringIO())
        handler.setFormatter(logging.Formatter('%(filename)s %(message)s'))
        self.logger.addHandler(handler)
        self.addCleanup(self.logger.removeHandler, handler)
        self.buffer.masker = Masker(('sesame',))
        self.log.info('open')
        self.log.info('sesame')
        self.assertEqual(
            handler.stream.getvalue(),
            'test_logs.py open\ntest_logs.py %s\n' % MASK)


class ContextTests(unittest.TestCase):
    """What is begun in the context of a run logs into it."""

    def setUp(self):
        runlog.install()
        self.buffer = LogBuffer()
        self.logger = logging.getLogger('elsewhere')
        runlog.capture(self.buffer)
        self.addCleanup(runlog.capture, None)

    def test_tasks_and_threads_of_asyncio(self):
        async def task():
            self.logger.warning('in a task')
            await asyncio.to_thread(self.logger.warning, 'in a thread')

        async def main():
            await asyncio.create_task(task())

        asyncio.run(main())
        for text in 'in a task', 'in a thread':
            self.assertIn(text, self.buffer.getText())

    def test_bare_thread_has_a_context_of_its_own(self):
        thread = threading.Thread(target=self.logger.warning, args=('no',))
        thread.start()
        thread.join(LIMIT)
        self.assertNotIn('no', self.buffer.getText())
