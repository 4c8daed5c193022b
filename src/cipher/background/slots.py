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
the run is not ``running`` any more: nobody has to give it back, so the end of
a run conflicts with nothing and no crash keeps a slot taken.

Pickles name `Slots`: it stays here.
"""
from persistent import Persistent

from cipher.background.interfaces import RUNNING
from cipher.background.kept import isKept
from cipher.background.process import findRegistry
from cipher.background.process import getDirectory


class Slots(Persistent):
    """The runs of one type that run: (registry oid, lane, serial)."""

    taken = ()


def takeSlot(connection, worker_type, place):
    """Take a slot for the run at *place* in the open transaction.

    Return whether there was one.  Two processes that take the last one at a
    time conflict.
    """
    slots = getDirectory(connection).slots.get(worker_type.name)
    if slots is None:
        slots = Slots()
        getDirectory(connection).slots[worker_type.name] = slots
    taken = [other for other in slots.taken
             if other != place and _is_running(connection, *other)]
    if len(taken) >= worker_type.max_running:
        return False
    slots.taken = (*taken, place)
    return True


def _is_running(connection, registry_oid, lane, serial):
    registry = findRegistry(connection, registry_oid)
    run = registry and registry.getRun(lane, serial)
    return (run is not None and run.state == RUNNING
            and not isKept(registry, run))
