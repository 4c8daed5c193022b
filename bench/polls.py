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
"""Cost of each page and each poll for the server: time, bytes and loads.

    bin/python bench/main.py polls [PATH] [--runs 1000,10000,100000]
        [--rounds 3] [--polls 20] [--json FILE]

PATH is a database that the command ``pages`` made; nothing is written to it.
Without a PATH a database is made for each number of runs.

Each request goes through the whole publication: WSGI application, connection,
authentication, traversal, security policy, view and template.  There is no
socket.

Each request is made cold, with empty caches, and then warm.  The floor of cold
requests is the time to load 50 runs of known oid from the same file in the
same round.  The floor of warm requests is a request that loads no run.  Ratios
to the floor are comparable between machines; milliseconds are not.  The time
of warm requests is CPU time of the thread.
"""
import base64
import os
import statistics
import tempfile
import time
from datetime import datetime
from datetime import timezone
from urllib.parse import urlencode

import transaction
import webob
from bench import pages
from bench.rounds import listOf
from bench.rounds import newParser
from bench.rounds import positive
from bench.rounds import writeJSON
from ZODB.Connection import Connection
from ZODB.DB import DB
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from zope.app.wsgi import WSGIPublisherApplication
from zope.component import hooks
from zope.component import provideUtility
from zope.configuration import xmlconfig

import cipher.background.tests.support
from cipher.background.declarations.workertype import WorkerType
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import IWorkerType
from cipher.background.registry.installation import getRegistry
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.util import clock


BASE = '/++background++/'
LOGIN = 'Basic ' + base64.b64encode(b'admin:admin').decode()
FLOOR = 'token.json: no run'
PAGE = 50
ACTIONS = 500
AT_WORK = 8
INTERVAL = 2.0     # seconds from one poll of a page to the next


#: What of the figures of `measure` is kept: its index, a factor, its name.
KEPT = ((0, 1000, 'cold ms'), (1, 1, 'cold loads'), (2, 1000, 'warm cpu ms'),
        (4, 1, 'bytes'))


class Server:
    """The application over a copy of the database, without a socket."""

    def __init__(self, path):
        base = FileStorage(path, read_only=True)
        self.db = DB(DemoStorage(base=base), cache_size=5000)
        self.app = WSGIPublisherApplication(self.db)
        self.loads = 0
        self._setstate = Connection.setstate
        Connection.setstate = lambda *args: self._load(*args)

    def _load(self, connection, obj):
        self.loads += 1
        self._setstate(connection, obj)

    def get(self, path):
        """GET *path*; return (seconds, CPU seconds, bytes sent, loads)."""
        request = webob.Request.blank(
            BASE + path, headers={'Authorization': LOGIN,
                                  'Accept-Encoding': 'gzip'})
        self.loads = 0
        begin, cpu = time.perf_counter(), time.thread_time()
        response = request.get_response(self.app)
        length = len(response.body)
        cpu = time.thread_time() - cpu
        if response.status_code != 200:
            raise AssertionError('%s: expected 200, got %s' % (
                path, response.status))
        return time.perf_counter() - begin, cpu, length, self.loads

    def forget(self):
        """Empty the caches of all connections."""
        self.db.cacheMinimize()

    def close(self):
        """Close the database."""
        Connection.setstate = self._setstate
        self.db.close()


def prepare(db):
    """Add running runs, a process and a journal.

    Return ({name: path} to request, oids of some runs).
    """
    connection = db.open()
    site = connection.root()['Application']
    registry = getRegistry(site)
    newest = registry.listRuns(limit=1).items[0].created_at
    clock.setClock(lambda: newest + 60)
    for name in registry.getCounts():
        provideUtility(WorkerType(name, handler=print), IWorkerType, name)
    record = ProcessRecord('host:1:0123456789abcdef', 'host', 1, None, None,
                           4, 90.0, clock.now())
    getDirectory(connection).processes[record.id] = record
    for _n in range(AT_WORK):
        run = registry.start('report')
        run.change(RUNNING, started_at=clock.now(), owner=record.id,
                   attempts=1)
        record.live.runs[registry._p_oid, run.id] = (
            run.started_at, (3, 7, 'Page 3'), '', None)
    for n in range(ACTIONS):
        registry.pauseType('mail', not n % 2, 'because of %d' % n)
    transaction.commit()
    failed = registry.listRuns(states=[FAILED], limit=PAGE).items
    oids = [registry.get(status.id)._p_oid for status in failed]
    paths = list_paths(registry, failed[0].id, run.id)
    transaction.abort()
    connection.close()
    return paths, oids


def list_paths(registry, finished, running):
    """Return {name: path}: the floor, the pages, then the polls."""
    now = clock.now()

    def runs(**query):
        return 'runs.html?' + urlencode(query)

    def iso(seconds):
        return datetime.fromtimestamp(now - seconds, timezone.utc).isoformat()

    context = next(iter(registry.getSite()))
    return {
        FLOOR: 'token.json',
        'overview': 'index.html',
        'runs': 'runs.html',
        'runs, failed': runs(state='failed'),
        'runs, pending': runs(state='pending'),
        'runs, a type': runs(type='mail'),
        'runs, failed of a rare type': runs(type='migrate', state='failed'),
        'runs, words': runs(q='document 12'),
        'runs, words nowhere': runs(q='no such text'),
        'runs, words in errors': runs(q='state:failed tomorrow'),
        'runs, by id': runs(q='id:' + finished),
        'runs, a user': runs(user='zope.user7'),
        'runs, a context': runs(context=context),
        'runs, last hour': runs(since=iso(3600)),
        'runs, a week ago': runs(until=iso(7 * 86400)),
        'runs, longest': runs(order='slowest'),
        'runs, oldest': runs(order='oldest'),
        'a run, failed': finished + '/index.html',
        'a run, running': running + '/index.html',
        'types': 'types.html',
        'schedules': 'schedules.html',
        'processes': 'processes.html',
        'journal': 'journal.html',
        'poll of the overview': 'index.json',
        'poll of runs': 'runs.json',
        'poll of runs, failed': 'runs.json?state=failed',
        'poll of a run': running + '/index.json',
        'poll of processes': 'processes.json',
    }


def measure(server, paths, oids, polls):
    """Return {name: (cold, loads, warm, loads, bytes)} and the floor."""
    server.forget()
    connection = server.db.open()
    begin = time.perf_counter()
    for oid in oids:
        connection.get(oid).type
    floor = time.perf_counter() - begin
    connection.close()
    figures = {}
    for name, path in paths.items():
        server.forget()
        cold, _cpu, size, cold_loads = server.get(path)
        warm = [server.get(path) for _ in range(
            polls if name.startswith('poll') else 3)]
        figures[name] = (
            cold, cold_loads, statistics.median(cpu for _, cpu, _, _ in warm),
            warm[-1][-1], size, cold / floor)
    return figures


def print_table(rounds):
    """Print the medians of *rounds*, a list of what `measure` returned."""
    print('%-28s %8s %8s %7s %8s %8s %6s %7s %6s' % (
        '', 'cold ms', 'x floor', 'loads', 'warm ms', 'x floor', 'loads',
        'kB', 'core'))
    for name in rounds[0]:
        cold, cold_loads, warm, loads, size, ratio = [
            statistics.median(figures[name][n] for figures in rounds)
            for n in range(6)]
        warm_ratio = statistics.median(
            figures[name][2] / figures[FLOOR][2] for figures in rounds)
        share = ('%.2f %%' % (100 * warm / INTERVAL)
                 if name.startswith('poll') else '')
        print('%-28s %8.1f %8.1f %7d %8.1f %8.1f %6d %7.1f %6s' % (
            name, cold * 1000, ratio, cold_loads, warm * 1000, warm_ratio,
            loads, size / 1000, share))


def measureFile(path, options):
    """Print the table of the database *path*; return its rounds."""
    server = Server(path)
    try:
        paths, oids = prepare(server.db)
        for page in paths.values():
            server.get(page)    # compiles the templates
        rounds = [measure(server, paths, oids, options.polls)
                  for _ in range(options.rounds)]
        print_table(rounds)
        return rounds
    finally:
        server.close()


def measureSizes(options):
    """Return the rounds of databases of each size."""
    kept = [{} for _ in range(options.rounds)]
    for number in options.runs:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'Data.fs')
            pages.make(path, number)
            print('\n%d runs' % number, flush=True)
            for found, all_found in zip(measureFile(path, options), kept):
                all_found.update(name_figures(found, ', %d runs' % number))
    return kept


def name_figures(found, suffix=''):
    """Return {name: figure} of what `measure` returned."""
    return {'%s%s, %s' % (name, suffix, what): figures[n] * factor
            for name, figures in found.items()
            for n, factor, what in KEPT}


def main(argv=None):
    """Print a table."""
    parser = newParser(__doc__)
    parser.add_argument('path', nargs='?')
    parser.add_argument('--runs', type=listOf(positive),
                        default=[1000, 10000, 100000])
    parser.add_argument('--polls', type=positive, default=20)
    options = parser.parse_args(argv)
    hooks.setHooks()
    xmlconfig.file('browser_ftesting.zcml', cipher.background.tests.support)
    if options.path:
        rounds = [name_figures(found)
                  for found in measureFile(options.path, options)]
    else:
        rounds = measureSizes(options)
    writeJSON('polls', options, rounds)
