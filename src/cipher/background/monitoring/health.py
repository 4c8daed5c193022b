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
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from transaction import TransactionManager
from ZODB.POSException import StorageError
from zope.security.management import endInteraction
from zope.security.management import queryInteraction
from zope.security.management import restoreInteraction
from zope.security.proxy import removeSecurityProxy

from cipher.background.interfaces import CLOCK_JUMP
from cipher.background.interfaces import COPIED_DATABASE
from cipher.background.interfaces import FAILING_STEP
from cipher.background.interfaces import NEWER_DATABASE
from cipher.background.interfaces import OLDER_PROCESS
from cipher.background.interfaces import PROBLEMS
from cipher.background.interfaces import SILENT_PROCESS
from cipher.background.interfaces import STUCK_PROCESS
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.queries import problems
from cipher.background.queries import visibility
from cipher.background.queries.snapshot import Snapshot
from cipher.background.store import structure
from cipher.background.store.process import getDirectory
from cipher.background.util.forks import Locked
from cipher.background.util.reference import lineage


#: The codes; the exit codes of ``cipher-background health`` as well.
WELL = 0       # a process with threads lives, and no problem is listed
TROUBLED = 1   # a process with threads lives, and a problem is listed
DOWN = 2       # no process with threads lives, or the database fails

#: Seconds that a check of a database may take.  Then it counts as down.  Most
#: load balancers wait for at least this time.
LIMIT = 5.0

#: The problems that are of a process: each registry lists the same ones.
_OF_PROCESSES = frozenset([
    CLOCK_JUMP, COPIED_DATABASE, FAILING_STEP, NEWER_DATABASE, OLDER_PROCESS,
    SILENT_PROCESS, STUCK_PROCESS])


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


class Health(NamedTuple):
    """A judgement, with what it rests on.

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


def checkHealth(source):
    """Return the `Health` of *source*, a registry or a connection of ZODB.

    For a connection, all registries of the database count.  Raise no error of
    the database: one that fails is down.
    """
    source = removeSecurityProxy(source)
    try:
        registries = _find_registries(source)
        with seeingAll():
            health = _look(registries)
        if queryInteraction() is not None:
            health = _look(registries)._replace(code=health.code)
        return health
    except Exception as error:
        return Health(DOWN, error=type(error).__name__)


def checkDatabase(db, limit=LIMIT):
    """Return the `Health` of the database *db*, with all its registries.

    See all, whoever asks, and use a connection of its own.  A database that
    does not answer within *limit* seconds is down.
    """
    return _checks.get(db, limit)


@contextmanager
def seeingAll():
    """Hide no worker type in the block: let it have no interaction."""
    if queryInteraction() is None:
        yield
        return
    endInteraction()
    try:
        yield
    finally:
        restoreInteraction()


class _Nowhere:
    """Stands for a registry in a database that has none."""

    _p_oid = None

    def __init__(self, connection):
        self._p_jar = connection


def _find_registries(source):
    """Return the registries that count, at least one; raise an error."""
    is_registry = IWorkerRegistry.providedBy(source)
    connection = source._p_jar if is_registry else source
    # A client of ZEO answers from its cache while it has no server.
    is_connected = getattr(connection.db().storage, 'is_connected', None)
    if is_connected is not None and not is_connected():
        raise StorageError('expected a connection to the server, got none')
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
        site = _path_of(registry)
        hidden = visibility.hiddenTypes(registry)
        counts = {name: states for name, states in snapshot.counts().items()
                  if name not in hidden}
        for problem in problems.listProblems(registry, snapshot, counts):
            listed = Listed(**{
                name: getattr(problem, name) for name in Listed._fields
                if name != 'site'}, site=(
                    None if problem.kind in _OF_PROCESSES else site))
            found.setdefault(listed)
    # The sort keeps the order of problems of one kind.
    worst = sorted(found, key=lambda one: PROBLEMS.index(one.kind))
    code = TROUBLED if worst else WELL
    return Health(code if first.workers else DOWN, tuple(worst),
                  tuple(first.processes()))


def _path_of(registry):
    """Return the path of the site of *registry*, from the root object on."""
    names = [place.__name__ or '' for place in lineage(registry.getSite())]
    return '/'.join(reversed(names)) or '/'


class _Check(threading.Thread):
    """A check that is under way; `health` is None until it is done."""

    health = None

    def __init__(self, db, end):
        super().__init__(name='cipher.background health', daemon=True)
        self._db = db
        self._end = end

    def run(self):
        try:
            self.health = _check_database(self._db)
        finally:
            self._end()


class _Checks(Locked):
    """The checks that are under way: at most one for each database.

    So a database that hangs costs one thread, however often it is checked.
    """

    def __init__(self):
        super().__init__()
        self._running = {}   # (pid, id of a database) -> _Check

    def get(self, db, limit):
        """Return the `Health` of *db* after at most *limit* seconds."""
        # A child after a fork has no thread of a check.
        key = os.getpid(), id(db)
        with self._lock:
            check = self._running.get(key)
            if check is None:
                check = _Check(db, partial(self._end, key))
                check.start()
                self._running[key] = check
        check.join(limit)
        return check.health or Health(DOWN, error=TimeoutError.__name__)

    def _end(self, key):
        with self._lock:
            del self._running[key]


_checks = _Checks()


def _check_database(db):
    try:
        ping = getattr(db.storage, 'ping', None)
        if ping is not None and db.storage.is_connected():
            ping()   # of ZEO: a server that hangs keeps its connections
        connection = db.open(TransactionManager())
        try:
            return checkHealth(connection)
        finally:
            connection.close()
    except Exception as error:
        return Health(DOWN, error=type(error).__name__)
