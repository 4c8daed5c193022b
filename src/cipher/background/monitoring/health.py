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
"""The health of a database or a registry: well, with problems, or down.

The problems are those of the overview page: nothing here decides what a
problem is.  A check reads the records of the processes, the counts of each
lane, the finishes of the last hour, the running runs and the schedules.  So
its time grows with these, and not with the number of runs that are kept.
"""
import os
import threading
from functools import partial
from typing import NamedTuple

from ZODB.POSException import StorageError
from zope.interface import implementer
from zope.security.proxy import removeSecurityProxy

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.interfaces import PROBLEMS
from cipher.background.interfaces import IHealth
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.queries import problems
from cipher.background.queries import visibility
from cipher.background.queries.snapshot import Snapshot
from cipher.background.store import structure
from cipher.background.store.process import getDirectory
from cipher.background.util import clock
from cipher.background.util.forks import Locked
from cipher.background.util.host import getHost


#: The codes; the exit codes of ``cipher-background health`` as well.
WELL = 0       # a process with threads lives, and no problem is listed
TROUBLED = 1   # a process with threads lives, and a problem is listed
DOWN = 2       # no process with threads lives, or the database fails

#: Seconds that a check of a database may take.  Then it counts as down.  Most
#: load balancers wait for at least this time.
LIMIT = 5.0


class Listed(NamedTuple):
    """A problem as plain data; the other fields are those of `IProblem`."""

    kind: str              # one of PROBLEMS
    subject: str = None
    since: float = None
    number: int = 0
    process: str = None
    error: str = None
    total: int = 0
    usual: float = None
    site: str = None       # path of the registry's site; None: of a process


@implementer(IHealth)
class Health(NamedTuple):
    """See `~cipher.background.interfaces.IHealth`.

    The code counts all problems.  `problems` and `processes` are as far as
    the reader may see them.
    """

    code: int              # WELL, TROUBLED or DOWN
    problems: tuple = ()   # of Listed, worst first
    processes: tuple = ()  # of IProcessStatus, oldest first
    error: str = None      # name of the error if the database failed

    @property
    def ok(self):
        """Whether all is well."""
        return self.code == WELL

    def describe(self):
        """Return the plain data for JSON; times are ISO 8601 in UTC."""
        return {
            'ok': self.ok,
            'code': self.code,
            'error': self.error,
            'problems': [{**one._asdict(), 'since': clock.isoOf(one.since)}
                         for one in self.problems],
            'processes': [{
                'id': one.id,
                'host': one.host,
                'pid': one.pid,
                'threads': one.threads,
                'busy': one.busy,
                'started_at': clock.isoOf(one.started_at),
                'beat_at': clock.isoOf(one.beat_at),
                'is_silent': one.is_silent,
                'is_quiet': one.is_quiet,
                'is_draining': one.is_draining,
                'is_copy': one.is_copy,
            } for one in self.processes],
        }

    def isServed(self, ignores_problems):
        """Return whether HTTP answers 200, by `IMonitoringSettings`."""
        return self.code < (DOWN if ignores_problems else TROUBLED)


def checkHealth(source):
    """Return the `IHealth` of *source*, a registry or a connection of ZODB.

    For a connection, all registries of the database count.  Raise no error of
    the database: one that fails is down.
    """
    try:
        registries = findRegistries(source)
        with getHost().trusted():
            health = _look(registries)
        if getHost().hasInteraction():
            health = _look(registries)._replace(code=health.code)
        return health
    except Exception as error:
        return Health(DOWN, error=type(error).__name__)


def checkDatabase(db, limit=LIMIT):
    """Return the `IHealth` of the database *db*, with all its registries.

    See all, whoever asks, and use a connection of its own.  A database that
    does not answer within *limit* seconds is down.
    """
    return _healths.ask(db, limit) or Health(
        DOWN, error=TimeoutError.__name__)


def isReachable(db, limit=LIMIT):
    """Return whether *db* answers within *limit* seconds."""
    return bool(_answers.ask(db, limit))


class _Nowhere:
    """Stands for a registry in a database that has none."""

    _p_oid = None

    def __init__(self, connection):
        self._p_jar = connection


def findRegistries(source):
    """Return the registries that count for *source*, as of `checkHealth`.

    A database without one gives a stand-in, without an oid.  Raise an error
    if the storage is known to be away, or has records of newer code.
    """
    source = removeSecurityProxy(source)
    is_registry = IWorkerRegistry.providedBy(source)
    connection = source._p_jar if is_registry else source
    _check_connected(connection.db().storage)
    if is_registry:
        structure.checkVersion(source)
        return [source]
    directory = getDirectory(connection)
    if directory is None:
        return [_Nowhere(connection)]
    structure.checkVersion(directory)
    registries = directory.listAllRegistries()
    usable = list(filter(structure.isUsable, registries))
    if registries and not usable:
        structure.checkVersion(registries[0])
    return usable or [_Nowhere(connection)]


def _look(registries):
    """Return the `Health` that the reader sees."""
    found = {}   # without doubles, in order
    first = Snapshot(registries[0])
    for registry in registries:
        if isinstance(registry, _Nowhere):
            continue
        snapshot = Snapshot(registry)
        site = getHost().pathOf(registry.getSite())
        hidden = visibility.hiddenTypes(registry)
        counts = {name: states for name, states in snapshot.counts().items()
                  if name not in hidden}
        for problem in problems.listProblems(registry, snapshot, counts):
            listed = Listed(**{
                name: getattr(problem, name) for name in Listed._fields
                if name != 'site'}, site=(
                    None if problem.kind in problems.OF_PROCESSES else site))
            found.setdefault(listed)
    # The sort keeps the order of problems of one kind.
    worst = sorted(found, key=lambda one: PROBLEMS.index(one.kind))
    code = TROUBLED if worst else WELL
    return Health(code if first.workers else DOWN, tuple(worst),
                  tuple(first.processes()))


class _Question(threading.Thread):
    """A question to a database in a thread of its own."""

    answer = None   # until there is one

    def __init__(self, ask, db, end):
        super().__init__(name='cipher.background health', daemon=True)
        self._ask = ask
        self._db = db
        self._end = end

    def run(self):
        try:
            self.answer = self._ask(self._db)
        finally:
            self._end()


class Questions(Locked):
    """A question that databases are asked, each in a thread of its own.

    It is asked once at a time: others wait for the same answer.  So a
    database that hangs costs one thread, however often it is asked.
    """

    def __init__(self, ask):
        super().__init__()
        self._ask = ask
        self._asked = {}   # (pid, id of a database) -> _Question

    def ask(self, db, limit):
        """Return the answer of *db*; None if there is none in time."""
        # A child after a fork has no thread of its parent.
        key = os.getpid(), id(db)
        with self._lock:
            question = self._asked.get(key)
            if question is None:
                question = _Question(
                    self._ask, db, partial(self._end, key))
                question.start()
                self._asked[key] = question
        question.join(limit)
        return question.answer

    def _end(self, key):
        with self._lock:
            del self._asked[key]


def _check_database(db):
    try:
        _reach(db)
        with ZodbConnection(db) as connection:
            return checkHealth(connection)
    except Exception as error:
        return Health(DOWN, error=type(error).__name__)


def _does_answer(db):
    try:
        _reach(db)
        with ZodbConnection(db):
            return True
    except Exception:
        return False


def _reach(db):
    """Wait for an answer of the server of *db*, if it has one."""
    # A client of ZEO answers from its cache while it has no server.  A server
    # that hangs keeps its connections.
    _check_connected(db.storage)
    ping = getattr(db.storage, 'ping', None)
    if ping is not None:
        ping()


def _check_connected(storage):
    """Raise ``StorageError`` if *storage* knows that its server is away."""
    is_connected = getattr(storage, 'is_connected', None)
    if is_connected is not None and not is_connected():
        raise StorageError('expected a connection to the server, got none')


_healths = Questions(_check_database)
_answers = Questions(_does_answer)
