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
"""Snapshots for pages: plain data, of what is stored and what is live."""
from dataclasses import dataclass
from typing import Any

from zope.interface import implementer

from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import IProcessStatus
from cipher.background.interfaces import IRunDetails
from cipher.background.interfaces import IRunPage
from cipher.background.interfaces import IRunStatus
from cipher.background.interfaces import IScheduleStatus
from cipher.background.process import processName
from cipher.background.run import StopRequest
from cipher.background.workertype import queryWorkerType


@implementer(IRunStatus)
@dataclass
class RunStatus:
    """See `~cipher.background.interfaces.IRunStatus`."""

    id: str
    type: str
    title: str
    state: str
    starter: str
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
    waited: float
    took: float


@implementer(IRunDetails)
@dataclass
class RunDetailsStatus:
    """See `~cipher.background.interfaces.IRunDetails`."""

    input: dict
    traceback: str
    log: str
    history: list


@implementer(IRunPage)
@dataclass
class RunPage:
    """See `~cipher.background.interfaces.IRunPage`."""

    items: list
    older: str


@implementer(IProcessStatus)
@dataclass
class ProcessStatus:
    """See `~cipher.background.interfaces.IProcessStatus`."""

    id: str
    host: str
    pid: int
    threads: int
    started_at: float
    beat_at: float
    is_here: bool
    is_silent: bool


@implementer(IScheduleStatus)
@dataclass
class ScheduleStatus:
    """See `~cipher.background.interfaces.IScheduleStatus`."""

    name: str
    worker: str
    expression: str
    next_at: float
    last_at: float
    last_run: str
    is_paused: bool


@dataclass
class Live:
    """What only the process that carries a run out knows of it."""

    owner: str              # host:pid
    started_at: float
    progress: tuple = None  # (done, total, message)
    stop: StopRequest = None
    log: str = ''


def describeRun(run, live, stop, now):
    """Return the `RunStatus` of *run*.

    *live* is a `Live` or None, *stop* an outstanding stop request or None.
    """
    state = run.state
    started_at = run.started_at
    owner = run.owner and processName(run.owner)
    progress = run.progress
    if live is not None and state in (PENDING, RUNNING):
        state = RUNNING
        started_at = live.started_at
        owner = live.owner
        progress = live.progress or progress
        stop = live.stop or stop
    worker_type = queryWorkerType(run.type)
    done, total, message = progress or (None, None, None)
    error_type, error_text = run.error or (None, None)
    stop = run.stop or stop
    return RunStatus(
        id=run.id, type=run.type, state=state, starter=run.starter,
        title=run.title or (worker_type.title if worker_type else run.type),
        created_at=run.created_at, started_at=started_at,
        finished_at=run.finished_at, attempts=max(
            run.attempts, 1 if started_at else 0),
        interruptions=run.interruptions, due_at=run.due_at,
        progress_done=done,
        progress_total=total, message=message, stop=stop, owner=owner,
        result=run.result, error_type=error_type, error_text=error_text,
        is_declared=worker_type is not None,
        is_stoppable=not run.isFinished() and stop is None,
        waited=_span(run.created_at, started_at),
        took=_span(started_at, run.finished_at or now))


def _span(begin, end):
    # The clock may have been set back in between.
    return None if begin is None or end is None else max(0.0, end - begin)
