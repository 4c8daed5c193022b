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
"""What the processes share: kinds of work, and objects that tell of each.

Each start writes an `Entry` into the `Journal` of its starter, in the same
transaction: what the journals tell is what must be found finished.  The work
changes its entry only, so that an effect too many or too few shows.
"""
import json
import os
import random
import time

from BTrees.IOBTree import IOBTree
from BTrees.OOBTree import OOTreeSet
from persistent import Persistent
from zope.component import hooks
from zope.interface import Interface
from zope.schema import Int

from cipher.background.interfaces import BY_INPUT
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import Snooze
from cipher.background.registry.installation import getRegistry
from cipher.background.tests.chaos import wallclocks
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import makeSite
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util import clock


ROOT_KEY = 'chaos'

STEPS = 4
ITERATIONS = 3
#: Runs of `limited` at a time.
LIMIT = 2
#: Attempts of what fails at first: a process that dies counts as one.
ATTEMPTS = 6
HOT = 2

KINDS = ('plain', 'small', 'steps', 'hot', 'chain', 'retry', 'fails', 'snooze',
         'delayed', 'outside', 'limited', 'stoppable', 'unique', 'loop')


class Entry(Persistent):
    """One start, as its starter knows it; the context of its run."""

    run_id = None
    due_at = None      # not before
    mark = None        # of `wallclocks`, when that was said
    posted = None      # of `unique`: the number of the letter
    child = None       # of `chain`: the entry of what it started
    effects = 0        # how often the work was committed
    steps = (0,) * STEPS
    is_early = False   # it began before its time

    def __init__(self, kind, number=0):
        self.kind = kind
        self.number = number


class Journal(Persistent):
    """What one thread started, and what it asked to stop."""

    count = 0

    def __init__(self):
        self.entries = IOBTree()    # number -> Entry
        self.stops = OOTreeSet()    # run ids

    def add(self, kind):
        """Add and return a new entry, which has its place at once."""
        entry = Entry(kind, self.count)
        self._p_jar.add(entry)
        self.entries[self.count] = entry
        self.count += 1
        return entry


class Number(Persistent):
    """A number with a writer or many."""

    value = 0


class World(Persistent):
    """All of it, for so many starters."""

    def __init__(self, starters):
        self.journals = [Journal() for _ in range(starters)]
        self.posted = [Number() for _ in range(starters)]
        self.handled = [Number() for _ in range(starters)]
        self.hot = [Number() for _ in range(HOT)]


def makeWorld(db, starters):
    """Make a committed site with a registry and a world."""
    connection, _, registry = makeSite(db)
    registry.keep = 10 ** 9
    connection.root()[ROOT_KEY] = World(starters)
    connection.transaction_manager.commit()
    connection.close()


def getWorld(connection):
    """Return (world, registry)."""
    root = connection.root()
    return root[ROOT_KEY], getRegistry(root['Application'])


class Ledger:
    """A file of lines that outlives the processes: what happened outside."""

    def __init__(self, folder, boot):
        self._boot = boot
        self._file = os.open(os.path.join(folder, 'ledger'),
                             os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *event, boot=None):
        """Write a line, whole or not at all."""
        line = json.dumps([boot or self._boot, *event]) + '\n'
        os.write(self._file, line.encode())

    def close(self):
        """Write no more."""
        os.close(self._file)

    @staticmethod
    def read(folder):
        """Yield (boot, event, ...) in the order of what happened."""
        with open(os.path.join(folder, 'ledger')) as ledger:
            for line in ledger:
                yield json.loads(line)


class ChaosError(Exception):
    """What fails on purpose."""


class IUniqueInput(Interface):
    """Input of `unique`."""

    starter = Int(title='Starter')


class Loop(BackgroundWorkerThread):
    """Some iterations, then the end."""

    _iterations = 0

    def scheduleNextWork(self):
        self._iterations += 1
        return self._iterations <= ITERATIONS and not self.wait(0.01)

    def doWork(self):
        self.context.effects += 1


def declareKinds(ledger):
    """Declare the worker types; they write into that `Ledger`."""

    def nap(most=0.02):
        if random.random() < 0.5:
            time.sleep(random.uniform(0.0, most))

    def plain(worker):
        worker.context.effects += 1
        nap()

    def small(worker):
        worker.context.effects += 1

    def steps(worker):
        for number in range(worker.cursor or 0, STEPS):
            entry = worker.context
            done = list(entry.steps)
            done[number] += 1
            entry.steps = tuple(done)
            nap()
            worker.checkpoint(number + 1)
        worker.context.effects += 1

    def hot(worker):
        world, _ = getWorld(worker.context._p_jar)
        worker.context.effects += 1
        nap(0.005)
        world.hot[worker.context.number % HOT].value += 1

    def chain(worker):
        entry = worker.context
        entry.effects += 1
        child = entry.child = Entry('plain')
        entry._p_jar.add(child)
        child.run_id = getRegistry(hooks.getSite()).start('plain', child).id
        nap()

    def fail_at_first(worker):
        worker.context.effects += 1
        nap()
        registry = getRegistry(hooks.getSite())
        if not registry.getDetails(worker.run_id).history:
            raise ChaosError('not yet')

    def fails(worker):
        worker.context.effects += 1
        raise ChaosError('never')

    def snooze(worker):
        worker.context.effects += 1
        run = getRegistry(hooks.getSite()).get(worker.run_id)
        if run.due_at is None:
            raise Snooze(random.uniform(0.0, 1.0))

    def delayed(worker):
        worker.context.effects += 1
        if (clock.now() < worker.context.due_at
                and wallclocks.isCalmSince(worker.context.mark)):
            worker.context.is_early = True
        nap()

    def outside(worker):
        ledger.write('outside', worker.run_id)
        nap()
        worker.context.effects += 1

    def limited(worker):
        ledger.write('begin', worker.run_id)
        try:
            nap(0.05)
            worker.context.effects += 1
        finally:
            ledger.write('end', worker.run_id)

    def stoppable(worker):
        worker.context.effects += 1
        worker.wait(random.uniform(0.0, 0.3))
        worker.checkStop()

    def unique(worker, starter):
        world, _ = getWorld(hooks.getSite()._p_jar)
        posted = world.posted[starter].value
        nap(0.05)
        world.handled[starter].value = posted

    for handler in (plain, small, steps, hot, chain, snooze, delayed,
                    stoppable):
        declareWorker(handler.__name__, handler)
    declareWorker('retry', fail_at_first, max_attempts=ATTEMPTS,
                  retry_delay=0.2)
    declareWorker('fails', fails, max_attempts=2, retry_delay=0.2)
    declareWorker('outside', outside, on_interrupt=FAIL)
    declareWorker('limited', limited, max_running=LIMIT)
    declareWorker('unique', unique, schema=IUniqueInput, unique=BY_INPUT)
    declareWorker('loop', factory=Loop, is_loop=True)
