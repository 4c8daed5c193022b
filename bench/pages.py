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
"""Cost of the pages' questions to a registry with many runs: time and loads.

    bin/python bench/main.py pages [PATH] [--runs 1000000] [--rounds 3]
        [--json FILE]

Without a PATH the database is made in a temporary folder.  With a PATH it is
made there, if it does not exist, and kept.

Each question is asked cold, with an empty cache, and warm, in the next
transaction.  The floor is the time to load 50 runs of known oid from the same
file in the same round.  Ratios to the floor are comparable between machines;
milliseconds are not.
"""
import os
import random
import shutil
import statistics
import tempfile
import time

import transaction
from bench.rounds import newParser
from bench.rounds import writeJSON
from persistent.wref import WeakRef
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import hooks
from zope.component import provideUtility
from zope.container.btree import BTreeContainer
from zope.interface import Interface
from zope.schema import Password
from zope.schema import TextLine
from zope.site.folder import rootFolder
from zope.site.site import LocalSiteManager

from cipher.background.declarations.workertype import WorkerType
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import OLDEST
from cipher.background.interfaces import SLOWEST
from cipher.background.interfaces import STATES
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import IWorkerType
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import getRegistry
from cipher.background.store.lane import Lane
from cipher.background.store.run import WorkerRun
from cipher.background.util import clock


END = 1800000000.0
DAYS = 14.0
BIRTH_LANES = range(5, 9)      # lanes that web threads write
FINISH_LANES = range(9, 13)    # lanes that the threads of an executor write
TYPES = {'reindex': 700, 'mail': 250, 'report': 49, 'import': 1}
RARE, RARE_RUNS = 'migrate', 20
DOCUMENTS = 2000
USERS = 40
WAITING = 1000
STATE_WEIGHTS = {SUCCEEDED: 965, FAILED: 25, STOPPED: 5, INTERRUPTED: 5}
ERRORS = (('ConnectionRefusedError', 'smtp.example.com:25 refused'),
          ('ValueError', 'expected a date, got "tomorrow"'),
          ('KeyError', "'title'"))
BATCH = 20000
PAGE = 50


class ILetter(Interface):
    """The input of mail, a quarter of the runs."""

    to = TextLine(title='To')
    subject = TextLine(title='Subject')
    password = Password(title='Password', required=False)


SCHEMAS = {'mail': ILetter}


#: What of an answer of `ask` is kept: its index, a factor, its name.
KEPT = ((0, 1000, 'cold ms'), (1, 1, 'cold loads'), (2, 1000, 'warm ms'),
        (3, 1, 'warm loads'))

#: {name: arguments of listRuns}; other questions are in `questions`.
LISTS = {
    'newest %d' % PAGE: {},
    'oldest': {'order': OLDEST},
    'oldest that waits': {'states': STATES[:2], 'order': OLDEST},
    'slowest': {'order': SLOWEST},
    'slowest of a type': {'order': SLOWEST, 'types': ['report']},
    'slowest of a type, rare': {'order': SLOWEST, 'types': [RARE]},
    'slowest that failed': {'order': SLOWEST, 'states': [FAILED]},
    'type, common': {'types': ['mail']},
    'type, rare': {'types': [RARE]},
    'type, rare, failed': {'types': [RARE], 'states': [FAILED]},
    'since an hour': {'since': END - 3600},
    'until a week ago': {'until': END - 7 * 86400},
    'failed, until a week ago': {'states': [FAILED],
                                 'until': END - 7 * 86400},
    'text, common': {'text': 'document 12'},
    'text, in errors': {'states': [FAILED], 'text': 'TOMORROW'},
    'text, nowhere': {'text': 'no such text'},
    'text, in inputs': {'text': 'reader12@'},
    'text, in documents': {'text': 'document 9999'},
    'starter, nobody': {'starters': ['zope.nobody']},
    'starter': {'starters': ['zope.user7']},
    'two states, one finished': {'states': [FAILED, STATES[0]]},
}
LISTS.update({'state %s' % state: {'states': [state]} for state in STATES})


class Bench:
    """A database in a file, with documents and a registry."""

    def __init__(self, path, is_new):
        self.db = DB(FileStorage(path), cache_size=5000)
        self.connection = self.db.open()
        if is_new:
            site = rootFolder()
            self.connection.root()['Application'] = site
            site.setSiteManager(LocalSiteManager(site))
            transaction.commit()
            addRegistry(site)
            transaction.commit()
        self.site = self.connection.root()['Application']
        self.registry = getRegistry(self.site)
        self.loads = 0
        self._setstate = self.connection.setstate
        self.connection.setstate = self._load

    def _load(self, obj):
        self.loads += 1
        self._setstate(obj)

    def forget(self):
        """Empty the cache of the connection."""
        transaction.abort()
        self.connection.cacheMinimize()

    def close(self):
        """Close the database."""
        transaction.abort()
        del self.connection.setstate
        self.connection.close()
        self.db.close()


def fill(bench, number, end=END, waiting=WAITING):
    """Add *number* finished runs, until *end*, and some waiting ones."""
    rand = random.Random(42)
    registry = bench.registry
    for lane in (*BIRTH_LANES, *FINISH_LANES):
        registry.lanes[lane] = Lane(lane)
    documents = [BTreeContainer() for _ in range(DOCUMENTS)]
    for n, document in enumerate(documents):
        bench.site['%04d' % n] = document
    transaction.commit()
    references = [(WeakRef(document), True) for document in documents]
    names = rand.choices(list(TYPES), list(TYPES.values()), k=number + waiting)
    for n in range(RARE_RUNS):
        names[number * n // RARE_RUNS] = RARE
    step = DAYS * 86400 / len(names)
    for n, name in enumerate(names):
        lane = registry.lanes[rand.choice(BIRTH_LANES)]
        run = WorkerRun(
            name, lane.number, lane.births.next_serial,
            end - (len(names) - n) * step,
            starter='zope.user%d' % rand.randrange(USERS),
            reference=rand.choice(references), input=makeInput(rand, name))
        lane.births.add(run)
        if n < number:
            finish(registry, rand, run)
            lane.bookmark.low = run.serial + 1
        if not n % BATCH:
            transaction.commit()
            bench.forget()
    transaction.commit()


def makeInput(rand, name):
    """Return the input of a run of the type *name*, or None."""
    if name not in SCHEMAS:
        return None
    return {'to': 'reader%d@example.com' % rand.randrange(5000),
            'subject': 'Chapter %d' % rand.randrange(100),
            'password': 'sesame'}


def finish(registry, rand, run):
    """Finish *run* without its work."""
    state = rand.choices(list(STATE_WEIGHTS), STATE_WEIGHTS.values())[0]
    began = run.created_at + rand.random()
    took = rand.expovariate(0.05 if run.type == 'report' else 2.0)
    values = {'started_at': began, 'attempts': 1, 'finished_at': began + took}
    if state == SUCCEEDED:
        values['result'] = 'ok %d' % rand.randrange(100)
    if state == FAILED:
        values['error'] = rand.choice(ERRORS)
    if rand.random() < 0.2:
        values['progress'] = (50, 50, 'Document %d' % rand.randrange(9999))
    run.change(state, **values)
    registry.lanes[rand.choice(FINISH_LANES)].finishes.add(run)


def questions(bench):
    """Return {name: function that asks it}."""
    registry = bench.registry

    def floor():
        for oid in oids:
            bench.connection.get(oid).type

    def overview():
        registry.getCounts()
        registry.listRuns(limit=10)
        registry.listRuns(states=[FAILED], limit=10)
        registry.getHours()
        registry.listProblems()
        registry.listProcesses()

    def deep():
        before = None
        for _ in range(3):
            before = registry.listRuns(before=before).older

    context = bench.site['0007']
    births = registry.lanes[BIRTH_LANES[0]].births
    oids = [births.get(births.next_serial * n // PAGE + 1)._p_oid
            for n in range(PAGE)]
    asked = {'floor: %d runs by oid' % PAGE: floor}
    for name, options in LISTS.items():
        asked[name] = lambda options=options: registry.listRuns(
            limit=PAGE, **options)
    asked.update({
        'context': lambda: registry.listRuns(contexts=[context], limit=PAGE),
        'newest %d + counts' % PAGE: lambda: (
            registry.listRuns(limit=PAGE), registry.getCounts()),
        'three pages': deep,
        'listTypes': registry.listTypes, 'getHours': registry.getHours,
        'getCounts': registry.getCounts,
        'listProblems': registry.listProblems,
        'overview': overview})
    return asked


def ask(bench, question):
    """Return (cold seconds, cold loads, warm seconds, warm loads, answer)."""
    bench.forget()
    figures = []
    for _ in range(2):
        transaction.begin()
        bench.loads = 0
        begin = time.perf_counter()
        answer = question()
        figures += [time.perf_counter() - begin, bench.loads]
    return *figures, answer


def printTable(rounds):
    """Print the medians of *rounds*: a list of {name: figures}."""
    median = statistics.median
    floors = [next(iter(figures.values()))[0] for figures in rounds]
    print('%-26s %9s %8s %8s %9s %8s  %s' % (
        '', 'cold ms', 'x floor', 'loads', 'warm ms', 'loads', 'items'))
    for name in rounds[0]:
        cold, cold_loads, warm, warm_loads = [
            median(figures[name][n] for figures in rounds) for n in range(4)]
        ratio = median(figures[name][0] / floor
                       for figures, floor in zip(rounds, floors))
        answer = rounds[-1][name][4]
        items = getattr(answer, 'items', None)
        said = '' if not isinstance(items, list) else '%d of %d%s' % (
            len(items), answer.looked_at, ', cut' * answer.is_cut)
        print('%-26s %9.1f %8.1f %8d %9.1f %8d  %s' % (
            name, cold * 1000, ratio, cold_loads, warm * 1000, warm_loads,
            said))


def declareTypes():
    """Declare the types of the runs, and stop the clock at `END`."""
    clock.setClock(lambda: END)
    for name in (*TYPES, RARE):
        provideUtility(WorkerType(name, handler=print, schema=SCHEMAS.get(
            name)), IWorkerType, name)


def make(path, number):
    """Make the database *path* with *number* finished runs."""
    declareTypes()
    bench = Bench(path, True)
    try:
        fill(bench, number)
    finally:
        bench.close()


def main(argv=None):
    """Print a table."""
    parser = newParser(__doc__)
    parser.add_argument('path', nargs='?')
    parser.add_argument('--runs', type=int, default=1000000)
    options = parser.parse_args(argv)
    hooks.setHooks()
    declareTypes()
    folder = None if options.path else tempfile.mkdtemp()
    path = options.path or os.path.join(folder, 'Data.fs')
    is_new = not os.path.exists(path)
    bench = Bench(path, is_new)
    try:
        if is_new:
            begin = time.perf_counter()
            fill(bench, options.runs)
            print('%d runs made in %d s, %d MB' % (
                options.runs, time.perf_counter() - begin,
                os.path.getsize(path) // 1000000))
        asked = questions(bench)
        rounds = [{name: ask(bench, question)
                   for name, question in asked.items()}
                  for _ in range(options.rounds)]
        printTable(rounds)
        writeJSON('pages', options, [
            {'%s, %s' % (name, what): answers[n] * factor
             for name, answers in found.items()
             for n, factor, what in KEPT} for found in rounds])
    finally:
        bench.close()
        if folder:
            shutil.rmtree(folder)
