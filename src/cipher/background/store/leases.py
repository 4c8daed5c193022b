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
"""Leases: which process writes which lane.

A lane has one *writer*, a process, whose transactions start and finish runs
there.  The writer's record stands in the lane and is written only when the
lane changes hands, by the very transaction that first writes the lane.  No
process asks another one.  Two that lease the same lane at the same moment
both write its head: one of them conflicts, and leases another lane.

The record says who *should* write a lane, never who *may*.  So a wrong guess
about a writer costs at most one conflict and one more lease.

A lane is free again

- when its writer had a runtime, as soon as that has no record any more: it
  ended, or others found it dead;
- when its writer had none and is on this machine, as soon as its pid is gone;
- else by time.  A process without a runtime has no heartbeat; its starts are
  all that is seen of it.  A process that was N seconds old at its last start
  is taken to live N/4 seconds more, one hour at most.  So a lane is occupied
  for little longer than its writer lived, and short-lived processes leave at
  most twice as many lanes as were alive together.  A process that lives on
  after all finds its lane gone, and leases another one.

Pickles name `Writer`: it stays here.
"""
import os
import random
import threading
import time
import weakref
from typing import NamedTuple

from persistent import Persistent

from cipher.background.store import process
from cipher.background.util import clock
from cipher.background.util import switchboard
from cipher.background.util.forks import noteDatabase


#: Seconds.  A lane that nobody wrote for so long is free, unless its writer
#: is known to live.
LONGEST = 3600.0

#: The number of a new lane is at most so many above the greatest one.  Two
#: processes that make one at the same moment seldom choose the same number.
GAP = 256


class Identity(NamedTuple):
    """This process, as the writer of lanes."""

    id: str                   # of the runtime, if there is one
    has_runtime: bool = False
    machine: str = None       # where pid means something, or None
    pid: int = None
    pid_started: str = None   # tells a reused pid, or None
    began_at: float = 0.0


_NOBODY = Identity(None)


class Writer(Persistent):
    """The process that writes a lane: the fields of an `Identity`."""

    def __init__(self):
        self.become(_NOBODY)

    def become(self, identity):
        """Be that process from the commit of the open transaction on."""
        (self.id, self.has_runtime, self.machine, self.pid, self.pid_started,
         self.began_at) = identity

    def __getstate__(self):
        return (self.id, self.has_runtime, self.machine, self.pid,
                self.pid_started, self.began_at)

    def __setstate__(self, state):
        (self.id, self.has_runtime, self.machine, self.pid, self.pid_started,
         self.began_at) = state


def isFree(lane, alive):
    """Return whether a process may take *lane* for its own.

    *alive* are the ids of the processes with a runtime.
    """
    writer = lane.writer
    if writer.id is None:
        return True
    if writer.has_runtime:
        return writer.id not in alive
    if process.isKnownDead(writer):
        return True
    if process.isKnownAlive(writer):
        return False
    last = max(lane.births.last_at, lane.finishes.last_key / 1000000)
    # A time that is far ahead says as little as one that is long ago.
    return abs(clock.now() - last) > min(
        LONGEST, max(0.0, last - writer.began_at) / 4)


def freeLanes(registry, former, alive):
    """Yield the lanes of *registry* that are free, in a random order.

    First those whose writer is one of *former*: ids that this process had.
    """
    lanes = list(registry.lanes.values())
    random.shuffle(lanes)
    ours = [lane for lane in lanes if lane.writer.id in former
            and lane.writer.id not in alive]
    yield from ours
    for lane in lanes:
        if lane not in ours and isFree(lane, alive):
            yield lane


def newNumber(registry):
    """Return the number of a lane to make."""
    return registry.lanes.maxKey() + random.randint(1, GAP)


class _Process:
    """This process as a client of one database."""

    def __init__(self):
        self._plain = None    # the Identity without a runtime
        self._own = None      # that with one
        self.former = set()   # ids under which it wrote lanes
        self._has_warned = False

    def _get_plain(self):
        if self._plain is None:
            pid = os.getpid()
            self._plain = Identity(
                process.newProcessId(process.hostName(), pid), False,
                process.machineId(), pid, process.pidStarted(pid),
                clock.now() - (time.monotonic() - _began))
        return self._plain

    def identity(self, connection, alive):
        """Return the `Identity` in the database of *connection*."""
        identity = self._get_plain()
        if not self._has_warned:
            self._has_warned = True
            noteDatabase(connection.db())
            switchboard.warnOfParent(alive)
        runtime = switchboard.queryRuntime(connection.db())
        if runtime is not None and runtime.id in alive:
            # Without a record it would be taken for dead.
            if self._own is None or self._own.id != runtime.id:
                self._own = identity._replace(
                    id=runtime.id, has_runtime=True)
            identity = self._own
        if identity.id not in self.former:
            self.former = self.former | {identity.id}
        return identity


_began = time.monotonic()      # about when this process did
_processes = weakref.WeakKeyDictionary()   # DB -> _Process
_lock = threading.Lock()


def identify(connection):
    """Return (`Identity`, former ids, ids alive) for a transaction.

    As the snapshot of *connection* shows them.
    """
    directory = process.getDirectory(connection)
    alive = () if directory is None else directory.processes
    with _lock:
        this = _processes.get(connection.db())
        if this is None:
            this = _processes[connection.db()] = _Process()
    return this.identity(connection, alive), this.former, alive


def _forget_after_fork():
    global _began, _lock
    _began = time.monotonic()
    _lock = threading.Lock()
    _processes.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_after_fork)
