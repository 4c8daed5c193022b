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
"""The limit on the waiting runs of one starter.

The limit is approximate.  The count is the sum of what the homes of the lanes
reported with their last heartbeats and of what this process started since.
So a start neither asks another process nor writes anything more.
"""
import itertools
import weakref

from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import TooManyOfStarter
from cipher.background.queries.snapshot import Snapshot
from cipher.background.util import clock
from cipher.background.util.forks import Locked
from cipher.background.util.host import SYSTEM


#: Number of starters whose starts a process remembers.  If there are more, it
#: forgets the ones whose last start is oldest.
STARTERS = 1000

_starts = weakref.WeakKeyDictionary()   # DB -> OwnStarts


def checkStarter(registry, starter):
    """Raise `TooManyOfStarter` if too many runs of *starter* wait.

    Else count one more.  An abort of the open transaction takes it back.
    """
    jar = registry._p_jar
    if jar is None or starter in SYSTEM:
        return
    limit = registry.waiting_per_starter
    key = registry._p_oid, starter
    starts = _starts.get(jar.db()) or _starts.setdefault(
        jar.db(), OwnStarts())
    snapshot = Snapshot(registry)
    number, since = snapshot.countWaiting(starter)
    number += starts.count(key, since)
    if number >= limit:
        # Runs that were started since may have finished by now.
        number = min(number, _count_unfinished(snapshot))
    if number >= limit:
        raise TooManyOfStarter(
            'starter %.100r: expected fewer than %d waiting runs to start '
            'another, got about %d; try again when some of them are done'
            % (starter, limit, number))
    starts.add(key, limit, jar.transaction_manager.get())


def _count_unfinished(snapshot):
    return sum(states.get(PENDING, 0) + states.get(RUNNING, 0)
               for states in snapshot.counts().values())


class OwnStarts(Locked):
    """The times at which this process started runs, for each starter."""

    def __init__(self):
        super().__init__()
        self._numbers = itertools.count()
        self._starts = {}   # (registry oid, starter) -> {number: time}

    def count(self, key, since):
        """Return the number of starts after *since*; forget earlier ones."""
        with self._lock:
            starts = self._starts.get(key, {})
            for number in [number for number, started_at in starts.items()
                           if started_at <= since]:
                del starts[number]
            return len(starts)

    def add(self, key, limit, txn):
        """Add a start by *txn*; keep the last *limit* starts of the starter.
        """
        number = next(self._numbers)
        with self._lock:
            starts = self._starts.pop(key, {})
            self._starts[key] = starts   # moved to the end
            starts[number] = clock.now()
            if len(starts) > limit:
                del starts[min(starts)]
            if len(self._starts) > STARTERS:
                del self._starts[next(iter(self._starts))]
        txn.addAfterCommitHook(self._committed, (key, number))
        txn.addAfterAbortHook(self._forget, (key, number))

    def _committed(self, success, key, number):
        if not success:
            self._forget(key, number)

    def _forget(self, key, number):
        with self._lock:
            self._starts.get(key, {}).pop(number, None)
