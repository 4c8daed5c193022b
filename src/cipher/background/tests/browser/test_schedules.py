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
"""The page of the schedules."""
import transaction

from cipher.background.events import RunFailedEvent
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.tests.support.browser import BrowserTests


PATH = 'schedules.html'


class TestSchedules(BrowserTests):

    def act(self, action, user='admin', name='nightly', **form):
        form.setdefault('csrf_token', self.token(PATH))
        return self.post(PATH, user, name=name, **{action: '1'}, **form)

    def status(self):
        self.sync()
        status, = self.registry.listSchedules()
        return status

    def test_schedule_tells_when_and_which_worker(self):
        page = self.get(PATH).text
        for text in 'Plain', 'nightly', '0 3 * * * Europe/Vilnius':
            self.assertIn(text, page)
        self.assertIn('not known yet', page)

    def test_next_tick_is_shown(self):
        self.registry.pauseSchedule('nightly')
        self.registry.pauseSchedule('nightly', False)
        self.registry.schedules['nightly'].next_at = 2000000000.0
        transaction.commit()
        self.assertIn('datetime="2033-05-18T03:33:20.000Z"',
                      self.get(PATH).text)

    def test_last_starts_are_drawn_here_and_at_the_type(self):
        self.assertNotIn('cb-history', self.get(PATH).text)
        for state, event in ((FAILED, RunFailedEvent),
                             (SUCCEEDED, RunSucceededEvent), (None, None)):
            run = self.registry.runSchedule('nightly')
            if state is not None:
                self.registry.finish(run, state, event)
        missed = self.registry.schedules['nightly']
        missed.recent = (*missed.recent, (1.0, None, None))
        transaction.commit()
        said = 'Last 4: 1 failed, 1 succeeded, 1 pending, 1 not started'
        for path in PATH, 'type.html?name=plain':
            page = self.get(path)
            self.assertIn('aria-label="%s"' % said, page.text)
            self.assertEqual(
                [bar.get('class') for bar in page.html.select(
                    '.cb-history rect')],
                [['cb-bad'], ['cb-good'], ['cb-wait'], ['cb-base']])

    def test_late_schedule_is_counted_in_the_tabs(self):
        self.assertEqual([], self.get(PATH).html.select('.cb-badge'))
        self.registry.pauseSchedule('nightly')
        self.registry.pauseSchedule('nightly', False)
        self.registry.schedules['nightly'].next_at = 1000000000.0
        transaction.commit()
        for path in PATH, 'runs.html', 'no-such-page.html':
            badges = self.get(path).html.select('.cb-tabs .cb-badge')
            if path == 'no-such-page.html':
                self.assertEqual([], badges)
                continue
            badge, = badges
            self.assertTrue(badge.parent['href'].endswith(PATH))
            self.assertEqual(badge.text, '1')
            self.assertIn('1 problem', badge.parent.text)

    def test_pause_and_resume(self):
        answer = self.act('pause')
        self.assertEqual(answer.status_int, 303)
        self.assertEqual(answer.headers['Location'], '/++background++/' + PATH)
        self.assertTrue(self.status().is_paused)
        self.assertIn('paused', self.get(PATH).text)
        self.act('resume')
        self.assertFalse(self.status().is_paused)

    def test_run_now_leads_to_the_run(self):
        answer = self.act('run')
        self.assertEqual(answer.status_int, 303)
        run_id = self.status().last_run
        self.assertEqual(answer.headers['Location'],
                         '/++background++/%s/index.html' % run_id)
        self.assertEqual(self.registry.get(run_id).starter, 'test.admin')
        self.assertIn('/%s/index.html' % run_id, self.get(PATH).text)

    def test_GET_does_not_act(self):
        for action in 'pause', 'run':
            answer = self.get('%s?name=nightly&%s=1' % (PATH, action))
            self.assertEqual(answer.status_int, 405)
        self.assertFalse(self.status().is_paused)
        self.assertIsNone(self.status().last_run)

    def test_without_a_token_nothing_happens(self):
        self.assertEqual(self.act('pause', csrf_token='').status_int, 403)
        self.assertFalse(self.status().is_paused)

    def test_acting_needs_the_permission_to_manage(self):
        for user in 'viewer', 'editor':
            self.assertNotIn('name="pause"', self.get(PATH, user).text)
            for action in 'pause', 'run':
                token = self.token('start.html?type=plain', 'editor') if (
                    user == 'editor') else 'x'
                answer = self.act(action, user, csrf_token=token)
                self.assertEqual(answer.status_int, 403)
        self.assertFalse(self.status().is_paused)
        self.assertIsNone(self.status().last_run)

    def test_unknown_schedule_is_not_found(self):
        self.assertEqual(self.act('pause', name='x').status_int, 404)
