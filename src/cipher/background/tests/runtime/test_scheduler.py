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
"""Schedules in a runtime, on a FileStorage."""
from unittest import mock

import transaction
from zope.site.folder import rootFolder
from zope.site.site import LocalSiteManager

from cipher.background.registry.installation import addRegistry
from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.runtime.runtime import startRuntime
from cipher.background.tests.registry.test_schedules import schedule
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil


class LiveScheduleTests(LiveTests):
    """With a runtime on a FileStorage."""

    def finished(self, type):
        self.begin()
        return [status for status
                in self.registry.listRuns(states=['succeeded']).items
                if status.type == type]

    def test_runtime_starts_and_carries_out_what_is_due(self):
        declareWorker('report', lambda worker: 'done')
        schedule(every=0.1)
        waitUntil(lambda: len(self.finished('report')) >= 3, 'three ticks')

    def test_tick_missed_while_down_runs_once_at_the_begin(self):
        declareWorker('report', lambda worker: 'done')
        hourly = schedule(every=3600.0)
        waitUntil(lambda: self.status_of('report').next_at, 'first sight')
        self.runtime.shutdown()
        self.begin()
        state = self.registry.schedules['report']
        state.next_at -= 30 * hourly.every
        transaction.commit()
        self.runtime = self.startRuntime()
        waitUntil(lambda: self.finished('report'), 'the run')
        self.waitTurn()
        self.assertEqual(len(self.finished('report')), 1)

    def test_schedule_that_cannot_tell_its_tick_stops_no_other(self):
        declareWorker('report', lambda worker: 'done')
        broken = schedule('broken', every=0.1)
        waitUntil(lambda: self.finished('report'), 'a tick')
        with mock.patch.object(type(broken), 'nextTick', autospec=True) as p:
            def next_tick(self, after):
                if self.name == 'broken':
                    raise ValueError('broken')
                return after + self.every

            p.side_effect = next_tick
            schedule('sound', 'sound', every=0.1)
            declareWorker('sound', lambda worker: 'done')
            waitUntil(lambda: self.finished('sound'), 'the sound schedule')

    def status_of(self, name):
        self.begin()
        status, = [status for status in self.registry.listSchedules()
                   if status.name == name]
        return status

    def test_runs_go_to_the_registry_nearest_to_the_root(self):
        self.begin()
        self.site['inner'] = inner = rootFolder()
        inner.setSiteManager(LocalSiteManager(inner))
        transaction.commit()
        nested = addRegistry(inner)
        transaction.commit()
        declareWorker('report', lambda worker: 'done')
        schedule(every=0.1)
        waitUntil(lambda: self.finished('report'), 'a tick')
        self.assertEqual(nested.listRuns().items, [])

    def test_process_without_threads_starts_nothing(self):
        self.runtime.shutdown()
        declareWorker('report', lambda worker: 'done')
        schedule(every=0.05)
        runtime = startRuntime(self.db, RuntimeSettings(
            threads=0, poll=0.05))
        self.addCleanup(runtime.shutdown)
        self.runtime = runtime
        self.waitTurn()
        self.assertIsNone(self.status_of('report').next_at)
