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
"""The page zope.rst, carried out step by step.

It needs Zope, which is not in the environment of the other tests.
"""
import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from importlib.util import find_spec
from pathlib import Path

from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.pages import listBlocks
from cipher.background.tests.support.pages import readFiles


HAS_ZOPE = find_spec('Zope2') is not None

#: Seconds that Zope may take to start, or the work to end.
LIMIT = 90


class _NoRedirect(urllib.request.HTTPRedirectHandler):

    def redirect_request(self, *arguments):
        return None


@unittest.skipUnless(HAS_ZOPE, 'Zope is not installed')
class PageTests(unittest.TestCase):

    layer = Live

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.page = requirePage('zope.rst')
        self.cookie = ''

    def start(self, home):
        """Start the instance; set its address."""
        ini = home / 'etc' / 'zope.ini'
        ini.write_text(ini.read_text().replace('port = 8080', 'port = 0'))
        self.log = self.folder / 'log'
        with self.log.open('wb') as log:
            process = subprocess.Popen(
                [sys.executable, '-m', 'Zope2.Startup.serve', str(ini)],
                stdout=log, stderr=log,
                env={**os.environ, 'PYTHONPATH': str(self.folder)})
        self.addCleanup(process.wait, LIMIT)
        self.addCleanup(process.kill)
        self.url = self.wait(lambda: re.search(
            r'Serving on (http://\S+)', self.log.read_text()))[1]

    def wait(self, look):
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            found = look()
            if found:
                return found
            time.sleep(0.1)
        self.fail('not in time; the log: ' + self.log.read_text()[-3000:])

    def ask(self, path, **form):
        """Return (status, address that it leads to, text)."""
        request = urllib.request.Request(
            self.url + path, urllib.parse.urlencode(form).encode()
            if form else None)
        request.add_header('Authorization', 'Basic ' + base64.b64encode(
            b'admin:admin').decode())
        request.add_header('Cookie', self.cookie)
        try:
            answer = urllib.request.build_opener(_NoRedirect).open(
                request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        with contextlib.closing(answer):
            self.cookie = (
                answer.headers['Set-Cookie'] or self.cookie).split(';')[0]
            return (answer.status, answer.headers['Location'],
                    answer.read().decode())

    def fields(self, text):
        """Return {name: value} of the inputs and buttons of a page."""
        return dict(re.findall(
            r'<(?:input|button)[^>]*name="([^"]*)"[^>]*value="([^"]*)"',
            text))

    def test_each_step(self):
        files = readFiles(self.page)
        command, = (block.text for block in listBlocks(self.page)
                    if block.text.startswith('$ mkwsgiinstance'))
        subprocess.run(
            [sys.executable, '-m', 'Zope2.utilities.mkwsgiinstance',
             *command.split()[2:]], cwd=self.folder, check=True, timeout=LIMIT)
        home = self.folder / 'instance'
        (self.folder / 'workers.py').write_text(files['workers.py'])
        (home / 'etc' / 'site.zcml').write_text(files['etc/site.zcml'])
        self.start(home)
        self.assertEqual(self.ask('/manage')[0], 200)
        self.assertIn('add one by the tab Background of a site',
                      self.log.read_text())

        status, *_rest = self.ask(
            '/manage_addProduct/OFSP/manage_addFolder', id='site')
        self.assertIn(status, (200, 302))
        self.assertNotIn('@@background.html', self.ask('/site/manage_main')[2])
        text = self.ask('/site/components.html', MAKESITE='Make site')[2]
        self.assertIn('UNMAKESITE', text)
        self.assertIn('@@background.html', self.ask('/site/manage_main')[2])

        text = self.ask('/site/@@background.html')[2]
        status, address, _text = self.ask(
            '/site/@@addBackground', **self.fields(text))
        self.assertEqual((status, address),
                         (303, '/site/++background++/index.html'))
        start = '/site/++background++/start.html?type=greet'
        status, address, _text = self.ask(
            start, **self.fields(self.ask(start)[2]))
        self.assertEqual(status, 303)
        data = address.replace('index.html', 'index.json')
        self.wait(lambda: json.loads(self.ask(data)[2])['state'] in (
            'succeeded', 'failed'))
        found = json.loads(self.ask(data)[2])
        self.assertEqual(found['state'], 'succeeded')
        self.assertIn('greeted', self.ask(address)[2])
        self.assertIn('/:admin', json.dumps(found))
