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
"""Migrations: bring data of older releases up to date, in small commits.

A migration leads from one structure to the next.  It works in batches, each
in a transaction of its own.  The batch and its place are one commit, and the
next batch goes on at that place.  So a process that dies leaves nothing half
done.

The *first* commit of a migration raises the number of the structure: from then
on older code may not use the record.  No number is raised while a process of
older code lives.
"""
import time
from typing import TYPE_CHECKING
from typing import Callable
from typing import NamedTuple
from typing import Optional

from ZODB.POSException import ConflictError

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import InvalidDatabase
from cipher.background.interfaces import OlderProcess
from cipher.background.store import process
from cipher.background.store import structure
from cipher.background.store.deployment import isExclusive
from cipher.background.store.lifecycle import backOff
from cipher.background.store.lifecycle import isSilent
from cipher.background.util import clock
from cipher.background.util.logs import getLogger


if TYPE_CHECKING:
    from ZODB.DB import DB


log = getLogger(__name__)

#: Objects that one batch changes, at most.  Halved after each conflict with
#: runs that go on, and doubled after each commit.
LIMIT = 100

#: Seconds between two looks at processes of older code.
LOOK_INTERVAL = 0.2

#: The value of `Structured.evolving` before the first batch.
BEGIN = ()


class Migration(NamedTuple):
    """The change from the structure before *version* to *version*.

    *directory* and *registry* are functions, or None if only the number is
    raised.  They are called with the object, the place (`BEGIN` at first) and
    the greatest number of objects to change.  They return the next place as
    plain data, or None when all is done.  They never commit.

    While a migration exists, the code also reads the shape before it.  An
    older process may be unknown, or be taken for dead, and commit while the
    migration is under way.
    """

    version: int
    title: str
    directory: Optional[Callable] = None
    registry: Optional[Callable] = None


#: The migrations: one for each number from `structure.OLDEST` + 1 to
#: `structure.VERSION`.  Only released structures have a migration.
MIGRATIONS = ()


class Evolution:
    """Brings one database up to date.  For one thread.

    *isDead* is called with a `process.ProcessRecord` in the open transaction
    and returns whether that process is dead.
    """

    def __init__(self, own_id=None, isDead=lambda record: False):
        self._own_id = own_id
        self._isDead = isDead
        self._limit = LIMIT
        # id of a living process of older code -> the time it was first seen
        self.older = {}

    def turn(self, connection, note=None):
        """Commit one batch; return whether there was anything to do.

        Do nothing while a process of older code lives: `older` names it.
        """
        try:
            with ZopeTransaction(note=note):
                is_more = self._do_batch(process.getDirectory(connection))
        except ConflictError:
            self._limit = max(1, self._limit // 2)
            raise
        self._limit = min(LIMIT, self._limit * 2)
        return is_more

    def _do_batch(self, directory):
        record, migration = _find_next(directory)
        self._note_older(directory, migration)
        if record is None or self.older:
            return False
        place = record.evolving
        if place is None:
            place = BEGIN
            record.structure_version = migration.version
            record.evolving = BEGIN
            log.info('%s: structure %d, %s', structure.describe(record),
                     migration.version, migration.title)
            if record is directory:
                # A process that begins from now on sees the number.  The next
                # batch sees a process that begins right now.
                return True
        do = migration.directory if record is directory else migration.registry
        record.evolving = do and do(record, place, self._limit)
        return True

    def _note_older(self, directory, migration):
        older = set()
        if migration is not None:
            older = {record.id for record in directory.processes.values()
                     if record.structure_version < migration.version
                     and record.id != self._own_id
                     and not self._isDead(record)}
        for gone in set(self.older) - older:
            del self.older[gone]
        for process_id in sorted(older - set(self.older)):
            self.older[process_id] = clock.now()
            log.warning(
                'Process %s is of an older release; the database is brought '
                'up to date when that process has ended',
                process.processName(process_id))


def _find_next(directory):
    """Return (record to bring up to date, its `Migration`), or two None."""
    if directory is not None and structure.isUsable(directory):
        for record in (directory, *directory.listRegistries()):
            version = record.structure_version
            if record.evolving is not None:
                return record, _find_migration(version)
            if version < structure.VERSION:
                return record, _find_migration(version + 1)
    return None, None


def _find_migration(version):
    for migration in MIGRATIONS:
        if migration.version == version:
            return migration
    raise InvalidDatabase(
        'evolve: expected a migration to structure %d, got none; install a '
        'release of cipher.background that has it' % version)


def isUpToDate(directory):
    """Return whether *directory* and its registries are up to date."""
    return _find_next(directory)[0] is None


class _Deaths:
    """Finds dead processes, for a caller without a runtime."""

    def __init__(self, db):
        self._is_exclusive = isExclusive(db)
        # process id -> (count of heartbeats, monotonic time of its change)
        self._beats = {}

    def isDead(self, record):
        """Return whether the process of *record* is dead.

        The open transaction conflicts if the process beats meanwhile.
        """
        beat = record.heartbeat
        now = time.monotonic()
        count, since = self._beats.setdefault(record.id, (beat.count, now))
        if count != beat.count:
            self._beats[record.id] = beat.count, now
            return False
        # A heartbeat after all wins.
        record._p_jar.readCurrent(beat)
        return (self._is_exclusive or process.isKnownDead(record)
                or isSilent(now - since, record.lease))


def evolveDatabase(db: 'DB', wait: float = 60.0) -> int:
    """Bring the data in *db* up to date; return the number of commits.

    Call this without an open transaction: it commits one for each batch.
    Wait up to *wait* seconds for processes of older code to end, then raise
    `OlderProcess`.  Raise `NewerDatabase` or `InvalidDatabase` and write
    nothing if this code cannot use the database.
    """
    deaths = _Deaths(db)
    evolution = Evolution(isDead=deaths.isDead)
    deadline = time.monotonic() + wait
    commits = failures = 0
    while True:
        with ZodbConnection(db) as connection:
            _check(connection)
            try:
                is_more = evolution.turn(connection, 'background: evolve')
            except ConflictError as error:
                failures += 1
                log.debug('evolve: %s; trying again', type(error).__name__)
                time.sleep(backOff(failures, cap=1.0))
                continue
        failures = 0
        if is_more:
            commits += 1
        elif not evolution.older:
            return commits
        elif time.monotonic() >= deadline:
            raise OlderProcess(
                'evolve: expected no living process of an older release, got '
                '%s; end it, or start it with this release, and try again'
                % ', '.join(map(process.processName, evolution.older)))
        else:
            time.sleep(LOOK_INTERVAL)


def _check(connection):
    """Raise `InvalidDatabase` unless this code can use the database."""
    with ZopeTransaction():
        directory = process.getDirectory(connection)
        if directory is not None:
            structure.checkVersion(directory)
            for registry in directory.listAllRegistries():
                structure.checkVersion(registry)
