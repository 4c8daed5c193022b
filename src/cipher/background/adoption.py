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
"""Which lanes a runtime consumes: it makes, adopts, takes and gives some.

A lane is *adopted* whose process is dead, or left it.  It is *handed over*
between processes that both live: the one that has more than its share
(`sharing`) writes the other one as its consumer, and that one finds it at its
next look.  What the first one had begun in it goes on there, and is told as
live by the very commit of the hand-over; all else is the other one's, which
need not claim it: nobody has begun it.
"""
import logging
import time

from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.lane import Lane
from cipher.background.pool import getPool
from cipher.background.process import DEEP
from cipher.background.process import IDLE
from cipher.background.process import getDirectory
from cipher.background.sharing import plan
from cipher.background.stakes import SPARE_LANES
from cipher.background.stakes import Stakes


log = logging.getLogger(__name__)

#: Seconds.  Who is deep gives no second lane to an idle process sooner; and
#: the only one with work in it if nothing of that was begun for so long.
RELIEF_INTERVAL = 6.0

#: Lanes without a writer that there are at least.
FREE_LANES = 4


class Adoption:
    """The lanes of one runtime.  For its control thread."""

    def __init__(self, runtime, census, orphans, tell):
        self._runtime = runtime
        self._census = census
        self._orphans = orphans   # (oid, run id): what the dead worked on
        self._tell = tell         # writes what is live into the record
        self._stakes = Stakes(runtime)
        self._relieved = {}       # process id -> when it got a lane for that
        self._stuck = (None, 0.0)   # number of runs begun, since when
        self.load = None          # process.IDLE, DEEP or neither

    def turn(self, connection):
        """Give what is others', take what is ours to take."""
        # In this order: how much waits in what was taken is known at the
        # next turn only.
        self._give(connection)
        self._take(connection)

    # Taking

    def _take(self, connection):
        runtime = self._runtime
        taken = []   # arguments of Backlog.addLane
        lost = []    # keys of lanes that others consume
        dead = []
        with ZopeTransaction(note=runtime.note('lanes')):
            directory = getDirectory(connection)
            is_taker = self._stakes.isTaker(
                directory.processes.get(runtime.id))
            if is_taker:
                dead = self._bury(connection, directory)
            for registry in directory.listRegistries():
                self._take_lanes(
                    registry, directory.processes, is_taker, taken, lost)
        for key in lost:
            runtime.backlog.dropLane(*key)
        for lane in taken:
            runtime.backlog.addLane(*lane)
        runtime.was_lost = False
        for record in dead:
            log.warning('Process %s (%s) is dead; its work is taken over',
                        record.name, record.id)

    def _bury(self, connection, directory):
        dead = self._census.findDead(directory)
        for record in dead:
            # Fails when the process beats after all.
            connection.readCurrent(record.beat)
            self._orphans.update(record.live.runs)
            del directory.processes[record.id]
        return dead

    def _take_lanes(self, registry, alive, is_taker, taken, lost):
        """Take lanes of *registry*.

        Who takes nothing takes what it was given before others knew that:
        only who consumes a lane can give it away.
        """
        runtime = self._runtime
        oid = registry._p_oid
        known = set(runtime.backlog.lanes())
        for lane in registry.lanes.values():
            owner = lane.cursor.owner
            is_known = (oid, lane.number) in known
            if is_taker and owner not in alive:
                lane.cursor.owner = runtime.id
            if lane.cursor.owner != runtime.id:
                if is_known:
                    # We gave it, and the reply to that commit was lost.
                    lost.append((oid, lane.number))
                continue
            if not is_known:
                is_inherited = owner is not None and (
                    owner != runtime.id or runtime.was_lost)
                taken.append((oid, lane.number, lane.cursor.position,
                              lane.births.next_serial, is_inherited))
        if is_taker:
            self._make_missing(registry, alive, taken)

    def _make_missing(self, registry, alive, taken):
        getPool(self._runtime.db, registry._p_oid).leaseLanes(
            registry, self._runtime.threads + SPARE_LANES)
        free = sum(lane.writer.id not in alive
                   for lane in registry.lanes.values())
        takers = sum(map(self._stakes.isTaker, alive.values()))
        # As many for each of three as for each of two.
        for _ in range(free, max(FREE_LANES, 2 * takers)):
            lane = Lane(registry.lanes.maxKey() + 1)
            lane.cursor.owner = self._runtime.id
            registry.lanes[lane.number] = lane
        places = {place[:2] for place in taken}
        places.update(self._runtime.backlog.lanes())
        for lane in registry.lanes.values():
            if (lane.cursor.owner == self._runtime.id
                    and (registry._p_oid, lane.number) not in places):
                taken.append((registry._p_oid, lane.number, 1, 1, False))

    # Giving

    def _give(self, connection):
        runtime = self._runtime
        backlog = runtime.backlog
        given = []
        try:
            with ZopeTransaction(note=runtime.note('hand-over')):
                directory = getDirectory(connection)
                registries = directory.listRegistries()
                for registry in registries:
                    self._give_lanes(registry, directory.processes, given)
                self._note_load(registries, directory.processes)
                if self.load == DEEP and not given:
                    self._relieve(registries, directory.processes, given)
                if given:
                    self._tell(connection)
        except BaseException:
            for key in given:
                for ticket in backlog.keep(*key):
                    runtime.executor.submit(ticket)
            raise
        for key in given:
            backlog.dropLane(*key)

    def _give_lanes(self, registry, alive, given):
        """Give lanes of *registry* away; append their keys to *given*."""
        me = self._runtime.id
        moves = [move for move in plan(self._stakes.of(registry, alive))
                 if move.giver == me]
        if not moves:
            return
        oid = registry._p_oid
        lanes = self._to_give(registry)
        for move, lane in zip(moves, lanes):
            self._give_lane(oid, lane, move.taker, given)

    def _give_lane(self, oid, lane, taker, given):
        given.append((oid, lane.number))
        lane.cursor.position = self._runtime.backlog.prepareToGive(
            oid, lane.number)
        lane.cursor.owner = taker

    def _to_give(self, registry):
        """Return the lanes of *registry* that we consume, in order.

        First those that we do not write.  Of either kind every other one
        first, so that half of what waits stays here.
        """
        backlog = self._runtime.backlog
        oid = registry._p_oid
        kinds = {}
        for lane_oid, number in backlog.lanes():
            if lane_oid == oid:
                lane = registry.lanes[number]
                if lane.cursor.owner == self._runtime.id:
                    kinds.setdefault(self._is_own(lane), []).append(lane)
        lanes = []
        for _, kind in sorted(kinds.items()):
            kind.sort(key=lambda lane: (-backlog.depth(oid, lane.number),
                                        lane.number))
            lanes += kind[1::2] + kind[::2]
        return lanes

    def _is_own(self, lane):
        return lane.writer.id == self._runtime.id

    # Fair shares of lanes need not be fair shares of work

    def _note_load(self, registries, alive):
        """Find out whether we are idle or deep, while others are not."""
        runtime = self._runtime
        others = [record for record in alive.values()
                  if record.id != runtime.id and self._stakes.isTaker(record)]
        waiting = sum(runtime.backlog.depth(registry._p_oid, lane.number)
                      for registry in registries
                      for lane in self._to_give(registry)
                      if not self._is_own(lane))
        # Who is deep is so until nothing waits: each change is a commit.
        least = 0 if self.load == DEEP else 2 * runtime.threads
        self.load = None
        if others and runtime.is_taking:
            if waiting > least:
                self.load = DEEP
            elif not waiting and runtime.hasFreeThread() and any(
                    record.live.load == DEEP for record in others):
                self.load = IDLE

    def _relieve(self, registries, alive, given):
        """Give a lane with work in it to an idle process; append its key."""
        now = time.monotonic()
        begun = self._runtime.backlog.begun_count
        if begun != self._stuck[0]:
            self._stuck = begun, now
        is_stuck = now - self._stuck[1] >= RELIEF_INTERVAL
        for record in alive.values():
            if (record.live.load != IDLE or not self._stakes.isTaker(record)
                    or now - self._relieved.get(record.id, -RELIEF_INTERVAL)
                    < RELIEF_INTERVAL):
                continue
            for registry in registries:
                oid = registry._p_oid
                lanes = [lane for lane in self._to_give(registry)
                         if not self._is_own(lane)
                         and self._runtime.backlog.depth(oid, lane.number)]
                if len(lanes) > 1 or lanes and is_stuck:
                    self._relieved[record.id] = now
                    return self._give_lane(oid, lanes[0], record.id, given)
