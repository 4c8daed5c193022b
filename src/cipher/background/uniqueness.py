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
import hashlib

from cipher.background import clock
from cipher.background.interfaces import AS_STARTER
from cipher.background.interfaces import BY_CONTEXT
from cipher.background.interfaces import BY_INPUT
from cipher.background.interfaces import BY_TYPE
from cipher.background.interfaces import PENDING
from cipher.background.kept import isKept
from cipher.background.plaindata import canonical
from cipher.background.principal import SYSTEM
from cipher.background.reference import oidOf


#: Begin of the keys of forms; those of other claims begin with an oid, or are
#: as long as a digest.
ONCE = b'once'
#: In the place of the oid where there is no context: b'' stands for the type.
NOWHERE = b'none'
#: Before the digest of whose rights the work has.
BY = b'by'
KEPT_FOR = 86400.0   # seconds
STALE_FOR = 30.0     # seconds

#: Of the table of claims so many buckets are looked at, and loaded, at once.
BUCKETS = 32


def claimKey(unique, type_name, reference, input, rights=None):
    """Return the key of the claim of such a run; None: it makes none.

    *rights* is what `rightsOf` gave: a run stands for no start whose work
    would have other rights.
    """
    oid = oidOf(reference) or b''
    if unique == BY_TYPE:
        key = b''
    elif unique == BY_CONTEXT:
        key = oid or NOWHERE
    elif unique == BY_INPUT:
        key = oid + _digest(input or {})
    else:
        return None
    # No two kinds of keys have the same length.
    return type_name, key if rights is None else key + BY + _digest(rights)


def rightsOf(worker_type, starter, asker=None):
    """Return (starter, asker) where the work has their rights, else None.

    None, too, where the system or nobody started it.
    """
    if worker_type.run_as != AS_STARTER:
        return None
    if starter in SYSTEM and asker is None:
        return None
    return starter, asker


def _digest(value):
    text = canonical(value).encode('utf-8', 'surrogatepass')
    return hashlib.sha256(text).digest()


def onceKey(type_name, principal, reference, input):
    """Return the key of what a principal starts by a form."""
    oid = oidOf(reference) or b''
    return type_name, ONCE + _digest((principal, oid, input))


def findStarted(registry, key, since):
    """Return the run of *key*, an `onceKey`, that began not before *since*.

    None where there is none.
    """
    place = registry.claims.get(key)
    run = place and registry.getRun(*place)
    return run if run is not None and run.created_at >= since else None


def findPending(registry, key, is_live):
    """Return the run that stands for another start of *key*, or None.

    *is_live* is a function of a run: one that has begun already does not see
    what its starter just changed, so it stands for nothing.
    """
    place = registry.claims.get(key)
    run = place and registry.getRun(*place)
    if run is None or run.touches is None or (
            run.state != PENDING or is_live(run) or isKept(registry, run)):
        return None
    if run.cursor is not None:
        return None   # what is behind it will not be done again
    # Should it begin meanwhile, unseen: this makes its commit conflict, and
    # the work is done again with what the starter changed.
    run.touch()
    return run


def staleClaims(registry, limit, begin, seen):
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
            registry.claims.walk(begin, begin + BUCKETS)):
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
    return stale, end if end < registry.claims.size() else None
