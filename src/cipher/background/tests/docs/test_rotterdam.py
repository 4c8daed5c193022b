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
"""Our pages in the frames that docs/howto/ui.rst shows."""
import base64
import re
import sys
import tempfile
import textwrap
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urljoin
from urllib.parse import urlsplit

import zope.testbrowser.wsgi
from zope.app.wsgi import WSGIPublisherApplication
from zope.app.wsgi.testlayer import BrowserLayer
from zope.publisher.interfaces.browser import IDefaultBrowserLayer

import cipher.background.tests
from cipher.background.tests.demo.test_server import LIMIT
from cipher.background.tests.support import browser as browser_support
from cipher.background.tests.support.checkout import CHECKOUT
from cipher.background.tests.support.checkout import needsCheckout
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.chromium import launchBrowser
from cipher.background.tests.support.chromium import openPage


LOGIN = base64.b64encode(b'admin:admin').decode()

ZCML = '''
<configure xmlns="http://namespaces.zope.org/zope"
    xmlns:browser="http://namespaces.zope.org/browser"
    i18n_domain="zope">
  <include package="cipher.background.tests.support" file="%s" />
  <interface interface="dms.interfaces.ISkin" name="DMS"
      type="zope.publisher.interfaces.browser.IBrowserSkinType" />
  %s
</configure>
'''


def read_code(heading, language):
    """Return the code of a language below a heading of the documentation."""
    text = requirePage('ui.rst').read_text(encoding='utf-8')
    text = text[re.search(r'\n%s\n[~-]{3}' % heading, text).start():]
    code = re.search(
        r'\n\.\. code-block:: %s\n\n((?:    .*\n|\n)+)' % language, text)[1]
    return textwrap.dedent(code)


class ISkin(IDefaultBrowserLayer):
    """The skin of the host."""


class DocumentedLayer(zope.testbrowser.wsgi.TestBrowserLayer, BrowserLayer):
    """An application with the ZCML of a section of docs/howto/ui.rst."""

    def __init__(self, name, base, heading, files=()):
        self.base = base
        self.heading = heading
        self.files = files
        super().__init__(cipher.background.tests, name=name,
                         allowTearDown=True)

    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        folder = Path(self.temporary.name)
        for name, language in self.files:
            Path(folder, name).write_text(
                read_code(self.heading, language), encoding='utf-8')
        path = Path(folder, 'site.zcml')
        path.write_text(ZCML % (self.base, read_code(self.heading, 'xml')),
                        encoding='utf-8')
        self.zcml_file = str(path)
        # The modules of the host that the ZCML names.
        host = SimpleNamespace(interfaces=SimpleNamespace(ISkin=ISkin))
        sys.modules.update({'dms': host, 'dms.interfaces': host.interfaces})
        try:
            super().setUp()
        finally:
            del sys.modules['dms'], sys.modules['dms.interfaces']

    def tearDown(self):
        super().tearDown()
        self.temporary.cleanup()


# A layer is set up even if all of its tests are skipped.
TEMPLATE = ROTTERDAM = browser_support.LAYER
if CHECKOUT:
    TEMPLATE = DocumentedLayer(
        'Template', 'browser_ftesting.zcml', 'Your own template',
        [('frame.pt', 'html')])
    ROTTERDAM = DocumentedLayer(
        'Rotterdam', 'rotterdam_ftesting.zcml', 'In Rotterdam')


@needsCheckout('docs')
class TestTemplate(browser_support.BrowserTests):
    """A frame of a host's own."""

    layer = TEMPLATE

    def get(self, path, **environ):
        """GET a page in the host's skin."""
        if not path.startswith('/'):
            path = '/++background++/' + path
        return super().get('/++skin++DMS' + path, **environ)

    def test_every_page_is_in_it(self):
        run_id = self.makeRun().id
        for path in ('index.html', 'runs.html', 'types.html',
                     run_id + '/index.html', run_id + '/stop.html',
                     'start.html?type=plain', 'start.html?type=none',
                     'nothing', '/other/@@background.html'):
            with self.subTest(path):
                page = self.get(path).text
                self.assertIn('<h5>Document management</h5>', page)
                self.assertIn('<h1', page)
                self.assertIn('cipher-background.css', page)
                self.assertEqual(1, page.count('</html>'))
                self.assertNotIn('cb-bar', page)

    def test_our_macros_serve_it(self):
        page = self.get('runs.html').text
        self.assertRegex(page, '<a aria-current="page"[^>]*>Runs</a>')
        self.assertIn('<title>Runs</title>', page)
        self.assertIn('runs.json', page)


@needsCheckout('docs')
class TestRotterdam(browser_support.BrowserTests):
    """The management skin of Zope 3."""

    layer = ROTTERDAM

    def assertFramed(self, page):
        self.assertIn('zope3logo.gif', page)
        self.assertIn('id="navtreecontents"', page)
        self.assertIn('cipher-background.css', page)
        self.assertIn('class="cb"', page)
        self.assertNotIn('cb-bar', page)
        self.assertEqual(1, page.count('</html>'))

    def get_tabs(self, page):
        tabs = re.search('(?s)class="itemViews">(.*?)</div>', page)[1]
        return [' '.join(tab.split())
                for tab in re.findall('(?s)<a [^>]*>(.*?)</a>', tabs)]

    def test_every_page_is_in_it(self):
        run_id = self.makeRun().id
        for path in ('index.html', 'runs.html', 'types.html',
                     run_id + '/index.html', run_id + '/stop.html',
                     'start.html?type=plain', 'start.html?type=none',
                     '/other/@@background.html'):
            with self.subTest(path):
                self.assertFramed(self.get(path).text)

    def test_pages_are_whole(self):
        page = self.get('runs.html').text
        self.assertIn('<h1>Runs</h1>', page)
        self.assertIn('<title>Runs</title>', page)
        self.assertRegex(page, 'data-poll="[^"]*runs.json')

    def test_site_has_a_tab(self):
        page = self.get('/@@contents.html').text
        self.assertIn('Background', self.get_tabs(page))
        self.assertIn('href="@@background.html"', page)

    def test_tab_of_the_site_leads_to_the_overview(self):
        answer = self.get('/@@background.html')
        self.assertEqual(answer.location, '/++background++/index.html')

    def test_registry_has_tabs_everywhere(self):
        run_id = self.makeRun().id
        for path in ('runs.html', '/++background++', '/++background++/',
                     run_id, run_id + '/stop.html', 'start.html?type=plain'):
            with self.subTest(path):
                page = self.get(path).text
                tabs = self.get_tabs(page)
                self.assertEqual(['Overview', 'Runs'], tabs[:2])
                self.assertIn('Worker types', tabs)
                for url in re.findall('href="([^"]+)"', re.search(
                        '(?s)class="itemViews">(.*?)</div>', page)[1]):
                    url = urljoin('http://localhost/++background++', url)
                    self.assertEqual(200, self.get(
                        urlsplit(url).path).status_int, url)

    def test_breadcrumbs_lead_here(self):
        run_id = self.makeRun().id
        page = self.get(run_id + '/index.html').text
        crumbs = re.search('(?s)id="breadcrumbs">(.*?)</div>.*?</td>', page)
        self.assertIn(run_id, page)
        self.assertTrue(crumbs)

    def test_only_its_frame_may_have_styles_within(self):
        name = 'Content-Security-Policy'
        self.assertIn("style-src 'self' 'unsafe-inline'",
                      self.get('runs.html').headers[name])
        self.assertNotIn('unsafe-inline',
                         self.get('runs.json').headers[name])


@needsCheckout('docs')
class TestRealBrowser(browser_support.BrowserTests):
    """Chromium shows a page in Rotterdam: its own policy lets it."""

    layer = ROTTERDAM

    def setUp(self):
        super().setUp()
        self.url = browser_support.serve(
            self, WSGIPublisherApplication(self.layer.db), 2, LIMIT)
        browser = launchBrowser(self)
        context = browser.new_context(
            locale='en', viewport={'width': 1200, 'height': 500},
            # The host has no page that asks who comes.
            extra_http_headers={'Authorization': 'Basic ' + LOGIN})
        self.complaints = []
        self.page = openPage(context, self.complaints)

    def test_from_the_tab_of_the_site_to_a_run(self):
        run_id = self.makeRun().id
        self.page.goto(self.url + '/@@contents.html')
        self.page.locator('.itemViews >> text=Background').click()
        self.page.locator('.itemViews >> text=Runs').click()
        self.assertEqual('Runs', self.page.inner_text('h1'))
        # The styles of the skin and ours, and the tree of the skin.
        self.assertEqual('rgb(51, 102, 153)', self.page.evaluate(
            'getComputedStyle(document.querySelector('
            '".itemViews a.selected")).backgroundColor'))
        self.assertEqual('collapse', self.page.evaluate(
            'getComputedStyle(document.querySelector('
            '".cb-table")).borderCollapse'))
        self.page.wait_for_selector('#navtreecontents >> text=[top]')
        self.page.get_by_role('link', name='Plain').first.click()
        self.page.wait_for_selector('#breadcrumbs >> text=' + run_id)
        self.assertEqual([], self.complaints)
