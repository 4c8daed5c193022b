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
"""What caused a run: a trigger, a schedule or a service, and another run.

A run stores a tuple of these facts, and nothing if there are none.  A run
that causes others stores the ids of the last ones.
"""
from typing import NamedTuple

from zope.interface import implementer

from cipher.background.interfaces import CAUSES
from cipher.background.interfaces import ELSEWHERE
from cipher.background.interfaces import ICause
from cipher.background.util.chain import currentReason
from cipher.background.util.chain import currentRun
from cipher.background.util.plaindata import readNumber
from cipher.background.util.plaindata import readText


#: Runs.  A run keeps the ids of the last ones that it caused: few enough that
#: it stays small however many it starts.
CHILDREN_KEPT = 20

#: Characters of the name of a schedule or of the class of an event.
NAME_LIMIT = 100


class Reason(NamedTuple):
    """Why code starts a run; see `chain.because`."""

    kind: str = None    # one of `CAUSES`
    name: str = None
    run: object = None  # the run of the event; None: that of the thread


@implementer(ICause)
class Cause(NamedTuple):
    """See `~cipher.background.interfaces.ICause`."""

    kind: str = None
    name: str = None
    run_id: str = None


def causeOfNext(registry):
    """Return (what a run that *registry* starts now stores, its parent).

    Both are None if nothing is known.  The parent is the run itself if the
    open transaction may write it, else None.
    """
    kind, name, event_run = currentReason() or Reason()
    place = parent = None
    home, run = currentRun()
    if event_run is not None:
        home, run = registry, event_run
    if run is not None:
        if home is registry:
            parent = run
            place = run.lane, run.serial
        elif _is_same(home, registry):
            # The work commits in a connection of its own.
            place = run.lane, run.serial
        else:
            kind = kind or ELSEWHERE
    if kind is None:
        return place, parent
    return (*(place or (None, None)), kind, name and name[:NAME_LIMIT]), parent


def _is_same(one, other):
    return (one._p_jar is not None and other._p_jar is not None
            and one._p_jar.db() is other._p_jar.db()
            and one._p_oid == other._p_oid)


def readCause(run):
    """Return (kind, name, (lane, serial)) of *run*; each may be None."""
    stored = run.cause
    if type(stored) not in (tuple, list) or len(stored) not in (2, 4):
        return None, None, None
    lane, serial, kind, name = (*stored, None, None)[:4]
    return (kind if kind in CAUSES else None, readText(name, NAME_LIMIT),
            _place(lane, serial))


def noteChild(parent, child):
    """Keep in the run *parent* that it caused the run *child*."""
    number, places = readChildren(parent)
    places = [*places, (child.lane, child.serial)][-CHILDREN_KEPT:]
    parent.children = (number + 1, *[
        one for place in places for one in place])


def readChildren(run):
    """Return (number, [(lane, serial)]) of the runs that *run* caused.

    The list has the last ones, oldest first.
    """
    stored = run.children
    if type(stored) not in (tuple, list) or not len(stored) % 2:
        return 0, []
    number, *numbers = stored
    places = [_place(*pair) for pair in zip(numbers[::2], numbers[1::2])]
    places = [place for place in places if place is not None]
    return max(readNumber(number, 0), len(places)), places


def _place(lane, serial):
    return (lane, serial) if type(lane) is int and type(serial) is int else (
        None)
