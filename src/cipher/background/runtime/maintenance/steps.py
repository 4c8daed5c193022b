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
"""The turn of the control thread, which consists of named steps.

If a step fails, its error is noted in the troubles of the process, and it
rests for a while.  The other steps go on.
"""
import threading
import time

from ZODB.POSException import ConflictError

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import abortQuietly
from cipher.background.interfaces import FAILING_STEP
from cipher.background.interfaces import STUCK_PROCESS
from cipher.background.store.process import Trouble
from cipher.background.util import clock
from cipher.background.util.transient import isClosed
from cipher.background.util.transient import isTransient
from cipher.background.work.stack import getStack


class Step:
    """One step, in transactions of its own.

    *do* is called with a connection, outside of any transaction.  It returns
    whether the next turn follows at once.  *interval* is a function that
    returns the seconds between two calls; None: call it in each turn.
    """

    def __init__(self, name, do, interval=None):
        self.name = name
        self.do = do
        self.interval = interval
        self.next_at = 0.0   # monotonic

    def isDue(self, now):
        """Return whether the step is due at *now*, a monotonic time."""
        return now >= self.next_at

    def schedule(self, now):
        """Make the step due again one interval after *now*."""
        if self.interval is not None:
            self.next_at = now + self.interval()


class Steps:
    """The steps of the process *own*, whose failures go to *troubles*.

    The *first* step returns whether the others are to be called.  It fails
    only if the storage does; its error ends the turn.

    Errors of the application's code must not leave a step.  So a transient
    error other than a conflict means that the storage is away.  The other
    steps then go on with what is in the cache, and the turn ends with that
    error.
    """

    def __init__(self, own, troubles, first, others):
        self._own = own
        self._troubles = troubles
        self._first = first
        self._others = others
        self._is_over = False
        self._away = {}   # name of a step -> the error of its storage
        self.turns = 0    # turns that got through, so far
        # (name, monotonic time, id of the thread) of the step in work
        self.current = None

    def add(self, step):
        """Add *step* before all others except the first."""
        self._others.insert(0, step)

    def end(self):
        """Begin no further step.  Thread-safe."""
        self._is_over = True

    def makeDue(self, name=None):
        """Make the step *name* due; None: all steps.  Thread-safe."""
        for step in self._others:
            if name in (None, step.name):
                step.next_at = 0.0

    def findStuck(self):
        """Return a `Trouble` if one step takes longer than a lease, or None.

        Thread-safe.
        """
        current = self.current
        if current is None:
            return None
        step, since, thread_id = current
        seconds = time.monotonic() - since
        if seconds <= self._own.settings.lease:
            return None
        return Trouble(STUCK_PROCESS, step, clock.now() - seconds, '',
                       stack=getStack(thread_id))

    def turn(self, is_full=False):
        """Do the steps that are due, or all if *is_full*.

        Return whether the next turn follows at once.
        """
        with ZodbConnection(self._own.db) as connection:
            if not self._do(self._first, connection):
                return False
        waiting = list(self._others)
        is_more = False
        while waiting and not self._is_over:
            # After a failure the others get another connection, as the first
            # one may be the cause.
            with ZodbConnection(self._own.db) as connection:
                is_more |= self._go_on(connection, waiting, is_full)
        for error in self._away.values():
            raise error
        self.turns += 1
        return is_more

    def _go_on(self, connection, waiting, is_full):
        """Do the steps in *waiting*, up to one that fails; remove them."""
        troubles = self._troubles
        is_more = False
        while waiting and not self._is_over:
            step = waiting.pop(0)
            if not is_full and (
                    not step.isDue(time.monotonic())
                    or troubles.isResting(FAILING_STEP, step.name)):
                continue
            # This comes before the call, during which `makeDue` may make it
            # due again.
            step.schedule(time.monotonic())
            try:
                is_more |= bool(self._do(step, connection))
            except BaseException as error:
                step.next_at = 0.0   # due as soon as it has rested
                abortQuietly()
                self._failed(step, error)
                return is_more
            troubles.settle(FAILING_STEP, step.name)
            self._away.pop(step.name, None)
        return is_more

    def _failed(self, step, error):
        db = self._own.db
        if isClosed(db):
            raise error
        self._troubles.note(error, FAILING_STEP, step.name)
        self._away.pop(step.name, None)
        if isTransient(error, db) and not isinstance(error, ConflictError):
            self._away[step.name] = error.with_traceback(None)

    def _do(self, step, connection):
        began = time.monotonic()
        self.current = step.name, began, threading.get_ident()
        try:
            return step.do(connection)
        finally:
            self.current = None
            if time.monotonic() - began > self._own.settings.lease:
                self._troubles.report()   # the process is not stuck any more
