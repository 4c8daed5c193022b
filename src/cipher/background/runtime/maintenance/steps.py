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
import time

from ZODB.POSException import ConflictError

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import abortQuietly
from cipher.background.interfaces import FAILING_STEP
from cipher.background.util.transient import isClosed
from cipher.background.util.transient import isTransient


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
    """The steps of one runtime.

    The *first* step returns whether the others are to be called.  It fails
    only if the storage does; its error ends the turn.

    Errors of the application's code must not leave a step.  So a transient
    error other than a conflict means that the storage is away.  The other
    steps then go on with what is in the cache, and the turn ends with that
    error.
    """

    def __init__(self, runtime, first, others):
        self._runtime = runtime
        self._first = first
        self._others = others
        self._is_over = False
        self._away = {}   # name of a step -> the error of its storage
        self.turns = 0    # turns that got through, so far
        self.current = None   # (name, monotonic time) of the step in work

    def add(self, step):
        """Add *step* before all others except the first."""
        self._others.insert(0, step)

    def end(self):
        """Begin no further step.  Thread-safe."""
        self._is_over = True

    def hasten(self, name=None):
        """Make the step *name* due; None: all steps.  Thread-safe."""
        for step in self._others:
            if name in (None, step.name):
                step.next_at = 0.0

    def turn(self, is_full=False):
        """Do the steps that are due, or all if *is_full*.

        Return whether the next turn follows at once.
        """
        with ZodbConnection(self._runtime.db) as connection:
            if not self._do(self._first, connection):
                return False
        waiting = list(self._others)
        is_more = False
        while waiting and not self._is_over:
            # After a failure the others get another connection, as the first
            # one may be the cause.
            with ZodbConnection(self._runtime.db) as connection:
                is_more |= self._go_on(connection, waiting, is_full)
        for error in self._away.values():
            raise error
        self.turns += 1
        return is_more

    def _go_on(self, connection, waiting, is_full):
        """Do the steps in *waiting*, up to one that fails; remove them."""
        troubles = self._runtime.troubles
        is_more = False
        while waiting and not self._is_over:
            step = waiting.pop(0)
            if not is_full and (
                    not step.isDue(time.monotonic())
                    or troubles.isResting(FAILING_STEP, step.name)):
                continue
            # This comes before the call, during which `hasten` may make it
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
        db = self._runtime.db
        if isClosed(db):
            raise error
        self._runtime.troubles.note(error, FAILING_STEP, step.name)
        self._away.pop(step.name, None)
        if isTransient(error, db) and not isinstance(error, ConflictError):
            self._away[step.name] = error.with_traceback(None)

    def _do(self, step, connection):
        began = time.monotonic()
        self.current = step.name, began
        try:
            return step.do(connection)
        finally:
            self.current = None
            if time.monotonic() - began > self._runtime.settings.lease:
                self._runtime.report()   # the process is not stuck any more
