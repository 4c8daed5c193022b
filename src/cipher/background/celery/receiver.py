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
"""Carry out the runs of ``executor="celery"`` in the processes of Celery.

The module with the application's Celery contains::

    app = Celery('shop', broker='redis://127.0.0.1:6379/0')
    register(app, openDatabase)
"""
import os
import re
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from typing import Any

from celery.signals import worker_process_shutdown
from celery.signals import worker_shutdown
from ZODB.POSException import ConflictError
from zope.component import queryUtility
from zope.schema import getFieldNames

from cipher.background.celery.sender import TASK
from cipher.background.celery.sender import CeleryExecutor
from cipher.background.celery.sender import checkSettings
from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.interfaces import CELERY
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import RuntimeRefused
from cipher.background.runtime.executors.choice import registerExecutor
from cipher.background.runtime.executors.performer import Performer
from cipher.background.runtime.runtime import startRuntime
from cipher.background.store.lifecycle import backOff
from cipher.background.store.process import getDirectory
from cipher.background.util import switchboard
from cipher.background.util.logs import getLogger
from cipher.background.util.transient import isTransient
from cipher.background.work.liverun import Ticket


if TYPE_CHECKING:
    from celery import Celery
    from celery import Task
    from ZODB.DB import DB


log = getLogger(__name__)

#: Tries to find the run of a message, within about a second: the message may
#: be faster than the commit of the run.
LOOK_TRIES = 6

#: Tries to begin a run, each after a conflict.  After that the run waits until
#: it is sent again.
BEGIN_TRIES = 10

_REGISTRY = re.compile(r'[0-9a-f]{16}')
_RUN = re.compile(r'([0-9]{1,9})-([0-9]{1,18})')


def register(app: 'Celery', openDatabase: Callable[[], 'DB'],
             resend: float = 30.0) -> 'Task':
    """Register *app*, a ``celery.Celery``, as executor; return its task.

    Call it after *app* is configured, in a module that both sides import:
    the processes of Celery, and those with ``executor="celery"`` in their
    ``<background:runtime>``.

    *openDatabase* loads the ZCML of the application and returns its
    ``ZODB.DB``.  Each process of Celery calls it once, without arguments, at
    its first message and so after a fork.

    *resend* is the number of seconds until a run that has not begun is sent
    again.  It doubles each time, up to an hour.

    Raise `RuntimeRefused` if *app* accepts more than JSON.
    """
    checkSettings(app)
    registerExecutor(CELERY, partial(CeleryExecutor, app=app, resend=resend))
    receiver = Receiver(app, openDatabase)
    worker_process_shutdown.connect(receiver.close, weak=False)
    worker_shutdown.connect(receiver.close, weak=False)

    @app.task(name=TASK, ignore_result=True, acks_late=False,
              serializer='json')
    def carryOut(registry, run):
        receiver.receive(registry, run)

    return carryOut


class Receiver:
    """Carries out the messages that a process of Celery receives."""

    def __init__(self, app, open_database):
        self._app = app
        self._open_database = open_database
        self._lock = threading.Lock()
        self._opened = None   # (pid, runtime)

    def receive(self, registry, run):
        """Carry out the run with the id *run* in *registry*, both texts.

        Do nothing if the run cannot begin any more or does not exist: the
        sender watches its runs.  Raise errors that are not transient, which
        Celery logs.

        Raise `RuntimeRefused` if *app* accepts more than JSON.
        """
        checkSettings(self._app)
        ticket = readMessage(registry, run)
        if ticket is None:
            log.error('Message: expected the ids of a registry and of a run, '
                      'got something else; the message is ignored')
            return
        db = None
        try:
            runtime = self._runtime()
            db = runtime.db
            if runtime.copied is not None:
                log.warning('Run %s: the database is a copy, whose runs are '
                            'not carried out; the message is ignored',
                            ticket.run_id)
            elif _look_for(db, ticket):
                _carry_out(runtime, ticket)
            else:
                log.info('Message: there is no run %s in the registry %s; '
                         'the message is ignored', run, registry)
        except Exception as error:
            if not isTransient(error, db):
                raise
            log.warning('Run %s: %s before the work began; the run will be '
                        'sent again', ticket.run_id, type(error).__name__)

    def close(self, **kwargs):
        """Shut down the runtime of this process; close its database."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None and opened[0] == os.getpid():
            opened[1].shutdown()
            opened[1].db.close()

    def _runtime(self):
        """Return the runtime that keeps the record of this process.

        Start it at the first call.
        """
        with self._lock:
            # A runtime inherited by a fork belongs to the parent.
            if self._opened is None or self._opened[0] != os.getpid():
                self._opened = os.getpid(), self._start()
            return self._opened[1]

    def _start(self):
        db = self._open_database()
        runtime: Any = switchboard.queryRuntime(db)
        if runtime is None:
            given = queryUtility(IRuntimeSettings, default=RuntimeSettings())
            values = {name: getattr(given, name)
                      for name in getFieldNames(IRuntimeSettings)}
            return startRuntime(
                db, RuntimeSettings(**dict(values, threads=0)))
        if runtime.threads:
            raise RuntimeRefused(
                'celery: expected a database without a runtime, got one with '
                '%d threads; do not notify of its opening in openDatabase, or '
                'declare threads="0" there' % runtime.threads)
        return runtime


class TaskPerformer(Performer):
    """Carries out jobs in a thread of Celery."""

    def _prepare_work(self, connection, live, registry, site, run,
                      worker_type):
        if worker_type.is_loop:
            log.warning('Run %s: it is a loop, which only threads of a '
                        'runtime carry out; the message is ignored', run.id)
            return live.end
        return super()._prepare_work(
            connection, live, registry, site, run, worker_type)


def readMessage(registry, run):
    """Return the `Ticket` of a message; None unless both are valid ids."""
    if not (isinstance(registry, str) and isinstance(run, str)):
        return None
    place = _RUN.fullmatch(run)
    if place is None or not _REGISTRY.fullmatch(registry):
        return None
    # The run is claimed by a commit, as another process may have begun it.
    return Ticket(bytes.fromhex(registry), int(place[1]), int(place[2]),
                  must_claim=True)


def _look_for(db, ticket):
    """Return whether *db* has the run; wait a moment for its commit."""
    for tries in range(1, LOOK_TRIES + 1):
        with ZodbConnection(db) as connection, ZopeTransaction():
            directory = getDirectory(connection)
            # The oid comes from a message: only registries are used.
            if (directory is not None
                    and ticket.registry_oid in directory.registries):
                registry = directory.registries[ticket.registry_oid]()
                if registry is not None and registry.getRun(
                        ticket.lane, ticket.serial) is not None:
                    return True
        time.sleep(backOff(tries, base=0.02, cap=0.3))
    return False


def _carry_out(runtime, ticket):
    performer = TaskPerformer(runtime)
    for tries in range(1, BEGIN_TRIES + 1):
        try:
            return performer.carryOut(ticket)
        except ConflictError as error:
            log.debug('Run %s: %s before the work began; trying again',
                      ticket.run_id, type(error).__name__)
        time.sleep(backOff(tries))
    log.warning('Run %s: too many conflicts before the work began; the run '
                'will be sent again', ticket.run_id)
