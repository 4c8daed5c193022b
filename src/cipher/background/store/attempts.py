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
"""The history of a run: its earlier attempts and their logs.

A row has the fields of `Attempt`, with the id of the process, and the log.
A row is added for each attempt after which the run waited again, and for an
attempt that ended with its process.  The run itself has all facts of any
other last attempt, so a run that succeeds at once has no rows.
"""
import time
from typing import NamedTuple

from zope.interface import implementer

from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import IAttempt
from cipher.background.store.process import processName
from cipher.background.store.run import RunDetails
from cipher.background.util.plaindata import readAttempts
from cipher.background.util.plaindata import readError
from cipher.background.util.plaindata import readNumber
from cipher.background.util.plaindata import readText
from cipher.background.util.text import CUT
from cipher.background.util.text import SHOWS_ALL


#: Characters of the log of one attempt.  The middle of a longer one is cut.
LOG_LIMIT = 262144

#: Attempts that are kept: the first one, and the last 19 of the others.
HISTORY_LIMIT = 20

#: Characters of the end of a log that a process reports while the run goes
#: on: they are written again and again.
LOG_TAIL = 2000

#: Characters of the logs of all earlier attempts together.
LOGS_LIMIT = LOG_LIMIT


@implementer(IAttempt)
class Attempt(NamedTuple):
    """One attempt to do the work of a run."""

    began_at: float
    ended_at: float
    process: str
    outcome: str
    error_type: str = None
    error_text: str = None
    principal: str = None

    def mask(self, masker):
        """Return a copy with the secrets that *masker* knows masked."""
        return self._replace(
            error_type=self.error_type and masker.text(self.error_type),
            error_text=self.error_text and masker.text(self.error_text))


_UNKNOWN = Attempt(None, None, None, None)


def add(run, attempt, log=''):
    """Add a row for *attempt*, which is over, to the history of *run*.

    *attempt* has the id of its process.  *log* is the text of its log.  Call
    this before `WorkerRun.putBack`, which forgets when the run was due.
    """
    if run.waited is None:
        run.waited = waitOf(run, attempt.began_at)
    details = _details(run)
    rows = [*readAttempts(details.history), (*attempt, log)]
    if len(rows) > HISTORY_LIMIT:
        del rows[1]
        details.left_out += 1
    logs = shorten([row[-1] for row in rows], LOGS_LIMIT)
    details.history = tuple(
        (*row[:-1], log) for row, log in zip(rows, logs))
    details.log = ''


def _details(run):
    if not isinstance(run.details, RunDetails):
        run.details = RunDetails()
    return run.details


def keepLog(run, tail):
    """Keep *tail*, the end of a log of a dead process, for the rescue."""
    _details(run).log = '%s\n%s' % (CUT, tail) if (
        len(tail) >= LOG_TAIL) else tail


def logOf(run):
    """Return the log of the attempt that has no row."""
    details = run.details
    return (readText(details.log) or '') if isinstance(
        details, RunDetails) else ''


def hide(history, masker):
    """Return the rows of *history*, masked by *masker*."""
    return tuple(
        (*Attempt(*row).mask(masker), masker.text(log))
        for *row, log in readAttempts(history))


def waitOf(run, began_at):
    """Return the queue wait of *run* whose first attempt began at *began_at*.

    The wait is in seconds since the run was due, or since its creation.
    Return None if *began_at* is None.
    """
    since = readNumber(run.due_at, readNumber(run.created_at))
    if began_at is None or since is None:
        return None
    return max(0.0, began_at - since)   # the clock may be set back


def waitedOf(run, started_at=None):
    """Return the queue wait of *run*, as stored or of its only attempt.

    *started_at* is the begin of that attempt, by default that of *run*.
    """
    if started_at is None:
        started_at = readNumber(run.started_at)
    return readNumber(run.waited, waitOf(run, started_at))


def listAttempts(run, live=None, masker=SHOWS_ALL):
    """Return (list of `Attempt`, number of those left out, log) of *run*.

    *live* is a `run.Live` or None.  *masker* hides secrets that were not
    known as such when the texts were written.
    """
    details = run.details
    if not isinstance(details, RunDetails):
        details = RunDetails()
    found, logs = [], []
    for *row, log in readAttempts(details.history):
        attempt = Attempt(*row).mask(masker)
        found.append(attempt._replace(
            process=attempt.process and processName(attempt.process)))
        logs.append(masker.text(log))
    headings = list(found)
    last = _last(run, live)
    log = live.log if live is not None else masker.text(logOf(run))
    if last is not None and not (
            found and found[-1].began_at == last.began_at):
        found.append(last.mask(masker))
    if log or len(found) > len(headings):
        headings.append(last or _UNKNOWN)
        logs.append(log)
    left_out = readNumber(details.left_out, 0)
    return found, left_out, _join(headings, left_out, logs)


def _last(run, live):
    """Return the current attempt of *run* or its last one; None without any.
    """
    if live is not None:
        return Attempt(live.started_at, None, live.owner, None)
    began_at = readNumber(run.started_at)
    if began_at is None:
        return None
    owner = readText(run.owner)
    last = Attempt(began_at, None, owner and processName(owner), None)
    if not run.isFinished():
        return last
    last = last._replace(
        ended_at=readNumber(run.finished_at), outcome=run.state)
    if run.state == STOPPED and run.stop is not None:
        return last._replace(
            principal=run.stop.principal, error_text=run.stop.reason)
    kind, text = readError(run.error)
    return last._replace(error_type=kind, error_text=text)


def _join(attempts, left_out, logs):
    """Return the logs of all attempts as one text, with a line above each.

    No line of a log can look like such a line: a record begins with a time,
    and its other lines with spaces.
    """
    if len(logs) < 2 or not any(logs):
        return ''.join(logs)
    lines = []
    for index, (attempt, log) in enumerate(zip(attempts, logs)):
        number = index + 1 + (left_out if index else 0)
        if index == 1 and left_out:
            lines.append('%s %d begins' % (CUT, left_out))
        lines.append('=== Execution %d%s%s ===' % (
            number, _say_begin(attempt.began_at),
            attempt.process and ', process %s' % attempt.process or ''))
        if log:
            lines.append(log)
    return '\n'.join(lines)


def _say_begin(moment):
    """Return *moment* as the records of the log write times."""
    if moment is None:
        return ''
    try:
        return time.strftime(', %Y-%m-%d %H:%M:%S', time.localtime(moment))
    except (OverflowError, ValueError, OSError):
        return ''   # out of the range of times of this machine


def shorten(texts, limit):
    """Return *texts*, cut to at most *limit* characters together.

    Cut the longest, in the middle, between lines.  The mark of a cut is not
    counted.
    """
    room, rest = limit, sorted(map(len, texts))
    while rest and rest[0] <= room // len(rest):
        room -= rest.pop(0)
    most = room // len(rest) if rest else limit
    return [_cut(text, most) if len(text) > most else text for text in texts]


def _cut(text, most):
    lines = text.split('\n')
    head = _count_fitting(lines, most // 2)
    tail = _count_fitting(reversed(lines), most // 2)
    return '\n'.join([*lines[:head], CUT, *lines[len(lines) - tail:]])


def _count_fitting(lines, room):
    """Return how many of the first *lines* fit into *room* characters."""
    number = 0
    for number, line in enumerate(lines):
        room -= len(line) + 1
        if room < 0:
            break
    return number
