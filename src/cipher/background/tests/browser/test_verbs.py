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
"""The pages at work: pause, quiet, drain, retry, remove, journal, input."""
import re
import time
from html import unescape
from unittest import mock

import transaction
from zope.component import getGlobalSiteManager
from zope.configuration import xmlconfig
from zope.principalregistry.principalregistry import principalRegistry
from zope.publisher.browser import TestRequest
from zope.securitypolicy.interfaces import IPrincipalPermissionManager

from cipher.background.browser.interfaces import IBackgroundLayer
from cipher.background.browser.interfaces import IInputView
from cipher.background.browser.presentation import Presenter
from cipher.background.browser.runpage import InputView
from cipher.background.interfaces import IWorkerRun
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.registry import WorkerRegistry
from cipher.background.registry.unattended import recordFailure
from cipher.background.store import journal
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.browser import BASE
from cipher.background.tests.support.browser import BrowserTests


class VerbTests(BrowserTests):

    def open(self, path, user='admin'):
        browser = self.browser(user)
        browser.open(BASE + '/' + path)
        return browser

    def act(self, browser, verb, reason=None, name=None):
        """Send the form of *verb*, and of the row *name* if given."""
        for index in range(100):
            form = browser.getForm(index=index)
            try:
                button = form.getControl(name=verb)
            except LookupError:
                continue
            if name is None or form.getControl(name='name').value == name:
                if reason is not None:
                    form.getControl(name='reason').value = reason
                button.click()
                return
        self.fail('no form for %s of %s' % (verb, name))

    def last(self):
        """Return (verb, subject, reason) of the last action."""
        self.sync()
        action = self.registry.listActions()[0][0]
        return action.verb, action.subject, action.reason


class TestTypes(VerbTests):

    def status(self):
        self.sync()
        status, = [status for status in self.registry.listTypes()
                   if status.name == 'plain']
        return status

    def test_pause_with_a_reason_and_resume(self):
        run = self.makeRun()
        browser = self.open('types.html')
        self.act(browser, 'pause', 'Too busy', 'plain')
        self.assertEqual(browser.url, BASE + '/types.html')
        self.assertRegex(browser.contents,
                         r'paused by Administrator \(test.admin\), [^<]*: '
                         'Too busy')
        self.assertTrue(self.status().is_paused)
        self.assertEqual(self.last(), ('pause type', 'plain', 'Too busy'))
        self.assertIn('Waits: its worker type is paused.',
                      self.get(run.id).text)
        data, = [item for item in self.get('types.json').json['items']
                 if item['name'] == 'plain']
        self.assertEqual((data['is_paused'], data['paused_by'],
                          data['pause_reason']),
                         (True, 'test.admin', 'Too busy'))
        self.act(browser, 'resume', name='plain')
        self.assertFalse(self.status().is_paused)
        self.assertEqual(self.last(), ('resume type', 'plain', None))
        self.assertNotIn('paused by', browser.contents)

    def test_long_reason_is_cut(self):
        self.act(self.open('types.html'), 'pause', 'x' * 500, 'plain')
        self.assertEqual(len(self.status().pause_reason), 200)

    def test_numbers_of_a_type(self):
        self.makeFailed()
        page = self.get('types.html').text
        self.assertIn('100 %', page)
        self.assertIn('Background: start workers', page)


class TestProcesses(VerbTests):

    def setUp(self):
        super().setUp()
        self.process = self.addProcess().id
        transaction.commit()

    def status(self):
        self.sync()
        status, = self.registry.listProcesses()
        return status

    def test_quiet_and_unquiet(self):
        browser = self.open('processes.html')
        self.assertIn('host:1', browser.contents)
        self.act(browser, 'quiet', 'New release', self.process)
        self.assertEqual(browser.url, BASE + '/processes.html')
        self.assertIn(
            'takes no new runs; requested by Administrator (test.admin)',
            browser.contents)
        self.assertTrue(self.status().is_quiet)
        self.assertEqual(
            self.last(), ('quiet process', self.process, 'New release'))
        self.act(browser, 'unquiet', name=self.process)
        self.assertFalse(self.status().is_quiet)
        self.assertEqual(self.last()[0], 'unquiet process')

    def test_drain_is_for_good(self):
        browser = self.open('processes.html')
        self.act(browser, 'drain', 'Broken disk', self.process)
        self.assertIn(
            'finishes and stops; requested by Administrator (test.admin)',
            browser.contents)
        self.assertTrue(self.status().is_draining)
        self.assertEqual(
            self.last(), ('drain process', self.process, 'Broken disk'))
        self.assertNotIn('name="drain"', browser.contents)
        self.assertNotIn('name="quiet"', browser.contents)

    def test_JSON(self):
        item, = self.get('processes.json').json['items']
        self.assertEqual((item['id'], item['pid'], item['is_quiet']),
                         (self.process, 1, False))


class TestManagerOfOneSite(VerbTests):
    """The viewer is granted everything, but on /other alone."""

    def setUp(self):
        super().setUp()
        self.site = self.root['other']
        self.below = addRegistry(self.site)
        grants = IPrincipalPermissionManager(self.site)
        for name in 'View', 'Start', 'Stop', 'Manage':
            grants.grantPermissionToPrincipal(
                'cipher.background.%sWorkers' % name, 'test.viewer')
        self.process = self.addProcess()
        for registry in self.registry, self.below:
            run = registry.start('plain')
            transaction.commit()
            self.process.live.runs[registry._p_oid, run.id] = (
                time.time(), None, '', None)
            self.process.live._p_changed = True
        transaction.commit()
        self.url = '/other/++background++/'

    def test_they_drain_no_process_of_all_sites(self):
        page = self.get(self.url + 'processes.html', 'viewer').text
        self.assertIn('host:1', page)
        self.assertNotIn('name="drain"', page)
        self.assertNotIn('name="quiet"', page)
        token = self.get(
            self.url + 'token.json', 'viewer').json['csrf_token']
        for verb in 'quiet', 'unquiet', 'drain':
            answer = self.post(
                self.url + 'processes.html', 'viewer', csrf_token=token,
                name=self.process.id, **{verb: '1'})
            self.assertEqual(answer.status_int, 403)
        self.sync()
        self.assertFalse(self.process.request.is_draining)
        # What is theirs they may pause.
        answer = self.post(self.url + 'types.html', 'viewer',
                           csrf_token=token, name='plain', pause='1')
        self.assertEqual(answer.status_int, 303)

    def test_runs_of_other_sites_are_not_counted(self):
        process, = self.get(
            self.url + 'processes.json', 'viewer').json['items']
        # So far the viewer may see the runs of the root as well.
        self.assertEqual((process['busy'], process['is_all_seen']),
                         (2, True))
        grants = IPrincipalPermissionManager(self.root)
        grants.denyPermissionToPrincipal(
            'cipher.background.ViewWorkers', 'test.viewer')
        transaction.commit()
        self.addCleanup(self.undo, grants)
        process, = self.get(
            self.url + 'processes.json', 'viewer').json['items']
        self.assertEqual(process['busy'], 1)
        self.assertFalse(process['is_all_seen'])
        page = self.get(self.url + 'processes.html', 'viewer').text
        self.assertIn('4 in total, 1 busy with runs that you may see', page)
        self.assertNotIn('free', page)

    def undo(self, grants):
        transaction.begin()
        grants.unsetPermissionForPrincipal(
            'cipher.background.ViewWorkers', 'test.viewer')
        transaction.commit()

    def test_drain_by_an_administrator_is_in_their_journal(self):
        token = self.token('processes.html')
        self.post('processes.html', csrf_token=token, drain='1',
                  name=self.process.id, reason='An update')
        row, = self.get(
            self.url + 'journal.json', 'viewer').json['items']
        self.assertEqual((row['verb'], row['principal'], row['reason']),
                         ('drain process', 'test.admin', 'An update'))


class TestJournal(VerbTests):

    def test_pages(self):
        for n in range(120):
            run = self.registry.start('plain')
            self.registry.requestStop(run.id, 'because %d.' % n)
        transaction.commit()
        browser = self.open('journal.html')
        seen = []
        while True:
            found = re.findall(r'because (\d+)\.', browser.contents)
            self.assertLessEqual(len(found), 50)
            seen += map(int, found)
            if 'Older' not in browser.contents:
                break
            browser.getLink('Older').click()
        self.assertEqual(seen, list(range(119, -1, -1)))
        browser.getLink('Newest').click()
        self.assertEqual(browser.url, BASE + '/journal.html')

    def test_action_leads_to_its_run(self):
        run_id = self.makeRun().id
        self.registry.requestStop(run_id, 'Enough')
        transaction.commit()
        browser = self.open('journal.html')
        self.assertIn('stop requested', browser.contents)
        self.assertIn('the system', browser.contents)
        browser.getLink(run_id).click()
        self.assertEqual(browser.url, '%s/%s/index.html' % (BASE, run_id))

    def test_act_on_many_is_one_row_with_number_filter_and_ids(self):
        ids = [self.makeFailed().id for _ in range(3)]
        token = self.token('bulk.html?all=remove')
        self.post('bulk.html', csrf_token=token, all='remove',
                  state='failed', reason='Space')
        page = self.get('journal.html').text
        self.assertEqual(page.count('<time'), 1)
        for text in ('3 runs', 'all that match state=failed', 'Space',
                     'Administrator (test.admin)', *ids):
            self.assertIn(text, page)
        row, = self.get('journal.json').json['items']
        self.assertEqual(
            (row['verb'], row['subject'], row['number'], row['filter'],
             row['reason'], row['principal'], sorted(row['run_ids'])),
            ('remove', None, 3, 'state=failed', 'Space', 'test.admin',
             sorted(ids)))

    def test_selected_runs_and_all_of_them(self):
        ids = [self.makeRun().id for _ in range(4)]
        token = self.token('bulk.html?all=stop')
        self.app('admin').post(BASE + '/bulk.html', [
            ('csrf_token', token), ('selected', 'stop'),
            ('run', ids[0]), ('run', ids[1])])
        self.post('bulk.html', csrf_token=token, all='stop')
        newest, older = self.get('journal.json').json['items']
        self.assertEqual((newest['filter'], newest['number']), ('*', 2))
        self.assertEqual((older['filter'], older['run_ids']),
                         (None, ids[:2]))
        self.assertIn('selected one by one', self.get('journal.html').text)

    def test_repeated_act_is_counted(self):
        for _ in range(3):
            self.registry.pauseType('plain', True, 'Again')
            self.registry.pauseType('plain', False)
        transaction.commit()
        page = self.get('journal.html').text
        self.assertEqual(page.count('<time'), 2)
        self.assertEqual(page.count('3 times, last at'), 2)
        self.assertEqual([row['times'] for row in self.get(
            'journal.json').json['items']], [3, 3])

    def test_json_is_the_page(self):
        for n in range(60):
            self.registry.requestStop(
                self.registry.start('plain').id, 'because %d.' % n)
        transaction.commit()
        first = self.get('journal.json').json
        second = self.get('journal.json?before=' + first['older']).json
        self.assertEqual(
            [row['reason'] for row in first['items'] + second['items']],
            ['because %d.' % n for n in range(59, -1, -1)])
        self.assertIsNone(second['older'])
        self.assertEqual(self.get('journal.json?before=x').status_int, 400)

    def test_people_are_named_by_title_and_id(self):
        # Whoever is called Administrator is not taken for the one who is.
        editor = principalRegistry.getPrincipal('test.editor')
        patch = mock.patch.object(
            editor, 'title', 'Administrator (test.admin)')
        patch.start()
        self.addCleanup(patch.stop)
        names = 'Administrator (test.admin) (test.editor)'
        token = self.token('start.html?type=plain', 'editor')
        run_id = self.post(
            'start.html?type=plain', 'editor', csrf_token=token,
            type='plain', form__buttons__start='1').location.split('/')[-2]
        for path in (run_id + '/index.html', 'runs.html'):
            self.assertIn(names, self.get(path).text)
        self.sync()
        for name in 'stops', 'pauses':
            getattr(self.registry, name)[
                run_id if name == 'stops' else 'plain'] = (
                    'test.editor', 1000.0, None)
        process = self.addProcess()
        process.request.is_quiet, process.request.asked = True, (
            'test.editor', 1000.0, None)
        journal.record(self.registry, 'pause type', 'plain', (
            'test.editor', 1000.0, None))
        transaction.commit()
        for path in ('types.html', 'processes.html', 'journal.html',
                     'index.html', run_id + '/index.html'):
            self.assertIn(names, self.get(path).text, path)
        presenter = Presenter(BASE, TestRequest())
        self.assertEqual(presenter.getPrincipal('test.admin'),
                         'Administrator (test.admin)')
        self.assertEqual(presenter.getPrincipal('gone'), 'gone')
        self.assertEqual(presenter.getPrincipal(None), '')

    def test_empty(self):
        self.assertIn('The journal is empty.',
                      self.get('journal.html').text)


class TestRun(VerbTests):

    def test_retry_leads_to_the_new_run(self):
        failed = self.makeFailed().id
        browser = self.open(failed)
        browser.getLink('Retry').click()
        self.assertIn('Retry run %s?' % failed, browser.contents)
        browser.getControl('Reason').value = 'Line is up'
        browser.getControl('Retry the run').click()
        self.sync()
        run_id = self.registry.getStatus(failed).retried_as
        self.assertEqual(browser.url, '%s/%s/index.html' % (BASE, run_id))
        self.assertIn('Retried by Administrator (test.admin): Line is up',
                      browser.contents)
        browser.open('%s/%s' % (BASE, failed))
        self.assertIn('Retried as', browser.contents)
        browser.getLink(run_id).click()
        self.assertEqual(self.last(), ('retry', failed, 'Line is up'))

    def test_remove_leads_to_the_list(self):
        failed = self.makeFailed().id
        browser = self.open(failed)
        browser.getLink('Remove').click()
        browser.getControl('Reason').value = 'Personal data'
        browser.getControl('Remove the run').click()
        self.assertEqual(browser.url, BASE + '/runs.html')
        self.assertNotIn('/%s/' % failed, browser.contents)
        self.assertEqual(self.last(), ('remove', failed, 'Personal data'))
        self.assertEqual(self.get(failed).status_int, 404)

    def test_delayed_run_is_begun_now(self):
        run = self.makeDelayed()
        browser = self.open(run.id)
        browser.getLink('Run now').click()
        browser.getControl('Reason').value = 'It is quiet now'
        browser.getControl('Run it now').click()
        self.assertEqual(browser.url, '%s/%s/index.html' % (BASE, run.id))
        self.assertEqual(self.last(), ('begin', run.id, 'It is quiet now'))
        self.assertLessEqual(run.due_at, time.time())
        page = self.get('journal.html').text
        self.assertIn('>run now<', page)
        self.assertIn('/%s/index.html"' % run.id, page)

    def test_page_says_why_a_run_cannot_be_begun_now(self):
        paused = self.makeDelayed()
        for run, said in (
                (self.makeRun('publish', title='A'),
                 'begins as soon as a thread is free'),
                (self.makeFailed(), 'it does not wait'),
                (self.makeRunning(), 'it does not wait'),
                (paused, '"plain" is paused')):
            with self.subTest(said):
                if run is paused:
                    self.registry.pauseType('plain')
                    transaction.commit()
                path = run.id + '/begin.html'
                page = self.get(path)
                self.assertIn(said, page.text)
                self.assertNotIn('name="begin"', page.text)
                self.assertRegex(self.get(run.id).text, (
                    r'(?s)data-show="can_begin"[^>]*hidden="hidden"'))
                answer = self.post(path, csrf_token=self.get(
                    'token.json').json['csrf_token'], begin='1')
                self.assertEqual(answer.status_int, 409)
                self.assertIn(said, answer.text)
        self.assertGreater(paused.due_at, time.time())

    def test_what_came_too_late_is_told(self):
        run = self.makeRun()
        for verb, said in (('retry', 'cannot be retried'),
                           ('remove', 'Only a finished run')):
            path = '%s/%s.html' % (run.id, verb)
            page = self.get(path)
            self.assertIn(said, page.text)
            self.assertNotIn('name="%s"' % verb, page.text)
            answer = self.post(path, csrf_token=self.get(
                'token.json').json['csrf_token'], **{verb: '1'})
            self.assertEqual(answer.status_int, 409)
            self.assertIn(said, answer.text)
        self.sync()
        self.assertEqual(self.registry.listActions()[0], [])
        self.assertEqual(self.registry.get(run.id).state, 'pending')

    def test_page_says_why_a_run_cannot_be_retried(self):
        retried = self.makeFailed().id
        again = self.registry.retry(retried).id
        recordFailure(self.registry, 'a trigger', 'plain', ValueError('no'))
        start = self.registry.listRuns(text='ValueError').items[0].id
        unfit = self.makeFailed(
            type='publish', input={'title': ['hush']}).id
        for run_id, said in (
                (again, 'it is not finished'),
                (retried, 'it was retried as %s.' % again),
                (self.makeFailed(type='gone').id,
                 'the worker type "gone" is not declared'),
                (start, 'its start failed'),
                (unfit, 'its input no longer fits')):
            with self.subTest(said):
                path = run_id + '/retry.html'
                page = self.get(path).text
                self.assertIn(said, unescape(page))
                self.assertNotIn('name="retry"', page)
                self.assertNotIn('hush', page)
                if run_id == retried:
                    continue   # the retry is what was asked for
                answer = self.post(path, csrf_token=self.get(
                    'token.json').json['csrf_token'], retry='1')
                self.assertEqual(answer.status_int, 409)
                self.assertIn(said, unescape(answer.text))

    def test_page_says_that_the_type_may_not_be_started(self):
        failed = self.makeFailed(type='publish', input={'title': 'A'}).id
        self.assertIn('name="retry"', self.get(failed + '/retry.html').text)
        with mock.patch.object(WorkerRegistry, 'mayRetry', lambda *args: 0):
            page = self.get(failed + '/retry.html').text
        self.assertIn('you may not start its worker type', page)
        self.assertNotIn('name="retry"', page)

    def test_verbs_are_shown_as_they_are_possible(self):
        for run, shown in ((self.makeRun(), 'stop'),
                           (self.makeDelayed(), 'begin stop'),
                           (self.makeFailed(), 'retry remove')):
            page = self.get(run.id).text
            for verb in 'begin', 'stop', 'retry', 'remove':
                tag = re.search(r'<a class="cb-button" '
                                r'data-show="can_%s"[^>]*>' % verb, page)[0]
                self.assertEqual('hidden' not in tag, verb in shown, verb)

    def test_log_is_downloaded(self):
        run_id = self.makeFailed(log='line one\nline two').id
        answer = self.get(run_id + '/log.txt')
        self.assertEqual(answer.text, 'line one\nline two')
        self.assertEqual(answer.headers['Content-Disposition'],
                         'attachment; filename="run-%s.log.txt"' % run_id)
        browser = self.open(run_id)
        browser.getLink('Download').click()
        self.assertEqual(browser.contents, 'line one\nline two')

    def test_stack_of_a_running_run(self):
        run = self.makeRunning()
        record, = getDirectory(self.registry._p_jar).processes.values()
        record.live.runs[self.registry._p_oid, run.id] = (
            run.started_at, None, 'line one', 'File "work.py", line 7')
        record.live._p_changed = True
        transaction.commit()
        self.assertIn('File "work.py", line 7', self.get(run.id).text)
        details = self.get(run.id + '/index.json').json['details']
        self.assertEqual((details['stack'], details['log']), (
            'File "work.py", line 7', 'line one'))
        finished = self.makeFailed().id
        self.assertIsNone(self.get(
            finished + '/index.json').json['details']['stack'])


VIEW = '''
    <configure xmlns="http://namespaces.zope.org/zope">
      <view
          name="%s"
          for="cipher.background.interfaces.IWorkerRun"
          type="cipher.background.browser.interfaces.IBackgroundLayer"
          factory="cipher.background.tests.browser.test_verbs.PublishInput"
          provides="cipher.background.browser.interfaces.IInputView"
          allowed_interface=
              "zope.publisher.interfaces.browser.IBrowserPublisher"
          permission="cipher.background.ViewDetails"
          />
    </configure>'''


class PublishInput(InputView):
    """What a host shows of the input of one type."""

    def render(self):
        return '<p>%s of %s: %s</p>' % (
            self.run['id'], self.run['type'],
            ', '.join('%(id)s=%(value)s' % item for item in self.items))


class TestInputView(VerbTests):

    def register(self, name):
        xmlconfig.string(VIEW % name, self.layer.context)
        self.addCleanup(
            getGlobalSiteManager().unregisterAdapter, None,
            (IWorkerRun, IBackgroundLayer), IInputView, name)

    def test_view_named_like_the_type_is_taken_for_its_runs(self):
        self.register('publish')
        run = self.makeRun('publish', title='Sesame', secret='hush-hush')
        page = self.get(run.id).text
        self.assertIn('<p>%s of publish: title=Sesame, ' % run.id, page)
        self.assertIn('secret=•••', page)
        self.assertNotIn('hush-hush', page)
        self.assertNotIn('Sesame', self.get(run.id, 'viewer').text)
        # It is no page of its own.
        for name in 'publish', '@@publish', '@@':
            self.assertEqual(
                self.get('%s/%s' % (run.id, name)).status_int, 404)

    def test_others_are_shown_as_ever(self):
        self.register('plain')
        run = self.makeRun('publish', title='Sesame')
        page = self.get(run.id).text
        self.assertNotIn('<p>%s of' % run.id, page)
        self.assertRegex(page, r'<dt>Title</dt>\s*<dd class="cb-pre">Sesame')
