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
"""Pages of a list of runs over many lanes, without a scan of the registry."""
import time
from typing import NamedTuple

from cipher.background.interfaces import NEWEST
from cipher.background.interfaces import OLDEST
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import SLOWEST
from cipher.background.interfaces import WAITED
from cipher.background.queries import merging
from cipher.background.queries.digests import Digests
from cipher.background.util.text import safeRepr


#: Runs, or entries of finished runs, that one list reads at most.
SCAN_LIMIT = 100000

#: Seconds that one list may take, approximately: a person waits for the page.
TIME_LIMIT = 2.0

# The first letter of a key stands for the order of its list.
_KINDS = {(False, NEWEST): 'c', (False, OLDEST): 'C',
          (True, NEWEST): 'f', (True, OLDEST): 'F', (True, SLOWEST): 's',
          (True, WAITED): 'w'}


class Found(NamedTuple):
    """One page; the fields are those of `IRunPage`."""

    runs: list
    older: str
    looked_at: int
    is_cut: bool


def listRuns(lanes, wanted, matches, limit, before, running=(), search=None):
    """Return the `Found` of one page.

    *lanes* is {number: Lane} of all lanes of a registry.  *wanted* is a
    `merging.Wanted`, *matches* a function of a run, *limit* the number of runs
    on a page, *before* a key or None.  *running* are the runs that are
    running.  *search* is the `Filter` whose digests make the list faster.
    """
    kind = _KINDS[wanted.is_finished, wanted.order]
    after = _parse(before, kind)
    looked_at, is_cut = 0, False
    deadline = time.monotonic() + TIME_LIMIT
    if kind in 'sw':
        slow, looked_at, is_cut = merging.slowest(
            lanes, wanted, SCAN_LIMIT, deadline - TIME_LIMIT / 2,
            Digests() if search is None else search.digests)
        sought = merging.byDuration(lanes, slow, after)
    elif wanted.is_finished:
        sought = merging.byFinish(lanes, wanted, after)
    elif wanted.states == {RUNNING}:
        sought = merging.ofRunning(running, wanted, after)
    else:
        sought = merging.byCreation(
            lanes, wanted, after,
            search if search is not None and search.is_search else None)
    page = _collect(
        sought, wanted.types, matches, max(1, limit), kind, deadline)
    return page._replace(looked_at=looked_at + page.looked_at,
                         is_cut=is_cut or page.is_cut)


def _collect(sought, types, matches, limit, kind, deadline):
    """Return the `Found` of the first *limit* candidates that match.

    Runs of other types than *types* may be hidden from the reader.  So they
    are neither counted nor named by a key.
    """
    found = []
    looked_at = 0
    last = passed = ()
    for candidate in sought:
        run = candidate.run
        is_other = run is not None and bool(types) and run.type not in types
        is_full = len(found) == limit
        is_over = looked_at and looked_at + candidate.number > SCAN_LIMIT
        if not is_other and (is_full or is_over) or (
                passed and time.monotonic() >= deadline):
            # A candidate of another type names the key only if there is no
            # other way to go on.
            key = kind + '-'.join('%d' % number for number in last or passed)
            return Found(found, key, looked_at, not is_full)
        passed = candidate.order
        if not is_other:
            looked_at += candidate.number
            last = passed
        if run is not None:
            if not run.is_removed and matches(run):
                found.append(run)
            elif candidate.is_new:
                run._p_deactivate()
    return Found(found, None, looked_at, False)


def _parse(key, kind):
    """Return the numbers of *key*, or None; raise ``ValueError``."""
    if key is None:
        return None
    is_ours = isinstance(key, str) and key[:1] == kind
    parts = key[1:].split('-') if is_ours else ()
    if len(parts) != (4 if kind in 'sw' else 3) or not all(
            part.isascii() and part.isdigit() and len(part) < 19
            for part in parts):
        raise ValueError(
            'before: expected the key that the page before gave, got %s; '
            'begin at the first page' % safeRepr(key, 50))
    return tuple(int(part) for part in parts)
