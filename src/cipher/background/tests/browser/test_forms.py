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
"""The forms: they act by POST with a token of ours, and only then."""
import re
import time

import transaction

from cipher.background.browser import csrf
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import SUCCEEDED
from cipher.background.tests.support.browser import BASE
from cipher.background.tests.support.browser import PATH
from cipher.background.tests.support.browser import BrowserTests


SHOWN_AT = re.compile(r'name="shown_at"\s+value="([^"]*)"')
START = 'start.html?type=plain'
PUBLISH = 'start.html?type=publish'


class TestStart(BrowserTests):

    def list(self):
        """Return the runs there are."""
        self.sync()
        return self.registry.listRuns().items

    def fill(self, **form):
        """POST the form of ``publish``."""
        values = {'form__widgets__title': 'A title',
                  'form__widgets__count': '7', 'form__buttons__start': '1',
                  'csrf_token': self.token(PUBLISH), 'type': 'publish'}
        values.update(form)
        return self.post(PUBLISH, **values)

    def test_start_leads_to_the_run(self):
        browser = self.browser('editor')
        browser.open(BASE + '/types.html')
        browser.getLink(url='start.html?type=plain').click()
        browser.getControl(name='form.buttons.start').click()
        run, = self.list()
        self.assertEqual(browser.url, '%s/%s/index.html' % (BASE, run.id))
        self.assertEqual(run.starter, 'test.editor')
        self.assertEqual(run.type, 'plain')
        self.assertEqual(self.note(), (
            'test.editor', 'Start background worker plain as run ' + run.id))

    def test_same_form_twice_is_one_run(self):
        page = self.get(PUBLISH).text
        # Two tabs: the second form was shown before the first one was sent.
        times = [SHOWN_AT.search(text)[1]
                 for text in (page, self.get(PUBLISH).text)]
        answers = [self.fill(shown_at=shown_at)
                   for shown_at in (times[0], times[0], times[1])]
        run, = self.list()
        self.assertEqual(
            {(answer.status_int, answer.location) for answer in answers},
            {(303, '%s/%s/index.html' % (PATH, run.id))})
        # Another input, another person or a new form is another run.
        self.fill(shown_at=times[0], form__widgets__count='8')
        self.assertEqual(len(self.list()), 2)
        self.fill(shown_at=SHOWN_AT.search(self.get(PUBLISH).text)[1])
        self.assertEqual(len(self.list()), 3)
        for odd in '', 'nan', '1e999', '-1.0', '9' * 400:
            self.fill(shown_at=odd)
        self.assertEqual(len(self.list()), 8)

    def test_reload_of_the_page_behind_the_start(self):
        browser = self.browser('editor')
        browser.open(BASE + '/start.html?type=plain')
        form_page = browser.contents
        browser.getControl(name='form.buttons.start').click()
        browser.reload()   # F5 there asks for the run again
        browser.goBack(2)
        self.assertEqual(browser.contents, form_page)
        browser.getControl(name='form.buttons.start').click()
        self.assertEqual(len(self.list()), 1)

    def test_input_comes_from_the_schema(self):
        answer = self.fill(form__widgets__secret='hush-hush',
                           form__widgets__notify='false')
        self.assertEqual(answer.status_int, 303)
        run, = self.list()
        self.assertEqual(answer.location,
                         '%s/%s/index.html' % (PATH, run.id))
        self.assertEqual(self.registry.get(run.id).input, {
            'title': 'A title', 'count': 7, 'notify': False,
            'secret': 'hush-hush', 'parts': None})

    def test_choices_need_no_script(self):
        page = self.get(PUBLISH).text
        self.assertEqual(page.count('<script'), 1)
        self.assertNotIn('onclick', page)
        # The fourth is the one of the shortcuts.
        self.assertEqual(page.count('type="checkbox"'), 4)

    def test_labels_are_escaped_and_bound(self):
        page = self.get(PUBLISH).text
        self.assertIn('Shown in the &lt;list&gt;.', page)
        self.assertRegex(page, '<label [^>]*for="form-widgets-title"')

    def test_errors_stand_at_their_fields(self):
        answer = self.fill(form__widgets__count='none',
                           form__widgets__title='')
        self.assertEqual(answer.status_int, 200)
        self.assertIn('Required input is missing.', answer.text)
        self.assertIn('Correct the marked fields', answer.text)
        self.assertIn('value="none"', answer.text)
        self.assertEqual(self.list(), [])

    def test_controls_say_their_hints_and_errors(self):
        self.assertIn('id="form-widgets-title" '
                      'aria-describedby="form-widgets-title-hint"',
                      self.get(PUBLISH).text)
        page = self.fill(form__widgets__title='').text
        self.assertIn('aria-describedby="form-widgets-title-error '
                      'form-widgets-title-hint" aria-invalid="true"', page)
        # The check boxes have none to say it; their group does.
        self.assertRegex(page, '<div aria-describedby='
                               '"form-widgets-parts-hint"[^>]*role="group"')
        described = ' '.join(re.findall('aria-describedby="([^"]+)"', page))
        for element_id in described.split():
            self.assertEqual(1, page.count(' id="%s"' % element_id))

    def test_input_that_the_core_refuses_is_told(self):
        answer = self.fill(form__widgets__title='x' * 70000)
        self.assertEqual(answer.status_int, 200)
        self.assertIn('expected an input of at most', answer.text)
        self.assertEqual(self.list(), [])

    def test_context_is_reached_by_path(self):
        self.fill(form__widgets__context__path='/report')
        run, = self.list()
        self.assertEqual(
            self.registry.getContext(run.id).title, 'A <b>report</b>')

    def test_context_that_leads_nowhere_is_told(self):
        for path in ('nothing', '../report', '@@index.html',
                     '++etc++site', 'report/__class__', '_p_jar', '//', '.',
                     'x' * 900, 'other/++background++'):
            with self.subTest(path):
                answer = self.fill(form__widgets__context__path=path)
                if path == '//':
                    self.assertEqual(answer.status_int, 303)
                    continue
                self.assertEqual(answer.status_int, 200)
                self.assertIn('does not lead to an object', answer.text, path)
        self.assertEqual(len(self.list()), 1)

    def test_context_that_is_no_object_is_told(self):
        answer = self.fill(form__widgets__context__path='report/title')
        self.assertEqual(answer.status_int, 200)
        self.assertIn('does not lead to an object', answer.text)
        self.assertEqual(self.list(), [])

    def test_unknown_type_is_not_found(self):
        for query in ('', '?type=', '?type=x', '?type=a&type=b',
                      '?type:int=1'):
            self.assertIn(
                self.get('start.html' + query).status_int, (404,), query)

    def test_odd_type_names_work(self):
        browser = self.browser()
        browser.open(BASE + '/types.html')
        browser.getLink(url='start.html?type=odd').click()
        self.assertIn('Start: Odd &lt;b&gt;title', browser.contents)
        browser.getControl(name='form.buttons.start').click()
        self.assertEqual(self.list()[0].type, 'odd/name & co')

    def test_values_that_no_widget_sends_are_told(self):
        answer = self.fill(**{'form__widgets__count:int': '3'})
        self.assertEqual(answer.status_int, 400)
        self.assertEqual(self.list(), [])

    def test_get_with_the_button_does_nothing(self):
        token = self.token(START)
        for method in ('get', 'head'):
            answer = getattr(self.app('admin'), method)(
                '/++background++/%s&form.buttons.start=1&csrf_token=%s' % (
                    START, token), expect_errors=True)
            self.assertEqual(answer.status_int, 405)
            self.assertEqual(answer.headers['Allow'], 'POST')
        self.assertEqual(self.list(), [])

    def test_get_reads_nothing_from_the_address(self):
        self.assertNotIn('Sesame', self.get(
            PUBLISH + '&form.widgets.title=Sesame').text)


class TestStop(BrowserTests):

    def setUp(self):
        super().setUp()
        self.run_id = self.makeRun().id
        self.path = self.run_id + '/stop.html'

    def state(self):
        """Return the stored state of the run."""
        self.sync()
        return self.registry.get(self.run_id).state

    def test_stop_is_confirmed_with_a_reason(self):
        browser = self.browser()
        browser.open(BASE + '/' + self.path)
        self.assertEqual(self.state(), 'pending')
        browser.getControl('Reason').value = 'Not needed\r\nany more'
        browser.getControl('Stop the run').click()
        self.assertEqual(
            browser.url, '%s/%s/index.html' % (BASE, self.run_id))
        self.assertEqual(self.state(), 'stopped')
        stop = self.registry.getStatus(self.run_id).stop
        self.assertEqual(stop.principal, 'test.admin')
        self.assertEqual(stop.reason, 'Not needed any more')
        self.assertIn('by Administrator (test.admin): Not needed any more',
                      browser.contents)

    def test_who_and_why_is_in_the_transaction_note(self):
        self.post(self.path, stop='1', reason='Enough',
                  csrf_token=self.token(self.path))
        self.assertEqual(self.note(), (
            'test.admin', 'cipher.background: stop run %s by test.admin: '
            'Enough' % self.run_id))

    def test_finished_run_is_not_stopped(self):
        token = self.token(self.path)
        self.registry.finish(
            self.registry.get(self.run_id), SUCCEEDED, RunSucceededEvent)
        transaction.commit()
        answer = self.post(self.path, stop='1', csrf_token=token)
        self.assertEqual(answer.status_int, 409)
        self.assertIn('is finished', answer.text)
        self.assertEqual(self.state(), 'succeeded')

    def test_get_with_the_button_does_nothing(self):
        answer = self.get(self.path + '?stop=1&csrf_token='
                          + self.token(self.path))
        self.assertEqual(answer.status_int, 405)
        self.assertEqual(answer.headers['Allow'], 'POST')
        self.assertEqual(self.state(), 'pending')

    def test_missing_or_wrong_token_is_refused(self):
        good = self.token(self.path)
        other = self.token(START, 'editor')
        for token in (None, '', 'x', '1.x', good[:-1], good + '0', other,
                      '\u0663' + good, '-' + good, '9' * 40 + '.x',
                      good.replace('.', '')):
            with self.subTest(token):
                form = {} if token is None else {'csrf_token': token}
                answer = self.post(self.path, stop='1', **form)
                self.assertEqual(answer.status_int, 403)
                self.assertIn('no valid token', answer.text)
        self.assertEqual(self.state(), 'pending')

    def test_old_token_asks_to_reload(self):
        token = csrf.makeToken(self.registry.secret, 'test.admin',
                               time.time() - 26 * 3600)
        answer = self.post(self.path, stop='1', csrf_token=token)
        self.assertEqual(answer.status_int, 403)
        self.assertIn('Reload', answer.text)
        self.assertEqual(self.state(), 'pending')

    def test_request_of_another_site_is_refused(self):
        token = self.token(self.path)
        for headers in ({'Sec-Fetch-Site': 'cross-site'},
                        {'Sec-Fetch-Site': 'same-site'},
                        {'Origin': 'http://evil.example'},
                        {'Origin': 'null'},
                        {'Origin': 'http://localhost.evil.example'}):
            with self.subTest(headers):
                answer = self.post(self.path, headers=headers, stop='1',
                                   csrf_token=token)
                self.assertEqual(answer.status_int, 403)
                self.assertIn('another site', answer.text)
        self.assertEqual(self.state(), 'pending')

    def test_own_origin_does_not_replace_the_token(self):
        headers = {'Sec-Fetch-Site': 'same-origin'}
        answer = self.post(self.path, headers=headers, stop='1')
        self.assertEqual(answer.status_int, 403)
        answer = self.post(self.path, headers=headers, stop='1',
                           csrf_token=self.token(self.path))
        self.assertEqual(answer.status_int, 303)
        self.assertEqual(self.state(), 'stopped')

    def test_token_of_another_registry_is_refused(self):
        token = csrf.makeToken(b'x' * 32, 'test.admin')
        answer = self.post(self.path, stop='1', csrf_token=token)
        self.assertEqual(answer.status_int, 403)

    def test_second_request_is_no_error(self):
        run = self.makeRunning()
        path = run.id + '/stop.html'
        token = self.token(path)
        for _n in range(2):
            answer = self.post(path, stop='1', csrf_token=token)
            self.assertEqual(answer.status_int, 303)
        self.sync()
        self.assertEqual(self.registry.getStatus(run.id).stop.principal,
                         'test.admin')
