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
"""Plain data for pages, made from stored and live data."""
from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import NOT_WAITING
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RETRIED
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import IEndedProcess
from cipher.background.interfaces import IErrorGroup
from cipher.background.interfaces import IErrors
from cipher.background.interfaces import IHour
from cipher.background.interfaces import IProblem
from cipher.background.interfaces import IProcessStatus
from cipher.background.interfaces import IRunDetails
from cipher.background.interfaces import IRunPage
from cipher.background.interfaces import IRunStatus
from cipher.background.interfaces import IScheduleStatus
from cipher.background.interfaces import ITick
from cipher.background.interfaces import ITypeHistory
from cipher.background.interfaces import ITypePeriod
from cipher.background.interfaces import ITypeStatus
from cipher.background.interfaces import IWait
from cipher.background.queries.retryable import findObstacle
from cipher.background.store.attempts import waitedOf
from cipher.background.store.process import processName
from cipher.background.store.run import Retry
from cipher.background.store.run import StopRequest
from cipher.background.util.plaindata import readError
from cipher.background.util.plaindata import readNumber
from cipher.background.util.plaindata import readProgress
from cipher.background.util.plaindata import readResult
from cipher.background.util.plaindata import readText
from cipher.background.util.reference import oidOf


#: Seconds.  The stop timeout of a run whose type no ZCML declares.
UNDECLARED_STOP_TIMEOUT = 60.0


@implementer(IWait)
@dataclass
class Wait:
    kind: str
    until: float = None
    number: int = None
    run_id: str = None


@implementer(IRunStatus)
@dataclass
class RunStatus:
    id: str
    type: str
    title: str
    state: str
    starter: str
    asker: str
    created_at: float
    started_at: float
    finished_at: float
    attempts: int
    interruptions: int
    due_at: float
    progress_done: float
    progress_total: float
    message: str
    stop: StopRequest
    owner: str
    result: Any
    error_type: str
    error_text: str
    is_declared: bool
    is_stoppable: bool
    is_retryable: bool
    is_removable: bool
    is_unresponsive: bool
    is_paused: bool
    is_orphaned: bool
    is_kept: bool
    retry: Retry
    retried_as: str
    retry_obstacle: str
    is_beginnable: bool
    begin_obstacle: str
    context_oid: bytes
    waited: float
    took: float
    progressed_at: float
    wait: Wait


@implementer(IRunDetails)
@dataclass
class RunDetailsStatus:
    input: dict
    masked: tuple
    traceback: str
    log: str
    attempts: list
    left_out: int
    history: list


@implementer(IRunPage)
@dataclass
class RunPage:
    items: list
    older: str
    looked_at: int
    is_cut: bool


@implementer(IProcessStatus)
@dataclass
class ProcessStatus:
    id: str
    host: str
    pid: int
    threads: int
    started_at: float
    beat_at: float
    is_here: bool
    is_silent: bool
    busy: int
    is_all_seen: bool
    is_quiet: bool
    is_draining: bool
    is_copy: bool
    types: list
    asked_by: str


@implementer(IEndedProcess)
@dataclass
class EndedProcessStatus:
    id: str
    host: str
    pid: int
    started_at: float
    beat_at: float
    ended_at: float
    how: str
    asked_by: str
    reason: str
    taken_over: int
    run_ids: list


@implementer(ITypeStatus)
@dataclass
class TypeStatus:
    name: str
    is_declared: bool
    counts: dict
    is_paused: bool
    paused_by: str
    paused_at: float
    pause_reason: str
    timed: int
    mean: float
    maximum: float
    failure_rate: float
    last_run: str
    last_at: float
    last_state: str


@implementer(IErrorGroup)
@dataclass
class ErrorGroup:
    key: str
    error_type: str
    message: str
    number: int
    unresolved: int
    first_at: float
    last_at: float
    types: dict
    hours: list
    last_run: str


@implementer(IErrors)
@dataclass
class Errors:
    groups: list
    looked_at: int
    is_cut: bool


@implementer(ITypePeriod)
@dataclass
class TypePeriod:
    begins_at: float
    ends_at: float
    counts: dict
    took_half: float
    took_most: float
    waited_half: float
    waited_most: float


@implementer(ITypeHistory)
@dataclass
class TypeHistory:
    hours: list
    days: list
    day: TypePeriod
    fortnight: TypePeriod
    buckets: list
    is_cut: bool


@implementer(IHour)
@dataclass
class HourStatus:
    begins_at: float
    counts: dict
    mean: float


@implementer(IProblem)
@dataclass
class Problem:
    kind: str
    subject: str = None
    since: float = None
    number: int = 0
    process: str = None
    error: str = None
    stack: str = None
    total: int = 0
    usual: float = None


@implementer(ITick)
@dataclass(frozen=True)
class Tick:
    at: float
    state: str | None
    run_id: str | None
    is_missed: bool


@implementer(IScheduleStatus)
@dataclass
class ScheduleStatus:
    name: str
    worker: str
    expression: str
    description: str
    next_at: float
    last_at: float
    last_run: str
    is_paused: bool
    paused_by: str
    paused_at: float
    pause_reason: str
    recent: tuple
    is_late: bool


def describeRun(run, live, stop, now, is_orphaned=False, is_paused=False,
                is_kept=False, wait=None, begin_obstacle=NOT_WAITING):
    """Return the `RunStatus` of *run* at the time *now*.

    *live* is its `Live` or None; *stop* is a `StopRequest` that it has not
    obeyed yet, or None.  *is_orphaned*: it is stored as running, but its
    process is gone.  *is_paused*: its type is paused.  *is_kept*: it came
    with a copy and is kept back.  *wait* is its `Wait` or None.
    *begin_obstacle*: why it cannot be begun now, or None.
    """
    state = PENDING if is_orphaned else run.state
    created_at = readNumber(run.created_at, 0.0)
    started_at = readNumber(run.started_at)
    finished_at = readNumber(run.finished_at)
    owner = run.owner and processName(readText(run.owner))
    progress = run.progress
    if live is not None and state in (PENDING, RUNNING):
        state = RUNNING
        started_at = live.started_at
        owner = live.owner
        progress = live.progress or progress
        stop = live.stop or stop
    worker_type = queryWorkerType(run.type)
    done, total, message = readProgress(progress) or (None, None, None)
    error_type, error_text = readError(run.error)
    stop = run.stop or stop
    is_finished = run.isFinished()
    obstacle = _retry_obstacle(run, state)
    return RunStatus(
        id=run.id, type=run.type, state=state, starter=readText(run.starter),
        asker=readText(run.asker),
        title=titleOf(run, worker_type),
        created_at=created_at, started_at=started_at,
        finished_at=finished_at, attempts=max(
            readNumber(run.attempts, 0), 1 if started_at else 0),
        interruptions=readNumber(run.interruptions, 0),
        due_at=readNumber(run.due_at), progress_done=done,
        progress_total=total, message=message, stop=stop, owner=owner,
        result=readResult(run.result), error_type=error_type,
        error_text=error_text,
        is_declared=worker_type is not None,
        is_stoppable=not is_finished and stop is None,
        is_retryable=obstacle is None,
        is_removable=is_finished,
        is_unresponsive=state == RUNNING and _is_overdue(
            stop, worker_type, now),
        is_paused=is_paused and state == PENDING, is_orphaned=is_orphaned,
        is_kept=is_kept,
        retry=run.retry, retried_as=run.retried_as,
        retry_obstacle=obstacle,
        is_beginnable=begin_obstacle is None, begin_obstacle=begin_obstacle,
        context_oid=oidOf(run.reference),
        waited=waitedOf(run, started_at),
        took=_span(started_at, finished_at or (
            None if is_orphaned else now)),
        progressed_at=None if live is None else readNumber(
            live.progressed_at),
        wait=wait)


def titleOf(run, worker_type):
    """Return the title of *run*; its *worker_type* is None if undeclared."""
    if run.title:
        return readText(run.title)
    return worker_type.title if worker_type else run.type


def _retry_obstacle(run, state):
    if run.retried_as is not None:
        return RETRIED
    registry = run.__parent__
    obstacle = findObstacle(
        run, state, None if registry is None else registry.findSite())
    return obstacle and obstacle.cause


def _is_overdue(stop, worker_type, now):
    """Return whether the stop timeout of a run is over."""
    timeout = (UNDECLARED_STOP_TIMEOUT if worker_type is None
               else worker_type.stop_timeout)
    return stop is not None and now - stop.asked_at > timeout


def _span(begin, end):
    # Not negative, even if the clock was set back in between.
    return None if begin is None or end is None else max(0.0, end - begin)
