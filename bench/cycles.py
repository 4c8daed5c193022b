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
"""Look for leaks: begin and end runtimes, carry out jobs, prune runs.

    bin/python bench/main.py memory --cycles 10000 [--json FILE]
    bin/python bench/main.py memory --jobs 100000
    bin/python bench/main.py memory --retention 100000

Without one of these options it carries out 20,000 jobs.  Each prints ten
lines: the resident memory of the process in MB, its threads,
open files and open connections, and the size of the packed database.
``--retention`` keeps the last thousand of its runs.  The exit code is 1 if
memory, threads, files or connections grew after the first tenth.
"""
import argparse
import os
import shutil
import sys
import tempfile
import threading
import time

import transaction
from bench.rounds import writeJSON
from bench.throughput import TYPE
from bench.throughput import Bench
from bench.throughput import addOne
from zope.component import hooks
from zope.component import provideAdapter
from zope.component import provideUtility
from zope.component.hooks import getSite

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.declarations.workertype import WorkerType
from cipher.background.interfaces import IWorkerType
from cipher.background.runtime.maintenance import pruner
from cipher.background.runtime.runtime import startRuntime
from cipher.background.runtime.standalone import StandaloneRecorder
from cipher.background.thread import BackgroundWorkerThread


#: Number of lines to print.
REPORTS = 10

#: Runs that wait at a time at most; a web server has about as many.
WAITING = 500

#: Finished runs that ``--retention`` keeps.
KEEP = 1000

#: MB and open files.  A smaller difference does not count as growth.
SLACK_MB = 10.0
SLACK_FILES = 20

TIMEOUT = 600.0


class ByHand(BackgroundWorkerThread):
    """A thread as in the README of the old package."""

    _rounds = 1

    def scheduleNextWork(self):
        self._rounds -= 1
        return self._rounds >= 0

    def doWork(self):
        getSite()['counters']['000'].value += 1


class Measure:
    """Measures the process and prints a line."""

    def __init__(self, bench, what, total):
        self._bench = bench
        self._what = what
        self._step = max(1, total // REPORTS)
        self._lines = []
        self._began_at = time.perf_counter()

    def note(self, number):
        """Print a line if *number*, the steps done, is a tenth of all."""
        if number % self._step == 0:
            self.print(number)

    def print(self, number):
        """Print a line."""
        transaction.abort()
        self._bench.db.pack()
        line = (
            _resident(), threading.active_count(),
            len(os.listdir('/proc/self/fd')),
            len([info for info in self._bench.db.connectionDebugInfo()
                 if info['opened']]))
        self._lines.append(line)
        print('%9d %-9s %7.1f MB %3d threads %3d files %3d connections '
              '%7.2f MB packed  %6.1f s' % (
                  number, self._what, *line, self._bench.size() / 1e6,
                  time.perf_counter() - self._began_at), flush=True)

    def figures(self):
        """Return {name: figure} of the second line and of the last one."""
        return {'%s, %s %s' % (self._what, name, when): line[n]
                for when, line in (('at a tenth', self._lines[1]),
                                   ('at last', self._lines[-1]))
                for n, name in enumerate(
                    ('MB', 'threads', 'files', 'connections'))}

    def hasGrown(self):
        """Return whether the last line has more than the second one."""
        first, last = self._lines[1], self._lines[-1]
        return (last[0] > first[0] + SLACK_MB or last[1] > first[1]
                or last[2] > first[2] + SLACK_FILES or last[3] > first[3])


def _resident():
    with open('/proc/self/statm') as statm:
        return int(statm.read().split()[1]) * os.sysconf('SC_PAGESIZE') / 1e6


def cycles(bench, number):
    """Begin and end runtimes, each with a job and a thread made by hand."""
    measure = Measure(bench, 'cycles', number)
    measure.print(0)
    for done in range(1, number + 1):
        runtime = startRuntime(bench.db, RuntimeSettings(threads=2))
        transaction.begin()
        run = bench.registry.start(TYPE, bench.counter(done))
        transaction.commit()
        worker = ByHand.forSite(bench.site, '')
        worker.start()
        worker.join()
        _wait(lambda: transaction.abort() or run.isFinished())
        runtime.shutdown()
        measure.note(done)
    return measure


def jobs(bench, number, what='jobs'):
    """Carry out jobs, a few hundred of them waiting at a time."""
    measure = Measure(bench, what, number)
    runtime = startRuntime(bench.db, RuntimeSettings(threads=2))
    measure.print(0)
    for done in range(1, number + 1):
        if done % WAITING == 0:
            _wait(lambda: runtime.backlog.isIdle())
        _start(bench, done)
        if done % max(1, number // REPORTS) == 0:
            _wait(lambda: _is_done(bench, done))
        measure.note(done)
    runtime.shutdown()
    return measure


def _start(bench, number):
    # With attempts, as in a publication: the pruner may cause a conflict.
    for attempt in transaction.attempts():
        with attempt:
            bench.registry.start(TYPE, bench.counter(number))


def _is_done(bench, number):
    transaction.abort()
    left = bench.registry.getCounts().get(TYPE, {})
    return not (left.get('pending') or left.get('running')) and (
        TYPE not in bench.keep or sum(left.values()) <= KEEP + 200)


def _declare(**values):
    provideUtility(WorkerType(TYPE, handler=addOne, **values),
                   IWorkerType, TYPE)


def _wait(condition):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            sys.exit('cycles: expected the work to end')
        time.sleep(0.002)


def main(argv=None):
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--cycles', type=int, default=0)
    parser.add_argument('--jobs', type=int, default=0)
    parser.add_argument('--retention', type=int, default=0)
    parser.add_argument('--json', metavar='FILE',
                        help='add the figures to this file')
    options = parser.parse_args(argv)
    if not (options.cycles or options.jobs or options.retention):
        options.jobs = 20000
    hooks.setHooks()
    provideAdapter(StandaloneRecorder)
    has_grown = False
    figures = {}
    for measure, number in ((cycles, options.cycles), (jobs, options.jobs),
                            (retention, options.retention)):
        if number:
            folder = tempfile.mkdtemp()
            try:
                bench = Bench(folder)
                bench.keep = ()
                _declare()
                measured = measure(bench, number)
                has_grown |= measured.hasGrown()
                figures.update(measured.figures())
                bench.close()
            finally:
                shutil.rmtree(folder)
    writeJSON('memory', options, [figures])
    if has_grown:
        sys.exit('cycles: something grew')


def retention(bench, number):
    """Carry out jobs of which only some are kept."""
    pruner.INTERVAL = 0.5
    bench.keep = (TYPE,)
    _declare(keep=KEEP)
    return jobs(bench, number, 'pruned')
