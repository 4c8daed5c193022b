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
"""Unattended starts: by triggers, by schedules and for services."""
import threading

from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.events import RunFailedEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import MAX_DEPTH
from cipher.background.store.cause import Reason
from cipher.background.store.run import RunDetails
from cipher.background.util.calling import callHook
from cipher.background.util.chain import because
from cipher.background.util.chain import deeper
from cipher.background.util.chain import depthOfNext
from cipher.background.util.logs import getLogger
from cipher.background.util.logs import logError
from cipher.background.util.masking import Masker
from cipher.background.util.masking import makeMasker
from cipher.background.util.masking import secretNames
from cipher.background.util.text import SHOWS_ALL
from cipher.background.util.text import describeError
from cipher.background.util.text import formatTraceback
from cipher.background.util.transient import isTransient


log = getLogger(__name__)

_local = threading.local()

# Marks an input that could not be made.
_UNKNOWN = object()


def startAutomatically(registry, source, worker, context, make_input,
                       *arguments, make_context=None, reason=Reason(),
                       **options):
    """Start *worker* in *registry*; return the run, or None if that fails.

    *source* names the trigger, schedule or service in logs and titles.
    *reason* is a `cause.Reason`, which the run keeps.
    *make_input*, unless None, is called with *arguments* and returns the
    input.  *make_context*, unless None, is called without arguments and
    returns the context.  *options* are those of `IWorkerRegistry.submit`.

    A failure is logged and recorded as a failed run: it must not fail the
    transaction of a user who knows nothing of the start.  Transient errors are
    raised, so that the transaction is done again.
    """
    if depthOfNext() > MAX_DEPTH:
        log.error('%s: expected a chain of at most %d runs that start each '
                  'other, got a longer one; worker %r is not started',
                  source, MAX_DEPTH, worker)
        return None
    input = _UNKNOWN
    try:
        input = None if make_input is None else callHook(
            '%s: its input' % source, make_input, *arguments)
        if make_context is not None:
            context = callHook('%s: its context' % source, make_context)
        with because(reason):
            return registry.submit(worker, context, input, **options)
    except Exception as error:
        if isTransient(error, registry._p_jar and registry._p_jar.db()):
            raise
        recordFailure(registry, source, worker, error, input=input,
                      reason=reason)
        return None


def recordFailure(registry, source, worker, error,
                  message='%s: worker %r could not be started',
                  input=_UNKNOWN, reason=Reason()):
    """Record *error* as a run of *worker* that failed before it began.

    *reason* is as in `startAutomatically`.  *message* is a log format for
    *source* and *worker*.  The log and the run hide the secrets of *input*.
    If the input is unknown and the type has passwords, they hide the text of
    *error*.

    While a failure is recorded, a second one is only logged.  Otherwise
    triggers that fail at the events of runs would fail for ever.
    """
    masker = _make_masker(worker, input)
    logError(log, error, masker, message, source, worker)
    if getattr(_local, 'is_recording', False):
        return
    _local.is_recording = True
    try:
        with because(reason):
            run = registry.addRun(
                worker, title='%s, by %s' % (worker, source),
                is_start_failure=True)
        with deeper():
            registry.finish(
                run, FAILED, RunFailedEvent,
                error=describeError(error, masker), details=RunDetails(
                    formatTraceback(error, masker), masked=masker.names))
    finally:
        _local.is_recording = False


def _make_masker(worker, input):
    worker_type = queryWorkerType(worker)
    if worker_type is None:
        return SHOWS_ALL
    names = secretNames(worker_type.schema)
    if names and input is _UNKNOWN:
        return Masker(None, names)
    return makeMasker(worker_type.schema, input)
