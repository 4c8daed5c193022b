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
"""The page of one run: its position, its log, its relatives."""
import unittest

from zope.i18n import translate
from zope.i18nmessageid import Message

from cipher.background.browser.loglines import listLines
from cipher.background.browser.stack import sortFrames


STACK = '''\
  File "/usr/lib/python3.11/threading.py", line 982, in run
    self._target()
  File "/eggs/site-packages/transaction/_manager.py", line 148, in run
    yield
  File "/srv/app/src/dms/workers.py", line 31, in run
    send_invoices()
  File "/x/site-packages/cipher/background/work/loop.py", line 3, in wait
    pass
  File "/srv/lib/python3.11/site-packages/dms/bank.py", line 56, in talk
    return connection.recv(1)
  File "/usr/lib/python3.11/ssl.py", line 1166, in read
    return self._sslobj.read(len)
  File "<frozen importlib._bootstrap>", line 1, in _load'''


class StackTests(unittest.TestCase):

    def test_frames_of_the_application_come_first_innermost_on_top(self):
        frames, groups = sortFrames(STACK)
        self.assertEqual(
            [(frame['name'], frame['place'], frame['code'])
             for frame in frames],
            [('talk', 'dms/bank.py:56', 'return connection.recv(1)'),
             ('run', 'src/dms/workers.py:31', 'send_invoices()')])
        self.assertEqual(
            [(group['sources'], group['code'].count('\n') + 1)
             for group in groups],
            [(['Python'], 2),
             (['Python', 'cipher.background', 'transaction'], 3)])

    def test_no_line_is_lost(self):
        frames, groups = sortFrames(STACK)
        shown = len(frames) + sum(
            group['code'].count('\n') + 1 for group in groups)
        self.assertEqual(shown, STACK.count('  File '))

    def test_stack_without_frames_of_the_application_shows_the_innermost(self):
        frames, _groups = sortFrames(
            '  File "/usr/lib/python3.11/a.py", line 1, in f\n'
            '  File "/usr/lib/python3.11/b.py", line 2, in g')
        self.assertEqual([frame['name'] for frame in frames], ['g'])

    def test_paths_of_windows_are_understood(self):
        frames, groups = sortFrames(
            '  File "C:\\Python\\Lib\\site-packages\\zope\\a.py", line 1, '
            'in f\n  File "C:\\app\\b.py", line 2, in g')
        self.assertEqual([frame['place'] for frame in frames],
                         ['C:/app/b.py:2'])
        self.assertEqual(groups[0]['sources'], ['zope'])

    def test_other_text_is_shown_as_it_is(self):
        frames, groups = sortFrames('somewhere')
        self.assertEqual((frames[0]['code'], groups), ('somewhere', []))
        self.assertEqual(sortFrames(None), ([], []))


LOG = '''\
=== Execution 1, 2026-11-28 16:45:00, process app:1 ===
2026-11-28 16:45:00,100 INFO app.bank Connecting
2026-11-28 16:45:31,000 ERROR app.bank It failed
  Traceback (most recent call last):
    File "x.py", line 1, in f
  ValueError: no
=== Execution 2, 2026-11-28 17:01:08, process app:2 ===
2026-11-28 17:01:08,000 WARNING app slow
  and more
2026-11-28 17:01:09,000 CRITICAL app bad'''

TRACEBACK = '''\
Traceback (most recent call last):
  File "x.py", line 1, in f
ValueError: no'''


def say(message, **mapping):
    return translate(Message(message, mapping=mapping))


class LogTests(unittest.TestCase):

    def list(self, log, **options):
        return [(line['level'], line['at'], line['word'], line['message'])
                for line in listLines(log, say, **options)]

    def test_records_and_attempts_are_told_apart(self):
        lines = self.list(LOG)
        self.assertEqual([line[0] for line in lines], [
            'attempt', 'info', 'error', 'attempt', 'warning', 'error'])
        self.assertEqual(lines[0][-1],
                         'Execution 1, 2026-11-28 16:45:00, app:1')
        self.assertEqual(lines[1], ('info', '16:45:00', 'info', 'Connecting'))
        self.assertEqual(lines[4][-1], 'slow\n  and more')
        self.assertEqual(lines[5][2], 'critical')

    def test_traceback_is_shown_once(self):
        self.assertIn('ValueError: no', self.list(LOG)[2][-1])
        line = self.list(LOG, traceback=TRACEBACK)[2][-1]
        self.assertNotIn('ValueError', line)
        self.assertIn('It failed', line)

    def test_another_traceback_stays(self):
        self.assertIn('ValueError: no', self.list(
            LOG, traceback=TRACEBACK.replace('no', 'other'))[2][-1])

    def test_text_without_records_is_a_line(self):
        self.assertEqual(self.list('any\ntext'), [
            ('info', '', '', 'any\ntext')])
        self.assertEqual(self.list(''), [])
