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
"""The pages and the JSON show what the registry knows."""
import re
import time

import transaction
from zope.component import getGlobalSiteManager

from cipher.background.declarations.workertype import WorkerType
from cipher.background.i18n import _
from cipher.background.interfaces import STATES
from cipher.background.interfaces import IWorkerType
from cipher.background.store.run import RunDetails
from cipher.background.tests.support.browser import BASE
from cipher.background.tests.support.browser import PATH
from cipher.background.tests.support.browser import BrowserTests


class TestOverview(BrowserTests):

    def test_namespace_leads_to_the_overview(self):
        page = self.get('/++background++')
        self.assertEqual(page.status_int, 200)
        self.assertIn('<h1>Overview</h1>', page.text)
        self.assertEqual(page.text, self.get('index.html').text)

    def test_namespace_with_a_name_leads_nowhere(self):
        self.assertEqual(self.get('/++background++x').status_int, 404)

    def test_site_below_leads_to_the_registry_above(self):
        page = self.get('/other/++background++/')
        self.assertIn('href="%s/runs.html"' % PATH, page.text)

    def test_every_state_is_counted_and_leads_to_its_runs(self):
        self.makeRun()
        self.makeFailed()
        page = self.get('index.html')
        for state in STATES:
            self.assertIn('%s/runs.html?state=%s' % (PATH, state), page.text)
        counts = self.get('index.json').json['counts']
        self.assertEqual(counts['pending'], 1)
        self.assertEqual(counts['failed'], 1)
        self.assertEqual(counts['running'], 0)

    def test_running_runs_show_progress_and_stop_request(self):
        run = self.makeRunning(progress=(3, 4, 'Rendering'))
        self.registry.requestStop(run.id)
        transaction.commit()
        page = self.get('index.html')
        self.assertIn('value="75.0"', page.text)
        self.assertIn('Rendering', page.text)
        self.assertIn('3 of 4', page.text)
        self.assertRegex(page.text, r'stop requested .* ago by the system')

    def test_old_stop_request_is_called_unresponsive(self):
        run = self.makeRunning()
        self.registry.stops[run.id] = ('test.editor', 1000.0, None)
        transaction.commit()
        self.assertRegex(self.get('index.html').text,
                         r'ago by Editor \(test.editor\), not responding')

    def test_waiting_runs_without_a_process_are_a_problem(self):
        self.assertEqual(self.get('index.json').json['problems'], [])
        self.makeRun()
        problems = self.get('index.json').json['problems']
        self.assertEqual([item['id'] for item in problems], ['no-runtime'])
        self.assertIn('1 run waits, but no process takes it.', self.get(
            'index.html').text)

    def test_waiting_runs_of_an_undeclared_type_are_a_problem(self):
        self.registry.addRun('gone')
        transaction.commit()
        self.assertIn('1 run of "gone" waits', self.get(
            'index.html').text)

    def test_failed_runs_show_their_error(self):
        self.makeFailed(('KeyError', 'no <such> key'))
        self.assertRegex(self.get('index.html').text, (
            r'>KeyError</a>\s*<span>no &lt;such&gt; key</span>'))

    def test_page_tells_the_script_where_to_ask(self):
        self.assertIn('data-poll="%s/index.json"' % PATH,
                      self.get('index.html').text)


class TestRuns(BrowserTests):

    def test_newest_run_comes_first(self):
        first, second = self.makeRun(), self.makeRun()
        ids = [item['id'] for item in self.get('runs.json').json['items']]
        self.assertEqual(set(ids), {first.id, second.id})
        page = self.get('runs.html').text
        self.assertLess(page.index(ids[0]), page.index(ids[1]))

    def test_state_and_type_filter_the_list(self):
        failed, waiting = self.makeFailed(), self.makeRun('odd/name & co')

        def ids(query):
            return [item['id'] for item in self.get(
                'runs.json?' + query).json['items']]

        self.assertEqual(ids('state=failed'), [failed.id])
        self.assertEqual(ids('state=pending&state=failed&type=plain'),
                         [failed.id])
        self.assertEqual(ids('type=odd/name+%26+co'), [waiting.id])
        self.assertEqual(ids('type=nothing'), [])

    def test_filter_stays_in_the_links(self):
        self.makeRun('odd/name & co')
        page = self.get('runs.html?type=odd/name+%26+co').text
        self.assertIn('runs.html?state=failed&amp;type='
                      'odd%2Fname+%26+co', page)
        self.assertRegex(page, r'<option[^>]*selected="selected"[^>]*>Odd')

    def test_older_runs_are_on_the_next_page(self):
        ids = {self.registry.start('plain').id for _n in range(60)}
        transaction.commit()
        browser = self.browser()
        browser.open(BASE + '/runs.html?state=pending')
        seen = set(re.findall(r'/(\d+-\d+)/index.html', browser.contents))
        self.assertEqual(len(seen), 50)
        browser.getLink('Older').click()
        self.assertIn('state=pending', browser.url)
        seen |= set(re.findall(r'/(\d+-\d+)/index.html', browser.contents))
        self.assertEqual(seen, ids)
        browser.getLink('First').click()
        self.assertEqual(browser.url, BASE + '/runs.html?state=pending')

    def test_bad_filters_are_told(self):
        for query in ('state=nonsense', 'before=nonsense', 'before=1-1-1',
                      'before=' + 'x' * 300, 'type=' + 'x' * 300,
                      'state=%ff%00'):
            with self.subTest(query):
                self.assertEqual(
                    self.get('runs.html?' + query).status_int, 400)
                answer = self.get('runs.json?' + query)
                self.assertEqual(answer.status_int, 400)
                self.assertEqual(answer.json['status'], 400)
                self.assertTrue(answer.json['error'])

    def test_converted_parameters_do_no_harm(self):
        self.makeRun()
        for query in ('state:int=1', 'state:list=failed', 'type.x:record=1',
                      'before:list=1', 'type:tokens=plain'):
            with self.subTest(query):
                self.assertIn(self.get('runs.html?' + query).status_int,
                              (200, 400, 404))


class TestRun(BrowserTests):

    def test_run_has_an_address_of_its_own(self):
        run = self.makeRun()
        page = self.get(run.id)
        self.assertEqual(page.status_int, 200)
        self.assertIn('data-poll="%s/%s/index.json"' % (PATH, run.id),
                      page.text)

    def test_failed_run_shows_error_traceback_and_log(self):
        run = self.makeFailed(traceback='File "x.py"', log='line one')
        page = self.get(run.id).text
        for text in ('ValueError', 'wrong', 'File "x.py"',
                     'line one'):
            self.assertIn(text, page)

    def getDuration(self, run):
        """Return the terms of how long *run* took, that are not hidden."""
        page = self.get(run.id).text
        begin, end = re.search(
            r'(?s)<div data-show="text.took"([^>]*)>(.*?)</div>',
            page).groups()
        if 'hidden' in begin:
            return []
        self.assertRegex(end, '<dd data-text="text.took">[0-9.]+ m?s</dd>')
        return [term for attributes, term in re.findall(
            '<dt([^>]*)>([^<]*)</dt>', end) if 'hidden' not in attributes]

    def test_duration_is_called_what_it_is(self):
        self.assertEqual([], self.getDuration(self.makeRun()))
        self.assertEqual(
            ['Running for'], self.getDuration(self.makeRunning()))
        self.assertEqual(['Took'], self.getDuration(self.makeFailed()))
        # The script changes it when the run finishes.
        self.assertRegex(self.get(self.makeRunning().id).text, (
            '<dt data-hide="is_finished">Running for</dt>\\s*'
            '<dt data-show="is_finished" hidden="hidden">Took</dt>'))

    def makeRetried(self):
        run = self.makeRunning()
        run.details = RunDetails()
        run.details.history = (
            (run.created_at, run.created_at + 2.0, 'host:1:aa', 'failed',
             'OSError', 'the line is busy', None, ''),)
        run.putBack(due_at=time.time() + 3600)
        self.addProcess()   # a record of it that tells of no run
        transaction.commit()
        return run

    def test_timeline_tells_failed_attempts_and_when_it_is_due(self):
        run = self.makeRetried()
        timeline = self.get(run.id + '/index.json').json['timeline']
        self.assertEqual([entry['title'] for entry in timeline],
                         ['Created', 'Began', 'An attempt failed', 'Due'])
        self.assertIn('host:1', timeline[1]['note'])
        self.assertEqual(timeline[2]['note'], 'OSError: the line is busy')
        self.assertGreater(timeline[3]['at'], timeline[2]['at'])
        self.assertIn('OSError: the line is busy', self.get(run.id).text)

    def test_failed_attempts_need_the_details_permission(self):
        run = self.makeRetried()
        answer = self.get(run.id + '/index.json', 'viewer')
        self.assertEqual(answer.status_int, 200)
        self.assertNotIn('busy', answer.text)

    def test_context_is_linked(self):
        run = self.makeRun(context=self.root['report'])
        data = self.get(run.id + '/index.json').json
        self.assertEqual(data['context'], {
            'title': 'A <b>report</b>', 'url': '/report',
            'path': 'report'})
        self.assertIn('A &lt;b&gt;report&lt;/b&gt;', self.get(run.id).text)

    def test_context_that_is_not_to_be_seen_is_not_named(self):
        run = self.makeRun(context=self.root['secret'])
        answer = self.get(run.id + '/index.json', 'viewer')
        self.assertEqual(answer.status_int, 200)
        self.assertNotIn('Nobody may know', answer.text)
        # Nor told by its name and its address.
        self.assertEqual(answer.json['context'], {
            'title': 'An object that has no address or that you may not see',
            'url': None, 'path': None})
        for path in run.id, 'runs.html', 'runs.json':
            self.assertNotIn('/secret', self.get(path, 'viewer').text)
            self.assertIn('/secret', self.get(path).text)

    def test_context_without_a_title_is_called_by_its_name(self):
        run = self.makeRun(context=self.root['other'])
        self.assertEqual(self.get(run.id + '/index.json').json['context'], {
            'title': 'other', 'url': '/other', 'path': 'other'})

    def test_deleted_context_is_no_error(self):
        run = self.makeRun(context=self.root['report'])
        del self.root['report']
        transaction.commit()
        self.assertIsNone(self.get(run.id + '/index.json').json['context'])

    def test_password_is_masked_everywhere(self):
        run = self.makeRun('publish', title='x', secret='hush-hush')
        run.details = None
        for path in (run.id, run.id + '/index.json', 'runs.json'):
            self.assertNotIn('hush-hush', self.get(path).text)
        items = self.get(run.id + '/index.json').json['details']['input']
        self.assertIn({'id': 'secret', 'title': 'Secret',
                       'value': '•••'}, items)

    def test_input_without_a_value_is_not_blank(self):
        run = self.makeRun('publish', title='x', secret='')
        self.assertRegex(self.get(run.id).text, (
            r'<dt>Secret</dt>\s*<dd class="cb-pre">–</dd>'))

    def test_password_is_masked_in_traceback_and_log(self):
        run = self.makeFailed(type='publish', traceback='with hush-hush',
                              log='said hush-hush',
                              input={'secret': 'hush-hush', 'title': 'x'})
        answer = self.get(run.id + '/index.json')
        self.assertNotIn('hush-hush', answer.text)
        self.assertEqual(answer.json['details']['log'], 'said •••')

    def test_input_of_an_undeclared_type_is_masked(self):
        run = self.registry.addRun('gone', input={'token': 'hush-hush'})
        transaction.commit()
        self.assertNotIn('hush-hush', self.get(run.id).text)

    def test_times_are_machine_readable_and_say_their_zone(self):
        page = self.get(self.makeRun().id,
                        HTTP_ACCEPT_LANGUAGE='en-US').text
        self.assertRegex(
            page, r'<time [^>]*datetime="\d{4}-\d\d-\d\dT[\d:.]+Z"[^>]*>'
                  r'[A-Z][a-z]+ \d+, \d{4} [^<]* UTC</time>')

    def test_json_of_a_run_has_plain_values(self):
        run = self.makeRunning(progress=(1, 3, 'Busy'))
        data = self.get(run.id + '/index.json').json
        self.assertEqual(data['id'], run.id)
        self.assertEqual(data['state'], 'running')
        self.assertEqual(data['progress_percent'], 33.3)
        self.assertEqual(data['text']['progress'], '1 of 3')
        self.assertFalse(data['is_finished'])
        self.assertRegex(data['started_at'], r'^\d{4}-.*Z$')


class TestTypes(BrowserTests):

    def test_declared_types_are_listed_with_their_counts(self):
        self.makeRun()
        page = self.get('types.html').text
        self.assertIn('Renders the document and makes it public.', page)
        self.assertIn('Publish documents', page)
        self.assertIn('state=pending&amp;type=plain', page)

    def test_undeclared_type_with_runs_is_listed(self):
        self.registry.addRun('gone')
        transaction.commit()
        page = self.get('types.html').text
        self.assertIn('no longer declared', page)
        self.assertNotIn('start.html?type=gone', page)

    def test_titles_of_types_are_in_the_language_of_the_reader(self):
        told = WorkerType('told', handler=print, title=_('Schedules'),
                          description=_('Schedules'))
        components = getGlobalSiteManager()
        components.registerUtility(told, IWorkerType, 'told')
        self.addCleanup(
            components.unregisterUtility, told, IWorkerType, 'told')
        run = self.makeRun('told')
        for language, title in ('en', 'Schedules'), ('de', 'Zeitpläne'):
            item, = [item for item in self.get(
                'types.json', HTTP_ACCEPT_LANGUAGE=language).json['items']
                if item['name'] == 'told']
            self.assertEqual((item['title'], item['description']),
                             (title, title))
            for path in run.id, 'runs.html', 'start.html?type=told':
                page = self.get(path, HTTP_ACCEPT_LANGUAGE=language).text
                main = page[page.index('<main'):]
                self.assertIn(title, main, path)
        # What somebody gave as a title is nobody's message.
        run.title = 'Schedules'
        transaction.commit()
        self.assertEqual('Schedules', self.get(
            run.id + '/index.json', HTTP_ACCEPT_LANGUAGE='de').json['title'])

    def test_only_what_the_principal_may_start_has_a_link(self):
        page = self.get('types.html', 'editor').text
        self.assertIn('start.html?type=plain', page)
        self.assertNotIn('start.html?type=publish', page)
        self.assertNotIn('start.html', self.get('types.html', 'viewer').text)
