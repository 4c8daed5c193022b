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
"""Retry a finished run as a new run."""
from copy import deepcopy

from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import RunNotRetryable
from cipher.background.queries.retryable import findObstacle
from cipher.background.queries.snapshot import Snapshot
from cipher.background.registry.uniqueness import findPending
from cipher.background.store import journal
from cipher.background.store.uniquekeys import rightsOf
from cipher.background.store.uniquekeys import uniqueKey
from cipher.background.util.host import SYSTEM
from cipher.background.util.plaindata import readProgress
from cipher.background.util.principal import currentPrincipal


def retry(registry, old, reason, record, permission=None):
    """Retry *old* in the open transaction; return the new run.

    *record* is called with the verb, *old* and the result of
    `journal.askedNow`.  *permission* is checked again when the new run begins;
    None means the permission of *old*.  Raise `RunNotRetryable`.

    Each retry writes *old*.  So of two retries at a time one conflicts, and
    then finds the run of the other.
    """
    run = old.retried and registry.getRun(*old.retried)
    if run is not None:
        return run
    site = registry.findSite()
    obstacle = findObstacle(old, Snapshot(registry).state(old), site)
    if obstacle is not None:
        cause, *texts = obstacle
        raise RunNotRetryable(
            'run %r: expected a %s to retry, got %s; %s' % (old.id, *texts),
            cause)
    worker_type = queryWorkerType(old.type)
    input = worker_type.fitInput(old.input, site)[0]
    asked = journal.askedNow(reason, old)
    asker = _asker(old, currentPrincipal())
    name = worker_type.current or old.type
    key = uniqueKey(
        worker_type.unique, name, old.reference, input,
        rightsOf(worker_type, old.starter, asker))
    if key is not None:
        run = findPending(registry, key, Snapshot(registry).live)
    if run is None:
        run = registry.addRun(
            name, unique_key=key, reference=old.reference,
            # Unchanged: the new run logs the fields that it leaves out.
            input=deepcopy(old.input),
            permission=permission or old.permission, starter=old.starter,
            asker=asker, title=old.title, priority=old.priority,
            origin=old.origin or (old.lane, old.serial),
            retry_of=(old.lane, old.serial, *asked),
            **_place(old))
    old.retried = run.lane, run.serial
    record('retry', old, asked)
    return run


def _asker(old, principal):
    """Return the principal whose permissions the retry needs as well."""
    if principal in SYSTEM:
        return old.asker
    return None if principal == old.starter else principal


def _place(old):
    """Return the cursor and progress to continue at; {} for the start."""
    if old.state == SUCCEEDED or old.cursor is None:
        return {}
    return {'cursor': deepcopy(old.cursor),
            'progress': readProgress(old.progress)}
