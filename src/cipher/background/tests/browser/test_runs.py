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
"""The list of runs: search box, filters, export, one action on many."""
import csv
import io
import itertools
import re
import time
import unicodedata
from datetime import datetime
from unittest import mock
from urllib.parse import parse_qs
from urllib.parse import quote
from urllib.parse import urlencode
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import transaction
from zope.component import adapter
from zope.component import getGlobalSiteManager
from zope.component import provideAdapter
from zope.component import provideHandler
from zope.interface.common.idatetime import ITZInfo
from zope.publisher.interfaces.browser import IBrowserRequest

from cipher.background.browser import bulk
from cipher.background.browser.formatting import inZone
from cipher.background.browser.runs import Runs
from cipher.background.browser.runs import escapeCell
from cipher.background.browser.runs import writeCSV
from cipher.background.interfaces import IRunEvent
from cipher.background.tests.support.browser import BASE
from cipher.background.tests.support.browser import HOST
from cipher.background.tests.support.browser import PATH
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.browserworld import Document


class ListTests(BrowserTests):

    def ids(self, query=''):
        """Return the ids that the list shows for *query*."""
        answer = self.get('runs.json?' + query)
        self.assertEqual(answer.status_int, 200, answer.text)
        return {item['id'] for item in answer.json['items']}

    def state(self, run_id):
        self.sync()
        run = self.registry.get(run_id)
        return run and run.state


class TestSearch(ListTests):

    def setUp(self):
        super().setUp()
        self.waiting = self.makeRun().id
        self.failed = self.makeFailed(('ValueError', 'the line is busy')).id
        self.odd = self.makeRun('odd/name & co').id

    def test_address_keeps_no_empty_parameter(self):
        answer = self.get('runs.html?q=type%3Aplain&type=&user=&context='
                          '&since=&until=&order=newest')
        self.assertEqual(answer.status_int, 303)
        self.assertEqual(urlsplit(answer.headers['Location']).query,
                         'q=type%3Aplain')
        answer = self.get('runs.html?q=&order=oldest')
        self.assertEqual(urlsplit(answer.headers['Location']).query,
                         'order=oldest')
        # An error keeps what was typed.
        page = self.get('runs.html?q=type%3Aplain&since=never&until=')
        self.assertEqual(page.status_int, 400)
        self.assertIn('value="never"', page.text)

    def test_presets_lead_to_lists(self):
        page = self.get('runs.html')
        nav = page.html.find('nav', {'aria-label': 'Ready searches'})
        urls = {link.get_text(): link['href'] for link in nav.find_all('a')}
        self.assertEqual(list(urls), ['Today', 'Last hour', 'Not resolved',
                                      'Mine', 'Waiting longest'])
        found = {title: self.ids(urlsplit(url).query)
                 for title, url in urls.items()}
        everything = {self.waiting, self.failed, self.odd}
        self.assertEqual(found['Today'], everything)
        self.assertEqual(found['Last hour'], everything)
        self.assertEqual(found['Not resolved'], {self.failed})
        self.assertEqual(found['Waiting longest'], everything - {self.failed})
        for url in urls.values():
            nav = self.get('runs.html?' + urlsplit(url).query).html.find(
                'nav', {'aria-label': 'Ready searches'})
            current = nav.find_all('a', {'aria-current': 'true'})
            self.assertEqual([link['href'] for link in current], [url])

    def test_cells_filter(self):
        items = self.get('runs.json').json['items']
        for item in items:
            for name in 'state', 'type', 'starter':
                url = item['only'][name]
                if item[name] is None:
                    self.assertIsNone(url)
                    continue
                others = self.get('runs.json?' + urlsplit(url).query)
                self.assertEqual(
                    {other['id'] for other in others.json['items']},
                    {other['id'] for other in items
                     if other[name] == item[name]})

    def test_box_suggests_filters_that_it_understands(self):
        options = self.get('runs.html').html.find(
            'datalist', id='cb-words').find_all('option')
        words = [option['value'] for option in options]
        self.assertIn('state:failed', words)
        self.assertIn('type:"odd/name & co"', words)
        for word in words:
            self.ids(urlencode({'q': word}))
        self.assertEqual(self.ids(urlencode({
            'q': 'type:"odd/name & co"'})), {self.odd})

    def test_words_of_the_box_filter(self):
        for box, found in (
                ('type:plain', {self.waiting, self.failed}),
                ('type:plain state:failed', {self.failed}),
                ('state:pending', {self.waiting, self.odd}),
                ('type:"odd/name & co"', {self.odd}),
                ('user:test.admin', {self.failed}),
                ('user:nobody', set()),
                ('id:' + self.odd, {self.odd}),
                ('id:%s id:%s id:9-99' % (self.odd, self.failed),
                 {self.odd, self.failed}),
                ('BUSY', {self.failed}),
                ('"line is"', {self.failed}),
                ('busy state:pending', set())):
            with self.subTest(box):
                self.assertEqual(self.ids('q=' + box.replace(
                    '&', '%26').replace(' ', '+')), found)

    def test_fields_filter(self):
        document = self.makeRun(context=self.root['report']).id
        everything = {self.waiting, self.failed, self.odd, document}
        for query, found in (
                ('', everything),
                ('user=test.admin', {self.failed}),
                ('context=report', {document}),
                ('since=2026-01-01', everything),
                ('until=2026-01-01', set()),
                ('since=2999-01-01T00:00Z', set()),
                ('state=failed&since=2026-01-01', {self.failed})):
            with self.subTest(query):
                self.assertEqual(self.ids(query), found)

    def test_oldest_come_first_if_asked(self):
        items = self.get('runs.json?order=oldest').json['items']
        created = [item['created_at'] for item in items]
        self.assertEqual(created, sorted(created))

    def test_slowest_are_finished_runs(self):
        self.assertEqual(self.ids('order=slowest'), {self.failed})

    def test_bad_filters_are_told(self):
        for query, said in (
                ('q=state:nonsense', 'There is no state'),
                ('q=' + 'x' * 201, 'too long'),
                ('since=yesterday', 'is not a date'),
                ('order=random', 'cannot be sorted'),
                ('context=nowhere', 'does not lead to an object'),
                ('context=report/@@index.html', 'does not lead to an object'),
                ('context=report/title', 'does not lead to an object'),
                ('context=getSiteManager', 'does not lead to an object'),
                ('context=items', 'does not lead to an object')):
            for page in ('runs.html', 'runs.csv', 'runs.json'):
                with self.subTest(query, page=page):
                    answer = self.get('%s?%s' % (page, query))
                    self.assertEqual(answer.status_int, 400)
                    self.assertIn(said, answer.text)

    def test_bad_filter_leaves_what_was_typed(self):
        for bad in {'since': 'yesterday'}, {'until': '31.1.2026 "5'}, {
                'context': 'no<where'}, {'order': 'random'}, {
                    'state': 'odd'}, {'q': 'colour:red busy'}:
            with self.subTest(bad):
                typed = {'q': 'type:plain busy', 'user': 'Somebody',
                         'type': 'plain', 'since': '2026-01-31T17:00', **bad}
                answer = self.get('runs.html?' + urlencode(typed))
                self.assertEqual(answer.status_int, 400)
                form = answer.forms[0]
                for name, value in typed.items():
                    if name not in ('order', 'state'):
                        self.assertEqual(form[name].value, value)
                self.assertIn('role="alert"', answer.text)
                self.assertNotIn('cb-bulk', answer.text)

    def test_field_of_a_time_shows_whatever_stands_in_it(self):
        for value, kind in (('2026-01-31T17:00', 'datetime-local'),
                            ('', 'datetime-local'), ('yesterday', 'text'),
                            ('2026-01-31', 'text'),
                            ('2026-01-31T17:00+02:00', 'text')):
            field = self.get('runs.html?' + urlencode(
                {'since': value} if value else {})).forms[0]['since']
            self.assertEqual((field.value, field.attrs['type']),
                             (value, kind))

    def test_times_are_read_in_the_zone_in_which_they_are_shown(self):
        at = 1700000000   # 2023-11-14 22:13:20 UTC
        for run_id in self.waiting, self.failed, self.odd:
            self.registry.get(run_id).created_at = at
        transaction.commit()

        class Localizing:
            """Like the zones of pytz."""

            def __init__(self, zone):
                self.zone = zone

            def localize(self, moment):
                return moment.replace(tzinfo=self.zone)

            def __getattr__(self, name):
                return getattr(self.zone, name)

        for name, shown in (('Asia/Tokyo', '2023-11-15T07:13'),
                            ('America/New_York', '2023-11-14T17:13'),
                            ('UTC', '2023-11-14T22:13')):
            zone = ZoneInfo(name)
            with self.subTest(name):
                provideAdapter(lambda request: zone, (IBrowserRequest,),
                               ITZInfo)
                self.addCleanup(getGlobalSiteManager().unregisterAdapter,
                                None, (IBrowserRequest,), ITZInfo)
                self.assertIn(shown[11:], self.get('runs.html').text)
                late = shown[:-2] + '14'
                day = shown[:10]
                for query, found in (
                        ({'since': shown}, 3), ({'since': late}, 0),
                        ({'until': shown}, 0), ({'until': late}, 3),
                        ({'since': day, 'until': day}, 3),
                        ({'since': '2023-11-14T22:13:00Z',
                          'until': '2023-11-14T22:14+00:00'}, 3)):
                    self.assertEqual(
                        len(self.ids(urlencode(query))), found, query)
                self.assertEqual(
                    inZone(datetime(2023, 11, 15), Localizing(zone)),
                    datetime(2023, 11, 15, tzinfo=zone))

    def test_unknown_word_of_the_filter_is_named(self):
        for box in 'colour:red', 'busy Typ:plain', 'größe:"a b"', 'C:\\x':
            answer = self.get('runs.json?' + urlencode({'q': box}))
            self.assertEqual(answer.status_int, 400, box)
            word = re.search(r'(\w+):', box)[1]
            self.assertIn('Unknown filter "%s:"' % word,
                          answer.json['error'])
            self.assertIn('type: state: user: id:', answer.json['error'])
        for box in ('"colour:red"', 'KeyError:', '12:30', 'http://x.org/',
                    'a-b:c', '::', ':x'):
            self.assertEqual(
                self.ids(urlencode({'q': box})), set(), box)
        self.assertEqual(self.ids('q=State:failed+TYPE:plain'),
                         {self.failed})

    def test_quotes_can_be_part_of_a_text(self):
        error = 'no "such" \\ path C:\\temp\\'
        run_id = self.makeFailed(('OSError', error)).id
        for box in (r'"no \"such\" \\ path"', r'"\"such"', r'"such\""',
                    r'"C:\temp\\"', '"' + error.replace(
                        '\\', '\\\\').replace('"', '\\"') + '"'):
            with self.subTest(box):
                self.assertEqual(self.ids(urlencode({'q': box})), {run_id})
        for box in '"', '"" "', '\\', '"\\', '"\\"', '\\' * 200, (
                '"' + '\\' * 199):
            self.assertEqual(self.get(
                'runs.json?' + urlencode({'q': box})).status_int, 200, box)

    def test_id_alone_opens_the_run(self):
        for box in self.failed, ' %s ' % self.failed:
            answer = self.get('runs.html?' + urlencode({'q': box}))
            self.assertEqual(
                (answer.status_int, answer.location),
                (303, '%s/%s/index.html' % (PATH, self.failed)))
        browser = self.browser()
        browser.open(BASE + '/runs.html')
        browser.getControl('Search', index=0).value = self.failed
        browser.getControl('Search', index=1).click()
        self.assertEqual(browser.url, '%s/%s/index.html' % (
            BASE, self.failed))
        for query in ('q=9-99', 'q=%s&state=failed' % self.failed,
                      'q=%s+x' % self.failed, 'q=0-0', 'q=9999999999-1'):
            self.assertEqual(
                self.get('runs.html?' + query).status_int, 200, query)

    def test_user_is_found_by_title_or_id(self):
        for user in 'test.admin', 'administrator', 'Admin':
            for query in {'user': user}, {'q': 'user:"%s"' % user}:
                self.assertEqual(
                    self.ids(urlencode(query)), {self.failed}, query)
        self.assertEqual(self.ids('user=Editor'), set())

    def test_type_is_found_composed_or_not(self):
        name = 'r\xe9index'
        run_id = self.makeFailed(type=unicodedata.normalize('NFD', name)).id
        for form in 'NFC', 'NFD':
            given = unicodedata.normalize(form, name)
            for query in {'type': given}, {'q': 'type:' + given.upper()}:
                self.assertEqual(
                    self.ids(urlencode(query)), {run_id}, query)

    def test_context_is_found_composed_or_not(self):
        for stored in 'NFC', 'NFD':
            name = unicodedata.normalize(stored, 'r\xe9sum\xe9 ' + stored)
            self.root[name] = Document('A document')
            transaction.commit()
            run_id = self.makeRun(context=self.root[name]).id
            for form in 'NFC', 'NFD':
                self.assertEqual(self.ids(urlencode({
                    'context': unicodedata.normalize(form, name)})), {run_id})

    def test_failures_that_nobody_resolved(self):
        resolved = self.makeFailed().id
        self.registry.retry(resolved)
        transaction.commit()
        query = 'state=unresolved'
        self.assertEqual(self.ids(query), {self.failed})
        self.assertEqual(self.ids('q=state:unresolved+busy'), {self.failed})
        self.assertEqual(self.ids(query + '&state=interrupted'), set())
        browser = self.browser()
        browser.open(BASE + '/runs.html')
        browser.getLink('Not resolved').click()
        self.assertIn(self.failed, browser.contents)
        self.assertNotIn('>%s<' % resolved, browser.contents)
        self.assertEqual(self.get(
            'runs.html?q=state:unresolved+id:' + resolved).status_int, 400)

    def test_lists_say_as_what_a_run_was_retried(self):
        again = self.registry.retry(self.failed).id
        transaction.commit()
        link = 'href="%s/%s/index.html"[^>]*>%s<' % (
            re.escape(PATH), again, again)
        text = self.get('runs.html?state=failed').text
        self.assertIn('>Retried as<', text.replace('\n    ', ' '))
        self.assertRegex(text, link)

    def test_filter_stands_in_the_fields_and_in_the_links(self):
        page = self.get('runs.html?q=busy&state=failed&user=test.admin').text
        self.assertIn('value="busy"', page)
        self.assertIn('value="test.admin"', page)
        self.assertIn('runs.csv?q=busy&amp;state=failed&amp;user=test.admin',
                      page)

    def test_costly_searches_are_not_repeated_by_the_script(self):
        for query, is_live in (('', True), ('state=failed', True),
                               ('q=busy', False), ('order=slowest', False),
                               ('q=state:failed', True)):
            page = self.get('runs.html?' + query).text
            self.assertEqual('data-poll=' in page, is_live, query)

    def test_run_of_a_context_links_to_its_runs(self):
        run = self.makeRun(context=self.root['report'])
        self.assertIn('%s/runs.html?context=report' % PATH,
                      self.get(run.id).text)


#: What a reader may not see, or drop, before a sign.
SPACES = ('', ' ', '\t', '\xa0', '\u3000', '\u200b', '\u200d', '\u2060',
          '\ufeff', '\xad', '\u202e', '\u034f', '\ufe0f', '\u3164', '\u115f',
          '\u180e', '\U000e0020', '\0', '\x1f', '"', '""', '\u2028')
#: With which a formula begins, somewhere in the world.
SIGNS = tuple('=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b'
              '\u207a\u207b\u207c\u208a\u208b\u208c\u2212')
_DROPPED = re.compile('[^=+\\-@\u2212A-Za-z0-9!-~]|["]')


def isFormula(cell):
    """Return whether a careless spreadsheet takes *cell* for a formula."""
    # No apostrophe is dropped: it is what says that it is a text.
    text = _DROPPED.sub('', unicodedata.normalize('NFKC', cell))
    return text[:1] in tuple('=+-@\u2212')


class TestExport(ListTests):

    def rows(self, query=''):
        answer = self.get('runs.csv?' + query)
        self.assertEqual(answer.headers['Content-Type'],
                         'text/csv;charset=utf-8')
        self.assertEqual(answer.headers['Content-Disposition'],
                         'attachment; filename="runs.csv"')
        # A spreadsheet knows UTF-8 by the mark.
        self.assertTrue(answer.body.startswith(b'\xef\xbb\xbf'))
        text = answer.body.decode('utf-8-sig')
        return list(csv.DictReader(io.StringIO(text, newline='')))

    def test_rows_are_the_runs_of_the_filter(self):
        self.makeRun()
        failed = self.makeFailed(('ValueError', 'wrong'))
        self.assertEqual(len(self.rows()), 2)
        row, = self.rows('state=failed')
        self.assertEqual(row['id'], failed.id)
        self.assertEqual(row['type'], 'plain')
        self.assertEqual(row['error_text'], 'wrong')
        self.assertEqual(row['starter'], 'test.admin')

    def test_no_cell_is_a_formula(self):
        self.makeFailed(('=cmd()', '@SUM(1)\r\n=2'))
        row, = self.rows()
        self.assertEqual(row['error_type'], "'=cmd()")
        self.assertEqual(row['error_text'], "'@SUM(1) =2")

    def test_cells(self):
        for value, cell in (('=1', "'=1"), ('+1', "'+1"), ('-1', "'-1"),
                            ('@x', "'@x"), (-1.5, '-1.5'), (None, ''),
                            ('a=b', 'a=b'), ('\t=1', "' =1"),
                            ('a;b', 'a;b'), ('a;=1', "a;'=1"),
                            ('a; =1;b', "a;' =1;b"), ('-', "'-"), ('', ''),
                            (';', ';'), ('\u200b\uff1d1', "'\u200b\uff1d1")):
            self.assertEqual(escapeCell(value), cell)

    def test_no_reader_finds_a_formula(self):
        texts = [''.join(parts) for parts in itertools.product(
            ('', 'x', 'x;', ';', ';"', 'x;"";', 'x\t', 'x\r', 'x\n', 'x\r\n;',
             '",', '\\";'), SPACES, SIGNS, ('1+cmd|x!A0', '1";', '"'))]
        rows = [[escapeCell(text) for text in texts[at:at + 5]]
                for at in range(0, len(texts), 5)]
        text = writeCSV([['1-1', *row] for row in rows])
        self.assertEqual(
            [row[1:] for row in csv.reader(io.StringIO(text, newline=''))],
            rows)
        for reader in (
                csv.reader(io.StringIO(text, newline='')),
                csv.reader(io.StringIO(text, newline=''), delimiter=';'),
                csv.reader(io.StringIO(text, newline=''), delimiter=';',
                           quoting=csv.QUOTE_NONE),
                csv.reader(io.StringIO(text, newline=''), delimiter='\t')):
            cells = [cell for row in reader for cell in row]
            self.assertGreaterEqual(len(cells), len(rows))
            for cell in cells:
                self.assertFalse(isFormula(cell), ascii(cell))

    def test_reader_of_both_separators_finds_the_same_cells(self):
        values = ['a;b', 'a,b', 'say "a;b"', '"', ';', ',', "it's", '', 'ä']
        text = writeCSV([values])
        # As a spreadsheet splits at both: not within quotes.
        cells = re.findall('"((?:[^"]|"")*)"[,;\r]', text)
        self.assertEqual([cell.replace('""', '"') for cell in cells], values)
        self.assertEqual(
            next(csv.reader(io.StringIO(text, newline=''))), values)


class TestNumbers(ListTests):
    """How many runs match, as far as no scan is needed to tell."""

    def said(self, query=''):
        """Return what page and JSON say alike."""
        page = self.get('runs.html?' + query).text
        said, = re.findall('<strong data-text="text.all">([^<]*)<', page)
        self.assertEqual(
            said, self.get('runs.json?' + query).json['text']['all'])
        return said

    def test_states_and_types_are_counted(self):
        for _n in range(3):
            self.makeRun()
        self.makeFailed()
        self.makeRun('odd/name & co')
        older = self.registry.listRuns(limit=2).older
        for query, text in (
                ('', 'All 5 matching runs'),
                ('state=pending', 'All 4 matching runs'),
                ('state=failed', '1 matching run'),
                ('state=failed&state=pending', 'All 5 matching runs'),
                ('type=plain', 'All 4 matching runs'),
                ('type=plain&state=pending', 'All 3 matching runs'),
                ('q=type:plain+state:failed', '1 matching run'),
                ('order=slowest', 'All 5 matching runs'),
                # Not only those of this page.
                ('before=' + quote(older), 'All 5 matching runs')):
            with self.subTest(query):
                self.assertEqual(self.said(query), text)

    def test_nothing_else_is(self):
        run_id = self.makeRun().id
        for query in ('q=Plain', 'q=id:' + run_id, 'since=2020-01-01',
                      'until=2099-01-01', 'q=state:pending+plain',
                      'user=test.admin'):
            with self.subTest(query):
                self.assertEqual(self.get('runs.json?' + query).json[
                    'text']['all'], 'All matching runs')

    def test_length_of_the_csv_is_told(self):
        self.assertRegex(
            self.get('runs.html').text,
            r'(?s)<a [^>]*aria-describedby="cb-export-hint"[^>]*>Export as '
            r'CSV</a>\s*<span [^>]*id="cb-export-hint">at most 10000 rows<')

    def test_end_of_a_long_search_is_told(self):
        for number, text in ((1, '1 run'), (100000, '100000 runs')):
            page = mock.Mock(items=[], older='x', looked_at=number,
                             is_cut=True)
            with mock.patch.object(Runs, 'listRuns', lambda view: page):
                self.assertIn(
                    'This search stopped after %s.  “Older” continues it.'
                    % text, self.get('runs.html').text)
        self.assertNotIn('This search stopped', self.get('runs.html').text)


class TestBulk(ListTests):

    def act(self, user='admin', **form):
        form.setdefault('csrf_token', self.token('types.html'))
        return self.post('bulk.html', user, **form)

    def outcome(self, answer):
        """Return (verb, done, skipped) that the redirect tells."""
        self.assertEqual(answer.status_int, 303)
        query = parse_qs(urlsplit(answer.headers['Location']).query)
        return query['did'][0], int(query['done'][0]), int(
            query['skipped'][0])

    def test_all_that_match_are_stopped_and_others_are_not(self):
        runs = [self.makeRun().id for _n in range(3)]
        other = self.makeRun('odd/name & co').id
        answer = self.act(all='stop', type='plain', reason='Enough')
        self.assertEqual(self.outcome(answer), ('stop', 3, 0))
        self.assertEqual({self.state(run_id) for run_id in runs}, {'stopped'})
        self.assertEqual(self.state(other), 'pending')
        self.assertEqual(
            self.registry.getStatus(runs[0]).stop.reason, 'Enough')

    def test_run_whose_subscriber_fails_does_not_hold_up_the_others(self):
        runs = [self.makeRun().id for _n in range(4)]

        @adapter(IRunEvent)
        def fail(event):
            if event.object.id in runs[1:3]:
                raise ValueError('<b>no</b> ' + event.object.id)

        provideHandler(fail)
        self.addCleanup(getGlobalSiteManager().unregisterHandler, fail)
        answer = self.act(all='stop', type='plain', reason='Enough')
        self.assertEqual(answer.status_int, 200)
        self.assertIn('2 runs were stopped', answer.text)
        self.assertIn('2 runs were left unchanged', answer.text)
        for run_id in runs[1:3]:
            self.assertIn('%s: ValueError: &lt;b&gt;no&lt;/b&gt; %s'
                          % (run_id, run_id), answer.text)
        self.assertEqual(
            [self.state(run_id) for run_id in runs],
            ['stopped', 'pending', 'pending', 'stopped'])
        action, = self.registry.listActions()[0]
        self.assertEqual(set(action.run_ids), {runs[0], runs[3]})

    def test_filter_survives_and_the_page_tells_what_was_done(self):
        self.makeRun()
        self.makeFailed()
        answer = self.act(all='stop', type='plain')
        self.assertIn('type=plain', answer.headers['Location'])
        page = self.get(urlsplit(answer.headers['Location'])._replace(
            scheme='', netloc='').geturl()).text
        self.assertIn(
            '>1 run was stopped or asked to stop.  1 run was skipped: it '
            'could not be changed.<', page)

    def test_outcomes_are_sentences_with_their_number(self):
        for verb, said in (('stop', 'stopped or asked to stop'),
                           ('retry', 'retried'), ('remove', 'removed')):
            for numbers, text in (
                    ((1, 0), '>1 run was %s.<'), ((0, 0), '>0 runs were %s.<'),
                    ((1200, 2), '>1200 runs were %s.  2 runs were skipped: '
                                'they could not be changed.<')):
                with self.subTest(verb, numbers=numbers):
                    self.assertIn(text % said, self.get(
                        'runs.html?did=%s&done=%d&skipped=%d' % (
                            verb, *numbers)).text)

    def test_selected_are_removed(self):
        one, two = self.makeFailed().id, self.makeFailed().id
        self.assertEqual(self.outcome(self.act(
            selected='remove', run=one)), ('remove', 1, 0))
        self.assertIsNone(self.state(one))
        self.assertEqual(self.state(two), 'failed')

    def test_who_may_only_stop_stops_many(self):
        run_id = self.makeRun().id
        answer = self.act('stopper', all='stop', csrf_token=self.get(
            'token.json', 'stopper').json['csrf_token'])
        self.assertEqual(self.outcome(answer), ('stop', 1, 0))
        self.assertEqual(self.state(run_id), 'stopped')

    def test_failed_are_retried(self):
        failed = [self.makeFailed().id for _n in range(2)]
        self.assertEqual(self.outcome(self.act(
            all='retry', state='failed')), ('retry', 2, 0))
        self.sync()
        for run_id in failed:
            self.assertIsNotNone(self.registry.getStatus(run_id).retried_as)

    def test_delayed_are_begun_now(self):
        delayed = [self.makeDelayed().id for _n in range(2)]
        due = self.makeRun().id
        page = self.get('bulk.html?all=begin&state=pending').text
        for text in ('Run these runs now?', '>2 runs can run now.<',
                     '>1 run will be skipped: it cannot be changed.<'):
            self.assertIn(text, page)
        answer = self.act(selected='begin', run=[delayed[0], due])
        self.assertEqual(self.outcome(answer), ('begin', 1, 1))
        self.assertEqual(self.outcome(self.act(
            all='begin', state='pending')), ('begin', 1, 2))
        self.sync()
        for run_id in delayed:
            self.assertLessEqual(
                self.registry.get(run_id).due_at, time.time())
        self.assertIn('>2 runs are due now.<', self.get(
            'runs.html?did=begin&done=2&skipped=0').text)

    def test_page_asks_first_and_says_how_many(self):
        self.makeRun()
        self.makeFailed()
        self.makeFailed()
        for verb, *texts in (
                ('stop', 'Stop these runs?', '>1 run can be stopped.<',
                 '>2 runs will be skipped: they cannot be changed.<'),
                ('retry', 'Retry these runs?', '>2 runs can be retried.<',
                 '>1 run will be skipped: it cannot be changed.<'),
                ('remove', 'Remove these runs?', '>2 runs can be removed.<',
                 '>1 run will be skipped: it cannot be changed.<')):
            page = self.get('bulk.html?all=' + verb).text
            for text in texts:
                with self.subTest(text):
                    self.assertIn(text, page)
        self.assertNotIn(
            'skipped', self.get('bulk.html?all=stop&state=pending').text)
        self.assertEqual(len(self.ids('state=pending')), 1)

    def test_page_leads_there_from_the_list(self):
        run_id = self.makeRun().id
        browser = self.browser()
        browser.open(BASE + '/runs.html?state=pending')
        browser.getControl(name='run').value = [run_id]
        browser.getControl(name='selected', index=0).click()
        browser.getControl('Reason').value = 'Enough'
        browser.getControl('Stop them').click()
        self.assertIn('state=pending', browser.url)
        self.assertIn('1 run was stopped or asked to stop.', browser.contents)
        self.assertEqual(self.state(run_id), 'stopped')

    def test_limit_is_told(self):
        for _n in range(3):
            self.makeRun()
        with mock.patch.object(bulk, 'BULK_LIMIT', 2):
            self.assertIn('At most', self.get('bulk.html?all=stop').text)
            answer = self.act(all='stop', type='plain')
            self.assertEqual(self.outcome(answer), ('stop', 2, 0))
            self.assertEqual(len(self.ids('state=pending')), 1)
            browser = self.browser()
            browser.open(HOST + answer.headers['Location'])
            browser.getLink('Continue with the rest').click()
            self.assertIn('type=plain', browser.url)
            self.assertNotIn('At most', browser.contents)
            browser.getControl('Stop them').click()
            self.assertNotIn('Continue with the rest', browser.contents)
        self.assertEqual(len(self.ids('state=pending')), 0)

    def test_only_what_can_change_counts_for_the_limit(self):
        # The newest ones have their retries, or were stopped.
        failed = [self.makeFailed().id for _n in range(5)]
        for query in {}, {'state': 'failed'}, {'q': 'wrong'}, {
                'since': '2020-01-01'}, {'state': 'unresolved'}:
            with self.subTest(query):
                retried = []
                with mock.patch.object(bulk, 'BULK_LIMIT', 2):
                    for done in 2, 2, 1, 0:
                        answer = self.act(all='retry', **query)
                        self.assertEqual(self.outcome(answer)[1], done)
                        self.assertEqual(
                            'more=1' in answer.location,
                            bool(len(failed) - len(retried) - done))
                        retried += [None] * done
                self.sync()
                for run_id in failed:
                    again = self.registry.getStatus(run_id).retried_as
                    self.registry.requestStop(again)
                    self.registry.remove(again)
                transaction.commit()

    def test_search_for_what_can_change_goes_on_where_it_stopped(self):
        run_id = self.makeRun(context=self.root['report']).id
        for _n in range(3):
            self.makeFailed()
        query = 'bulk.html?all=stop&q=state:pending+state:failed+plain'
        with mock.patch.object(bulk, 'TIME_LIMIT', 0.0), \
                mock.patch.object(bulk, 'BULK_LIMIT', 2):
            browser = self.browser()
            browser.open('%s/%s' % (BASE, query))
            self.assertIn('0 runs can be stopped', browser.contents)
            browser.getLink('Continue the search').click()
            self.assertIn('1 run can be stopped', browser.contents)
            self.assertNotIn('Continue the search', browser.contents)
            browser.getControl('Stop them').click()
            self.assertIn('1 run was stopped', browser.contents)
        self.assertEqual(self.state(run_id), 'stopped')

    def test_what_vanished_is_left_out(self):
        run_id = self.makeFailed().id
        self.registry.remove(run_id)
        transaction.commit()
        self.assertEqual(self.outcome(self.act(
            selected='remove', run=run_id)), ('remove', 0, 0))

    def test_nonsense_is_refused(self):
        for form in ({}, {'all': 'explode'}, {'selected': ''},
                     {'all': 'stop', 'state': 'nonsense'}):
            with self.subTest(form):
                self.assertEqual(self.act(**form).status_int, 400)

    def test_outcome_in_the_address_is_only_numbers(self):
        for query in ('did=stop&done=<b>&skipped=0', 'did=x&done=1&skipped=0',
                      'did=stop&done=1', 'did=stop&done=999999&skipped=0'):
            self.assertNotIn('"cb-note" role="status"', self.get(
                'runs.html?' + query).text)

    def test_each_verb_asks_its_permission(self):
        run_id = self.makeFailed().id
        for verb in ('begin', 'stop', 'retry', 'remove'):
            for user in ('editor', 'viewer'):
                with self.subTest(verb, user=user):
                    self.assertEqual(self.get(
                        'bulk.html?all=' + verb, user).status_int, 403)
                    self.assertEqual(self.act(
                        user, all=verb,
                        csrf_token=self.get('token.json', user).json[
                            'csrf_token']).status_int, 403)
        self.assertEqual(self.state(run_id), 'failed')

    def test_without_a_token_nothing_happens(self):
        run_id = self.makeRun().id
        self.assertEqual(
            self.act(all='stop', csrf_token='').status_int, 403)
        self.assertEqual(self.state(run_id), 'pending')
