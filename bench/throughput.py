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
"""Latency and throughput of small jobs, beside raw commits and other code.

    bin/python bench/main.py throughput [--rounds 3] [--jobs 2000]
        [--threads 1,4] [--starts 300] [--zeo] [--share] [--against ../old]
        [--json FILE]

In one process, on a file storage, it measures the *latency* of an idle
process: from the return of the commit of a start to the first line of the
work.  Then it measures starts and their drain.  With ``--zeo`` one process
starts runs and another one carries them out.  Each job adds 1 to one of 200
counters.  After a drain, every effect and every record is audited.  With
``--share`` jobs share commits, if this version of the package can do that.

Each round is a new process with new databases.  The *floor* is the number of
raw commits a second of the same database, the *ceiling* that of jobs of which
a bare loop writes the records.  Ratios to the floor are comparable between
machines; absolute figures are not.

With ``--against`` the rounds alternate between this code and that checkout.
On a busy machine look at the least figures and at the medians of many rounds.
``TMPDIR=/dev/shm`` excludes the disk.
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import transaction
from bench.rounds import Child
from bench.rounds import listOf
from bench.rounds import newParser
from bench.rounds import writeJSON
from persistent import Persistent
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import hooks
from zope.component import provideUtility
from zope.container.btree import BTreeContainer
from zope.container.contained import Contained
from zope.site.folder import rootFolder
from zope.site.site import LocalSiteManager

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.declarations.workertype import WorkerType
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import IWorkerType
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import getRegistry
from cipher.background.runtime.runtime import Runtime
from cipher.background.tests.support.servers import ZEOServer
from cipher.background.tests.support.servers import openDatabase
from cipher.background.tests.support.servers import programEnvironment
from cipher.background.util import clock


COUNTERS = 200
TYPE = 'add-one'
STAMP = 'stamp'
TIMEOUT = 300.0

#: Seconds until a commit of another process is seen here.
LATEST = 10.0

#: Number of starts before the measured ones.
WARM_UP = 50

#: Seconds between two starts, so that the process is idle again.
PAUSE = 0.005

#: The program that this module is part of.
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'main.py')

#: Number of jobs in one commit of the bare loop, if jobs share commits.
TOGETHER = 50

#: Number of jobs that wait while commits are counted.
FEW = 100


#: Settings of the type of the jobs.
SETTINGS = {}


class Counter(Contained, Persistent):
    """Counts the effects of jobs."""

    value = 0


def addOne(worker):
    """The job."""
    worker.context.value += 1


class Bench:
    """A database in a temporary folder, with counters and a registry."""

    def __init__(self, folder):
        self.path = os.path.join(folder, 'Data.fs')
        self.db = DB(FileStorage(self.path), pool_size=20)
        self.make()

    def make(self):
        """Fill the database."""
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
        """Return the counter of the job with that number."""
        return self.counters['%03d' % (number % COUNTERS)]

    def hasLanes(self, threads):
        """Return whether a process with *threads* threads has its lanes."""
        self.connection.sync()
        return len(self.registry.lanes) > threads

    def close(self):
        """Close the database."""
        hooks.setSite(None)
        transaction.abort()
        self.connection.close()
        self.db.close()

    def size(self):
        """Return the bytes written so far."""
        return os.path.getsize(self.path)


class Countdown:
    """Waits until a number of runs have ended."""

    def __init__(self, number):
        self._left = number
        self._lock = threading.Lock()
        self._over = threading.Event()

    def watch(self, runtime):
        """Count the runs that end in *runtime*."""
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
    """Exit unless each job had exactly its effect and its record.

    The last commit of another process comes here a moment after its end.  It
    has both, so the effects are looked at once the records are there.
    """
    expected = {TYPE: {SUCCEEDED: jobs}}
    deadline = time.monotonic() + LATEST
    while True:
        bench.connection.sync()
        counts = bench.registry.getCounts()
        if counts == expected or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    if counts != expected:
        sys.exit('throughput: expected %d runs succeeded, got %r'
                 % (jobs, counts))
    for number in range(COUNTERS):
        expected = jobs // COUNTERS + (number < jobs % COUNTERS)
        got = bench.counter(number).value
        if got != expected:
            sys.exit('throughput: counter %d: expected %d, got %d'
                     % (number, expected, got))


def startRun(bench, name, context=None):
    """Commit a start as a request does, which may conflict; return the run.
    """
    for attempt in transaction.attempts():
        with attempt:
            run = bench.registry.start(name, context)
    return run


def measureDrain(bench, jobs, threads, drain):
    """Start *jobs* jobs here, call the function *drain*; return figures."""
    figures = {'floor/s': measureFloor(bench, jobs)}
    size = bench.size()
    begin, used = time.perf_counter(), time.process_time()
    for number in range(jobs):
        startRun(bench, TYPE, bench.counter(number))
    figures['start/s'] = jobs / (time.perf_counter() - begin)
    figures['start cpu us'] = 1e6 * (time.process_time() - used) / jobs
    figures['start bytes'] = (bench.size() - size) / jobs
    size = bench.size()
    begin = time.perf_counter()
    drain()
    figures['drain/s'] = jobs / (time.perf_counter() - begin)
    figures['drain bytes'] = (bench.size() - size) / jobs
    for name in 'start', 'drain':
        figures[name + ' x floor'] = (
            figures[name + '/s'] / figures['floor/s'])
    audit(bench, jobs)
    return {'%s, %d threads' % (name, threads): figure
            for name, figure in figures.items()}


def measureFloor(bench, number):
    """Return the commits per second of one object; it stays as it was."""
    begin = time.perf_counter()
    for step in (1, -1) * (number // 2):
        transaction.begin()
        bench.counter(0).value += step
        transaction.commit()
    return number // 2 * 2 / (time.perf_counter() - begin)


def measureCeiling(bench, jobs, together=1):
    """Write the records of *jobs* jobs in a bare loop.

    *together* is the number of jobs of each commit.  Return the jobs a second
    and the microseconds of CPU of each.
    """
    places = []
    for number in range(jobs):
        transaction.begin()
        run = bench.registry.start(TYPE, bench.counter(number))
        places.append((run.lane, run.serial))
        transaction.commit()
    begin, used = time.perf_counter(), time.process_time()
    for first in range(0, jobs, together):
        transaction.begin()
        for lane, serial in places[first:first + together]:
            run = bench.registry.getRun(lane, serial)
            run.context.value += 1
            bench.registry.finish(
                run, SUCCEEDED, RunSucceededEvent, owner='bench',
                started_at=clock.now(), attempts=1, progress=None)
        transaction.commit()
    used = time.process_time() - used
    rate = jobs / (time.perf_counter() - begin)
    audit(bench, jobs)
    return rate, 1e6 * used / jobs


def quantiles(seconds):
    """Return p50 and p95 of a list."""
    ordered = sorted(seconds)
    return {'p50 ms': 1000 * statistics.median(ordered),
            'p95 ms': 1000 * ordered[int(len(ordered) * 0.95)]}


def declare(name, handler, **settings):
    """Declare a worker type."""
    provideUtility(WorkerType(name, handler=handler, **settings),
                   IWorkerType, name)


def declareJob(is_shared=False):
    """Declare the type of the jobs, here and for each `Worker`."""
    SETTINGS.clear()
    if is_shared:
        SETTINGS['share'] = True
    declare(TYPE, addOne, **SETTINGS)


def canShare():
    """Return whether jobs can share commits."""
    return 'share' in IWorkerType


# In one process

def measureOneProcess(options):
    """Return {name: figure}."""
    figures = withFolder(measureLatency, options.starts)
    figures.update(withFolder(
        measureBareLoop, options.jobs, TOGETHER if options.share else 1))
    for threads in options.threads:
        figures.update(withFolder(measureOwnDrain, options.jobs, threads))
    return figures


def measureBareLoop(folder, jobs, together):
    """Return the ceiling: the same records, written by a bare loop."""
    bench = Bench(folder)
    rate, used = measureCeiling(bench, jobs, together)
    bench.close()
    return {'ceiling/s': rate, 'ceiling cpu us': used}


def withFolder(function, *args):
    """Return what *function* returns for a new folder and *args*."""
    folder = tempfile.mkdtemp()
    try:
        return function(folder, *args)
    finally:
        shutil.rmtree(folder)


def measureLatency(folder, number):
    """Return the latencies of *number* starts."""
    begun = threading.Event()
    stamps = []

    def stamp(worker):
        stamps.append(time.perf_counter())
        begun.set()

    declare(STAMP, stamp)
    bench = Bench(folder)
    runtime = Runtime(bench.db, RuntimeSettings())
    runtime.start()
    wait(lambda: bench.hasLanes(runtime.threads))
    found = []
    for _ in range(WARM_UP + number):
        begun.clear()
        startRun(bench, STAMP)
        at = time.perf_counter()
        begun.wait(TIMEOUT)
        found.append(stamps.pop() - at)
        wait(lambda: not runtime.allLive())
        time.sleep(PAUSE)
    runtime.shutdown(5.0)
    bench.close()
    return quantiles(found[WARM_UP:])


def measureOwnDrain(folder, jobs, threads):
    """Return the figures of `measureDrain`, and the conflicts."""
    bench = Bench(folder)
    runtime = Runtime(bench.db, RuntimeSettings(threads=threads))
    # The process gets its lanes first; its threads start later.
    start, runtime.executor.start = runtime.executor.start, lambda: None
    runtime.start()
    wait(lambda: bench.hasLanes(threads))
    finished = Countdown(jobs)
    finished.watch(runtime)

    used = []

    def drain():
        begin = time.process_time()
        start()
        finished.wait()
        used.append(time.process_time() - begin)

    figures = measureDrain(bench, jobs, threads, drain)
    figures['drain cpu us, %d threads' % threads] = 1e6 * used[0] / jobs
    figures['conflicts/1000, %d threads' % threads] = (
        runtime.conflicts * 1000 / jobs)
    runtime.shutdown(5.0)
    bench.close()
    return figures


# Over ZEO

def measureZEO(options):
    """Return {name: figure}."""
    figures = withFolder(withServer, measureBetween, options.starts)
    for threads in options.threads:
        figures.update(withFolder(
            withServer, measureDrainThere, options.jobs, threads))
    few = withFolder(withServer, measureDrainThere, FEW, 1)
    name = 'commits/job, 1 threads'
    figures['%s, %d wait' % (name, FEW)] = few[name]
    return figures


def withServer(folder, function, *args):
    """Return what *function* returns for a ZEO server in *folder*."""
    with ZEOServer(folder) as server:
        return function(server, *args)


class ZEOBench(Bench):
    """The database of *server* in the process that starts runs."""

    def __init__(self, server):
        self.path = os.path.join(server.folder, 'Data.fs')
        self.db = openDatabase(server.uri)
        self.make()


class Worker:
    """The process that carries out runs: this program with ``--work``."""

    def __init__(self, server, threads):
        self._child = Child(
            'throughput', '--work', server.uri, '--threads', threads,
            *['--share'] * bool(SETTINGS))
        self.read()

    def read(self):
        """Return its next answer."""
        return self._child.read()

    def begin(self, jobs):
        """Start its threads; it answers when *jobs* jobs have ended."""
        self._child.write(jobs)

    def end(self):
        """End it in good order."""
        self._child.end()


def work(uri, threads):
    """Carry out runs as the process of `Worker`."""
    declare(STAMP, lambda worker: print(time.perf_counter(), flush=True))
    db = openDatabase(uri)
    runtime = Runtime(db, RuntimeSettings(threads=threads))
    start, runtime.executor.start = runtime.executor.start, lambda: None
    runtime.start()
    connection = db.open()
    registry = getRegistry(connection.root()['Application'])
    wait(lambda: connection.sync() or len(registry.lanes) > threads)
    connection.close()
    print('ready', flush=True)
    jobs = int(sys.stdin.readline())
    finished = Countdown(jobs)
    finished.watch(runtime)
    start()
    if jobs:
        finished.wait()
        print('done', flush=True)
    sys.stdin.read()
    runtime.shutdown(5.0)


def measureDrainThere(server, jobs, threads):
    """Return the figures of `measureDrain`, and the commits."""
    bench = ZEOBench(server)
    worker = Worker(server, threads)
    last = []

    def drain():
        last.append(bench.db.lastTransaction())
        worker.begin(jobs)
        worker.read()

    figures = measureDrain(bench, jobs, threads, drain)
    worker.end()
    bench.close()
    server.stop()
    figures['commits/job, %d threads' % threads] = countCommits(
        bench.path, *last) / jobs
    return figures


def countCommits(path, last):
    """Return the number of commits after *last*."""
    storage = FileStorage(path, read_only=True)
    try:
        return sum(txn.tid > last for txn in storage.iterator(start=last))
    finally:
        storage.close()


def measureBetween(server, number):
    """Return the latencies from a commit here to the work there."""
    bench = ZEOBench(server)
    worker = Worker(server, RuntimeSettings().threads)
    worker.begin(0)
    bench.connection.sync()
    found = []
    for _ in range(WARM_UP + number):
        startRun(bench, STAMP)
        at = time.perf_counter()
        found.append(float(worker.read()) - at)
        time.sleep(2 * PAUSE)
    worker.end()
    bench.close()
    return quantiles(found[WARM_UP:])


# Rounds

def measureIn(checkout, arguments):
    """Return the figures of one round with the code of *checkout*.

    None is this code.
    """
    python, environment = sys.executable, programEnvironment()
    if checkout is not None:
        python = os.path.join(checkout, 'bin', 'python')
        environment = None
    return json.loads(subprocess.run(
        [python, PROGRAM, 'throughput', '--once', *arguments],
        env=environment, stdout=subprocess.PIPE, check=True).stdout)


def report(here, there):
    """Print the figures of all rounds; *there* may be empty."""
    median = statistics.median
    print('%d rounds; every effect audited' % len(here))
    print('%-30s %9s %9s %9s' % ('', 'median', 'least', 'most'), end='')
    print('   %9s %9s %8s %8s %8s' % (
        'theirs', 'least', 'x median', 'x least', 'x pairs')
          if there else '')
    for name in here[0]:
        mine = [figures[name] for figures in here]
        print('%-30s %9.4g %9.4g %9.4g' % (
            name, median(mine), min(mine), max(mine)), end='')
        if there:
            theirs = [figures[name] for figures in there]
            print('   %9.4g %9.4g %8.2f %8.2f %8.2f' % (
                median(theirs), min(theirs),
                ratio(median(mine), median(theirs)),
                ratio(min(mine), min(theirs)),
                median(map(ratio, mine, theirs))), end='')
        print()


def ratio(mine, theirs):
    """Return *mine* divided by *theirs*; 1.0 if *theirs* is 0."""
    return mine / theirs if theirs else 1.0


def compare(options, arguments):
    """Measure in turns, and report; exit if a round failed."""
    here, there = [], []
    failures = 0
    sides = [(None, here)] + [(options.against, there)] * bool(options.against)
    for _ in range(options.rounds):
        for checkout, found in sides:
            try:
                found.append(measureIn(checkout, arguments))
            except subprocess.CalledProcessError as error:
                print(error, file=sys.stderr)
                failures += 1
        sides.reverse()   # so that neither side is always first
    if not here or options.against and not there:
        sys.exit('throughput: expected figures, got none')
    report(here, there)
    writeJSON('throughput' + ', ZEO' * options.zeo
              + ', shared' * options.share, options, here)
    if failures:
        sys.exit('throughput: %d rounds failed' % failures)


def main(argv=None):
    """Print a table."""
    parser = newParser(__doc__)
    parser.add_argument('--jobs', type=int, default=2000)
    parser.add_argument('--starts', type=int, default=300)
    parser.add_argument('--threads', type=listOf(int), default=[1, 4])
    parser.add_argument('--zeo', action='store_true')
    parser.add_argument('--share', action='store_true')
    parser.add_argument('--against', help='folder of another checkout')
    parser.add_argument('--once', action='store_true', help='print JSON')
    parser.add_argument('--work', help='be the worker of that zodburi')
    arguments = sys.argv[1:] if argv is None else argv
    options = parser.parse_args(arguments)
    if options.share and not canShare():
        parser.error('--share: expected a package with shared commits')
    hooks.setHooks()
    declareJob(options.share)
    declare(STAMP, addOne)   # the worker process declares its own handler
    if options.work:
        work(options.work, *options.threads)
    elif options.once:
        print(json.dumps(
            (measureZEO if options.zeo else measureOneProcess)(options)))
    else:
        compare(options, arguments)
