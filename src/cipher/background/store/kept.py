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
"""Runs that came with a copy of a registry and are kept back.

A registry that was imported, or copied with its site, has the runs of the
original.  The original carries these out.  The copy carries out runs that are
started in it from then on.  The unfinished runs that it came with wait until
an administrator lets them begin or removes them.
"""
from persistent import Persistent


class Kept(Persistent):
    """The marks that say which runs of a registry are kept back."""

    def __init__(self, marks):
        self.marks = marks   # lane number -> first serial not kept back
        self.begun = ()      # names of types whose runs may begin after all


def arrive(registry, place):
    """Note that *registry* is at *place*: (mark of the database, oid).

    If it was made at another place, keep its unfinished runs back.
    """
    if registry.place == place:
        return
    is_copy = registry.place is not None
    registry.place = place
    if is_copy:
        keepBack(registry)


def keepBack(registry):
    """Keep all unfinished runs of *registry* back."""
    registry.kept = Kept({
        number: lane.births.next_serial
        for number, lane in registry.lanes.items()
        if lane.births.next_serial > 1})
    if next(walk(registry), None) is None:
        registry.kept = None


def isKept(registry, run):
    """Return whether *run*, which is unfinished, is kept back."""
    kept = registry.kept
    return (kept is not None and run.type not in kept.begun
            and run.serial < kept.marks.get(run.lane, 0))


def isTypeKept(registry, name):
    """Return whether runs of the worker type *name* may be kept back."""
    kept = registry.kept
    return kept is not None and name not in kept.begun


def walk(registry):
    """Yield the runs that are kept back, in the order of their lanes.

    Leave out runs that cannot be loaded: they are a problem of their own.
    """
    kept = registry.kept
    for number, mark in sorted(kept.marks.items()) if kept else ():
        lane = registry.lanes.get(number)
        if lane is None:
            continue
        bookmark, births = lane.bookmark, lane.births
        # Below the low mark only these can be unfinished.
        for serial in sorted({*bookmark.stragglers, *lane.waiting.places}):
            if serial < min(bookmark.low, mark):
                yield from _if_kept(registry, births, serial)
        for serial in range(bookmark.low, mark):
            yield from _if_kept(registry, births, serial)


def _if_kept(registry, births, serial):
    try:
        run = births.get(serial)
        if run is None or run.isFinished() or not isKept(registry, run):
            return
    except KeyError:
        return
    run._v_parent = registry
    yield run


def release(registry, names):
    """Let the runs of the types *names* begin that were kept back."""
    registry.kept.begun = tuple(sorted({*registry.kept.begun, *names}))
    forgetIfEmpty(registry)


def forgetIfEmpty(registry):
    """Remove the marks if no run is kept back any more."""
    if next(walk(registry), None) is None:
        registry.kept = None
