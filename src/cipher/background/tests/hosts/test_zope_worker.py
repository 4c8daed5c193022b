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
"""Zope instances that share a database by ZEO: one of them works alone.

It needs Zope, which is not in the environment of the other tests.
"""
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from importlib.util import find_spec
from pathlib import Path

import transaction

from cipher.background.interfaces import PENDING
from cipher.background.interfaces import SUCCEEDED
from cipher.background.registry.installation import addRegistry
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.pages import listBlocks
from cipher.background.util.switchboard import queryRuntime


HAS_ZOPE = find_spec('Zope2') is not None

#: Seconds to wait for a process, or for the work of all.
LIMIT = 90

#: Runs in all, and those that may finish before the kill.
RUNS, FREE = 30, 5

INI = """
[app:zope]
use = egg:Zope#main
zope_conf = %(here)s/zope.conf

[server:main]
use = egg:waitress#main
host = 127.0.0.1
port = 0

[pipeline:main]
pipeline =
    egg:Zope#httpexceptions
    zope

[loggers]
keys = root

[handlers]
keys = console

[formatters]
keys = generic

[logger_root]
level = INFO
handlers = console

[handler_console]
class = StreamHandler
args = (sys.stderr,)
level = NOTSET
formatter = generic

[formatter_generic]
format = %(levelname)s %(name)s %(message)s
"""

SITE = """
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:background="http://namespaces.zope.org/background"
    xmlns:five="http://namespaces.zope.org/five"
    i18n_domain="test">
  <include package="Zope2.App" />
  <five:loadProducts file="meta.zcml" />
  <five:loadProducts />
  <include package="cipher.background.hosts.zope" />
  <background:worker
      name="mark"
      handler="cipher.background.tests.hosts.test_zope_worker.mark"
      />
  <background:runtime threads="%d" poll="0.2" lease="3" />
</configure>
"""

FOLDER = 'CIPHER_BACKGROUND_TEST_FOLDER'


def readConf(home, port):
    """Return the configuration of the page zope.rst for an instance."""
    text, = (block.text for block in listBlocks(requirePage('zope.rst'))
             if block.text.startswith('%import ZEO'))
    return text.replace('/srv/dms/worker', str(home)).replace(
        ':8100', ':%d' % port)


def mark(worker):
    """Add a mark to the title of the context; wait for leave if it is late."""
    folder = Path(os.environ[FOLDER])
    number = int(worker.context.getId()[1:])
    worker.context.title += 'x'
    (folder / ('began-%d' % number)).touch()
    while number >= FREE and not (folder / 'go').exists():
        time.sleep(0.05)


@unittest.skipUnless(HAS_ZOPE, 'Zope is not installed')
class WorkerTests(unittest.TestCase):

    layer = Live

    def setUp(self):
        from cipher.background.tests.support.servers import ZEOServer
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.server = ZEOServer(str(self.folder))
        self.server.start()
        self.addCleanup(self.server.kill)
        self.logs = []

    def makeInstance(self, name, threads):
        """Return the folder of a new instance."""
        home = self.folder / name
        (home / 'etc').mkdir(parents=True)
        (home / 'etc' / 'site.zcml').write_text(SITE % threads)
        (home / 'zope.conf').write_text(readConf(home, self.server.port))
        (home / 'zope.ini').write_text(INI)
        return home

    def startWorker(self, home):
        """Start the instance as ``runwsgi`` does; return the process."""
        self.logs.append(home / ('log-%d' % len(self.logs)))
        with self.logs[-1].open('wb') as log:
            process = subprocess.Popen(
                [sys.executable, '-m', 'Zope2.Startup.serve',
                 str(home / 'zope.ini')], stdout=log, stderr=log,
                env={**os.environ, FOLDER: str(self.folder)})
        self.addCleanup(self.end, process)
        return process

    def end(self, process, number=signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
        return process.wait(LIMIT)

    def wait(self, condition, what):
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            transaction.begin()
            if condition():
                return
            time.sleep(0.1)
        self.fail('%s did not come true; the logs: %s' % (
            what, [path.read_text()[-3000:] for path in self.logs]))

    def test_killed_worker_loses_nothing(self):
        from five.localsitemanager import make_objectmanager_site
        from OFS.Folder import manage_addFolder
        from Zope2.Startup.run import make_wsgi_app
        worker = self.makeInstance('worker', 2)
        make_wsgi_app({}, str(self.makeInstance('web', 0) / 'zope.conf'))
        import Zope2
        root = Zope2.app()
        self.addCleanup(self.close, root)
        manage_addFolder(root, 'site')
        make_objectmanager_site(root.site)
        for number in range(RUNS):
            manage_addFolder(root.site, 'n%d' % number)
        transaction.commit()
        registry = addRegistry(root.site)
        transaction.commit()
        for number in range(RUNS):
            registry.start('mark', root.site['n%d' % number])
        transaction.commit()

        def count(state):
            return registry.getCounts()['mark'].get(state, 0)

        # The web instance carries out nothing, however often it looks.
        web = queryRuntime(root._p_jar.db())
        self.assertEqual(web.threads, 0)
        turns = web.turns
        self.wait(lambda: web.turns >= turns + 3, 'turns of the web instance')
        transaction.begin()
        self.assertEqual(count(PENDING), RUNS)

        first = self.startWorker(worker)
        self.wait(lambda: len(list(self.folder.glob('began-*'))) > FREE + 1,
                  'work')
        self.end(first)
        transaction.begin()
        done = count(SUCCEEDED)
        self.assertLessEqual(done, FREE)
        self.assertEqual(done, sum(
            len(folder.title) for folder in root.site.objectValues()))

        (self.folder / 'go').touch()
        second = self.startWorker(worker)
        self.wait(lambda: count(SUCCEEDED) == RUNS, 'the end')
        self.assertEqual(
            ['x'] * RUNS,
            [folder.title for folder in root.site.objectValues()])
        self.end(second, signal.SIGTERM)
        for path in self.logs:
            # A start is quiet.
            self.assertIn('INFO Zope Ready', path.read_text())
            for word in ('WARNING', 'Warning', 'Traceback'):
                self.assertNotIn(word, path.read_text())

    def close(self, root):
        from cipher.background.util.switchboard import queryRuntime
        transaction.abort()
        db = root._p_jar.db()
        root._p_jar.close()
        runtime = queryRuntime(db)
        if runtime is not None:
            runtime.shutdown()
        db.close()
