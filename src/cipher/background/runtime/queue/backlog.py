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
"""The backlog: all runs that wait or work in this process, as tickets.

A run whose lane has its home here is in one of these places::

    tickets   ready for a thread; delayed for seconds; in work; or, of a type
              with a limit, waiting for room
    away      in work in another process, or taken by one
    parked    to be written into the `bookmark.Waiting` of its lane

Once it is written there, it waits in the database and comes back by `settle`.
Executor threads ask for ready tickets by `next`.

Methods are thread-safe unless their docstring denies it.  They load no
persistent object: a load under the lock could wait for the storage.
"""
import heapq
import itertools
import threading
import time
from collections import deque

from cipher.background.runtime.queue.ranking import Ranking
from cipher.background.runtime.queue.starters import Starters
from cipher.background.store.bookmark import FOR_TIME
from cipher.background.store.bookmark import KEPT
from cipher.background.store.bookmark import LIMIT
from cipher.background.store.bookmark import orderOf
from cipher.background.util import clock


#: Ready tickets kept in memory, which bounds its size.  Further births are
#: looked at when there is room again.  Delayed tickets and those that wait
#: for room have bounds of their own.
CAPACITY = 10000

#: Entries in memory that are to be written.  Further births are looked at
#: when some entries are written.  As many as `CAPACITY`, so this at most
#: doubles the memory.
UNWRITTEN = 10000

#: Seconds.  Runs due sooner wait in memory, others in the database: for a
#: short wait two commits would cost too much.
NEAR = 30.0

#: Delayed tickets kept in memory.  Further runs wait in the database, however
#: soon they are due.
DELAYED = 2000

#: Runs of one type kept in memory while they wait for room.
PARKED = 1000

#: Stragglers that a bookmark names at most, so that it stays a small record.
STRAGGLERS = 64

#: A straggler is named if at least so many serials follow before the next:
#: after a crash those need not be looked at again.
GAP = 64

#: Seconds between two looks at new births while tickets are ready: one look
#: then finds many births.
LOOK_INTERVAL = 0.01

#: Seconds between two wake-ups of the control thread because of new lanes.
#: While many lanes are made, one wake-up then serves several of them.
UNKNOWN_INTERVAL = 0.25

#: Seconds that a thread waits if nothing is known to become ready.  A change
#: wakes it in any case.
LONG = 60.0

#: The value by which `Backlog.next` asks for a look into the dirty lanes.
LOOK = object()

#: States to `settle` a run as, besides a time and a key of `bookmark.Waiting`.
DONE = 'done'
READY = 'ready'
AWAY = 'away'


class _Lane:
    """A lane whose home is here."""

    def __init__(self, low, stragglers, inherited_below, is_suspect):
        self.seen = low                  # lower serials are known
        self.stragglers = stragglers     # serials to look at again
        # A run below it may be in work in the process that was home before.
        self.inherited_below = inherited_below
        self.is_suspect = is_suspect     # that process did not end well
        self.tickets = {}                # serial -> ticket
        self.away = {}                   # serial -> ticket
        self.parked = {}                 # serial -> (key, order), to write
        self.writing = set()   # serials of `parked` that are being written
        self.written = set()   # serials above that have an entry as well
        self.stale = set()     # finished serials with an entry to remove

    def loose(self):
        """Return the serials that no entry in the database stands for."""
        return (self.tickets.keys() | self.away.keys() | self.parked.keys()
                | set(self.stragglers)) - self.written

    def position(self):
        """Return (low mark, stragglers) to write into the bookmark."""
        loose = sorted(self.loose())
        loose = [serial for serial in loose if serial < self.seen]
        bounds = [*loose, self.seen]
        index = 0
        while (index < len(loose) and index < STRAGGLERS
               and bounds[index + 1] - bounds[index] > GAP):
            index += 1
        return bounds[index], tuple(loose[:index])

    def forget(self, serial):
        """Remove the run of *serial*, for which nothing is left to do."""
        self.tickets.pop(serial, None)
        self.away.pop(serial, None)
        self.parked.pop(serial, None)
        if serial in self.written or serial in self.writing:
            self.written.discard(serial)
            self.writing.discard(serial)
            self.stale.add(serial)


class Backlog:
    """The tickets of one process; the docstring of the module has the states.
    """

    def __init__(self, wake_control=lambda: None, report=lambda: None):
        self._changed = threading.Condition(threading.Lock())
        self._wake_control = wake_control  # wakes the control thread
        self._starters = Starters(report)   # of all that waits or works
        self._lanes = {}      # (registry oid, lane number) -> _Lane
        self._taken = {}      # (registry oid, run id) -> ticket, of others'
        self._ready = Ranking()
        self._delayed = []    # heap of (monotonic time, n, ticket)
        self._limited = {}    # type name -> Turns of those that wait for room
        self._passed = deque()    # those that were given the slot of another
        self._wanted = frozenset()   # types that others have waiting, too
        self.has_ended = False   # a run with a slot, since `setWanted`
        self._count = itertools.count()
        self._dirty = set()   # places with births to look at
        self._only = {}       # dirty place -> (serial, oid) of its one birth
        self._behind = set()  # places with more births than there was room
        self._has_unknown = False   # a lane was marked that is not known
        self._unknown_at = -UNKNOWN_INTERVAL
        self._is_looking = False
        self._look_at = 0.0   # monotonic; not before, after a failure
        self._looked_at = 0.0
        self._is_quiet = False
        self._popped_at = time.monotonic()
        self.others_have_more = False   # than we took from them last
        self._beyond = set()   # keys of which there is more than there was
        #                        room for

    # Lanes

    def addLane(self, place, low, stragglers, inherited_below=0,
                is_suspect=False):
        """Add the lane at *place*, whose home is here from now on.

        *low* and *stragglers* are those of its bookmark.  Runs with serials
        below *inherited_below* may be in work in the process that was home
        before; *is_suspect*: that one did not end in good order.
        """
        with self._changed:
            self._lanes[place] = _Lane(
                low, tuple(stragglers), inherited_below, is_suspect)
            self._mark([place])

    def dropLane(self, place):
        """Remove the lane at *place*, whose home is not here any more.

        Its tickets become void, except those that were taken or got the slot
        of another run.
        """
        with self._changed:
            if self._lanes.pop(place, None) is None:
                return
            self._starters.dropLane(place)
            self._dirty.discard(place)
            self._only.pop(place, None)
            self._behind.discard(place)
            for turns in self._ready, *self._limited.values():
                turns.discard(lambda ticket: ticket.place == place
                              and not self._is_taken(ticket))
            self._delayed = [
                entry for entry in self._delayed
                if entry[2].place != place or self._is_taken(entry[2])]
            heapq.heapify(self._delayed)
            for ticket in self._passed:
                if ticket.place == place:
                    self._keep(ticket)

    def dropAll(self):
        """Forget everything, because others took the process for dead."""
        for place in self.lanes():
            self.dropLane(place)
        with self._changed:
            self._taken.clear()
            self._ready = Ranking()
            self._limited = {}
            self._delayed = []
            self._passed.clear()

    def lanes(self):
        """Return the places of the lanes whose home is here."""
        with self._changed:
            return list(self._lanes)

    def isHome(self, place):
        """Return whether the home of the lane at *place* is here."""
        return place in self._lanes

    def _is_taken(self, ticket):
        return bool(self._taken) and self._taken.get(
            (ticket.registry_oid, ticket.run_id)) is ticket

    def _is_here(self, ticket):
        if self._is_taken(ticket):
            return True
        lane = self._lanes.get(ticket.place)
        return lane is not None and lane.tickets.get(ticket.serial) is ticket

    # Dirty lanes: those that have, or may have, new births

    def mark(self, places, are_ours=True, only=None):
        """Mark the lanes at *places* as dirty.

        *are_ours*: this process wrote them.  *only* is as for
        `IRuntime.wake`.  Hooks of transactions and of the storage may call
        this, as it waits for nothing.
        """
        with self._changed:
            self._mark(places, are_ours, only)

    def forked(self):
        """Replace the lock in the child of a fork.

        The thread that held the old one does not exist there.
        """
        self._changed = threading.Condition(threading.Lock())

    def _mark(self, places, are_ours=True, only=None):
        known = [place for place in places if place in self._lanes]
        if known:
            for place in known:
                if only is not None and place not in self._dirty:
                    self._only[place] = only
                else:
                    self._only.pop(place, None)
            self._dirty.update(known)
            self._changed.notify()
        now = time.monotonic()
        if are_ours and len(known) < len(places) and (
                now - self._unknown_at >= UNKNOWN_INTERVAL):
            # It may be a new lane whose home is to be here.
            self._unknown_at = now
            self._has_unknown = True
            self._wake_control()

    def takeUnknown(self):
        """Return whether an unknown lane was marked since the last call."""
        has_unknown, self._has_unknown = self._has_unknown, False
        return has_unknown

    def beginLook(self, at_all=False):
        """Return the dirty places; they count as clean from now on.

        Return None while another thread looks.  Otherwise the caller begins
        its transaction after this, and calls `endLook` in any case.

        *at_all*: return all lanes.
        """
        with self._changed:
            if at_all:
                self._only.clear()
                self._dirty.update(self._lanes)
            if self._is_looking:
                return None
            return self._begin_look()

    def _begin_look(self):
        self._is_looking = True
        if self._behind and self._has_room_again():
            for place in self._behind:
                self._only.pop(place, None)
            self._dirty |= self._behind
            self._behind = set()
        dirty, self._dirty = self._dirty, set()
        return dirty

    def endLook(self, left=(), pause=0.0, is_worker=False):
        """End a look; the places in *left* are dirty again.

        The next look begins after *pause* seconds at the earliest.
        *is_worker*: the caller asks for a ticket next.
        """
        with self._changed:
            self._is_looking = False
            self._looked_at = time.monotonic()
            self._look_at = self._looked_at + pause
            for place in left:
                if place in self._lanes:
                    self._dirty.add(place)
                    self._only.pop(place, None)
            # Wake no more threads than find something to do: the others would
            # only slow them down.
            number = len(self._ready) + bool(self._dirty) - is_worker
            if number > 0:
                self._changed.notify(number)

    def takeOnly(self, place):
        """Return (serial, oid) of the one run to look at in a lane, or None.

        The birth is the next one to be seen.  None: look at the births.
        """
        with self._changed:
            only = self._only.pop(place, None)
            lane = self._lanes.get(place)
            return only if (
                only is not None and lane is not None
                and only[0] == lane.seen and not lane.stragglers
                and self._room() > 0) else None

    def toLook(self, place, next_serial):
        """Return the serials to look at now in a lane, in order.

        *next_serial* is the serial of its next birth.
        """
        with self._changed:
            lane = self._lanes.get(place)
            if lane is None:
                return []
            end = min(next_serial, lane.seen + max(0, self._room()))
            if end < next_serial:
                self._behind.add(place)
            return [*lane.stragglers, *range(lane.seen, end)]

    def _room(self):
        """Return for how many births there is room."""
        return min(CAPACITY - len(self._ready),
                   UNWRITTEN - self._count_unwritten())

    def _count_unwritten(self):
        return sum([len(lane.parked) for lane in self._lanes.values()])

    def _has_room_again(self):
        """Return whether there is room for the births left out before."""
        return bool(self._behind) and len(
            self._ready) < CAPACITY // 2 and (
                self._count_unwritten() <= UNWRITTEN // 2)

    def _size(self):
        return (len(self._ready) + len(self._delayed) + len(self._passed)
                + sum(map(len, self._limited.values())))

    def inherited(self, place, serial):
        """Return (may be in work elsewhere, must be claimed) of a run.

        The first is True if the lane had another home when the run was born.
        The second is True if, besides, that process did not end in good order.
        """
        lane = self._lanes.get(place)
        is_inherited = lane is not None and serial < lane.inherited_below
        return is_inherited, is_inherited and lane.is_suspect

    def seen(self, place, found):
        """Record what a look *found* in a lane, as (serial, ticket, what).

        *what* is as for `settle`; if it is `DONE`, *ticket* may be None.
        """
        with self._changed:
            lane = self._lanes.get(place)
            if lane is None:
                return
            for serial, ticket, what in found:
                if serial > lane.seen:
                    # The lane had another home during the look.  Since then
                    # it is dirty, and earlier births are to be looked at.
                    return
                if serial == lane.seen:
                    lane.seen = serial + 1
                elif serial in lane.stragglers:
                    lane.stragglers = tuple(
                        other for other in lane.stragglers if other != serial)
                if (what != DONE and serial not in lane.tickets
                        and serial not in lane.parked):
                    self._settle(lane, ticket, what)

    # The state of a run

    def settle(self, ticket, what, has_entry=False):
        """Record the state *what* of a run whose lane may have its home here.

        *what* is `DONE`, `READY`, `AWAY`, the time when the run is due, or
        the key of the condition that it waits for.  A run that has a ticket
        stays as it is.  *has_entry*: it has an entry in the `Waiting` of its
        lane.
        """
        with self._changed:
            lane = self._lanes.get(ticket.place)
            if lane is None or ticket.serial in lane.tickets:
                return
            if has_entry:
                lane.written.add(ticket.serial)
            self._settle(lane, ticket, what, has_entry)

    def _settle(self, lane, ticket, what, has_entry=False):
        serial = ticket.serial
        lane.tickets.pop(serial, None)
        lane.away.pop(serial, None)
        if what == DONE:
            self._forget(lane, ticket.place, serial)
            return
        self._starters.add(ticket)
        if what == AWAY:
            lane.away[serial] = ticket
        elif what == READY:
            lane.tickets[serial] = ticket
            self._ready.push(ticket)
            if not self._is_looking:   # else `endLook` does so
                self._changed.notify()
        elif isinstance(what, tuple):
            self._park(lane, ticket, what, has_entry)
            if what[0] == KEPT:
                # A kept run does not count for the limit of its starter.
                self._starters.discard(ticket.place, serial)
        elif self._is_near(what):
            lane.tickets[serial] = ticket
            self._delay(ticket, what - clock.now())
        else:
            lane.parked[serial] = FOR_TIME, int(what * 1000000)
            # If it ended before that time, this process would not notice, so
            # it is not counted for its starter.
            self._starters.discard(ticket.place, serial)

    def _forget(self, lane, place, serial):
        lane.forget(serial)
        self._starters.discard(place, serial)

    def _park(self, lane, ticket, key, has_entry):
        serial = ticket.serial
        place = key, orderOf(ticket.priority, serial)
        lane.parked[serial] = place
        if key[0] == LIMIT:
            turns = self._limited.setdefault(key[1], Ranking())
            is_full = len(turns) >= PARKED
            if is_full or key in self._beyond and not has_entry:
                # Earlier runs are in the database already, so this one goes
                # there, too, or takes the place of a less urgent one.
                self._beyond.add(key)
                last = turns.popLast(ticket.priority)
                if last is None:
                    return
                self._lanes[last.place].tickets.pop(last.serial, None)
            lane.tickets[serial] = ticket
            turns.push(ticket)

    def _is_near(self, due_at):
        return (due_at - clock.now() <= NEAR
                and len(self._delayed) < DELAYED)

    def _delay(self, ticket, seconds):
        heapq.heappush(self._delayed, (
            time.monotonic() + seconds, next(self._count), ticket))
        self._changed.notify()

    def hasten(self, ticket):
        """Let a run begin now that waits for its time.

        Return False if its state is just changing; the caller tries again.
        """
        with self._changed:
            lane = self._lanes.get(ticket.place)
            if lane is None or self._is_looking:
                # A look that is under way may have read the old state.
                return False
            known = lane.tickets.get(ticket.serial)
            what, _ = lane.parked.get(ticket.serial, (None, None))
            if known is None and what == FOR_TIME:
                del lane.parked[ticket.serial]
                self._settle(lane, ticket, READY)
            elif known is not None and what is None:
                return self._hasten_delayed(known)
            return True

    def _hasten_delayed(self, ticket):
        for index, entry in enumerate(self._delayed):
            if entry[2] is ticket:
                del self._delayed[index]
                heapq.heapify(self._delayed)
                self._delay(ticket, 0.0)
                return True
        return False

    def isKnown(self, place, serial):
        """Return whether the run is in memory, or is finished."""
        with self._changed:
            lane = self._lanes.get(place)
            return lane is None or (
                serial in lane.tickets or serial in lane.stale
                or serial in lane.away or serial in lane.parked)

    def away(self, place):
        """Return the tickets of a lane whose runs are in work elsewhere."""
        with self._changed:
            lane = self._lanes.get(place)
            return [] if lane is None else [
                ticket for _, ticket in sorted(lane.away.items())]

    def drop(self, place, serial):
        """Forget a finished run, and let its entry be removed."""
        with self._changed:
            lane = self._lanes.get(place)
            if lane is not None and serial not in lane.tickets:
                self._forget(lane, place, serial)
                lane.stale.add(serial)

    # Runs of lanes whose home is elsewhere

    def take(self, ticket):
        """Add *ticket*, whose run a commit has taken for this process."""
        with self._changed:
            self._keep(ticket)
            self._ready.push(ticket)
            self._changed.notify()

    def _keep(self, ticket):
        self._taken[ticket.registry_oid, ticket.run_id] = ticket

    def givenBack(self):
        """Return and forget the taken tickets that no thread has begun.

        Forget those that got a passed slot, too; their home looks at them
        again.
        """
        with self._changed:
            waiting = []
            self._ready.discard(lambda ticket: self._is_taken(ticket)
                                and not waiting.append(ticket))
            while self._passed:
                ticket = self._passed.popleft()
                if self._is_here(ticket):
                    self._keep(ticket)
                    waiting.append(ticket)
            for ticket in waiting:
                del self._taken[ticket.registry_oid, ticket.run_id]
                if self._is_here(ticket):
                    self._settle(self._lanes[ticket.place], ticket, AWAY)
            return waiting

    # Threads

    def next(self, is_over):
        """Wait for a ticket to carry out, and return it.

        Return `LOOK` if lanes are dirty: the caller looks, then calls again.
        Return None when the function *is_over* returns True.
        """
        with self._changed:
            while not is_over():
                now = time.monotonic()
                if self._may_look(now):
                    return LOOK
                ticket = None if self._is_quiet else self._pop(now)
                if ticket is not None:
                    return ticket
                if self.others_have_more:
                    self.others_have_more = False   # until the next take
                    self._wake_control()
                self._changed.wait(self._pause(now))
            return None

    def poll(self):
        """Return the next ticket; None if none is ready."""
        with self._changed:
            return None if self._is_quiet else self._pop(time.monotonic())

    def nextReady(self):
        """Return the next ticket; None if none is ready, or lanes are dirty.

        As `next`, but it never waits.
        """
        with self._changed:
            now = time.monotonic()
            return None if self._is_quiet or self._may_look(now) else (
                self._pop(now))

    def nextLike(self, accepts):
        """Return the next ticket as `nextReady`, if *accepts* is true of it.

        Return None otherwise.  *accepts* is a function that loads no
        persistent object.
        """
        with self._changed:
            now = time.monotonic()
            return self._pop(now) if self._is_next(now, accepts) else None

    def hasLike(self, accepts):
        """Return whether `nextLike` would return a ticket."""
        with self._changed:
            return self._is_next(time.monotonic(), accepts)

    def _is_next(self, now, accepts):
        if self._is_quiet or self._passed or self._may_look(now):
            return False
        first = self._ready.first()
        return first is not None and accepts(first)

    def _may_look(self, now):
        return (not self._is_looking and now >= self._look_at
                and (not self._ready
                     or now - self._looked_at >= LOOK_INTERVAL)
                and bool(self._dirty or self._has_room_again()))

    def _pop(self, now):
        while self._delayed and self._delayed[0][0] <= now:
            ticket = heapq.heappop(self._delayed)[2]
            if self._is_here(ticket):
                self._ready.push(ticket)
        while self._passed:
            ticket = self._passed.popleft()
            if self._is_here(ticket):
                self._popped_at = now
                return ticket
        while True:
            ticket = self._ready.pop()
            if ticket is None:
                return None
            if self._is_here(ticket):
                self._popped_at = now
                left = len(self._ready)
                if left < 2 and self.others_have_more or (
                        left == CAPACITY // 4 and self._beyond):
                    self._wake_control()
                return ticket

    def _pause(self, now):
        pause = LONG
        if self._delayed:
            pause = min(pause, self._delayed[0][0] - now)
        if self._dirty or self._has_room_again():
            pause = min(pause, max(self._look_at - now, LOOK_INTERVAL))
        return max(0.0, pause)

    def idleFor(self):
        """Return the seconds since a thread last got a ticket."""
        return time.monotonic() - self._popped_at

    def wakeAll(self):
        """Wake the waiting threads, so that they call their `is_over`."""
        with self._changed:
            self._changed.notify_all()

    def setQuiet(self, is_quiet):
        """Stop or resume giving tickets to threads."""
        with self._changed:
            self._is_quiet = is_quiet
            self._changed.notify_all()

    # Tickets that a thread hands back

    def done(self, ticket):
        """Forget *ticket*: nothing is left to do for its run."""
        self._hand_back(ticket, DONE)

    def again(self, ticket, due_at):
        """Let *ticket* wait again, until *due_at*."""
        self._hand_back(ticket, due_at)

    def isAway(self, ticket):
        """Record that the run of *ticket* is in work elsewhere."""
        self._hand_back(ticket, AWAY)

    def park(self, ticket, key):
        """Let *ticket* wait for the condition *key*."""
        self._hand_back(ticket, key)

    def later(self, ticket, seconds):
        """Give *ticket* to a thread again after *seconds*."""
        with self._changed:
            if self._is_here(ticket):
                self._delay(ticket, seconds)

    def _hand_back(self, ticket, what):
        with self._changed:
            if self._is_taken(ticket):
                # Its home looks at it again.
                del self._taken[ticket.registry_oid, ticket.run_id]
            elif self._is_here(ticket):
                self._settle(self._lanes[ticket.place], ticket, what)

    # Types with a limit of running runs

    def isNext(self, ticket, type_name):
        """Return whether no run of that type goes before *ticket*."""
        with self._changed:
            first = self._limited.get(type_name, Ranking()).first()
            return first is None or (
                (-ticket.priority, ticket.age) < (-first.priority, first.age))

    def unpark(self, type_name, number=1):
        """Let the next *number* runs of that type try to begin."""
        with self._changed:
            for _ in range(number):
                ticket = self._pop_limited(type_name)
                if ticket is None:
                    return
                self._ready.push(ticket)
                self._changed.notify()

    def setWanted(self, type_names):
        """Record the limited types of which other homes have waiting runs."""
        self._wanted = frozenset(type_names)
        self.has_ended = False

    def passOn(self, type_name):
        """Return the ticket that gets the slot of a run that ends.

        Return None if other processes wait for the slot, or if the next run
        to begin is of another type.  The caller calls `passed`, `park`,
        `later` or `isAway` with the ticket.
        """
        with self._changed:
            self.has_ended = True
            if self._is_quiet or type_name in self._wanted:
                return None
            turns = self._limited.get(type_name)
            if turns and self._ready.wouldLead(turns.first()):
                return self._pop_limited(type_name)
            first = self._ready.first()
            if first is None or first.type != type_name or (
                    self._is_taken(first) or not self._is_here(first)):
                return None
            return self._ready.pop()

    def passed(self, ticket):
        """Let *ticket*, to which a commit gave a slot, begin before others."""
        with self._changed:
            if not self._is_here(ticket):
                self._keep(ticket)   # its lane got another home meanwhile
            self._passed.append(ticket)
            self._changed.notify()

    def _pop_limited(self, type_name):
        turns = self._limited.get(type_name, ())
        while turns:
            ticket = turns.pop()
            if self._is_here(ticket):
                lane = self._lanes[ticket.place]
                lane.parked.pop(ticket.serial, None)
                if (LIMIT, type_name) in self._beyond and (
                        len(turns) <= PARKED // 4):
                    self._wake_control()   # to bring back the others
                return ticket
        self._limited.pop(type_name, None)
        return None

    def parkedTypes(self):
        """Return {type name: number of runs that wait for room here}."""
        with self._changed:
            return {name: len(turns) for name, turns in self._limited.items()}

    def setBeyond(self, key, is_more):
        """Record whether more runs wait for *key* than there was room for."""
        with self._changed:
            if is_more:
                self._beyond.add(key)
            else:
                self._beyond.discard(key)

    def room(self, key=None):
        """Return how many runs may come back from the database.

        *key* is the condition that they waited for.
        """
        with self._changed:
            room = max(CAPACITY // 2 - len(self._ready), CAPACITY // 100)
            if key is not None and key[0] == LIMIT:
                parked = len(self._limited.get(key[1], ()))
                room = 0 if 2 * parked > PARKED else min(
                    room, PARKED - parked)
            return room

    # What is written into the database

    def changes(self, place, limit):
        """Return (new, old): entries to write and serials to remove.

        Each has at most *limit* items.  An entry is (serial, key, order).
        """
        with self._changed:
            lane = self._lanes.get(place)
            if lane is None:
                return [], []
            new = [(serial, *entry) for serial, entry in itertools.islice(
                lane.parked.items(), limit)]
            lane.writing.update(serial for serial, _, _ in new)
            return new, list(itertools.islice(lane.stale, limit))

    def written(self, place, new, old):
        """Record that the changes *new* and *old* are committed."""
        with self._changed:
            lane = self._lanes.get(place)
            if lane is None:
                return
            lane.stale.difference_update(old)
            for serial, *entry in new:
                lane.writing.discard(serial)
                if lane.parked.get(serial) == tuple(entry):
                    del lane.parked[serial]
                if (serial in lane.tickets or serial in lane.away
                        or serial in lane.parked):
                    lane.written.add(serial)
                else:
                    lane.written.discard(serial)
            if self._has_room_again():
                self._changed.notify()

    def position(self, place):
        """Return (low mark, stragglers) of a lane; None if not ours."""
        with self._changed:
            lane = self._lanes.get(place)
            return None if lane is None else lane.position()

    def counts(self):
        """Return (ready, delayed, waiting for room) numbers of tickets."""
        with self._changed:
            return (len(self._ready) + len(self._passed), len(self._delayed),
                    sum(map(len, self._limited.values())))

    def countWaiting(self, registry_oid, starter):
        """Return (number of waiting runs, seconds since the last look).

        The runs are those of *starter* in the registry.
        """
        with self._changed:
            return (self._starters.count(registry_oid, starter),
                    time.monotonic() - self._looked_at)

    def mostWaiting(self):
        """Return what `starters.Starters.mostWaiting` returns."""
        with self._changed:
            return self._starters.mostWaiting()

    def isIdle(self):
        """Return whether nothing waits in memory."""
        with self._changed:
            return not (self._size() or self._dirty or self._behind)
