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
"""The runs that belong to a run: what caused it, what it caused, its retries.
"""
from dataclasses import dataclass
from dataclasses import field

from zope.interface import implementer

from cipher.background.interfaces import IFamily
from cipher.background.interfaces import IRunStatus
from cipher.background.queries import visibility
from cipher.background.store.cause import Cause
from cipher.background.store.cause import readCause
from cipher.background.store.cause import readChildren


#: Runs.  A chain of retries is followed so far in each direction.
CHAIN_LIMIT = 20


@implementer(IFamily)
@dataclass
class Family:
    cause: Cause = None
    parent: IRunStatus = None
    children: list = field(default_factory=list)
    started: int = 0
    retries: list = field(default_factory=list)


def findFamily(registry, run, describe):
    """Return the `Family` of *run*, of what the reader may see.

    *describe* returns the statuses of a list of runs.
    """
    def find(place):
        other = place and registry.getRun(*place)
        return other if other and visibility.maySee(
            registry, other.type) else None

    kind, name, place = readCause(run)
    parent = find(place)
    started, places = readChildren(run)
    found = list(filter(None, map(find, places)))
    retries = [*_follow(run, _former, find)][::-1] + [
        run, *_follow(run, _later, find)]
    family = Family(started=started, children=describe(found),
                    retries=describe(retries) if retries[1:] else [])
    if parent is not None:
        family.parent, = describe([parent])
    if kind or place:
        family.cause = Cause(kind, name, parent and parent.id)
    return family


def _follow(run, step, find):
    """Yield the runs that *step* leads to from *run*, one after another."""
    seen = {run.id}
    for _ in range(CHAIN_LIMIT):
        run = find(step(run))
        if run is None or run.id in seen:
            return
        seen.add(run.id)
        yield run


def _former(run):
    return _place(run.retry_of)


def _later(run):
    return _place(run.retried)


def _place(stored):
    if type(stored) not in (tuple, list) or len(stored) < 2:
        return None
    place = tuple(stored[:2])
    return place if all(type(number) is int for number in place) else None
