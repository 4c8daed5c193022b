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
"""The turn of the control thread: named steps, each on its own.

A step that fails is noted in the troubles of the process and rests for a
while; the others go on.
"""
import time

from ZODB.POSException import ConflictError

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import abortQuietly
from cipher.background.interfaces import FAILING_STEP
from cipher.background.util.transient import isClosed
from cipher.background.util.transient import isTransient


class Step:
    """One thing to do, in transactions of its own.

    *do* is called with a connection, outside of any transaction; it returns
    whether to have the next turn at once.  *interval* is a function that
    gives the seconds from one time to the next; None: each turn.
    """

    def __init__(self, name, do, interval=None):
        self.name = name
        self.do = do
        self.interval = interval
        self.next_at = 0.0   # monotonic

    def isDue(self, now):
        """Return whether its time has come."""
        return now >= self.next_at

    def schedule(self, now):
        """Let the next time be an interval from *now*."""
        if self.interval is not None:
            self.next_at = now + self.interval()


class Steps:
    """The steps of one runtime.  For its control thread.

    All others wait for the *first* one: it fails only where the storage does,
    and its error is the turn's.  It returns whether there is anything to do.

    No code of the application may raise out of a step.  So a transient error
    that is no conflict says that the storage is away, and then it is the
    turn's as well, though the other steps go on with what is in the cache.
    """

    def __init__(self, runtime, first, others):
        self._runtime = runtime
        self._first = first
        self._others = others
        self._is_over = False
        self._away = {}   # name of a step -> the error of its storage
        self.standing = None   # (name, monotonic time) of the step in work

    def add(self, step):
        """Do *step* as the first of the others, from now on."""
        self._others.insert(0, step)

    def end(self):
        """Begin no further step.  Any thread may call."""
        self._is_over = True

    def hasten(self, name=None):
        """Let the step of that name be due; None: all.  Any thread may call.
        """
        for step in self._others:
            if name in (None, step.name):
                step.next_at = 0.0

    def turn(self, is_full=False):
        """Do each step that is due, or all; return whether to go on at once.
        """
        with ZodbConnection(self._runtime.db) as connection:
            if not self._do(self._first, connection):
                return False
        waiting = list(self._others)
        is_more = False
        while waiting and not self._is_over:
            # After a failure with another connection: whatever went wrong may
            # have gone wrong with that one.
            with ZodbConnection(self._runtime.db) as connection:
                is_more |= self._go_on(connection, waiting, is_full)
        for error in self._away.values():
            raise error
        return is_more

    def _go_on(self, connection, waiting, is_full):
        """Do the steps that are *waiting*, up to one that fails."""
        troubles = self._runtime.troubles
        is_more = False
        while waiting and not self._is_over:
            step = waiting.pop(0)
            if not is_full and (
                    not step.isDue(time.monotonic())
                    or troubles.isResting(FAILING_STEP, step.name)):
                continue
            # Before it is done: it may be hastened meanwhile.
            step.schedule(time.monotonic())
            try:
                is_more |= bool(self._do(step, connection))
            except BaseException as error:
                step.next_at = 0.0   # as soon as it has rested
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
        return self._stand(step.name, step.do, connection)

    def _stand(self, name, do, *arguments):
        began = time.monotonic()
        self.standing = name, began
        try:
            return do(*arguments)
        finally:
            self.standing = None
            if time.monotonic() - began > self._runtime.settings.lease:
                self._runtime.report()   # that it goes on
