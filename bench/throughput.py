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
"""Throughput: small jobs enqueued and drained, beside the raw commit floor.

    bin/python bench/throughput.py [--jobs 2000] [--threads 1,4] [--rounds 3]

Each job adds 1 to one of 200 counters; at the end every effect and every
record is audited.  All figures of a round are of one run on one kind of
database file, so that the ratios hold where the absolute figures do not.
"""
import argparse
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time

import transaction
from persistent import Persistent
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import hooks
from zope.component import provideUtility
from zope.container.btree import BTreeContainer
from zope.container.contained import Contained
from zope.site.folder import rootFolder
from zope.site.site import LocalSiteManager

from cipher.background.installation import addRegistry
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import IWorkerType
from cipher.background.runtime import Runtime
from cipher.background.settings import RuntimeSettings
from cipher.background.workertype import WorkerType


COUNTERS = 200
TYPE = 'add-one'
TIMEOUT = 300.0


class Counter(Contained, Persistent):
    """Counts the effects."""

    value = 0


def addOne(worker):
    """The job."""
    worker.context.value += 1


class Bench:
    """A database in a temporary folder, with counters and a registry."""

    def __init__(self, folder):
        self.path = os.path.join(folder, 'Data.fs')
        self.db = DB(FileStorage(self.path), pool_size=20)
        self.connection = self.db.open()
        self.site = rootFolder()
        self.connection.root()['Application'] = self.site
        self.site.setSiteManager(LocalSiteManager(self.site))
        self.counters = BTreeContainer()
        self.site['counters'] = self.counters
        for number in range(COUNTERS):
            self.counters['%03d' % number] = Counter()
        transaction.commit()
        self.registry = addRegistry(self.site)
        transaction.commit()
        hooks.setSite(self.site)

    def counter(self, number):
        """Return the counter of the job of that number."""
        return self.counters['%03d' % (number % COUNTERS)]

    def close(self):
        """Close the database."""
        hooks.setSite(None)
        transaction.abort()
        self.connection.close()
        self.db.close()

    def size(self):
        """Return the bytes written so far."""
        return os.path.getsize(self.path)


def measureFloor(jobs):
    """Return the commits a second of one object changed, with one thread."""
    folder = tempfile.mkdtemp()
    try:
        bench = Bench(folder)
        begin = time.perf_counter()
        for number in range(jobs):
            transaction.begin()
            bench.counter(number).value += 1
            transaction.commit()
        seconds = time.perf_counter() - begin
        bench.close()
    finally:
        shutil.rmtree(folder)
    return jobs / seconds


def measure(jobs, threads):
    """Return a dict of figures: jobs enqueued, then drained."""
    folder = tempfile.mkdtemp()
    try:
        bench = Bench(folder)
        figures = {}
        runtime = Runtime(bench.db, RuntimeSettings(threads=threads))
        # The lanes of the process are there, its threads are not yet.
        runtime.executor.start = lambda: None
        runtime.start()
        wait(lambda: len(runtime.tickets.lanes()) > threads)
        bench.connection.sync()

        size = bench.size()
        begin = time.perf_counter()
        for number in range(jobs):
            transaction.begin()
            bench.registry.start(TYPE, bench.counter(number))
            transaction.commit()
        figures['start_rate'] = jobs / (time.perf_counter() - begin)
        figures['start_bytes'] = (bench.size() - size) / jobs

        size = bench.size()
        finished = Countdown(jobs)
        begin = time.perf_counter()
        runtime.executor.start = type(runtime.executor).start.__get__(
            runtime.executor)
        finished.watch(runtime)
        runtime.executor.start()
        finished.wait()
        figures['drain_rate'] = jobs / (time.perf_counter() - begin)
        figures['drain_bytes'] = (bench.size() - size) / jobs
        figures['conflicts'] = runtime.conflicts * 1000 / jobs
        runtime.shutdown(5.0)
        audit(bench, jobs)
        bench.close()
    finally:
        shutil.rmtree(folder)
    return figures


class Countdown:
    """Waits until a number of runs are over."""

    def __init__(self, number):
        self._left = number
        self._lock = threading.Lock()
        self._over = threading.Event()

    def watch(self, runtime):
        """Count what *runtime* ends."""
        ended = runtime.ended

        def counting(live):
            ended(live)
            with self._lock:
                self._left -= 1
                if not self._left:
                    self._over.set()

        runtime.ended = counting

    def wait(self):
        """Wait for the last one."""
        if not self._over.wait(TIMEOUT):
            sys.exit('throughput: expected all jobs to end within %d s, got '
                     '%d that did not' % (TIMEOUT, self._left))


def wait(condition):
    """Wait until *condition* holds."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            sys.exit('throughput: expected the runtime to begin')
        time.sleep(0.01)


def audit(bench, jobs):
    """Exit unless each job had exactly its effect and its record."""
    bench.connection.sync()
    for number in range(COUNTERS):
        expected = jobs // COUNTERS + (number < jobs % COUNTERS)
        got = bench.counter(number).value
        if got != expected:
            sys.exit('throughput: counter %d: expected %d, got %d'
                     % (number, expected, got))
    counts = bench.registry.getCounts()
    if counts != {TYPE: {SUCCEEDED: jobs}}:
        sys.exit('throughput: expected %d runs succeeded, got %r'
                 % (jobs, counts))


def main(argv=None):
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--jobs', type=int, default=2000)
    parser.add_argument('--threads', default='1,4')
    parser.add_argument('--rounds', type=int, default=3)
    options = parser.parse_args(argv)
    hooks.setHooks()
    provideUtility(WorkerType(TYPE, handler=addOne), IWorkerType, TYPE)
    threads = [int(number) for number in options.threads.split(',')]
    rounds = []
    for _ in range(options.rounds):
        floor = measureFloor(options.jobs)
        rounds.append((floor, {number: measure(options.jobs, number)
                               for number in threads}))
    median = statistics.median
    print('%d jobs, median of %d rounds; every effect audited'
          % (options.jobs, options.rounds))
    print('floor: %d commits/s of one object' % median(
        floor for floor, _ in rounds))
    print('threads  start/s  x floor  bytes  drain/s  x floor  bytes  '
          'conflicts/1000')
    for number in threads:
        def middle(name):
            return median(figures[number][name] for _, figures in rounds)

        def ratio(name):
            return median(figures[number][name] / floor
                          for floor, figures in rounds)

        print('%7d  %7d  %7.2f  %5d  %7d  %7.2f  %5d  %14.1f' % (
            number, middle('start_rate'), ratio('start_rate'),
            middle('start_bytes'), middle('drain_rate'), ratio('drain_rate'),
            middle('drain_bytes'), middle('conflicts')))


if __name__ == '__main__':
    main()
