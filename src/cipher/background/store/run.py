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
"""The run: the persistent record of one execution of a worker."""
from dataclasses import dataclass
from operator import attrgetter
from typing import Any
from typing import NamedTuple

from persistent import Persistent
from zope.interface import implementer

from cipher.background.interfaces import FAILED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STATES
from cipher.background.interfaces import IRetry
from cipher.background.interfaces import IStopRequest
from cipher.background.interfaces import IWorkerRun
from cipher.background.store import lifecycle
from cipher.background.store.cause import readCause
from cipher.background.store.process import getDirectory
from cipher.background.util.plaindata import readAsked
from cipher.background.util.reference import pack
from cipher.background.util.reference import resolve
from cipher.background.util.reference import unpack


@implementer(IStopRequest)
class StopRequest(NamedTuple):
    """A request to stop a run."""

    principal: str = None
    asked_at: float = None
    reason: str = None


@dataclass
class Live:
    """Facts about a live run that only the process that runs it knows.

    Of a run in another process these are the last reported ones.
    """

    owner: str              # host:pid
    started_at: float
    progress: tuple = None  # (done, total, message)
    stop: StopRequest = None
    log: str = ''           # of a run in another process only the end
    stack: str = None       # of a run in another process, if reported
    progressed_at: float = None   # time of the last progress
    first_progress: tuple = None   # (time, done)
    unmoved_since: float = None   # it has been at one place in the code


@implementer(IRetry)
class Retry(NamedTuple):
    """The request by which a run is a retry of a finished one."""

    run_id: str
    principal: str = None
    asked_at: float = None
    reason: str = None


class _RunState:
    """The attributes of a run with their defaults, in stored order.

    The order is part of the stored form: append only.  Attributes that are
    set at the start come first, since trailing defaults are not stored.
    """

    lane = None
    serial = None
    stored_state = 0      # index into STATES
    type = None
    created_at = None
    starter = None
    reference = None      # result of reference.refer, or None
    input = None          # None stands for {}
    permission = None     # checked again when the work begins
    title = None
    priority = 0          # the greater, the more urgent
    due_at = None         # earliest begin; None: at once
    depth = 0             # in the chain of runs that started each other
    merged_starts: Any = None  # Length: number of starts merged into this run
    epoch = 0             # + 1 at each claim and rescue: the fence
    attempts = 0
    interruptions = 0
    owner = None          # process id
    started_at = None
    finished_at = None
    result = None
    error = None          # (type name, short text)
    progress = None       # (done, total, message)
    stop_request = None   # (principal, asked_at, reason)
    details = None        # RunDetails
    must_not_rerun = False   # set at the claim
    cursor = None         # of the last checkpoint, plain data
    retry_of = None       # (lane, serial, principal, asked_at, reason)
    retried = None        # (lane, serial) of its retry
    is_start_failure = False   # a failed start, kept as a run without work
    asker = None          # second principal of the work; see IWorkerRun
    is_removed = False    # by an administrator; the pruner drops it
    origin = None         # (lane, serial) of the first in a chain of retries
    waited = None         # queue wait in seconds; see attempts.waitOf
    cause = None          # ([lane, serial] of a run, kind, name); see cause
    children: Any = None  # (number, lane, serial, …) of the last ones


_FIELDS = tuple(name for name in vars(_RunState) if not name.startswith('__'))
_values_of = attrgetter(*_FIELDS)
_DEFAULTS = _values_of(_RunState)
_REFERENCE = _FIELDS.index('reference')


@implementer(IWorkerRun)
class WorkerRun(Persistent, _RunState):
    """The record of one execution, in a lane of a registry.

    Its state is stored as a tuple without trailing defaults, which is half
    the size of a dict.
    """

    __name__ = property(lambda self: self.id)
    # The registry; set when the run is got from there, not stored.
    _v_parent = None

    def __init__(self, type, lane, serial, created_at, **values):
        self.type = type
        self.lane = lane
        self.serial = serial
        self.created_at = created_at
        vars(self).update(values)   # it is new: no change is to be noted

    def __getstate__(self):
        state = _values_of(self)
        size = len(state)
        while state[size - 1] == _DEFAULTS[size - 1]:
            size -= 1
        if size > _REFERENCE:
            # Without the name of a class it takes half the bytes.
            state = (*state[:_REFERENCE], pack(self.reference),
                     *state[_REFERENCE + 1:])
        return state[:size]

    def __setstate__(self, state):
        own = self.__dict__
        own.update(zip(_FIELDS, state))
        if len(state) > _REFERENCE:
            own['reference'] = unpack(state[_REFERENCE])

    def __repr__(self):
        return '<WorkerRun %s of %r: %s>' % (self.id, self.type, self.state)

    @property
    def __parent__(self):
        if self._v_parent is None and self._p_jar is not None:
            # The application kept the run, and it was a ghost meanwhile.
            self._v_parent = self._find_registry()
        return self._v_parent

    def _find_registry(self):
        directory = getDirectory(self._p_jar)
        for registry in directory.listRegistries() if directory else ():
            if registry.getRun(self.lane, self.serial) is self:
                return registry
        return None

    @property
    def id(self):
        return formatId(self.lane, self.serial)

    @property
    def state(self):
        index = self.stored_state
        if type(index) is int and 0 <= index < len(STATES):
            return STATES[index]
        return FAILED

    @property
    def stop(self):
        request = self.stop_request
        if not request:
            return None
        return StopRequest(*readAsked(request))

    @property
    def retry(self):
        try:
            lane, serial, *asked = self.retry_of
            run_id = formatId(lane, serial)
        except (TypeError, ValueError):
            return None
        return Retry(run_id, *readAsked(asked))

    @property
    def parent_id(self):
        place = readCause(self)[-1]
        return place and formatId(*place)

    @property
    def origin_id(self):
        """The id of the first run in the chain of retries, or its own id."""
        try:
            return self.id if self.origin is None else formatId(*self.origin)
        except (TypeError, ValueError):
            return self.id

    @property
    def retried_as(self):
        if self.retried is None:
            return None
        registry = self.__parent__
        try:
            lane, serial = self.retried
            if registry is not None and registry.getRun(lane, serial) is None:
                return None
            return formatId(lane, serial)
        except (TypeError, ValueError):
            return None

    @property
    def context(self):
        jar = self._p_jar
        if jar is None and self._v_parent is not None:
            jar = self._v_parent._p_jar
        return resolve(self.reference, jar)

    def countMergedStarts(self):
        """Return the number of starts that were merged into this run.

        The open transaction conflicts if the number changes meanwhile.
        """
        merged_starts = self.merged_starts
        if merged_starts is None:
            return 0
        merged_starts._p_activate()
        if merged_starts._p_jar is not None:
            merged_starts._p_jar.readCurrent(merged_starts)
        return merged_starts()

    def mergeStart(self):
        """Merge one more start into this run.

        This conflicts with any change of the run meanwhile.  Two merged
        starts do not conflict: the counter resolves that.
        """
        self._p_activate()
        if self._p_jar is not None:
            self._p_jar.readCurrent(self)
        self.merged_starts.change(1)

    def isFinished(self):
        return lifecycle.isFinished(self.state)

    def change(self, state, **values):
        """Go to *state* and set *values*.

        Raise `IllegalTransition` if *state* may not follow.
        """
        lifecycle.checkTransition(self.id, self.state, state)
        self.stored_state = STATES.index(state)
        for name, value in values.items():
            setattr(self, name, value)

    def claim(self, owner, now, must_not_rerun):
        """Give the run to the process *owner*; return the new epoch."""
        self.change(RUNNING, owner=owner, started_at=now,
                    epoch=self.epoch + 1, attempts=self.attempts + 1,
                    must_not_rerun=must_not_rerun)
        return self.epoch

    def remove(self):
        """Mark the run as removed and wipe its data; the pruner drops it."""
        self.is_removed = True
        self.input = self.reference = self.title = self.result = None
        self.error = self.progress = self.details = self.cursor = None
        self.stop_request = self.retry_of = self.starter = None

    def putBack(self, **values):
        """Make the run pending again, set *values*, and fence its worker off.
        """
        if self.state != PENDING:
            self.change(PENDING)
        self.epoch += 1
        self.owner = self.started_at = None
        for name, value in values.items():
            setattr(self, name, value)

    def giveBack(self, **values):
        """Put the run back; an attempt that it is in does not count."""
        self.putBack(attempts=self.attempts - (self.state == RUNNING),
                     **values)


def formatId(lane, serial):
    """Return the id of the run *serial* of the lane *lane* (numbers)."""
    return '%d-%d' % (lane, serial)


class RunDetails(Persistent):
    """Data of a run that are large or rare, in an object of their own."""

    traceback = ''
    log = ''       # of the attempt that is not in the history
    history = ()   # rows of `attempts`, oldest first
    left_out = 0   # number of rows left out behind the first one
    masked = ()    # fields of the input whose secrets are masked in these

    def __init__(self, traceback='', log='', masked=()):
        if traceback:
            self.traceback = traceback
        if log:
            self.log = log
        if masked:
            self.masked = masked
