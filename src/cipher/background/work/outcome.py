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
"""Write the outcome into a run: its end, or that it waits again."""
from zope.event import notify

from cipher.background.events import RunFailedEvent
from cipher.background.events import RunInterruptedEvent
from cipher.background.events import RunRequeuedEvent
from cipher.background.events import RunStoppedEvent
from cipher.background.interfaces import DRAINED
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import PUT_OFF
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import SHUT_DOWN
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import Cancel
from cipher.background.interfaces import ContextGone
from cipher.background.interfaces import InputOutdated
from cipher.background.interfaces import SiteGone
from cipher.background.interfaces import Snooze
from cipher.background.interfaces import StarterGone
from cipher.background.interfaces import StopRequested
from cipher.background.store import attempts
from cipher.background.store.attempts import Attempt
from cipher.background.store.lifecycle import cleanDelay
from cipher.background.store.run import RunDetails
from cipher.background.store.run import StopRequest
from cipher.background.store.table import dependOnTree
from cipher.background.util import clock
from cipher.background.util.plaindata import readAsked
from cipher.background.util.text import cleanLine
from cipher.background.util.text import describeError
from cipher.background.util.text import formatTraceback
from cipher.background.work.unstorable import explain


#: Errors without a second attempt: it would fail too, or is not wanted.
_FINAL = (Cancel, ContextGone, InputOutdated, SiteGone, StarterGone,
          SystemExit, KeyboardInterrupt, GeneratorExit)


def finish(live, run, registry, state, event, **values):
    """Finish *run* in *state*, with the log and progress of *live*.

    *event* is the class of the event to send, *values* are attributes of the
    finished run.
    """
    if run.state != RUNNING:
        # The run was not claimed, so these values are not stored yet.
        values.update(owner=live.owner, started_at=live.started_at,
                      attempts=run.attempts + 1)
    _keep_log(live, run)
    registry.finish(
        run, state, event, progress=live.progress,
        stop_request=live.stop and tuple(live.stop), **values)


def writeError(live, run, registry, error, retry_delay):
    """Write that *error* ended an attempt of *run*.

    *retry_delay* is called with the number of attempts so far.  It returns
    the seconds to the next attempt, or None to fail the run.
    """
    _read_stop(live, run, registry)
    if isinstance(error, StopRequested) or (
            isinstance(error, Snooze) and live.stop is not None):
        return writeStop(live, run, registry)
    if isinstance(error, Snooze):
        _end_attempt(live, run, PUT_OFF, None,
                     describeError(error, live.masker)[1])
        return _put_off(live, run, registry, cleanDelay(error.seconds),
                        attempts=run.attempts - (run.state == RUNNING))
    number = run.attempts + (run.state != RUNNING)
    _details(live, run).traceback = formatTraceback(error, live.masker)
    described = _describe(error, live.masker)
    delay = None
    if live.stop is None and not isinstance(error, _FINAL):
        delay = retry_delay(number)
    if delay is None:
        finish(live, run, registry, FAILED, RunFailedEvent, error=described)
    else:
        _end_attempt(live, run, FAILED, *described)
        _put_off(live, run, registry, delay, attempts=number)


def beginAgain(live, run, registry, error):
    """Let *run* begin again at once; do not count the attempt with *error*."""
    _end_attempt(live, run, FAILED, *_describe(error, live.masker))
    _put_off(live, run, registry, 0.0)


def _describe(error, masker):
    kind, text = describeError(error, masker)
    where = explain(error)
    return kind, text if not where else cleanLine(
        '%s (%s)' % (where, text), masker=masker)


def _read_stop(live, run, registry):
    """Pass the stored stop request of *run* to *live*, if it has none yet.

    A request that is committed meanwhile makes this transaction conflict.
    """
    if live.stop is None:
        dependOnTree(registry.stops)
        request = registry.stops.get(run.id)
        if request is not None:
            live.requestStop(StopRequest(*request))


def writeStop(live, run, registry):
    """Write that the work of *run* ended because it was asked to stop."""
    _read_stop(live, run, registry)
    if live.is_shutdown:
        live.due_at = clock.now()   # the work is not complete
        writeInterruption(registry, run, live.must_not_rerun, live=live)
    else:
        finish(live, run, registry, STOPPED, RunStoppedEvent)


def _put_off(live, run, registry, delay, **values):
    """Let *run* begin again after *delay* seconds."""
    live.due_at = clock.now() + delay
    run.putBack(due_at=live.due_at, **values)
    notify(RunRequeuedEvent(run, registry))


def writeInterruption(registry, run, must_not_rerun, send=notify, live=None):
    """Write that the process of *run* shut down in good order.

    The run waits again, or becomes interrupted if it *must_not_rerun*.
    Neither an attempt nor an interruption is counted.  *send* is called with
    the event.  *live* is the `LiveRun` if the work had begun, else None.
    """
    if live is not None:
        keepInterrupted(live, run)
    if must_not_rerun:
        registry.finish(run, INTERRUPTED, RunInterruptedEvent, send)
    else:
        if live is not None:
            live.runtime.left_over.add(live.key)
        run.giveBack()
        send(RunRequeuedEvent(run, registry))


def keepInterrupted(live, run):
    """Record an attempt of *run* that the end of the process of *live* ended.
    """
    asked = live.runtime.admission.drain_asked
    if asked is None:
        _end_attempt(live, run, SHUT_DOWN)
    else:
        principal, _, reason = readAsked(asked)
        _end_attempt(live, run, DRAINED, None, reason, principal)


def _end_attempt(live, run, outcome, kind=None, text=None, principal=None):
    _details(live, run)
    attempts.add(run, Attempt(
        live.started_at, max(live.started_at, clock.now()), live.owner,
        outcome, kind, text, principal), live.log.getText())


def addCleanupTraceback(live, run, error):
    """Keep the traceback of *error* in the cleanup, after that of the work."""
    details = _details(live, run)
    details.traceback += 'In the cleanup:\n' + formatTraceback(
        error, live.masker)


def _keep_log(live, run):
    log = live.log.getText()
    if log:
        _details(live, run).log = log


def _details(live, run):
    if run.details is None:
        run.details = RunDetails()
    details = run.details
    if details.masked != live.masker.names:
        # Texts of earlier attempts may contain a secret of this one.
        details.traceback = live.masker.text(details.traceback)
        details.history = attempts.hide(details.history, live.masker)
        details.masked = live.masker.names
    return details
