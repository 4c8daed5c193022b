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
"""The runtimes of this process, by database.

Stored objects find live ones only here.  An after-commit hook calls `wake`; a
page calls `queryRuntime` for facts that are only in memory.
"""
import os
import threading
from typing import TYPE_CHECKING

from cipher.background.interfaces import IRuntime
from cipher.background.interfaces import RuntimeNotFound
from cipher.background.util import notices
from cipher.background.util.logs import getLogger


if TYPE_CHECKING:
    from ZODB.DB import DB


log = getLogger(__name__)

_lock = threading.Lock()
_runtimes = {}   # id(DB) -> runtime, while the runtime lives
_parents = {}    # id of a runtime of a parent process -> its name


def connect(db, runtime):
    """Register *runtime* for *db* unless it has one; return the one it has."""
    with _lock:
        return _runtimes.setdefault(id(db), runtime)


def disconnect(db, runtime):
    """Forget *runtime* if it is registered for *db*."""
    with _lock:
        if _runtimes.get(id(db)) is runtime:
            del _runtimes[id(db)]


def queryRuntime(db: 'DB | None') -> 'IRuntime | None':
    """Return the `IRuntime` of *db* in this process, or None."""
    return _runtimes.get(id(db))


def getRuntime(db: 'DB | None') -> IRuntime:
    """Return the `IRuntime` of *db* in this process.

    Raise `RuntimeNotFound` if there is none.
    """
    runtime = queryRuntime(db)
    if runtime is None:
        raise RuntimeNotFound(
            'runtime: expected a database that a runtime of this process '
            'serves, got %s; declare <background:runtime /> before it is '
            'opened, or call startRuntime(db); queryRuntime(db) returns None '
            'instead' % ('None' if db is None else 'one without, or one '
                         'whose runtime was shut down'))
    return runtime


def wake(db, places=(), only=None):
    """Wake the runtimes of *db*, here and elsewhere.  Raise nothing.

    *places* are (registry oid, lane number) of lanes with new runs; empty if
    something else has changed.  *only* is as for `IRuntime.wake`.  Touch no
    persistent object: this is called in after-commit hooks.
    """
    runtime = queryRuntime(db)
    try:
        if runtime is not None:
            runtime.wake(places, only)
        notices.send(db)
    except Exception:
        log.exception('Waking the runtimes failed; they find pending runs '
                      'at their next poll')


def wakeAfterCommit(connection):
    """Wake the runtime when the transaction of *connection* has committed."""
    connection.transaction_manager.get().addAfterCommitHook(
        _wake, (connection.db(),))


def _wake(success, db):
    if success:
        wake(db)


def warnOfParent(db, alive):
    """Warn if the runtime of a parent carries out runs of *db*.

    *alive* are the ids of the processes of the database.
    """
    for id, name in _parents.items():
        if id not in alive:
            continue
        if queryRuntime(db) is None:
            log.warning(
                'Process %d is a fork of process %s, whose runtime carries '
                'out the runs that are started here; start the runtime, or '
                'open the database, after the fork (gunicorn: without '
                'preload)', os.getpid(), name)
        else:
            log.warning(
                'Process %d is a fork of process %s, whose runtime carries '
                'out runs as well as the one of this process; open the '
                'database only after the fork (gunicorn: without preload)',
                os.getpid(), name)


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
