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
"""The demo's pages over the real publisher, with real work behind them."""
import json
import re
import shutil
import tempfile
import time
import unittest
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path

from transaction import TransactionManager
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.app.wsgi import WSGIPublisherApplication
from zope.component.testlayer import ZCMLFileLayer
from zope.event import notify
from zope.processlifetime import DatabaseOpened
from zope.testbrowser.wsgi import Browser

import cipher.background.demo
from cipher.background.demo.documents import Document
from cipher.background.registry.installation import getRegistry
from cipher.background.util.switchboard import queryRuntime


#: Seconds after which waiting for a run is given up.
LIMIT = 30.0

PAYLOADS = ('"><svg onload=alert(1)>', '</script><script>alert(1)</script>',
            '</textarea><b>', "'", '{{7*7}}', '\u202eRTL')


class DemoLayer(ZCMLFileLayer):
    """The whole ZCML of the demo; each test has a database of its own."""

    def __init__(self):
        super().__init__(cipher.background.demo, 'site.zcml', 'DemoLayer')

    def testSetUp(self):
        super().testSetUp()
        self.folder = tempfile.mkdtemp()
        self.db = DB(FileStorage(str(Path(self.folder, 'data.fs'))),
                     pool_size=20)
        notify(DatabaseOpened(self.db))
        self.application = WSGIPublisherApplication(self.db)

    def testTearDown(self):
        queryRuntime(self.db).shutdown()
        self.db.close()
        shutil.rmtree(self.folder)
        super().testTearDown()


LAYER = DemoLayer()


class DemoPagesTestCase(unittest.TestCase):

    layer = LAYER
    url = 'http://localhost'

    def login(self, user='editor'):
        browser = Browser(wsgi_app=self.layer.application)
        browser.raiseHttpErrors = False
        if user is not None:
            login = b64encode(b'%s:%s' % (user.encode(), user.encode()))
            browser.addHeader('Authorization', 'Basic ' + login.decode())
            browser.addHeader('Accept-Language', 'en')
        return browser

    @contextmanager
    def site(self):
        """Work with the root site in a transaction of its own."""
        manager = TransactionManager()
        connection = self.layer.db.open(manager)
        try:
            yield connection.root()['Application']
            manager.commit()
        finally:
            manager.abort()
            connection.close()

    def addDocument(self, name='doc', title='Title', body='*text*'):
        with self.site() as site:
            site['documents'][name] = Document(title, body)
        return '%s/documents/%s' % (self.url, name)

    def waitForRuns(self, type='publish'):
        """Wait until no run of a type goes on; return their states."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            with self.site() as site:
                states = [run.state for run in getRegistry(site).listRuns(
                    types=(type,)).items]
            if not {'pending', 'running'} & set(states):
                return states
            time.sleep(0.02)
        self.fail('%s still goes on: %s' % (type, states))

    def token(self, browser, url):
        browser.open(url)
        return re.search(r'name="csrf_token" value="([^"]+)"',
                         browser.contents)[1]


class DocumentPagesTests(DemoPagesTestCase):

    def test_the_site_leads_to_the_documents(self):
        browser = self.login()
        browser.open(self.url)
        self.assertEqual(self.url + '/documents/index.html', browser.url)
        self.assertIn('There are no documents yet', browser.contents)
        browser.getLink('Background').click()
        self.assertIn('/++background++/', browser.url)
        browser.getLink('Documents').click()
        self.assertEqual(self.url + '/documents/index.html', browser.url)

    def test_create_edit_publish(self):
        browser = self.login()
        browser.open(self.url)
        browser.getLink('Add a document').click()
        browser.getControl('Title').value = 'My *first* document!'
        browser.getControl('Text').value = 'Part\n====\n\nThis is *new*.'
        browser.getControl('Save').click()
        self.assertEqual(
            self.url + '/documents/my-first-document/index.html', browser.url)
        self.assertIn('DRAFT', browser.contents)
        self.assertIn('This is *new*.', browser.contents)

        browser.getLink('Edit').click()
        self.assertEqual('My *first* document!',
                         browser.getControl('Title').value)
        browser.getControl('Text').value = 'Part\n====\n\nThis is *newer*.'
        browser.getControl('Save').click()
        self.assertIn('This is *newer*.', browser.contents)

        browser.getControl('Publish').click()
        self.assertIn('Publish a document', browser.contents)
        self.assertEqual(['succeeded'], self.waitForRuns())
        browser.reload()
        self.assertIn('PUBLISHED', browser.contents)
        self.assertIn('This is <em>newer</em>.', browser.contents)
        self.assertIn('succeeded', browser.contents)

        browser.getLink('Edit').click()
        browser.getControl('Text').value = 'Another text'
        browser.getControl('Save').click()
        self.assertIn('DRAFT', browser.contents)
        self.assertNotIn('<em>newer</em>', browser.contents)

    def test_names_are_unique(self):
        browser = self.login()
        for _n in range(2):
            browser.open(self.url + '/documents/add.html')
            browser.getControl('Title').value = '???'
            browser.getControl('Save').click()
        with self.site() as site:
            self.assertEqual(2, len(site['documents']))

    def test_a_title_is_needed_and_the_text_is_kept(self):
        browser = self.login()
        browser.open(self.url + '/documents/add.html')
        browser.getControl('Text').value = '\nkept <b>'
        browser.getControl('Save').click()
        self.assertIn('Required input is missing', browser.contents)
        self.assertEqual('\nkept <b>', browser.getControl(
            'Text').value.replace('\r\n', '\n'))
        with self.site() as site:
            self.assertEqual(0, len(site['documents']))

    def test_texts_are_shown_as_texts(self):
        browser = self.login()
        for n, payload in enumerate(PAYLOADS):
            url = self.addDocument(str(n), payload, payload)
            for path in ('', '/edit.html'):
                browser.open(url + path)
                self.assertTrue(browser.headers['Status'].startswith('200'))
                for text in ('<svg', '<script>', '<b>', '\u202e'):
                    self.assertNotIn(text, browser.contents)
        browser.open(self.url + '/documents')
        for text in ('<svg', '<script>', '<b>', '\u202e'):
            self.assertNotIn(text, browser.contents)

    def test_the_list_has_pages(self):
        with self.site() as site:
            for n in range(120):
                site['documents']['d%03d' % n] = Document('Title %03d' % n)
        browser = self.login()
        browser.open(self.url)
        seen = []
        while True:
            found = re.findall('Title [0-9]+', browser.contents)
            self.assertLessEqual(len(found), 50)
            seen += found
            if 'Next »' not in browser.contents:
                break
            browser.getLink('Next »').click()
        self.assertEqual(['Title %03d' % n for n in range(120)], seen)
        browser.getLink('« First').click()
        self.assertIn('Title 000', browser.contents)

    def test_the_runs_of_a_document_as_json(self):
        url = self.addDocument()
        other = self.addDocument('other')
        browser = self.login()
        for each in (url, other):
            browser.open(each)
            browser.getControl('Publish').click()
        self.assertEqual(['succeeded'] * 2, self.waitForRuns())
        browser.open(url + '/runs.json?version=x')
        data = json.loads(browser.contents)
        self.assertEqual(['succeeded'], [
            run['state'] for run in data['items'] if run['type'] == 'publish'])
        self.assertLessEqual({run['type'] for run in data['items']},
                             {'publish', 'reindex', 'notify'})
        self.assertEqual(('PUBLISHED', True), (
            data['document']['wf_state'], data['document']['has_changed']))

    def test_the_work_that_goes_on_is_shown(self):
        url = self.addDocument()
        browser = self.login()
        browser.open(url)
        self.assertEqual(['succeeded'], self.waitForRuns('reindex'))
        browser.open(url)
        self.assertRegex(browser.contents, r'data-show="current"\s+hidden=')
        with self.site() as site:
            run_id = getRegistry(site).start(
                'publish', site['documents']['doc'], pause=60.0).id
        browser.open(url)
        self.assertRegex(browser.contents, r'data-show="current">')
        with self.site() as site:
            getRegistry(site).requestStop(run_id)
        self.assertEqual(['stopped'], self.waitForRuns())
        browser.open(url)
        self.assertRegex(browser.contents, r'data-show="current"\s+hidden=')
        self.assertIn('DRAFT', browser.contents)

    def test_a_wrong_address_is_not_found(self):
        browser = self.login('viewer')
        browser.open(self.url + '/documents/nosuch')
        self.assertTrue(browser.headers['Status'].startswith('404'))
        self.assertNotIn('nosuch', browser.contents)
