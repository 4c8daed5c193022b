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
"""A type that had other names: what runs share goes by the one of today."""
import transaction
from zope.component import getGlobalSiteManager
from zope.component import provideUtility

from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.declaring import makeWorkerType
from cipher.background.events import RunFailedEvent
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import IWorkerType
from cipher.background.registry import services
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import SiteTests
from cipher.background.thread import BackgroundWorkerThread


class Loop(BackgroundWorkerThread):

    def scheduleNextWork(self):
        return not self.wait(0.01)


def rename(*former, **values):
    """Declare ``new`` with these former names, in place of them."""
    for name in former:
        worker_type = queryWorkerType(name)
        if worker_type is not None:
            getGlobalSiteManager().unregisterUtility(
                worker_type, IWorkerType, name)
    for worker_type in makeWorkerType('new', former=former, **values):
        provideUtility(worker_type, IWorkerType, worker_type.name)


class FormerTests(SiteTests):

    def test_pause_holds_for_every_name(self):
        declareWorker('old', lambda worker: None)
        old = self.registry.start('old')
        self.registry.pauseType('old', reason='because')
        rename('old', handler=lambda worker: None)
        new = self.registry.start('new')
        for run in old, new:
            self.assertTrue(self.registry.getStatus(run.id).is_paused)
        for status in self.registry.listTypes():
            self.assertEqual((status.is_paused, status.pause_reason),
                             (True, 'because'))
        self.registry.pauseType('new', False)
        self.assertEqual(list(self.registry.pauses), [])
        self.registry.pauseType('old')
        self.assertEqual(list(self.registry.pauses), ['new'])
        self.assertTrue(self.registry.getStatus(old.id).is_paused)
        self.registry.pauseType('old', False)
        self.assertFalse(self.registry.getStatus(new.id).is_paused)

    def test_unique_start_finds_a_run_of_a_former_name(self):
        declareWorker('old', lambda worker: None, unique='type')
        old = self.registry.start('old')
        rename('old', handler=lambda worker: None, unique='type')
        for name in 'new', 'old':
            self.assertIs(self.registry.start(name), old)

    def test_once_is_once_under_every_name(self):
        rename('old', handler=lambda worker: None)
        self.registry.permit = lambda name, context: None
        first = self.registry.startOnce(0.0, 'old')
        self.assertIs(self.registry.startOnce(0.0, 'new'), first)

    def test_success_resolves_a_failure_under_a_former_name(self):
        declareWorker('old', lambda worker: None)
        old = self.registry.start('old')
        self.registry.finish(old, FAILED, RunFailedEvent)
        transaction.commit()
        rename('old', handler=lambda worker: None)
        self.assertEqual(len(self.registry.listRuns(
            unresolved=True).items), 1)
        new = self.registry.start('new')
        self.registry.finish(new, SUCCEEDED, RunSucceededEvent)
        transaction.commit()
        self.assertEqual(self.registry.listRuns(unresolved=True).items, [])

    def test_service_under_a_former_name_is_that_of_today(self):
        declareWorker('old', factory=Loop, is_loop=True, autostart=True)
        worker_type, = services.listServices()
        services.keepRunning(self.registry, worker_type)
        old, = self.registry.listRuns().items
        rename('old', class_=Loop, autostart=True)
        worker_type, = services.listServices()
        self.assertEqual(worker_type.name, 'new')
        self.assertFalse(services.isMissing(self.registry, worker_type))
        self.assertEqual(self.registry.start('new').id, old.id)
        # When that one is over, it is the one of today that begins.
        self.registry.finish(
            self.registry.get(old.id), FAILED, RunFailedEvent)
        self.registry.start('old')
        self.assertEqual(
            [(status.type, status.state)
             for status in self.registry.listRuns().items],
            [('new', 'pending'), ('old', 'failed')])
        self.assertFalse(services.isMissing(self.registry, worker_type))


class FormerLiveTests(LiveTests):

    def test_limit_counts_every_name(self):
        declareWorker('old', lambda worker: None, max_running=1)
        self.registry.pauseType('old')
        waiting = [self.start('old') for _ in range(3)]
        rename('old', handler=self.work, max_running=1)
        self.now = self.most = 0
        running = self.start('new')
        self.change(lambda: self.registry.pauseType('new', False))
        self.gate.waitReached()
        for _ in range(3):
            self.waitTurn()
        self.assertEqual(len(self.runtime.allLive()), 1)
        self.gate.open()
        for run_id in (*waiting, running):
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertEqual(self.most, 1)

    def work(self, worker):
        self.now += 1
        self.most = max(self.most, self.now)
        self.gate.stop()
        self.now -= 1

    def test_limit_counts_what_began_under_a_former_name(self):
        declareWorker('old', lambda worker: self.gate.stop(), max_running=1)
        old = self.start('old')
        self.gate.waitReached()
        more = self.start('old')
        waitUntil(lambda: self.runtime.backlog.parkedTypes())
        rename('old', handler=lambda worker: None, max_running=1)
        new = self.start('new')
        for _ in range(3):
            self.waitTurn()
        self.assertEqual(len(self.runtime.allLive()), 1)
        self.assertEqual(self.status(new).state, 'pending')
        self.gate.open()
        for run_id in old, more, new:
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def test_service_goes_on_alone(self):
        declareWorker('old', factory=Loop, is_loop=True, autostart=True)
        waitUntil(lambda: self.runtime.allLive(), 'the service')
        live, = self.runtime.allLive()
        self.runtime.shutdown()
        rename('old', class_=Loop, autostart=True)
        self.runtime = self.startRuntime()
        waitUntil(lambda: self.runtime.allLive(), 'the service')
        for _ in range(3):
            self.waitTurn()
        again, = self.runtime.allLive()
        self.assertEqual(again.run_id, live.run_id)
