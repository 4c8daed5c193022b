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
"""Unresolved failures: neither retried nor followed by a success.

A search reads all successes of a type that are newer than the failure, and
compares their works.  The work of a finished run does not change.  So the
works of a chunk of finishes are kept in the memory of the process, see
`digests`, and a later search loads no run of it.

A success that was removed does not count:

- When an administrator removes one, the number of such removals changes; works
  that were kept before are loaded again.  Only if the undo of a removal is
  followed by another removal, these may be mistaken for each other.
- Retention removes the oldest runs of a type first, and marks how far it came;
  no success below the mark counts.  The mark stays at an older run that cannot
  be removed yet: one of the last runs that were started in their lane.  Until
  it is removed, newer successes may count although they were removed.
"""
import hashlib
import heapq
import struct
import sys
import time
from operator import itemgetter

from cipher.background.declarations.workertype import nameToday
from cipher.background.interfaces import BY_INPUT
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import UNSUCCESSFUL_STATES
from cipher.background.queries.digests import getDigests
from cipher.background.store.uniquekeys import uniqueKey
from cipher.background.util import clock
from cipher.background.util.plaindata import readNumber


#: Seconds that one list may search for successes.  After that, remaining
#: failures count as unresolved, within the time limit of `paging`.
TIME_LIMIT = 1.0

# A success: microseconds of the finish, and the work of the run.
_WORK = struct.Struct('<q16s')


class Unresolved:
    """Finds unresolved runs of a registry; valid for one list.

    Each chunk of finishes is read once, newest first, back to the oldest run
    that was asked for.  A type and its former names count as the same type.
    """

    def __init__(self, registry):
        self._registry = registry
        self._digests = getDigests(registry._p_jar)
        self._stamp = _stamp_of(registry.removed_by_hand)
        self._chunks = heapq.merge(
            *[self._walk(lane) for lane in registry.lanes.values()],
            key=itemgetter(0), reverse=True)
        self._next = None
        self._waiting = {}   # current type name -> parts read, not noted yet
        self._names = {}     # type name -> current name
        self._marks = {}     # (lane number, type name) -> mark of retention
        self._done = {}      # current type name -> {work: last success}
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
        name = self._name(run.type)
        done = self._done.setdefault(name, {})
        for part in self._waiting.pop(name, ()):
            self._note(done, *part)
        return done.get(_work(run), 0) <= finished_at

    def _name(self, stored):
        if stored not in self._names:
            self._names[stored] = nameToday(stored)
        return self._names[stored]

    def _walk(self, lane):
        """Yield (key, lane, chunk), newest first.

        No finish of the chunk has a greater key.
        """
        last = lane.finishes.last_key
        for first, chunk in lane.finishes.walkChunks(
                states=(SUCCEEDED,), known=self._digests.hasWorks):
            yield last, lane, chunk
            last = first

    def _read(self, finished_at):
        """Read the chunks with finishes that are newer than *finished_at*."""
        while True:
            if self._next is None:
                self._next = next(self._chunks, None)
            if self._next is None or self._next[0] <= finished_at or (
                    time.monotonic() >= self._deadline):
                return
            last, lane, chunk = self._next
            self._next = None
            works = self._digests.works(chunk, self._stamp)
            if works is None:
                works = dict.fromkeys(
                    sys.intern(entry.type) for entry
                    in lane.finishes.entriesOf(chunk, (SUCCEEDED,)))
                if self._stamp is not None:
                    self._digests.keepWorks(chunk, self._stamp, works, last)
            for name in works:
                self._waiting.setdefault(self._name(name), []).append(
                    (lane, chunk, works, name))

    def _note(self, done, lane, chunk, works, name):
        """Add the successes of the type *name* in *chunk* to *done*."""
        if works[name] is None:
            if time.monotonic() >= self._deadline:
                return
            works[name] = b''.join(self._load(lane, chunk, name))
        mark = self._mark(lane, name)
        for finished_at, work in _WORK.iter_unpack(works[name]):
            if finished_at >= mark and finished_at > done.get(work, 0):
                done[work] = finished_at

    def _load(self, lane, chunk, name):
        """Yield the packed work of each success of the type *name*."""
        for entry in lane.finishes.entriesOf(chunk, (SUCCEEDED,)):
            if entry.type != name:
                continue
            run = self._registry.getRun(entry.lane, entry.serial)
            if run is not None:
                is_new = run._p_changed is None
                # If the clock was set back, the key is later than the finish.
                yield _WORK.pack(min(entry.key, _finished_at(run)), _work(run))
                if is_new:
                    run._p_deactivate()

    def _mark(self, lane, name):
        place = lane.number, name
        if place not in self._marks:
            mark = lane.pruned.markOf(name)
            # Entries made by a clock far ahead got other keys later.
            self._marks[place] = 0 if clock.isAhead(
                mark / 1000000, clock.now()) else mark
        return self._marks[place]


def _stamp_of(removed):
    """Return the number of successes that administrators removed.

    Return None if the open transaction changed it.
    """
    return None if removed._p_changed else sum(
        number for _, state, number in removed.getCounts()
        if state == SUCCEEDED)


def _work(run):
    """Return 16 bytes that are equal for runs of a type with the same work."""
    _, key = uniqueKey(BY_INPUT, run.type, run.reference, run.input)
    return hashlib.blake2b(key, digest_size=16).digest()


def _finished_at(run):
    return int(readNumber(run.finished_at, 0.0) * 1000000)
