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
"""Rates with many runs and types beside those of an empty registry.

    bin/python bench/main.py growth [--finished 100000] [--delayed 10000]
        [--types 1000] [--jobs 2000] [--rounds 3] [--json FILE]

A database with finished runs, delayed runs and declared types is made once.
A process looks at all of its delayed runs before anything is measured.
Each round measures a copy of it and an empty one, in turns, on a FileStorage
with one thread: starts and their drain, the seconds until the first job of a
new process has ended, and the newest page of runs.  Each effect and each
record is audited.
"""
import os
import shutil
import tempfile
import threading
import time
from contextlib import contextmanager

import transaction
from bench import pages
from bench.rounds import carryOut
from bench.rounds import newParser
from bench.rounds import report
from bench.throughput import COUNTERS
from bench.throughput import TIMEOUT
from bench.throughput import TYPE
from bench.throughput import Bench
from bench.throughput import Countdown
from bench.throughput import addOne
from bench.throughput import declare
from bench.throughput import wait
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import hooks

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.interfaces import SUCCEEDED
from cipher.background.registry.installation import getRegistry
from cipher.background.runtime.runtime import Runtime
from cipher.background.store.process import getDirectory


DAY = 86400.0

#: Settings of types: the audit counts all runs, so none may be pruned.
KEPT = {'keep': 10 ** 9, 'keep_days': 3650.0}

#: Delayed runs that one transaction starts.
BATCH = 500


class Grown(Bench):
    """A database in *folder* that is opened again."""

    def __init__(self, folder):
        self.path = os.path.join(folder, 'Data.fs')
        self.db = DB(FileStorage(self.path), pool_size=20, cache_size=5000)
        self.connection = self.db.open()
        self.site = self.connection.root()['Application']
        self.counters = self.site['counters']
        self.registry = getRegistry(self.site)
        hooks.setSite(self.site)

    def forget(self):
        """Empty the cache of the connection."""
        transaction.abort()
        self.connection.cacheMinimize()


def make(folder, finished, delayed, types):
    """Make a database with so many runs of so many types.

    Return the seconds that a process took to look at the delayed ones.
    """
    Bench(folder).close()
    bench = Grown(folder)
    if finished:
        pages.fill(bench, finished, time.time() - 60, 0)
    for begin in range(0, delayed, BATCH):
        transaction.begin()
        for number in range(begin, min(begin + BATCH, delayed)):
            bench.registry.submit(name_type(number % types),
                                  bench.counter(number), delay=DAY)
        transaction.commit()
        bench.forget()
    seconds = lay_down(bench) if delayed else 0.0
    bench.close()
    return seconds


def lay_down(bench):
    """Let a runtime look at all runs that wait; return the seconds it takes.

    The delayed ones wait in the database then, as behind processes that have
    worked since they were started.
    """
    def are_seen():
        bench.connection.sync()
        return all(lane.bookmark.low == lane.births.next_serial
                   for lane in bench.registry.lanes.values())

    runtime = Runtime(bench.db, RuntimeSettings(threads=1))
    begin = time.perf_counter()
    runtime.start()
    wait(are_seen)
    seconds = time.perf_counter() - begin
    runtime.shutdown(5.0)
    # Otherwise a runtime regards the copies as such, and begins nothing.
    bench.connection.sync()
    getDirectory(bench.connection).belonging.place = None
    transaction.commit()
    return seconds


def name_type(number):
    """Return the name of one of many types."""
    return 'type-%04d' % number


def measure(source, suffix, jobs):
    """Return {name: figure} of a copy of the folder *source*."""
    with copied(source) as folder:
        return {name + suffix: figure
                for name, figure in measureCopy(folder, jobs).items()}


@contextmanager
def copied(source):
    """Yield a temporary copy of the folder *source*."""
    folder = tempfile.mkdtemp()
    try:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        yield folder
    finally:
        shutil.rmtree(folder)


def measureCopy(folder, jobs):
    """Return {name: figure} of the database in *folder*."""
    bench = Grown(folder)
    before = bench.registry.getCounts()
    begin = time.perf_counter()
    for number in range(jobs):
        transaction.begin()
        bench.registry.start(TYPE, bench.counter(number))
        transaction.commit()
    figures = {'start/s': jobs / (time.perf_counter() - begin)}
    begin = time.perf_counter()
    runtime = Runtime(bench.db, RuntimeSettings(threads=1))
    start, runtime.executor.start = runtime.executor.start, lambda: None
    runtime.start()
    wait(lambda: bench.hasLanes(1))
    finished, first = Countdown(jobs), Countdown(1)
    finished.watch(runtime)
    first.watch(runtime)
    awaited = threading.Thread(target=first.wait)
    awaited.start()
    drain_begin = time.perf_counter()
    start()
    awaited.join(TIMEOUT)
    figures['first job s'] = time.perf_counter() - begin
    finished.wait()
    figures['drain/s'] = jobs / (time.perf_counter() - drain_begin)
    runtime.shutdown(5.0)
    audit(bench, jobs, before)
    bench.forget()
    for name in 'cold', 'warm':
        transaction.begin()
        begin = time.perf_counter()
        bench.registry.listRuns(limit=50)
        bench.registry.getCounts()
        figures['newest 50 and counts, %s ms' % name] = (
            1000 * (time.perf_counter() - begin))
    bench.close()
    return figures


def audit(bench, jobs, before):
    """Raise an error unless each job had its effect and its record."""
    transaction.begin()
    done = sum(bench.counter(number).value for number in range(COUNTERS))
    counts = bench.registry.getCounts()
    if done != jobs or counts != {**before, TYPE: {SUCCEEDED: jobs}}:
        raise AssertionError(
            'growth: expected %d effects and runs, got %d effects and %r' % (
                jobs, done, counts.get(TYPE)))


def main(argv=None):
    """Print a table."""
    parser = newParser(__doc__)
    parser.add_argument('--finished', type=int, default=100000)
    parser.add_argument('--delayed', type=int, default=10000)
    parser.add_argument('--types', type=int, default=1000)
    parser.add_argument('--jobs', type=int, default=2000)
    options = parser.parse_args(argv)
    hooks.setHooks()
    declare(TYPE, addOne, **KEPT)
    for name in (*pages.TYPES, pages.RARE):
        declare(name, print, **KEPT)
    for number in range(options.types):
        declare(name_type(number), print)
    with tempfile.TemporaryDirectory() as full, \
            tempfile.TemporaryDirectory() as empty:
        looked = make(
            full, options.finished, options.delayed, options.types)
        make(empty, 0, 0, 1)
        rounds = carryOut([
            lambda: measure(empty, ', empty', options.jobs),
            lambda: measure(full, ', full', options.jobs)], options.rounds)
    for found in rounds:
        found['look at the delayed runs, s'] = looked
        found.update({
            '%s, full / empty' % name:
                found[name + ', full'] / found[name + ', empty']
            for name in ('start/s', 'drain/s')
            if {name + ', full', name + ', empty'} <= {*found}})
    report('growth', options, rounds)
