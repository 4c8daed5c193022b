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
"""The drain while pages are open, and the bytes of pages without news.

    bin/python bench/main.py viewers [--pages 30] [--jobs 20000] [--runs 10000]
        [--seconds 60] [--rounds 3] [--json FILE]

One process serves the pages and carries out the jobs, on a FileStorage with
``--runs`` finished runs.  Half of the pages are overviews, half are lists of
runs.  They ask for their JSON as browsers do: they name the state that they
have, accept gzip, wait as long as the server asks for, and ask more seldom
while nothing changes.  There is no socket.  Rounds with pages and rounds
without them alternate.  In the first round, pages without news are watched
for ``--seconds``.

Other programs on the machine disturb it more than the pages do.  ``chrt -f
10`` keeps them away, and ``TMPDIR=/dev/shm`` excludes the disk.  Do not bind
it to one processor as well: then the pages get no turn.
"""
import json
import tempfile
import threading
import time

import transaction
import webob
from bench import growth
from bench.pages import RARE
from bench.pages import TYPES
from bench.polls import BASE
from bench.polls import LOGIN
from bench.rounds import carryOut
from bench.rounds import newParser
from bench.rounds import positive
from bench.rounds import report
from bench.throughput import TYPE
from bench.throughput import Countdown
from bench.throughput import addOne
from bench.throughput import declare
from bench.throughput import wait
from zope.app.wsgi import WSGIPublisherApplication
from zope.component import hooks
from zope.configuration import xmlconfig

import cipher.background.tests.support
from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.runtime.runtime import Runtime


PATHS = ('index.json', 'runs.json')

#: Seconds between two polls, as in background.js.
INTERVAL, QUIET_INTERVAL = 2.0, 10.0

#: Names of values that change with the time alone, as in background.js.
STEADY = ('beat_at', 'beat')

#: Starts in one transaction.
MANY = 100


class Viewer(threading.Thread):
    """An open page."""

    def __init__(self, app, path, first):
        super().__init__(daemon=True)
        self._app = app
        self._path = path
        self._first = first      # seconds until its first poll
        self._over = threading.Event()
        self._etag = ''
        self._last = None
        self._interval = INTERVAL
        self.polls = self.bytes = self.unchanged = 0

    def run(self):
        """Ask until `end`."""
        seconds = self._first
        while not self._over.wait(seconds):
            seconds = self.poll()

    def end(self):
        """End it; return when it has ended."""
        self._over.set()
        self.join()

    def poll(self):
        """Ask once; return the seconds until the next time."""
        headers = {'Authorization': LOGIN, 'Accept': 'application/json',
                   'Accept-Encoding': 'gzip'}
        if self._etag:
            headers['If-None-Match'] = self._etag
        response = webob.Request.blank(
            BASE + self._path, headers=headers).get_response(self._app)
        self.polls += 1
        self.bytes += len(response.body) + sum(
            len(name) + len(value) + 4
            for name, value in response.headerlist)
        if response.status_code == 304:
            self.unchanged += 1
            has_changed = False
        elif response.status_code == 200:
            self._etag = response.headers.get('ETag', '')
            response.decode_content()
            last, self._last = self._last, essence(json.loads(response.body))
            has_changed = last != self._last
        else:
            raise AssertionError('%s: expected 200 or 304, got %s' % (
                self._path, response.status))
        self._interval = INTERVAL if has_changed else min(
            QUIET_INTERVAL, self._interval * 1.5)
        return max(self._interval,
                   float(response.headers.get('Poll-After', 0)))


def essence(value):
    """Return *value* without what changes with the time alone."""
    if isinstance(value, dict):
        return {name: essence(each) for name, each in value.items()
                if name not in STEADY}
    if isinstance(value, list):
        return [essence(each) for each in value]
    return value


def view(bench, number):
    """Open *number* pages; return them."""
    app = WSGIPublisherApplication(bench.db)
    viewers = [Viewer(app, PATHS[n % 2], INTERVAL * n / number)
               for n in range(number)]
    for viewer in viewers:
        viewer.start()
    return viewers


def measureDrain(source, jobs, number):
    """Return the jobs a second while *number* pages are open."""
    with growth.copied(source) as folder:
        bench = growth.Grown(folder)
        before = bench.registry.getCounts()
        for begin in range(0, jobs, MANY):
            transaction.begin()
            for step in range(begin, min(jobs, begin + MANY)):
                bench.registry.start(TYPE, bench.counter(step))
            transaction.commit()
        runtime = Runtime(bench.db, RuntimeSettings(threads=1))
        start, runtime.executor.start = runtime.executor.start, lambda: None
        runtime.start()
        wait(lambda: bench.hasLanes(1))
        finished = Countdown(jobs)
        finished.watch(runtime)
        viewers = view(bench, number)
        if viewers:
            time.sleep(INTERVAL)     # each has asked once
        polls = sum(viewer.polls for viewer in viewers)
        begin = time.perf_counter()
        start()
        finished.wait()
        seconds = time.perf_counter() - begin
        polls = sum(viewer.polls for viewer in viewers) - polls
        for viewer in viewers:
            viewer.end()
        runtime.shutdown(5.0)
        growth.audit(bench, jobs, before)
        bench.close()
    name = 'drain/s, %d pages' % number
    figures = {name: jobs / seconds}
    if number:
        figures['polls/s, %d pages' % number] = polls / seconds
    return figures


def measureQuiet(source, number, seconds):
    """Return the bytes a minute of each page on which nothing changes."""
    with growth.copied(source) as folder:
        bench = growth.Grown(folder)
        runtime = Runtime(bench.db, RuntimeSettings())
        runtime.start()
        wait(lambda: bench.hasLanes(runtime.threads))
        viewers = view(bench, number)
        time.sleep(seconds)
        for viewer in viewers:
            viewer.end()
        runtime.shutdown(5.0)
        bench.close()
    return {
        'bytes a minute, %s without news' % path: sum(
            viewer.bytes for viewer in viewers[n::2])
        * 60 / seconds / len(viewers[n::2])
        for n, path in enumerate(PATHS)}


def main(argv=None):
    """Print a table."""
    parser = newParser(__doc__)
    parser.add_argument('--pages', type=positive, default=30)
    parser.add_argument('--jobs', type=positive, default=20000)
    parser.add_argument('--runs', type=positive, default=10000)
    parser.add_argument('--seconds', type=float, default=60.0)
    options = parser.parse_args(argv)
    options.pages = max(2, options.pages)
    hooks.setHooks()
    xmlconfig.file('browser_ftesting.zcml', cipher.background.tests.support)
    declare(TYPE, addOne, **growth.KEPT)
    for name in (*TYPES, RARE):
        declare(name, print, **growth.KEPT)
    with tempfile.TemporaryDirectory() as source:
        growth.make(source, options.runs, 0, 1)
        rounds = carryOut([
            lambda: measureDrain(source, options.jobs, 0),
            lambda: measureDrain(source, options.jobs, options.pages)],
            options.rounds)
        names = 'drain/s, %d pages' % options.pages, 'drain/s, 0 pages'
        for found in rounds:
            if {*names} <= {*found}:
                found['drain with pages / without'] = (
                    found[names[0]] / found[names[1]])
        rounds.addOnce(lambda: measureQuiet(
            source, options.pages, options.seconds))
    report('viewers', options, rounds)
