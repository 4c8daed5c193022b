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
"""Unresolved failures: neither retried nor followed by a success."""
import heapq
import time
from operator import itemgetter

from cipher.background.declarations.workertype import nameToday
from cipher.background.interfaces import BY_INPUT
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import UNSUCCESSFUL_STATES
from cipher.background.store.uniquekeys import uniqueKey
from cipher.background.util.plaindata import readNumber


#: Seconds that one list may search for successes.  After that, remaining
#: failures count as unresolved, within the time limit of `paging`.
TIME_LIMIT = 1.0


class Unresolved:
    """Finds unresolved runs of a registry; valid for one list.

    Each success is read once, newest first, back to the oldest run that was
    asked for.  A type and its former names count as the same type.
    """

    def __init__(self, registry):
        self._registry = registry
        self._entries = heapq.merge(
            *[lane.finishes.walk(states=(SUCCEEDED,))
              for lane in registry.lanes.values()],
            key=itemgetter(0), reverse=True)
        self._next = None
        self._waiting = {}   # current type name -> entries read, not noted yet
        self._names = {}     # type name -> current name
        self._done = {}      # work of a run -> microseconds of last success
        self._deadline = None

    def has(self, run):
        """Return whether *run* failed and is not resolved."""
        run._v_parent = self._registry   # retried_as looks for the retry here
        if run.state not in UNSUCCESSFUL_STATES or run.retried_as is not None:
            return False
        if self._deadline is None:
            self._deadline = time.monotonic() + TIME_LIMIT
        finished_at = _finished_at(run)
        self._read(finished_at)
        for entry in self._waiting.pop(self._name(run.type), ()):
            self._note(entry)
        return self._done.get(self._work(run), 0) <= finished_at

    def _name(self, stored):
        if stored not in self._names:
            self._names[stored] = nameToday(stored)
        return self._names[stored]

    def _work(self, run):
        """Return a key that is equal for runs that do the same work."""
        return uniqueKey(
            BY_INPUT, self._name(run.type), run.reference, run.input)

    def _read(self, finished_at):
        """Read the entries that are newer than *finished_at*."""
        while True:
            if self._next is None:
                self._next = next(self._entries, None)
            if self._next is None or self._next.key <= finished_at or (
                    time.monotonic() >= self._deadline):
                return
            self._waiting.setdefault(
                self._name(self._next.type), []).append(self._next)
            self._next = None

    def _note(self, entry):
        if time.monotonic() >= self._deadline:
            return
        run = self._registry.getRun(entry.lane, entry.serial)
        if run is not None:
            is_new = run._p_changed is None
            # If the clock was set back, the key is later than the finish.
            finished_at = min(entry.key, _finished_at(run))
            work = self._work(run)
            self._done[work] = max(finished_at, self._done.get(work, 0))
            if is_new:
                run._p_deactivate()


def _finished_at(run):
    return int(readNumber(run.finished_at, 0.0) * 1000000)
