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
"""The writer of a lane: the process whose transactions write it.

A writer's transactions start and finish runs in the lane.  The lane stores
its writer.  A process that needs a lane takes a free one: its transaction
that first writes the lane stores the new writer.  No process asks another
one.  If two processes take the same lane at the same moment, both write its
recent entries: one of them conflicts and takes another lane.

The stored writer says which process *should* write a lane, not which one
*may*.  So a wrong guess costs at most one conflict and another lane.

When a lane is free again depends on its writer:

- The writer had a runtime: as soon as that has no process record any more.
  It ended, or others found it dead.
- The writer had no runtime and is on this machine: as soon as its pid is
  gone.
- Otherwise: by time.  A process without a runtime has no heartbeat, so only
  its starts are seen.  A process that was N seconds old at its last start is
  expected to live N/4 seconds more, one hour at most.  So a lane is occupied
  for little longer than its writer lived.  Short-lived processes leave at
  most twice as many lanes as there were such processes at one time.  A
  process that lives on finds that its lane is gone, and takes another one.
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


#: Seconds after its last write at which a lane is free, unless its writer is
#: known to be alive.
LONGEST = 3600.0

#: The number of a new lane is at most this much above the greatest one.  It is
#: random, so two processes that make a lane at the same moment seldom choose
#: the same number.
GAP = 256


class Identity(NamedTuple):
    """This process, as the writer of lanes."""

    id: str                   # the id of its runtime, if it has one
    has_runtime: bool = False
    machine: str = None       # of process.machineId: where pid is valid
    pid: int = None
    pid_started: str = None   # of process.pidStarted: detects a reused pid
    began_at: float = 0.0     # when the process began


_NOBODY = Identity(None)


class Writer(Persistent):
    """The process that writes a lane: the fields of an `Identity`."""

    def __init__(self):
        self.become(_NOBODY)

    def become(self, identity):
        """Store the process *identity* as the writer."""
        (self.id, self.has_runtime, self.machine, self.pid, self.pid_started,
         self.began_at) = identity

    def __getstate__(self):
        return (self.id, self.has_runtime, self.machine, self.pid,
                self.pid_started, self.began_at)

    def __setstate__(self, state):
        (self.id, self.has_runtime, self.machine, self.pid, self.pid_started,
         self.began_at) = state


def isFree(lane, alive):
    """Return whether another process may become the writer of *lane*.

    *alive* are the ids of the processes that have a runtime.
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
    # A time far ahead is of a wrong clock; it counts like one long ago.
    return abs(clock.now() - last) > min(
        LONGEST, max(0.0, last - writer.began_at) / 4)


def freeLanes(registry, former, alive):
    """Yield the free lanes of *registry* in a random order.

    Yield those first whose writer is in *former*, earlier ids of this
    process.  *alive* is as in `isFree`.
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
    """Return a number for a new lane."""
    return registry.lanes.maxKey() + random.randint(1, GAP)


class _Process:
    """This process as a client of one database."""

    def __init__(self):
        self._plain = None    # the Identity without a runtime
        self._own = None      # the Identity with a runtime
        self.former = set()   # ids under which this process wrote lanes
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
            switchboard.warnOfParent(connection.db(), alive)
        runtime = switchboard.queryRuntime(connection.db())
        if runtime is not None and runtime.id in alive:
            # A runtime that has no record yet would be taken for dead.
            if self._own is None or self._own.id != runtime.id:
                self._own = identity._replace(
                    id=runtime.id, has_runtime=True)
            identity = self._own
        if identity.id not in self.former:
            self.former = self.former | {identity.id}
        return identity


_began = time.monotonic()      # about when this process began
_processes = weakref.WeakKeyDictionary()   # DB -> _Process
_lock = threading.Lock()


def identify(connection):
    """Return (`Identity`, its former ids, ids of living processes).

    The last are those with a runtime in the snapshot of *connection*.
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
