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
"""An invented structure 2, and a process whose code writes it.

In structure 2 the state of a run is a dict.  The code of structure 2 can still
read the tuples of structure 1.  The migration writes each run again.
"""
import os
import signal
import sys
from contextlib import contextmanager
from unittest import mock

from ZODB.utils import load_current

from cipher.background.store import evolve
from cipher.background.store import run as run_module
from cipher.background.store import structure
from cipher.background.store.run import WorkerRun
from cipher.background.tests.support import actor


_read_tuple = WorkerRun.__setstate__


def write_dict(run):
    return {name: value for name, value in run.__dict__.items()
            if name in run_module._FIELDS}


def read_both(run, state):
    if isinstance(state, dict):
        run.__dict__.update(state)
    else:
        _read_tuple(run, state)


def write_runs(registry, place, limit):
    """Do a batch of the migration: write *limit* runs from *place* on."""
    number, serial = place or (min(registry.lanes), 1)
    for number in registry.lanes.keys(min=number):
        for run in registry.lanes[number].births.walkUp(serial):
            if not limit:
                return number, run.serial
            run._p_activate()
            run._p_changed = True
            limit -= 1
        serial = 1
    return None


MIGRATION = evolve.Migration(2, 'runs are dicts', registry=write_runs)


@contextmanager
def structure2(migration=MIGRATION):
    """Make the code of this process that of structure 2."""
    with mock.patch.multiple(
            WorkerRun, __getstate__=write_dict, __setstate__=read_both), \
            mock.patch.object(structure, 'VERSION', 2), \
            mock.patch.object(evolve, 'MIGRATIONS', (migration,)):
        yield


def shapesOf(db, registry):
    """Return the types of the stored states of all runs of *registry*."""
    connection = registry._p_jar
    found = set()
    for lane in registry.lanes.values():
        for run in lane.births.walkUp():
            pickle, _ = load_current(db.storage, run._p_oid)
            found.add(type(connection._reader.getState(pickle)))
    return found


class Evolving(actor.Actor):
    """A process whose code writes structure 2."""

    program = __name__


class Play(actor.Play):
    """The commands of the process."""

    def killAtBatch(self, number):
        """Crash in the commit of the batch *number*."""
        do = MIGRATION.registry
        batches = []

        def kill(registry, place, limit):
            batches.append(place)
            if len(batches) == number:
                registry._p_jar.transaction_manager.get().addBeforeCommitHook(
                    os.kill, (os.getpid(), signal.SIGKILL))
            return do(registry, place, limit)

        evolve.MIGRATIONS = (MIGRATION._replace(registry=kill),)

    def limit(self, number):
        """Let a batch change at most *number* objects."""
        evolve.LIMIT = number
        evolve.Evolution.__init__.__globals__['LIMIT'] = number

    def evolve(self, wait):
        """Bring the database up to date; return the number of commits."""
        return evolve.evolveDatabase(self._db, wait)


def main(uri, folder):
    """Obey the commands on the standard input until it ends."""
    with structure2():
        actor.main(uri, folder, Play)


if __name__ == '__main__':
    main(*sys.argv[1:])
