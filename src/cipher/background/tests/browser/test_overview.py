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
"""The overview: problems of each kind, and the chart of a day."""
import html
import re
import time
from unittest import mock

from cipher.background.interfaces import BROKEN_RUN
from cipher.background.interfaces import BUSY_THREADS
from cipher.background.interfaces import CLOCK_JUMP
from cipher.background.interfaces import COPIED_DATABASE
from cipher.background.interfaces import FAILING_RESCUE
from cipher.background.interfaces import FAILING_STEP
from cipher.background.interfaces import FAILING_SUBSCRIBER
from cipher.background.interfaces import FAILING_TYPE
from cipher.background.interfaces import KEPT_RUNS
from cipher.background.interfaces import LATE_SCHEDULE
from cipher.background.interfaces import NEWER_DATABASE
from cipher.background.interfaces import NO_RUNTIME
from cipher.background.interfaces import OLDER_PROCESS
from cipher.background.interfaces import PAUSED_TYPE
from cipher.background.interfaces import PROBLEMS
from cipher.background.interfaces import SCHEDULE_ELSEWHERE
from cipher.background.interfaces import SILENT_PROCESS
from cipher.background.interfaces import STALLED_RUN
from cipher.background.interfaces import STATES
from cipher.background.interfaces import STUCK_PROCESS
from cipher.background.interfaces import UNDECLARED_TYPE
from cipher.background.interfaces import UNRESPONSIVE_RUN
from cipher.background.queries.status import HourStatus
from cipher.background.queries.status import Problem
from cipher.background.tests.support.browser import PATH
from cipher.background.tests.support.browser import BrowserTests


class TestOverview(BrowserTests):

    def patch(self, name, value):
        patcher = mock.patch.object(
            type(self.registry), name, lambda registry: value)
        patcher.start()
        self.addCleanup(patcher.stop)

    def test_problems_of_each_kind(self):
        since = time.time() - 3 * 60
        self.patch('listProblems', [
            Problem(NO_RUNTIME, number=3), Problem(NO_RUNTIME, number=1),
            Problem(SILENT_PROCESS, 'host:7:abc', since),
            Problem(UNRESPONSIVE_RUN, '1-17', since),
            Problem(LATE_SCHEDULE, 'nightly', since),
            Problem(UNDECLARED_TYPE, 'gone & lost', number=2),
            Problem(STUCK_PROCESS, 'schedules', since, process='host:8:abc',
                    stack='File "app.py", line 7, in input'),
            Problem(FAILING_STEP, 'schedule <a>', since,
                    process='host:8:abc', error='KeyError'),
            Problem(BROKEN_RUN, '1-18', since, process='host:8:abc',
                    error='POSKeyError'),
            Problem(FAILING_RESCUE, '1-19', since, process='host:8:abc',
                    error='ValueError'),
            Problem(FAILING_SUBSCRIBER, '1-20', since, process='host:8:abc',
                    error='SystemExit'),
            Problem(CLOCK_JUMP, '+3600', since, process='host:8:abc'),
            Problem(STALLED_RUN, '1-21', since, usual=62.0),
            Problem(STALLED_RUN, '1-22', since),
            Problem(BUSY_THREADS, '1-23', since),
            Problem(FAILING_TYPE, 'a & b', None, 6, total=8, usual=0.025),
            Problem(FAILING_TYPE, 'new', None, 1, total=1),
            Problem(SCHEDULE_ELSEWHERE, 'nightly', since),
            Problem(PAUSED_TYPE, 'mail', since, 2),
            Problem(PAUSED_TYPE, 'feed', since),
            Problem(NEWER_DATABASE, '2', since, process='host:8:abc'),
            Problem(OLDER_PROCESS, 'host:9:abc', since,
                    process='host:8:abc'),
            Problem(COPIED_DATABASE, 'live <1>', since, process='host:8:abc'),
            Problem(COPIED_DATABASE, None, since, process='host:8:abc'),
            Problem(KEPT_RUNS, number=2), Problem(KEPT_RUNS, number=1)])
        page = self.get('index.html').text
        for text, address in (
                ('3 runs wait, but no process takes them.  Start a '
                 'process with &lt;background:runtime /&gt;, or resume one '
                 'that takes no new runs.',
                 'runs.html?state=pending"'),
                ('1 run waits, but no process takes it.  Start a '
                 'process with &lt;background:runtime /&gt;, or resume one '
                 'that takes no new runs.',
                 'runs.html?state=pending"'),
                ('Process host:7 is silent: its last heartbeat was 3 min',
                 'processes.html'),
                ('Run 1-17 was asked to stop 3 min', '1-17/index.html'),
                ('Schedule "nightly" is late by 3 min', 'schedules.html'),
                ('2 runs of "gone &amp; lost" wait',
                 'runs.html?state=pending&amp;type=gone+%26+lost'),
                ('Process host:8 has been stuck in the step "schedules" for '
                 '3 min',
                 'processes.html'),
                ('In process host:8, the step "schedule &lt;a&gt;" has been '
                 'failing for 3 min 0 s with KeyError', 'processes.html'),
                ('The record of run 1-18 has been failing to load for 3 min '
                 '0 s: POSKeyError', '1-18/index.html'),
                ('The rescue or the stop of run 1-19 has been failing for '
                 '3 min 0 s: ValueError', '1-19/index.html'),
                ('An event subscriber of run 1-20 failed 3 min 0 s '
                 'ago with SystemExit', '1-20/index.html'),
                ('The clock of process host:8 jumped by +3600 seconds 3 min '
                 '0 s ago', 'processes.html'),
                ('Run 1-21 has made no progress for 3 min 0 s.  The longest '
                 'run of its type took 1 min 2 s.',
                 '1-21/index.html'),
                ('Run 1-22 has made no progress for 3 min 0 s.',
                 '1-22/index.html'),
                ('All threads are busy: run 1-23 has waited 3 min 0 s '
                 'for a free one',
                 'runs.html?state=running"'),
                ('6 runs of "a &amp; b" failed in the last hour: 75 % of '
                 'all that finished.  In the 23 hours before: 2.5 %.',
                 'runs.html?state=failed&amp;type=a+%26+b"'),
                ('1 run of "new" failed in the last hour: 100 % of all '
                 'that finished.', 'runs.html?state=failed&amp;type=new"'),
                ('Schedule "nightly" does not run here.', 'schedules.html'),
                ('"mail" has been paused for 3 min 0 s: 2 runs wait.',
                 'types.html'),
                ('"feed" has been paused for 3 min 0 s, but a schedule '
                 'keeps starting it.', 'types.html'),
                ('Process host:8 has an older release than the database, '
                 'which now has structure 2', 'processes.html'),
                ('The database has been waiting for its upgrade for 3 min '
                 '0 s: process host:9 has an older release', 'processes.html'),
                ('it belongs to the deployment "live &lt;1&gt;".  Process '
                 'host:8 begins no runs', 'processes.html'),
                ('its file was at another place.  Process host:8 begins '
                 'no runs', 'processes.html'),
                ('2 runs came with the copy of this registry and are '
                 'held.  Release them, or remove them.',
                 'runs.html?state=pending'),
                ('1 run came with the copy of this registry and is '
                 'held.  Release it, or remove it.',
                 'runs.html?state=pending')):
            with self.subTest(text):
                self.assertRegex(page, '%s[^<]*</span>\\s*<a [^>]*%s' % (
                    re.escape(text), re.escape(address)))
        problems = self.get('index.json').json['problems']
        self.assertEqual([problem['kind'] for problem in problems], [
            NO_RUNTIME, NO_RUNTIME, SILENT_PROCESS, UNRESPONSIVE_RUN,
            LATE_SCHEDULE, UNDECLARED_TYPE, STUCK_PROCESS, FAILING_STEP,
            BROKEN_RUN, FAILING_RESCUE, FAILING_SUBSCRIBER, CLOCK_JUMP,
            STALLED_RUN, STALLED_RUN, BUSY_THREADS, FAILING_TYPE,
            FAILING_TYPE, SCHEDULE_ELSEWHERE, PAUSED_TYPE, PAUSED_TYPE,
            NEWER_DATABASE, OLDER_PROCESS,
            COPIED_DATABASE, COPIED_DATABASE, KEPT_RUNS, KEPT_RUNS])
        self.assertEqual({problem['kind'] for problem in problems},
                         set(PROBLEMS))
        self.assertIn('File "app.py", line 7', html.unescape(page))
        self.assertIn('File "app.py", line 7', problems[6]['stack'])
        for problem in problems:
            self.assertTrue(problem['url'].startswith(PATH + '/'))

    def test_stack_needs_the_permission_for_details(self):
        self.patch('listProblems', [
            Problem(STUCK_PROCESS, 'schedules', 0.0, process='host:8:abc',
                    stack='File "app.py", line 7, in input')])
        with mock.patch('cipher.background.browser.page.Published'
                        '.can_see_details', False):
            self.assertNotIn('app.py', self.get('index.html').text)
            problem, = self.get('index.json').json['problems']
        self.assertEqual(problem['stack'], '')

    def hours(self, *filled):
        """Return 24 hours, the last of which are *filled*."""
        empty = dict.fromkeys(STATES, 0)
        hours = [({}, None)] * (24 - len(filled)) + list(filled)
        return [HourStatus(3600.0 * number, {**empty, **counts}, mean)
                for number, (counts, mean) in enumerate(hours)]

    def test_chart_and_its_table(self):
        self.patch('getHours', self.hours(
            ({'succeeded': 90, 'failed': 10}, 4.0), ({'stopped': 1}, 0.5)))
        page = self.get('index.html').text
        self.assertIn('The last 24 hours', page)
        self.assertIn('>101 runs finished in the last 24 hours.  10 failed.<',
                      page)
        drawing, durations = re.findall('(?s)<svg.*?</svg>', page)
        self.assertEqual(drawing.count('class="cb-slot"'), 24)
        bars = re.findall('<rect [^>]*data-state[^>]*>', drawing)
        self.assertEqual([re.search('data-state="([^"]*)', bar)[1]
                          for bar in bars],
                         ['succeeded', 'failed', 'stopped'])
        heights = [float(re.search(' height="([^"]*)', bar)[1])
                   for bar in bars]
        # Of 100 units for 100 runs, less a gap; the least is to be seen too.
        self.assertEqual(heights, [90.0, 9.0, 1.5])
        self.assertIn('22:00 – succeeded: 90, failed: 10<', drawing)
        self.assertNotIn('on average', drawing)
        # Durations have a scale of their own: 100 ms to 10 s.
        self.assertEqual(
            [float(y) for y in re.findall('class="cb-p50"[^>]* y1="([^"]*)"',
                                          durations)], [19.9, 65.1])
        self.assertIn('22:00 – took 4.0 s on average', durations)
        table = page[page.rindex('</svg>'):page.rindex('All processes')]
        self.assertEqual(table.count('<tr'), 25)
        self.assertRegex(table, r'(?s)datetime="1970-01-01T22:00:00.000Z"'
                                r'.*?90.*?10')

    def test_a_burst_flattens_nothing(self):
        self.patch('getHours', self.hours(
            *[({'succeeded': 10, 'failed': 2}, 1.0)] * 9,
            ({'succeeded': 5000}, 1.0)))
        page = self.get('index.html').text
        drawing = re.search('(?s)<svg.*?</svg>', page)[0]
        self.assertEqual(drawing.count('class="cb-cut"'), 1)
        bars = re.findall('<rect [^>]*data-state[^>]*>', drawing)
        # A scale up to 60 runs.
        self.assertEqual({'16.7', '2.3', '100.0'}, {
            re.search(' height="([^"]*)', bar)[1] for bar in bars})
        self.assertRegex(page, r'Cut off at the top:\s*23:00: 5000')

    def test_a_steady_day_is_cut_nowhere(self):
        self.patch('getHours', self.hours(
            *[({'succeeded': number}, 1.0) for number in range(1, 25)]))
        page = self.get('index.html').text
        self.assertNotIn('cb-cut', page)
        self.assertNotIn('Cut off', page)

    def test_caption_has_the_forms_of_its_numbers(self):
        for counts, text in (
                ({'succeeded': 1}, '1 run finished in the last 24 hours.  '
                                   'None failed.'),
                ({'failed': 1}, '1 run finished in the last 24 hours.  '
                                '1 failed.')):
            self.patch('getHours', self.hours((counts, None)))
            self.assertIn('>%s<' % text, self.get('index.html').text)

    def test_no_chart_where_nothing_happened(self):
        self.patch('getHours', self.hours())
        self.assertNotIn('<svg', self.get('index.html').text)
