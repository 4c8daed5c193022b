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
"""What an administrator does on a day, in a real browser.

Runs are started by another visitor of the demo.  Nothing here waits for the
clock: each step waits for what a person would see.
"""
import csv
import re
import time

from cipher.background.tests.demo.test_browser import BrowserTestCase
from cipher.background.tests.demo.test_server import LIMIT


BASE = '/++background++/'


class DayTestCase(BrowserTestCase):
    """What the stories share."""

    def begin(self, worker_type, user='admin', **input):
        """Start a worker elsewhere; return the id of its run."""
        page = self.layer.demo.start(worker_type, user, **input)
        return re.search(r'/(\d+-\d+)/index\.json', page)[1]

    def beginFailing(self, number, user='admin'):
        """Start so many that fail; return their ids, the newest first."""
        ids = [self.begin('publish', user, pause='0') for _ in range(number)]
        for run_id in ids:
            self.layer.demo.waitForRun(
                lambda run: run['id'] == run_id and run['state'] == 'failed')
        return ids[::-1]

    def openTab(self, name):
        self.go('/')
        self.page.get_by_role('link', name='Background').first.click()
        self.page.get_by_role(
            'navigation', name='Background workers').get_by_role(
                'link', name=name).click()

    def row(self, text):
        return self.page.locator('tr[data-key], tbody tr').filter(
            has_text=text).first

    def mark(self):
        """Remember that the page was loaded; see `assertNotReloaded`."""
        self.page.evaluate('window.notReloaded = true')

    def assertNotReloaded(self):
        self.assertTrue(self.page.evaluate('window.notReloaded'))

    def waitForState(self, state):
        self.page.locator('.cb-heading .cb-state').get_by_text(
            state, exact=True).wait_for()

    def listDurations(self):
        """Return what the page of a run calls the time it took."""
        return [term for term in self.page.locator(
            '.cb-facts dt:visible').all_inner_texts()
            if term in ('Running for', 'Took')]

    def confirm(self, button, reason=''):
        self.page.get_by_label('Reason').fill(reason)
        self.page.get_by_role('button', name=button).click()

    def ask(self, row, verb, reason):
        """Open what asks for a reason in a row; give one and do it."""
        row.locator('summary').filter(has_text=verb).click()
        form = row.locator('details[open]')
        form.get_by_label('Reason').fill(reason)
        form.get_by_role('button', name=verb).click()

    def post(self, view, **form):
        """Do something elsewhere, or make good for the tests after this."""
        demo = self.layer.demo
        form['csrf_token'] = demo.readToken(BASE + view)
        return demo.readStatus(BASE + view, data=form)

    def listIds(self):
        return self.page.locator('[data-list=items] tr .cb-id'
                                 ).all_text_contents()


class DayTests(DayTestCase):

    def test_a_run_that_seems_stuck_is_looked_into_and_stopped(self):
        run_id = self.begin('stubborn', seconds='0.5')
        self.openTab('Overview')
        row = self.page.locator('[data-list=running] tr').filter(
            has_text=run_id)
        row.locator('.cb-progress-text').get_by_text('of 300').wait_for()
        row.get_by_role('link', name='Stubborn', exact=True).click()
        self.waitForState('running')
        self.mark()
        stack = self.page.locator('[data-list="details.frames"]')
        stack.get_by_text('stubborn', exact=True).wait_for()
        self.assertNotIn('seconds=', stack.inner_text())
        self.assertEqual(['Running for'], self.listDurations())
        self.page.get_by_text('Busy until somebody stops me').wait_for()
        before = self.page.inner_text('.cb-progress-text')
        self.page.wait_for_function(
            '(before) => document.querySelector(".cb-progress-text")'
            '.textContent !== before', arg=before)
        self.assertNotReloaded()

        self.page.get_by_role('link', name='Stop…').click()
        self.confirm('Stop the run', 'It seems stuck')
        self.page.locator('.cb-note').get_by_text(
            re.compile('stop requested .* by Administrator')).wait_for()
        self.waitForState('stopped')
        timeline = self.page.locator('.cb-timeline')
        timeline.get_by_text(
            'by Administrator (demo.admin): It seems stuck').wait_for()
        self.assertEqual(
            ['Created', 'Began', 'Stop requested', 'Finished'],
            timeline.locator('strong').all_text_contents())
        self.page.get_by_text('Asked to stop; going on for 0.5 s').wait_for()
        self.assertFalse(self.page.get_by_role('link', name='Stop…')
                         .is_visible())

        self.openTab('Journal')
        row = self.row(run_id)
        self.assertEqual(
            ['Administrator (demo.admin)', 'stop requested', run_id,
             'It seems stuck'],
            row.locator('td').all_inner_texts()[1:])
        row.get_by_role('link', name=run_id).click()
        self.waitForState('stopped')

    def test_what_failed_today_is_found_and_retried(self):
        ids = self.beginFailing(3, 'editor')
        self.openTab('Runs')
        self.page.get_by_role(
            'navigation', name='Filter by state').get_by_role(
                'link', name='failed').click()
        self.page.wait_for_url('**state=failed')
        query = 'user:demo.editor "about nothing"'
        self.page.get_by_label('Search', exact=True).fill(query)
        self.page.get_by_role('button', name='Search').click()
        self.page.wait_for_url('**q=user**')
        self.assertEqual(ids, self.listIds())
        self.assertIn('expected a run about a document',
                      self.row(ids[0]).inner_text())

        self.page.get_by_text('Act on all…').click()
        self.page.get_by_role('group', name='All matching runs').get_by_role(
            'button', name='Retry…').click()
        self.assertEqual('3 runs can be retried.',
                         self.page.locator('.cb-numbers').inner_text())
        self.confirm('Retry them', 'The document is there now')
        self.page.get_by_role('status').get_by_text(
            '3 runs were retried.').wait_for()
        self.assertEqual(query, self.page.input_value('#cb-q'))
        self.assertEqual('failed', self.page.inner_text(
            '.cb-filters [aria-current] .cb-state'))

        self.page.goto(self.layer.demo.url + BASE + ids[1] + '/index.html')
        self.page.locator('.cb-note').filter(
            has_text='Retried as').get_by_role('link').click()
        self.page.get_by_text(
            'Retried by Administrator (demo.admin): '
            'The document is there now').wait_for()
        self.waitForState('failed')

        # What is known is put away.
        self.go('%sruns.html?q=id:%s+id:%s' % (BASE, ids[0], ids[1]))
        self.row(ids[1]).get_by_role('checkbox').check()
        self.page.get_by_role('group', name='Selected runs').get_by_role(
            'button', name='Remove…').click()
        self.confirm('Remove them', 'Known')
        self.page.get_by_role('status').get_by_text(
            '1 run was removed.').wait_for()
        self.assertEqual([ids[0]], self.listIds())
        self.openTab('Journal')
        self.assertEqual(
            ['Administrator (demo.admin)', 'removed', ids[1], 'Known'],
            self.row(ids[1]).locator('td').all_inner_texts()[1:])

    def test_a_type_is_paused_and_resumed(self):
        self.openTab('Worker types')
        self.ask(self.row('Flaky'), 'Pause', 'The weather service is down')
        self.addCleanup(
            self.post, 'types.html', resume='1', name='flaky')
        self.row('Flaky').get_by_text(re.compile(
            r'paused by Administrator \(demo.admin\), .*: '
            'The weather service is down')
        ).wait_for()
        run_id = self.begin('flaky', chance='0')
        self.go(BASE + run_id + '/index.html')
        self.waitForState('pending')
        self.page.get_by_text('its worker type is paused').wait_for()
        self.assertEqual([], self.listDurations())
        self.mark()

        other = self.page.context.new_page()
        other.goto(self.layer.demo.url + BASE + 'types.html')
        other.locator('tr').filter(has_text='Flaky').get_by_role(
            'button', name='Resume').click()
        other.locator('tr').filter(has_text='Flaky').locator(
            'summary').filter(has_text='Pause').wait_for()
        self.waitForState('succeeded')
        self.assertFalse(
            self.page.get_by_text('its worker type is paused').is_visible())
        self.assertEqual(['Took'], self.listDurations())
        self.assertNotReloaded()

    def test_a_process_is_made_quiet_and_begins_again(self):
        self.openTab('Processes')
        name = self.page.locator('[data-list=items] tr').get_attribute(
            'data-key')
        self.ask(self.row('this process'), 'Stop taking new runs',
                 'The disk is full')
        self.addCleanup(
            self.post, 'processes.html', unquiet='1', name=name)
        self.row('this process').get_by_text(
            'takes no new runs; requested by Administrator').wait_for()
        run_id = self.begin('flaky', chance='0')
        self.openTab('Runs')
        row = self.row(run_id)
        self.assertEqual('pending', row.locator('.cb-state').inner_text())
        self.mark()

        other = self.page.context.new_page()
        other.goto(self.layer.demo.url + BASE + 'processes.html')
        other.get_by_role('button', name='Resume').click()
        row.locator('.cb-state').get_by_text('succeeded').wait_for()
        self.assertNotReloaded()

    def test_a_list_is_exported(self):
        ids = self.beginFailing(2)
        self.go('%sruns.html?q=id:%s+id:%s' % (BASE, *ids))
        with self.page.expect_download() as download:
            self.page.get_by_role('link', name='Export as CSV').click()
        self.assertEqual('runs.csv', download.value.suggested_filename)
        with open(download.value.path(), newline='',
                  encoding='utf-8-sig') as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(
            [(run_id, 'failed', 'publish', 'demo.admin', 'Cancel')
             for run_id in ids],
            [tuple(row[name] for name in (
                'id', 'state', 'type', 'starter', 'error_type'))
             for row in rows])

    def test_the_list_is_live_and_keeps_what_is_selected(self):
        first = self.begin('flaky', chance='0')
        self.openTab('Runs')
        self.mark()
        self.row(first).get_by_role('checkbox').check()
        second = self.begin('flaky', chance='0')
        self.row(second).wait_for()
        third = self.begin('stubborn', seconds='0')
        row = self.row(third)
        row.locator('.cb-state').get_by_text('running').wait_for()
        self.post(third + '/stop.html', stop='1')
        row.locator('.cb-state').get_by_text('stopped').wait_for()
        self.assertNotReloaded()
        self.assertEqual(
            [first], self.page.locator('[name=run]:checked').evaluate_all(
                'boxes => boxes.map(box => box.value)'))
        self.page.get_by_role('group', name='Selected runs').get_by_role(
            'button', name='Retry…').click()
        self.assertEqual([first], self.page.locator(
            'input[name=run]').evaluate_all(
                'fields => fields.map(field => field.value)'))

    def test_the_number_of_runs_is_live(self):
        for _ in range(2):
            known_id = self.begin('flaky', chance='0')
            self.layer.demo.waitForRun(
                lambda run: run['id'] == known_id and run['is_finished'])
        self.go(BASE + 'runs.html?type=flaky')
        self.mark()
        legend = self.page.locator('.cb-about strong')
        number = int(re.fullmatch(
            r'All (\d+) matching runs', legend.inner_text())[1])
        run_id = self.begin('flaky', chance='0')
        self.page.locator('.cb-about strong').filter(
            has_text='All %d matching runs' % (number + 1)).wait_for()
        self.row(run_id).locator('.cb-state').get_by_text(
            'succeeded').wait_for()
        self.assertNotReloaded()
        self.page.get_by_text('Act on all…').click()
        legend.locator('..').get_by_role('button', name='Remove…').click()
        self.assertIn('%d runs can be removed.' % (number + 1),
                      self.page.inner_text('.cb-numbers'))

    def test_a_run_that_was_removed_in_another_tab(self):
        run_id, known_id = self.beginFailing(2)
        # Words make a list that does not follow.
        path = '%sruns.html?state=failed&q=nothing' % BASE
        self.go(path)
        other = self.page.context.new_page()
        other.goto(self.layer.demo.url + path)
        self.row(run_id).get_by_role('checkbox').check()
        third = self.page.context.new_page()
        third.goto(self.layer.demo.url + BASE + run_id + '/index.html')
        third.get_by_role('link', name='Remove…').click()
        third.get_by_role('button', name='Remove the run').click()
        third.wait_for_url('**/runs.html')

        self.page.get_by_role('group', name='Selected runs').get_by_role(
            'button', name='Retry…').click()
        self.assertEqual('0 runs can be retried.',
                         self.page.locator('.cb-numbers').inner_text())
        self.page.go_back()
        # A browser may tick boxes again by their place: that of another run.
        self.row(known_id).wait_for()
        self.assertEqual(0, self.page.locator('[name=run]:checked').count())

        self.page = other
        self.row(run_id).locator('a[href*="/%s"]' % run_id).first.click()
        self.page.get_by_text('It may have been removed').wait_for()
        # It is no dead end.
        self.page.get_by_role(
            'navigation', name='Background workers').get_by_role(
                'link', name='Runs').click()
        self.row(known_id).wait_for()


class NoScriptTests(DayTestCase):
    """The same by a browser without JavaScript."""

    options = {'java_script_enabled': False}

    def reloadUntil(self, found):
        """Load the page again until there is *found*, a locator."""
        deadline = time.monotonic() + LIMIT
        while not found.count():
            self.assertLess(time.monotonic(), deadline, found)
            self.page.reload()

    def test_stop_retry_and_pause(self):
        run_id = self.begin('stubborn', seconds='0')
        self.openTab('Overview')
        row = self.page.locator('[data-list=running] tr').filter(
            has_text=run_id)
        self.reloadUntil(row)
        row.get_by_role('link', name='Stop…').click()
        self.confirm('Stop the run', 'Not needed')
        self.page.wait_for_url('**/index.html')
        self.reloadUntil(self.page.locator('.cb-heading').get_by_text(
            'stopped'))

        ids = self.beginFailing(2)
        self.openTab('Runs')
        for other in ids:
            self.row(other).get_by_role('checkbox').check()
        self.page.get_by_role('group', name='Selected runs').get_by_role(
            'button', name='Retry…').click()
        self.confirm('Retry them', 'Again')
        self.page.get_by_text('2 runs were retried.').wait_for()

        self.openTab('Worker types')
        self.ask(self.row('Flaky'), 'Pause', 'For a while')
        self.addCleanup(
            self.post, 'types.html', resume='1', name='flaky')
        self.row('Flaky').get_by_text('paused by Administrator').wait_for()
        self.row('Flaky').get_by_role('button', name='Resume').click()
        self.row('Flaky').locator('summary').filter(
            has_text='Pause').wait_for()
