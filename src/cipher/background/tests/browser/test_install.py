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
"""The page on a site that leads to its registry, or offers to add one."""
import transaction

from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import ownRegistry
from cipher.background.tests.support.browser import HOST
from cipher.background.tests.support.browser import PATH
from cipher.background.tests.support.browser import BrowserTests


class TestSite(BrowserTests):

    def test_site_with_a_registry_leads_to_it(self):
        answer = self.get('/@@background.html')
        self.assertEqual(answer.status_int, 303)
        self.assertEqual(answer.location, PATH + '/index.html')

    def test_site_below_names_the_registry_it_uses(self):
        page = self.get('/other/@@background.html')
        self.assertIn('Add a registry', page.text)
        self.assertIn('href="%s/index.html"' % PATH, page.text)

    def test_manager_adds_a_registry(self):
        browser = self.browser()
        browser.open(HOST + '/other/@@background.html')
        browser.getControl('Add a registry').click()
        self.assertEqual(
            browser.url, HOST + '/other/++background++/index.html')
        self.sync()
        self.assertIn('background', self.root['other'].getSiteManager())

    def test_viewer_is_offered_nothing(self):
        page = self.get('/other/@@background.html', 'viewer')
        self.assertEqual(page.status_int, 200)
        self.assertNotIn('csrf_token', page.text)


class TestAddRegistry(BrowserTests):

    path = '/other/@@addBackground'

    def exists(self):
        """Return whether the other site has a registry."""
        self.sync()
        return 'background' in self.root['other'].getSiteManager()

    def test_get_is_refused(self):
        for method in ('get', 'head'):
            answer = getattr(self.app('admin'), method)(
                self.path, expect_errors=True)
            self.assertEqual(answer.status_int, 405)
            self.assertEqual(answer.headers['Allow'], 'POST')
        self.assertFalse(self.exists())

    def test_token_must_be_that_of_the_cookie(self):
        page = self.get('/other/@@background.html')
        cookie = page.headers['Set-Cookie']
        for part in ('HttpOnly', 'SameSite=Strict'):
            self.assertIn(part.lower(), cookie.lower())
        pair = cookie.partition(';')[0]
        token = pair.partition('=')[2].strip('"')
        self.assertIn(token, page.text)
        for headers, form in (
                ({}, {'csrf_token': token}), ({'Cookie': pair}, {}),
                ({'Cookie': pair}, {'csrf_token': 'x' * 64}),
                ({'Cookie': pair, 'Origin': 'http://evil.example'},
                 {'csrf_token': token})):
            answer = self.post(self.path, headers=headers, **form)
            self.assertEqual(answer.status_int, 403)
        self.assertFalse(self.exists())
        answer = self.post(self.path, headers={'Cookie': pair},
                           csrf_token=token)
        self.assertEqual(answer.status_int, 303)
        self.assertEqual(
            answer.location, '/other/++background++/index.html')
        self.assertTrue(self.exists())


class TestRemoveRegistry(BrowserTests):

    path = '/@@removeBackground.html'

    def exists(self):
        """Return whether the root has a registry."""
        self.sync()
        return ownRegistry(self.root) is not None

    def remove(self, **form):
        return self.post(self.path, csrf_token=self.token(self.path), **form)

    def test_overview_leads_there(self):
        browser = self.browser()
        browser.open(HOST + PATH + '/index.html')
        browser.getLink('Remove the registry').click()
        self.assertIn('Running: 0.  Waiting: 0.',
                      browser.contents)
        self.assertNotIn('name="unfinished"', browser.contents)
        browser.getControl(name='reason').value = 'moved'
        browser.getControl('Remove the registry').click()
        self.assertEqual(browser.url, HOST + '/@@background.html')
        self.assertIn('has no', browser.contents)
        self.assertFalse(self.exists())
        # And back again.
        browser.getControl('Add a registry').click()
        self.assertTrue(self.exists())

    def test_its_addresses_are_paths(self):
        page = self.get('/other/@@background.html').text
        self.assertNotIn(HOST, page)
        page = self.get(self.path).text
        self.assertNotIn(HOST, page)
        self.assertIn('action="/@@removeBackground.html"', page)
        addRegistry(self.root['other'])
        transaction.commit()
        self.assertIn('action="/other/@@removeBackground.html"',
                      self.get('/other' + self.path).text)

    def test_get_removes_nothing(self):
        for method in 'get', 'head':
            answer = getattr(self.app('admin'), method)(
                self.path + '?unfinished=discard')
            self.assertEqual(answer.status_int, 200)
        self.assertTrue(self.exists())

    def test_token_is_needed(self):
        for form in {}, {'csrf_token': 'x'}, {
                'csrf_token': self.token(self.path, 'admin')[:-1]}:
            self.assertEqual(self.post(self.path, **form).status_int, 403)
        self.assertTrue(self.exists())

    def test_only_managers_may(self):
        for user in 'viewer', 'operator', None:
            page = self.get(self.path, user)
            self.assertIn(page.status_int, (401, 403))
            answer = self.post(self.path, user,
                               csrf_token=self.token(self.path))
            self.assertIn(answer.status_int, (401, 403))
            if user is not None:
                self.assertNotIn('Remove the registry', self.get(
                    'index.html', user).text)
        self.assertTrue(self.exists())

    def test_unfinished_runs_are_asked_about(self):
        self.makeRun()
        self.assertIn('name="unfinished"', self.get(self.path).text)
        for form in {}, {'unfinished': 'refuse'}, {'unfinished': 'odd'}:
            answer = self.remove(**form)
            self.assertEqual(answer.status_int, 409)
            self.assertIn('Choose what happens to them', answer.text)
        self.assertTrue(self.exists())
        self.assertEqual(self.remove(unfinished='stop').status_int, 303)
        self.assertFalse(self.exists())

    def test_runs_in_work_are_stopped_first(self):
        self.makeRunning()
        answer = self.remove(unfinished='stop')
        self.assertEqual(answer.location, '/@@removeBackground.html')
        self.assertTrue(self.exists())
        answer = self.remove(unfinished='discard', reason='enough')
        self.assertEqual(answer.location, '/@@background.html')
        self.assertFalse(self.exists())

    def test_journal_of_another_registry_knows_of_it(self):
        addRegistry(self.root['other'])
        transaction.commit()
        self.remove(reason='moved away')
        page = self.get('/other/++background++/journal.html')
        self.assertIn('registry removed', page.text)
        self.assertIn('moved away', page.text)

    def test_site_without_its_own_says_so(self):
        self.assertEqual(
            self.get('/other/@@removeBackground.html').status_int, 404)
