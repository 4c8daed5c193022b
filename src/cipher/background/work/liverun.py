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
"""The runs that this process works on or is about to begin, in memory only."""
import threading
from typing import NamedTuple

from cipher.background.store.attempts import LOG_TAIL
from cipher.background.store.run import Live
from cipher.background.util import clock
from cipher.background.util.plaindata import readNumber
from cipher.background.util.plaindata import readText
from cipher.background.util.text import SHOWS_ALL
from cipher.background.work.loop import OnePiece
from cipher.background.work.runlog import LogBuffer
from cipher.background.work.stack import getPosition
from cipher.background.work.stack import getStack
from cipher.background.work.worker import stateOf


#: Seconds.  A run that has been at the same place in the code for longer
#: reports its stack to other processes.
UNMOVED_AFTER = 60.0


class Ticket(NamedTuple):
    """A run that waits for a thread of this process; plain data."""

    registry_oid: bytes
    lane: int
    serial: int
    must_claim: bool = False   # a dead process may have begun the run
    priority: int = 0          # a greater number is more urgent
    created_at: float = 0.0    # of the run; older runs begin first
    starter: str = None        # starters of equal priority take turns
    type: str = None           # name of the worker type

    @property
    def place(self):
        """The lane, as (registry oid, lane number)."""
        return self.registry_oid, self.lane

    @property
    def run_id(self):
        return '%d-%d' % (self.lane, self.serial)

    @property
    def age(self):
        """A sort key: of the runs of one starter the smallest begins first."""
        return self.created_at, self.lane, self.serial


def ticketOf(registry_oid, run, must_claim=False):
    """Return the `Ticket` of *run*; replace unusable stored values."""
    priority, starter = run.priority, run.starter
    if type(priority) is not int:
        priority = readNumber(priority, 0)
    if starter is not None:
        starter = readText(starter)
    return Ticket(registry_oid, run.lane, run.serial, must_claim, priority,
                  readNumber(run.created_at, 0.0), starter, run.type)


class LiveRun:
    """A run in work.  Its worker's thread writes it, any thread reads it."""

    worker = None
    door = None            # the contextmanagers.Door it works with
    thread_id = None       # the thread it works in; None before, and while it
    #                        waits for a shared commit
    run_oid = None         # oid of the run, once it was loaded
    epoch = None           # of the run, as last seen or claimed for this work
    is_taken = False       # the run had an owner before its work began
    stop = None            # StopRequest
    worker_type = None     # IWorkerType; None for hand-made threads
    masker = SHOWS_ALL     # hides the secrets of the input
    depth = 0              # of the run
    attempt = 1            # number of the attempt
    error = None           # the error that ended its last attempt
    due_at = None          # when it begins again; None: it does not
    is_shutdown = False    # it stops because the process ends
    is_abandoned = False   # it must not commit any more
    is_unrecorded = False  # its end could not be written
    is_lost = False        # the run now belongs to another process
    is_announced = False   # the claim has sent IRunStartedEvent
    passing = None         # the passing.Passing of its slot
    conflicts = 0
    _position = None, None   # where it was seen, and since when

    def __init__(self, runtime, ticket, must_not_rerun=False):
        self.runtime = runtime
        # If the runtime takes a new id, because others took it for dead, they
        # rescue what was claimed with the old one.
        self.owner = runtime.id
        self.registry_oid = ticket.registry_oid
        self.lane = ticket.lane
        self.serial = ticket.serial
        self.run_id = ticket.run_id
        self.ticket = ticket
        self.type = ticket.type     # name of the worker type, if known
        self.must_not_rerun = must_not_rerun
        self.log = LogBuffer()
        self.started_at = clock.now()

    @property
    def _lock(self):
        # One for both: each lock that a fork renews takes time in each job.
        return self.log._lock

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

    def noteRun(self, run):
        """Note the state of *run*, which is about to begin."""
        self.epoch = run.epoch
        self.is_taken = run.owner is not None

    def getLabels(self):
        """Return the values for `logs.LABELS`."""
        return {'background_run': self.run_id,
                'background_type': self.type,
                'background_attempt': self.attempt}

    def hideSecrets(self, masker):
        """Use *masker* for all texts of the run from now on."""
        self.masker = self.log.masker = masker

    def getStack(self):
        """Return the stack of the run's thread; None if the run has ended."""
        stack = self.thread_id and getStack(self.thread_id)
        # Otherwise the thread may already work on another run.
        if self.runtime.findLive(self.registry_oid, self.run_id) is self:
            return stack
        return None

    @property
    def first_progress(self):
        return (None if self.worker is None
                else stateOf(self.worker).first_progress)

    def look(self):
        """Look where the run is; return since when it has been there.

        None if its thread has ended.  The time is that of the first look that
        saw it there.
        """
        position = self.thread_id and getPosition(self.thread_id)
        if not position:
            return None
        with self._lock:
            if self._position[0] != position:
                self._position = position, clock.now()
            return self._position[1]

    def getReport(self):
        """Return what other processes may know of the run, as plain data.

        A tuple (started_at, progress, end of the log, stack, progressed_at,
        first_progress, unmoved since).  The stack is None unless a person has
        asked the run to stop, or it has not moved for `UNMOVED_AFTER`.
        """
        since = self.look()
        if since is not None and clock.now() - since < UNMOVED_AFTER:
            since = None   # a report that changes is written again
        return (self.started_at, self.progress, self.log.getText()[-LOG_TAIL:],
                self.getStack() if self.stop is not None or since is not None
                else None, self.progressed_at, self.first_progress, since)

    def isUnbounded(self):
        """Return whether waiting for the end of the work is pointless.

        True for a loop, which has no end, and for work that has not begun,
        which need not begin.
        """
        return self.worker is None or not isinstance(self.worker, OnePiece)

    def begin(self, worker):
        """Note that the calling thread begins to carry out *worker*."""
        with self._lock:
            self.worker = worker
            self.thread_id = threading.get_ident()
            if self.stop is not None or self.is_shutdown:
                stateOf(worker).requestStop()

    def beginAnew(self):
        """Forget the work so far, which was aborted; a stop request stays."""
        with self._lock:
            self.worker = self.thread_id = None
        self.passing = self.due_at = self.error = None
        self.is_lost = self.is_unrecorded = False
        self.started_at = clock.now()
        if self.log.getText():
            # Its lines come a second time.
            self.log.add('A shared commit was given up: done again alone.')

    def requestStop(self, stop=None):
        """Ask the worker to stop.

        *stop* is the `StopRequest` of a person; None: the process ends.
        """
        with self._lock:
            if stop is not None:
                self.stop = stop
                # A run that a person stopped is not run again.
                self.is_shutdown = False
            else:
                self.is_shutdown = self.stop is None
            if self.worker is not None:
                stateOf(self.worker).requestStop()

    def abandon(self):
        """Forbid the worker to commit, and ask it to stop."""
        self.is_abandoned = True
        with self._lock:
            if self.worker is not None:
                stateOf(self.worker).requestStop()

    def end(self):
        """Note that the worker's thread is done with the run."""
        self.runtime.ended(self)

    def getStatus(self):
        """Return the `run.Live` that pages show."""
        return Live(self.runtime.name, self.started_at, self.progress,
                    self.stop, self.log.getText(),
                    progressed_at=self.progressed_at,
                    first_progress=self.first_progress,
                    unmoved_since=self.look())
