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
"""Jobs by messages to the processes of Celery; loops in threads of this one.

A message names a run and tells nothing of it: who receives it asks the
database.  So it does not matter when it comes, how often, or whether.  This
process keeps what it has sent among its tickets, and sends it again.
"""
import threading
import time
from collections import Counter
from functools import partial

from kombu.exceptions import OperationalError

from cipher.background.declarations.workertype import nameOf
from cipher.background.declarations.workertype import nameToday
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RuntimeRefused
from cipher.background.runtime.executors.threads import ThreadsExecutor
from cipher.background.runtime.queue.ranking import Ranking
from cipher.background.store.conditions import limitOf
from cipher.background.util.logs import getLogger


log = getLogger(__name__)

#: What the task is called in Celery.
TASK = 'cipher.background.carryOut'

#: So many runs are with the broker, or in work there, at the most.
WINDOW = 500

#: Seconds between two looks whether there is room among them.
ROOM_PAUSE = 0.05

#: Seconds.  The pause before the same run is sent again grows up to this.
RESEND_CAP = 3600.0

_JSON = {'json', 'application/json'}


class CeleryExecutor(ThreadsExecutor):
    """See `~cipher.background.interfaces.IExecutor`.

    Its own threads begin loops, and let jobs wait for their message.
    """

    # What a message names is for the home to begin.
    takes = False

    def __init__(self, runtime, threads, app, resend):
        super().__init__(runtime, threads)
        self._app = app
        self._sender = Sender(runtime, app, resend)

    def start(self):
        """See `~cipher.background.interfaces.IExecutor`.

        Raise `RuntimeRefused` for an application that takes more than JSON.
        """
        checkSettings(self._app)
        super().start()
        self._sender.start()

    def stop(self):
        super().stop()
        self._sender.stop()

    def join(self, timeout):
        deadline = time.monotonic() + timeout
        super().join(timeout)
        self._sender.join(max(0.0, deadline - time.monotonic()))

    def isUnderway(self, ticket, run):
        return self._sender.isUnderway(ticket, run)

    def returned(self, ticket, run):
        self._sender.returned(ticket, run)

    def _prepare_work(self, connection, live, registry, site, run,
                      worker_type):
        if worker_type.is_loop:
            return super()._prepare_work(
                connection, live, registry, site, run, worker_type)
        return partial(self._pass_on, live)

    def _pass_on(self, live):
        self._runtime.leave(live)
        self._sender.submit(live.ticket)


class _Sent:
    """A run that was sent and is pending still, as far as is known."""

    def __init__(self, epoch, type_name):
        self.epoch = epoch         # of the run
        self.type_name = type_name
        self.count = 0             # of messages
        self.until = 0.0           # monotonic; when to send it again
        self.is_out = False        # with the broker, or in work there


class Sender(ThreadsExecutor):
    """The one thread that sends; the most urgent first, a few at a time."""

    def __init__(self, runtime, app, resend):
        super().__init__(runtime, 1)
        self._threads[0].name = 'background-sender'
        self._app = app
        self._resend = resend
        self._mutex = threading.Lock()
        self._queue = Ranking()
        self._added = threading.Semaphore(0)   # to the queue
        self._sent = {}         # (registry oid, run id) -> _Sent
        self._out = Counter()   # type name -> number of those out
        self._is_away = False   # the broker

    # What was sent

    def isUnderway(self, ticket, run):
        """Return whether *run* was sent, and it is too early to do so again.
        """
        with self._mutex:
            sent = self._sent.get(_key(ticket))
            return (sent is not None and sent.epoch == run.epoch
                    and time.monotonic() < sent.until)

    def returned(self, ticket, run):
        """*run* (or None) is not out any more."""
        with self._mutex:
            sent = self._sent.get(_key(ticket))
            if sent is None:
                return
            if (run is None or run.state != PENDING
                    or run.epoch != sent.epoch):
                del self._sent[_key(ticket)]
            self._come_in(sent)
        self._runtime.backlog.unpark(sent.type_name)

    def _come_in(self, sent):
        if sent.is_out:
            sent.is_out = False
            self._out[sent.type_name] -= 1

    def _go_out(self, live, type_name, epoch):
        key = live.key
        with self._mutex:
            sent = self._sent.get(key)
            if sent is None or sent.epoch != epoch:
                if sent is not None:
                    self._come_in(sent)
                self._forget_old()
                sent = self._sent[key] = _Sent(epoch, type_name)
            sent.count += 1
            sent.until = time.monotonic() + min(
                RESEND_CAP, self._resend * 2 ** min(sent.count - 1, 30))
            if not sent.is_out:
                sent.is_out = True
                self._out[type_name] += 1
        return sent

    def _forget_old(self):
        # Of lanes that are others' by now nobody tells what became.
        if len(self._sent) >= 4 * WINDOW:
            now = time.monotonic()
            self._sent = {key: sent for key, sent in self._sent.items()
                          if sent.is_out or now < sent.until}

    # Sending

    def submit(self, ticket):
        """Let *ticket* be sent."""
        with self._mutex:
            self._queue.push(ticket)
        self._added.release()

    def stop(self):
        self._stopping.set()
        self._added.release()

    def _take(self, door):
        while (sum(self._out.values()) >= WINDOW
               and not self._stopping.wait(ROOM_PAUSE)):
            pass
        self._added.acquire()
        with self._mutex:
            return self._queue.pop()   # None at the end

    def _prepare_work(self, connection, live, registry, site, run,
                      worker_type):
        if self.isUnderway(live.ticket, run):
            return partial(self._keep, live)   # it was another's for a while
        if not self._may_run(worker_type, live):
            return partial(self._park, live, limitOf(run))
        return partial(self._send, live, nameToday(run.type), run.epoch)

    def _may_run(self, worker_type, live):
        limit = worker_type.max_running
        if limit is None:
            return True
        with self._mutex:
            sent = self._sent.get(live.key)
            others = self._out[nameOf(worker_type)] - (
                sent is not None and sent.is_out)
        return others < limit and self._runtime.backlog.isNext(
            live.ticket, nameOf(worker_type))

    def _send(self, live, type_name, epoch):
        sent = self._go_out(live, type_name, epoch)
        try:
            self._app.send_task(
                TASK, args=makeMessage(live.registry_oid, live.run_id),
                serializer='json', ignore_result=True, retry=False)
        except BaseException:
            with self._mutex:
                self._sent.pop(live.key, None)
                self._come_in(sent)
            self._runtime.leave(live)
            raise
        if self._is_away:
            self._is_away = False
            log.info('Broker: it is back')
        self._keep(live)

    def _keep(self, live):
        """Look from time to time what becomes of the run of *live*."""
        runtime, ticket = self._runtime, live.ticket
        runtime.leave(live)
        runtime.backlog.isAway(ticket)
        if not runtime.backlog.isHome(ticket.place):
            # Its lane has another home by now: that one looks.
            with self._mutex:
                sent = self._sent.get(live.key)
                if sent is not None:
                    self._come_in(sent)

    def _try_again(self, ticket, error, delay):
        if not isinstance(error, OperationalError):
            return super()._try_again(ticket, error, delay)
        if not self._is_away:
            self._is_away = True
            log.warning('Broker: expected it to take a message, got "%s"; '
                        'runs wait and are tried again', error)
        self._runtime.backlog.later(ticket, delay)


def _key(ticket):
    return ticket.registry_oid, ticket.run_id


def makeMessage(registry_oid, run_id):
    """Return what a message says: two texts, and nothing else."""
    return [registry_oid.hex(), run_id]


def checkSettings(app):
    """Raise `RuntimeRefused` unless *app*, of Celery, takes JSON alone."""
    for name in 'task_serializer', 'result_serializer':
        _check(name, [getattr(app.conf, name)])
    _check('accept_content', app.conf.accept_content)
    _check('result_accept_content', app.conf.result_accept_content or ())


def _check(name, values):
    if not _JSON.issuperset(values):
        raise RuntimeRefused(
            "celery: expected %s to allow 'json' alone, got %s; whoever "
            'reaches the broker could make this process do anything'
            % (name, ', '.join(sorted(map(repr, values)))))
