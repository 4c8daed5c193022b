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
"""From the commit of a start to the work, and from a stop to its end.

    bin/python bench/main.py latency [--storages file,zeo,postgresql]
        [--starts 200] [--stops 5] [--age 4] [--rounds 3] [--json FILE]

``file`` is one process, which starts a run and carries it out.  With ``zeo``
and ``postgresql`` one process starts it and another one carries it out.  The
processes are idle at each start.  The latency is the time from the return of
the commit to the first line of the work.

*Stop* is the time from the return of the commit of a stop request to the
error that `checkStop` raises.  The work asks once a millisecond.  One stop is
asked for when the run has worked for ``--age`` seconds and the other processes
know that it works.  *Early stop* is asked for when it has just begun.
"""
import sys
import time

import transaction
from bench.places import listPossible
from bench.places import newPlace
from bench.rounds import Child
from bench.rounds import carryOut
from bench.rounds import listOf
from bench.rounds import newParser
from bench.rounds import positive
from bench.rounds import quantiles
from bench.rounds import report
from bench.rounds import wait
from bench.throughput import STAMP
from bench.throughput import WARM_UP
from bench.throughput import declare
from bench.throughput import measureLatency
from bench.throughput import startRun
from bench.throughput import withFolder
from zope.component import hooks

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.interfaces import StopRequested
from cipher.background.registry.installation import getRegistry
from cipher.background.runtime.runtime import Runtime
from cipher.background.tests.support.servers import openDatabase


STOPPED = 'stopped'
STORAGES = ('file', 'zeo', 'postgresql')

#: Seconds between two starts, so that the processes are idle again.
PAUSE = 0.01


def measure(kind, starts, stops=0, age=0.0):
    """Return {name: figure} of the storage *kind*.

    *stops* is the number of stops after *age* seconds, and of early stops.
    """
    if kind == 'file':
        found = withFolder(measureLatency, starts)
        return {'one process, %s' % name: figure
                for name, figure in found.items()}
    with newPlace(kind) as place:
        bench = place.open()
        with Child('latency', '--work', place.uri) as child:
            child.read()    # it is ready
            bench.connection.sync()
            begun = [measureStart(bench, child)
                     for _ in range(WARM_UP + starts)]
            stopped = [measureStop(bench, child, age) for _ in range(stops)]
            early = [measureStop(bench, child, PAUSE) for _ in range(stops)]
        bench.close()
    figures = quantiles('%s, start' % kind, begun[WARM_UP:])
    if stops:
        figures.update(quantiles('%s, stop' % kind, stopped))
        figures.update(quantiles('%s, early stop' % kind, early))
    return figures


def measureStart(bench, child):
    """Return the seconds from a commit here to the work in *child*."""
    startRun(bench, STAMP)
    at = time.perf_counter()
    found = float(child.read()) - at
    time.sleep(PAUSE)
    return found


def measureStop(bench, child, age):
    """Return the seconds from a stop request to the error in *child*.

    The run has worked for *age* seconds.
    """
    run = startRun(bench, STOPPED)
    child.read()            # the work has begun
    time.sleep(age)
    for attempt in transaction.attempts():
        with attempt:
            bench.registry.requestStop(run.id)
    at = time.perf_counter()
    found = float(child.read()) - at
    time.sleep(PAUSE)
    return found


def say(what):
    """Write a line for the other process."""
    print(what, flush=True)


def loopUntilStopped(worker):
    """Return the time at which a stop request arrives."""
    say('begun')
    try:
        while True:
            worker.checkStop()
            time.sleep(0.001)
    except StopRequested:
        say(time.perf_counter())
        raise


def work(uri):
    """Carry out runs until the input ends."""
    declare(STAMP, lambda worker: say(time.perf_counter()))
    declare(STOPPED, loopUntilStopped)
    db = openDatabase(uri)
    runtime = Runtime(db, RuntimeSettings())
    runtime.start()
    connection = db.open()
    registry = getRegistry(connection.root()['Application'])
    wait(lambda: connection.sync() or len(registry.lanes) > runtime.threads,
         'the process has its lanes')
    connection.close()
    say('ready')
    sys.stdin.read()
    runtime.shutdown(5.0)


def main(argv=None):
    """Print a table."""
    parser = newParser(__doc__)
    parser.add_argument('--storages', type=listOf(str, STORAGES),
                        default=STORAGES)
    parser.add_argument('--starts', type=positive, default=200)
    parser.add_argument('--stops', type=int, default=5)
    parser.add_argument('--age', type=float, default=4.0)
    parser.add_argument('--work', help='be the worker of that zodburi')
    options = parser.parse_args(argv)
    hooks.setHooks()
    if options.work:
        return work(options.work)
    declare(STAMP, print)
    declare(STOPPED, print)
    report('latency', options, carryOut(
        [lambda kind=kind: measure(
            kind, options.starts, options.stops, options.age)
         for kind in listPossible(options.storages)], options.rounds),
        'each start and each stop arrived')
