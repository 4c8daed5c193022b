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
"""One of the other job queues, in its own environment.

Started by `bench.peers` with the Python of that environment; it imports no
module of this package.

    PYTHON peerprogram.py PEER enqueue PLACE
    PYTHON peerprogram.py PEER work PLACE THREADS
    PYTHON peerprogram.py PEER count PLACE
    PYTHON peerprogram.py PEER versions PLACE
    PYTHON peerprogram.py PEER prepare PLACE

PLACE is JSON: {"folder", "redis", "postgresql"}.  The program reads lines and
answers each of them:

enqueue
    ``many N``: enqueue N jobs; the answer is the seconds.  ``one N``: enqueue
    job N; the answer is the time at which the call returned.
work
    Answers ``ready``.  At the line ``go N`` it begins; it answers ``done
    SECONDS`` when N jobs have had their effects.  Then it answers nothing
    until its input ends.  With N = 0 it answers each job with the time of its
    first line.
prepare
    Makes the tables, if it needs some; answers nothing.
count
    Writes the number of jobs that are recorded as succeeded.

The effect of a job adds 1 to one of 200 counters.  That of procrastinate is a
row of its own PostgreSQL database, that of the others a persistent object in
a FileStorage of the worker process.
"""
import importlib.metadata
import json
import logging
import os
import sys
import threading
import time


COUNTERS = 200

#: {peer: its distributions}
PEERS = {
    'procrastinate': ('procrastinate', 'psycopg'),
    'celery': ('celery', 'redis'),
    'dramatiq': ('dramatiq', 'redis'),
    'rq': ('rq', 'redis'),
    'huey-redis': ('huey', 'redis'),
    'huey-sqlite': ('huey',),
}


class Effects:
    """Counters in a FileStorage; counts the effects until a number."""

    def __init__(self):
        self._lock = threading.Lock()
        self._left = None
        self._over = threading.Event()
        self._db = None

    def open(self, folder):
        """Open the database in *folder*; make the counters."""
        import BTrees.OOBTree
        import persistent.mapping
        from ZODB.DB import DB
        from ZODB.FileStorage import FileStorage
        self._db = DB(FileStorage(os.path.join(folder, 'Effects.fs')),
                      pool_size=20)
        with self._db.transaction() as connection:
            root = connection.root()
            if 'counters' not in root:
                root['counters'] = BTrees.OOBTree.OOBTree()
                for number in range(COUNTERS):
                    counter = persistent.mapping.PersistentMapping(value=0)
                    root['counters'][number] = counter

    def expect(self, number):
        """Begin to count down from *number*."""
        self._left = number

    def add(self, number):
        """Carry out job *number*."""
        if self._left == 0:
            answer(time.perf_counter())
            return
        from ZODB.POSException import ConflictError
        while True:
            try:
                with self._db.transaction() as connection:
                    connection.root()['counters'][number % COUNTERS][
                        'value'] += 1
                break
            except ConflictError:
                continue
        self.done()

    def done(self):
        """Count one job as done."""
        with self._lock:
            self._left -= 1
            if not self._left:
                self._over.set()

    def wait(self):
        """Wait until all jobs are done."""
        if not self._over.wait(600):
            sys.exit('peer: expected all jobs to end, %d did not' % self._left)

    def values(self):
        """Return the values of all counters."""
        with self._db.transaction() as connection:
            counters = connection.root()['counters']
            return [counters[number]['value'] for number in range(COUNTERS)]


effects = Effects()

#: Where answers go.  What the libraries print goes to the standard error.
answers = sys.stdout


def answer(what):
    """Write a line for the parent."""
    answers.write('%s\n' % what)
    answers.flush()


class Peer:
    """What each of them has to do."""

    has_own_effects = False

    def __init__(self, place):
        self.place = place

    def enqueue(self, number):
        """Enqueue the job *number*."""
        raise NotImplementedError

    def work(self, threads):
        """Begin to work, in threads; return."""
        raise NotImplementedError

    def count(self):
        """Return the number of jobs recorded as succeeded."""
        raise NotImplementedError

    def values(self):
        """Return the values of the counters."""
        return effects.values()


def start(function, *args):
    """Call *function* in a daemon thread."""
    threading.Thread(target=function, args=args, daemon=True).start()


class Celery(Peer):
    """Celery, broker and results in Redis; its pool of threads."""

    def __init__(self, place):
        import celery
        super().__init__(place)
        # A name of its own: "celery" is the module of the others.
        self.app = celery.Celery('bench', broker=place['redis'],
                                 backend=place['redis'])
        self.app.conf.update(
            task_acks_late=True, worker_prefetch_multiplier=4,
            broker_connection_retry_on_startup=True, result_expires=86400)
        self.task = self.app.task(name='add')(effects_add)

    def enqueue(self, number):
        self.task.delay(number)

    def work(self, threads):
        from celery.apps.worker import Worker
        worker = Worker(app=self.app, pool='threads', concurrency=threads,
                        loglevel='ERROR', quiet=True, without_gossip=True,
                        without_mingle=True, without_heartbeat=True)
        start(worker.start)

    def count(self):
        import redis
        client = redis.Redis.from_url(self.place['redis'])
        return sum(b'"SUCCESS"' in client.get(key)
                   for key in client.scan_iter('celery-task-meta-*', 1000))


class Dramatiq(Peer):
    """dramatiq, broker and results in Redis."""

    def __init__(self, place):
        import dramatiq
        from dramatiq.brokers.redis import RedisBroker
        from dramatiq.results import Results
        from dramatiq.results.backends import RedisBackend
        super().__init__(place)
        self.broker = RedisBroker(url=place['redis'])
        self.broker.add_middleware(Results(
            backend=RedisBackend(url=place['redis']),
            store_results=True, result_ttl=86400000))
        dramatiq.set_broker(self.broker)
        self.actor = dramatiq.actor(actor_name='add')(effects_add)

    def enqueue(self, number):
        self.actor.send(number)

    def work(self, threads):
        import dramatiq
        dramatiq.Worker(self.broker, worker_threads=threads).start()

    def count(self):
        import redis
        client = redis.Redis.from_url(self.place['redis'])
        # A result has a hash as its key.
        return sum(not key.startswith(b'dramatiq:')
                   for key in client.scan_iter('*', 1000))


class RQ(Peer):
    """RQ with its SimpleWorker: one thread, jobs in the worker process."""

    def __init__(self, place):
        import redis
        import rq
        super().__init__(place)
        self.connection = redis.Redis.from_url(place['redis'])
        self.queue = rq.Queue(connection=self.connection)

    def enqueue(self, number):
        self.queue.enqueue('peerprogram.effects_add', number,
                           result_ttl=86400)

    def workHere(self):
        """Work in the main thread: it installs signal handlers."""
        import rq

        # Jobs name a function of this module, which is the main one.
        sys.modules['peerprogram'] = sys.modules['__main__']
        rq.SimpleWorker([self.queue], connection=self.connection).work(
            logging_level='ERROR')

    def count(self):
        from rq.registry import FinishedJobRegistry
        return len(FinishedJobRegistry(queue=self.queue))


class Huey(Peer):
    """huey; its consumer with threads."""

    def __init__(self, place, huey):
        super().__init__(place)
        self.huey = huey
        self.task = self.huey.task(name='add')(effects_add)

    def enqueue(self, number):
        self.task(number)

    def work(self, threads):
        self.consumer = self.huey.create_consumer(
            workers=threads, worker_type='thread', periodic=False)
        self.consumer.start()

    def count(self):
        return self.huey.result_count()


def huey_redis(place):
    """Return huey over Redis."""
    from huey import RedisHuey
    return Huey(place, RedisHuey('bench', url=place['redis'],
                                 store_none=True))


def huey_sqlite(place):
    """Return huey over SQLite, each commit synchronized."""
    from huey import SqliteHuey
    return Huey(place, SqliteHuey(
        'bench', filename=os.path.join(place['folder'], 'huey.db'),
        fsync=True, store_none=True))


class Procrastinate(Peer):
    """procrastinate; jobs and effects in PostgreSQL."""

    has_own_effects = True

    def __init__(self, place):
        import procrastinate
        super().__init__(place)
        # It warns of an app in the main module; nothing imports it here.
        logging.getLogger('procrastinate').setLevel(logging.ERROR)
        self.app = procrastinate.App(
            connector=procrastinate.PsycopgConnector(
                conninfo=place['postgresql'], min_size=4, max_size=8))
        self.is_open = False
        self.task = self.app.task(name='add')(self._add)
        self.sync = procrastinate.App(
            connector=procrastinate.SyncPsycopgConnector(
                conninfo=place['postgresql'], min_size=1, max_size=2))
        self.sync_task = self.sync.task(name='add')(lambda number: None)
        self.pool = None

    def prepare(self):
        """Make the tables, once."""
        import psycopg
        self.sync.open()
        self.sync.schema_manager.apply_schema()
        with psycopg.connect(self.place['postgresql']) as connection:
            connection.execute(
                'CREATE TABLE counters (number int PRIMARY KEY, value int)')
            connection.execute(
                'INSERT INTO counters SELECT n, 0 FROM '
                'generate_series(0, %d) n' % (COUNTERS - 1))
        self.sync.close()

    async def _add(self, number):
        if effects._left == 0:
            answer(time.perf_counter())
            return
        async with self.pool.connection() as connection:
            await connection.execute(
                'UPDATE counters SET value = value + 1 WHERE number = %s',
                (number % COUNTERS,))
        effects.done()

    def enqueue(self, number):
        if not self.is_open:
            self.sync.open()
            self.is_open = True
        self.sync_task.defer(number=number)

    def work(self, threads):
        import asyncio

        from psycopg_pool import AsyncConnectionPool

        async def run():
            self.pool = AsyncConnectionPool(
                self.place['postgresql'], min_size=threads,
                max_size=threads, open=False)
            await self.pool.open()
            async with self.app.open_async():
                await self.app.run_worker_async(
                    concurrency=threads, install_signal_handlers=False)

        start(lambda: asyncio.run(run()))

    def count(self):
        import psycopg
        with psycopg.connect(self.place['postgresql']) as connection:
            return connection.execute(
                "SELECT count(*) FROM procrastinate_jobs "
                "WHERE status = 'succeeded'").fetchone()[0]

    def values(self):
        import psycopg
        with psycopg.connect(self.place['postgresql']) as connection:
            return [row[0] for row in connection.execute(
                'SELECT value FROM counters ORDER BY number')]


def effects_add(number):
    """The job, as a function of a module."""
    effects.add(number)


FACTORIES = {'celery': Celery, 'dramatiq': Dramatiq, 'rq': RQ,
             'huey-redis': huey_redis, 'huey-sqlite': huey_sqlite,
             'procrastinate': Procrastinate}


def enqueue(peer):
    """Enqueue at each line of the parent."""
    answer('ready')
    for line in sys.stdin:
        what, number = line.split()
        if what == 'many':
            begin = time.perf_counter()
            for each in range(int(number)):
                peer.enqueue(each)
            answer(time.perf_counter() - begin)
        else:
            peer.enqueue(int(number))
            answer(time.perf_counter())


def work(peer, threads):
    """Work at the line of the parent, until the input ends."""
    if not peer.has_own_effects:
        effects.open(peer.place['folder'])
    answer('ready')
    number = int(sys.stdin.readline().split()[1])
    effects.expect(number)
    begin = time.perf_counter()
    if not hasattr(peer, 'workHere'):
        peer.work(threads)

    def report():
        if number:
            effects.wait()
            answer('done %r' % (time.perf_counter() - begin))
            answer(json.dumps(peer.values()))
        sys.stdin.read()
        os._exit(0)

    if hasattr(peer, 'workHere'):
        start(report)
        peer.workHere()
    else:
        report()


def main():
    """Do what the command line asks for."""
    global answers
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    name, role, place, *rest = sys.argv[1:]
    if role == 'versions':
        answer(json.dumps({
            distribution: importlib.metadata.version(distribution)
            for distribution in PEERS[name]}))
        return
    peer = FACTORIES[name](json.loads(place))
    if role == 'prepare':
        if hasattr(peer, 'prepare'):
            peer.prepare()
    elif role == 'enqueue':
        enqueue(peer)
    elif role == 'work':
        work(peer, int(rest[0]))
    else:
        answer(peer.count())


if __name__ == '__main__':
    main()
