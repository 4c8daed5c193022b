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
"""Which runtime of this process serves which database.

The one place where stored things find live ones.  An after-commit hook calls
`wake`; a page asks `queryRuntime` for what only memory knows.
"""
import os
import threading

from cipher.background.interfaces import RuntimeNotFound
from cipher.background.util.logs import getLogger


log = getLogger(__name__)

_lock = threading.Lock()
_runtimes = {}   # id(DB) -> runtime, as long as that lives
_parents = {}    # id of a runtime of a parent of this process -> its name


def connect(db, runtime):
    """Make *runtime* the one of *db*; return the one that already is."""
    with _lock:
        return _runtimes.setdefault(id(db), runtime)


def disconnect(db, runtime):
    """Forget *runtime*, if it is the one of *db*."""
    with _lock:
        if _runtimes.get(id(db)) is runtime:
            del _runtimes[id(db)]


def queryRuntime(db):
    """Return the `IRuntime` of *db* in this process, or None."""
    return _runtimes.get(id(db))


def getRuntime(db):
    """Return the `IRuntime` of *db* in this process.

    Raise `RuntimeNotFound` where there is none.
    """
    runtime = queryRuntime(db)
    if runtime is None:
        raise RuntimeNotFound(
            'runtime: expected a database that a runtime of this process '
            'serves, got %s; declare <background:runtime /> before it is '
            'opened, or call startRuntime(db); queryRuntime(db) gives None '
            'instead' % ('None' if db is None else 'one without, or one '
                         'whose runtime was shut down'))
    return runtime


def wake(db, places=()):
    """Let the runtime of *db* look at *places*; never raise.

    A place is (registry oid, lane number) of a lane that has new runs.
    Without any: there is something else to look at.

    Fit for an after-commit hook: touches no persistent object.
    """
    runtime = queryRuntime(db)
    if runtime is not None:
        try:
            runtime.wake(places)
        except Exception:
            log.exception('Waking the runtime failed; its poll will find '
                          'what waits')


def wakeAfterCommit(connection):
    """Let the runtime look at the database when this transaction commits."""
    connection.transaction_manager.get().addAfterCommitHook(
        _wake, (connection.db(),))


def _wake(success, db):
    if success:
        wake(db)


def warnOfParent(alive):
    """Warn if a parent of this process carries out what is started here.

    *alive* are the ids of the processes of the database.
    """
    for id, name in _parents.items():
        if id in alive:
            log.warning(
                'Process %d is a fork of process %s, whose runtime carries '
                'out what is started here, in a program that was meant to '
                'fork only: start the runtime, or open the database, after '
                'the fork (gunicorn: without preload)', os.getpid(), name)


def _reset_after_fork():
    global _lock
    _lock = threading.Lock()
    for runtime in list(_runtimes.values()):
        runtime.forked()
        if runtime.threads:
            _parents[runtime.id] = runtime.name
    _runtimes.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_reset_after_fork)
