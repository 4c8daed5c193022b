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
from cipher.background.tests.browser_support import HOST
from cipher.background.tests.browser_support import PATH
from cipher.background.tests.browser_support import BrowserTests


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
