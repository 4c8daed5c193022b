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
"""The web instance and the worker instances of plone.rst, step by step.

It needs Plone, which is not in the environment of the other tests.
"""
import json
import signal
import time
import unittest
from collections import Counter

from cipher.background.interfaces import PENDING
from cipher.background.interfaces import SUCCEEDED
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.pages import listBlocks
from cipher.background.tests.support.pages import readFiles
from cipher.background.tests.support.plonesite import ADDON
from cipher.background.tests.support.plonesite import HAS_PLONE
from cipher.background.tests.support.servers import ZEOServer
from cipher.background.tests.support.servers import freePort
from cipher.background.tests.support.zopeinstances import InstancesCase
from cipher.background.tests.support.zopeinstances import mayEnd
from cipher.background.tests.support.zopeinstances import noteBegin


#: Documents in all, those that may be done before the kill, and those that are
#: published.
DOCUMENTS, FREE, PUBLISHED = 10, 4, 3

API = '/plone/++api++/'
EGGS = """
    Plone
    cipher.background[plone]
"""
RUNTIME = '  <background:runtime threads="2" />\n'

#: Beside the worker of the page: one that can be interrupted.
MARK = """
  <background:worker
      name="mark"
      handler="cipher.background.tests.hosts.test_plone_worker.mark"
      permission="cipher.background.StartWorkers"
      />
</configure>
"""


def mark(worker):
    """Add a word to the title of the content; wait for leave if it is late."""
    document = worker.context
    number = int(document.getId()[1:])
    document.title += ' marked'
    document.reindexObject()
    noteBegin(number)
    while number >= FREE and not mayEnd():
        time.sleep(0.05)


class ConfiguredServer(ZEOServer):
    """A server that a *command* starts."""

    command = ()

    def _spawn(self):
        return self._popen(*self.command, cwd=self.folder)


@unittest.skipUnless(HAS_PLONE, 'Plone is not installed')
class PloneWorkerTests(InstancesCase):

    page = 'plone.rst'
    login = None   # the header of jane

    def makeServer(self):
        path = requirePage(self.page)
        self.files = readFiles(path)
        self.commands = [
            line.removeprefix('$ ').split() for block in listBlocks(path)
            if block.text.startswith('$ ')
            for line in block.text.splitlines()]
        server = ConfiguredServer(str(self.folder))
        server.command = self.findProgram(self.commandOf('runzeo'))
        return server

    def prepare(self):
        (self.folder / 'zeo.conf').write_text(
            self.place(self.files['zeo.conf']))
        (self.folder / 'workers.py').write_text(self.files['workers.py'])
        (self.folder / 'worker.zcml').write_text(self.files['worker.zcml'])
        background = self.files['background.zcml']
        self.assertIn(RUNTIME, background)
        (self.folder / 'background.zcml').write_text(background.replace(
            RUNTIME, '').replace('</configure>', MARK))

    def commandOf(self, program, word=''):
        """Return the one command of the page with that program and word."""
        command, = (command for command in self.commands
                    if command[0] == program and word in ' '.join(command))
        return command

    def start(self, name, kind=None):
        """Make the instance and start it; return the process.

        It is made as the page makes the one of the name *kind*.
        """
        kind = kind or name

        def named(command):
            return [part.replace(kind, name) for part in command]

        self.call(*named(self.commandOf('mkwsgiinstance', kind)))
        etc = self.folder / name / 'etc'
        (etc / 'zope.conf').write_text(self.readConf(self.folder / name))
        ini = (etc / 'zope.ini').read_text()
        self.assertIn('port = 8080', ini)
        (etc / 'zope.ini').write_text(
            ini.replace('port = 8080', 'port = 0'))
        site = (etc / 'site.zcml').read_text()
        included = 'worker.zcml' if kind == 'worker' else 'background.zcml'
        (etc / 'site.zcml').write_text(site.replace(
            '</configure>', '<include file="%s" /></configure>' % (
                self.folder / included)))
        return self.launch(*named(self.commandOf('runwsgi', kind)))

    def startScript(self, name):
        """Make the instances with a buildout; start one; return the process.

        The buildout finds what is installed here, but not the checkout.
        """
        text = self.place(self.files['buildout.cfg'])
        self.assertIn(EGGS, text)
        for port in '8080', '8081':
            text = text.replace(':' + port, ':%d' % freePort())
        (self.folder / 'buildout.cfg').write_text(text.replace(
            EGGS, ' Products.CMFPlone\n').replace(
                '[buildout]\n', '[buildout]\noffline = true\n'))
        self.call('buildout', '-U')
        return self.launch(*self.commandOf('bin/' + name))

    def ask(self, path, body=None, user=None):
        """Ask the web instance, by default as jane; return JSON."""
        headers = {'Accept': 'application/json',
                   'Content-Type': 'application/json'}
        if user is None and self.login:
            headers['Authorization'] = self.login
        status, _headers, text = self.get(
            API + path, user,
            None if body is None else json.dumps(body).encode(), **headers)
        self.assertIn(status // 100, [2], text[:3000])
        return json.loads(text) if text else None

    def makeSite(self):
        """Make a site of Plone with the add-on; log in."""
        status, _headers, text = self.get(
            '/@@plone-addsite', 'admin',
            b'form.submitted=1&site_id=plone&title=Site')
        self.assertEqual(status, 302, text[-3000:])
        for name in 'plone.restapi', ADDON:
            self.ask('@addons/%s/install' % name, {}, 'admin')
        person = {'username': 'jane', 'password': 'secret-secret'}
        self.ask('@users', {
            **person, 'email': 'jane@example.org',
            'roles': ['Site Administrator']}, 'admin')
        self.login = 'Bearer ' + self.ask('@login', {
            'login': person['username'],
            'password': person['password']})['token']

    def count(self, name):
        """Return {state: number} of the runs of a type."""
        items = self.ask('@background-runs?type=' + name)['items']
        return Counter(item['state'] for item in items)

    def find(self, **query):
        """Return {id: title} of the documents that the catalog finds."""
        found = self.ask('@search?portal_type=Document&b_size=100&' + '&'.join(
            '%s=%s' % item for item in query.items()))
        return {item['@id'].rpartition('/')[2]: item['title']
                for item in found['items']}

    def listProcesses(self):
        """Return the processes that the web instance shows."""
        status, _headers, text = self.get(
            '/plone/++background++/index.json', Authorization=self.login)
        self.assertEqual(status, 200, text)
        return json.loads(text)['processes']

    def test_killed_worker_instance_loses_nothing(self):
        self.start('web')
        self.url = self.findURL(self.logs[-1])
        self.makeSite()
        names = ['n%d' % number for number in range(DOCUMENTS)]
        for name in names:
            self.ask('', {'@type': 'Document', 'id': name, 'title': name})
        runs = [self.ask('@background-runs', {'type': 'mark', 'context': name})
                for name in names]
        for name in names[:PUBLISHED]:
            self.ask(name + '/@workflow/publish', {})
        # Nobody works yet.
        self.assertEqual(self.listProcesses(), [])
        self.assertEqual(self.count('mark'), {PENDING: DOCUMENTS})
        self.assertEqual(self.count('announce'), {PENDING: PUBLISHED})

        first = self.start('worker')
        second = self.start('worker2', 'worker')

        def findLate(process):
            return {number for number in self.findBegun(process)
                    if number >= FREE}

        # For a moment both may work on one run, of which one commits.
        self.waitFor(
            lambda: len(findLate(first)) == len(findLate(second)) == 2,
            'work of both')
        self.assertEqual(len(self.listProcesses()), 2)
        lost = findLate(first)
        self.end(first)
        # No effect of late work is there.  Early work may wait behind it in
        # the process that took it.
        self.assertLessEqual(set(self.find(Title='marked')), set(names[:FREE]))

        self.letEnd()
        self.waitFor(
            lambda: self.count('mark') == {SUCCEEDED: DOCUMENTS}
            and self.count('announce') == {SUCCEEDED: PUBLISHED}, 'the end')
        self.assertLessEqual(lost, self.findBegun(second))
        marked = {name: name + ' marked' for name in names}
        self.assertEqual(self.find(Title='marked'), marked)
        self.assertEqual({
            name: self.ask(name)['title'] for name in names}, marked)
        self.assertEqual(
            set(self.find(Subject='announced')), set(names[:PUBLISHED]))
        for name in names:
            self.assertEqual(
                self.ask(name)['subjects'],
                ['announced'] if name in names[:PUBLISHED] else [])
        for run in runs:
            shown = self.ask('@background-runs/' + run['id'])
            self.assertEqual(
                (shown['state'], shown['starter']),
                (SUCCEEDED, '/plone:jane'))

        # In good order it leaves nothing that others take for dead.
        self.assertEqual(self.end(second, signal.SIGTERM), 0)
        self.assertEqual(self.listProcesses(), [])
        script = self.startScript('worker')
        late = self.ask('@background-runs', {'type': 'mark', 'context': 'n0'})
        self.waitFor(
            lambda: self.ask('@background-runs/' + late['id'])['state']
            == SUCCEEDED, 'the work of the instance of the script')
        self.assertEqual(self.ask('n0')['title'], 'n0 marked marked')
        self.assertEqual(self.findBegun(script), {0})
        self.assertEqual(self.end(script, signal.SIGTERM), 0)
        self.assertEqual(self.listProcesses(), [])
        for path in self.logs:
            self.assertNotIn('Traceback', path.read_text())
