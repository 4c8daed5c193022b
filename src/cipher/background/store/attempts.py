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
"""The attempts of a run that are over: when, where, how, and what they logged.

A row is the fields of `Attempt`, with the id of the process, and the log.
There is one for each attempt after which the run waited again, and for one
that the end of its process ended.  Of any other last attempt the run itself
says all there is to say: a run that succeeds at once has no rows.
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


#: Characters.  The first and the last half are kept.
LOG_LIMIT = 262144

#: Attempts that are kept: the first one, and the last of the others.
HISTORY_LIMIT = 20

#: Characters.  Of the log of a run other processes are told the end.
LOG_TAIL = 2000

#: Characters of the logs of all attempts that are over, together.
LOGS_LIMIT = LOG_LIMIT


@implementer(IAttempt)
class Attempt(NamedTuple):
    """See `~cipher.background.interfaces.IAttempt`."""

    began_at: float
    ended_at: float
    process: str
    outcome: str
    error_type: str = None
    error_text: str = None
    principal: str = None

    def mask(self, masker):
        """Return it without the secrets that *masker* hides."""
        return self._replace(
            error_type=self.error_type and masker.text(self.error_type),
            error_text=self.error_text and masker.text(self.error_text))


_UNKNOWN = Attempt(None, None, None, None)


def add(run, attempt, log=''):
    """Keep an `Attempt` that is over, in the open transaction.

    *attempt* has the id of its process, *log* is what was logged in it.  Call
    it before the run is put back: when it was due is forgotten then.
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
    """Keep *tail*, the end of a log, until the attempt is looked after."""
    _details(run).log = '%s\n%s' % (CUT, tail) if (
        len(tail) >= LOG_TAIL) else tail


def logOf(run):
    """Return the log of the attempt that no row is of."""
    details = run.details
    return (readText(details.log) or '') if isinstance(
        details, RunDetails) else ''


def hide(history, masker):
    """Return the rows of *history* without what *masker* hides."""
    return tuple(
        (*Attempt(*row).mask(masker), masker.text(log))
        for *row, log in readAttempts(history))


def waitOf(run, began_at):
    """Return how long *run* has waited that began then for the first time.

    In seconds, from when it was due, or from its creation; None if it did not
    begin.
    """
    since = readNumber(run.due_at, readNumber(run.created_at))
    if began_at is None or since is None:
        return None
    return max(0.0, began_at - since)   # the clock may have been set back


def listAttempts(run, live=None, masker=SHOWS_ALL):
    """Return (each `Attempt` of *run*, how many are left out, its log).

    *live* is a `status.Live` or None.  *masker* hides what nobody knew to be
    secret when it was written.
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
    """Return the attempt that goes on, or that ended the run; or None."""
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
    """Return the logs of all attempts as one text.

    No line of a record can look like the line above an attempt: it begins
    with a time, or with spaces.
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
    """Return when an attempt began as the lines of the log tell times."""
    if moment is None:
        return ''
    try:
        return time.strftime(', %Y-%m-%d %H:%M:%S', time.localtime(moment))
    except (OverflowError, ValueError, OSError):
        return ''   # no time that this machine has


def shorten(texts, limit):
    """Return *texts*, cut so that all have at most *limit* characters.

    The longest are cut, in the middle, between lines; the mark of a cut is not
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
    """Return how many of *lines* have at most *room* characters."""
    number = 0
    for number, line in enumerate(lines):
        room -= len(line) + 1
        if room < 0:
            break
    return number
