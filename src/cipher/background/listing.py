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
"""Lists over many lanes: merged newest first, without a scan."""
import heapq
from operator import itemgetter

from cipher.background.interfaces import FINISHED_STATES
from cipher.background.lane import momentOf


#: What one list looks at, at the most: entries of finished runs, or runs that
#: have to be loaded.  A filter that hardly ever matches shows a short page.
SCAN_LIMIT = 100000
LOAD_LIMIT = 5000

_BY_CREATION = 'c'
_BY_FINISH = 'f'


def listRuns(lanes, states, matches, limit, before):
    """Return ([run, ...], key of the next page or None), newest first.

    *lanes* are all lanes of a registry (number -> Lane), *states* a set of
    state words or empty, *matches* a function of a run, *before* a key or
    None.  Finished states alone are listed by the time of the finish, all
    else by that of the creation.
    """
    if states and states <= set(FINISHED_STATES):
        kind, scan_limit = _BY_FINISH, SCAN_LIMIT
        candidates = _finished(lanes, states, _parse(before, kind))
    else:
        kind, scan_limit = _BY_CREATION, LOAD_LIMIT
        waiting_only = bool(states) and not states & set(FINISHED_STATES)
        candidates = _created(lanes, waiting_only, _parse(before, kind))
    found = []
    last = None
    for looked_at, (order, run) in enumerate(candidates):
        if len(found) == limit or looked_at == scan_limit:
            return found, kind + '%d-%d-%d' % last
        if run is not None and matches(run):
            found.append(run)
        last = order
    return found, None


def _created(lanes, waiting_only, before):
    """Yield ((created_at in us, lane, serial), run), newest first."""
    return heapq.merge(
        *[_lane_created(lane, waiting_only, before)
          for lane in lanes.values()], key=itemgetter(0), reverse=True)


def _lane_created(lane, waiting_only, before):
    below = None
    if before is not None:
        below = lane.births.serialAfter(before[0])
    runs = _lane_waiting(lane, below) if waiting_only else (
        lane.births.walk(below))
    for run in runs:
        order = (momentOf(run), run.lane, run.serial)
        if before is None or order < before:
            yield order, run


def _lane_waiting(lane, below):
    """Yield at least what is not finished, newest first.

    That is at or above the cursor, or it waits for its time.
    """
    position = lane.cursor.position
    for run in lane.births.walk(below):
        if run.serial < position:
            break
        yield run
    if below is not None:
        position = min(position, below)
    for serial in lane.due.walk(position):
        run = lane.births.get(serial)
        if run is not None:
            yield run


def _finished(lanes, states, before):
    """Yield ((key, lane, serial), run or None), newest first."""
    entries = heapq.merge(
        *[lane.finishes.walk(None if before is None else before[0] + 1)
          for lane in lanes.values()],
        key=itemgetter(0, 1, 2), reverse=True)
    for entry in entries:
        order = entry[:3]
        if before is not None and order >= before:
            continue
        run = None
        if entry.state in states:
            lane = lanes.get(entry.lane)
            run = lane and lane.births.get(entry.serial)
        yield order, run


def _parse(key, kind):
    if key is None:
        return None
    is_ours = isinstance(key, str) and key[:1] == kind
    parts = key[1:].split('-') if is_ours else ()
    if len(parts) != 3 or not all(
            part.isascii() and part.isdigit() and len(part) < 19
            for part in parts):
        raise ValueError(
            'before: expected the key that the page before gave, got %.50r; '
            'begin at the newest' % (key,))
    return tuple(int(part) for part in parts)
