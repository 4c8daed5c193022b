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
"""The failures of this process, each with its subject, time and error.

An error stops only its subject, such as a run or a step.  The subject rests
for a while and is tried again.  All others go on, and administrators see the
subject in the overview.
"""
import logging
import threading
import time

from ZODB.POSException import ConflictError

from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.store.lifecycle import backOff
from cipher.background.store.process import Trouble
from cipher.background.util import clock
from cipher.background.util.logs import getLogger
from cipher.background.util.logs import logError
from cipher.background.util.text import SHOWS_ALL
from cipher.background.util.transient import isClosed
from cipher.background.util.transient import isTransient


log = getLogger(__name__)

#: Seconds.  The pause after failures in a row grows up to this.
FAILURE_PAUSE = 10.0

#: Failures in a row after which a transient error is shown.  Conflicts and
#: lost connections usually pass before.
PERSISTENT = 10

#: Seconds.  A subject that was not tried again for this long is forgotten: it
#: may have been removed.
FORGET_AFTER = 3600.0

#: Troubles that are shown to other processes at most, the oldest ones.  This
#: bounds the record of the heartbeat.
SHOWN = 20


class _Failures:
    """The failures in a row of one subject."""

    def __init__(self):
        self.since = clock.now()
        self.number = 0
        self.error = None
        self.is_shown = False
        self.last_at = self.retry_at = 0.0   # monotonic


class _Guard:
    """The context manager of `Troubles.guard`.

    A class, as a generator would take twice the time.
    """

    def __init__(self, troubles, key, with_transient):
        self._troubles = troubles
        self._key = key
        self._with_transient = with_transient

    def __enter__(self):
        pass

    def __exit__(self, type, error, traceback):
        return self._troubles.guarded(
            error, self._key, self._with_transient)


class Troubles:
    """The troubles of one process.  Thread-safe.

    *report* lets other processes know soon what is wrong.
    """

    def __init__(self, db, report=lambda: None):
        self._db = db
        self.report = report
        self._lock = threading.Lock()
        self._failing = {}   # (kind, subject, registry oid) -> _Failures

    def guard(self, kind, subject, registry_oid=None, with_transient=True):
        """Return a context manager that catches all errors of its block.

        The error, even a SystemExit, is logged and *subject* rests.  Others
        see the trouble until a later block succeeds.  The block has to abort
        its own changes.

        Raise errors of a closed database, and unless *with_transient* all
        transient errors.
        """
        return _Guard(self, (kind, subject, registry_oid), with_transient)

    def guarded(self, error, key, with_transient):
        """Note that the block of a `guard` ended with *error* or None.

        Return whether the error is to be suppressed.
        """
        if error is None:
            self.settle(*key)
            return False
        if isClosed(self._db) or (
                not with_transient and isTransient(error, self._db)):
            return False
        self.note(error, *key)
        return True

    def doEach(self, kind, items, do, note=None):
        """Call *do* with each of *items*, which are (subject, registry oid).

        All calls share one transaction.  If it fails, each gets its own, so
        that a failing item does not affect the others.  Resting items are left
        out.  Return the list of the items that are done.
        """
        items = [item for item in items if not self.isResting(kind, *item)]
        if len(items) > 1:
            try:
                with ZopeTransaction(note=note):
                    for item in items:
                        do(*item)
                return items
            except BaseException as error:
                log.debug('%s: %s; trying each one alone', kind,
                          type(error).__name__)
        done = []
        for item in items:
            try:
                with ZopeTransaction(note=note):
                    do(*item)
            except BaseException as error:
                if isClosed(self._db):
                    raise
                self.note(error, kind, *item)
                if isTransient(error, self._db) and not isinstance(
                        error, ConflictError):
                    break   # the storage is away for the others, too
            else:
                self.settle(kind, *item)
                done.append(item)
        return done

    def note(self, error, kind, subject, registry_oid=None, masker=SHOWS_ALL):
        """Record that *subject* failed with *error*, and log it.

        *masker* hides the secrets of the run that *subject* names.
        """
        if isClosed(self._db):
            return   # the error comes from the closed database
        is_transient = isTransient(error, self._db)
        now = time.monotonic()
        with self._lock:
            failures = self._failing.setdefault(
                (kind, subject, registry_oid), _Failures())
            failures.number += 1
            failures.error = type(error).__name__
            failures.last_at = now
            failures.retry_at = now + backOff(
                failures.number, cap=FAILURE_PAUSE)
            is_news = not failures.is_shown and (
                not is_transient or failures.number >= PERSISTENT)
            failures.is_shown |= is_news
            number = failures.number
        _log(error, number, is_transient, kind, subject, masker)
        if is_news:
            self.report()

    def settle(self, kind, subject, registry_oid=None):
        """Record that *subject* succeeded."""
        if not self._failing:
            return   # the usual case must be fast: each new run calls this
        with self._lock:
            failures = self._failing.pop((kind, subject, registry_oid), None)
        if failures is not None and failures.is_shown:
            log.info('%s %s: it works again', kind, subject)
            self.report()

    def isResting(self, kind, subject, registry_oid=None):
        """Return whether *subject* failed and is not yet to be tried again."""
        failures = self._failing.get((kind, subject, registry_oid))
        return failures is not None and time.monotonic() < failures.retry_at

    def secondsToNext(self, most):
        """Return the seconds until the next subject may be tried again.

        At most *most*, which is the result if none rests.
        """
        now = time.monotonic()
        with self._lock:
            return max(0.0, min(
                [most] + [failures.retry_at - now
                          for failures in self._failing.values()
                          if failures.retry_at > now]))

    def list(self):
        """Return a tuple of `Trouble` to show, the oldest first."""
        oldest = time.monotonic() - FORGET_AFTER
        with self._lock:
            for key, failures in list(self._failing.items()):
                if failures.last_at < oldest:
                    del self._failing[key]
            found = [
                Trouble(kind, subject, failures.since, failures.error, oid)
                for (kind, subject, oid), failures in self._failing.items()
                if failures.is_shown]
        return tuple(sorted(found, key=lambda one: one.since)[:SHOWN])


def _log(error, number, is_transient, kind, subject, masker):
    if isinstance(error, ConflictError) and number < PERSISTENT:
        log.debug('%s %s: %s; trying again', kind, subject,
                  type(error).__name__)
    elif number in (1, 10) or number % 100 == 0:
        logError(log, error, masker,
                 '%s %s: failed %d times in a row; everything else goes on',
                 kind, subject, number,
                 level=(logging.INFO if is_transient and number < PERSISTENT
                        else logging.ERROR))
