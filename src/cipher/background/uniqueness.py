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

A claim is an entry in a tree of the registry, key -> (lane, serial).  Only
starts write it, and the pruner removes it.  It is believed only while its
run is pending, so it never outlives the run, whatever crashes.  The claims of
forms are kept for a day.
"""
import hashlib
import itertools

from cipher.background import clock
from cipher.background.interfaces import AS_STARTER
from cipher.background.interfaces import BY_CONTEXT
from cipher.background.interfaces import BY_INPUT
from cipher.background.interfaces import BY_TYPE
from cipher.background.interfaces import PENDING
from cipher.background.plaindata import canonical
from cipher.background.principal import SYSTEM


#: Begin of the keys of forms; those of other claims begin with an oid, or are
#: as long as a digest.
ONCE = b'once'
#: In the place of the oid where there is no context: b'' stands for the type.
NOWHERE = b'none'
#: Before the digest of whose rights the work has.
BY = b'by'
KEPT_FOR = 86400.0   # seconds


def claimKey(unique, type_name, reference, input, rights=None):
    """Return the key of the claim of such a run; None: it makes none.

    *rights* is what `rightsOf` gave: a run stands for no start whose work
    would have other rights.
    """
    oid = b'' if reference is None else reference[0].oid
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
    oid = b'' if reference is None else reference[0].oid
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
    if run is None or run.state != PENDING or is_live(run):
        return None
    if run.cursor is not None:
        return None   # what is behind it will not be done again
    # Should it begin meanwhile, unseen: this makes its commit conflict, and
    # the work is done again with what the starter changed.
    run.touched += 1
    return run


def staleClaims(registry, limit, after=None):
    """Look at *limit* claims behind the key *after*, None for the first.

    Return the keys of those whose run is not pending any more, and the key to
    go on behind, None at the end.
    """
    claims = list(itertools.islice(registry.claims.items(
        min=after, excludemin=after is not None), limit))
    stale = []
    for key, place in claims:
        run = registry.getRun(*place)
        if run is None or run.state != PENDING and not (
                key[1].startswith(ONCE)
                and run.created_at > clock.now() - KEPT_FOR):
            stale.append(key)
    return stale, claims[-1][0] if len(claims) == limit else None
