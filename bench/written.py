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
"""Bytes that starts, jobs and an idle runtime write, and what a start adds.

    bin/python bench/main.py bytes [--jobs 2000] [--seconds 90] [--rounds 3]
        [--json FILE]

On a FileStorage.  *Added* is the share that a start adds to the time of a
commit of one object, or of 20.  These commits alternate with commits without
a start.  An idle runtime is watched for ``--seconds``, in the first round
only; the default is the time of four heartbeats.  Each start is counted at the
end.
"""
import time

import transaction
from bench.places import newPlace
from bench.rounds import carryOut
from bench.rounds import newParser
from bench.rounds import positive
from bench.rounds import report
from bench.throughput import TYPE
from bench.throughput import addOne
from bench.throughput import declare
from bench.throughput import measureOwnDrain
from bench.throughput import wait
from bench.throughput import withFolder
from zope.component import hooks

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.interfaces import PENDING
from cipher.background.runtime.runtime import Runtime


#: Starts in one transaction.
MANY = 100

SIZES = (1, 20)


def measureJobs(jobs):
    """Return the bytes of each start and each job of its own commit."""
    found = withFolder(measureOwnDrain, jobs, 1)
    return {'bytes of a start': found['start bytes, 1 threads'],
            'bytes of a job': found['drain bytes, 1 threads']}


def measureStarts(jobs):
    """Return what a start adds to a commit, and the starts of one commit."""
    figures = {}
    with newPlace('file') as place:
        bench = place.open()
        count = 0
        for objects in SIZES:
            # In turns, so that a load of the machine hits both alike.
            plain = added = 0.0
            size = 0
            for number in range(jobs // 2):
                plain += commit(bench, objects, 0, number)
                before = bench.size()
                added += commit(bench, objects, 1, number)
                size += bench.size() - before
                count += 1
            name = 'start in a commit of %d, ' % objects
            figures[name + 'added %'] = 100 * (added / plain - 1)
            figures[name + 'bytes'] = size / (jobs // 2)
        seconds = 0.0
        for number in range(-(-jobs // MANY)):
            seconds += commit(bench, 0, MANY, number)
            count += MANY
        figures['%d starts in a commit, starts/s' % MANY] = (
            -(-jobs // MANY) * MANY / seconds)
        counts = bench.registry.getCounts()
        if counts != {TYPE: {PENDING: count}}:
            raise AssertionError('expected %d runs pending, got %r' % (
                count, counts))
        bench.close()
    return figures


def commit(bench, objects, starts, number):
    """Change *objects* objects, start *starts* runs; return the seconds."""
    begin = time.perf_counter()
    transaction.begin()
    for step in range(objects):
        bench.counter(number + step).value += 1
    for step in range(starts):
        bench.registry.start(TYPE, bench.counter(number + step))
    transaction.commit()
    return time.perf_counter() - begin


def measureIdle(seconds):
    """Return the bytes that an idle runtime writes in a minute."""
    with newPlace('file') as place:
        bench = place.open()
        runtime = Runtime(bench.db, RuntimeSettings())
        runtime.start()
        wait(lambda: bench.hasLanes(runtime.threads))
        time.sleep(min(5.0, seconds))    # it has settled
        size, used = bench.size(), time.process_time()
        time.sleep(seconds)
        figures = {
            'idle runtime, bytes a minute':
                (bench.size() - size) * 60 / seconds,
            'idle runtime, % of a core':
                100 * (time.process_time() - used) / seconds}
        runtime.shutdown(5.0)
        bench.close()
    return figures


def main(argv=None):
    """Print a table."""
    parser = newParser(__doc__)
    parser.add_argument('--jobs', type=positive, default=2000)
    parser.add_argument('--seconds', type=float, default=90.0)
    options = parser.parse_args(argv)
    hooks.setHooks()
    declare(TYPE, addOne)
    rounds = carryOut([lambda: measureJobs(options.jobs),
                       lambda: measureStarts(options.jobs)], options.rounds)
    rounds.addOnce(lambda: measureIdle(options.seconds))
    report('bytes', options, rounds)
