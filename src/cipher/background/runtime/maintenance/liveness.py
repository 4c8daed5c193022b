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
"""Find the dead ones among the processes of a database."""
import time

from cipher.background.store import process
from cipher.background.store.deployment import isExclusive
from cipher.background.store.lifecycle import isSilent


class Liveness:
    """The heartbeats of other processes, as the process *own* has seen them.
    """

    def __init__(self, own):
        self._own = own
        self._is_exclusive = isExclusive(own.db)
        self._beats = {}        # process id -> (count, monotonic time seen)
        self._beaten_at = None  # monotonic; our own last beat that got through
        self._steady_at = None  # the first of those without a gap since then

    def noteBeat(self):
        """Record that a heartbeat of our own was committed.

        Only the thread of the heartbeat calls this.
        """
        now = time.monotonic()
        if not self._is_steady(now):
            self._steady_at = now
        self._beaten_at = now

    def _is_steady(self, now):
        # If this machine was paused or the storage was away, others may have
        # been silent for the same reason.
        return (self._beaten_at is not None and
                now - self._beaten_at <= self._own.settings.lease / 2)

    def isGone(self, record):
        """Return whether the process of *record* surely does not exist."""
        return self._is_exclusive or process.isKnownDead(record)

    def findDead(self, directory):
        """Return the records of the dead processes in *directory*.

        The silence of a process counts only while our own heartbeats are
        committed without a gap.
        """
        now = time.monotonic()
        is_steady = self._is_steady(now)
        dead = []
        for record in directory.processes.values():
            if record.id == self._own.id:
                continue
            count = record.heartbeat.count
            seen_count, seen_at = self._beats.get(record.id, (None, now))
            if count != seen_count:
                seen_at = now
            self._beats[record.id] = count, seen_at
            if (self.isGone(record)
                    or is_steady and isSilent(
                        now - max(seen_at, self._steady_at), record.lease)):
                dead.append(record)
        for gone in set(self._beats).difference(directory.processes):
            del self._beats[gone]
        return dead
