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
"""The executor that sends jobs to Celery and runs loops in own threads.

A message contains only the ids of a run.  Its receiver reads the state of the
run from the database.  So a late, repeated or lost message does no harm.
This process keeps the tickets of the runs that it has sent, and sends a run
again if it does not begin.
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

#: The name of the task in Celery.
TASK = 'cipher.background.carryOut'

#: Runs that are with the broker or in work in Celery at most.  The others wait
#: here, so an urgent run overtakes them.
WINDOW = 500

#: Seconds between two checks whether the window has room again.
ROOM_PAUSE = 0.05

#: Seconds.  The pause before the same run is sent again doubles up to this.
#: So a run that waits for long in a full broker does not fill it further.
RESEND_CAP = 3600.0

_JSON = {'json', 'application/json'}


class CeleryExecutor(ThreadsExecutor):
    """An `IExecutor`: it sends jobs to Celery.

    Its own threads begin loops, and pass jobs to the sender.
    """

    # Only the home of a lane sends its runs.
    takes = False

    def __init__(self, runtime, threads, app, resend):
        super().__init__(runtime, threads)
        self._app = app
        self._sender = Sender(runtime, app, resend)

    def start(self):
        """Start the threads and the sender.

        Raise `RuntimeRefused` if the Celery application accepts more than
        JSON.
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
    """A run that was sent and, as far as is known, is still pending."""

    def __init__(self, epoch, type_name):
        self.epoch = epoch         # of the run
        self.type_name = type_name
        self.count = 0             # number of messages sent
        self.until = 0.0           # monotonic; it may be sent again then
        self.is_out = False        # with the broker, or in work in Celery


class Sender(ThreadsExecutor):
    """The thread that sends messages, those of the most urgent runs first."""

    def __init__(self, runtime, app, resend):
        super().__init__(runtime, 1)
        self._threads[0].name = 'background-sender'
        self._app = app
        self._resend = resend
        self._mutex = threading.Lock()
        self._queue = Ranking()
        self._added = threading.Semaphore(0)   # tickets in the queue
        self._sent = {}         # (registry oid, run id) -> _Sent
        self._out = Counter()   # type name -> number of runs that are out
        self._is_away = False   # the broker does not take messages

    # Runs that were sent

    def isUnderway(self, ticket, run):
        """Return whether *run* was sent and must not be sent again yet."""
        with self._mutex:
            sent = self._sent.get(_key(ticket))
            return (sent is not None and sent.epoch == run.epoch
                    and time.monotonic() < sent.until)

    def returned(self, ticket, run):
        """Record that the run of *ticket* is not out any more.

        *run* is None if it was removed.
        """
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
        # If a lane has another home now, this process does not notice what
        # becomes of its runs.
        if len(self._sent) >= 4 * WINDOW:
            now = time.monotonic()
            self._sent = {key: sent for key, sent in self._sent.items()
                          if sent.is_out or now < sent.until}

    # Sending

    def submit(self, ticket):
        """Add *ticket* to the queue of those to send."""
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
            return partial(self._watch, live)   # its lane had another home
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
            log.info('Broker: it takes messages again')
        self._watch(live)

    def _watch(self, live):
        """Let the control thread watch the run of *live* from now on."""
        runtime, ticket = self._runtime, live.ticket
        runtime.leave(live)
        runtime.backlog.isAway(ticket)
        if not runtime.backlog.isHome(ticket.place):
            # Its lane has another home now, which watches the run.
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
                        'runs wait and are sent when it is back', error)
        self._runtime.backlog.later(ticket, delay)


def _key(ticket):
    return ticket.registry_oid, ticket.run_id


def makeMessage(registry_oid: bytes, run_id: str) -> list[str]:
    """Return the arguments of a message: the ids of registry and run."""
    return [registry_oid.hex(), run_id]


def checkSettings(app):
    """Raise `RuntimeRefused` unless *app*, of Celery, accepts only JSON."""
    for name in 'task_serializer', 'result_serializer':
        _check(name, [getattr(app.conf, name)])
    _check('accept_content', app.conf.accept_content)
    _check('result_accept_content', app.conf.result_accept_content or ())


def _check(name, values):
    if not _JSON.issuperset(values):
        raise RuntimeRefused(
            "celery: expected %s to allow 'json' alone, got %s; with other "
            'formats, anyone who reaches the broker can run code here'
            % (name, ', '.join(sorted(map(repr, values)))))
