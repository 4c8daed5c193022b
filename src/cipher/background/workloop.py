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

What `WorkLoop.run` does::

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

import transaction
from zope.component import queryAdapter

from cipher.background.contextmanagers import ZopeInteraction
from cipher.background.contextmanagers import ZopeSite
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.contextmanagers import abortQuietly
from cipher.background.interfaces import IWorkObserver
from cipher.background.interfaces import RunLost
from cipher.background.interfaces import StopRequested
from cipher.background.lifecycle import backOff
from cipher.background.logs import getLogger
from cipher.background.observer import WorkObserver
from cipher.background.spoiled import CacheSpoiled
from cipher.background.spoiled import noteServer
from cipher.background.spoiled import spoils
from cipher.background.text import NOTE_LIMIT
from cipher.background.text import SHOWS_ALL
from cipher.background.text import clean
from cipher.background.text import cleanLine
from cipher.background.transient import isTransient
from cipher.background.worker import Worker


log = getLogger('cipher.background.thread')

#: Seconds: after a failed iteration a loop waits, at first this long, then
#: twice as long, up to the cap.
FAILURE_DELAY = 0.1
FAILURE_DELAY_CAP = 60.0

#: Characters.  A note of more than 64 kB would fail the commit.
NOTES_LIMIT = 16000

#: An iteration goes on without a pause so often though a cache was spoiled: a
#: client of ZEO has at most 100 oids in stock.
SPOILED_LIMIT = 200


class WorkLoop(Worker):
    """What a `BackgroundWorkerThread` does, whichever thread does it."""

    work_transaction_note = "%(thread_name)s"
    cleanup_transaction_note = "%(thread_name)s cleanup"
    max_tries = 50

    log = log

    def setUpLoop(self, site_db, site_oid, site_name, user_name):
        """Remember where to work, and for whom."""
        self.site_db = site_db
        self.site_oid = site_oid
        self.site_name = site_name
        self.user_name = user_name
        self.setUpWorker()
        self._failures = 0       # iterations in a row
        self._is_begun = False   # whether doWork was called this time

    def getSite(self, connection):
        """See `~cipher.background.interfaces.IBackgroundWorkerThread`."""
        return connection.get(self.site_oid)

    def getTransactionNote(self):
        """See `~cipher.background.interfaces.IBackgroundWorkerThread`."""
        return self._format(self.work_transaction_note)

    def getCleanupNote(self):
        """See `~cipher.background.interfaces.IBackgroundWorkerThread`."""
        return self._format(self.cleanup_transaction_note)

    def _format(self, note):
        return note % {'thread_name': self.name,
                       'class_name': type(self).__name__,
                       'site_name': self.site_name,
                       'user_name': self.user_name}

    # For subclasses

    def scheduleNextWork(self):
        """See `~cipher.background.interfaces.IBackgroundWorkerThread`."""
        return False

    def doWork(self):
        """See `~cipher.background.interfaces.IBackgroundWorkerThread`."""

    def doCleanup(self):
        """See `~cipher.background.interfaces.IBackgroundWorkerThread`."""

    def retryDelay(self, attempt, error):
        """See `~cipher.background.interfaces.IBackgroundWorkerThread`."""
        return None

    # The loop

    def run(self):
        """Main loop of the thread."""
        if self.observer is None:
            self.observer = queryAdapter(
                self, IWorkObserver, default=WorkObserver())
        error = None
        try:
            self.observer.started(self)
            self._loop()
        except (StopRequested, RunLost) as end:
            error = end
        except BaseException as end:
            error = end
            self.log.exception("Exception in %s, thread terminated", self.name)
        finally:
            self.observer.ended(self, error)

    def _loop(self):
        while not self.stop_requested and self.scheduleNextWork():
            if self.stop_requested:
                break
            if self._iterate():
                self._failures = 0
            else:
                self._failures += 1
                self._after_failure(self._failures)

    def _after_failure(self, failures):
        self.wait(backOff(failures, FAILURE_DELAY, FAILURE_DELAY_CAP))

    def _iterate(self):
        """Do one iteration; return whether all went well.

        An error is logged and told, here.  Raise what has to end the thread.
        """
        failures = spoiled = 0
        self._is_begun = False
        while True:
            try:
                return self._iterate_once()
            except CacheSpoiled as error:
                self.observer.conflicted(self, error)
                spoiled += 1
                if spoiled <= SPOILED_LIMIT:
                    continue
            except Exception as error:
                if self._is_begun or not isTransient(error, self.site_db):
                    raise
                # The storage is away, perhaps for long: the work waits.
                self.observer.conflicted(self, error)
            failures += 1
            if self.wait(backOff(failures)):
                return False

    def _iterate_once(self):
        with self.observer.connect(self) as connection:
            try:
                with ZopeSite(self.getSite(connection)):
                    participations = self.observer.participations(
                        self, connection)
                    with ZopeInteraction(*participations):
                        return self._work_and_clean_up(connection)
            except BaseException as error:
                abortQuietly()
                if not isinstance(error, Exception) or not (
                        self._is_begun) and isTransient(error, self.site_db):
                    raise
                # Still with the connection: the log may want the repr() of
                # its objects.
                self._tell(self.observer.failed, connection, error)
                return False
            finally:
                self.context = None

    def _work_and_clean_up(self, connection):
        self.observer.opened(self, connection)
        went_well = True
        try:
            self._work(connection)
        except CacheSpoiled:
            raise
        except BaseException as error:
            went_well = False
            self._tell(self.observer.failed, connection, error)
        finally:
            try:
                if self._is_begun:
                    self._clean_up(connection)
            except Exception as error:
                went_well = False
                self._tell(self.observer.cleanupFailed, connection, error)
        return went_well

    def _tell(self, told, connection, error):
        if isinstance(error, RunLost):
            raise error
        if isinstance(error, Exception):
            self.log.error("Exception in %s", self.name, exc_info=error)
        told(self, connection, error)
        if not isinstance(error, Exception):
            raise error

    def _work(self, connection):
        tries = 0      # that began
        failures = 0   # in a row; of a storage that is away there may be many
        while True:
            cursor = self.cursor
            is_begun = False
            try:
                with self._transaction(self.getTransactionNote()):
                    if self.observer.began(self, connection):
                        return
                    self._is_begun = is_begun = True
                    self.observer.done(self, connection, self.doWork())
                    self._mask_note()
                return
            except Exception as error:
                if not isTransient(error, self.site_db):
                    raise
                if spoils(error):
                    self._is_begun = False   # no try: it begins anew
                    raise CacheSpoiled(str(error)) from error
                noteServer(self.site_db)
                tries += is_begun
                failures += 1
                if self.cursor != cursor:
                    tries = failures = 1   # it went on since then
                if tries >= self.max_tries:
                    raise
                self.observer.conflicted(self, error)
            self._pause(failures, 0.1 if is_begun else 1.0)

    def _clean_up(self, connection):
        tries = 0
        while True:
            tries += 1
            try:
                with self._transaction(self.getCleanupNote()):
                    self.doCleanup()
                    self._mask_note()
                    self.observer.cleaned(self, connection)
                return
            except Exception as error:
                if (tries >= self.max_tries or spoils(error)
                        or not isTransient(error, self.site_db)):
                    raise
            self._pause(tries)

    def _pause(self, failures, when_stopping=0.1):
        # Not ended at once by a stop: the next try would follow at once.
        if self.wait(backOff(failures)):
            time.sleep(backOff(failures, cap=when_stopping))

    def _transaction(self, note):
        # An over-long or unfit note or name would fail the commit.
        return ZopeTransaction(user=cleanLine(self.user_name, NOTE_LIMIT)
                               if self.user_name else None,
                               note=cleanLine(note, NOTE_LIMIT, self.masker))

    def _mask_note(self):
        """Mask what the work added to the note of its transaction."""
        if self.masker is not SHOWS_ALL:
            txn = transaction.get()
            txn.description = clean(
                txn.description, NOTES_LIMIT, self.masker)
            txn.extension = self.masker.data(txn.extension)

    def commitAndGoOn(self):
        """Commit the transaction of the work, begin another like it.

        For observers.
        """
        self._mask_note()
        old = transaction.get()
        user, note = old.user, old.description
        transaction.commit()
        new = transaction.begin()
        new.user = user
        new.note(note)


class OnePiece(WorkLoop):
    """A worker that does one piece of work: one iteration, then the end."""

    _is_scheduled = False

    def scheduleNextWork(self):
        """Return True once."""
        if self._is_scheduled:
            return False
        self._is_scheduled = True
        return True

    def _after_failure(self, failures):
        """There is no further iteration to wait for."""

    def _clean_up(self, connection):
        # An empty transaction would cost 5 % of a small job.
        if type(self).doCleanup is not WorkLoop.doCleanup:
            super()._clean_up(connection)
