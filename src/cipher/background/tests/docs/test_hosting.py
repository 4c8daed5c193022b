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
"""Carries docs/howto/hosting.rst out: an application and its server."""
import os
import re
import signal
import subprocess
import sys
import textwrap
import unittest
from functools import partial
from pathlib import Path
from unittest import mock

from zope.component import testing
from zope.configuration import xmlconfig
from zope.principalregistry.principalregistry import principalRegistry
from zope.security.management import setSecurityPolicy
from zope.security.simplepolicies import ParanoidSecurityPolicy
from zope.security.simplepolicies import PermissiveSecurityPolicy

from cipher.background.browser.pieces import describePackage
from cipher.background.hosts import ztk
from cipher.background.tests.demo.test_server import LIMIT
from cipher.background.tests.demo.test_server import Demo
from cipher.background.tests.demo.test_server import DemoTestCase
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.pages import listBlocks
from cipher.background.tests.support.pages import readFiles


FILES = ['serve.py', 'site.zcml', 'workers.py', 'wsgi.py']

# "``serve.py``::" and the indented block below it.
_FILE = re.compile(
    r'``([\w.]+)``(?:,[^`]*``gunicorn[^`]*``[^`]*)?::\n\n((?:    .*\n|\n)+)')

OWN = '''
<configure xmlns="http://namespaces.zope.org/zope" i18n_domain="dms">
  <include package="cipher.background" file="host.zcml" />
  <securityPolicy
      component="zope.security.simplepolicies.PermissiveSecurityPolicy" />
  <unauthenticatedPrincipal id="dms.nobody" title="Nobody" />
</configure>
'''


def takeFreePort(text):
    """Return the text of serve.py with a port that is not in use."""
    assert text.count("('site.zcml')") == 1, text
    return text.replace("('site.zcml')", "('site.zcml', port=0)")


class Host(Demo):
    """The server of the page."""

    def beginProcess(self, arguments):
        environ = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
        return subprocess.Popen(
            [sys.executable, 'serve.py'], cwd=self.folder, env=environ,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def waitForURL(self):
        # The server itself names its address, without a slash.
        for line in iter(partial(self._lines.get, timeout=LIMIT), None):
            self.output.append(line)
            found = re.search(r'http://[\d.]+:\d+', line)
            if found:
                self.url = found[0]
                return self.url
        raise AssertionError(''.join(self.output))

    def readOutput(self):
        """Return all lines; the process has ended."""
        self.output += iter(partial(self._lines.get, timeout=LIMIT), None)
        return self.output


class HostingTests(DemoTestCase):

    layer = Live

    def setUp(self):
        super().setUp()
        page = requirePage('hosting.rst').read_text('utf-8')
        files = dict(_FILE.findall(page))
        self.assertEqual(FILES, sorted(files))
        files['serve.py'] = takeFreePort(files['serve.py'])
        for name, text in files.items():
            Path(self.folder, name).write_text(textwrap.dedent(text), 'utf-8')

    def begin(self):
        host = Host(self.folder)
        self.addCleanup(self._end, host)
        host.waitForURL()
        return host

    def test_the_application_works_and_ends(self):
        host = self.begin()
        for user, status in ('admin', 200), (None, 401), ('nobody', 401):
            self.assertEqual(status, host.readStatus(
                '/++background++', user), user)
        self.assertEqual(404, host.readStatus('/++background++/none.html'))
        self.assertIn('<h1', host.read('/++background++/index.html'))
        host.start('greet')
        run = host.waitForRun(lambda run: run['state'] == 'succeeded')
        self.assertIn('Hello', host.read(
            '/++background++/%s/log.txt' % run['id']))
        self.assertEqual(0, host.end(signal.SIGTERM), host.output)
        # It is whole.
        output = ''.join(host.readOutput())
        self.assertNotIn('Start: ', output)

    def test_what_was_done_is_there_at_the_next_start(self):
        host = self.begin()
        host.start('greet')
        host.waitForRun(lambda run: run['state'] == 'succeeded')
        self.assertEqual(0, host.end(signal.SIGINT), host.output)
        self.assertEqual(1, len(self.begin().listRuns()))


class PageTests(unittest.TestCase):

    def test_another_server_gets_the_application(self):
        names = {}
        with mock.patch.object(ztk, 'makeApplication', autospec=True) as make:
            exec(readFiles(requirePage('hosting.rst'))['wsgi.py'], names)
        self.assertIs(make.return_value, names['application'])
        self.assertEqual('site.zcml', make.call_args.args[0])

    def test_warning_is_the_one_that_is_logged(self):
        block, = [block.text for block in listBlocks(
            requirePage('hosting.rst')) if block.text.startswith('Start: ')]
        self.assertEqual('Start: ' + describePackage('zope.login'),
                         ' '.join(block.split()))


class DeclarationTests(unittest.TestCase):

    def test_what_the_host_declares_goes_before(self):
        testing.setUp()
        self.addCleanup(testing.tearDown)
        before = setSecurityPolicy(ParanoidSecurityPolicy)
        self.addCleanup(setSecurityPolicy, before)
        xmlconfig.string(OWN)
        self.assertIs(PermissiveSecurityPolicy, setSecurityPolicy(before))
        self.assertEqual(
            'dms.nobody', principalRegistry.unauthenticatedPrincipal().id)
