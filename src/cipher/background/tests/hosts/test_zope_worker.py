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
import signal
import time
import unittest

import transaction

from cipher.background.interfaces import PENDING
from cipher.background.interfaces import SUCCEEDED
from cipher.background.registry.installation import addRegistry
from cipher.background.tests.support.zopeinstances import InstancesCase
from cipher.background.tests.support.zopeinstances import mayEnd
from cipher.background.tests.support.zopeinstances import noteBegin
from cipher.background.tests.support.zopesite import HAS_ZOPE
from cipher.background.tests.support.zopesite import SITE
from cipher.background.util.switchboard import queryRuntime


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

ZCML = """
  <background:worker
      name="mark"
      handler="cipher.background.tests.hosts.test_zope_worker.mark"
      />
  <background:runtime threads="%d" poll="0.2" lease="3" drain="1" />
"""


def mark(worker):
    """Add a mark to the title of the context; wait for leave if it is late."""
    number = int(worker.context.getId()[1:])
    worker.context.title += 'x'
    noteBegin(number)
    while number >= FREE and not mayEnd():
        worker.checkStop()
        time.sleep(0.05)


@unittest.skipUnless(HAS_ZOPE, 'Zope is not installed')
class WorkerTests(InstancesCase):

    page = 'zope.rst'

    def makeHome(self, name, threads):
        """Return the folder of a new instance."""
        home = self.folder / name
        (home / 'etc').mkdir(parents=True)
        (home / 'etc' / 'site.zcml').write_text(SITE % (ZCML % threads))
        (home / 'zope.conf').write_text(self.readConf(home))
        (home / 'zope.ini').write_text(INI)
        return home

    def startAtWork(self, home):
        """Start the instance; return the process when it does late work."""
        process = self.launch('runwsgi', str(home / 'zope.ini'))
        self.waitFor(lambda: [number for number in self.findBegun(process)
                              if number >= FREE], 'late work')
        return process

    def test_ended_and_killed_worker_lose_nothing(self):
        from five.localsitemanager import make_objectmanager_site
        from OFS.Folder import manage_addFolder
        from Zope2.Startup.run import make_wsgi_app
        worker = self.makeHome('worker', 2)
        make_wsgi_app({}, str(self.makeHome('web', 0) / 'zope.conf'))
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

        # This process is not one of ``runwsgi``: its end is its own affair.
        self.assertIs(signal.getsignal(signal.SIGTERM), signal.SIG_DFL)
        self.assertEqual(Zope2.opened, [root._p_jar.db()])
        # The web instance carries out nothing, however often it looks.
        web = queryRuntime(root._p_jar.db())
        self.assertEqual(web.threads, 0)
        turns = web.turns
        self.waitFor(
            lambda: web.turns >= turns + 3, 'turns of the web instance')
        transaction.begin()
        self.assertEqual(count(PENDING), RUNS)

        # An end in good order gives back what is not finished.
        for number in signal.SIGTERM, signal.SIGINT:
            ended = self.startAtWork(worker)
            self.assertEqual(self.end(ended, number), 0)
            transaction.begin()
            self.assertEqual(
                [process.id for process in registry.listProcesses()],
                [web.id])
            self.assertEqual({run.interruptions for run in (
                registry.listRuns(limit=RUNS).items)}, {0})

        self.end(self.startAtWork(worker))
        transaction.begin()
        done = count(SUCCEEDED)
        self.assertLessEqual(done, FREE)
        self.assertEqual(done, sum(
            len(folder.title) for folder in root.site.objectValues()))

        self.letEnd()
        last = self.launch('runwsgi', str(worker / 'zope.ini'))
        self.waitFor(lambda: count(SUCCEEDED) == RUNS, 'the end')
        self.assertEqual(
            ['x'] * RUNS,
            [folder.title for folder in root.site.objectValues()])
        self.end(last, signal.SIGTERM)
        self.assertQuiet()

    def close(self, root):
        transaction.abort()
        db = root._p_jar.db()
        root._p_jar.close()
        runtime = queryRuntime(db)
        if runtime is not None:
            runtime.shutdown()
        db.close()
