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
"""The loop of a worker: connection, site, interaction, transactions.

The steps of `Work.run`::

    scheduleNextWork -- False or a stop --> end
      | True
      v
    connection, site, interaction
      |
      v
    +-> begin, fence -> doWork -> done -> commit     conflict: wait, again
    |                                       |            |
    +---------------------------------------|------------+
                                            v
    begin -> doCleanup -> commit   (always, in a transaction of its own)
      |
      v
    all closed; after an error: wait; then scheduleNextWork again
"""
import time
from typing import TYPE_CHECKING
from typing import Any

from zope.component import queryAdapter

from cipher.background.contextmanagers import ZopeInteraction
from cipher.background.contextmanagers import ZopeSite
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.contextmanagers import abortQuietly
from cipher.background.interfaces import IWorkObserver
from cipher.background.interfaces import RunLost
from cipher.background.interfaces import StopRequested
from cipher.background.store.lifecycle import backOff
from cipher.background.util.calling import callWork
from cipher.background.util.calling import checkValue
from cipher.background.util.calling import isUnfinished
from cipher.background.util.logs import getLogger
from cipher.background.util.plaindata import plainCopy
from cipher.background.util.spoiled import CacheSpoiled
from cipher.background.util.spoiled import noteServer
from cipher.background.util.spoiled import spoils
from cipher.background.util.text import NOTE_LIMIT
from cipher.background.util.text import cleanLine
from cipher.background.util.text import safeStr
from cipher.background.util.transient import isClosed
from cipher.background.util.transient import isTransient
from cipher.background.work.observer import WorkObserver
from cipher.background.work.worker import Worker
from cipher.background.work.worker import hookOf
from cipher.background.work.worker import stateOf


if TYPE_CHECKING:
    from ZODB.Connection import Connection


log = getLogger('cipher.background.thread')

#: Seconds that a loop waits after a failed iteration.  The wait begins short,
#: as most errors pass.  It doubles with each failure in a row up to the cap,
#: so a lasting error does not load the machine.
FAILURE_DELAY = 0.1
FAILURE_DELAY_CAP = 60.0

# Tries of one iteration before its conflict counts as an error.  Many: of
# several writers that conflict, one succeeds each time.
_MAX_TRIES = 50

# Attributes of a worker that show its `WorkState` to the author's code.
_SHOWN = ('run_id', 'origin_id', 'context', 'input', 'cursor', 'progress')

#: Times that an iteration begins again without a pause after a spoiled cache
#: (see `util.spoiled`).  A ZEO client has at most 100 oids in stock, each of
#: which may spoil one.
SPOILED_LIMIT = 200


class WorkLoop(Worker):
    """A `BackgroundWorkerThread` without its thread.

    The methods are those of `IBackgroundWorkerThread`.  Authors override
    them, `retryDelay` and `max_tries`.
    """

    work_transaction_note = "%(thread_name)s"
    cleanup_transaction_note = "%(thread_name)s cleanup"
    max_tries = _MAX_TRIES

    # What `setUp` remembers.
    site_db: Any
    site_oid: bytes
    site_name: str
    user_name: str | None

    log = log

    def getSite(self, connection: 'Connection') -> Any:
        return connection.get(self.site_oid)

    def getTransactionNote(self) -> str:
        return _format(self, self.work_transaction_note)

    def getCleanupNote(self) -> str:
        return _format(self, self.cleanup_transaction_note)

    def scheduleNextWork(self) -> bool:
        return False

    def doWork(self) -> Any:
        pass

    def doCleanup(self) -> Any:
        pass

    def retryDelay(self, attempt: int, error: Exception) -> float | None:
        return None

    def run(self) -> None:
        """Run the loop in the calling thread until it ends."""
        Work(self).run()


class OnePiece(WorkLoop):
    """A worker that does one piece of work, in one iteration."""

    def scheduleNextWork(self) -> bool:
        """Return True at the first call, then False."""
        state = stateOf(self)
        is_first, state.is_scheduled = not state.is_scheduled, True
        return is_first

    def run(self) -> None:
        """Do the work in the calling thread."""
        PieceOfWork(self).run()


def setUp(worker, site_db, site_oid, site_name, user_name):
    """Give *worker* its database, site and user, as upstream's `__init__`.

    Return its `WorkState`.
    """
    worker.site_db = site_db
    worker.site_oid = site_oid
    worker.site_name = site_name
    worker.user_name = user_name
    state = stateOf(worker)
    state.is_set_up = True
    return state


def _format(worker, note):
    return note % {'thread_name': worker.name,
                   'class_name': type(worker).__name__,
                   'site_name': worker.site_name,
                   'user_name': worker.user_name}


class Work:
    """Carries out a worker in the calling thread.

    It uses only upstream's attributes and methods of the worker itself.  For
    everything else it uses `WorkState` and `hookOf`.
    """

    def __init__(self, worker):
        self.worker = worker
        self.state = stateOf(worker)
        self._failures = 0       # failed iterations in a row
        self._is_begun = False   # doWork was called in this iteration

    def run(self):
        """Carry out the worker until its loop ends or has to end."""
        worker, state = self.worker, self.state
        if state.observer is None:
            state.observer = queryAdapter(
                worker, IWorkObserver, default=WorkObserver())
        error = None
        try:
            state.observer.started(worker)
            self._loop()
        except (StopRequested, RunLost) as end:
            error = end
        except BaseException as end:
            error = end
            self._log_error("Exception in %s, thread terminated", end)
        finally:
            state.observer.ended(worker, error)

    def _loop(self):
        state = self.state
        while not state.stop_requested and self._call('scheduleNextWork'):
            if state.stop_requested:
                break
            if self._iterate():
                self._failures = 0
            else:
                self._failures += 1
                self._after_failure(self._failures)

    def _after_failure(self, failures):
        self.state.wait(backOff(failures, FAILURE_DELAY, FAILURE_DELAY_CAP))

    def _iterate(self):
        """Do one iteration; return whether it succeeded.

        Log errors and report them to the observer.  Raise only errors that
        have to end the thread.
        """
        failures = spoiled = 0
        self._is_begun = False
        while True:
            try:
                return self._iterate_once()
            except CacheSpoiled as error:
                self.state.observer.conflicted(self.worker, error)
                spoiled += 1
                if spoiled <= SPOILED_LIMIT:
                    continue
            except Exception as error:
                if self._is_begun or not self._is_transient(error):
                    raise
                # The storage is away, perhaps for long: wait for it.
                self.state.observer.conflicted(self.worker, error)
            failures += 1
            if self.state.wait(backOff(failures)):
                return False

    def _iterate_once(self):
        observer = self.state.observer
        with observer.connect(self.worker) as connection:
            try:
                with ZopeSite(self._call('getSite', connection)):
                    participations = observer.participations(
                        self.worker, connection)
                    with ZopeInteraction(*participations):
                        return self._work_and_clean_up(connection)
            except BaseException as error:
                abortQuietly()
                if not isinstance(error, Exception) or not (
                        self._is_begun) and self._is_transient(error):
                    raise
                # The connection is still open here.  The log may need it for
                # the repr() of its objects.
                self._report(observer.failed, connection, error)
                return False
            finally:
                self.state.context = None

    def _work_and_clean_up(self, connection):
        observer = self.state.observer
        observer.opened(self.worker, connection)
        went_well = True
        try:
            self._work(connection)
        except CacheSpoiled:
            raise
        except BaseException as error:
            went_well = False
            self._report(observer.failed, connection, error)
        finally:
            try:
                if self._is_begun:
                    self._clean_up(connection)
            except Exception as error:
                went_well = False
                self._report(observer.cleanupFailed, connection, error)
        return went_well

    def _report(self, report, connection, error):
        """Log *error* and pass it to *report*, a method of the observer.

        Raise it again if it has to end the thread.
        """
        if isinstance(error, RunLost):
            raise error
        if isClosed(self.worker.site_db):
            raise RunLost(
                '%s: its database was closed during the work, which ended '
                'with %s; nothing of it is kept' % (
                    self.worker.name, type(error).__name__)) from error
        if isinstance(error, Exception):
            self._log_error("Exception in %s", error)
        report(self.worker, connection, error)
        if not isinstance(error, Exception):
            raise error

    def _work(self, connection):
        state, observer = self.state, self.state.observer
        self._remember()
        # Before the first try there is nothing to restore, and without an
        # input nothing to copy.
        is_new = not (self._input or self._own_input)
        tries = 0      # tries that called doWork
        failures = 0   # failures in a row, also of a storage that is away
        while True:
            cursor = state.cursor
            is_begun = False
            try:
                with self._transaction('getTransactionNote'):
                    if observer.began(self.worker, connection):
                        return
                    self._is_begun = is_begun = True
                    if not is_new:
                        self._begin_try()
                    is_new = False
                    observer.done(self.worker, connection, callWork(
                        self._name_of('doWork'), self.worker.doWork))
                    state.maskNote()
                return
            except Exception as error:
                if not self._is_transient(error):
                    raise
                if spoils(error):
                    self._begin_try()
                    self._is_begun = False   # not counted as a try
                    raise CacheSpoiled(str(error)) from error
                noteServer(self.worker.site_db)
                tries += is_begun
                failures += 1
                if state.cursor != cursor:
                    tries = failures = 1   # a checkpoint was committed
                if tries >= self._max_tries():
                    raise
                observer.conflicted(self.worker, error)
            self._pause(failures, 0.1 if is_begun else 1.0)

    def _remember(self):
        """Keep copies of what each try begins with.

        These are the input, and the attributes in which the author's code
        keeps changeable parts of the input.
        """
        own, input = vars(self.worker), self.state.input
        self._input = _copy(input) if input else {}
        self._own_input = _copy(own['input']) if isinstance(
            own.get('input'), dict) else None
        self._places = {} if not input else {
            name: key for key, given in input.items()
            if not isinstance(given, _UNCHANGEABLE)
            for name, value in own.items() if value is given}

    def _begin_try(self):
        """Restore the input, so that nothing of an earlier try is left."""
        own = vars(self.worker)
        self.state.input = _copy(self._input)
        if self._own_input is not None:
            own['input'] = _copy(self._own_input)
        for name, key in self._places.items():
            own[name] = self.state.input[key]

    def _max_tries(self):
        try:
            number = hookOf(self.worker, 'max_tries')
        except Exception:
            return _MAX_TRIES   # the author uses the name for something else
        return number if type(number) is int and number > 0 else _MAX_TRIES

    def _clean_up(self, connection):
        tries = 0
        while True:
            tries += 1
            try:
                with self._transaction('getCleanupNote'):
                    self._call('doCleanup')
                    self.state.maskNote()
                    self.state.observer.cleaned(self.worker, connection)
                return
            except Exception as error:
                if (tries >= self._max_tries() or spoils(error)
                        or not self._is_transient(error)):
                    raise
            self._pause(tries)

    def _pause(self, failures, when_stopping=0.1):
        # A stop ends the wait at once.  A short sleep then keeps the next try
        # from following without any pause.
        if self.state.wait(backOff(failures)):
            time.sleep(backOff(failures, cap=when_stopping))

    def _transaction(self, name):
        """Return the transaction whose note is what the method *name* returns.
        """
        return ZopeTransaction(user=self._user(), note=self._note(name))

    # An over-long or invalid note or user name would fail the commit.

    def _user(self):
        user_name = self.worker.user_name
        return cleanLine(safeStr(user_name), NOTE_LIMIT) if (
            user_name) else None

    def _note(self, name):
        return cleanLine(safeStr(self._call(name)), NOTE_LIMIT,
                         self.state.masker)

    def _call(self, name, *args):
        """Call the worker's method *name*, one of upstream's.

        Return its value.  Raise what `checkValue` raises for a coroutine or
        generator.
        """
        value = getattr(self.worker, name)(*args)
        if isUnfinished(value):   # check first: names cost time
            checkValue(self._name_of(name), value)
        return value

    def _name_of(self, name):
        return '%s.%s' % (type(self.worker).__name__, name)

    def _is_transient(self, error):
        return isTransient(error, self.worker.site_db)

    def _log_error(self, message, error):
        # Without this, each thread would log a traceback when the database
        # is closed.
        exc_info = None if isClosed(self.worker.site_db) else error
        try:
            self.worker.log.error(message, self.worker.name,
                                  exc_info=exc_info)
        except Exception:
            # The author uses the attribute for something else.
            log.error(message, self.worker.name, exc_info=exc_info)


class PieceOfWork(Work):
    """Carries out a worker that does one piece of work."""

    def _remember(self):
        super()._remember()
        own = vars(self.worker)
        # Attributes of these names that the author set before the work.
        self._shown = {name: own[name] for name in _SHOWN if name in own}

    def _begin_try(self):
        own = vars(self.worker)
        for name in _SHOWN:
            own.pop(name, None)
        own.update(self._shown)
        super()._begin_try()

    def _after_failure(self, failures):
        """Do nothing: there is no further iteration to wait for."""

    def _clean_up(self, connection):
        # An empty transaction would add 5 % to a small job.
        if type(self.worker).doCleanup is not WorkLoop.doCleanup:
            super()._clean_up(connection)


# Types whose values no try can change in place.
_UNCHANGEABLE = (type(None), bool, int, float, complex, str, bytes)


def _copy(input):
    """Return a copy of the dict *input* that shares none of its plain data.

    The input of a worker made by hand may contain other values as well; these
    are shared.
    """
    copied = {}
    for name, value in input.items():
        try:
            copied[name] = plainCopy(value)
        except ValueError:
            copied[name] = value
    return copied
