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
"""How long the runs of a worker type took and waited, over time.

The entries of finished runs are read, newest first, and no run is loaded.  So
pruned runs do not count.
"""
import heapq
import math
import time
from collections import Counter
from operator import attrgetter

from cipher.background.queries.status import TypeHistory
from cipher.background.queries.status import TypePeriod
from cipher.background.store.histogram import BOUNDS
from cipher.background.store.histogram import Histogram
from cipher.background.store.stats import HOUR
from cipher.background.util import clock


DAY = 24 * HOUR

#: Numbers of periods of a history.
HOURS = 24
DAYS = 14

#: Finishes that one history reads, newest first; older ones do not count.  And
#: seconds that it may take: a person waits for the page.
LOOKS = 50000
TIME_LIMIT = 0.5

_MICROSECONDS = 1000000


def getHistory(registry, name):
    """Return the `TypeHistory` of the worker type *name*."""
    now = clock.now()
    end = (int(now) // HOUR + 1) * HOUR
    entries, is_cut = _read(registry, name, end - DAYS * DAY)
    hours = _group(entries, now, end, HOUR, HOURS)
    days = _group(entries, now, end, DAY, DAYS)
    numbers = Histogram().plus(_times(entries, 'took')).numbers
    return TypeHistory(
        hours=hours, days=days,
        day=days[-1], fortnight=_describe(
            end - DAYS * DAY, DAYS * DAY, entries),
        buckets=list(zip((*BOUNDS, None), numbers)), is_cut=is_cut)


def _read(registry, name, begin):
    """Return (entries since *begin*, whether older ones were left out)."""
    below = begin * _MICROSECONDS
    deadline = time.monotonic() + TIME_LIMIT
    entries = []
    walks = [lane.finishes.walk(types=(name,))
             for lane in registry.lanes.values()]
    for entry in heapq.merge(*walks, key=attrgetter('key'), reverse=True):
        if entry.key < below:
            break
        if len(entries) >= LOOKS or (
                len(entries) % 256 == 255 and time.monotonic() >= deadline):
            return entries, True
        entries.append(entry)
    return entries, False


def _group(entries, now, end, length, number):
    """Return *number* periods of *length* seconds; the last ends at *end*."""
    groups = [[] for _ in range(number)]
    begin = end - number * length
    for entry in entries:
        # A clock that was set back leaves finishes in the future.
        at = min(entry.key / _MICROSECONDS, now)
        if at >= begin:
            groups[int((at - begin) // length)].append(entry)
    return [_describe(begin + index * length, length, group)
            for index, group in enumerate(groups)]


def _describe(begin, length, entries):
    took, waited = _times(entries, 'took'), _times(entries, 'waited')
    return TypePeriod(
        begins_at=float(begin), ends_at=float(begin + length),
        counts=dict(Counter(entry.state for entry in entries)),
        took_half=within(took, 0.5), took_most=within(took, 0.95),
        waited_half=within(waited, 0.5), waited_most=within(waited, 0.95))


def _times(entries, name):
    """Return the known times of *entries* in ascending order."""
    times = map(attrgetter(name), entries)
    return sorted(one for one in times if one is not None)


def within(values, share):
    """Return the least of the sorted *values* that *share* do not exceed.

    None if there are no values.
    """
    if not values:
        return None
    return values[max(0, math.ceil(share * len(values)) - 1)]
