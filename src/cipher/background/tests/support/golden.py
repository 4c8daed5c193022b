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
"""Names and shapes of all stored classes, pinned in ``golden.txt``.

After an intended change, update the file and give the reason::

    bin/python -m cipher.background.tests.support.golden "REASON"

This also rewrites the database ``structure-1.fs.gz``, with which the tests of
`evolve` begin.  After the release of a structure its files must not change: a
change of shape then needs the next `structure.VERSION` and a migration.
"""
import difflib
import gzip
import hashlib
import importlib
import io
import os
import pickletools
import pkgutil
import shutil
import struct
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import transaction
from BTrees.Length import Length
from persistent import Persistent
from ZODB.DB import DB
from ZODB.FileStorage import FileIterator
from ZODB.FileStorage import FileStorage
from zope.component import hooks
from zope.component import provideUtility
from zope.component import testing
from zope.interface import Interface
from zope.schema import Int
from zope.schema import TextLine
from zope.security.management import endInteraction
from zope.security.management import newInteraction
from zope.security.management import setSecurityPolicy

import cipher.background
from cipher.background.declaring import makeSchedule
from cipher.background.interfaces import FAILING_STEP
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import ISchedule
from cipher.background.registry.installation import getRegistry
from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.runtime.runtime import startRuntime
from cipher.background.store import structure
from cipher.background.store.alertstate import AlertState
from cipher.background.store.kept import keepBack
from cipher.background.store.kept import release
from cipher.background.store.process import Trouble
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import Document
from cipher.background.tests.support.sites import Participation
from cipher.background.tests.support.sites import Principal
from cipher.background.tests.support.sites import makeSite
from cipher.background.thread import BackgroundWorkerThread


PACKAGE = 'cipher.background'
HERE = Path(__file__).parent
GOLDEN = HERE / 'golden.txt'
DATABASE = HERE / ('structure-%d.fs.gz' % structure.VERSION)
COMMAND = 'bin/python -m %s "REASON"' % __spec__.name

#: Items.  A longer tuple counts as a sequence of one kind of item.
LONG = 8

#: The numbers of the structures that were released.
RELEASED = ()

HEAD = '''\
What is stored, class by class.  Made by a program, from a database that a
scene has filled; do not edit.  To bring it up to date:

    %s

Reasons, the last one with the digest of what follows:

''' % COMMAND


# The scene


def fill(path):
    """Make a FileStorage with an object of each stored class."""
    with ExitStack() as stack:
        testing.setUp()
        stack.callback(testing.tearDown)
        hooks.setHooks()
        policy = setSecurityPolicy(Allowing)
        stack.callback(setSecurityPolicy, policy)
        for name, value in {
                # Nothing of this machine is stored.
                'cipher.background.store.process.hostName': lambda: 'example',
                'cipher.background.store.process.machineId': lambda: 'boot '
                'space',
                'cipher.background.work.outcome.formatTraceback': no_traceback,
                'cipher.background.work.liverun.getStack': lambda *args: 'a '
                'stack',
                'logging.Formatter.formatException': no_traceback,
                # Shorter intervals, so that the scene is quick.
                'cipher.background.runtime.maintenance.reports'
                '.LIVE_AFTER': 0.2,
                'cipher.background.runtime.maintenance.turn'
                '.REPORT_INTERVAL': 0.05,
                'cipher.background.runtime.maintenance.pruner.INTERVAL': 0.05,
                'cipher.background.runtime.maintenance.heartbeat'
                '.SHORTEST_PAUSE': 0.05,
                'cipher.background.runtime.maintenance.bookmarks.INTERVAL': (
                    0.05),
                'cipher.background.runtime.queue.backlog.GAP': 0}.items():
            stack.enter_context(mock.patch(name, value))
        db = DB(FileStorage(path))
        stack.callback(db.close)
        connection, site, registry = makeSite(db)
        stack.callback(connection.close)
        stack.callback(transaction.abort)
        Scene(stack, db, site, registry).play()


def no_traceback(*args):
    return 'Traceback: no\n'


class Allowing:
    """A security policy that allows everything."""

    def __init__(self, *participations):
        self.participations = list(participations)
        for participation in participations:
            participation.interaction = self

    def add(self, participation):
        self.participations.append(participation)

    def remove(self, participation):
        self.participations.remove(participation)

    def checkPermission(self, permission, ob):
        return True


class IInput(Interface):
    """The input of the workers of the scene."""

    number = Int(title="Number", required=False)
    text = TextLine(title="Text", required=False)


class Scene:
    """Acts of people, workers and the runtime, carried out by `play`."""

    def __init__(self, stack, db, site, registry):
        self.db = db
        self.site = site
        self.registry = registry
        self.document = site['document'] = Document('paper')
        transaction.commit()
        self.is_told = threading.Event()
        stack.callback(self.is_told.set)
        newInteraction(Participation(Principal('bob')))
        stack.callback(endInteraction)
        self.declare()
        self.runtime = None
        stack.callback(lambda: self.runtime and self.runtime.shutdown())

    def declare(self):
        """Declare worker types and a schedule."""
        def good(worker, **input):
            worker.setProgress(1, 2, 'half')
            worker.log.info('it works')
            return 'done'

        def parent(worker, **input):
            getRegistry().start('good', text='child')

        def bad(worker, **input):
            raise ValueError('bad')

        def long(worker, **input):
            worker.setProgress(3, 9, 'third')
            worker.checkpoint({'at': [1, 'a']})
            worker.wait(0.01)
            if not self.is_told.wait(60):
                raise AssertionError('nobody went on')
            worker.checkStop()

        class Loop(BackgroundWorkerThread):
            def scheduleNextWork(self):
                return not self.wait(60)

        for name in 'good', 'held':
            declareWorker(name, good, unique='input', keep=20, schema=IInput)
        declareWorker('bad', bad, max_attempts=2, retry_delay=0.0,
                      schema=IInput)
        declareWorker('long', long, max_running=2)
        declareWorker('parent', parent)
        declareWorker('loop', factory=Loop, is_loop=True, autostart=True)
        provideUtility(makeSchedule('hourly', 'good', every=3600.0),
                       ISchedule, 'hourly')

    def commit(self, act):
        """Call *act* and commit; return its result."""
        for attempt in transaction.manager.attempts(50):
            with attempt:
                return act()

    def waitFor(self, condition, what):
        """Wait until *condition* holds, with the commits of others."""
        def look():
            transaction.begin()
            return condition()
        return waitUntil(look, what)

    def play(self):
        registry = self.registry
        self.commit(lambda: registry.pauseType('held', reason='later'))
        self.runtime = startRuntime(self.db, RuntimeSettings(
            threads=4, poll=0.05))
        for number in 1, 2, 1:
            self.commit(lambda: registry.start(
                'held', self.document, number=number))
        self.commit(lambda: registry.submit(
            'good', None, {'text': 'later'}, delay=3600.0, priority=3))
        self.commit(lambda: registry.addRun('nobody knows'))
        bad = self.commit(
            lambda: registry.startByPrincipal('bad', number=1)).id
        long = [self.commit(lambda: registry.start('long', self.document)).id
                for _ in range(3)]
        # Enough runs to fill a chunk and to empty it again.
        for number in range(84):
            self.commit(lambda: registry.start('good', number=number))
        self.waitFor(lambda: any(
            lane.emptied.births or lane.emptied.finishes
            for lane in registry.lanes.values()), 'empty chunks')
        self.finished(bad, self.commit(lambda: registry.start('parent')).id)
        self.commit(lambda: registry.retryByPrincipal(bad, 'once more'))
        again = registry.get(bad).retried_as
        self.finished(again)
        self.commit(lambda: registry.remove(again, 'no use'))
        self.commit(lambda: registry.runSchedule('hourly'))
        self.commit(lambda: registry.pauseSchedule('hourly', reason='quiet'))
        self.commit(self.alert)
        self.waitFor(lambda: len(registry.services), 'the service')
        self.waitFor(lambda: any(
            lane.bookmark.stragglers for lane in registry.lanes.values()),
            'a straggler')
        self.runtime.troubles.note(
            ValueError('no'), FAILING_STEP, 'invented')
        record = self.waitFor(
            lambda: getDirectory(registry._p_jar).processes.get(
                self.runtime.id), 'the record')
        self.waitFor(lambda: record.heartbeat.troubles, 'the trouble')
        self.waitFor(lambda: record.declared.types, 'the declared types')
        self.waitFor(lambda: len(record.live.runs) >= 3, 'what is live')
        transaction.begin()
        running = next(run_id for run_id in long
                       if registry.getStatus(run_id).state == RUNNING)
        self.commit(lambda: registry.requestStop(running, 'enough'))
        self.waitFor(lambda: any(
            report[3] for report in record.live.runs.values()), 'a stack')
        self.is_told.set()
        self.finished(*long)
        bulk = [self.commit(lambda: registry.submit(
            'good', None, {'number': 1000 + number}, delay=3600.0)).id
            for number in range(3)]
        self.commit(lambda: registry.actOnRuns('stop', bulk, 'all', 'filter'))
        self.commit(lambda: registry.quietProcess(
            self.runtime.id, reason='night'))
        self.waitFor(lambda: getDirectory(registry._p_jar).unknown,
                     'the unknown type')
        self.commit(lambda: registry.drainProcess(
            self.runtime.id, reason='over'))
        # What it puts back knows then who asked for that.
        self.waitFor(lambda: self.runtime.is_draining, 'the drain')
        self.runtime.shutdown()
        # As after a copy; what the tests carry out was let begin.
        self.commit(lambda: keepBack(registry))
        self.commit(lambda: release(registry, ['good', 'held']))

    def alert(self):
        """Store what an alert and a missed tick leave behind."""
        hourly = self.registry.schedules['hourly']
        hourly.recent = (*hourly.recent, (1.0, None, None))
        state = self.registry.alerts['alerts'] = AlertState()
        state.looked_at = state.sent_at = 1.0
        state.marks = {(self.registry._p_oid, 1): 1}
        state.problems = {
            ('late-schedule', 'hourly', None, '/'): 'late',
            ('silent-process', 'lost:1:x', None, None): 'silent'}
        state.message = {
            'id': '0f', 'at': 1.0, 'subject': '', 'text': '', 'problems': [],
            'gone': [], 'failures': [], 'more': 0}

    def finished(self, *run_ids):
        """Wait for the end of these runs."""
        self.waitFor(lambda: all(
            run is not None and run.isFinished()
            for run in map(self.registry.findRun, run_ids)), 'the runs')


# The shapes


class Shapes:
    """The shapes of the records of a FileStorage, by class."""

    def __init__(self, path):
        self.classes = {}   # name -> {attribute or position: {shape}}
        self.values = set()   # names of classes that are not persistent
        self._trees = {}    # oid -> [(class, attribute)] of its owners
        # The record of a tree may come before the record of its owner.
        self._items = {}    # oid -> [(key shapes, value shapes)]
        db = DB(FileStorage(path, read_only=True))
        connection = db.open()
        reader = connection._reader
        iterator = FileIterator(path)
        try:
            for record in (r for txn in iterator for r in txn if r.data):
                self._add(record.oid, reader.getClassName(record.data),
                          reader.getState(record.data), record.data)
        finally:
            iterator.close()
            connection.close()
            db.close()
        self._add_trees()

    def _add(self, oid, name, state, data):
        if name.startswith('BTrees.') and not name.endswith('Length'):
            self._add_tree(oid, name, state)
            return
        if not isOurs(name):
            return
        self._add_values(data)
        attributes = self.classes.setdefault(name, {})
        if isinstance(state, tuple):
            names = getattr(
                sys.modules[name.rpartition('.')[0]], '_FIELDS', ())
            state = {' '.join(('[%d]' % place, *names[place:place + 1])): value
                     for place, value in enumerate(state)}
        elif not isinstance(state, dict):
            state = {'state': state}
        for attribute, value in state.items():
            if isinstance(value, dict):
                self._add_pairs(attributes, attribute, value)
                value = {}
            attributes.setdefault(attribute, set()).add(shapeOf(value))
            self._note_values(value)
            for part in value if isinstance(value, tuple) else (value,):
                if isTree(part):
                    self._trees.setdefault(part._p_oid, set()).add(
                        (name, attribute))

    def _add_pairs(self, attributes, attribute, pairs):
        for what, found in (('keys', pairs.keys()),
                            ('values', pairs.values())):
            if found:
                attributes.setdefault(
                    '%s %s' % (attribute, what), set()).update(
                        map(shapeOf, found))

    def _note_values(self, value):
        if isinstance(value, (tuple, list)):
            for part in value:
                self._note_values(part)
        elif not isinstance(value, Persistent):
            self.values.add(shapeOf(value))

    def _add_values(self, data):
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == 'GLOBAL':
                self.values.add(argument.replace(' ', '.'))

    def _add_tree(self, oid, name, state):
        keys, values = set(), set()
        nodes = [state]
        while nodes:
            node = nodes.pop()
            if not isinstance(node, tuple):
                if isTree(node):
                    self._trees.setdefault(node._p_oid, set()).add(oid)
                continue
            if len(node) == 1 and isinstance(node[0], tuple) and (
                    name.endswith('BTree')):
                nodes += node   # a tree with its one bucket in it
            elif name.endswith('BTree') and len(node) == 2 and not (
                    isinstance(node[1], tuple)) and isTree(node[1]):
                nodes += node[0][::2]   # children, and keys between them
            else:
                self._add_items(node, keys, values)
        self._items.setdefault(oid, []).append((keys, values))

    def _add_items(self, bucket, keys, values):
        items = bucket
        while len(items) == 1 and isinstance(items[0], tuple):
            items = items[0]
        if len(items) == 2 and isinstance(items[0], tuple) and isTree(
                items[1]):
            self._trees.setdefault(items[1]._p_oid, set())
            items = items[0]
        keys.update(map(shapeOf, items[::2]))
        values.update(map(shapeOf, items[1::2]))

    def _add_trees(self):
        def ownersOf(oid, seen):
            for owner in self._trees.get(oid, ()):
                if isinstance(owner, tuple):
                    yield owner
                elif owner not in seen:
                    yield from ownersOf(owner, seen | {owner})

        for oid, items in self._items.items():
            for name, attribute in set(ownersOf(oid, {oid})):
                found = self.classes[name]
                for keys, values in items:
                    if keys:
                        found.setdefault(
                            attribute + ' keys', set()).update(keys)
                        found.setdefault(
                            attribute + ' values', set()).update(values)


def isTree(value):
    """Return whether *value* is a BTree or a bucket of one."""
    return isinstance(value, Persistent) and type(
        value).__module__.startswith('BTrees.') and not isinstance(
            value, Length)


def isOurs(name):
    """Return whether a dotted name is in the package but not in its tests."""
    return name.startswith(PACKAGE + '.') and not name.startswith(
        (PACKAGE + '.tests.', PACKAGE + '.demo.'))


def shapeOf(value):
    """Return the shape of a value as a text."""
    if value is None:
        return 'None'
    kind = type(value)
    if isinstance(value, type):
        return 'class %s.%s' % (value.__module__, value.__qualname__)
    if isinstance(value, tuple):
        shapes = [shapeOf(item) for item in value]
        name = '' if kind is tuple else kind.__name__
        if len(set(shapes)) == 1 or len(shapes) > LONG:
            return '%s(%s, ...)' % (name, ' | '.join(sorted(set(shapes))))
        return '%s(%s)' % (name, ', '.join(shapes))
    if isinstance(value, list):
        return '[%s]' % ' | '.join(sorted(set(map(shapeOf, value))))
    if isinstance(value, dict):
        return '{}'
    if kind.__module__ == 'builtins':
        return kind.__name__
    return '%s.%s' % (kind.__module__, kind.__qualname__)


def modules():
    """Return the modules of the package, without tests and demo."""
    found = []
    for info in pkgutil.walk_packages(
            cipher.background.__path__, PACKAGE + '.'):
        if isOurs(info.name + '.') and '.locales' not in info.name:
            try:
                found.append(importlib.import_module(info.name))
            except ImportError:
                pass   # it needs a missing extra; it has no stored classes
    return found


def persistentClasses():
    """Return {dotted name: class} of the package's persistent classes."""
    return {'%s.%s' % (module.__name__, name): value
            for module in modules() for name, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, Persistent)
            and value.__module__ == module.__name__}


def describe(path):
    """Return the description of the FileStorage at *path* as a text."""
    shapes = Shapes(path)
    classes = persistentClasses()
    lines = []
    for name in sorted({*classes, *shapes.classes}):
        lines.append(name)
        attributes = shapes.classes.get(name)
        if name not in classes:
            lines.append('    is not in the package')
        elif attributes is None:
            lines.append('    is not in the scene')
        for attribute, found in sorted(
                (attributes or {}).items(), key=_by_place):
            lines.append('    %s: %s' % (attribute, _join(found)))
        if name in classes:
            lines += _describe_defaults(classes[name])
    lines.append('')
    lines.append('Other classes in the records:')
    lines += ['    %s' % name for name in sorted(shapes.values - set(classes))
              if '.' in name]
    lines.append('')
    lines.append('Packed, and rows:')
    for name in sorted({klass.__module__ for klass in classes.values()}
                       | {Trouble.__module__}):
        lines += _describe_rows(sys.modules[name])
    return '\n'.join(lines) + '\n'


def _join(shapes):
    """Return alternatives as one text; an empty tuple adds nothing."""
    long = max((shape for shape in shapes if shape.startswith('(None | ')),
               default=None)
    if long is not None:
        # Some of many items may be None, but not each time.
        shapes = shapes - {long.replace('None | ', '', 1)}
    if any(shape.endswith(', ...)') for shape in shapes):
        shapes = shapes - {'()'}
    return ' | '.join(sorted(shapes))


def _by_place(item):
    name = item[0]
    place, _, rest = name.partition(']')
    return (int(place[1:]), rest) if place.startswith('[') else (-1, name)


def _describe_defaults(klass):
    """Yield the class attributes that are defaults of records, in order."""
    for base in reversed(klass.__mro__):
        if isOurs(base.__module__ + '.'):
            for name, value in vars(base).items():
                if not name.startswith('_') and isinstance(
                        value, (type(None), int, float, str, bytes, tuple)):
                    yield '    default %s = %r' % (name, value)


def _describe_rows(module):
    holders = [module, *(value for value in vars(module).values()
                         if isinstance(value, type)
                         and value.__module__ == module.__name__)]
    for holder in holders:
        for name, value in sorted(vars(holder).items()):
            if isinstance(value, struct.Struct):
                yield '    %s.%s: %s' % (holder.__name__, name, value.format)
            elif (holder is module and isinstance(value, type)
                  and issubclass(value, tuple)
                  and value.__module__ == module.__name__):
                yield '    %s.%s: %s' % (
                    module.__name__, name, ', '.join(value._fields))


# The file


def digest(text):
    """Return the digest of a description."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def read():
    """Return ([(digest, reason)], description) of the file."""
    _, reasons, text = GOLDEN.read_text(encoding='utf-8').split(
        '\n---\n')
    return [tuple(line.split('  ', 1)) for line in reasons.splitlines()], text


def compare(expected, got):
    """Return the lines of the difference; [] if there is none."""
    return list(difflib.unified_diff(
        expected.splitlines(), got.splitlines(), 'golden.txt',
        'what is stored now', lineterm='', n=3))


def unpack(folder):
    """Unpack the stored database into *folder*; return its path."""
    path = os.path.join(folder, 'Data.fs')
    with gzip.open(DATABASE) as source, open(path, 'wb') as target:
        shutil.copyfileobj(source, target)
    return path


def make(folder):
    """Fill a database in *folder*; return (its path, its description)."""
    path = os.path.join(folder, 'new.fs')
    fill(path)
    return path, describe(path)


def write(reason):
    """Bring the file and the database up to date."""
    with tempfile.TemporaryDirectory() as folder:
        path, text = make(folder)
        reasons = []
        if GOLDEN.exists():
            reasons, old = read()
            if old == text:
                print('golden: nothing has changed', file=sys.stderr)
                return 0
        if structure.VERSION in RELEASED:
            print('golden: expected the shapes of the released structure %d, '
                  'got others; raise structure.VERSION, and add a migration '
                  'to evolve.MIGRATIONS' % structure.VERSION, file=sys.stderr)
            return 1
        reasons.append((digest(text), reason))
        GOLDEN.write_text('\n---\n'.join([
            HEAD.rstrip('\n'), '\n'.join(map('  '.join, reasons)), text]),
            encoding='utf-8')
        packed = io.BytesIO()
        with gzip.GzipFile('', 'wb', 9, packed, mtime=0) as target, open(
                path, 'rb') as source:
            shutil.copyfileobj(source, target)
        DATABASE.write_bytes(packed.getvalue())
    print('golden: wrote %s and %s' % (GOLDEN.name, DATABASE.name))
    return 0


def main(arguments):
    """Carry out the command line; return the exit code."""
    reason = ' '.join(' '.join(arguments).split())
    if not reason:
        print('golden: expected a reason, got none; run: ' + COMMAND,
              file=sys.stderr)
        return 2
    return write(reason)


if __name__ == '__main__':
    # Imported under its own name, so that its classes have that name.
    from cipher.background.tests.support import golden
    sys.exit(golden.main(sys.argv[1:]))
