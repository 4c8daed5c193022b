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
"""Take waiting runs of lanes whose home is another process.

A process with room takes a few runs at a time, in one commit that writes
them.  It takes them from the middle of the waiting runs, where their home and
other takers hardly ever work.  If another process was faster, the commit
conflicts and nothing but the try is lost.
"""
import itertools
import random
import time

from ZODB.POSException import ConflictError

from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.declarations.workertype import findPause
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import PENDING
from cipher.background.runtime.queue.ranking import Ranking
from cipher.background.store.bookmark import DUE
from cipher.background.store.bookmark import KEPT
from cipher.background.store.bookmark import PAUSE
from cipher.background.store.conditions import waitsFor
from cipher.background.store.kept import isTypeKept
from cipher.background.store.lifecycle import backOff
from cipher.background.store.process import Living
from cipher.background.store.process import findRegistry
from cipher.background.store.process import getDirectory
from cipher.background.store.slots import takeSlot
from cipher.background.util import clock
from cipher.background.util.logs import getLogger
from cipher.background.work.liverun import ticketOf


log = getLogger(__name__)

#: Runs that one commit takes at most.  More would make conflicts likelier.
BATCH = 16

#: Runs that are looked at for each one that is taken; those with the best
#: rank are taken.
CHOICE = 4

#: Runs that are left to the home besides those that its threads work on.  The
#: number begins at the least, doubles at each conflict and shrinks after each
#: success.
LEAST_MARGIN = 1
MOST_MARGIN = 256

#: Runs that are left to the home while its speed is not known.
FIRST_MARGIN = 16

#: Seconds that a take lasts at most, as a rule.  The runs that the home begins
#: in that time are left to it.
MARGIN = 0.1

#: Tries of a take that conflicts.  After these the next turn tries again.
TRIES = 3

#: Births of one lane that are looked at to find the first waiting run.
FRONTIER = 2000

#: Births or entries of one lane that are looked at to choose runs from.
LOOKS = 256

#: Seconds.  If all threads are busy, runs are taken in advance only if a
#: thread got a run so short a time ago: then the next is soon free.
SHORT = 0.2

#: Seconds after which other processes have surely recorded their live runs.
STALE = 5.0


class Taker:
    """Takes runs for the process *own*, into its `OwnRuns` *runs*.

    *admission* decides whether it takes any.  *get_executor* returns its
    executor, which may change.
    """

    def __init__(self, own, runs, admission, get_executor):
        self._own = own
        self._runs = runs
        self._admission = admission
        self._get_executor = get_executor
        self._margins = {}    # place -> runs left to the home
        # place -> (serial of the first that just waits, monotonic time since
        # when, serials a second, None if unknown)
        self._fronts = {}

    def turn(self, connection):
        """Take a batch of runs if threads will soon have nothing to do."""
        backlog = self._runs.backlog
        doubtful = self._runs.claims.listDoubtful()
        if doubtful:
            self._settle_doubtful(connection, doubtful)
        if backlog.idleFor() >= STALE:
            self._give_back(connection)
        number = self._room()
        backlog.others_have_more = False
        if number <= 0:
            return False
        for tries in range(1, TRIES + 1):
            chosen = []
            try:
                taken = self._take(connection, number, chosen)
            except ConflictError:
                self._adjust_margins(chosen, 2, 1)
                time.sleep(backOff(tries, base=0.002))
                continue
            except BaseException:
                # The commit may have succeeded.  Then no other process begins
                # these runs.
                for ticket, epoch in chosen:
                    self._runs.claims.note(ticket, epoch)
                    self._runs.claims.doubt(ticket)
                raise
            self._adjust_margins(taken, 9, 10)
            backlog.others_have_more = bool(taken)
            return False
        backlog.others_have_more = True
        return False

    def _room(self):
        """Return how many runs to take now."""
        threads, backlog = self._own.threads, self._runs.backlog
        if not (self._admission.is_taking and threads
                and self._get_executor().takes):
            return 0
        ready = backlog.counts()[0]
        if ready >= max(2, threads // 2):
            return 0
        if threads > self._runs.running.countJobs():
            return BATCH
        # All threads are busy, but not for long.
        return threads if backlog.idleFor() < SHORT else 0

    def _settle_doubtful(self, connection, doubtful):
        """Find out which claims were committed although the reply was lost.

        These are claims by takes, and by runs that passed on their slots.
        """
        own, backlog, claims = (
            self._own, self._runs.backlog, self._runs.claims)
        ours, others = [], []
        with ZopeTransaction():
            for ticket in doubtful:
                registry = findRegistry(connection, ticket.registry_oid)
                run = registry and registry.getRun(
                    ticket.lane, ticket.serial)
                is_ours = (
                    run is not None and not run.isFinished()
                    and run.owner == own.id
                    and claims.has(ticket.registry_oid, run))
                (ours if is_ours else others).append(ticket)
        for ticket in others:
            claims.settle(ticket, is_ours=False)
        for ticket in ours:
            claims.settle(ticket, is_ours=True)
            # The home of a lane finds its own runs by a look.
            if not backlog.isHome(ticket.place):
                backlog.take(ticket)

    def _give_back(self, connection):
        """Give taken runs back that no thread has begun."""
        own, backlog = self._own, self._runs.backlog
        waiting = backlog.givenBack()
        if not waiting:
            return
        try:
            with ZopeTransaction(note=own.note('give back')):
                for ticket in waiting:
                    registry = findRegistry(connection, ticket.registry_oid)
                    run = registry and registry.getRun(
                        ticket.lane, ticket.serial)
                    if run is not None and not run.isFinished() and (
                            run.owner == own.id):
                        run.giveBack()
        except BaseException:
            for ticket in waiting:
                backlog.take(ticket)   # they wait here as before
            raise
        for ticket in waiting:
            self._runs.claims.forget(ticket)

    def _adjust_margins(self, chosen, times, by):
        """Multiply the margins of the lanes of *chosen* by *times* / *by*."""
        for place in {ticket.place for ticket, _ in chosen}:
            margin = self._margins.get(place, LEAST_MARGIN) * times // by
            self._margins[place] = max(
                LEAST_MARGIN, min(MOST_MARGIN, margin))

    def _take(self, connection, number, chosen):
        """Take at most *number* runs by a commit; return *chosen*.

        Append (ticket, epoch) of each run to the list *chosen* before the
        commit, so the caller knows them after an error, too.
        """
        own, runs = self._own, self._runs
        with ZopeTransaction(note=own.note('take')):
            living = Living(getDirectory(connection), own.id)
            lanes = self._lanes(connection, living)
            for place, lane in lanes:
                if len(chosen) >= number:
                    break
                registry = connection.get(place[0])
                for run in self._choose(
                        living, registry, place, lane,
                        number - len(chosen)):
                    if self._take_run(connection, place, run):
                        chosen.append((ticketOf(place[0], run), run.epoch))
        for ticket, epoch in chosen:
            runs.claims.note(ticket, epoch)
            runs.backlog.take(ticket)
        return chosen

    def _take_run(self, connection, place, run):
        """Take *run*; return False if the limit of its type has no room."""
        worker_type = queryWorkerType(run.type)
        if worker_type.max_running is not None:
            if not takeSlot(connection, worker_type,
                            (*place, run.serial)):
                return False
            run.claim(self._own.id, clock.now(),
                      worker_type.on_interrupt == FAIL)
            return True
        run.owner = self._own.id
        run.epoch += 1
        return True

    def _lanes(self, connection, living):
        """Return [(place, lane)] of others' lanes, in random order."""
        lanes = []
        for registry in getDirectory(connection).listRegistries():
            for lane in registry.lanes.values():
                place = registry._p_oid, lane.number
                if lane.bookmark.home in living.ids and (
                        lane.bookmark.home != self._own.id):
                    lanes.append((place, lane))
        random.shuffle(lanes)
        return lanes

    # Which runs

    def _choose(self, living, registry, place, lane, number):
        """Return at most *number* runs of a lane, of the best rank."""
        turns = Ranking()
        runs = {}
        candidates = itertools.chain(
            self._waiting(registry, lane, living),
            self._middle(registry, place, lane, living))
        for run in candidates:
            if len(runs) >= CHOICE * number:
                break
            if run.serial not in runs and self._may_take(
                    living, registry, place, run):
                runs[run.serial] = run
                turns.push(ticketOf(place[0], run))
        return [runs[turns.pop().serial]
                for _ in range(min(number, len(runs)))]

    def _may_take(self, living, registry, place, run):
        if run.state != PENDING or run.owner is not None or living.isOwned(
                place[0], run) or self._waits(registry, run):
            return False
        if self._runs.running.findLive(place[0], run.id) is not None:
            return False   # a thread here goes on, though it lost the run
        # The home begins a loop at once, unless it does not begin the type.
        return (not queryWorkerType(run.type).is_loop
                or self._home(registry, place).begins(run.type) is False)

    def _waits(self, registry, run):
        return waitsFor(registry, run, self._own.begins) is not None

    def _home(self, registry, place):
        """Return the record of the living process that is home of a lane."""
        return getDirectory(registry._p_jar).processes[
            registry.lanes[place[1]].bookmark.home]

    def _parts(self, lane, living):
        """Return (our index among the takers of *lane*, their number)."""
        rivals = [taker for taker in living.takers
                  if taker != lane.bookmark.home]
        me = self._own.id
        return (rivals.index(me) if me in rivals else 0), max(1, len(rivals))

    def _waiting(self, registry, lane, living):
        """Yield runs of the waiting tree that may begin here."""
        number, parts = self._parts(lane, living)
        for (kind, name), tree in list(lane.waiting.trees.items()):
            if kind == DUE or kind == PAUSE and findPause(
                    registry, name) is not None or (
                    kind == KEPT and isTypeKept(registry, name)
                    or not self._own.begins(name)):
                continue
            low, high = tree.minKey(), tree.maxKey()
            if kind == PAUSE:
                # The pause has ended, and the home takes from the front.
                first = low + (high - low) * (number + 1) // (parts + 1)
                serials = tree.values(first)
            else:
                first = low + (high - low) * number // parts
                serials = itertools.chain(
                    tree.values(first), tree.values(low, first))
            for serial in itertools.islice(serials, LOOKS):
                run = lane.births.get(serial)
                if run is not None:
                    yield run

    def _middle(self, registry, place, lane, living):
        """Yield runs from the middle of the waiting ones up, then down."""
        births = lane.births
        top = births.next_serial
        front = self._front(registry, place, lane, living)
        number, parts = self._parts(lane, living)
        floor = self._floor(living, registry, place, lane, front)
        middle = max(
            floor, front + (top - front) * (number + 1) // (parts + 1))
        for serial in itertools.islice(itertools.chain(
                range(middle, top),
                range(min(middle, top) - 1, floor - 1, -1)), LOOKS):
            run = births.get(serial)
            if run is not None:
                yield run

    def _floor(self, living, registry, place, lane, front):
        """Return the serial below which all runs are left to the home.

        Its threads work on these runs, or begin them before a take is over.
        Runs are counted, not serials, as others may have taken many of them.
        """
        margin = self._margin(place)
        if not margin:
            return front
        margin += self._home(registry, place).threads
        top = lane.births.next_serial
        for serial in range(front, min(top, front + FRONTIER)):
            run = lane.births.get(serial)
            if run is not None and self._may_take(
                    living, registry, place, run):
                margin -= 1
                if not margin:
                    return serial + 1
        return top

    def _front(self, registry, place, lane, living):
        """Return the serial of the first run that only waits for a thread."""
        births = lane.births
        top = births.next_serial
        known, since, rate = self._fronts.get(place, (0, 0.0, None))
        front = max(known, lane.bookmark.low)
        for serial in range(front, min(top, front + FRONTIER)):
            run = births.get(serial)
            if run is not None and not (
                    run.isFinished() or living.isOwned(place[0], run)
                    or self._waits(registry, run)):
                break
            front = serial + 1
        if front != known:
            now = time.monotonic()
            if known:
                latest = (front - known) / max(0.001, now - since)
                rate = latest if rate is None else (rate + latest) / 2
            self._fronts[place] = front, now, rate
        return front

    def _margin(self, place):
        """Return how many runs to leave to the home."""
        _, since, rate = self._fronts[place]
        still = time.monotonic() - since
        if still >= STALE:
            return 0   # it works on long runs, and has recorded them as live
        margin = max(LEAST_MARGIN, self._margins.get(place, 0))
        if rate is not None:
            margin = max(margin, LEAST_MARGIN + int(rate * MARGIN))
        elif still < MARGIN:
            margin = max(margin, FIRST_MARGIN)
        return min(MOST_MARGIN, margin)
