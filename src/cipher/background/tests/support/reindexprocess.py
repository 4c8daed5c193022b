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
"""A reindex of many objects, in a process that is killed while it works.

For a test and a benchmark.  `prepare` makes the database, `carryOut` starts
and kills the process again and again, and `audit` checks the result.
"""
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import time

import transaction
import zope.component.event  # noqa: F401  (it dispatches the events)
from BTrees.LLBTree import LLBTree
from BTrees.LOBTree import LOBTree
from persistent import Persistent
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import hooks

from cipher.background.job import ItemsJob
from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.runtime.runtime import startRuntime
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import makeSite


TYPE = 'reindex'

#: Seconds that one process may take.
TIMEOUT = 600.0


class Item(Persistent):
    """An object to index."""

    effects = 0   # how many times it was indexed

    def __init__(self, word):
        self.word = word


class Data(Persistent):
    """The items and the index; the context of the run."""

    def __init__(self):
        self._parts = {}

    def __getitem__(self, name):
        return self._parts[name]

    def __setitem__(self, name, part):
        self._parts[name] = part
        self._p_changed = True


class Tally:
    """Four numbers in a mapped file, which outlive the process.

    The number of items that all processes worked on, committed or not.  The
    resident memory of this process in KiB at the begin of its work and now.
    The monotonic time of that begin in microseconds.
    """

    _FORM = struct.Struct('<qqqq')

    def __init__(self, folder):
        path = os.path.join(folder, 'tally')
        if not os.path.exists(path):
            with open(path, 'wb') as new:
                new.write(bytes(self._FORM.size))
        with open(path, 'r+b') as tally:
            self._map = mmap.mmap(tally.fileno(), self._FORM.size)

    def read(self):
        """Return (items, memory at the begin, memory now, begin)."""
        return self._FORM.unpack_from(self._map)

    def write(self, *numbers):
        """Set all four."""
        self._FORM.pack_into(self._map, 0, *numbers)


class Reindex(ItemsJob):
    """The work: index each item and count that in the item."""

    tally = None
    pause = 0.0   # seconds, after each item

    def doWork(self):
        done = self.tally.read()[0]
        self.tally.write(done, residentMemory(), 0,
                         int(time.monotonic() * 1000000))
        return super().doWork()

    def items(self, cursor):
        done, memory, _, begin = self.tally.read()
        self.tally.write(done, memory, residentMemory(), begin)
        return ((number, (number, item)) for number, item
                in self.context['items'].items(min=cursor,
                                               excludemin=cursor is not None))

    def processItem(self, item):
        number, item = item
        item.effects += 1
        self.context['index'][item.word] = number
        done, *others = self.tally.read()
        self.tally.write(done + 1, *others)
        if self.pause:
            time.sleep(self.pause)

    def countItems(self):
        return self.context['size']


def residentMemory():
    """Return the resident memory of this process in KiB."""
    with open('/proc/self/status') as status:
        for line in status:
            if line.startswith('VmRSS:'):
                return int(line.split()[1])
    return 0


def openDatabase(folder, read_only=False):
    """Return the database of *folder*."""
    return DB(FileStorage(os.path.join(folder, 'Data.fs'),
                          read_only=read_only))


def prepare(folder, size):
    """Make a database with *size* items and a run that waits."""
    declareWorker(TYPE, factory=Reindex)
    db = openDatabase(folder)
    connection, site, registry = makeSite(db)
    context = site.data = Data()
    context['size'] = size
    context['items'] = LOBTree()
    context['index'] = LLBTree()
    for number in range(size):
        # The order of the words differs from that of the items.
        context['items'][number] = Item(number * 7919 % size)
        if number % 1000 == 999:
            transaction.savepoint(optimistic=True)
            connection.cacheGC()
    transaction.commit()
    registry.start(TYPE, context)
    transaction.commit()
    connection.close()
    db.close()


def moments(size, kills, seed, apart):
    """Return the numbers of items after which to kill, drawn from *seed*.

    They are at least *apart* items apart: a run that dies repeatedly at one
    place rightly fails.
    """
    rand = random.Random(seed)
    points = sorted(rand.sample(range(size * 9 // 10 - kills * apart), kills))
    return [point + number * apart for number, point in enumerate(points)]


def carryOut(folder, size, kills, seed, batch_size=100, pause=0.0):
    """Run processes until the work is done; return a dict of figures.

    Each of the first *kills* processes is killed by SIGKILL.  The work pauses
    for *pause* seconds after each item.
    """
    tally = Tally(folder)
    rand = random.Random(seed)
    begin = time.monotonic()
    hits = 0
    work = 0.0
    lives = []   # (memory at the begin of the work, at the end) in KiB
    for moment in moments(size, kills, seed, 2 * batch_size):
        process = _spawn(folder, batch_size, pause)
        try:
            _wait(process, lambda: tally.read()[0] > moment)
            time.sleep(rand.uniform(0.0, 0.01))   # possibly into a commit
            hits += process.poll() is None
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(TIMEOUT)
        work += time.monotonic() - tally.read()[3] / 1000000
        lives.append(tally.read()[1:3])
    process = _spawn(folder, batch_size, pause)
    try:
        code = process.wait(TIMEOUT)
    finally:
        process.kill()
        process.wait()
    work += time.monotonic() - tally.read()[3] / 1000000
    lives.append(tally.read()[1:3])
    return {'seconds': time.monotonic() - begin, 'work': work, 'hits': hits,
            'processed': tally.read()[0], 'lives': lives, 'code': code}


def _spawn(folder, *numbers):
    return subprocess.Popen(
        [
            sys.executable, '-m',
            'cipher.background.tests.support.reindexprocess',
            folder, *map(str, numbers)],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)))


def _wait(process, condition):
    deadline = time.monotonic() + TIMEOUT
    while not condition() and process.poll() is None:
        if time.monotonic() > deadline:
            raise AssertionError('the work did not come that far')
        time.sleep(0.0005)


def audit(folder):
    """Return a dict of the errors found and of the data of the run."""
    db = openDatabase(folder, read_only=True)
    try:
        with db.transaction() as connection:
            site = connection.root()['Application']
            registry = site.getSiteManager()['background']
            run, = registry.listRuns().items
            size = site.data['size']
            wrong = []
            for number, item in site.data['items'].items():
                if item.effects != 1:
                    wrong.append((number, item.effects))
                if number % 1000 == 999:
                    connection.cacheGC()
            index = list(site.data['index'].items())
            return {
                'state': run.state, 'result': run.result,
                'error': run.error_text,
                'progress': (run.progress_done, run.progress_total),
                'interruptions': run.interruptions, 'wrong': wrong,
                'is_index_whole': sorted(number for _, number in index)
                == list(range(size))}
    finally:
        db.close()


def countCommits(folder):
    """Return the number of the work's transactions in the database."""
    storage = FileStorage(os.path.join(folder, 'Data.fs'), read_only=True)
    try:
        return sum(record.description.startswith(b'Reindex, run')
                   or b'background worker thread' in record.description
                   for record in storage.iterator())
    finally:
        storage.close()


def main(folder, batch_size, pause):
    """Work until the run is finished, or until killed."""
    hooks.setHooks()
    Reindex.tally = Tally(folder)
    Reindex.batch_size = int(batch_size)
    Reindex.pause = float(pause)
    declareWorker(TYPE, factory=Reindex)
    db = openDatabase(folder)
    connection = db.open()
    registry = connection.root()['Application'].getSiteManager()['background']
    runtime = startRuntime(db, RuntimeSettings(threads=1, poll=0.05))
    run = registry.get(registry.listRuns().items[0].id)
    while not run.isFinished():
        time.sleep(0.02)
        transaction.begin()
    transaction.abort()
    connection.close()
    runtime.shutdown()
    db.close()


if __name__ == '__main__':
    main(*sys.argv[1:])
