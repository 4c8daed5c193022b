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
"""Notices between the processes of a RelStorage on PostgreSQL.

RelStorage does not notify its clients of the commits of others.  So a process
sends a notice of its own (``NOTIFY``) when it has committed something that
another process may wait for.  A runtime listens (``LISTEN``).  A notice that
is lost costs the time until the next poll.

This needs psycopg2 and a session of its own for each process.  The
environment variable `VARIABLE` may have the DSN of the server for it, if the
one of the storage leads to a pool of sessions such as PgBouncer, or ``off``.
"""
import os
import select
import socket
import threading
import time
from contextlib import suppress
from weakref import WeakKeyDictionary

from cipher.background.util.logs import getLogger


log = getLogger(__name__)

VARIABLE = 'CIPHER_BACKGROUND_NOTIFY'
CHANNEL = 'cipher_background'

#: Seconds between two notices of a process; they would only say the same.
INTERVAL = 0.005

#: Seconds after which a process that sends nothing ends its session.
IDLE = 60.0

#: Seconds without a try after a session could not be had; fewer at first.
PAUSE = 30.0

CONNECT_TIMEOUT = 10

_lock = threading.Lock()
_senders = WeakKeyDictionary()     # DB -> _Sender, or None
_listeners = WeakKeyDictionary()   # DB -> _Listener
_pids = set()                      # of the server's sessions for our senders


def send(db):
    """Wake the processes that `listen` to *db*, soon.

    Wait for nothing and raise nothing: this is called in after-commit hooks.
    """
    try:
        sender = _senders[db]
    except KeyError:
        sender = _add_sender(db)
    if sender is not None:
        sender.send()


def _add_sender(db):
    with _lock:
        if db not in _senders:
            dsn = findDSN(db)
            _senders[db] = None if dsn is None else _Sender(dsn)
        return _senders[db]


def listen(db, changed):
    """Call *changed* in a thread of its own at each notice of others.

    Do nothing if *db* has no notices.
    """
    dsn = findDSN(db)
    if dsn is not None:
        listener = _Listener(dsn, changed)
        with _lock:
            _listeners[db] = listener
        listener.start()


def unlisten(db):
    """End `listen` for *db*, and the session that sends notices."""
    with _lock:
        listener = _listeners.pop(db, None)
        sender = _senders.pop(db, None)
    for each in listener, sender:
        if each is not None:
            each.end()


def findDSN(db):
    """Return the DSN for sessions of notices; None if *db* has none."""
    given = os.environ.get(VARIABLE, '').strip()
    storage = db.storage
    while not hasattr(storage, '_adapter') and hasattr(storage, 'base'):
        storage = storage.base   # a wrapper, such as that of zc.zlibstorage
    adapter = getattr(storage, '_adapter', None)
    dsn = getattr(adapter, '_dsn', None)
    if given.lower() == 'off' or not isinstance(dsn, str) or (
            'postgresql' not in type(adapter).__module__):
        return None
    try:
        import psycopg2  # noqa: F401
    except ImportError:
        return None   # RelStorage uses another driver
    return given or dsn


def _connect(dsn):
    """Return a new session."""
    import psycopg2
    session = psycopg2.connect(
        dsn, connect_timeout=CONNECT_TIMEOUT,
        application_name='cipher.background notices')
    session.autocommit = True
    return session


def _execute(session, statement):
    with session.cursor() as cursor:
        cursor.execute(statement)


class _Sender:
    """Sends notices in a thread that lives while there are some."""

    def __init__(self, dsn):
        self._dsn = dsn
        self._changed = threading.Condition(threading.Lock())
        self._is_wanted = False
        self._thread = None
        self._rests_until = 0.0   # monotonic
        self._idle = IDLE
        self._is_failing = False
        self._is_over = False
        self._last = None   # the last thread; it may still close its session

    def send(self):
        """Send a notice soon."""
        with self._changed:
            if self._is_wanted or self._is_over:
                return
            if self._thread is None:
                if time.monotonic() < self._rests_until:
                    return
                self._thread = self._last = threading.Thread(
                    target=self._main, daemon=True,
                    name='background-notices')
                self._thread.start()
            self._is_wanted = True
            self._changed.notify()

    def end(self):
        """End the thread when it has sent what there is."""
        with self._changed:
            self._idle = 0.0
            self._is_over = True
            self._changed.notify()
            thread = self._last
        if thread is not None:
            thread.join(CONNECT_TIMEOUT)

    def _is_needed(self):
        """Wait for a notice to send; return False if there was none."""
        with self._changed:
            if not self._is_wanted:
                self._changed.wait(self._idle)
            if not self._is_wanted:
                self._thread = None
            self._is_wanted = False
            return self._thread is not None

    def _main(self):
        session = None
        try:
            while self._is_needed():
                session = self._notify(session)
                time.sleep(INTERVAL)
        except Exception as error:
            with self._changed:
                self._thread = None
                self._is_wanted = False
                self._rests_until = time.monotonic() + PAUSE
            if not self._is_failing:
                self._is_failing = True
                log.warning(
                    'No notice was sent (%s); other processes find new runs '
                    'at their next poll', _say(error))
        finally:
            self._close(session)

    def _notify(self, session):
        """Send a notice; return the session, which may be another one."""
        try:
            if session is not None:
                _execute(session, 'NOTIFY ' + CHANNEL)
                return session
        except Exception:
            self._close(session)   # the server may have started anew
        session = _connect(self._dsn)
        try:
            _pids.add(session.info.backend_pid)
            _execute(session, 'NOTIFY ' + CHANNEL)
        except BaseException:
            self._close(session)
            raise
        if self._is_failing:
            self._is_failing = False
            log.info('Notices are sent again')
        return session

    def _close(self, session):
        if session is not None:
            _pids.discard(session.info.backend_pid)
            _close(session)


class _Listener(threading.Thread):
    """Waits for the notices of other processes."""

    def __init__(self, dsn, changed):
        super().__init__(daemon=True, name='background-listener')
        self._dsn = dsn
        self._changed = changed
        self._end, self._other_end = socket.socketpair()
        self._has_ended = threading.Event()

    def end(self):
        """End the thread."""
        self._has_ended.set()
        with suppress(OSError):   # the thread has just closed it
            self._other_end.send(b'.')
        if self is not threading.current_thread():
            self.join(CONNECT_TIMEOUT)

    def run(self):
        failures = 0   # in a row
        while not self._has_ended.is_set():
            session = None
            try:
                session = _connect(self._dsn)
                _execute(session, 'LISTEN ' + CHANNEL)
                if failures:
                    log.info('Notices of other processes are heard again')
                failures = 0
                self._changed()   # something may have happened before
                self._listen(session)
            except Exception as error:
                failures += 1
                if failures == 1 and not self._has_ended.is_set():
                    log.warning(
                        'Notices of other processes are not heard (%s); this '
                        'process finds their runs at its next poll',
                        _say(error))
            finally:
                if session is not None:
                    _close(session)
            if failures:
                self._has_ended.wait(min(PAUSE, 0.25 * 2 ** failures))
        self._end.close()
        self._other_end.close()

    def _listen(self, session):
        while not self._has_ended.is_set():
            select.select([session, self._end], [], [])
            session.poll()
            senders = {notice.pid for notice in session.notifies}
            del session.notifies[:]
            if not senders <= _pids:
                self._changed()


def _close(session):
    try:
        session.close()
    except Exception:
        pass   # it was lost


def _say(error):
    # The text may quote the DSN with its password.
    return type(error).__name__


def _reset_after_fork():
    # The threads that hold the sessions are not there in the child, so it
    # does not close the sessions of its parent.
    global _lock
    _lock = threading.Lock()
    _senders.clear()
    _listeners.clear()
    _pids.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_reset_after_fork)
