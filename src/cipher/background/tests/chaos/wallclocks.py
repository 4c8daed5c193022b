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
"""Wall clocks that jump: each process of chaos has one of its own.

The driver sets them, in memory that its forks share.  The clock that nobody
sets, the monotonic one, is that of the machine.
"""
import mmap
import struct
import time

from cipher.background.util import clock


_NUMBER = struct.Struct('d')

#: Seconds.  No clock is set further ahead or back.
MOST = 48 * 3600.0


class WallClocks:
    """How far the clocks of so many processes are ahead, in seconds."""

    def __init__(self, number):
        # The first number counts the jumps.
        self._memory = mmap.mmap(-1, _NUMBER.size * (number + 1))

    def _get(self, index):
        return _NUMBER.unpack_from(self._memory, _NUMBER.size * index)[0]

    def _set(self, index, value):
        _NUMBER.pack_into(self._memory, _NUMBER.size * index, value)

    @property
    def jumps(self):
        """How many jumps there were."""
        return self._get(0)

    def offset(self, slot):
        """Return how far the clock of that process is ahead."""
        return self._get(slot + 1)

    def jump(self, slot, offset):
        """Set the clock of a process *offset* seconds ahead of the true one.
        """
        self._set(0, self.jumps + 1)
        self._set(slot + 1, offset)


_mine = None   # (WallClocks, slot) of this process


def use(clocks, slot):
    """Let this process go by its clock among *clocks*."""
    global _mine
    _mine = clocks, slot
    clock.setClock(lambda: time.time() + clocks.offset(slot))


def mark():
    """Return what `isCalmSince` wants; None while the own clock is wrong."""
    if _mine is None:
        return 0.0
    clocks, slot = _mine
    return None if clocks.offset(slot) else clocks.jumps


def isCalmSince(moment):
    """Return whether no clock jumped since *moment*, and ours is right."""
    return moment is not None and mark() == moment
