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
"""The candidates of a list of runs, merged from many lanes in order.

An *order* is a tuple of numbers that sorts the candidates of a list.  *after*
is the order of the last candidate of the page before, or None.
"""
import heapq
import itertools
import struct
import time
from operator import itemgetter
from typing import Any
from typing import NamedTuple

from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import NEWEST
from cipher.background.interfaces import OLDEST
from cipher.background.interfaces import SLOWEST
from cipher.background.store.lane import momentOf


_ORDER = itemgetter(0)
_FLOAT = struct.Struct('>f')
_BITS = struct.Struct('>I')


class Wanted(NamedTuple):
    """The filters of a list that need not load the runs."""

    states: frozenset = frozenset()
    types: frozenset = frozenset()   # names
    since: int = None                # microseconds, included
    until: int = None                # microseconds, excluded
    order: str = NEWEST

    @property
    def is_finished(self):
        """Whether the list is ordered by the finish."""
        return self.order == SLOWEST or bool(
            self.states and self.states <= set(FINISHED_STATES))

    def hasMoment(self, moment):
        """Return whether *moment* (microseconds) is within the bounds."""
        return ((self.since is None or moment >= self.since)
                and (self.until is None or moment < self.until))


class Candidate(NamedTuple):
    """A run that may be on a page."""

    order: tuple    # numbers; they sort the list
    run: Any        # a WorkerRun, or None if it is gone
    is_new: bool    # True if it was not in the cache of the connection


def _bounds(after, moment):
    """Return the moments of *after* and *moment* that are not None."""
    return [number for number in (after and after[0], moment)
            if number is not None]


# By creation

def byCreation(lanes, wanted, after):
    """Yield the candidates in the order of their creation."""
    is_oldest = wanted.order == OLDEST
    walk = _lane_oldest if is_oldest else _lane_newest
    return heapq.merge(*[walk(lane, wanted, after)
                         for lane in lanes.values()],
                       key=_ORDER, reverse=not is_oldest)


def _lane_newest(lane, wanted, after):
    bounds = _bounds(after, wanted.until)
    below = lane.births.serialAfter(min(bounds)) if bounds else None
    runs = (_newest_waiting(lane, below, wanted.types)
            if _waits(wanted) else lane.births.walk(below, wanted.types))
    for run in runs:
        candidate = _candidate(run)
        if wanted.since is not None and candidate.order[0] < wanted.since:
            return
        if wanted.hasMoment(candidate.order[0]) and (
                after is None or candidate.order < after):
            yield candidate


def _newest_waiting(lane, below, types):
    """Yield at least the unfinished runs, newest first.

    An unfinished run is at or above the low mark, a straggler, or in the
    waiting tree.
    """
    position = lane.bookmark.low
    for run in lane.births.walk(below, types):
        if run.serial < position:
            break
        yield run
    if below is not None:
        position = min(position, below)
    stragglers = [serial for serial in reversed(lane.bookmark.stragglers)
                  if serial < position]
    yield from _runs(lane, heapq.merge(
        stragglers, lane.waiting.walk(position), reverse=True))


def _lane_oldest(lane, wanted, after):
    bounds = _bounds(after, wanted.since)
    begin = lane.births.serialFrom(max(bounds)) if bounds else 1
    runs = (_oldest_waiting(lane, begin, wanted.types)
            if _waits(wanted) else lane.births.walkUp(begin, wanted.types))
    for run in runs:
        candidate = _candidate(run)
        if wanted.until is not None and candidate.order[0] >= wanted.until:
            return
        if wanted.hasMoment(candidate.order[0]) and (
                after is None or candidate.order > after):
            yield candidate


def _oldest_waiting(lane, begin, types):
    position = lane.bookmark.low
    stragglers = [serial for serial in lane.bookmark.stragglers
                  if begin <= serial < position]
    yield from _runs(lane, heapq.merge(
        stragglers, lane.waiting.places.keys(
            begin, position, excludemax=True)))
    yield from lane.births.walkUp(max(begin, position), types)


def _runs(lane, serials):
    for serial, _ in itertools.groupby(serials):
        run = lane.births.get(serial)
        if run is not None:
            yield run


def _waits(wanted):
    return bool(wanted.states) and not wanted.states & set(FINISHED_STATES)


def _candidate(run):
    is_new = run._p_changed is None
    return Candidate((momentOf(run), run.lane, run.serial), run, is_new)


def ofRunning(running, wanted, after):
    """Yield the candidates among the runs in *running*, of which few exist."""
    is_oldest = wanted.order == OLDEST
    candidates = sorted(map(_candidate, running), key=_ORDER,
                        reverse=not is_oldest)
    for candidate in candidates:
        is_after = after is None or (
            candidate.order > after if is_oldest else candidate.order < after)
        if is_after and wanted.hasMoment(candidate.order[0]):
            yield candidate


# By finish

def byFinish(lanes, wanted, after):
    """Yield the candidates in the order of their finish."""
    return _of_entries(lanes, _finished(lanes, wanted, after))


def _finished(lanes, wanted, after):
    """Yield (order, entry) of the wanted finishes in order."""
    is_oldest = wanted.order == OLDEST
    walk = _finished_up if is_oldest else _finished_down
    entries = heapq.merge(
        *[walk(lane.finishes, wanted, after) for lane in lanes.values()],
        key=itemgetter(0, 1, 2), reverse=not is_oldest)
    for entry in entries:
        order = entry[:3]
        if after is None or (order > after if is_oldest else order < after):
            yield order, entry


def _finished_down(finishes, wanted, after):
    bounds = _bounds(after, wanted.until)
    below = min(bounds) + 1 if bounds else None
    for entry in finishes.walk(below, wanted.types, wanted.states):
        if wanted.since is not None and entry.key < wanted.since:
            return
        if wanted.hasMoment(entry.key):
            yield entry


def _finished_up(finishes, wanted, after):
    begin = max(_bounds(after, wanted.since), default=None)
    for entry in finishes.walkUp(begin, wanted.types, wanted.states):
        if wanted.until is not None and entry.key >= wanted.until:
            return
        yield entry


def slowest(lanes, wanted, limit, deadline):
    """Return (entries, number looked at, whether there are more).

    The slowest entries come first.  They are those of the *limit* last
    finishes, or of those that were read before the *deadline* (monotonic).
    """
    states = wanted.states & set(FINISHED_STATES)
    if wanted.states and not states:
        return [], 0, False
    slow, looked_at, is_cut = [], 0, False
    for _, entry in _finished(
            lanes, wanted._replace(states=states, order=NEWEST), None):
        is_cut = looked_at >= limit or (
            looked_at % 64 == 63 and time.monotonic() >= deadline)
        if is_cut:
            break
        looked_at += 1
        if entry.took is not None:
            slow.append(entry)
    slow.sort(key=itemgetter(5, 0, 1, 2), reverse=True)   # took, key, …
    return slow, looked_at, is_cut


def byDuration(lanes, slow, after):
    """Yield the candidates of the entries of `slowest` behind *after*."""
    return _of_entries(lanes, _ordered(slow, after))


def _ordered(slow, after):
    for entry in slow:
        # The seconds are stored as a 32-bit float.  The bits of a positive
        # float grow with its value.
        bits = _BITS.unpack(_FLOAT.pack(entry.took))[0]
        order = (bits, *entry[:3])
        if after is None or order < after:
            yield order, entry


def _of_entries(lanes, entries):
    """Yield the candidate of each (order, entry)."""
    entries = iter(entries)
    while True:
        candidates = [_candidate_of(lanes, order, entry)
                      for order, entry in itertools.islice(entries, 16)]
        _prefetch([candidate.run for candidate in candidates
                   if candidate.is_new])
        yield from candidates
        if len(candidates) < 16:
            return


def _candidate_of(lanes, order, entry):
    lane = lanes.get(entry.lane)
    run = lane and lane.births.get(entry.serial)
    return Candidate(order, run, run is not None and run._p_changed is None)


def _prefetch(runs):
    """Ask a storage behind a network for all *runs* at once."""
    if runs and runs[0]._p_jar is not None:
        runs[0]._p_jar.prefetch(runs)
