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
"""Several processes on one database of a ZEO or PostgreSQL server."""
import os
import tempfile

import transaction

from cipher.background.store.process import processName
from cipher.background.tests.support.actor import Actor
from cipher.background.tests.support.crashingprocess import declareWorkers
from cipher.background.tests.support.live import Database
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.servers import POSTGRESQL_LAYER
from cipher.background.tests.support.servers import ZEOServer
from cipher.background.tests.support.servers import openDatabase
from cipher.background.tests.support.servers import requireServer
from cipher.background.tests.support.servers import touch
from cipher.background.util import notices


#: Seconds to wait for changes that need a lease or the restart of a server.
LONG = 30


class ClusterTests(LiveTests):
    """A database on a server; this process and its actors have runtimes."""

    settings = {'threads': 2, 'poll': 0.05, 'drain': 5.0, 'lease': 3.0}
    server = None

    def setUp(self):
        super().setUp()
        self.path = self.folder.name
        declareWorkers(self.path)

    def makeDatabase(self):
        self.uri = self.makeServer()
        return openDatabase(self.uri, factory=Database)

    def makeServer(self):
        """Start `server` or use that of the layer; return the zodburi."""
        raise NotImplementedError

    def act(self, **settings):
        """Return an `Actor` with a runtime."""
        actor = self.actWithout()
        actor.id = actor.runtime(**settings)
        return actor

    def actWithout(self):
        """Return an `Actor` without a runtime."""
        return Actor(self, self.uri, self.path)

    def letGoOn(self):
        """Let all waiting and later workers pass their barrier."""
        touch(self.path, 'go-on')

    def waitInside(self, name='inside'):
        """Wait until a worker is at its barrier; remove its mark."""
        path = os.path.join(self.path, name)
        waitUntil(lambda: os.path.exists(path), 'the file %r' % name, LONG)
        os.remove(path)

    def isInside(self):
        """Return whether a worker came to its barrier."""
        return os.path.exists(os.path.join(self.path, 'inside'))

    def waitBack(self):
        """Wait until this process is connected to the server again."""
        def is_back():
            try:
                self.begin()
                self.site['back'] = not self.site.get('back')
                transaction.commit()
                return True
            except Exception:
                try:
                    transaction.abort()
                except Exception:
                    pass   # the abort has happened nevertheless
                return False
        waitUntil(is_back, 'the server', LONG)

    def waitAll(self, state='succeeded', number=None):
        """Wait until all runs are in *state*; return their number."""
        def is_done():
            self.begin()
            states = set()
            for counts in self.registry.getCounts().values():
                states.update(counts)
            return states == {state}
        try:
            waitUntil(is_done, 'that all have %s' % state, LONG)
        except AssertionError as error:
            raise AssertionError('%s: %s\n%s' % (
                error, self.registry.getCounts(),
                self.logged.getvalue())) from None
        return sum(counts[state]
                   for counts in self.registry.getCounts().values())

    def waitFinal(self, run_id, state):
        """Wait for the end of a run in any process; return its status."""
        def status():
            self.begin()
            if self.registry.get(run_id) is None:
                return None   # this process does not see it yet
            status = self.registry.getStatus(run_id)
            return status if status.finished_at is not None else None
        status = waitUntil(status, 'the end of run %s' % run_id, LONG)
        self.assertEqual(status.state, state, self.logged.getvalue())
        return status

    def waitProcesses(self, *ids):
        """Wait until exactly these processes are known."""
        def ids_now():
            self.begin()
            return {p.id for p in self.registry.listProcesses()}
        waitUntil(lambda: ids_now() == set(ids),
                  'that the processes are %r' % (ids,), LONG)

    def assertToldHardlyTwice(self, ids):
        """Assert that each run of ``tell`` began, and few of them twice."""
        with open(os.path.join(self.path, 'tell')) as told:
            begun = [line.partition(':')[0]
                     for line in set(told.read().split())]
        self.assertEqual(set(begun), set(ids))
        self.assertLessEqual(len(begun) - len(ids), max(1, 0.01 * len(ids)))

    def checkKilled(self, how='gone'):
        """Kill a process during its work; check the rescue of its runs.

        *how* is the end of the process as the others record it.
        """
        other = self.act(threads=3)
        rerun, taken, fail = (
            other.start(name)[0] for name in ('rerun', 'taken rerun', 'fail'))
        self.waitInside('taken')
        self.waitForeign(fail)
        other.kill()
        self.letGoOn()
        self.assertEqual(
            self.waitFinal(fail, 'interrupted').interruptions, 1)
        self.assertEqual(
            self.waitFinal(taken, 'succeeded').interruptions, 1)
        self.waitFinal(rerun, 'succeeded')
        self.assertEqual(self.value(), 2)
        self.waitProcesses(self.runtime.id)
        self.checkDeathIsTold(other, how, {
            fail: [how], taken: [how, 'succeeded']})

    def checkDeathIsTold(self, other, how, outcomes):
        """Check the records of a process that died and of its runs."""
        self.begin()
        for run_id, expected in outcomes.items():
            attempts = self.registry.getDetails(run_id).attempts
            self.assertEqual([one.outcome for one in attempts], expected)
            self.assertEqual(attempts[0].process, processName(other.id))
        ended, = self.registry.listEndedProcesses()
        self.assertEqual((ended.id, ended.how), (other.id, how))
        self.assertLessEqual(set(outcomes), set(ended.run_ids))

    def waitForeign(self, run_id):
        """Wait until this process knows that another works on the run."""
        def is_running():
            self.begin()
            return self.registry.get(run_id) is not None and (
                self.registry.getStatus(run_id).state == 'running')
        waitUntil(is_running, 'that run %s is known to run' % run_id, LONG)

    def tearDown(self):
        # Clean-ups would hang or fail without the server.
        if self.server is not None and not self.server.isRunning():
            self.server.start()
        super().tearDown()


class ZEOTests(ClusterTests):
    """Tests with a ZEO server each."""

    def makeServer(self):
        requireServer(self, ZEOServer.findMissing())
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.server = ZEOServer(folder.name)
        self.addCleanup(self.server.kill)
        self.server.start()
        return self.server.uri


class PostgreSQLTests(ClusterTests):
    """Tests with a new database each in the layer's PostgreSQL cluster."""

    layer = POSTGRESQL_LAYER

    def makeServer(self):
        requireServer(self, self.layer.missing)
        self.server = self.layer.server
        if not self.server.isRunning():
            self.server.start()
        # A commit after the shutdown begins a thread of its own.
        self.addCleanup(lambda: notices.unlisten(self.db))
        return self.server.makeDatabase()
