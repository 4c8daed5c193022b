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
"""Other job queues with the same work, beside this package.

    bin/python bench/main.py peers [--environment FOLDER] [--jobs 2000]
        [--starts 100] [--threads 1,4] [--only ours,celery,...]
        [--rounds 3] [--json FILE]

It builds an environment with procrastinate, Celery, dramatiq, RQ and huey by
pip in ``--environment``, and keeps it there; without that option it uses a
temporary folder.  It starts the installed PostgreSQL and Redis, with durable
settings: PostgreSQL as it comes, Redis with ``appendfsync always``, SQLite
with ``fsync``.

A process enqueues the jobs; then another one works with each number of
threads.  A job adds 1 to one of 200 counters.  The effect of *ours* is in the
database of the runs, over ZEO where two processes take part and otherwise in
a FileStorage.  That of procrastinate is in its PostgreSQL.  That of the
others is in a FileStorage of the worker process: they cannot commit it with
the record.  RQ has one thread.  After each drain all effects and all records
are audited.

The latency is the time from the return of the call, for ours of the commit,
to the first line of the work, in idle processes.
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from bench.latency import measure as measureOwnLatency
from bench.peerprogram import COUNTERS
from bench.peerprogram import PEERS
from bench.places import DurablePostgreSQL
from bench.rounds import Child
from bench.rounds import carryOut
from bench.rounds import listOf
from bench.rounds import newParser
from bench.rounds import positive
from bench.rounds import quantiles
from bench.rounds import report
from bench.rounds import wait
from bench.throughput import STAMP
from bench.throughput import canShare
from bench.throughput import declare
from bench.throughput import declareJob
from bench.throughput import measureDrainThere
from bench.throughput import measureOwnDrain
from bench.throughput import withFolder
from bench.throughput import withServer
from zope.component import hooks

from cipher.background.tests.support.servers import Server


PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                       'peerprogram.py')
OURS = 'ours'

#: What pip installs.
REQUIREMENTS = ('procrastinate', 'celery[redis]', 'dramatiq[redis]', 'rq',
                'huey', 'ZODB', 'psycopg[binary,pool]')

#: Starts of a latency that do not count.
WARM_UP = 10
PAUSE = 0.01


class RedisServer(Server):
    """A Redis server that synchronizes its file at each command."""

    @staticmethod
    def findMissing():
        """See `Server`."""
        return None if shutil.which('redis-server') else (
            'redis-server is not installed')

    @property
    def url(self):
        """Its address for clients."""
        return 'redis://127.0.0.1:%d/0' % self.port

    def _spawn(self):
        return self._popen(
            'redis-server', '--port', str(self.port), '--bind', '127.0.0.1',
            '--dir', self.folder, '--save', '', '--appendonly', 'yes',
            '--appendfsync', 'always', stdin=subprocess.DEVNULL)

    def _answers(self):
        try:
            with socket.create_connection(
                    ('127.0.0.1', self.port), 1) as connection:
                connection.sendall(b'PING\r\n')
                return connection.recv(5) == b'+PONG'
        except OSError:
            return False


class NoPeers(Exception):
    """This machine cannot run the other queues; the text says why."""


def cleanEnvironment():
    """Return the variables of a Python without the path of this one."""
    return {name: value for name, value in os.environ.items()
            if name != 'PYTHONPATH'}


def buildEnvironment(folder):
    """Make an environment in *folder* if it is new; return its Python."""
    python = os.path.join(folder, 'bin', 'python')
    if not os.path.exists(os.path.join(folder, 'built')):
        print('peers: building an environment', flush=True)
        for command in (
                [sys.executable, '-m', 'venv', '--clear', folder],
                [python, '-m', 'pip', 'install', '--quiet', *REQUIREMENTS]):
            if subprocess.run(command, env=cleanEnvironment()).returncode:
                raise NoPeers('expected %r to succeed' % ' '.join(command))
        with open(os.path.join(folder, 'built'), 'w') as built:
            built.write('\n'.join(REQUIREMENTS))
    return python


class Servers:
    """Where the other queues store; a new Redis and database each time."""

    def __init__(self, python):
        self._python = python

    def child(self, peer, role, place, *rest):
        """Start the program of *peer*."""
        return Child(peer, role, json.dumps(place), *rest,
                     python=self._python, program=PROGRAM,
                     env=cleanEnvironment())

    def ask(self, peer, role, place):
        """Return the one answer of the program."""
        with self.child(peer, role, place) as child:
            return json.loads(child.read())

    def versions(self, peer):
        """Return {distribution: version} of *peer*."""
        return self.ask(peer, 'versions', {})

    def measure(self, peer, measure, *args):
        """Return what *measure* returns for new servers of *peer*."""
        folder = tempfile.mkdtemp()
        os.chmod(folder, 0o755)
        place = {'folder': folder}
        try:
            if peer == 'procrastinate':
                return self._with_postgresql(place, peer, measure, *args)
            if peer == 'huey-sqlite':
                return measure(self, peer, place, *args)
            with RedisServer(folder) as server:
                return measure(self, peer, {**place, 'redis': server.url},
                               *args)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _with_postgresql(self, place, peer, measure, *args):
        folder = os.path.join(place['folder'], 'postgresql')
        os.mkdir(folder)
        with DurablePostgreSQL(folder) as server:
            uri = server.makeDatabase()
            place = {**place, 'postgresql':
                     uri.replace('postgres://', 'postgresql://').rstrip('?')}
            with self.child(peer, 'prepare', place) as child:
                child.end(60)
            return measure(self, peer, place, *args)


def measureDrain(servers, peer, place, jobs, threads):
    """Return the starts and the jobs a second; audit them."""
    with servers.child(peer, 'enqueue', place) as child:
        child.read()
        child.write('many %d' % jobs)
        started = float(child.read())
    with servers.child(peer, 'work', place, threads) as child:
        child.read()
        child.write('go %d' % jobs)
        drained = float(child.read().removeprefix('done '))
        audit(peer, jobs, json.loads(child.read()))
        wait(lambda: servers.ask(peer, 'count', place) == jobs,
             '%s: all %d jobs are recorded' % (peer, jobs))
    return {'%s, start/s' % peer: jobs / started,
            '%s, drain/s, %d threads' % (peer, threads): jobs / drained}


def audit(peer, jobs, values):
    """Raise an error unless each job had its effect once."""
    expected = [jobs // COUNTERS + (number < jobs % COUNTERS)
                for number in range(COUNTERS)]
    if values != expected:
        raise AssertionError('%s: expected %d effects, each once, got %d' % (
            peer, jobs, sum(values)))


def measureLatency(servers, peer, place, starts):
    """Return the latency of *starts* starts."""
    found = []
    with servers.child(peer, 'work', place, 4) as worker, \
            servers.child(peer, 'enqueue', place) as child:
        worker.read()
        worker.write('go 0')
        child.read()
        for number in range(WARM_UP + starts):
            child.write('one %d' % number)
            at = float(child.read())
            found.append(float(worker.read()) - at)
            time.sleep(PAUSE)
    return quantiles('%s, latency' % peer, found[WARM_UP:])


def measureOurs(options):
    """Return the same figures of this package."""
    figures = {}
    for is_shared in (False, True) if canShare() else (False,):
        declareJob(is_shared)
        name = OURS + ', shared' * is_shared
        for threads in options.threads:
            figures.update(nameOwn(name, threads, withFolder(
                measureOwnDrain, options.jobs, threads)))
            figures.update(nameOwn(name + ', ZEO', threads, withFolder(
                withServer, measureDrainThere, options.jobs, threads)))
    for name, kind in (OURS, 'file'), (OURS + ', ZEO', 'zeo'):
        found = measureOwnLatency(kind, options.starts)
        figures.update({
            '%s, latency, %s' % (name, key.rpartition(', ')[2]): figure
            for key, figure in found.items()})
    return figures


def nameOwn(name, threads, found):
    """Return the rates of *found* under the names of the others."""
    return {
        name + ', start/s': found['start/s, %d threads' % threads],
        '%s, drain/s, %d threads' % (name, threads):
            found['drain/s, %d threads' % threads]}


def measurePeer(servers, peer, options):
    """Return {name: figure} of one of the others."""
    figures = {}
    for threads in options.threads if peer != 'rq' else [1]:
        figures.update(servers.measure(
            peer, measureDrain, options.jobs, threads))
    figures.update(servers.measure(peer, measureLatency, options.starts))
    return figures


def compare(found, threads):
    """Add our drain divided by that of each peer, the best of each."""
    def best(name):
        rates = ['%s, drain/s, %d threads' % (name, number)
                 for number in threads]
        return max((found[rate] for rate in rates if rate in found),
                   default=None)

    for name in OURS, OURS + ', shared':
        for peer in PEERS:
            ours, theirs = best(name), best(peer)
            if ours and theirs:
                found['%s / %s, drain' % (name, peer)] = ours / theirs


def requireServers(peers):
    """Raise `NoPeers` if a server is missing."""
    for missing in (
            'procrastinate' in peers and DurablePostgreSQL.findMissing(),
            {*peers} - {OURS, 'procrastinate', 'huey-sqlite'}
            and RedisServer.findMissing()):
        if missing:
            raise NoPeers(missing)


def parse(argv):
    """Return the options."""
    parser = newParser(__doc__)
    names = (OURS, *PEERS)
    parser.add_argument('--environment', metavar='FOLDER',
                        help='where to build the environment and keep it')
    parser.add_argument('--jobs', type=positive, default=2000)
    parser.add_argument('--starts', type=positive, default=100)
    parser.add_argument('--threads', type=listOf(positive), default=[1, 4])
    parser.add_argument('--only', type=listOf(str, names), default=names)
    return parser.parse_args(argv)


def main(argv=None):
    """Print a table."""
    options = parse(argv)
    hooks.setHooks()
    declareJob()
    declare(STAMP, print)
    temporary = tempfile.mkdtemp()
    try:
        requireServers(options.only)
        measures, versions, servers = [], {}, None
        if OURS in options.only:
            measures.append(lambda: measureOurs(options))
        others = [peer for peer in options.only if peer != OURS]
        if others:
            servers = Servers(buildEnvironment(os.path.abspath(
                options.environment or os.path.join(temporary, 'peers'))))
            for peer in others:
                versions.update(servers.versions(peer))
        for peer in others:
            measures.append(
                lambda peer=peer: measurePeer(servers, peer, options))
        rounds = carryOut(measures, options.rounds)
    except NoPeers as error:
        sys.exit('peers: %s' % error)
    finally:
        shutil.rmtree(temporary)
    for found in rounds:
        compare(found, options.threads)
    report('peers', options, rounds, versions=versions)
