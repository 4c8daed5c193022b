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
"""What is live: runs that this process works on, in memory only."""
import threading
from typing import NamedTuple

from cipher.background.store.attempts import LOG_TAIL
from cipher.background.store.run import Live
from cipher.background.util import clock
from cipher.background.util.forks import Locked
from cipher.background.util.plaindata import readNumber
from cipher.background.util.plaindata import readText
from cipher.background.util.text import SHOWS_ALL
from cipher.background.work.loop import OnePiece
from cipher.background.work.runlog import LogBuffer
from cipher.background.work.stack import getStack
from cipher.background.work.worker import stateOf


class Ticket(NamedTuple):
    """A run that waits for a thread of this process; plain data."""

    registry_oid: bytes
    lane: int
    serial: int
    must_claim: bool = False   # a process that is dead may have begun it
    priority: int = 0          # the greater, the more urgent
    created_at: float = 0.0    # of the run: what came first goes first
    starter: str = None        # those of the same priority take turns
    type: str = None           # name of the worker type

    @property
    def place(self):
        """The lane: registry oid and number."""
        return self.registry_oid, self.lane

    @property
    def run_id(self):
        return '%d-%d' % (self.lane, self.serial)

    @property
    def age(self):
        """Of the runs of one starter the least goes first."""
        return self.created_at, self.lane, self.serial


def ticketOf(registry_oid, run, must_claim=False):
    """Return the `Ticket` of *run*, whatever is stored there."""
    return Ticket(registry_oid, run.lane, run.serial, must_claim,
                  readNumber(run.priority, 0), readNumber(run.created_at, 0.0),
                  readText(run.starter), run.type)


class LiveRun(Locked):
    """A run in work.  Its worker's thread writes it, any thread reads it."""

    def __init__(self, runtime, ticket, must_not_rerun=False):
        super().__init__()
        self.runtime = runtime
        self.registry_oid = ticket.registry_oid
        self.lane = ticket.lane
        self.serial = ticket.serial
        self.run_id = ticket.run_id
        self.ticket = ticket
        self.must_not_rerun = must_not_rerun
        self.log = LogBuffer()
        self.worker = None
        self.door = None            # the contextmanagers.Door it works with
        self.thread_id = None       # the thread it works in
        self.run_oid = None         # of the run, once it was looked at
        self.started_at = clock.now()
        self.stop = None            # StopRequest
        self.worker_type = None     # IWorkerType; None for hand-made threads
        self.masker = SHOWS_ALL     # hides the secrets of the input
        self.depth = 0              # of the run
        self.error = None           # that ended its last attempt
        self.due_at = None          # when it is to be begun again, if at all
        self.is_shutdown = False    # the stop is that of the process
        self.is_abandoned = False   # it must not commit any more
        self.is_unrecorded = False  # its end could not be written
        self.is_lost = False        # the run is another process's by now
        self.is_announced = False   # its begin, by the commit of a claim
        self.passing = None         # passing.Passing: of its slot
        self.conflicts = 0

    @property
    def key(self):
        return self.registry_oid, self.run_id

    @property
    def progress(self):
        return None if self.worker is None else stateOf(self.worker).progress

    @property
    def progressed_at(self):
        return (None if self.worker is None
                else stateOf(self.worker).progressed_at)

    def hideSecrets(self, masker):
        """Let *masker* hide the secrets in all that the run keeps."""
        self.masker = self.log.masker = masker

    def getStack(self):
        """Return where its thread stands; None if it is at its end."""
        stack = self.thread_id and getStack(self.thread_id)
        # Else the thread may be at something else by now.
        if self.runtime.findLive(self.registry_oid, self.run_id) is self:
            return stack
        return None

    def tell(self):
        """Return what other processes are told of it, plain data."""
        return (self.started_at, self.progress, self.log.getText()[-LOG_TAIL:],
                self.getStack() if self.stop is not None else None,
                self.progressed_at)

    def isUnbounded(self):
        """Return whether no time would be enough for it.

        So for a loop; and what has not begun need not begin.
        """
        return self.worker is None or not isinstance(self.worker, OnePiece)

    def begin(self, worker):
        """The worker's thread has begun."""
        with self._lock:
            self.worker = worker
            self.thread_id = threading.get_ident()
            if self.stop is not None or self.is_shutdown:
                stateOf(worker).requestStop()

    def requestStop(self, stop=None):
        """Ask the worker to stop.

        *stop* is the StopRequest of a person, None when the process ends.
        """
        with self._lock:
            if stop is not None:
                self.stop = stop
                # Who was asked to stop by a person is not rerun.
                self.is_shutdown = False
            else:
                self.is_shutdown = self.stop is None
            if self.worker is not None:
                stateOf(self.worker).requestStop()

    def abandon(self):
        """Let the worker commit no more, and so need not go on."""
        self.is_abandoned = True
        with self._lock:
            if self.worker is not None:
                stateOf(self.worker).requestStop()

    def end(self):
        """The worker's thread is at its end."""
        self.runtime.ended(self)

    def getStatus(self):
        """Return the `run.Live` for pages."""
        return Live(self.runtime.name, self.started_at, self.progress,
                    self.stop, self.log.getText(),
                    progressed_at=self.progressed_at)
