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
"""The pages fit a host: its frame, its address, its errors, its menus."""
from unittest import mock

from zope.browsermenu.menu import getMenu
from zope.component import getGlobalSiteManager
from zope.interface import Interface
from zope.pagetemplate.pagetemplate import PageTemplate
from zope.publisher.browser import TestRequest
from zope.publisher.interfaces.browser import IDefaultBrowserLayer
from zope.security.testing import interaction
from zope.traversing.browser import absoluteURL

from cipher.background.browser.frame import BackgroundMacros
from cipher.background.browser.interfaces import IBackgroundLayer
from cipher.background.registry.registry import WorkerRegistry
from cipher.background.tests.support.browser import BASE
from cipher.background.tests.support.browser import BrowserTests


class HostFrame(BackgroundMacros):
    """The frame of a host."""

    index = PageTemplate()
    index.write('''
        <html metal:define-macro="page"><body class="host">
        <h5 tal:content="view/title"></h5>

        <metal:body define-slot="body" /></body></html>''')


class TestFrame(BrowserTests):

    def test_host_overrides_one_view(self):
        manager = getGlobalSiteManager()
        registration = (HostFrame, (Interface, IBackgroundLayer), Interface,
                        'background_macros')
        manager.registerAdapter(*registration)
        self.addCleanup(
            manager.unregisterAdapter, *registration)
        run_id = self.makeRun().id
        for path in ('index.html', 'runs.html', 'types.html', run_id,
                     run_id + '/stop.html', 'start.html?type=plain',
                     'nothing', '/other/@@background.html'):
            with self.subTest(path):
                text = self.get(path).text
                self.assertIn('<body class="host">', text)
                self.assertIn('<h1', text)
                self.assertNotIn('cb-bar', text)

    def test_frame_is_registered_for_every_skin(self):
        names = {
            registration.required[1]
            for registration in getGlobalSiteManager().registeredAdapters()
            if registration.name == 'background_macros'}
        self.assertEqual(names, {IDefaultBrowserLayer})

    def test_tab_of_the_page_is_marked(self):
        for path, title in (('index.html', 'Overview'),
                            ('runs.html', 'Runs'),
                            ('types.html', 'Worker types'),
                            ('schedules.html', 'Schedules')):
            self.assertRegex(
                self.get(path).text,
                '<a aria-current="page"[^>]*>%s</a>' % title)

    def test_menu_has_our_tabs(self):
        with interaction('test.admin'):
            self.assertEqual(
                [item['action'] for item in getMenu(
                    'zmi_views', self.registry, TestRequest())],
                ['@@index.html', '@@runs.html', '@@errors.html',
                 '@@types.html',
                 '@@schedules.html', '@@processes.html', '@@journal.html'])
            self.assertIn('@@background.html', [
                item['action'] for item in getMenu(
                    'zmi_views', self.root, TestRequest())])


class TestAddresses(BrowserTests):

    def test_run_is_below_its_registry(self):
        request = TestRequest(SERVER_URL='http://localhost')
        run = self.makeRun()
        self.assertEqual(absoluteURL(self.registry, request),
                         request.getApplicationURL() + '/++background++')
        self.assertEqual(absoluteURL(run, request),
                         absoluteURL(self.registry, request) + '/' + run.id)

    def test_virtual_host_is_kept(self):
        page = self.get('/++vh++https:example.org:443/app/++/'
                        '++background++/index.html').text
        self.assertIn('"/app/++background++/runs.html"', page)
        self.assertNotIn('example.org', page)
        self.assertNotIn('http://localhost', page)

    def test_answers_do_not_need_a_base_element(self):
        # Our own policy forbids it.
        for path in ('/++background++', '/++background++/'):
            self.assertNotIn('<base', self.get(path).text)


class TestErrors(BrowserTests):

    def fail(self, path):
        """Return the answer and the log of a view that is broken."""
        with mock.patch.object(WorkerRegistry, 'getCounts',
                               side_effect=ValueError('Sesame')):
            with self.assertLogs() as logs:
                return self.get(path), logs.records

    def test_error_is_not_told_and_logged_once(self):
        answer, records = self.fail('index.html')
        self.assertEqual(answer.status_int, 500)
        self.assertIn('Something went wrong', answer.text)
        self.assertNotIn('Sesame', answer.text)
        self.assertNotIn('Traceback', answer.text)
        self.assertEqual(len(records), 1)

    def test_error_of_json_is_json(self):
        answer, _records = self.fail('index.json')
        self.assertEqual(answer.status_int, 500)
        self.assertEqual(answer.json, {
            'status': 500, 'error': 'Something went wrong'})

    def test_HEAD_of_an_error_has_no_body(self):
        # What follows on a connection would be read as the next answer.
        for user, path in (('admin', 'nothing'), ('admin', '1-999'),
                           ('admin', 'nothing.json'), (None, 'index.html')):
            answer = self.app(user).request(
                BASE + '/' + path, method='HEAD', expect_errors=True)
            self.assertGreaterEqual(answer.status_int, 400)
            self.assertEqual(answer.body, b'', path)

    def test_errors_elsewhere_are_the_hosts(self):
        self.assertNotIn('cb-frame', self.get('/nothing').text)
