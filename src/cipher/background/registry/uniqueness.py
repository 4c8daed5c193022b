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
"""Unique starts: the pending run that a second start returns.

The registry has a table of unique keys: key -> (lane, serial).  Only the first
start of a key writes its entry.  Of two first starts at a time one conflicts,
and then finds the run of the other.

A start that finds a pending run is merged into it.  It adds to a counter
beside the run, which resolves conflicts, and depends on the run.  The work
writes the run and depends on the counter.  So of a merged start and the end of
the work at the same time one conflicts; merged starts never conflict with each
other.

An entry counts only while its run is pending, so it cannot outlive the run,
even after a crash.  The pruner removes it later.  Entries of forms are kept
for a day.
"""
from cipher.background.declarations.workertype import allNames
from cipher.background.interfaces import PENDING
from cipher.background.store.kept import isKept
from cipher.background.store.uniquekeys import ONCE
from cipher.background.util import clock


#: Seconds that the entry of a form is kept: a second click may come late.
KEPT_FOR = 86400.0

#: Seconds that an entry must be stale before it is removed.  A start with the
#: same key at the moment of the removal, which would conflict, is then
#: unlikely.
STALE_FOR = 30.0

#: Buckets of the table that one call reads.  It bounds the loads of one step.
BUCKETS = 32


def findStarted(registry, key, since):
    """Return the run of *key*, an `onceKey`, if created at *since* or later.

    Else return None.
    """
    place = registry.unique_keys.get(key)
    run = place and registry.getRun(*place)
    return run if run is not None and run.created_at >= since else None


def findPending(registry, key, is_live):
    """Return the pending run that another start of *key* returns, or None.

    Runs that were started under a former name of the type count as well.
    *is_live* is a function of a run.  A run that has begun does not count: it
    does not see the changes of the present transaction.
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
        return None   # the work before its cursor will not be done again
    # If the run begins meanwhile, this makes its commit conflict.  Then the
    # work is done again and sees the changes of this transaction.
    run.mergeStart()
    return run


def staleKeys(registry, limit, begin, seen):
    """Return (stale keys, number of the next bucket or None at the end).

    About *limit* entries are read, in the buckets from number *begin* on.  An
    entry is stale if its run has not been pending for `STALE_FOR` seconds.
    *seen* is {key: (place, time)} of entries found like that before; the
    caller keeps it from call to call.
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
