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
"""Slots: the limit of runs of a type that run at a time (``max_running``).

The limit holds in the whole database.  The commit that claims a run takes a
slot.  The slot is free again as soon as the run is not ``running`` any more:
no code gives it back, so a crash cannot keep a slot taken.  Each slot is an
object of its own, written only for the run in it.  So the end of a run can
pass its slot on without a conflict.

A *place* is (registry oid, lane number, serial) of a run.
"""
from persistent import Persistent

from cipher.background.declarations.workertype import allNames
from cipher.background.declarations.workertype import nameOf
from cipher.background.interfaces import RUNNING
from cipher.background.store.kept import isKept
from cipher.background.store.process import findRegistry
from cipher.background.store.process import getDirectory


class Slot(Persistent):
    """One slot of a type."""

    def __init__(self, place):
        self.place = place   # of the last run that took it

    def __getstate__(self):
        return self.place

    def __setstate__(self, state):
        self.place = state


class Slots(Persistent):
    """The slots of one type, at most as many as its ``max_running``."""

    def __init__(self):
        self.slots = ()

    @property
    def taken(self):
        """The places of the runs that took the slots last."""
        return tuple(slot.place for slot in self.slots)


def takeSlot(connection, worker_type, place):
    """Take a slot for the run at *place*; return whether one was free.

    Two transactions that take the same slot conflict.
    """
    directory = getDirectory(connection)
    name = nameOf(worker_type)
    slots = directory.slots.get(name)
    if slots is None:
        slots = directory.slots[name] = Slots()
    for former in allNames(name)[1:]:
        # Runs that began under a former name of the type count as well.
        if former in directory.slots:
            slots.slots = (*slots.slots, *directory.slots.pop(former).slots)
    limit = worker_type.max_running
    own, free, number = None, [], 0
    for slot in slots.slots:
        if slot.place == place:
            own = slot
        elif _is_running(connection, *slot.place):
            number += 1
        else:
            free.append(slot)
    if number >= limit:
        return False
    if own is None and free:
        # By the serial, so that two processes seldom choose the same slot.
        own = free[place[-1] % len(free)]
    if own is None:
        own = Slot(place)
        slots.slots = (*slots.slots, own)
    # Written even if it is the same, so that another one that takes the slot
    # conflicts.
    own.place = place
    if len(slots.slots) > limit:
        # The limit was greater before.
        slots.slots = tuple(
            slot for slot in slots.slots if slot is own or slot not in free)
    if slots._p_jar is not None:
        slots._p_jar.readCurrent(slots)
    return True


def findSlot(connection, name, place):
    """Return the `Slot` of the type *name* that the run at *place* took last.

    Return None if it has none.
    """
    slots = getDirectory(connection).slots.get(name)
    return next((slot for slot in slots.slots if slot.place == place),
                None) if slots is not None else None


def listTaken(connection, worker_type):
    """Return the places of the runs that have a slot of *worker_type*."""
    slots = getDirectory(connection).slots.get(nameOf(worker_type))
    return [] if slots is None else [
        slot.place for slot in slots.slots
        if _is_running(connection, *slot.place)]


def _is_running(connection, registry_oid, lane, serial):
    registry = findRegistry(connection, registry_oid)
    run = registry and registry.getRun(lane, serial)
    return (run is not None and run.state == RUNNING
            and not isKept(registry, run))
