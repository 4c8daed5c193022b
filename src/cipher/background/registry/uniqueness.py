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
"""Which pending run stands for a second start: types that are unique.

A claim is an entry in a table of the registry, key -> (lane, serial).  Only
the first start of a key writes it: two at a time conflict, and the second one
then finds the run of the first.  Starts of different keys never conflict, nor
do starts that get a run which waits already: they count in an object beside
it that resolves conflicts, and depend on the run.  The work writes the run and
depends on the counter.  So of such a start and the end of the work at the
same time one conflicts.

A claim is believed only while its run is pending, so it never outlives the
run, whatever crashes.  The pruner removes it later.  The claims of forms are
kept for a day.
"""
from cipher.background.declarations.workertype import allNames
from cipher.background.interfaces import PENDING
from cipher.background.store.kept import isKept
from cipher.background.store.uniquekeys import ONCE
from cipher.background.util import clock


KEPT_FOR = 86400.0   # seconds
STALE_FOR = 30.0     # seconds

#: Of the table of claims so many buckets are looked at, and loaded, at once.
BUCKETS = 32


def findStarted(registry, key, since):
    """Return the run of *key*, an `onceKey`, that began not before *since*.

    None where there is none.
    """
    place = registry.unique_keys.get(key)
    run = place and registry.getRun(*place)
    return run if run is not None and run.created_at >= since else None


def findPending(registry, key, is_live):
    """Return the run that stands for another start of *key*, or None.

    One that was started under a former name of the type does so, too.
    *is_live* is a function of a run: one that has begun already does not see
    what its starter just changed, so it stands for nothing.
    """
    for name in allNames(key[0]):
        run = _find_pending(registry, (name, *key[1:]), is_live)
        if run is not None:
            return run
    return None


def _find_pending(registry, key, is_live):
    place = registry.unique_keys.get(key)
    run = place and registry.getRun(*place)
    if run is None or run.merged_starts is None or (
            run.state != PENDING or is_live(run) or isKept(registry, run)):
        return None
    if run.cursor is not None:
        return None   # what is behind it will not be done again
    # Should it begin meanwhile, unseen: this makes its commit conflict, and
    # the work is done again with what the starter changed.
    run.mergeStart()
    return run


def staleKeys(registry, limit, begin, seen):
    """Look at some *limit* claims, in the buckets from number *begin* on.

    Return the keys of those whose run is not pending any more, and the number
    of the bucket to go on with, None at the end.  A key is returned when it
    was *seen* like that (key -> (place, time), kept by the caller) for
    `STALE_FOR`: a start of the same key at this very moment is unlikely then.
    """
    stale = []
    now = clock.now()
    last = begin
    for looks, (number, key, place) in enumerate(
            registry.unique_keys.walk(begin, begin + BUCKETS)):
        if looks >= limit and number != last:
            return stale, number
        last = number
        run = registry.getRun(*place)
        if run is not None and (run.state == PENDING or (
                key[1].startswith(ONCE)
                and run.created_at > now - KEPT_FOR)):
            seen.pop(key, None)
            continue
        seen_place, since = seen.get(key, (None, now))
        if seen_place != place:
            seen[key] = place, now
        elif now - since >= STALE_FOR:
            stale.append(key)
            del seen[key]
    end = begin + BUCKETS
    return stale, end if end < registry.unique_keys.size() else None
