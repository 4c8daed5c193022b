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
"""Nothing is left behind, however often it begins and ends.

``bench/main.py memory`` does the same ten thousand times and over.
"""
import os
import threading

import transaction
from zope.component import provideAdapter
from zope.component.hooks import getSite

from cipher.background.runtime.standalone import StandaloneRecorder
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util import switchboard


class LeakTests(LiveTests):

    def setUp(self):
        super().setUp()
        self.runtime.shutdown()
        transaction.abort()

    def test_runtimes_leave_nothing_behind(self):
        class Loop(BackgroundWorkerThread):
            def scheduleNextWork(self):
                return not self.wait(LIMIT)

        declareWorker('work', lambda worker: None)
        declareWorker('loop', factory=Loop, is_loop=True)
        self.cycle(20)
        before = self.facts()
        files = self.count_files()
        self.cycle(130)
        self.waitNoMore(before)
        # The storage keeps one open for each reader that it ever had.
        self.assertLess(self.count_files(), files + 20)

    def cycle(self, number):
        """Start and end a runtime that has some work."""
        for n in range(number):
            self.runtime = self.startRuntime(poll=5.0)
            self.start('work')
            if n % 10 == 0:
                self.start('loop')
            self.runtime.shutdown()
            waitUntil(lambda: self.facts()[0] == 0, 'no threads left')
        transaction.abort()

    def test_threads_leave_nothing_behind(self):
        class Worker(BackgroundWorkerThread):
            rounds = 1

            def scheduleNextWork(self):
                self.rounds -= 1
                return self.rounds >= 0

            def doWork(self):
                if self.name.endswith('7'):
                    raise SystemExit
                getSite()['counter'].value += 1

        for is_recorded in False, True:
            with self.subTest(is_recorded=is_recorded):
                if is_recorded:
                    provideAdapter(StandaloneRecorder)
                self.carry_out(Worker, 10)
                waitUntil(lambda: self.facts()[2] == is_recorded,
                          'the record of its process')
                before = self.facts()
                files = self.count_files()
                for _ in range(20):
                    self.carry_out(Worker, 10)
                transaction.abort()
                self.waitNoMore(before)
                self.assertLess(self.count_files(), files + 20)
        runtime = switchboard.queryRuntime(self.db)
        self.assertEqual(runtime.allLive(), [])
        runtime.shutdown()
        waitUntil(lambda: self.facts()[0] == 0, 'no threads left')

    def carry_out(self, factory, number):
        """Let workers made by hand work, at a time."""
        workers = [factory.forSite(self.site, '') for _ in range(number)]
        for n, worker in enumerate(workers):
            worker.name = 'worker %d' % n
            worker.start()
        for worker in workers:
            worker.join(LIMIT)

    def count_files(self):
        """Return the number of files that the process has open."""
        return len(os.listdir('/proc/self/fd'))

    def waitNoMore(self, before):
        """Wait until there is no more than *before*."""
        # A turn of the runtime may have opened a connection at that moment.
        waitUntil(lambda: all(
            now <= then for now, then in zip(self.facts(), before)),
            'what was before, %r' % (before,))

    def facts(self):
        """Return the numbers of threads, open connections and records."""
        transaction.abort()
        return (len([t for t in threading.enumerate()
                     if t.name.startswith('background')]),
                len([c for c in self.db.connectionDebugInfo()
                     if c['opened']]),
                len(self.registry.listProcesses()))
