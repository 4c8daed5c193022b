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
"""Conflicts of web processes that start runs, while a worker carries them out.

    bin/python bench/main.py conflicts [--storages zeo] [--processes 4]
        [--threads 2] [--starts 1000] [--request 0.05] [--rounds 3]
        [--json FILE]

The processes have no runtime.  Each of their threads does what a request does:
it opens a connection, works for ``--request`` seconds, starts a run and
commits; after a conflict it does all of it again.  The conflicts are those
that the users' requests get.  Each effect and each record is audited.
"""
import json
import threading
import time

import transaction
from bench.places import listPossible
from bench.places import newPlace
from bench.rounds import Child
from bench.rounds import carryOut
from bench.rounds import listOf
from bench.rounds import newParser
from bench.rounds import positive
from bench.rounds import report
from bench.rounds import wait
from bench.throughput import COUNTERS
from bench.throughput import TYPE
from bench.throughput import Worker
from bench.throughput import addOne
from bench.throughput import audit
from bench.throughput import declare
from ZODB.POSException import ConflictError
from zope.component import hooks

from cipher.background.interfaces import SUCCEEDED
from cipher.background.registry.installation import getRegistry
from cipher.background.tests.support.servers import openDatabase


STORAGES = ('zeo', 'postgresql')


def measure(kind, options):
    """Return {name: figure} of the storage *kind*."""
    threads = options.processes * options.threads
    jobs = -(-options.starts // threads) * threads
    with newPlace(kind) as place:
        bench = place.open()
        worker = Worker(place, 2)
        worker.begin(jobs)
        children = [
            Child('conflicts', '--place', place.uri, '--first',
                  number * jobs // options.processes, '--starts',
                  jobs // options.processes, '--threads', options.threads,
                  '--request', options.request)
            for number in range(options.processes)]
        for child in children:
            child.read()     # it is ready
        begin = time.perf_counter()
        for child in children:
            child.write('go')
        found = [json.loads(child.read()) for child in children]
        seconds = time.perf_counter() - begin
        for child in children:
            child.end()
        worker.read()        # all jobs have ended
        wait(lambda: bench.connection.sync() or bench.registry.getCounts()
             == {TYPE: {SUCCEEDED: jobs}}, 'all runs succeed')
        worker.end()
        audit(bench, jobs)
        bench.close()
    return {kind + ', conflicts/1000': sum(found) * 1000 / jobs,
            kind + ', starts/s': jobs / seconds}


def start(uri, first, starts, threads, request):
    """Start the runs number *first* and up; print the conflicts."""
    db = openDatabase(uri)
    conflicts = []

    def serve(number):
        while True:
            connection = db.open()
            try:
                transaction.begin()
                site = connection.root()['Application']
                time.sleep(request)
                counter = site['counters']['%03d' % (number % COUNTERS)]
                getRegistry(site).start(TYPE, counter)
                transaction.commit()
                return
            except ConflictError:
                conflicts.append(number)
            finally:
                transaction.abort()
                connection.close()

    def serve_all(thread):
        for number in range(thread, starts, threads):
            serve(first + number)

    serving = [threading.Thread(target=serve_all, args=(thread,))
               for thread in range(threads)]
    print('ready', flush=True)
    input()
    for thread in serving:
        thread.start()
    for thread in serving:
        thread.join()
    print(json.dumps(len(conflicts)), flush=True)
    db.close()


def main(argv=None):
    """Print a table."""
    parser = newParser(__doc__)
    parser.add_argument('--storages', type=listOf(str, STORAGES),
                        default=['zeo'])
    parser.add_argument('--processes', type=positive, default=4)
    parser.add_argument('--threads', type=positive, default=2)
    parser.add_argument('--starts', type=positive, default=1000)
    parser.add_argument('--request', type=float, default=0.05)
    parser.add_argument('--place', help='start runs in that zodburi')
    parser.add_argument('--first', type=int, default=0)
    options = parser.parse_args(argv)
    hooks.setHooks()
    declare(TYPE, addOne)
    if options.place:
        return start(options.place, options.first, options.starts,
                     options.threads, options.request)
    report('conflicts', options, carryOut(
        [lambda kind=kind: measure(kind, options)
         for kind in listPossible(options.storages)], options.rounds))
