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
"""How many runs of a type run at a time in the whole database.

A slot is taken by the commit that claims the run.  It is free again as soon as
the run is not ``running`` any more: nobody has to give it back, so no crash
keeps a slot taken.  Each slot is an object of its own, which nobody but the
run in it writes: so the end of a run may pass its slot on and conflicts with
nothing.

Pickles name `Slots` and `Slot`: they stay here.
"""
from persistent import Persistent

from cipher.background.declarations.workertype import allNames
from cipher.background.declarations.workertype import nameOf
from cipher.background.interfaces import RUNNING
from cipher.background.store.kept import isKept
from cipher.background.store.process import findRegistry
from cipher.background.store.process import getDirectory


class Slot(Persistent):
    """One of the places for runs of a type that run at a time."""

    def __init__(self, place):
        self.place = place   # (registry oid, lane, serial) of the last run

    def __getstate__(self):
        return self.place

    def __setstate__(self, state):
        self.place = state


class Slots(Persistent):
    """The slots of one type; grows up to its ``max_running``."""

    def __init__(self):
        self.slots = ()

    @property
    def taken(self):
        """The places of the runs that had a slot last."""
        return tuple(slot.place for slot in self.slots)


def takeSlot(connection, worker_type, place):
    """Take a slot for the run at *place* in the open transaction.

    Return whether there was one.  Two processes that take the same one at a
    time conflict.
    """
    directory = getDirectory(connection)
    name = nameOf(worker_type)
    slots = directory.slots.get(name)
    if slots is None:
        slots = directory.slots[name] = Slots()
    for former in allNames(name)[1:]:
        # What runs since before the type was given another name counts too.
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
        # Processes that claim at a time seldom choose the same one.
        own = free[place[-1] % len(free)]
    if own is None:
        own = Slot(place)
        slots.slots = (*slots.slots, own)
    own.place = place   # even if it is: whoever else takes it conflicts
    if len(slots.slots) > limit:
        # There were more once.
        slots.slots = tuple(
            slot for slot in slots.slots if slot is own or slot not in free)
    if slots._p_jar is not None:
        slots._p_jar.readCurrent(slots)
    return True


def findSlot(connection, name, place):
    """Return the `Slot` that the run at *place* has; None if it has none."""
    slots = getDirectory(connection).slots.get(name)
    return next((slot for slot in slots.slots if slot.place == place),
                None) if slots is not None else None


def listTaken(connection, worker_type):
    """Return the places of the runs that hold a slot.

    (registry oid, lane, serial).
    """
    slots = getDirectory(connection).slots.get(nameOf(worker_type))
    return [] if slots is None else [
        slot.place for slot in slots.slots
        if _is_running(connection, *slot.place)]


def _is_running(connection, registry_oid, lane, serial):
    registry = findRegistry(connection, registry_oid)
    run = registry and registry.getRun(lane, serial)
    return (run is not None and run.state == RUNNING
            and not isKept(registry, run))
