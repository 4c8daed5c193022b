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
from cipher.background.interfaces import WAITED
from cipher.background.store.finishes import Finishes
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
        return self.order in (SLOWEST, WAITED) or bool(
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
    number: int = 1   # of runs that are looked at; none is on the page if > 1


def _bounds(after, moment):
    """Return the moments of *after* and *moment* that are not None."""
    return [number for number in (after and after[0], moment)
            if number is not None]


# By creation

def byCreation(lanes, wanted, after, search=None):
    """Yield the candidates in the order of their creation.

    *search* is the `Filter` if it has to load all runs, or None.
    """
    is_oldest = wanted.order == OLDEST
    walk = _lane_oldest if is_oldest else _lane_newest
    return heapq.merge(*[walk(lane, wanted, after, search)
                         for lane in lanes.values()],
                       key=_ORDER, reverse=not is_oldest)


def _lane_newest(lane, wanted, after, search):
    bounds = _bounds(after, wanted.until)
    below = lane.births.serialAfter(min(bounds)) if bounds else None
    if _waits(wanted):
        candidates = map(_candidate,
                         _newest_waiting(lane, below, wanted.types))
    elif search is not None:
        candidates = _searched(
            lane, lane.births.walkChunks(
                below, wanted.types, search.digests.get),
            lambda first, chunk: lane.births.newestOf(first, chunk, below),
            wanted, after, search)
    else:
        candidates = map(_candidate, lane.births.walk(below, wanted.types))
    for candidate in candidates:
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


def _searched(lane, parts, runs_of, wanted, after, search):
    """Yield the candidates of *parts*, (first serial, chunk) in order.

    Those of a chunk without a run of the list are one candidate, in the place
    of the last of them.  *runs_of* is a function of a part.
    """
    for first, chunk in parts:
        digest = search.digests.get(chunk)
        candidates = None
        if digest is None:
            candidates = [_candidate(run) for run in runs_of(first, chunk)]
            search.digests.add(chunk, [
                run for run in chunk.entries if run is not None], momentOf)
            digest = search.digests.get(chunk)
        if digest is not None and search.excludes(digest) and (
                _has_all(digest, wanted, after)):
            for candidate in candidates or ():
                if candidate.is_new:
                    candidate.run._p_deactivate()
            # Runs of other types may be hidden: they name no key.
            moments = [moment for moment, name
                       in zip(digest.moments, digest.types)
                       if not wanted.types or name in wanted.types]
            if moments:
                passed = max if wanted.order == OLDEST else min
                yield Candidate((passed(moments), lane.number, first), None,
                                False, len(moments))
        else:
            yield from candidates or map(_candidate, runs_of(first, chunk))


def _has_all(digest, wanted, after):
    """Return whether all runs of a chunk are candidates."""
    first, last = min(digest.moments), max(digest.moments)
    if not (wanted.hasMoment(first) and wanted.hasMoment(last)):
        return False
    if after is None:
        return True
    return first > after[0] if wanted.order == OLDEST else last < after[0]


def _lane_oldest(lane, wanted, after, search):
    bounds = _bounds(after, wanted.since)
    begin = lane.births.serialFrom(max(bounds)) if bounds else 1
    if _waits(wanted):
        candidates = map(_candidate,
                         _oldest_waiting(lane, begin, wanted.types))
    elif search is not None:
        candidates = _searched(
            lane, lane.births.walkChunksUp(
                begin, wanted.types, search.digests.get),
            lambda first, chunk: lane.births.oldestOf(first, chunk, begin),
            wanted, after, search)
    else:
        candidates = map(_candidate, lane.births.walkUp(begin, wanted.types))
    for candidate in candidates:
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
    return _of_orders(lanes, _finished(lanes, wanted, after))


def _finished(lanes, wanted, after):
    """Yield (key, lane, serial) of the wanted finishes in order."""
    is_oldest = wanted.order == OLDEST
    walk = _finished_up if is_oldest else _finished_down
    entries = heapq.merge(
        *[walk(lane.finishes, wanted, after) for lane in lanes.values()],
        key=itemgetter(0, 1, 2), reverse=not is_oldest)
    for entry in entries:
        order = entry[:3]
        if after is None or (order > after if is_oldest else order < after):
            yield order


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


def slowest(lanes, wanted, limit, deadline, digests):
    """Return (durations, number looked at, whether there are more).

    A duration is (seconds, key, lane, serial); they are in no order.  Its
    seconds are a number that grows with the wait if the order is `WAITED`.
    Chunks with about *limit* finishes are read, the last ones, or as many as
    can be read before the *deadline* (monotonic).  Each has a wanted finish;
    the others in it count as well.  *digests* is a `digests.Digests`.
    """
    states = wanted.states & set(FINISHED_STATES)
    if wanted.states and not states:
        return [], 0, False
    slow, looked_at, passed = [], 0, 0
    read = (Finishes.unpackWaits if wanted.order == WAITED
            else Finishes.unpackDurations)
    walks = [_packed(lane.finishes, wanted, states, digests)
             for lane in lanes.values()]
    for number, (_, finishes, packed, kinds) in enumerate(
            heapq.merge(*walks, key=_ORDER, reverse=True)):
        if number % 4 == 3 and time.monotonic() >= deadline:
            return slow, looked_at, True
        found = [duration for duration
                 in read(finishes, packed, kinds)
                 if wanted.hasMoment(duration[1])]
        # A chunk without any is from memory, which takes no time.
        number_read = finishes.countPacked(packed) if found else 0
        is_cut = passed + number_read > limit
        if is_cut:
            found = found[max(0, len(found) - (limit - passed)):]
        passed += number_read
        looked_at += len(found)
        slow += [duration for duration in found if duration[0] >= 0]
        if is_cut:
            return slow, looked_at, True
    return slow, looked_at, False


def _packed(finishes, wanted, states, digests):
    kinds = finishes.kinds(wanted.types, states)
    for key, packed in finishes.walkPacked(
            wanted.until, wanted.types, states, digests):
        yield key, finishes, packed, kinds
        if wanted.since is not None and key < wanted.since:
            return


#: Slow runs that are sorted first; more of them are seldom needed.
_FIRST = 256


def byDuration(lanes, slow, after):
    """Yield the candidates of the durations of `slowest` behind *after*."""
    return _of_orders(lanes, _ordered(slow, after))


def _ordered(slow, after):
    if after is not None:
        bound = (_FLOAT.unpack(_BITS.pack(after[0]))[0], *after[1:])
        slow = [duration for duration in slow if duration < bound]
    for took, *order in itertools.chain(
            heapq.nlargest(_FIRST, slow),
            _sorted_later(slow)):
        # The seconds are stored as a 32-bit float.  The bits of a positive
        # float grow with its value.
        yield (_BITS.unpack(_FLOAT.pack(took))[0], *order)


def _sorted_later(slow):
    yield from sorted(slow, reverse=True)[_FIRST:]


def _of_orders(lanes, orders):
    """Yield the candidate of each order, which ends with lane and serial."""
    orders = iter(orders)
    while True:
        candidates = [_candidate_of(lanes, order)
                      for order in itertools.islice(orders, 16)]
        _prefetch([candidate.run for candidate in candidates
                   if candidate.is_new])
        yield from candidates
        if len(candidates) < 16:
            return


def _candidate_of(lanes, order):
    lane = lanes.get(order[-2])
    run = lane and lane.births.get(order[-1])
    return Candidate(order, run, run is not None and run._p_changed is None)


def _prefetch(runs):
    """Ask a storage behind a network for all *runs* at once."""
    if runs and runs[0]._p_jar is not None:
        runs[0]._p_jar.prefetch(runs)
