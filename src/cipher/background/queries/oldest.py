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
"""The age of the runs that wait."""
from cipher.background.interfaces import PENDING
from cipher.background.queries import visibility
from cipher.background.queries.problems import unparked
from cipher.background.store.bookmark import FOR_TIME
from cipher.background.store.bookmark import urgencyOf
from cipher.background.util import clock
from cipher.background.util.plaindata import readNumber


#: Runs that one call loads in each lane, at most.
LOOKS = 50


def oldestWait(registry, snapshot):
    """Return the seconds that the oldest pending run has waited.

    A run waits from the time when it is due.  Return 0.0 if none waits.  The
    result may be too small if more than `LOOKS` runs in a row do not count:
    those of types that the reader may not see, and those in work.
    """
    now = clock.now()
    hidden = visibility.hiddenTypes(registry)
    found = [0.0]
    for lane in registry.lanes.values():
        for serials in _queues(lane, now):
            for _, serial in zip(range(LOOKS), serials):
                run = lane.births.get(serial)
                if (run is None or run.is_removed or run.type in hidden
                        or snapshot.state(run) != PENDING):
                    continue
                created_at = readNumber(run.created_at, now)
                due_at = readNumber(run.due_at, created_at)
                found.append(now - max(created_at, due_at))
                if due_at <= created_at:
                    break   # the next ones were born later
    return max(found)


def _queues(lane, now):
    """Yield iterables of serials of runs that wait, each oldest first."""
    yield unparked(lane)
    yield lane.waiting.upTo(now)
    for key, tree in lane.waiting.trees.items():
        if key == FOR_TIME:
            continue
        # The runs of each priority follow each other by age.
        order = tree.minKey() if tree else None
        while order is not None:
            following = (urgencyOf(order) + 1) << 43
            yield tree.values(order, following, excludemax=True)
            later = tree.keys(following)
            order = later[0] if later else None
